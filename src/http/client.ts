import { Agent as HttpAgent, type IncomingMessage, request as sendHttp } from 'node:http';
import { Agent as HttpsAgent, request as sendHttps } from 'node:https';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';

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
  /** From `Date`: the other side's clock, epoch milliseconds. */
  readonly date?: number;
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

/** What an HTTP server answers, its body still to be read. */
export interface HttpResponse {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Sends one request. Calls `connected` before the first byte of it can leave; rejects when there is no answer, or when the signal says so. */
export type HttpSend = (
  request: HttpRequest,
  options: { readonly signal: AbortSignal; readonly connected: () => void },
) => Promise<HttpResponse>;

/** A client that never follows a redirect, gives up after `requestTimeoutMs`, and reads at most `limits.storeAnswerBytes`. */
export function httpClient(options: {
  readonly runtime: Runtime;
  readonly requestTimeoutMs: number;
  /** Default: over kept connections. */
  readonly send?: HttpSend;
}): HttpClient {
  const { runtime, requestTimeoutMs, send = sendOverNetwork } = options;
  return async (request) => {
    const { signal } = request;
    if (signal?.aborted) return { failure: 'ended', sent: false, cause: signal.reason };
    const ender = new AbortController();
    const settled = new AbortController();
    let ended: 'timeout' | 'ended' | undefined;
    let sent = false;
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
      const connected = () => {
        sent = true;
      };
      const { status, headers, body } = await send(request, { signal: ender.signal, connected });
      const text = await readText(body, limits.storeAnswerBytes);
      if (text === undefined) return { failure: 'oversized' };
      const retryAfterMs = parseRetryAfter(first(headers['retry-after']), runtime.now());
      const mediaType = first(headers['content-type']).split(';', 1).join('').trim().toLowerCase();
      const date = Date.parse(first(headers.date));
      return {
        answer: {
          status,
          mediaType,
          text,
          ...(retryAfterMs !== undefined && { retryAfterMs }),
          ...(!Number.isNaN(date) && { date }),
        },
      };
    } catch (thrown) {
      return { failure: ended ?? 'network', sent, cause: ended === 'ended' ? signal?.reason : thrown };
    } finally {
      signal?.removeEventListener('abort', onAbort);
      // With a reason: the default one is an error with a stack, made anew for each request and read by nobody.
      settled.abort('settled');
    }
  };
}

// A kept connection is given up before the other side does so: servers keep one for five seconds and more.
const keptConnections = { keepAlive: true, timeout: 4_000 } as const;
const plain = { send: sendHttp, agent: new HttpAgent(keptConnections), ready: 'connect' } as const;
const encrypted = { send: sendHttps, agent: new HttpsAgent(keptConnections), ready: 'secureConnect' } as const;

/** Over connections that are kept and shared by all clients of the process. */
export const sendOverNetwork: HttpSend = ({ method, url, headers, body }, { signal, connected }) =>
  new Promise((resolve, reject) => {
    const { send, agent, ready } = url.startsWith('https:') ? encrypted : plain;
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const length = bytes === undefined ? {} : { 'content-length': bytes.byteLength };
    const request = send(url, {
      method,
      agent,
      signal,
      // An answer that is packed would have to be unpacked with a bound.
      headers: { 'accept-encoding': 'identity', ...headers, ...length },
    });
    request.once('socket', (socket) => {
      if (request.reusedSocket) connected();
      // The other side has then proven who it is; what is to be sent has waited for that.
      else socket.once(ready, connected);
    });
    request.once('response', (message: IncomingMessage) => {
      resolve({ status: message.statusCode ?? 0, headers: message.headers, body: message });
    });
    request.on('error', reject);
    // Bodies may hold private keys, in both directions.
    request.once('close', () => bytes?.fill(0));
    request.end(bytes);
  });

function first(header: string | string[] | undefined): string {
  return (Array.isArray(header) ? header[0] : header) ?? '';
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

/** The body as text, or `undefined` if it is longer than `maximumBytes`, */
async function readText(body: AsyncIterable<Uint8Array>, maximumBytes: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > maximumBytes) return undefined;
    chunks.push(chunk);
  }
  const whole = Buffer.concat(chunks);
  const text = whole.toString('utf8');
  for (const read of [...chunks, whole]) read.fill(0);
  return text;
}

/** `Retry-After` (RFC 9110, 10.2.3: seconds or a date) as milliseconds from `now`; `undefined` if absent or neither. */
function parseRetryAfter(header: string, now: number): number | undefined {
  const text = header.trim();
  const milliseconds = /^\d+$/.test(text)
    ? Number(text) * 1000
    : /^[a-z]{3,9},? .*gmt$/i.test(text)
      ? Date.parse(text) - now
      : NaN;
  return Number.isNaN(milliseconds) ? undefined : Math.min(Math.max(0, milliseconds), limits.retryAfterMs);
}
