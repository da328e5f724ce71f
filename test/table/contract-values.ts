import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { value } from './arbitraries.ts';
import { type ContractOptions, eventually, type Ground } from './contract-ground.ts';

/** What goes into a row and comes out again, and what does not go in. */
export function valuesContract(
  { table, freshPartition, freshKey, freshRow }: Ground,
  { runs = 100 }: ContractOptions,
): void {
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
    meddle(() => answered.list.push({ deep: 3 }));
    const read = (await table.get(key))?.given as unknown as typeof given;
    expect(read).toEqual({ list: [{ deep: 1 }] });
    meddle(() => {
      read.list.length = 0;
    });
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
}

/** Changes a row that a table gave out, or finds it frozen. */
function meddle(change: () => void): void {
  try {
    change();
  } catch (thrown) {
    if (!(thrown instanceof TypeError)) throw thrown;
  }
}
