import type { LinkConfig, StoreConfig } from '../config.ts';
import { CodedError } from '../errors.ts';
import { type Link, linkMistake } from '../replication/link.ts';
import type { Runtime } from '../runtime.ts';
import { Secret, type SecretReference } from '../secret.ts';
import type { CertificateManagerConfig } from '../services/certificate-manager/settings.ts';
import { certificateManagerStore } from '../services/certificate-manager/store.ts';
import type { DirectoryConfig } from '../services/directory/settings.ts';
import { countedStore } from '../store/counted.ts';
import { limitedStore } from '../store/limited.ts';
import { type QuotaBook, quotaStore } from '../store/quota.ts';
import type { Store } from '../store/store.ts';

export const isDirectory = (store: StoreConfig): store is DirectoryConfig => store.kind === 'directory';

/** Finds the secret that a reference leads to. Throws `secret_unreadable` and `secret_unavailable`. */
export type SecretOf = (reference: SecretReference) => Promise<Secret>;

/**
 * A store that is a service, within its limits. Nothing is asked of it yet, and an API key that is elsewhere is read only when the store is
 * asked something: one that cannot be read is a failure of that store, and of no other. Without `quotas` none are counted.
 */
export function openService(
  config: StoreConfig,
  runtime: Runtime,
  secretOf: SecretOf,
  { sent = () => {}, quotas }: { readonly sent?: () => void; readonly quotas?: QuotaBook | undefined } = {},
): Store {
  const {
    name: _name,
    kind: _kind,
    region: _region,
    apiKey: given,
    iam,
    writesPerCertificatePerMinute,
    requestsPerSecond,
    ...options
  } = config as CertificateManagerConfig;
  const apiKey = given instanceof Secret ? given : () => secretOf(given);
  const store = certificateManagerStore({
    ...options,
    apiKey,
    runtime,
    ...(iam === undefined ? {} : { iamUrl: iam }),
  });
  const writes = writesPerCertificatePerMinute ?? store.abilities.writesPerCertificatePerMinute;
  const counted = countedStore(store, sent);
  return limitedStore(quotas === undefined ? counted : quotaStore(counted, { runtime, book: quotas }), {
    runtime,
    ...(writes === undefined || writes === 'unlimited' ? {} : { writesPerCertificatePerMinute: writes }),
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
  });
}

/** A link of the configuration with its stores. Throws `configuration_invalid` if one is not there, or if they are not able to do what the link says. */
export function toLink(
  { name, primary, backups, filter, policy }: LinkConfig,
  stores: ReadonlyMap<string, Store>,
): Link {
  const link: Link = {
    name,
    primary: storeOf(stores, primary),
    backups: backups.map((backup) => storeOf(stores, backup)),
    filter,
    policy,
  };
  const mistake = linkMistake(link);
  if (mistake !== undefined) throw mistake;
  return link;
}

function storeOf(stores: ReadonlyMap<string, Store>, name: string): Store {
  const store = stores.get(name);
  if (store === undefined) throw new CodedError('configuration_invalid', `there is no store ${name}`);
  return store;
}
