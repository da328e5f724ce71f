import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { CodedError } from '../errors.ts';
import { Secret } from '../secret.ts';
import { apiKeyHash, type KnownApiKey, type Role } from './api-keys.ts';

/** An answer of the token endpoint: IBM IAM's shapes (go-sdk-core, `iam_authenticator.go`). */
export interface TokenAnswer {
  readonly status: 200 | 400;
  readonly body: Readonly<Record<string, string | number>>;
  /** The name of the API key, where it is known. Not for the client. */
  readonly caller?: string;
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

/** Who is behind the API key of this hash, as of now; undefined if nobody is. */
export type FindCaller = (hash: string) => Caller | undefined;

const apiKeyGrant = 'urn:ibm:params:oauth:grant-type:apikey';
const lifetimeSeconds = 3600;

/**
 * Access tokens are `<body>.<HMAC of it>` under a key of this process: nothing is kept for each, and after a restart clients exchange
 * their API key again, as they do after any 401. A token names its API key by hash, and is good for as long as that is known.
 */
export function createIam(find: FindCaller, now: () => number): Iam {
  const processKey = randomBytes(32);
  const hmac = (text: string) => createHmac('sha256', processKey).update(text).digest();
  const macOf = (body: string) => hmac(`token ${body}`);

  return {
    exchange(form) {
      const fields = new URLSearchParams(form);
      if (fields.get('grant_type') !== apiKeyGrant) {
        return refusal('BXNIM0137E', `The grant_type must be ${apiKeyGrant}; this server offers no other.`);
      }
      // The time that looking it up takes tells of hashes at the most, and those cannot be chosen.
      const hash = apiKeyHash(new Secret(fields.get('apikey') ?? ''));
      const caller = find(hash);
      if (caller === undefined) return refusal('BXNIM0415E', 'The API key is not known here.');
      const issued = Math.floor(now() / 1000);
      const expiration = issued + lifetimeSeconds;
      const claims = { key: hash, exp: expiration, id: randomBytes(12).toString('hex') };
      const body = Buffer.from(JSON.stringify(claims)).toString('base64url');
      return {
        status: 200,
        caller: caller.name,
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
      const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as { key: string; exp: number };
      const caller = find(claims.key);
      if (caller === undefined || claims.exp * 1000 <= now()) {
        throw new CodedError('instance_unauthorized', 'Unauthorized');
      }
      return caller;
    },
  };
}

/** Who is behind each API key of these instances, by hash: two instances may know the same key. */
export function callersOf(
  instances: Iterable<{ readonly crn: string; readonly apiKeys: readonly KnownApiKey[] }>,
): ReadonlyMap<string, Caller> {
  const found = new Map<string, { name: string; roles: Map<string, Role> }>();
  for (const { crn, apiKeys } of instances) {
    for (const { name, role, hash } of apiKeys) {
      const known = found.get(hash) ?? { name, roles: new Map<string, Role>() };
      known.roles.set(crn, role);
      found.set(hash, known);
    }
  }
  return found;
}

function refusal(errorCode: string, errorMessage: string): TokenAnswer {
  return { status: 400, body: { errorCode, errorMessage, errorDetails: errorMessage } };
}
