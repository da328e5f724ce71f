import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { LookupFunction } from 'node:net';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Runtime, systemRuntime } from '../runtime.ts';
import type { Secret } from '../secret.ts';
import { isLoopback } from './loopback.ts';
import { parseRetryAfter } from './retry-after.ts';

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
  /** How long this one may take, if not as long as every other of its client. */
  readonly timeoutMs?: number;
}

/** What comes before the body of an answer. */
export interface HttpHead {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface HttpAnswer extends HttpHead {
  /** From `Retry-After`, as a wait from now by our clock; at most `limits.retryAfterMs`. */
  readonly retryAfterMs?: number;
  /** From `Date`: the other side's clock, epoch milliseconds. */
  readonly date?: number;
  /** Lower case, without parameters; empty if not given. */
  readonly mediaType: string;
  readonly text: string;
}

/**
 * How a request ended: with a whole answer, or without one. `sent` false means that nothing can
 * have reached the other side; true means that nobody knows. `head` is there if the answer had
 * begun.
 */
export type HttpOutcome =
  | { readonly answer: HttpAnswer }
  | {
      readonly failure: 'network' | 'timeout' | 'ended';
      readonly sent: boolean;
      readonly cause: unknown;
      readonly head?: HttpHead;
    }
  | { readonly failure: 'oversized'; readonly head: HttpHead };

/** One request, one outcome; never throws for what the network or the other side did. */
export type HttpClient = (request: HttpRequest) => Promise<HttpOutcome>;

/** What an HTTP server answers, its body still to be read. */
export interface HttpResponse extends HttpHead {
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Sends one request. Calls `connected` before the first byte of it can leave; rejects when there is
 * no answer, or when the signal says so.
 */
export type HttpSend = (
  request: HttpRequest,
  options: { readonly signal: AbortSignal; readonly connected: () => void },
) => Promise<HttpResponse>;

/**
 * A client that never follows a redirect, gives up after `requestTimeoutMs`, and reads at most
 * `answerBytes` of an answer.
 */
export function httpClient(options: {
  /**
   * Without `wait` time limits go by the real clock: where `now` is that of a caller, which may
   * stand still.
   */
  readonly runtime: Pick<Runtime, 'now'> & Partial<Pick<Runtime, 'wait'>>;
  /** Until the last byte of the answer has come. */
  readonly requestTimeoutMs: number;
  /** Default: `limits.storeAnswerBytes`. */
  readonly answerBytes?: number;
  /** Default: over connections that all such clients of the process share. */
  readonly send?: HttpSend;
}): HttpClient {
  const { runtime, requestTimeoutMs, answerBytes = limits.storeAnswerBytes, send = sendOverNetwork } = options;
  const wait: Runtime['wait'] = (...limit) =>
    runtime.wait === undefined ? systemRuntime.wait(...limit) : runtime.wait(...limit);
  return async (request) => {
    const { signal } = request;
    if (signal?.aborted) return { failure: 'ended', sent: false, cause: signal.reason };
    const ender = new AbortController();
    const settled = new AbortController();
    let ended: 'timeout' | 'ended' | undefined;
    let sent = false;
    let head: HttpHead | undefined;
    const end = (why: 'timeout' | 'ended') => {
      ended ??= why;
      ender.abort();
    };
    const onAbort = () => end('ended');
    signal?.addEventListener('abort', onAbort, { once: true });
    wait(request.timeoutMs ?? requestTimeoutMs, settled.signal).then(
      () => end('timeout'),
      () => {},
    );
    try {
      const connected = () => {
        sent = true;
      };
      const { status, headers, body } = await send(request, { signal: ender.signal, connected });
      head = { status, headers };
      const text = await readText(body, answerBytes);
      if (text === undefined) return { failure: 'oversized', head };
      const retryAfterMs = parseRetryAfter(first(headers['retry-after']), runtime.now());
      const mediaType = first(headers['content-type']).split(';', 1).join('').trim().toLowerCase();
      const date = Date.parse(first(headers.date));
      return {
        answer: {
          ...head,
          mediaType,
          text,
          ...(retryAfterMs !== undefined && { retryAfterMs: Math.min(retryAfterMs, limits.retryAfterMs) }),
          ...(!Number.isNaN(date) && { date }),
        },
      };
    } catch (thrown) {
      const cause = ended === 'ended' ? signal?.reason : thrown;
      return { failure: ended ?? 'network', sent, cause, ...defined({ head }) };
    } finally {
      signal?.removeEventListener('abort', onAbort);
      // With a reason: the default one is an error with a stack, made anew for each request and
      // read by nobody.
      settled.abort('settled');
    }
  };
}

export interface Connections {
  readonly send: HttpSend;
  /** Gives up those that wait for the next request. */
  close(): void;
}

/** Connections of one's own, kept for the next request and shared with nobody. */
export function connections(
  options: {
    /** At once to one host; the others wait. Default: no bound. */
    readonly most?: number;
    /**
     * PEM of the only authorities that a server's certificate is checked against. Default: those of
     * the platform.
     */
    readonly trust?: string | undefined;
    /** PEM of the certificate that is shown to a server that asks for one, and of its key. */
    readonly client?: { readonly certificate: string; readonly key: Secret };
    /** The name that a server's certificate is checked against. Default: the host of the URL. */
    readonly serverName?: string | undefined;
    /** What turns host names into addresses. Default: the platform. */
    readonly lookup?: LookupFunction;
    /**
     * Whether a request is sent once more where the other side reset a kept connection, most likely
     * before it saw the request. Only where it does no harm that it arrives twice.
     */
    readonly againOnReset?: boolean;
  } = {},
): Connections {
  const { most, trust, client, serverName, lookup, againOnReset = false } = options;
  // A kept connection is given up before the other side does so: servers keep one for five seconds
  // and more. A function that its platform froze would find an old one dead, and a write that is
  // sent into it, once, is lost.
  const kept = { keepAlive: true, timeout: 4_000, ...defined({ maxSockets: most }) };
  const plain = { request: requestHttp, agent: new HttpAgent(kept), ready: 'connect' } as const;
  const encrypted = { request: requestHttps, agent: new HttpsAgent(kept), ready: 'secureConnect' } as const;

  const send: HttpSend = (wanted, { signal, connected }) =>
    new Promise((resolve, reject) => {
      const { method, url, headers, body } = wanted;
      const { request: begin, agent, ready } = url.startsWith('https:') ? encrypted : plain;
      const bytes = body === undefined ? undefined : Buffer.from(body);
      const length = bytes === undefined ? {} : { 'content-length': bytes.byteLength };
      const request = begin(url, {
        method,
        agent,
        signal,
        // An answer that is packed would have to be unpacked with a bound.
        headers: { 'accept-encoding': 'identity', ...headers, ...length },
        ...defined({ ca: trust, servername: serverName, lookup }),
        ...(client && { cert: client.certificate, key: client.key.reveal() }),
      });
      request.once('socket', (socket) => {
        if (request.reusedSocket) connected();
        // The other side has then proven who it is; what is to be sent has waited for that.
        else socket.once(ready, connected);
      });
      request.once('response', (message: IncomingMessage) => {
        resolve({ status: message.statusCode ?? 0, headers: message.headers, body: message });
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        const reset = againOnReset && request.reusedSocket && error.code === 'ECONNRESET';
        if (reset) resolve(send(wanted, { signal, connected }));
        else reject(error);
      });
      // Bodies may hold private keys, in both directions.
      request.once('close', () => bytes?.fill(0));
      request.end(bytes);
    });

  return {
    send,
    close() {
      plain.agent.destroy();
      encrypted.agent.destroy();
    },
  };
}

/**
 * Over connections that are kept and shared by all clients of the process that have none of their
 * own.
 */
export const sendOverNetwork: HttpSend = connections().send;

function first(header: string | string[] | undefined): string {
  return (Array.isArray(header) ? header[0] : header) ?? '';
}

/**
 * The base of a service's URLs, without a slash at its end. Throws `configuration_invalid` unless
 * it is `https:`, or `http:` on this very machine, and carries nothing but host, port and path.
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
