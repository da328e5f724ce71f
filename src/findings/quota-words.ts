import type { QuotaLeft } from '../store/store.ts';
import { clean, duration } from '../words.ts';

/** A quota, and what is left of it. */
export function quotaWords(quota: QuotaLeft): string {
  const { operations, count, left, reserve, perMs, moreAt } = quota;
  const kept = reserve === 0 ? '' : `, ${reserve} of them kept for copies that are there`;
  const scarce = isScarce(quota) ? ', four fifths are used: have it raised in time' : '';
  const more = moreAt === undefined ? '' : `; more at ${new Date(moreAt).toISOString()}`;
  return `of ${count} (${operations.map(clean).join(', ')}) in ${duration(perMs)} there are ${left} left${kept}${scarce}${more}`;
}

/** Something is left, and it is little. */
export const isScarce = ({ left, count }: QuotaLeft): boolean => left > 0 && left <= count / 5;

/** Nothing is left for new copies: what is kept in reserve is for those that are there. */
export const isUsedUp = ({ left, reserve }: QuotaLeft): boolean => left <= reserve;
