import { createPublicKey, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { readPublicKey } from '../../certificate/public-key.ts';
import { CodedError } from '../../errors.ts';
import type { Secret } from '../../secret.ts';
import type { Table } from '../../table/table.ts';
import { isInstanceCrn } from '../rows/crn.ts';
import type { Sealer } from '../rows/sealed-places.ts';
import { apiKeyHash, checkApiKey, type KnownApiKey, type Role } from './api-keys.ts';
import {
  type InstanceLimits,
  type InstanceRates,
  instanceRates,
  type LimitOptions,
  resolveLimits,
} from './instance-limits.ts';
import { keptSigningKey } from './signing-key.ts';

export type { Role };

/** Payload versions of notifications: 1 to 4 are Certificate Manager's, 5 is our own. */
export type ChannelVersion = 1 | 2 | 3 | 4 | 5;

export interface ApiKey {
  /** For logs. */
  readonly name: string;
  readonly key: Secret;
  readonly role: Role;
}

/** One instance as configured: API keys as they are, or only their hashes. */
export interface InstanceOptions {
  /** `crn:v1:<cloud>:<type>:cloudcerts:<region>:<scope>:<guid>::` */
  readonly crn: string;
  readonly apiKeys: readonly (ApiKey | KnownApiKey)[];
  /**
   * RSA private key of 2048 bits or more that signs notifications. When absent: one that is made
   * once and kept sealed on the table.
   */
  readonly signingKey?: KeyObject;
  /** The newest payload version, which new channels get. Default 5. */
  readonly channelVersion?: ChannelVersion;
  readonly limits?: LimitOptions;
  /** Lets channels have `http:` endpoints on this machine. Default false. */
  readonly allowLoopbackChannels?: boolean;
  /**
   * Lets channels have endpoints at addresses that are not of the public Internet. Default false.
   */
  readonly allowPrivateChannels?: boolean;
}

/** One instance as served. */
export interface Instance {
  readonly crn: string;
  readonly signingKey: KeyObject;
  /** PEM of its public half. */
  readonly publicKeyPem: string;
  readonly publicKeyJwk: Readonly<Record<string, unknown>>;
  /**
   * What access tokens are made with: the same in every process that serves this instance with this
   * signing key.
   */
  readonly tokenKey: KeyObject;
  readonly channelVersion: ChannelVersion;
  readonly limits: InstanceLimits;
  readonly rates: InstanceRates;
  readonly allowLoopbackChannels: boolean;
  readonly allowPrivateChannels: boolean;
}

/**
 * The instance that these options describe. Throws `configuration_invalid`, and what table and root
 * key throw.
 */
export async function openInstance(
  options: InstanceOptions,
  context: {
    readonly now: () => number;
    readonly limits?: LimitOptions | undefined;
    readonly table: Table;
    readonly sealer: Sealer;
  },
): Promise<Instance> {
  const { crn } = options;
  if (!isInstanceCrn(crn)) throw invalid(`"${crn}" is not the CRN of an instance (ten segments, ending in "::")`);
  const { table, sealer } = context;
  const signingKey = options.signingKey ?? (await keptSigningKey({ table, sealer, instanceCrn: crn }));
  const isRsa = signingKey.type === 'private' && signingKey.asymmetricKeyType === 'rsa';
  const publicKey = isRsa ? createPublicKey(signingKey) : undefined;
  const { bits = 0 } = publicKey ? readPublicKey(publicKey.export({ type: 'spki', format: 'der' })) : {};
  if (publicKey === undefined || bits < 2048)
    throw invalid(`the signing key of ${crn} is not an RSA private key of at least 2048 bits`);
  const limits = resolveLimits(options.limits ?? context.limits);
  return {
    crn,
    signingKey,
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    publicKeyJwk: { ...publicKey.export({ format: 'jwk' }) },
    tokenKey: tokenKeyOf(signingKey),
    channelVersion: options.channelVersion ?? 5,
    limits,
    rates: instanceRates({ limits, table, instanceCrn: crn, now: context.now }),
    allowLoopbackChannels: options.allowLoopbackChannels ?? false,
    allowPrivateChannels: options.allowPrivateChannels ?? false,
  };
}

/**
 * The API keys of these options by their hashes. Throws `configuration_invalid` for short keys and
 * for one that is there twice.
 */
export function knownApiKeys({ crn, apiKeys }: Pick<InstanceOptions, 'crn' | 'apiKeys'>): readonly KnownApiKey[] {
  const known = new Map<string, KnownApiKey>();
  for (const given of apiKeys) {
    if ('key' in given) checkApiKey(given.key, `the API key "${given.name}" of ${crn}`);
    const { name, role } = given;
    const hash = 'key' in given ? apiKeyHash(given.key) : given.hash;
    if (known.has(hash)) throw invalid(`the API key "${name}" of ${crn} is there twice`);
    known.set(hash, { name, role, hash });
  }
  return [...known.values()];
}

/**
 * Derived (HKDF, RFC 5869), so that nothing more need be kept: it tells nothing of the signing key,
 * and ends with it.
 */
function tokenKeyOf(signingKey: KeyObject): KeyObject {
  const der = signingKey.export({ type: 'pkcs8', format: 'der' });
  const derived = Buffer.from(hkdfSync('sha256', der, '', 'certstandby access tokens 1', 32));
  try {
    return createSecretKey(derived);
  } finally {
    der.fill(0);
    derived.fill(0);
  }
}

function invalid(message: string): CodedError {
  return new CodedError('configuration_invalid', message);
}
