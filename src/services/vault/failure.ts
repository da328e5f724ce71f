import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { CodedError, type ErrorCode } from '../../errors.ts';
import type { HttpAnswer } from '../../http/client.ts';
import { answerError, foreignWords, looksForeign, parseJson, type ServiceCall } from '../../http/service-failure.ts';
import { otherwise } from '../../lenient.ts';
import type { RemediesByReason } from '../../remedies-by-cause.ts';

/** What was asked of the server, and the right that it takes. */
export interface VaultCall extends ServiceCall {
  /** As policies write it, without `/v1/`: `secret/data/standby/shop`. */
  readonly path?: string;
  readonly capability?: Capability;
}

export type Capability = 'create' | 'read' | 'update' | 'patch' | 'delete' | 'list';

/** Why the server did not do it, as far as its answer tells. */
type Reason =
  | 'sealed'
  | 'not_initialized'
  | 'standby'
  | 'behind'
  | 'no_mount'
  | 'no_namespace'
  | 'wrong_version'
  | 'not_offered'
  | 'no_right'
  | 'no_token'
  | 'too_large'
  | 'half_removed';

const remedies: Readonly<Record<Reason, string>> = {
  sealed:
    'The server is sealed: unseal it (vault operator unseal, or bao operator unseal, on each node). It is tried again.',
  not_initialized: 'The server is not initialised: initialise and unseal it, or correct the address of the store.',
  standby:
    'A standby answered, and does not pass requests on: give the address of what leads to the active node (api_addr, a load balancer that asks sys/health), or wait until one is active.',
  behind: 'A standby has not caught up yet with what was written; it is tried again in a moment.',
  no_mount:
    'Nothing is mounted there: correct mount of the store (vault secrets list shows what there is), or mount the engine.',
  no_namespace:
    'There is no such namespace: correct namespace of the store (vault namespace list shows what there is).',
  wrong_version: 'The engine is of the other version: take version off the store, so that it is asked, or correct it.',
  not_offered: 'This server does not offer that; see that it is a Vault or OpenBao, and which version.',
  no_right: 'The policy of its token does not allow that.',
  no_token:
    'The server does not take the token: it was revoked, has expired or is of another server. Put a valid one in its place.',
  half_removed:
    'A removal of it was cut off on the server, which has kept half of it: remove it there once more (vault kv metadata delete).',
  too_large: 'It is larger than the server keeps: leave certificates out of the chain that nobody needs.',
};

const byCode = (code: ErrorCode, reasons: readonly Reason[]): [ErrorCode, RemediesByReason] => [
  code,
  Object.fromEntries(reasons.map((reason) => [reason, remedies[reason]])),
];

/** What mends each failure, in words of the server. */
export const vaultRemedies: Partial<Record<ErrorCode, RemediesByReason>> = Object.fromEntries([
  byCode('store_unavailable', ['sealed', 'not_initialized', 'standby', 'behind', 'half_removed']),
  byCode('store_unanswered', ['sealed', 'not_initialized', 'standby', 'half_removed']),
  byCode('store_refused', ['no_mount', 'no_namespace', 'wrong_version', 'not_offered']),
  byCode('store_unauthorized', ['no_token', 'no_right']),
  byCode('store_content_refused', ['too_large']),
]);

const answerSchema = z.object({ errors: otherwise(z.optional(z.array(z.string())), undefined) });

/** What the server says in an answer that is no success; `undefined` if it says nothing. */
export function errorsIn({ text }: Pick<HttpAnswer, 'text'>): readonly string[] | undefined {
  return z.safeParse(answerSchema, parseJson(text)).data?.errors;
}

/** Whether a 404 says that nothing is there, in a place that is there. */
export function saysNothingThere(answer: HttpAnswer): boolean {
  const errors = errorsIn(answer);
  return answer.status === 404 && errors !== undefined && errors.length === 0;
}

/** The shortest wait that makes sense: a server may say `Retry-After: 0`. */
const leastWaitMs = 1_000;

/**
 * The error for an answer that is no success. 400 of a write by version is no matter of this: the
 * caller looks what version there is.
 */
export function vaultError(call: VaultCall, answer: HttpAnswer): CodedError {
  const { status, retryAfterMs = leastWaitMs } = answer;
  const errors = errorsIn(answer);
  const said = foreignWords(errors?.join('; '));
  const words = `it answered ${status}${said === undefined ? '' : `: ${said}`}`;
  const again = { retryAfterMs: Math.max(leastWaitMs, retryAfterMs) };
  const is = (pattern: RegExp) => errors?.some((one) => pattern.test(one)) === true;
  const of = (code: ErrorCode, reason?: Reason, more: Fields = {}) =>
    failed(call, code, words, { status, reason, ...more });
  const late: ErrorCode = call.writes ? 'store_unanswered' : 'store_unavailable';
  if (status !== 404 && looksForeign(answer) && status < 500) return answerError(call, answer);
  switch (status) {
    case 301:
    case 302:
    case 307:
    case 308:
      // It would say where the active node is; a token goes to no host that nobody has configured.
      return of('store_unavailable', 'standby', again);
    case 401:
    case 403:
      return noRight(call, words, status);
    case 404:
      if (is(/no handler for route/)) return of('store_refused', 'no_mount');
      if (is(/namespace not found/)) return of('store_refused', 'no_namespace');
      if (errors === undefined && !looksForeign(answer)) return of('store_refused', 'wrong_version');
      if (is(/unsupported path/)) return of('store_refused', 'not_offered');
      return answerError(call, answer);
    case 405:
      return of('store_refused', 'not_offered');
    case 412:
    case 472:
      return of('store_unavailable', 'behind', again);
    case 413:
      return of('store_content_refused', 'too_large');
    case 429:
      return errors?.length === 0 ? of('store_unavailable', 'behind', again) : of('store_limited', undefined, again);
    default:
      break;
  }
  if (status >= 500) {
    const isTooLarge = is(/exceeds allowed length|entry size|value too large/i);
    const reason: Reason | undefined = is(/sealed/i)
      ? 'sealed'
      : is(/not.*initiali[sz]ed/i) || status === 501
        ? 'not_initialized'
        : is(/local node not active|standby/i)
          ? 'standby'
          : isTooLarge
            ? 'too_large'
            : is(/could not find version data/i)
              ? 'half_removed'
              : undefined;
    return of(late, reason);
  }
  return answerError(call, { ...answer, text: JSON.stringify({ message: said ?? '' }) });
}

/** The token is good, and its policies do not allow this. */
function noRight(call: VaultCall, words: string, status: number): CodedError {
  const { path, capability } = call;
  const known = path !== undefined && capability !== undefined;
  const remedy = known
    ? // A line for this one path would take away what a pattern of the policy grants there.
      `certstandby doctor says the whole line of its policy that ${capability} is missing from.`
    : 'Give the policy of its token the rights that the page of this service names.';
  return failed(call, 'store_unauthorized', known ? `${words} (${capability} on ${path})` : words, {
    status,
    reason: 'no_right',
    path,
    capability,
    remedy,
  });
}

/**
 * What was asked for, or what is wrong with this one path: that the policies of the token do not
 * allow it there, or that a removal left half of it (hashicorp/vault#16488). Whatever else goes
 * wrong is about all paths, and is thrown.
 */
export async function orOfThisPath<T>(asked: Promise<T>): Promise<T | CodedError> {
  try {
    return await asked;
  } catch (thrown) {
    if (thrown instanceof CodedError && (thrown.reason === 'no_right' || thrown.reason === 'half_removed'))
      return thrown;
    throw thrown;
  }
}

/** The server does not take the token any more, and there is no other. */
export function noToken(call: VaultCall, status: number): CodedError {
  return failed(call, 'store_unauthorized', 'it does not take the token', { status, reason: 'no_token' });
}

/** The call was ended while nothing of it had been sent. */
export function ended(call: VaultCall, { reason }: AbortSignal): CodedError {
  return failed(call, 'store_unavailable', 'it was not reached (the call was ended)', {}, reason);
}

/** A line of a policy. */
export function ruleFor(path: string, capabilities: readonly Capability[]): string {
  return `path "${path}" { capabilities = [${capabilities.map((one) => `"${one}"`).join(', ')}] }`;
}

type Fields = Readonly<Record<string, string | number | undefined>>;

/** An error of ours about what was asked, with what mends it. */
export function failed(
  call: VaultCall,
  code: ErrorCode,
  found: string,
  fields: Fields = {},
  cause?: unknown,
): CodedError {
  const { store, operation, certificate } = call;
  return new CodedError(code, `${operation} at ${store}: ${found}`, {
    ...defined({ cause }),
    remedies: vaultRemedies[code],
    fields: defined({ store, operation, certificate, ...fields }),
  });
}
