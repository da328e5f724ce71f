import { beforeAll, describe, expect, it } from 'vitest';
import type { IndexQuery, Query } from '../../src/table/table.ts';
import { sorts } from './arbitraries.ts';
import { eventually, type Ground, readAll } from './contract-ground.ts';

/** What pages hold, in which order, and how they go on. */
export function queriesContract({ table, freshPartition, freshRow }: Ground): void {
  describe('query', () => {
    const inOrder = ['a', 'a\u0000', 'a/b', 'aa', 'z', 'é', '\u{e000}', '\u{ffee}', '\u{1f600}', '\u{1f600}z'];
    let partition: string;

    beforeAll(async () => {
      partition = freshPartition();
      await Promise.all(sorts.map((sort, at) => table.putIfAbsent({ partition, sort }, { at })));
    });

    const found = async (query: Omit<Query, 'partition' | 'limit'>, limit = 1000) =>
      (await readAll((cursor) => table.query({ partition, limit, ...query, ...cursor }))).map((row) => row.sort);

    it('gives rows in the order of the UTF-8 bytes of their sort keys', async () => {
      expect(await found({})).toEqual(inOrder);
    });

    it.each([1, 2, 3, 9, 10, 11])('gives every row once in pages of %i', async (limit) => {
      expect(await found({}, limit)).toEqual(inOrder);
    });

    it.each([
      ['a', ['a', 'a\u0000', 'a/b', 'aa']],
      ['a/', ['a/b']],
      ['\u{1f600}', ['\u{1f600}', '\u{1f600}z']],
      ['', inOrder],
      ['b', []],
    ])('finds what begins with %j', async (beginsWith, expected) => {
      expect(await found({ beginsWith })).toEqual(expected);
      expect(await found({ beginsWith }, 1)).toEqual(expected);
    });

    it.each([
      ['a', inOrder.slice(1)],
      ['a\u0000', inOrder.slice(2)],
      ['b', inOrder.slice(4)],
      ['\u{ffee}', ['\u{1f600}', '\u{1f600}z']],
      ['\u{fff0}', ['\u{1f600}', '\u{1f600}z']],
      ['\u{1f600}z', []],
      ['', inOrder],
    ])('finds what comes after %j', async (after, expected) => {
      expect(await found({ after })).toEqual(expected);
      expect(await found({ after }, 1)).toEqual(expected);
    });

    it.each([
      ['a', 'a', ['a\u0000', 'a/b', 'aa']],
      ['a', 'a/', ['a/b', 'aa']],
      ['a', 'A', ['a', 'a\u0000', 'a/b', 'aa']],
      ['a', 'b', []],
      ['a', 'aa', []],
    ])('finds what begins with %j and comes after %j', async (beginsWith, after, expected) => {
      expect(await found({ beginsWith, after })).toEqual(expected);
      expect(await found({ beginsWith, after }, 1)).toEqual(expected);
    });

    it('keeps partitions apart, also where one name begins with the other', async () => {
      const [one, two] = [`${freshPartition()}a`, `${freshPartition()}`];
      for (const name of [one, `${one}b`, two]) await table.putIfAbsent({ partition: name, sort: 'b' }, { name });
      expect(await table.query({ partition: one, limit: 10 })).toEqual({
        rows: [{ partition: one, sort: 'b', name: one }],
      });
    });

    it('goes on after its cursor while rows come and go', async () => {
      const name = freshPartition();
      for (const sort of ['a', 'b', 'c']) await table.putIfAbsent({ partition: name, sort }, {});
      const first = await table.query({ partition: name, limit: 2 });
      expect(first.rows.map((row) => row.sort)).toEqual(['a', 'b']);
      await table.delete({ partition: name, sort: 'b' });
      await table.putIfAbsent({ partition: name, sort: 'bb' }, {});
      const second = await readAll((cursor) =>
        table.query({
          partition: name,
          limit: 2,
          ...(first.cursor !== undefined && { cursor: first.cursor }),
          ...cursor,
        }),
      );
      expect(second.map((row) => row.sort)).toEqual(['bb', 'c']);
    });

    it('ends a page early before it grows too large, and loses nothing', async () => {
      const name = freshPartition();
      const text = 'x'.repeat(300 * 1024);
      for (let at = 0; at < 5; at += 1) await table.putIfAbsent({ partition: name, sort: `${at}` }, { text });
      const first = await table.query({ partition: name, limit: 1000 });
      expect(first.rows.length).toBeLessThan(5);
      const rows = await readAll((cursor) => table.query({ partition: name, limit: 1000, ...cursor }));
      expect(rows.map((row) => row.sort)).toEqual(['0', '1', '2', '3', '4']);
    });
  });

  describe('queryIndex', () => {
    const due = async (query: IndexQuery) =>
      (await readAll((cursor) => table.queryIndex({ ...query, ...cursor }))).map((row) => row.sort);

    it('gives rows that have wakeAt, in its order, up to and with `until`', async () => {
      const partition = freshPartition();
      const moments = { never: undefined, late: 3000.5, early: -20, zero: 0, middle: 1000, soon: -1.5 };
      for (const [sort, wakeAt] of Object.entries(moments))
        await table.putIfAbsent({ partition, sort }, wakeAt === undefined ? { other: 1 } : { wakeAt });
      const expected = ['early', 'soon', 'zero', 'middle', 'late'];
      await eventually(async () => expect(await due({ partition, until: 1e15, limit: 100 })).toEqual(expected));
      for (const limit of [1, 2, 4, 5, 6]) expect(await due({ partition, until: 1e15, limit })).toEqual(expected);
      expect(await due({ partition, until: 1000, limit: 10 })).toEqual(['early', 'soon', 'zero', 'middle']);
      expect(await due({ partition, until: 999.5, limit: 10 })).toEqual(['early', 'soon', 'zero']);
      expect(await due({ partition, until: -21, limit: 10 })).toEqual([]);
      expect(await due({ partition: `${partition}x`, until: 1e15, limit: 10 })).toEqual([]);
    });

    it('gives whole rows, as they are now', async () => {
      const { partition, sort } = await freshRow({ wakeAt: 5, other: [1] });
      await table.update({ partition, sort }, { add: { wakeAt: 1 }, set: { other: [2] } });
      const rows = [{ partition, sort, wakeAt: 6, other: [2] }];
      await eventually(async () =>
        expect((await table.queryIndex({ partition, until: 6, limit: 10 })).rows).toEqual(rows),
      );
      expect((await table.queryIndex({ partition, until: 5, limit: 10 })).rows).toEqual([]);
    });

    it('takes a row in and lets it go with its wakeAt, not with a refused write', async () => {
      const { partition, sort } = await freshRow({ a: 1 });
      const key = { partition, sort };
      const all = () => due({ partition, until: 1e15, limit: 10 });
      expect(await all()).toEqual([]);
      await table.update(key, { set: { wakeAt: 7 } });
      await eventually(async () => expect(await all()).toEqual(['row']));
      await table.update(key, { remove: ['wakeAt'] }, { exists: 'missing' });
      expect(await all()).toEqual(['row']);
      await table.update(key, { remove: ['wakeAt'] });
      await eventually(async () => expect(await all()).toEqual([]));
      await table.update(key, { add: { wakeAt: 0 } });
      await eventually(async () => expect(await all()).toEqual(['row']));
    });

    it('gives every row of one moment once', async () => {
      const partition = freshPartition();
      const names = Array.from({ length: 12 }, (_, at) => `row ${String.fromCodePoint(0xfff0 + at * 0x1000)}`);
      await Promise.all(names.map((sort) => table.putIfAbsent({ partition, sort }, { wakeAt: 1e12 })));
      await eventually(async () =>
        expect((await due({ partition, until: 1e12, limit: 5 })).sort()).toEqual([...names].sort()),
      );
    });
  });
}
