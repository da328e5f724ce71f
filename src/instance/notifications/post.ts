import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { CodedError } from '../../errors.ts';
import { type AllowedAddresses, forbidden, guardedLookup, hostOf, isAllowed, type Resolve } from './endpoint.ts';

/** How one attempt to deliver ended. `final`: the same attempt would end the same way. */
export type Delivery =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly final: boolean;
      readonly reason: string;
      readonly retryAfterMs?: number | undefined;
    };

/** Sends bodies to endpoints, for one instance. */
export interface Poster {
  /** Sends one body, once. Does not follow redirects. Never throws for what the other side did. */
  post(
    endpoint: string,
    body: string,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<Delivery>;
  /** Lets go of connections that wait for the next request. */
  close(): void;
}

/** Bytes of an answer that are read, so that its connection can be used again; a longer one is cut off. */
const answerBytes = 64 * 1024;

/** Connections go to allowed addresses only, and are kept for the next request; no other instance's requests go over them. */
export function createPoster(options: {
  readonly allowed: AllowedAddresses;
  readonly now: () => number;
  readonly resolve?: Resolve | undefined;
}): Poster {
  const { allowed, now } = options;
  const lookup = guardedLookup(allowed, options.resolve);
  const agents = { 'http:': new HttpAgent({ keepAlive: true }), 'https:': new HttpsAgent({ keepAlive: true }) };

  /** The status and headers of the answer, once its body has been passed over. */
  function send(endpoint: string, body: string, signal: AbortSignal): Promise<IncomingMessage> {
    const url = new URL(endpoint);
    const host = hostOf(url);
    // A name is looked at by the lookup; an address is never looked up.
    if (isIP(host) !== 0 && !isAllowed(host, allowed)) throw forbidden();
    const secure = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const request = (secure ? requestHttps : requestHttp)(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'user-agent': 'certstandby',
        },
        agent: agents[secure ? 'https:' : 'http:'],
        lookup,
        signal,
      });
      request.on('error', (error) => {
        // The other side gave up a connection that was kept, most likely before it saw the request: at once on a new one.
        if (request.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET') {
          resolve(send(endpoint, body, signal));
        } else reject(error);
      });
      request.on('response', (response) => {
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > answerBytes) response.destroy();
        });
        // The status counts, however the body ends.
        response.on('error', () => {});
        response.on('close', () => resolve(response));
      });
      request.end(body);
    });
  }

  return {
    async post(endpoint, body, { timeoutMs, signal }) {
      const ended = new AbortController();
      const end = () => ended.abort();
      const timer = setTimeout(end, timeoutMs);
      signal.addEventListener('abort', end);
      try {
        signal.throwIfAborted();
        return judge(await send(endpoint, body, ended.signal), now());
      } catch (error) {
        const final = error instanceof CodedError && error.code === 'instance_endpoint_forbidden';
        const reason = final ? error.message : ended.signal.aborted ? 'no answer in time' : networkReason(error);
        return { ok: false, final, reason };
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
      }
    },

    close() {
      agents['http:'].destroy();
      agents['https:'].destroy();
    },
  };
}

function judge({ statusCode: status = 0, headers }: IncomingMessage, nowMs: number): Delivery {
  if (status >= 200 && status < 300) return { ok: true };
  const passes = status >= 500 || status === 408 || status === 429;
  const retryAfterMs = parseRetryAfter(headers['retry-after'] ?? null, nowMs);
  return { ok: false, final: !passes, reason: `HTTP ${status}`, retryAfterMs };
}

/** Milliseconds to wait by a `Retry-After` header: seconds or a date (RFC 9110, 10.2.3). Undefined if there is none that can be read. */
export function parseRetryAfter(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  // `Date.parse` takes far more than a date of HTTP: `-1` is a year to it.
  const moment = /^[A-Z][a-z]+, .* GMT$/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(moment) ? undefined : Math.max(0, moment - nowMs);
}

function networkReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'the connection failed';
}
