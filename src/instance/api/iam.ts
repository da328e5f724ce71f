import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { Secret } from '../../secret.ts';
import { apiKeyHash, type KnownApiKey, type Role } from '../tenants/api-keys.ts';

/** An answer of the token endpoint: IBM IAM's shapes (go-sdk-core, `iam_authenticator.go`). */
export interface TokenAnswer {
  readonly status: 200 | 400;
  readonly body: Readonly<Record<string, string | number>>;
  /** The name of the API key, where it is known. Not for the client. */
  readonly caller?: string;
}

/**
 * Who sent a request: the name of its API key, and its role in each instance that knows the key.
 */
export interface Caller {
  readonly name: string;
  /** By instance CRN. */
  readonly roles: ReadonlyMap<string, Role>;
}

/** The token endpoint and the check of what it gave. */
export interface Iam {
  /** Exchanges the API key in a form body for an access token. */
  exchange(form: string): TokenAnswer;
  /**
   * The caller behind an `Authorization` header. Throws `instance_unauthorized` for whatever is not
   * a living token of ours.
   */
  authenticate(authorization: string | undefined): Caller;
  /** The roles of that caller; none for whatever is not a living token of ours. */
  rolesOf(authorization: string | undefined): Caller['roles'];
}

/** Who is behind the API key of this hash, as of now; undefined if nobody is. */
export type FindCaller = (hash: string) => Caller | undefined;

const apiKeyGrant = 'urn:ibm:params:oauth:grant-type:apikey';
const lifetimeSeconds = 3600;

/**
 * The key that makes the access tokens of an instance; undefined while the instance is not served
 * here.
 */
export type TokenKeyOf = (instanceCrn: string) => KeyObject | undefined;

const claimsSchema = z.object({ key: z.string(), by: z.string(), exp: z.number() });

/**
 * The header of every access token: IBM's clients look into tokens for their times, and so they are
 * JWTs (RFC 7519).
 */
const header = Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'JWT' })).toString('base64url');

/**
 * Access tokens are JWTs under a secret key: nothing is kept for each. The key is that of an
 * instance which knows the API key, so that every process which serves that instance takes the
 * token, also after a restart; and one of this process while no such instance can be served. A
 * token names its API key by hash, and is good for as long as that is known.
 */
export function createIam(find: FindCaller, tokenKeyOf: TokenKeyOf, now: () => number): Iam {
  const processKey = createSecretKey(randomBytes(32));
  const macOf = (key: KeyObject, body: string) => createHmac('sha256', key).update(`${header}.${body}`).digest();

  function keyFor({ roles }: Caller): { readonly by: string; readonly key: KeyObject } {
    for (const by of [...roles.keys()].sort()) {
      const key = tokenKeyOf(by);
      if (key !== undefined) return { by, key };
    }
    return { by: '', key: processKey };
  }

  /** What a token says, if it is one of ours. */
  function claimsIn(authorization: string | undefined): z.infer<typeof claimsSchema> | undefined {
    const [, first, body, seal] =
      /^bearer ([\w-]{1,100})\.([\w-]{1,1000})\.([\w-]{43})$/i.exec(authorization ?? '') ?? [];
    // Whatever else a header says, there is one way in which tokens are made here.
    if (first !== header || body === undefined || seal === undefined) return undefined;
    const claims = claimsOf(body);
    const key = claims?.by === '' ? processKey : tokenKeyOf(claims?.by ?? '');
    if (key === undefined || !timingSafeEqual(macOf(key, body), Buffer.from(seal, 'base64url'))) return undefined;
    return claims;
  }

  function callerOf(authorization: string | undefined): Caller | undefined {
    const claims = claimsIn(authorization);
    return claims && claims.exp * 1000 > now() ? find(claims.key) : undefined;
  }

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
      const { by, key } = keyFor(caller);
      const claims = { key: hash, by, iat: issued, exp: expiration, jti: randomBytes(12).toString('hex') };
      const body = Buffer.from(JSON.stringify(claims)).toString('base64url');
      return {
        status: 200,
        caller: caller.name,
        body: {
          access_token: `${header}.${body}.${macOf(key, body).toString('base64url')}`,
          refresh_token: 'not_supported',
          token_type: 'Bearer',
          expires_in: lifetimeSeconds,
          expiration,
          scope: 'ibm openid',
        },
      };
    },

    authenticate(authorization) {
      const caller = callerOf(authorization);
      if (caller === undefined) throw new CodedError('instance_unauthorized', 'Unauthorized');
      return caller;
    },

    rolesOf: (authorization) => callerOf(authorization)?.roles ?? new Map(),
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

/** What the body of a token says, before anybody knows whether it is genuine. */
function claimsOf(body: string): z.infer<typeof claimsSchema> | undefined {
  try {
    return z.safeParse(claimsSchema, JSON.parse(Buffer.from(body, 'base64url').toString())).data;
  } catch {
    return undefined;
  }
}

function refusal(errorCode: string, errorMessage: string): TokenAnswer {
  return { status: 400, body: { errorCode, errorMessage, errorDetails: errorMessage } };
}
