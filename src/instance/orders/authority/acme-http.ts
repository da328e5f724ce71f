import { AsyncLocalStorage } from 'node:async_hooks';
import { defined } from '../../../defined.ts';
import { CodedError } from '../../../errors.ts';
import { connections, type HttpClient, type HttpRequest, httpClient } from '../../../http/client.ts';
import { parseRetryAfter } from '../../../http/retry-after.ts';
import { limits } from '../../../limits.ts';

/** For whom requests are made. */
export interface AcmeCaller {
  readonly client: HttpClient;
  /** What the client waits for an answer, for messages. */
  readonly timeoutMs: number;
  readonly now: () => number;
}

/**
 * Whom requests are made for: `trust` is the PEM of the only authorities that the directory's own
 * certificate is checked against (undefined: those of the platform), `timeoutMs` the time from the
 * first byte of a request to the last of its answer, so that a server that trickles holds no order
 * up.
 */
export function newAcmeCaller(options: {
  readonly trust: string | undefined;
  readonly timeoutMs: number;
  readonly now: () => number;
}): AcmeCaller {
  const { trust, timeoutMs, now } = options;
  const { send } = connections({ trust });
  const answerBytes = limits.acmeAnswerBytes;
  return { client: httpClient({ runtime: { now }, requestTimeoutMs: timeoutMs, answerBytes, send }), timeoutMs, now };
}

/**
 * Whose requests the library makes: it keeps one HTTP client for everybody, and takes no options
 * for one request.
 */
export const acmeCaller = new AsyncLocalStorage<AcmeCaller>();

/** What the library wants sent. */
interface Wanted {
  readonly url?: string | undefined;
  readonly method?: string | undefined;
  readonly headers?: unknown;
  readonly data?: unknown;
}

interface Arrived {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Sends one request of the library, once. Every failure of it is coded here, where status, problem
 * document and `Retry-After` are still at hand: the library would make a text of them. Only a bad
 * nonce is left for the library, which then tries again (RFC 8555 section 6.5). Redirects are not
 * followed.
 */
export async function sendAcmeRequest(wanted: Wanted): Promise<{
  readonly data: string;
  readonly status: number;
  readonly statusText: string;
  readonly headers: Readonly<Record<string, string>>;
}> {
  const caller = acmeCaller.getStore();
  if (caller === undefined) throw new CodedError('internal', 'an ACME request that nobody makes');
  const { status, headers, body } = await send(wanted, caller);
  const badNonce = status === 400 && problemOf(body).type === 'badNonce';
  if (status >= 300 && !badNonce) throw failureOf(wanted, { status, headers, body }, caller);
  return { data: body, status, statusText: '', headers };
}

async function send(wanted: Wanted, { client, timeoutMs }: AcmeCaller): Promise<Arrived> {
  const url = new URL(wanted.url ?? '');
  const method = (wanted.method?.toUpperCase() ?? 'GET') as HttpRequest['method'];
  const failed = (reason: string, cause?: unknown) =>
    new CodedError('acme_unavailable', `${method} ${url.origin}${url.pathname}: ${reason}`, {
      ...defined({ cause }),
    });
  const headers = { 'user-agent': 'certstandby', 'content-type': 'application/jose+json' };
  const body = wanted.data === undefined ? undefined : String(wanted.data);
  const outcome = await client({ method, url: url.href, headers, ...defined({ body }) });
  if ('answer' in outcome) {
    const { status, text } = outcome.answer;
    const texts = Object.entries(outcome.answer.headers).map(([name, value]) => [name, [value].flat().join(', ')]);
    return { status, headers: Object.fromEntries(texts), body: text };
  }
  if (outcome.failure === 'oversized') throw failed('an answer that is too long');
  const { failure, head, cause } = outcome;
  if (failure === 'timeout') throw failed(`no answer in ${timeoutMs} ms`, cause);
  if (head !== undefined) throw failed('the answer was cut off', cause);
  const { code, name } = cause as NodeJS.ErrnoException;
  throw failed(`no answer (${code ?? name})`, cause);
}

const problemPrefix = 'urn:ietf:params:acme:error:';

/** A problem document (RFC 8555 section 6.7, RFC 7807); empty texts for what it does not say. */
function problemOf(body: string): { readonly type: string; readonly detail: string } {
  try {
    return readProblem(JSON.parse(body));
  } catch {
    return { type: '', detail: '' };
  }
}

/**
 * The problem in a JSON value, with the details of its subproblems. Lenient: it comes from
 * elsewhere.
 */
export function readProblem(value: unknown): { readonly type: string; readonly detail: string } {
  const { type, detail, subproblems } = (value ?? {}) as Readonly<Record<string, unknown>>;
  const below = Array.isArray(subproblems) ? subproblems.map((one) => readProblem(one).detail) : [];
  const said = [detail, ...below].filter((text): text is string => typeof text === 'string' && text !== '');
  return { type: typeof type === 'string' ? type.replace(problemPrefix, '') : '', detail: said.join('; ') };
}

function failureOf(wanted: Wanted, { status, headers, body }: Arrived, { now }: AcmeCaller): CodedError {
  const { type, detail } = problemOf(body);
  const { origin } = new URL(wanted.url ?? '');
  const message = `${origin} answered ${status}${type === '' ? '' : ` (${type})`}${detail === '' ? '' : `: ${detail}`}`;
  const retryAfterMs = parseRetryAfter(headers['retry-after'], now());
  const fields = { status, type, ...defined({ retryAfterMs }) };
  if (status === 429 || type === 'rateLimited') return new CodedError('acme_limited', message, { fields });
  // Nobody means to redirect an ACME request; something stands in between.
  if (status >= 500 || status < 400) return new CodedError('acme_unavailable', message, { fields });
  return new CodedError('acme_refused', message, { fields });
}
