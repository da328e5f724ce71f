import type { Config, LinkConfig, SenderConfig, StoreConfig } from '../config.ts';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { type Link, linkMistake } from '../replication/link.ts';
import type { KeySource } from '../replication/verification-keys.ts';
import type { Runtime } from '../runtime.ts';
import { Secret, type SecretReference } from '../secret.ts';
import * as registry from '../services/registry.ts';
import type { ServiceParts } from '../services/service.ts';
import type { FactsBook } from '../store/content-facts.ts';
import { countedStore } from '../store/counted.ts';
import { limitedStore } from '../store/limited.ts';
import { type QuotaBook, quotaStore } from '../store/quota.ts';
import type { Store } from '../store/store.ts';

const services: readonly ServiceParts[] = Object.values(registry);

/**
 * Finds the secret that a reference leads to. Throws `secret_unreadable` and `secret_unavailable`.
 */
export type SecretOf = (reference: SecretReference) => Promise<Secret>;

/** What a store is opened with. */
export interface ServiceContext {
  readonly runtime: Runtime;
  readonly secretOf: SecretOf;
  /** Called for each request to the store. */
  readonly sent?: () => void;
  /** Without them no quotas are counted. */
  readonly quotas?: QuotaBook | undefined;
  /** Without it each process knows only what it has read itself. */
  readonly facts?: FactsBook | undefined;
}

/**
 * The parts of the service that a store of the configuration is of. Throws `configuration_invalid`
 * where this program has none of it.
 */
export function partsOf({ name, kind }: Pick<StoreConfig, 'name' | 'kind'>): ServiceParts {
  const found = services.find((service) => service.kind === kind);
  if (found !== undefined) return found;
  const there = services.map((service) => service.kind).join(', ') || 'none';
  throw new CodedError(
    'configuration_invalid',
    `the store ${name} is a ${kind}, which is not here (there are: ${there})`,
  );
}

/**
 * A store of the configuration, within its limits. Nothing is asked of it yet, and a secret that is
 * elsewhere is read only when the store is asked something. Throws `configuration_invalid` where
 * this program has no such store.
 */
export async function openService(config: StoreConfig, context: ServiceContext): Promise<Store> {
  const { runtime, secretOf, sent = () => {}, quotas, facts } = context;
  const part = await partsOf(config).store?.();
  if (part === undefined)
    throw new CodedError(
      'configuration_invalid',
      `the store ${config.name} is a ${config.kind}, which keeps no certificates`,
    );
  const store = part.openStore(config as never, { runtime, secret: secretBy(secretOf), ...defined({ facts }) });
  const counted = countedStore(store, sent);
  const withQuotas = quotas === undefined ? counted : quotaStore(counted, { runtime, book: quotas });
  const { writesPerCertificatePerMinute: writes = store.abilities.writesPerCertificatePerMinute, requestsPerSecond } =
    config;
  const hasRates = (store.abilities.rates ?? []).length > 0;
  if (writes === undefined && requestsPerSecond === undefined && !hasRates) return withQuotas;
  const limits = { writesPerCertificatePerMinute: writes === 'unlimited' ? undefined : writes, requestsPerSecond };
  return limitedStore(withQuotas, { runtime, ...defined(limits) });
}

/** The secrets of settings: one that is elsewhere is read when it is wanted. */
export const secretBy =
  (secretOf: SecretOf) =>
  (given: Secret | SecretReference): Secret | (() => Promise<Secret>) =>
    given instanceof Secret ? given : () => secretOf(given);

/** Where the keys of these senders are, as far as others serve them. Nothing is fetched yet. */
export async function keySourcesOf(
  senders: readonly SenderConfig[] = [],
  runtime: Runtime,
): Promise<readonly KeySource[]> {
  const sources = senders.map(async (sender): Promise<readonly KeySource[]> => {
    const part = await partsOf(sender).keys?.();
    return part === undefined
      ? []
      : [
          {
            name: sender.name,
            told: { sender: sender.name },
            fetch: () => part.fetchKeys(sender as never, { runtime }),
          },
        ];
  });
  return (await Promise.all(sources)).flat();
}

/**
 * A link of the configuration with its stores. Throws `configuration_invalid` if one is not there,
 * or if they are not able to do what the link says.
 */
export function toLink(
  { name, primary, backups, filter, policy, naming }: LinkConfig,
  stores: ReadonlyMap<string, Store>,
  config: Pick<Config, 'stores' | 'senders'>,
): Link {
  const toldBy = tellersOf(primary, config);
  const link: Link = {
    name,
    primary: storeOf(stores, primary),
    backups: backups.map((backup) => storeOf(stores, backup)),
    filter,
    policy,
    ...(naming && { naming }),
    ...(toldBy.length > 0 && { toldBy }),
  };
  const mistake = linkMistake(link);
  if (mistake !== undefined) throw mistake;
  return link;
}

/** Who tells of changes in a store: its senders, and itself where it signs what it tells. */
export function tellersOf(
  store: string,
  { stores, senders = [] }: Pick<Config, 'stores' | 'senders'>,
): readonly string[] {
  const own = stores.filter((config) => config.name === store && partsOf(config).sender !== undefined);
  return [...own, ...senders.filter((sender) => sender.store === store)].map(({ name }) => name);
}

function storeOf(stores: ReadonlyMap<string, Store>, name: string): Store {
  const store = stores.get(name);
  if (store === undefined) throw new CodedError('configuration_invalid', `there is no store ${name}`);
  return store;
}
