import { isIP } from 'node:net';
import { CodedError } from '../../errors.ts';
import { connections, type HttpHead, httpClient } from '../../http/client.ts';
import { parseRetryAfter } from '../../http/retry-after.ts';
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

/**
 * Bytes of an answer that are read, so that its connection can be used again; a longer one is cut
 * off.
 */
const answerBytes = 64 * 1024;

/**
 * Connections go to allowed addresses only, and are kept for the next request; no other instance's
 * requests go over them.
 */
export function createPoster(options: {
  readonly allowed: AllowedAddresses;
  readonly now: () => number;
  readonly resolve?: Resolve | undefined;
}): Poster {
  const { allowed, now } = options;
  const { send, close } = connections({ lookup: guardedLookup(allowed, options.resolve), againOnReset: true });
  const client = httpClient({ runtime: { now }, requestTimeoutMs: 0, answerBytes, send });
  const headers = { 'content-type': 'application/json', 'user-agent': 'certstandby' };

  return {
    async post(endpoint, body, { timeoutMs, signal }) {
      const url = new URL(endpoint);
      const host = hostOf(url);
      // A name is looked at by the lookup; an address is never looked up.
      if (isIP(host) !== 0 && !isAllowed(host, allowed)) return failed(forbidden());
      const outcome = await client({ method: 'POST', url: url.href, headers, body, timeoutMs, signal });
      if ('answer' in outcome) return judge(outcome.answer, now());
      // The status counts, however the body ends.
      if (outcome.head !== undefined) return judge(outcome.head, now());
      if (outcome.failure !== 'network') return { ok: false, final: false, reason: 'no answer in time' };
      return failed(outcome.cause);
    },

    close,
  };
}

function judge({ status, headers }: HttpHead, nowMs: number): Delivery {
  if (status >= 200 && status < 300) return { ok: true };
  const passes = status >= 500 || status === 408 || status === 429;
  const retryAfterMs = parseRetryAfter(headers['retry-after']?.toString(), nowMs);
  return { ok: false, final: !passes, reason: `HTTP ${status}`, retryAfterMs };
}

function failed(cause: unknown): Delivery {
  const final = cause instanceof CodedError && cause.code === 'instance_endpoint_forbidden';
  return { ok: false, final, reason: final ? cause.message : networkReason(cause) };
}

function networkReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'the connection failed';
}
