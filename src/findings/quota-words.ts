import type { QuotaForecast, Renewals } from '../replication/quota-forecast.ts';
import type { QuotaLeft } from '../store/store.ts';
import { clean, count, duration, thousands } from '../words.ts';

/** A quota, and what is left of it. */
export function quotaWords(quota: QuotaLeft): string {
  const { operations, count: most, left, reserve, perMs, moreAt } = quota;
  const kept = reserve === 0 ? '' : `, ${reserve} of them kept for copies that are there`;
  const scarce = isScarce(quota) ? ', four fifths are used: have it raised in time' : '';
  const more = moreAt === undefined ? '' : `; more at ${new Date(moreAt).toISOString()}`;
  return `of ${most} (${operations.map(clean).join(', ')}) in ${duration(perMs)} there are ${left} left${kept}${scarce}${more}`;
}

/** Something is left, and it is little. */
export const isScarce = ({ left, count }: QuotaLeft): boolean => left > 0 && left <= count / 5;

/** Nothing is left for new copies: what is kept in reserve is for those that are there. */
export const isUsedUp = ({ left, reserve }: QuotaLeft): boolean => left <= reserve;

/** What the renewals of a link will take of a quota; where it runs out, when. */
export function forecastWords({ expected, usedUpAt }: QuotaForecast, { unknown }: Renewals, perMs: number): string {
  const more =
    unknown === undefined ? '' : `, and those of ${count(unknown, 'certificate')} whose life is not known yet`;
  const end = usedUpAt === undefined ? '' : `: used up about ${new Date(usedUpAt).toISOString().slice(0, 10)}`;
  return `renewals of this link, each after two thirds of a life, take about ${thousands(expected)} in ${duration(perMs)}${more}${end}`;
}
