import { describe, expect, it } from 'vitest';
import { reconcileRecords } from '../../src/records/reconcile-records.ts';
import { memoryTable } from '../../src/table/memory.ts';

const lease = { owner: 'one', now: 1_000, until: 2_000, skewMs: 100 };
const completed = { listed: 3, included: 2, unmarked: 1, notListed: ['b'], tookMs: 9 };

describe('the turn of a link', () => {
  it('is held by one at a time, until it is given back', async () => {
    const records = reconcileRecords(memoryTable());
    expect(await records.beginReconcile('shop', lease)).toEqual({ token: 1 });
    expect(await records.beginReconcile('shop', { ...lease, owner: 'two' })).toMatchObject({
      running: { token: 1, owner: 'one', startedAt: 1_000, until: 2_000, step: 'comparing', done: 0 },
    });
    expect(await records.beginReconcile('other', lease)).toEqual({ token: 1 });
    await records.endReconcile('shop', 1, { completed, startedAt: 1_000 });
    expect(await records.beginReconcile('shop', lease)).toEqual({ token: 2 });
  });

  it.each([
    [2_100, false],
    [2_101, true],
  ])('is free after its lease and the skew, at %d: %s', async (now, free) => {
    const records = reconcileRecords(memoryTable());
    await records.beginReconcile('shop', lease);
    expect('token' in (await records.beginReconcile('shop', { ...lease, now, until: now + 1_000 }))).toBe(free);
  });

  it('of two that begin at once one has it', async () => {
    const records = reconcileRecords(memoryTable());
    const begun = await Promise.all([records.beginReconcile('shop', lease), records.beginReconcile('shop', lease)]);
    expect(begun.filter((each) => 'token' in each)).toHaveLength(1);
  });

  it('once lost is neither prolonged nor ended by who had it', async () => {
    const records = reconcileRecords(memoryTable());
    await records.beginReconcile('shop', lease);
    expect(await records.keepReconcile('shop', 1, { until: 3_000, step: 'asking', done: 5 })).toBe(true);
    expect(await records.reconcileState('shop')).toMatchObject({ until: 3_000, step: 'asking', done: 5 });
    await records.beginReconcile('shop', { ...lease, now: 3_101, until: 9_000 });
    expect(await records.keepReconcile('shop', 1, { until: 5_000, step: 'asking', done: 6 })).toBe(false);
    await records.endReconcile('shop', 1, { stoppedAt: 7 });
    expect(await records.reconcileState('shop')).toMatchObject({ token: 2, until: 9_000, done: 0 });
  });
});

describe('how it ended', () => {
  const ended = async (...ends: Parameters<ReturnType<typeof reconcileRecords>['endReconcile']>[2][]) => {
    const records = reconcileRecords(memoryTable());
    for (const end of ends) {
      const begun = await records.beginReconcile('shop', lease);
      if ('token' in begun) await records.endReconcile('shop', begun.token, end);
    }
    return records.reconcileState('shop');
  };
  const brake = { at: 1, changing: 2, vanishing: 3, copied: 4, allowed: 5 };
  const failure = { at: 1, code: 'store_unavailable', message: 'not reached' };

  it('is kept, beside what the last completed one found', async () => {
    const whole = { ...completed, completedAt: 1_000, startedAt: 1_000 };
    expect(await ended({ completed, startedAt: 1_000 })).toEqual({ token: 1, ...whole });
    expect(await ended({ completed, startedAt: 1_000 }, { failure })).toEqual({ token: 2, ...whole, failure });
    expect(await ended({ completed, startedAt: 1_000 }, { brake })).toEqual({ token: 2, ...whole, brake });
    expect(await ended({ stoppedAt: 5 })).toEqual({ token: 1, startedAt: 1_000, stoppedAt: 5 });
  });

  it('a completed one clears what stood in its way before', async () => {
    const state = await ended({ failure }, { brake }, { stoppedAt: 5 }, { completed, startedAt: 1_000 });
    expect(state).toEqual({ token: 4, ...completed, completedAt: 1_000, startedAt: 1_000 });
  });

  it('a row that is damaged is not taken for one that says nothing', async () => {
    const table = memoryTable();
    await table.update({ partition: 'reconcile.1', sort: 'shop' }, { set: { brake: 'on' } });
    await expect(reconcileRecords(table).reconcileState('shop')).rejects.toMatchObject({
      code: 'table_row_unreadable',
      fields: { link: 'shop', damaged: ['brake'] },
    });
  });
});

it('the last verify of a link is kept, and no other one', async () => {
  const records = reconcileRecords(memoryTable());
  expect(await records.lastVerify('shop')).toBeUndefined();
  const summary = { startedAt: 1, completedAt: 2, certificates: 3, counts: { same: 3 }, withoutKeys: 0, problems: 0 };
  await records.saveVerify('shop', { ...summary, examples: ['a'] });
  await records.saveVerify('shop', { ...summary, counts: { missing: 1 }, examples: [] });
  expect(await records.lastVerify('shop')).toEqual({ ...summary, counts: { missing: 1 }, examples: [] });
});
