/** How one attempt to deliver ended. `final`: the same attempt would end the same way. */
export type Delivery =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly final: boolean;
      readonly reason: string;
      readonly retryAfterMs?: number | undefined;
    };

/** Sends one notification, once. Does not follow redirects. Never throws for what the other side did. */
export async function postToken(
  endpoint: string,
  token: string,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly now: () => number },
): Promise<Delivery> {
  const ended = new AbortController();
  const end = () => ended.abort();
  const timer = setTimeout(end, options.timeoutMs);
  options.signal.addEventListener('abort', end);
  try {
    options.signal.throwIfAborted();
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'certstandby' },
      body: JSON.stringify({ data: token }),
      redirect: 'manual',
      signal: ended.signal,
    });
    await response.body?.cancel();
    return judge(response, options.now());
  } catch (error) {
    return { ok: false, final: false, reason: ended.signal.aborted ? 'no answer in time' : networkReason(error) };
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener('abort', end);
  }
}

function judge(response: Response, nowMs: number): Delivery {
  const { status } = response;
  if (status >= 200 && status < 300) return { ok: true };
  const passes = status >= 500 || status === 408 || status === 429;
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), nowMs);
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
  const cause = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  return typeof code === 'string' ? code : 'the connection failed';
}
