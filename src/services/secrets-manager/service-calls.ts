import { defined } from '../../defined.ts';
import { CodedError, type ErrorCode } from '../../errors.ts';
import { type HttpSend, serviceBase } from '../../http/client.ts';
import type { ServiceWords } from '../../http/service-failure.ts';
import { trustedProfile } from '../../ibm-cloud/compute-token.ts';
import type { ApiKey, TrustedProfile } from '../../ibm-cloud/iam.ts';
import { iamService } from '../../ibm-cloud/iam-service.ts';
import { secretsManagerAddress } from '../../ibm-cloud/secrets.ts';
import { storeCalls } from '../../ibm-cloud/store-calls.ts';
import type { Runtime } from '../../runtime.ts';
import type { StoreContext } from '../service.ts';
import { remedies } from './remedies.ts';
import type { SecretsManagerConfig } from './settings.ts';

export interface SecretsManagerOptions {
  /** CRN of the instance: `crn:v1:bluemix:public:secrets-manager:<region>:a/<account>:<guid>::` */
  readonly instance: string;
  readonly credentials: ApiKey | TrustedProfile;
  /**
   * Where the API is, without `/api`. Default
   * `https://<guid>.<region>.secrets-manager.appdomain.cloud`, or the private one.
   */
  readonly endpoint?: string;
  readonly private?: boolean;
  /** Where credentials are exchanged for tokens. Default `https://iam.cloud.ibm.com`. */
  readonly iamUrl?: string;
  readonly runtime: Runtime;
  readonly send?: HttpSend;
  /** How long one request may take. Default 30 s. */
  readonly requestTimeoutMs?: number;
  /** Name of the group in which copies are made, and whether it may be made. */
  readonly group?: string;
  readonly makeGroup?: boolean;
  /** Whether groups travel, as tags. */
  readonly carryGroups?: boolean;
  /** The bounds that `abilities` states. Defaults: `secretsManagerDefaults`. */
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
}

/** What the configuration says of an instance, as options. */
export function optionsOf(config: SecretsManagerConfig, { runtime, secret }: StoreContext): SecretsManagerOptions {
  const { apiKey, profile, computeToken, iam, instance, endpoint, group, makeGroup, carryGroups } = config;
  const { settlesMs, listingLagMs, readSettlesMs } = config;
  const given = defined({
    endpoint,
    iamUrl: iam,
    group,
    makeGroup,
    carryGroups,
    settlesMs,
    listingLagMs,
    readSettlesMs,
  });
  const credentials = apiKey !== undefined ? secret(apiKey) : trustedProfile(profile ?? '', computeToken);
  return { ...given, ...defined({ private: config.private }), instance, credentials, runtime };
}

const instancePattern = /^crn:v1:[\w-]+:[\w-]+:secrets-manager:([\w.-]+):[\w./-]+:([\w-]+)::$/;

/** Throws `configuration_invalid` if an option is wrong. */
export function reached(options: SecretsManagerOptions) {
  const { instance, credentials, endpoint, ...rest } = options;
  const [, region = '', guid = ''] = instancePattern.exec(instance) ?? [];
  if (guid === '') throw new CodedError('configuration_invalid', 'instance: not the CRN of a Secrets Manager instance');
  const zone = options.private === true ? `private.${region}` : region;
  const host = endpoint ?? secretsManagerAddress(guid, zone);
  const base = serviceBase(host, 'endpoint');
  const send = iamService({
    ...rest,
    base: `${base}/api/v2`,
    apiKey: credentials,
    apiKeySetting: 'stores.<name>.apiKey',
  });
  return { region, host, send };
}

/** Whatever is not in the service's own shape says nothing of a secret: so may a router answer. */
function meaningOf({ status }: { readonly status: number }, said: ServiceWords): ErrorCode | undefined {
  if (status === 412) return 'store_held';
  if (status === 404 && said.listed !== true) return 'store_nonsense';
  // A name that is taken is told by 409, or by 400 and these words.
  if (status === 400 && /already exists/i.test(String(said.message ?? ''))) return 'store_conflict';
  return undefined;
}

/** What each call of a store of this id has for its errors. */
export const callsOf = (store: string) => storeCalls({ store, remedies, means: meaningOf });
