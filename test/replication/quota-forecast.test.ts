import { expect, it } from 'vitest';
import { quotaRecords } from '../../src/records/quota-records.ts';
import { forecastFor, quotaForecast, renewalsPerYear } from '../../src/replication/quota-forecast.ts';
import { memoryTable } from '../../src/table/memory.ts';

const dayMs = 24 * 3_600_000;
const perMs = 365 * dayMs;
const startMs = Date.parse('2026-01-01');
const dayOf = (moment: number | undefined) => moment && Math.round((moment - startMs) / dayMs);

it('a certificate is renewed when two thirds of its life are over', () => {
  expect(renewalsPerYear(365 * dayMs)).toBe(1.5);
  expect(renewalsPerYear(47 * dayMs)).toBeCloseTo(11.6, 1);
});

it('renewals that stay within a quota run out of nothing, and those that do not are told when', () => {
  const quota = { count: 5_000, left: 5_000, perMs };
  expect(quotaForecast(quota, { perYear: 4_900 }, startMs)).toEqual({ expected: 4_900 });
  const over = quotaForecast(quota, { perYear: 10_000 }, startMs);
  expect([over.expected, dayOf(over.usedUpAt)]).toEqual([10_000, 183]);
  // First copies count too, and come back only a year after they were made.
  const begun = quotaForecast({ ...quota, left: 4_400, moreAt: startMs + perMs }, { perYear: 4_900 }, startMs);
  expect(dayOf(begun.usedUpAt)).toBe(328);
  // What comes back before it is wanted is in time.
  const back = { ...quota, left: 100, moreAt: startMs + 2 * dayMs };
  expect(quotaForecast(back, { perYear: 4_900 }, startMs)).toEqual({ expected: 4_900 });
  // Another period than a year.
  expect(quotaForecast({ count: 10, left: 10, perMs: dayMs }, { perYear: 365 }, startMs)).toEqual({ expected: 1 });
});

it('renewals take of a quota that counts what a backup does with them', () => {
  const quota = { operations: ['import' as const], count: 10, left: 10, perMs, reserve: 0 };
  const renewals = { perYear: 5 };
  expect(forecastFor({ reimportsInPlace: false }, quota, renewals, startMs)).toEqual({ expected: 5 });
  expect(forecastFor({ reimportsInPlace: true }, quota, renewals, startMs)).toBeUndefined();
  const both = { ...quota, operations: ['import' as const, 'reimport' as const] };
  expect(forecastFor({ reimportsInPlace: true }, both, renewals, startMs)).toEqual({ expected: 5 });
  expect(forecastFor({ reimportsInPlace: true }, both, undefined, startMs)).toBeUndefined();
});

it('a year of 600 certificates of 47 days at a quota of 5,000 imports: its end is told from the first day on, and comes on the day that is told', async () => {
  const book = quotaRecords(memoryTable());
  const quota = { store: 'acm', name: 'imports', perMs };
  const count = 5_000;
  const perYear = 600 * renewalsPerYear(47 * dayMs);
  const told: (number | undefined)[] = [];
  let owed = 600;
  let endedOn: number | undefined;
  for (let day = 0; day < 365 && endedOn === undefined; day += 1) {
    const now = startMs + day * dayMs;
    for (; owed >= 1; owed -= 1)
      if (!(await book.useQuota(quota, now, count)).used) {
        endedOn = day;
        break;
      }
    const { count: used, nextAt } = await book.quotaUsed(quota, now);
    const left = count - used;
    const moreAt = nextAt === undefined ? {} : { moreAt: nextAt };
    if (day % 30 === 0) told.push(dayOf(quotaForecast({ count, left, perMs, ...moreAt }, { perYear }, now).usedUpAt));
    owed += perYear / 365;
  }
  expect(endedOn).toBe(230);
  expect(told.length).toBe(8);
  for (const day of told) expect(Math.abs((day ?? 0) - 230)).toBeLessThanOrEqual(1);
});
