import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';

export type Fetch = typeof globalThis.fetch;

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  /** From `Retry-After`, as a wait from now by our clock; at most `limits.retryAfterMs`. */
  readonly retryAfterMs?: number;
  /** Lower case, without parameters; empty if not given. */
  readonly mediaType: string;
  readonly text: string;
}

/**
 * How a request ended: with a whole answer, or without one. `sent` false means that nothing can have reached the other side;
 * true means that nobody knows.
 */
export type HttpOutcome =
  | { readonly answer: HttpAnswer }
  | { readonly failure: 'network' | 'timeout' | 'ended'; readonly sent: boolean; readonly cause: unknown }
  | { readonly failure: 'oversized' };

/** One request, one outcome; never throws for what the network or the other side did. */
export type HttpClient = (request: HttpRequest) => Promise<HttpOutcome>;

/** A client on `fetch`: never follows a redirect, gives up after `requestTimeoutMs`, and reads at most `limits.storeAnswerBytes`. */
export function httpClient(options: {
  readonly runtime: Runtime;
  readonly requestTimeoutMs: number;
  readonly fetch?: Fetch;
}): HttpClient {
  const { runtime, requestTimeoutMs, fetch = globalThis.fetch } = options;
  return async (request) => {
    const { signal } = request;
    if (signal?.aborted) return { failure: 'ended', sent: false, cause: signal.reason };
    const ender = new AbortController();
    const settled = new AbortController();
    let ended: 'timeout' | 'ended' | undefined;
    const end = (why: 'timeout' | 'ended') => {
      ended ??= why;
      ender.abort();
    };
    const onAbort = () => end('ended');
    signal?.addEventListener('abort', onAbort, { once: true });
    runtime.wait(requestTimeoutMs, settled.signal).then(
      () => end('timeout'),
      () => {},
    );
    try {
      const response = await fetch(request.url, {
        method: request.method,
        headers: request.headers,
        redirect: 'manual',
        signal: ender.signal,
        ...(request.body !== undefined && { body: request.body }),
      });
      const text = await readText(response, limits.storeAnswerBytes);
      if (text === undefined) return { failure: 'oversized' };
      const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), runtime.now());
      const mediaType = (response.headers.get('content-type') ?? '').split(';', 1).join('').trim().toLowerCase();
      return {
        answer: { status: response.status, mediaType, text, ...(retryAfterMs !== undefined && { retryAfterMs }) },
      };
    } catch (thrown) {
      const cause = ended === 'ended' ? signal?.reason : thrown;
      return { failure: ended ?? 'network', sent: ended !== undefined || !neverConnected(thrown), cause };
    } finally {
      signal?.removeEventListener('abort', onAbort);
      // With a reason: the default one is an error with a stack, made anew for each request and read by nobody.
      settled.abort('settled');
    }
  };
}

/**
 * The base of a service's URLs, without a slash at its end. Throws `configuration_invalid` unless it is `https:`, or `http:` on this
 * very machine, and carries nothing but host, port and path.
 */
export function serviceBase(text: string, what: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const invalid = (found: string) => new CodedError('configuration_invalid', `${what}: ${found}`, { fields: { what } });
  if (url === undefined) throw invalid('not a URL');
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw invalid('credentials, a query or a fragment have no place in this URL');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname)))
    throw invalid(
      `"${url.origin}" is not https, and plain http is allowed only to this machine (127.0.0.1, [::1], localhost)`,
    );
  return url.href.replace(/\/+$/, '');
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** Codes of failures that come before the first byte of a request leaves: TLS checks of the other side, and no connection in time. */
const beforeSending: ReadonlySet<string> = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_UNSUPPORTED_PROTOCOL',
  'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
  'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Whether a thrown thing of `fetch` shows that no connection came about. What is not known to show it does not. */
function neverConnected(thrown: unknown): boolean {
  const cause: unknown = thrown instanceof Error ? thrown.cause : undefined;
  if (!(cause instanceof Error)) return false;
  const { syscall, code } = cause as NodeJS.ErrnoException;
  // Several addresses of one name were tried: all must have failed to connect.
  if (cause instanceof AggregateError)
    return cause.errors.length > 0 && cause.errors.every((error: NodeJS.ErrnoException) => error.syscall === 'connect');
  return syscall === 'connect' || syscall === 'getaddrinfo' || (code !== undefined && beforeSending.has(code));
}

/** The body as text, or `undefined` if it is longer than `maximumBytes`, counted as unpacked. */
async function readText(response: Response, maximumBytes: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maximumBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** `Retry-After` (RFC 9110, 10.2.3: seconds or a date) as milliseconds from `now`; `undefined` if absent or neither. */
function parseRetryAfter(header: string | null, now: number): number | undefined {
  const text = header?.trim() ?? '';
  const milliseconds = /^\d+$/.test(text)
    ? Number(text) * 1000
    : /^[a-z]{3,9},? .*gmt$/i.test(text)
      ? Date.parse(text) - now
      : NaN;
  return Number.isNaN(milliseconds) ? undefined : Math.min(Math.max(0, milliseconds), limits.retryAfterMs);
}
