import { describe, expect, it } from 'vitest';
import { intakeRecords } from '../../src/records/intake-records.ts';
import { memoryTable } from '../../src/table/memory.ts';

const minute = 60_000;

describe('the budget of a link', () => {
  it('is taken one by one, side by side, and is whole again in the next minute', async () => {
    const records = intakeRecords(memoryTable());
    const take = (now: number) => records.takeFromBudget('main', now, 3);
    const taken = await Promise.all(Array.from({ length: 5 }, () => take(10 * minute)));
    expect(taken.filter(Boolean)).toHaveLength(3);
    expect(await records.takeFromBudget('other', 10 * minute, 3)).toBe(true);
    expect(await take(11 * minute - 1)).toBe(false);
    expect(await take(11 * minute)).toBe(true);
  });

  it('is the later minute’s for a clock that is behind, and no one’s that was far ahead', async () => {
    const records = intakeRecords(memoryTable());
    const take = (now: number) => records.takeFromBudget('main', now, 1);
    expect(await take(11 * minute)).toBe(true);
    expect(await take(10 * minute)).toBe(false);
    await take(900 * minute);
    expect(await take(11 * minute)).toBe(true);
  });

  it('of nothing is never given', async () => {
    expect(await intakeRecords(memoryTable()).takeFromBudget('main', minute, 0)).toBe(false);
  });
});

it('a turn for a listing is taken once in its time', async () => {
  const records = intakeRecords(memoryTable());
  expect(await records.claimListing('main', 1_000, 10_000)).toBeUndefined();
  expect(await records.claimListing('main', 10_999, 10_000)).toBe(11_000);
  expect(await records.claimListing('main', 11_000, 10_000)).toBeUndefined();
});

describe('a reconcile that is asked for', () => {
  it('is asked for since the first word, and by the last', async () => {
    const records = intakeRecords(memoryTable());
    expect(await records.askedReconcile('main')).toBeUndefined();
    for (const at of [5, 9, 7]) await records.askReconcile('main', at);
    expect(await records.askedReconcile('main')).toEqual({ since: 5, lastAt: 9 });
  });

  it('is answered up to a moment; what came later stays', async () => {
    const records = intakeRecords(memoryTable());
    await records.answerAskedReconcile('main', 5);
    for (const at of [5, 9]) await records.askReconcile('main', at);
    await records.answerAskedReconcile('main', 8);
    expect(await records.askedReconcile('main')).toEqual({ since: 8, lastAt: 9 });
    await records.answerAskedReconcile('main', 9);
    expect(await records.askedReconcile('main')).toBeUndefined();
  });
});
