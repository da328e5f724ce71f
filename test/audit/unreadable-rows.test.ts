import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newestOf, readTrail } from '../../src/audit/read.ts';
import { keepCheckpoint, removeOld } from '../../src/audit/upkeep.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import { rowKey } from '../../src/table/lmdb-format.ts';
import type { Key } from '../../src/table/table.ts';
import { dayMs, inShort, passOf, trail, writersOf } from './trail.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-audit-'));
  path = join(folder, 'table');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Puts a row there that the table itself cannot read. */
async function plant(...keys: readonly Key[]): Promise<void> {
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const root = open<Buffer, Buffer>({ ...binary, path, noSubdir: false, overlappingSync: false });
  const rows = root.openDB<Buffer, Buffer>({ ...binary, name: 'rows' });
  for (const key of keys) await rows.put(rowKey(key), Buffer.of(9));
  await root.close();
}

/** Does something with a trail on the table in the folder. */
async function withWorld<T>(work: (world: ReturnType<typeof trail>) => Promise<T>): Promise<T> {
  const table = lmdbTable({ path });
  try {
    return await work(trail(table));
  } finally {
    await table.close();
  }
}

test('a row that the table cannot read is named, and hides no other from anybody', async () => {
  const [first = ''] = await withWorld(async (world) => {
    const writer = world.writer();
    for (const number of [1, 2, 3]) {
      writer.add(passOf(number));
      await writer.flush(1);
    }
    await keepCheckpoint(world.upkeep, 0);
    return writersOf(world.table);
  });
  await plant(
    { partition: `audit.1/${first}`, sort: '000000000003' },
    { partition: 'audit-chains.1', sort: 'zz-planted' },
    { partition: 'audit-people.1', sort: `${first}/000000000001` },
    { partition: 'audit-checkpoints.1', sort: '2026-01-01T00:00:00.000Z-a' },
    { partition: 'audit-bases.1', sort: first },
  );
  await withWorld(async (world) => {
    const name = first.slice(-5);
    const found = inShort(await world.examine());
    expect(found).toContain(`unreadable ${name} 3`);
    expect(found).toContain('unreadable anted');
    expect(found).toContain(`removed ${name} 3`);
    let unreadable = 0;
    const lines = readTrail(world.rows, {}, () => {
      unreadable += 1;
    });
    expect((await newestOf(lines, 10)).map(({ line }) => line.number)).toEqual([1, 2, 4]);
    expect(unreadable).toBe(2);
    await keepCheckpoint(world.upkeep, 0);
    world.clock.now += 50 * dayMs;
    await removeOld(world.upkeep, 31 * dayMs);
    expect(inShort(await world.examine())).toContain(`unreadable ${name} 3`);
  });
});

test('a row of a chain that the table cannot read is taken by somebody else: its writer goes on in a new chain', async () => {
  const key = { partition: 'audit.1/chain', sort: '000000000003' };
  await withWorld(async ({ table }) => table.putIfAbsent({ ...key, sort: '000000000001' }, {}));
  await plant(key);
  await withWorld(async ({ rows }) => {
    expect(await rows.append('chain', { first: 3, at: 0, lines: ['x'] })).toBe(false);
    expect(await rows.blockAfter('chain', 1)).toEqual({ unreadable: true, sort: key.sort });
  });
});
