/**
 * Milliseconds to wait from `nowMs` by a `Retry-After` header: seconds or a date (RFC 9110,
 * 10.2.3). Undefined if there is none that can be read.
 */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // `Date.parse` takes far more than a date of HTTP: `-1` is a year to it.
  const moment = /^[a-z]{3,9},? .*gmt$/i.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(moment) ? undefined : Math.max(0, moment - nowMs);
}
