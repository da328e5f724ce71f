import { createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { CodedError } from '../errors.ts';
import type { Secret } from '../secret.ts';
import { isInstanceCrn } from './crn.ts';
import {
  type InstanceLimits,
  type InstanceRates,
  instanceRates,
  type LimitOptions,
  resolveLimits,
} from './instance-limits.ts';

/** What an API key may do: each role also what the one before it may. */
export type Role = 'reader' | 'writer' | 'manager';

/** Payload versions of notifications that can be made. 4 is Certificate Manager's last, 5 our own. */
export type ChannelVersion = 4 | 5;

export interface ApiKey {
  /** For logs. */
  readonly name: string;
  readonly key: Secret;
  readonly role: Role;
}

/** One instance as configured. */
export interface InstanceOptions {
  /** `crn:v1:<cloud>:<type>:cloudcerts:<region>:<scope>:<guid>::` */
  readonly crn: string;
  readonly apiKeys: readonly ApiKey[];
  /** RSA private key of 2048 bits or more that signs notifications. Made when absent, and then different after each start. */
  readonly signingKey?: KeyObject;
  /** The newest payload version, which new channels get. Default 5. */
  readonly channelVersion?: ChannelVersion;
  readonly limits?: LimitOptions;
  /** Lets channels have `http:` endpoints on this machine. Default false. */
  readonly allowLoopbackChannels?: boolean;
}

/** One instance as served. */
export interface Instance {
  readonly crn: string;
  readonly signingKey: KeyObject;
  /** PEM of its public half. */
  readonly publicKeyPem: string;
  readonly publicKeyJwk: Readonly<Record<string, unknown>>;
  readonly channelVersion: ChannelVersion;
  readonly limits: InstanceLimits;
  readonly rates: InstanceRates;
  readonly allowLoopbackChannels: boolean;
}

const generate = promisify(generateKeyPair);

/** The instance that these options describe. Throws `configuration_invalid`. */
export async function openInstance(
  options: InstanceOptions,
  context: { readonly now: () => number; readonly limits?: LimitOptions | undefined },
): Promise<Instance> {
  if (!isInstanceCrn(options.crn))
    throw invalid(`"${options.crn}" is not the CRN of an instance (ten segments, ending in "::")`);
  const seen = new Set<string>();
  for (const { name, key } of options.apiKeys) {
    const text = key.reveal();
    if (text === '') throw invalid(`the API key "${name}" of ${options.crn} is empty`);
    if (seen.has(text)) throw invalid(`the API key "${name}" of ${options.crn} is there twice`);
    seen.add(text);
  }
  const signingKey = options.signingKey ?? (await generate('rsa', { modulusLength: 2048 })).privateKey;
  if (signingKey.type !== 'private' || signingKey.asymmetricKeyType !== 'rsa' || bits(signingKey) < 2048) {
    throw invalid(`the signing key of ${options.crn} is not an RSA private key of at least 2048 bits`);
  }
  const publicKey = createPublicKey(signingKey);
  const limits = resolveLimits(options.limits ?? context.limits);
  return {
    crn: options.crn,
    signingKey,
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    publicKeyJwk: { ...publicKey.export({ format: 'jwk' }) },
    channelVersion: options.channelVersion ?? 5,
    limits,
    rates: instanceRates(limits, context.now),
    allowLoopbackChannels: options.allowLoopbackChannels ?? false,
  };
}

function bits(key: KeyObject): number {
  return key.asymmetricKeyDetails?.modulusLength ?? 0;
}

function invalid(message: string): CodedError {
  return new CodedError('configuration_invalid', message);
}
