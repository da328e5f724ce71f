import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asCodedError, type CodedError } from '../../src/errors.ts';
import { lmdbTable, openLmdbTable } from '../../src/table/lmdb.ts';
import { rowKey } from '../../src/table/lmdb-format.ts';
import type { Table } from '../../src/table/table.ts';
import { bundleScript, startChild } from '../support/child.ts';
import { tableContract } from './contract.ts';

tableContract('lmdb', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-lmdb-'));
  return {
    table: lmdbTable({ path: join(folder, 'table') }),
    dispose: () => rm(folder, { recursive: true }),
  };
});

const child = 'test/table/lmdb-child.ts';
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-lmdb-'));
  path = join(folder, 'nested', 'table.v1');
});
afterEach(() => rmSync(folder, { recursive: true }));

async function withTable<Result>(work: (table: Table) => Promise<Result>, now = Date.now): Promise<Result> {
  const table = lmdbTable({ path, runtime: { now } });
  try {
    return await work(table);
  } finally {
    await table.close();
  }
}

function thrownBy(work: () => unknown): CodedError {
  try {
    work();
  } catch (thrown) {
    return asCodedError(thrown);
  }
  throw new Error('nothing was thrown');
}

describe('the embedded table on disk', () => {
  it('is as it was at one moment for whoever has frozen it, whatever is written meanwhile', async () => {
    await withTable(async (table) => {
      const sorts = Array.from({ length: 50 }, (_, number) => String(number).padStart(2, '0'));
      for (const sort of sorts) await table.putIfAbsent({ partition: 'p', sort }, { a: 1 });
      const frozen = await table.freeze?.();
      if (frozen === undefined) throw new Error('it does not freeze');
      const first = await frozen.query({ partition: 'p', limit: 20 });
      for (const sort of sorts) await table.update({ partition: 'p', sort }, { set: { a: 2 } });
      await table.putIfAbsent({ partition: 'p', sort: 'new' }, { a: 2 });
      await table.delete({ partition: 'p', sort: '30' });
      // Others read on meanwhile, and see what was written.
      expect(await table.get({ partition: 'p', sort: '00' })).toMatchObject({ a: 2 });
      const rest = await frozen.query({ partition: 'p', limit: 100, cursor: first.cursor ?? '' });
      expect([...first.rows, ...rest.rows].map(({ sort, a }) => [sort, a])).toEqual(sorts.map((sort) => [sort, 1]));
      expect(await frozen.get({ partition: 'p', sort: 'new' })).toBeUndefined();
      frozen.end();
      expect((await table.query({ partition: 'p', limit: 100 })).rows).toHaveLength(50);
    });
  });

  it('keeps rows and their index from one opening to the next', async () => {
    const key = { partition: 'p', sort: 's\u0000\u{1f600}' };
    await withTable((table) => table.putIfAbsent(key, { wakeAt: 5, list: [1, { a: null }] }));
    await withTable(async (table) => {
      const row = { ...key, wakeAt: 5, list: [1, { a: null }] };
      expect(await table.get(key)).toEqual(row);
      expect(await table.query({ partition: 'p', limit: 5 })).toEqual({ rows: [row] });
      expect(await table.queryIndex({ partition: 'p', until: 5, limit: 5 })).toEqual({ rows: [row] });
    });
  });

  it('lets nobody else read its files', async () => {
    const umask = process.umask(0o000);
    await withTable((table) => table.update({ partition: 'p', sort: 's' }, {})).finally(() => process.umask(umask));
    const modes = [path, join(path, 'data.mdb'), join(path, 'lock.mdb')].map((each) => statSync(each).mode & 0o777);
    expect(modes).toEqual([0o700, 0o600, 0o600]);
  });

  it('is one table when it is opened twice, and stays open when one of the two is closed', async () => {
    await withTable(async (one) => {
      await withTable(async (two) => {
        await one.update({ partition: 'p', sort: 's' }, { set: { a: 1 } });
        expect(await two.get({ partition: 'p', sort: 's' })).toMatchObject({ a: 1 });
      });
      await one.update({ partition: 'p', sort: 's' }, { set: { a: 2 } });
      expect(await one.get({ partition: 'p', sort: 's' })).toMatchObject({ a: 2 });
    });
  });

  it('waits for what was asked before it closes', async () => {
    const table = lmdbTable({ path });
    const writes = Array.from({ length: 30 }, (_, at) => table.putIfAbsent({ partition: 'p', sort: `${at}` }, {}));
    await table.close();
    expect((await Promise.all(writes)).every((outcome) => outcome.applied)).toBe(true);
    expect((await withTable((again) => again.query({ partition: 'p', limit: 100 }))).rows).toHaveLength(30);
  });

  it('says that it cannot be opened, and why', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'x');
    expect(thrownBy(() => lmdbTable({ path: file }))).toMatchObject({
      code: 'table_unavailable',
      cause: { code: 'EEXIST' },
      fields: { path: file, engineCode: 'EEXIST' },
    });
    expect(thrownBy(() => lmdbTable({ path: join(file, 'below') }))).toMatchObject({
      code: 'table_unavailable',
      cause: { code: 'ENOTDIR' },
    });
    await withTable((table) => table.update({ partition: 'p', sort: 's' }, {}));
    writeFileSync(join(path, 'data.mdb'), Buffer.alloc(8192, 'not a table'));
    const garbage = thrownBy(() => lmdbTable({ path }));
    expect(garbage.code).toBe('table_unavailable');
    expect(garbage.cause).toBeInstanceOf(Error);
  });

  it('removes what has expired, a few rows with each write', async () => {
    let now = 1_000_000_000_000;
    const count = async (table: Table) => (await table.query({ partition: 'p', limit: 100 })).rows.length;
    await withTable(
      async (table) => {
        for (let at = 0; at < 7; at += 1)
          await table.putIfAbsent({ partition: 'p', sort: `${at}` }, { expiresAt: 1_000_000_100 + at, wakeAt: at });
        await table.update({ partition: 'p', sort: '1' }, { set: { expiresAt: 1_000_000_300 } });
        await table.update({ partition: 'p', sort: '2' }, { remove: ['expiresAt'] });
        now = 1_000_000_105_000;
        await table.update({ partition: 'other', sort: 's' }, {});
        expect(await count(table)).toBe(5);
        await table.update({ partition: 'other', sort: 's' }, {});
        await table.update({ partition: 'other', sort: 's' }, {});
        const left = ['1', '2', '5', '6'];
        expect((await table.query({ partition: 'p', limit: 100 })).rows.map((row) => row.sort)).toEqual(left);
        const due = await table.queryIndex({ partition: 'p', until: 100, limit: 100 });
        expect(due.rows.map((row) => row.sort)).toEqual(left);
      },
      () => now,
    );
  });
});

describe('a row that cannot be understood', () => {
  const key = { partition: 'p', sort: 's' };

  /** Does to the stored bytes of a row what no version of this program does. */
  async function tamper(change: (bytes: Buffer) => Buffer): Promise<Buffer> {
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
    const root = open<Buffer, Buffer>({ ...binary, path, noSubdir: false, overlappingSync: false });
    const rows = root.openDB<Buffer, Buffer>({ ...binary, name: 'rows' });
    const bytes = change(rows.getBinary(rowKey(key)) as Buffer);
    await rows.put(rowKey(key), bytes);
    await root.close();
    return bytes;
  }

  it.each<readonly [string, (bytes: Buffer) => Buffer, number | undefined]>([
    ['in a newer format', (bytes) => Buffer.concat([Buffer.of(2), bytes.subarray(1)]), 2],
    ['that is cut off', (bytes) => bytes.subarray(0, -3), 1],
    ['that is not UTF-8', (bytes) => Buffer.concat([bytes.subarray(0, -2), Buffer.of(0xff, 0x22, 0x7d)]), 1],
    [
      'of another key',
      (bytes) => Buffer.concat([bytes.subarray(0, 1), Buffer.from('{"partition":"p","sort":"x"}')]),
      1,
    ],
    ['that is JSON, but no row', (bytes) => Buffer.concat([bytes.subarray(0, 1), Buffer.from('null')]), 1],
    ['that is empty', () => Buffer.alloc(0), undefined],
  ])('is neither read nor written over: one %s', async (_, change, version) => {
    await withTable(
      (table) => table.putIfAbsent(key, { text: 'x', wakeAt: 1, expiresAt: 1000 }),
      () => 0,
    );
    const bytes = await tamper(change);
    await withTable(async (table) => {
      const calls = [
        () => table.get(key),
        () => table.update(key, { set: { a: 1 } }),
        () => table.putIfAbsent(key, {}),
        () => table.delete(key),
        () => table.query({ partition: 'p', limit: 5 }),
        () => table.queryIndex({ partition: 'p', until: 5, limit: 5 }),
      ];
      for (const call of calls)
        await expect(call()).rejects.toMatchObject({
          code: 'table_row_unreadable',
          fields: { sort: expect.any(String), ...(version !== undefined && { version }) },
        });
      // It has also expired; the others are served all the same.
      expect(await table.putIfAbsent({ partition: 'q', sort: 's' }, {})).toMatchObject({ applied: true });
    });
    expect(await tamper((kept) => kept)).toEqual(bytes);
  });
});

describe('several processes', () => {
  it('let one of them win each claim, and lose no addition', async () => {
    const rounds = 200;
    const children = await Promise.all([1, 2].map(() => startChild(child, ['claim', path, `${rounds}`])));
    for (const each of children) expect(await each.nextLine()).toBe('ready');
    for (const each of children) each.send('go');
    const won = await Promise.all(children.map(async (each) => JSON.parse(await each.nextLine()) as number[]));
    expect(await Promise.all(children.map((each) => each.ended()))).toEqual([0, 0]);
    expect(won.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: rounds }, (_, round) => round));
    await withTable(async (table) => {
      expect((await table.get({ partition: 'claims', sort: 'total' }))?.tries).toBe(2 * rounds);
      const { rows } = await table.query({ partition: 'claims', limit: 1000 });
      for (const [winner, { pid }] of children.entries())
        expect(rows.filter((row) => row.owner === pid)).toHaveLength(won[winner]?.length ?? -1);
    });
  });

  it('see at once what another has written', async () => {
    const script = await bundleScript(child);
    await withTable(async (table) => {
      // No turn of the event loop between the reads: nothing lets go of an old snapshot by itself.
      for (const number of [1, 2, 3]) {
        execFileSync(process.execPath, [script.file, 'put', path, `${number}`]);
        expect((await table.get({ partition: 'rows', sort: 'shared' }))?.number).toBe(number);
        expect((await table.query({ partition: 'rows', limit: 1 })).rows[0]?.number).toBe(number);
      }
    }).finally(script.dispose);
  });

  it.each([50, 300, 1000])('keep every acknowledged row when one is killed after %i', async (acknowledgements) => {
    const acknowledged: string[] = [];
    const writer = await startChild(child, ['write', path]);
    const other = lmdbTable({ path });
    while (acknowledged.length < acknowledgements) acknowledged.push(await writer.nextLine());
    await writer.kill();
    for (;;) {
      const late = await writer.nextLine().catch(() => undefined);
      if (late === undefined) break;
      acknowledged.push(late);
    }
    // The one that was open meanwhile goes on, in spite of the locks that the dead one held.
    expect(await other.putIfAbsent({ partition: 'rows', sort: 'after' }, { wakeAt: 0 })).toMatchObject({
      applied: true,
    });
    await other.close();
    await withTable(async (table) => {
      for (const sort of acknowledged)
        expect(await table.get({ partition: 'rows', sort })).toEqual({
          partition: 'rows',
          sort,
          wakeAt: Number(sort.split('-')[1]),
          text: sort.repeat(50),
        });
      expect(
        await sortKeys((cursor) => table.queryIndex({ partition: 'rows', until: 1e9, limit: 1000, ...cursor })),
      ).toEqual(await sortKeys((cursor) => table.query({ partition: 'rows', limit: 1000, ...cursor })));
    });
  });

  it('say so when there is no room for a new table', async () => {
    const full = await startChild(child, ['put', path], { fileLimitKib: 4 });
    expect(await full.nextLine()).toBe('table_unavailable');
    expect(await full.ended()).toBe(0);
  });

  it.each([1, 20])(
    'survive a full disk, %i writing: writes fail, reads go on, what was acknowledged stays',
    async (writers) => {
      const full = await startChild(child, ['fill', path, `${writers}`], { fileLimitKib: 2000 });
      const { written, failures, first } = JSON.parse(await full.nextLine());
      expect(await full.ended()).toBe(0);
      expect(failures.length).toBeGreaterThanOrEqual(5);
      // By name, from the system: the engine, which has numbers, must not have heard of it.
      expect([...new Set(failures.map(String))]).toEqual(['table_unavailable,EFBIG']);
      expect(first).toBe(1);
      expect(written).toBeGreaterThan(20);
      await withTable(async (table) => {
        const left = await sortKeys((cursor) => table.query({ partition: 'rows', limit: 1000, ...cursor }));
        expect(left).toHaveLength(written);
        expect(
          await table.putIfAbsent({ partition: 'rows', sort: 'next' }, { text: 'x'.repeat(20_000) }),
        ).toMatchObject({
          applied: true,
        });
      });
    },
  );
});

type PageOfTable = Awaited<ReturnType<Table['query']>>;

async function sortKeys(page: (given: { readonly cursor?: string }) => Promise<PageOfTable>): Promise<string[]> {
  const sorts: string[] = [];
  for (let given: { readonly cursor?: string } | undefined = {}; given; ) {
    const { rows, cursor }: PageOfTable = await page(given);
    sorts.push(...rows.map((row) => row.sort));
    given = cursor === undefined ? undefined : { cursor };
  }
  return sorts.sort();
}

it('a folder is opened again while this process writes there, and neither waits for the other', async () => {
  const path = join(folder, 'twice');
  const first = lmdbTable({ path });
  let writing = true;
  const writer = (async () => {
    for (let count = 0; writing; count += 1) await first.putIfAbsent({ partition: 'p', sort: `${count}` }, { count });
  })();
  for (let round = 0; round < 20; round += 1) {
    const again = await openLmdbTable({ path });
    await again.update({ partition: 'q', sort: 'r' }, { set: { round } });
    await again.close();
  }
  writing = false;
  await writer;
  await first.close();
});
