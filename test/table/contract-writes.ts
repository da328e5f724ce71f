import { describe, expect, it } from 'vitest';
import type { Condition } from '../../src/table/table.ts';
import { eventually, type Ground } from './contract-ground.ts';

/** What update, putIfAbsent and delete do and answer. */
export function writesContract({ table, freshKey, freshRow }: Ground): void {
  describe('update', () => {
    it('creates the row, and answers the row after the write', async () => {
      const key = freshKey();
      const row = { ...key, requested: 1, wakeAt: 1000, eventAt: '2026-11-23' };
      const change = { set: { wakeAt: 1000, eventAt: '2026-11-23' }, add: { requested: 1 } };
      expect(await table.update(key, change)).toEqual({ applied: true, row });
      expect(await table.get(key)).toEqual(row);
    });

    it('creates a row without fields, by an empty change or by one that only removes', async () => {
      const empty = freshKey();
      expect(await table.update(empty, {})).toEqual({ applied: true, row: empty });
      expect(await table.get(empty)).toEqual(empty);
      const removing = freshKey();
      expect(await table.update(removing, { remove: ['lease'] })).toEqual({ applied: true, row: removing });
      expect(await table.get(removing)).toEqual(removing);
    });

    it('sets, adds and removes at once, and leaves the other fields as they are', async () => {
      const key = await freshRow({ kept: ['as', 'it', 'is'], set: 'before', count: 40, gone: 1 });
      const change = { set: { set: 'after' }, add: { count: 2, created: 0 }, remove: ['gone', 'never there'] };
      const row = { ...key, kept: ['as', 'it', 'is'], set: 'after', count: 42, created: 0 };
      expect(await table.update(key, change)).toEqual({ applied: true, row });
      expect(await table.get(key)).toEqual(row);
    });

    it('adds negative numbers, and beyond 32 bits', async () => {
      const key = await freshRow({ count: 1 });
      await table.update(key, { add: { count: -3 } });
      expect((await table.get(key))?.count).toBe(-2);
      await table.update(key, { add: { count: 2 ** 52 } });
      expect((await table.get(key))?.count).toBe(4503599627370494);
    });

    it('replaces a whole field, whatever it held', async () => {
      const key = await freshRow({ lease: { token: 1, owner: 'a' } });
      await table.update(key, { set: { lease: { token: 2 } } });
      expect((await table.get(key))?.lease).toEqual({ token: 2 });
      await table.update(key, { set: { lease: null } });
      expect((await table.get(key))?.lease).toBeNull();
    });

    it('takes field names that engines reserve, and does not take inherited ones for fields', async () => {
      const key = await freshRow({ 'a.b': 1, a: { b: 2 }, ':v0': 3, '#n0': 4, size: 5, 'with space': 6 });
      expect(await table.update(key, { add: { 'a.b': 1, size: 1 }, remove: [':v0'] })).toEqual({
        applied: true,
        row: { ...key, 'a.b': 2, a: { b: 2 }, '#n0': 4, size: 6, 'with space': 6 },
      });
      expect((await table.update(key, {}, { exists: 'constructor' })).applied).toBe(false);
      expect((await table.update(key, { add: { toString: 2 } }, { absent: 'toString' })).row?.toString).toBe(2);
    });

    it.each(['1', null, true, [1], { a: 1 }])('refuses to add to %j, and changes nothing', async (odd) => {
      const key = await freshRow({ odd, count: 1 });
      const attempt = table.update(key, { add: { odd: 1, count: 1 }, set: { other: 1 } });
      await expect(attempt).rejects.toMatchObject({ code: 'internal' });
      expect(await table.get(key)).toEqual({ ...key, odd, count: 1 });
    });

    it('counts every one of many additions at once', async () => {
      const key = freshKey();
      await Promise.all(Array.from({ length: 50 }, () => table.update(key, { add: { requested: 1 } })));
      expect(await table.get(key)).toEqual({ ...key, requested: 50 });
    });

    it('lets one of many claims win, and shows the others who did', async () => {
      const key = await freshRow({ requested: 1, replicated: 0, token: 7 });
      const claim: Condition = {
        all: [
          { field: 'requested', is: '>', to: { fieldOf: 'replicated' } },
          { any: [{ absent: 'until' }, { field: 'until', is: '<=', to: 1000 }] },
        ],
      };
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, (_, owner) =>
          table.update(key, { set: { until: 2000, owner }, add: { token: 1 } }, claim),
        ),
      );
      const won = outcomes.filter((outcome) => outcome.applied);
      expect(won).toHaveLength(1);
      expect(won[0]?.row?.token).toBe(8);
      expect(outcomes.map((outcome) => outcome.row)).toEqual(outcomes.map(() => won[0]?.row));
    });
  });

  describe('putIfAbsent', () => {
    it('writes once, and then answers what is there', async () => {
      const key = freshKey();
      expect(await table.putIfAbsent(key, { seen: 1 })).toEqual({ applied: true, row: { ...key, seen: 1 } });
      expect(await table.putIfAbsent(key, { seen: 2 })).toEqual({ applied: false, row: { ...key, seen: 1 } });
      expect(await table.putIfAbsent(freshKey(), {})).toMatchObject({ applied: true });
    });

    it('lets one of many win', async () => {
      const key = freshKey();
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, (_, writer) => table.putIfAbsent(key, { writer, expiresAt: 4e9 })),
      );
      const winners = outcomes.filter((outcome) => outcome.applied);
      expect(winners).toHaveLength(1);
      expect(outcomes.map((outcome) => outcome.row)).toEqual(outcomes.map(() => winners[0]?.row));
      expect(await table.get(key)).toEqual(winners[0]?.row);
    });
  });

  describe('delete', () => {
    it('removes the row and answers what was removed', async () => {
      const key = await freshRow({ count: 1, wakeAt: 5 });
      expect(await table.delete(key)).toEqual({ applied: true, row: { ...key, count: 1, wakeAt: 5 } });
      expect(await table.get(key)).toBeUndefined();
      expect(await table.query({ partition: key.partition, limit: 10 })).toEqual({ rows: [] });
      await eventually(async () =>
        expect(await table.queryIndex({ partition: key.partition, until: 10, limit: 10 })).toEqual({ rows: [] }),
      );
    });

    it('is applied without a condition where there is nothing, and answers the key', async () => {
      const key = freshKey();
      expect(await table.delete(key)).toEqual({ applied: true, row: key });
    });

    it('removes under a condition, or answers the row that refused', async () => {
      const key = await freshRow({ token: 3 });
      const refused = await table.delete(key, { field: 'token', is: '=', to: 2 });
      expect(refused).toEqual({ applied: false, row: { ...key, token: 3 } });
      expect(await table.get(key)).toEqual({ ...key, token: 3 });
      const removed = await table.delete(key, { field: 'token', is: '=', to: 3 });
      expect(removed).toEqual({ applied: true, row: { ...key, token: 3 } });
      const gone = await table.delete(key, { exists: 'token' });
      expect(gone).toEqual({ applied: false, row: undefined });
    });
  });
}
