import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { CodedError } from '../errors.ts';
import type { InstanceOptions, Role } from './instance.ts';

/** An answer of the token endpoint: IBM IAM's shapes (go-sdk-core, `iam_authenticator.go`). */
export interface TokenAnswer {
  readonly status: 200 | 400;
  readonly body: Readonly<Record<string, string | number>>;
}

/** Who sent a request: the name of its API key, and its role in each instance that knows the key. */
export interface Caller {
  readonly name: string;
  /** By instance CRN. */
  readonly roles: ReadonlyMap<string, Role>;
}

/** The token endpoint and the check of what it gave. */
export interface Iam {
  /** Exchanges the API key in a form body for an access token. */
  exchange(form: string): TokenAnswer;
  /** The caller behind an `Authorization` header. Throws `instance_unauthorized` for whatever is not a living token of ours. */
  authenticate(authorization: string | undefined): Caller;
}

type KeyHolder = Pick<InstanceOptions, 'crn' | 'apiKeys'>;

interface KnownKey extends Caller {
  readonly hash: Buffer;
}

const apiKeyGrant = 'urn:ibm:params:oauth:grant-type:apikey';
const lifetimeSeconds = 3600;

/**
 * Access tokens are `<body>.<HMAC of it>` under a key of this process: nothing is kept for each, and after a restart clients exchange
 * their API key again, as they do after any 401. API keys are kept as hashes.
 */
export function createIam(instances: readonly KeyHolder[], now: () => number): Iam {
  const processKey = randomBytes(32);
  const hmac = (text: string) => createHmac('sha256', processKey).update(text).digest();
  const hashOf = (apiKey: string) => hmac(`api key ${apiKey}`);
  const macOf = (body: string) => hmac(`token ${body}`);
  const keys = knownKeys(instances, hashOf);

  function find(apiKey: string): number {
    const hash = hashOf(apiKey);
    let found = -1;
    // Every key is compared, so that the time says nothing about which one matched.
    for (const [index, key] of keys.entries()) if (timingSafeEqual(key.hash, hash)) found = index;
    return found;
  }

  return {
    exchange(form) {
      const fields = new URLSearchParams(form);
      if (fields.get('grant_type') !== apiKeyGrant) {
        return refusal('BXNIM0137E', `The grant_type must be ${apiKeyGrant}; this server offers no other.`);
      }
      const index = find(fields.get('apikey') ?? '');
      if (index < 0) return refusal('BXNIM0415E', 'The API key is not known here.');
      const issued = Math.floor(now() / 1000);
      const expiration = issued + lifetimeSeconds;
      const claims = { key: index, exp: expiration, id: randomBytes(12).toString('hex') };
      const body = Buffer.from(JSON.stringify(claims)).toString('base64url');
      return {
        status: 200,
        body: {
          access_token: `${body}.${macOf(body).toString('base64url')}`,
          refresh_token: 'not_supported',
          token_type: 'Bearer',
          expires_in: lifetimeSeconds,
          expiration,
          scope: 'ibm openid',
        },
      };
    },

    authenticate(authorization) {
      const [, body, seal] = /^bearer ([\w-]{1,400})\.([\w-]{43})$/i.exec(authorization ?? '') ?? [];
      if (body === undefined || seal === undefined || !timingSafeEqual(macOf(body), Buffer.from(seal, 'base64url'))) {
        throw new CodedError('instance_unauthorized', 'Unauthorized');
      }
      const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as { key: number; exp: number };
      const caller = keys[claims.key];
      if (caller === undefined || claims.exp * 1000 <= now()) {
        throw new CodedError('instance_unauthorized', 'Unauthorized');
      }
      return caller;
    },
  };
}

/** Each API key once, with its roles: two instances may know the same key. */
function knownKeys(instances: readonly KeyHolder[], hashOf: (apiKey: string) => Buffer): readonly KnownKey[] {
  const found = new Map<string, { name: string; hash: Buffer; roles: Map<string, Role> }>();
  for (const instance of instances) {
    for (const { name, key, role } of instance.apiKeys) {
      const hash = hashOf(key.reveal());
      const known = found.get(hash.toString('hex')) ?? { name, hash, roles: new Map<string, Role>() };
      known.roles.set(instance.crn, role);
      found.set(hash.toString('hex'), known);
    }
  }
  return [...found.values()];
}

function refusal(errorCode: string, errorMessage: string): TokenAnswer {
  return { status: 400, body: { errorCode, errorMessage, errorDetails: errorMessage } };
}
