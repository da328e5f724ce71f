import { defined } from '../defined.ts';
import type { QuotaLeft, Store } from '../store/store.ts';

/** How often a link copies a renewal. */
export interface Renewals {
  /** In 365 days, of all certificates whose lives the records know. */
  readonly perYear: number;
  /** Certificates whose lives they do not know yet: these come on top. Absent: there are none. */
  readonly unknown?: number;
}

/** What renewals will take of a quota. */
export interface QuotaForecast {
  /** Uses in its period. */
  readonly expected: number;
  /**
   * When nothing will be left at that rate, epoch milliseconds; absent: uses come back in time.
   */
  readonly usedUpAt?: number;
}

/** A certificate is renewed after so much of its life, as clients of ACME do without other word. */
const renewedAfter = 2 / 3;
const yearMs = 365 * 24 * 3_600_000;

/** How often in 365 days a certificate that lives so long is renewed. */
export const renewalsPerYear = (lifeMs: number): number => yearMs / (lifeMs * renewedAfter);

/**
 * What the renewals of one link will take of a quota of one of its backups; `undefined`: nothing,
 * as far as is known.
 */
export function forecastFor(
  { reimportsInPlace }: Pick<Store['abilities'], 'reimportsInPlace'>,
  quota: QuotaLeft,
  renewals: Renewals | undefined,
  now: number,
): QuotaForecast | undefined {
  const isCounted = quota.operations.includes(reimportsInPlace ? 'reimport' : 'import');
  return isCounted && renewals !== undefined ? quotaForecast(quota, renewals, now) : undefined;
}

/**
 * What the renewals of one link will take of a quota of a backup, if each is one use. A use comes
 * back a period after it was made: until the first does so the rest must suffice, and after that no
 * more may be used in a period than there is.
 */
export function quotaForecast(
  { count, perMs, left, moreAt }: Pick<QuotaLeft, 'count' | 'perMs' | 'left' | 'moreAt'>,
  { perYear }: Renewals,
  now: number,
): QuotaForecast {
  const expected = (perYear * perMs) / yearMs;
  const usedUpAt = now + (left / expected) * perMs;
  const isInTime = expected <= count && usedUpAt >= (moreAt ?? now + perMs);
  return { expected: Math.round(expected), ...defined({ usedUpAt: isInTime ? undefined : Math.round(usedUpAt) }) };
}
