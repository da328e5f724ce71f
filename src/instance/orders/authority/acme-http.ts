import { AsyncLocalStorage } from 'node:async_hooks';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { CodedError } from '../../../errors.ts';
import { limits } from '../../../limits.ts';

/** For whom requests are made. */
export interface AcmeCaller {
  /** PEM of the authorities that the directory's own certificate is checked against, beside no others; absent: those of the platform. */
  readonly trust?: string | undefined;
  readonly timeoutMs: number;
  readonly now: () => number;
}

/** Whose requests the library makes: it keeps one HTTP client for everybody, and takes no options for one request. */
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
 * Sends one request of the library, once. Every failure of it is coded here, where status, problem document and `Retry-After` are
 * still at hand: the library would make a text of them. Only a bad nonce is left for the library, which then tries again (RFC 8555
 * section 6.5). Redirects are not followed.
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

function send(wanted: Wanted, { trust, timeoutMs }: AcmeCaller): Promise<Arrived> {
  const url = new URL(wanted.url ?? '');
  const where = `${wanted.method?.toUpperCase() ?? 'GET'} ${url.origin}${url.pathname}`;
  const failed = (reason: string, cause?: unknown) =>
    new CodedError('acme_unavailable', `${where}: ${reason}`, { ...(cause !== undefined && { cause }) });
  return new Promise((resolve, reject) => {
    const body = wanted.data === undefined ? undefined : String(wanted.data);
    const request = (url.protocol === 'http:' ? requestHttp : requestHttps)(url, {
      method: wanted.method?.toUpperCase() ?? 'GET',
      headers: {
        'user-agent': 'certstandby',
        'content-type': 'application/jose+json',
        ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
      },
      // From the first to the last byte: a server that trickles must not hold an order up.
      signal: AbortSignal.timeout(timeoutMs),
      ...(trust !== undefined && { ca: trust }),
    });
    request.on('error', (cause: NodeJS.ErrnoException) => {
      const late = cause.name === 'TimeoutError' || cause.name === 'AbortError';
      reject(failed(late ? `no answer in ${timeoutMs} ms` : `no answer (${cause.code ?? cause.name})`, cause));
    });
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > limits.acmeAnswerBytes) request.destroy(failed('an answer that is too long'));
        else chunks.push(chunk);
      });
      response.on('error', (cause) => reject(failed('the answer was cut off', cause)));
      response.on('end', () => {
        const headers = Object.entries(response.headers).map(([name, value]) => [name, [value].flat().join(', ')]);
        resolve({
          status: response.statusCode ?? 0,
          headers: Object.fromEntries(headers),
          body: Buffer.concat(chunks).toString(),
        });
      });
    });
    request.end(body);
  });
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

/** The problem in a JSON value, with the details of its subproblems. Lenient: it comes from elsewhere. */
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
  const retryAfterMs = waitOf(headers['retry-after'], now());
  const fields = { status, type, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  if (status === 429 || type === 'rateLimited') return new CodedError('acme_limited', message, { fields });
  // Nobody means to redirect an ACME request; something stands in between.
  if (status >= 500 || status < 400) return new CodedError('acme_unavailable', message, { fields });
  return new CodedError('acme_refused', message, { fields });
}

/** Milliseconds that a `Retry-After` asks for, in seconds or as a date. */
function waitOf(retryAfter: string | undefined, nowMs: number): number | undefined {
  if (retryAfter === undefined) return undefined;
  const waitMs = /^\d{1,9}$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - nowMs;
  return Number.isFinite(waitMs) ? Math.max(0, waitMs) : undefined;
}
