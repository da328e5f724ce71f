import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type {
  Condition,
  IndexQuery,
  Key,
  Page,
  Query,
  Row,
  Table,
  Value,
  WriteOutcome,
} from '../../src/table/table.ts';
import { type Operation, operation, sorts, value } from './arbitraries.ts';
import { byBytes, emptyModel, type Model, type TextOrder } from './model.ts';

export interface TableUnderTest {
  readonly table: Table;
  /** Removes what the test made, after the table has been closed. */
  dispose?(): Promise<void>;
}

export interface ContractOptions {
  /** How many examples each property tries. */
  readonly runs?: number;
  /** What this engine does otherwise, each with the reason why that is no fault of ours. */
  readonly differs?: {
    /** Conditions compare texts in another order than that of their UTF-8 bytes. */
    readonly textOrder?: { readonly order: TextOrder; readonly reason: string };
  };
}

/** The suite of the contract `Table`. One table serves all tests, so each has a partition of its own. */
export function tableContract(kind: string, make: () => Promise<TableUnderTest>, options: ContractOptions = {}): void {
  const { runs = 100, differs = {} } = options;

  describe(`the table contract: ${kind}`, () => {
    let under: TableUnderTest;
    let table: Table;
    let partitions = 0;

    const freshPartition = (): string => {
      partitions += 1;
      return `partition ${partitions} \u{1f600}`;
    };
    const freshKey = (sort = 'row'): Key => ({ partition: freshPartition(), sort });
    const freshRow = async (fields: Readonly<Record<string, Value>>): Promise<Key> => {
      const key = freshKey();
      expect(await table.putIfAbsent(key, fields)).toEqual({ applied: true, row: { ...fields, ...key } });
      return key;
    };

    beforeAll(async () => {
      under = await make();
      table = under.table;
    });
    afterAll(async () => {
      await table.close();
      await under.dispose?.();
    });

    it('knows nothing of a row that was never written', async () => {
      const key = freshKey();
      expect(await table.get(key)).toBeUndefined();
      expect(await table.query({ partition: key.partition, limit: 10 })).toEqual({ rows: [] });
      expect(await table.queryIndex({ partition: key.partition, until: 1e15, limit: 10 })).toEqual({ rows: [] });
    });

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

      it('refuses to add to what is no number, and changes nothing', async () => {
        const key = await freshRow({ text: 'x', count: 1 });
        const attempt = table.update(key, { add: { text: 1, count: 1 }, set: { other: 1 } });
        await expect(attempt).rejects.toMatchObject({ code: 'internal' });
        expect(await table.get(key)).toEqual({ ...key, text: 'x', count: 1 });
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

    describe('conditions', () => {
      const fields = {
        zero: 0,
        seven: 7,
        nine: 9,
        seventh: 7,
        text: 'b',
        word: 'b',
        empty: '',
        smile: '\u{1f600}',
        halfwidth: '\u{ffee}',
        yes: true,
        no: false,
        nothing: null,
        list: [1],
        sameList: [1],
      };
      const cases: readonly (readonly [condition: Condition, holds: boolean])[] = [
        [{ exists: 'zero' }, true],
        [{ exists: 'nothing' }, true],
        [{ exists: 'missing' }, false],
        [{ exists: 'partition' }, true],
        [{ absent: 'missing' }, true],
        [{ absent: 'empty' }, false],
        [{ absent: 'sort' }, false],
        [{ field: 'seven', is: '=', to: 7 }, true],
        [{ field: 'seven', is: '=', to: 8 }, false],
        [{ field: 'seven', is: '=', to: '7' }, false],
        [{ field: 'seven', is: '<', to: 7 }, false],
        [{ field: 'seven', is: '<', to: 7.5 }, true],
        [{ field: 'seven', is: '<=', to: 7 }, true],
        [{ field: 'seven', is: '<=', to: 6.5 }, false],
        [{ field: 'seven', is: '>', to: 6 }, true],
        [{ field: 'seven', is: '>', to: 7 }, false],
        [{ field: 'seven', is: '>=', to: 7 }, true],
        [{ field: 'seven', is: '>=', to: 10 }, false],
        [{ field: 'zero', is: '=', to: -0 }, true],
        [{ field: 'zero', is: '=', to: false }, false],
        [{ field: 'text', is: '=', to: 'b' }, true],
        [{ field: 'text', is: '<', to: 'ba' }, true],
        [{ field: 'text', is: '>', to: 'a' }, true],
        [{ field: 'text', is: '>', to: 'b' }, false],
        [{ field: 'text', is: '<', to: 1 }, false],
        [{ field: 'empty', is: '=', to: '' }, true],
        [{ field: 'empty', is: '<', to: 'a' }, true],
        [{ field: 'sort', is: '=', to: 'row' }, true],
        [{ field: 'yes', is: '=', to: true }, true],
        [{ field: 'yes', is: '=', to: false }, false],
        [{ field: 'no', is: '=', to: false }, true],
        [{ field: 'yes', is: '>', to: false }, false],
        [{ field: 'yes', is: '>=', to: true }, false],
        [{ field: 'yes', is: '>', to: { fieldOf: 'no' } }, false],
        [{ field: 'nothing', is: '=', to: 0 }, false],
        [{ field: 'list', is: '=', to: { fieldOf: 'sameList' } }, false],
        [{ field: 'seven', is: '=', to: { fieldOf: 'seventh' } }, true],
        [{ field: 'seven', is: '<', to: { fieldOf: 'nine' } }, true],
        [{ field: 'nine', is: '<=', to: { fieldOf: 'seven' } }, false],
        [{ field: 'text', is: '=', to: { fieldOf: 'word' } }, true],
        [{ field: 'text', is: '<', to: { fieldOf: 'seven' } }, false],
        [{ field: 'seven', is: '>', to: { fieldOf: 'missing' } }, false],
        [{ field: 'missing', is: '<', to: { fieldOf: 'seven' } }, false],
        [{ field: 'missing', is: '=', to: { fieldOf: 'missing too' } }, false],
        [{ field: 'missing', is: '=', to: 0 }, false],
        [{ field: 'missing', is: '<', to: 1 }, false],
        [{ field: 'missing', is: '>=', to: '' }, false],
        [{ all: [] }, true],
        [{ any: [] }, false],
        [{ all: [{ exists: 'zero' }, { exists: 'seven' }] }, true],
        [{ all: [{ exists: 'zero' }, { exists: 'missing' }] }, false],
        [{ any: [{ exists: 'missing' }, { exists: 'seven' }] }, true],
        [{ any: [{ exists: 'missing' }, { absent: 'seven' }] }, false],
        [{ any: [{ all: [{ exists: 'zero' }, { absent: 'zero' }] }, { all: [{ any: [{ exists: 'zero' }] }] }] }, true],
        [
          { all: [{ any: [{ absent: 'zero' }, { exists: 'zero' }] }, { any: [{ absent: 'zero' }, { any: [] }] }] },
          false,
        ],
        [{ any: [{ all: [] }, { any: [] }] }, true],
        [{ all: [{ exists: 'zero' }, { any: [] }] }, false],
      ];

      it.each(cases)('%j holds: %s', async (condition, holds) => {
        const key = await freshRow(fields);
        const row = { ...key, ...fields };
        const change = { set: { zero: 1 } };
        expect(await table.update(key, change, condition)).toEqual(
          holds ? { applied: true, row: { ...row, zero: 1 } } : { applied: false, row },
        );
        expect(await table.get(key)).toEqual(holds ? { ...row, zero: 1 } : row);
      });

      it.skipIf(differs.textOrder).each<Condition>([
        { field: 'smile', is: '>', to: '\u{ffee}' },
        { field: 'smile', is: '>', to: { fieldOf: 'halfwidth' } },
        { field: 'halfwidth', is: '<=', to: '\u{1f600}' },
      ])('%j holds: texts are compared by their UTF-8 bytes', async (condition) => {
        expect((await table.update(await freshRow(fields), {}, condition)).applied).toBe(true);
      });

      it.each<readonly [Condition, boolean]>([
        [{ absent: 'partition' }, true],
        [{ absent: 'anything' }, true],
        [{ exists: 'partition' }, false],
        [{ field: 'count', is: '<', to: 1 }, false],
        [{ field: 'count', is: '<=', to: { fieldOf: 'other' } }, false],
        [{ all: [] }, true],
        [{ any: [] }, false],
      ])('where there is no row, %j holds: %s', async (condition, holds) => {
        const key = freshKey();
        expect(await table.update(key, { set: { a: 1 } }, condition)).toEqual(
          holds ? { applied: true, row: { ...key, a: 1 } } : { applied: false, row: undefined },
        );
        expect(await table.get(key)).toEqual(holds ? { ...key, a: 1 } : undefined);
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

    it('gives back any value as it was given, and nothing of the caller’s own', async () => {
      const key = freshKey();
      await fc.assert(
        fc.asyncProperty(value, async (given) => {
          const before = structuredClone(given);
          const { row } = await table.update(key, { set: { given } });
          deepStrictEqual(row?.given, before);
          deepStrictEqual((await table.get(key))?.given, before);
        }),
        { numRuns: runs },
      );
    });

    it('replaces a lone surrogate in a value by U+FFFD, and -0 by 0', async () => {
      const key = await freshRow({ a: 1 });
      await table.update(key, { set: { cut: 'x\ud83d', zero: -0 } }, { all: [] });
      expect(await table.get(key)).toStrictEqual({ ...key, a: 1, cut: 'x\ufffd', zero: 0 });
      expect((await table.update(key, {}, { field: 'cut', is: '=', to: 'x\ud83d' })).applied).toBe(true);
    });

    it('keeps its rows apart from what callers do to their objects', async () => {
      const key = freshKey();
      const given = { list: [{ deep: 1 }] };
      const writing = table.update(key, { set: { given } });
      given.list.push({ deep: 2 });
      const { row } = await writing;
      expect(row?.given).toEqual({ list: [{ deep: 1 }] });
      const answered = row?.given as unknown as typeof given;
      answered.list.push({ deep: 3 });
      const read = (await table.get(key))?.given as unknown as typeof given;
      expect(read).toEqual({ list: [{ deep: 1 }] });
      read.list.length = 0;
      const { rows } = await table.query({ partition: key.partition, limit: 1 });
      expect(rows).toEqual([{ ...key, given: { list: [{ deep: 1 }] } }]);
    });

    it('takes a row of nearly 400 KB, and none beyond', async () => {
      const key = await freshRow({ text: 'x'.repeat(390 * 1024) });
      const before = await table.get(key);
      await expect(table.update(key, { set: { more: 'x'.repeat(20 * 1024) } })).rejects.toMatchObject({
        code: 'internal',
      });
      await expect(table.putIfAbsent(freshKey(), { text: 'x'.repeat(410 * 1024) })).rejects.toMatchObject({
        code: 'internal',
      });
      expect(await table.get(key)).toEqual(before);
    });

    it('takes a key of 1,000 bytes', async () => {
      const partition = freshPartition();
      const key = { partition, sort: 's'.repeat(1000 - Buffer.byteLength(partition)) };
      await table.putIfAbsent(key, { wakeAt: 1, expiresAt: 4e9 });
      expect((await table.query({ partition, limit: 1 })).rows).toEqual([{ ...key, wakeAt: 1, expiresAt: 4e9 }]);
      await eventually(async () =>
        expect((await table.queryIndex({ partition, until: 1, limit: 1 })).rows).toHaveLength(1),
      );
    });

    it.each<readonly [what: string, call: () => Promise<unknown>]>([
      ['an update', () => table.update({ partition: 'p', sort: '' }, {})],
      ['a get', () => table.get({ partition: '', sort: 's' })],
      ['a put', () => table.putIfAbsent({ partition: 'p', sort: 's' }, { sort: 't' })],
      ['a delete', () => table.delete({ partition: 'p', sort: 's' }, { field: 'a', is: '=', to: { fieldOf: 'a' } })],
      ['a query', () => table.query({ partition: 'p', limit: 0 })],
      ['a query of the index', () => table.queryIndex({ partition: 'p', limit: 1, until: Number.NaN })],
    ])('rejects %s that is a fault of the program', async (_, call) => {
      await expect(call()).rejects.toMatchObject({ code: 'internal' });
    });

    it('rejects a cursor that is not its own', async () => {
      const partition = freshPartition();
      for (const sort of ['a', 'b']) await table.putIfAbsent({ partition, sort }, { wakeAt: 1 });
      const { cursor = '' } = await table.query({ partition, limit: 1 });
      expect(cursor).not.toBe('');
      const calls = ['', 'x', `${cursor}=`, cursor.slice(0, -2)].map((bad) =>
        table.query({ partition, limit: 1, cursor: bad }),
      );
      calls.push(table.query({ partition: freshPartition(), limit: 1, cursor }));
      calls.push(table.queryIndex({ partition, limit: 1, until: 1, cursor }));
      for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'usage' });
    });

    it('does what a simple model does', async () => {
      // Not by expect(): it takes a field that is called `constructor` for the type of the object.
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (operations) => {
          const partition = freshPartition();
          const model = emptyModel(differs.textOrder?.order ?? byBytes);
          for (const each of operations) {
            const expected = onModel(model, partition, each);
            const outcome = onTable(table, partition, each);
            if (expected === 'fault') await expect(outcome).rejects.toMatchObject({ code: 'internal' });
            else deepStrictEqual(await outcome, expected);
          }
          const all = await readAll((cursor) => table.query({ partition, limit: 3, ...cursor }));
          deepStrictEqual(all, model.all(partition));
          await eventually(async () => {
            const due = await readAll((cursor) => table.queryIndex({ partition, until: 1, limit: 2, ...cursor }));
            deepStrictEqual(inModelOrder(due), model.due(partition, 1));
          });
        }),
        { numRuns: runs },
      );
    });

    it('throws once it has been closed', async () => {
      const other = await make();
      const key = { partition: 'closed', sort: 'row' };
      await other.table.putIfAbsent(key, { a: 1 });
      await other.table.close();
      const calls = [
        () => other.table.get(key),
        () => other.table.update(key, {}),
        () => other.table.putIfAbsent(key, {}),
        () => other.table.delete(key),
        () => other.table.query({ partition: 'closed', limit: 1 }),
        () => other.table.queryIndex({ partition: 'closed', until: 1, limit: 1 }),
      ];
      for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'table_unavailable' });
      await other.table.close();
      await other.dispose?.();
    });
  });
}

/** The index may lag behind the writes by seconds. */
function eventually(check: () => Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: 10_000, interval: 50 });
}

/** All rows, page by page. `given` holds the cursor of the page before, if there was one. */
async function readAll(page: (given: { readonly cursor?: string }) => Promise<Page>): Promise<Row[]> {
  const rows: Row[] = [];
  let given: { readonly cursor?: string } = {};
  for (let pages = 0; pages < 100; pages += 1) {
    const { rows: more, cursor } = await page(given);
    rows.push(...more);
    if (cursor === undefined) return rows;
    given = { cursor };
  }
  throw new Error('this listing does not end');
}

/** Rows of one moment come in any order. */
function inModelOrder(rows: readonly Row[]): Row[] {
  const wakeAts = rows.map((row) => row.wakeAt as number);
  expect(wakeAts).toEqual([...wakeAts].sort((a, b) => a - b));
  return [...rows].sort(
    (a, b) => (a.wakeAt as number) - (b.wakeAt as number) || Buffer.compare(Buffer.from(a.sort), Buffer.from(b.sort)),
  );
}

function onModel(model: Model, partition: string, does: Operation): WriteOutcome | 'fault' {
  const key = { partition, sort: does.sort };
  if (does.does === 'update') return model.update(key, does.change, does.condition);
  return does.does === 'put' ? model.putIfAbsent(key, does.fields) : model.delete(key, does.condition);
}

function onTable(table: Table, partition: string, does: Operation): Promise<WriteOutcome> {
  const key = { partition, sort: does.sort };
  if (does.does === 'update') return table.update(key, does.change, does.condition);
  return does.does === 'put' ? table.putIfAbsent(key, does.fields) : table.delete(key, does.condition);
}
