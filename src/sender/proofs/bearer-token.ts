import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { parseJsonObject } from '../json.ts';
import { tokenKeyId, verifyCompactJws } from '../jws.ts';
import type { VerificationKeys } from '../sender.ts';

/** What a bearer token must say: who issued it, for whom, and who bears it. All is exact. */
export interface TokenRules {
  readonly issuer: string;
  readonly audience: string;
  /** The claims that name its bearer (`sub`, `azp`, `repository`), by name. */
  readonly bearer: Readonly<Record<string, string>>;
}

/**
 * The claims of the bearer token (RFC 6750, 2.1) in an `Authorization` header: a JWT (RFC 7519)
 * that one of these keys signed with RS256, through the same strict gate as a signed body. It says
 * nothing of the body beside it, and whoever bears it may send any.
 *
 * Throws `notification_not_genuine` for what is none, is not signed, or says something else;
 * `notification_key_unknown` where it names a key that is not here (yet), and
 * `notification_untimely` where its times alone are wrong: the next one may be good.
 */
export function verifyBearerToken(
  header: string | undefined,
  keys: VerificationKeys,
  { issuer, audience, bearer, now }: TokenRules & { readonly now: number },
): Readonly<Record<string, unknown>> {
  const [, token = ''] = /^Bearer ([A-Za-z0-9_\-.]+)$/i.exec(header ?? '') ?? [];
  if (token === '' || token.length > limits.bearerTokenCharacters) throw notGenuine();
  const claims = claimsOf(token, keys);
  const audiences = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
  const [wrong] = [
    ...(claims.iss === issuer ? [] : ['iss']),
    ...(audiences.includes(audience) ? [] : ['aud']),
    ...Object.keys(bearer).filter((name) => claims[name] !== bearer[name]),
  ];
  if (wrong !== undefined) throw notGenuine(wrong);
  checkTimes(claims, now);
  return claims;
}

function claimsOf(token: string, keys: VerificationKeys): Record<string, unknown> {
  try {
    const id = tokenKeyId(token);
    const key = id === undefined ? undefined : keys.get(id);
    if (id === undefined) throw notGenuine();
    if (key === undefined)
      throw new CodedError('notification_key_unknown', 'the token names a key that is not known here yet');
    const claims = parseJsonObject(verifyCompactJws(token, key).toString('utf8'));
    if (claims !== undefined) return claims;
  } catch (thrown) {
    if (thrown instanceof CodedError && thrown.code === 'notification_key_unknown') throw thrown;
  }
  throw notGenuine();
}

/**
 * `exp`, and `nbf` and `iat` where they are given, by our clock with the usual minutes between
 * clocks (RFC 7519, 4.1.4 to 4.1.6).
 */
function checkTimes({ exp, nbf, iat }: Readonly<Record<string, unknown>>, now: number): void {
  const [until, from, issued] = [exp, nbf, iat].map(momentOf);
  if (until === undefined || until - (issued ?? now) > limits.bearerTokenLifeMs) throw notGenuine('exp');
  const isOver = now >= until + limits.notificationSkewMs;
  const isEarly = [from, issued].some((moment) => moment !== undefined && moment > now + limits.notificationSkewMs);
  if (!isOver && !isEarly) return;
  throw new CodedError(
    'notification_untimely',
    `the token ${isOver ? 'has expired' : 'is not good yet'} by the clock of this receiver`,
  );
}

/** A time of a token as epoch milliseconds; `undefined` where it is not given. */
function momentOf(seconds: unknown): number | undefined {
  if (seconds === undefined) return undefined;
  if (typeof seconds === 'number' && Number.isFinite(seconds)) return seconds * 1_000;
  throw notGenuine();
}

/**
 * One text for every cause, so that an answer does not teach which check failed. Our own log names
 * the claim that differs from the configuration, where the issuer did sign it.
 */
const notGenuine = (claim?: string): CodedError =>
  new CodedError('notification_not_genuine', 'the notification bears no token that is good for this sender', {
    fields: {
      signs: 'by the issuer, for the audience and of the bearer that the configuration names',
      ...defined({ claim }),
    },
  });
