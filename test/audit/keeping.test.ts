import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';
import { auditContract, factsOf } from './contract.ts';
import { inShort, passOf, trail, writersOf } from './trail.ts';

auditContract('memory', async () => ({ table: memoryTable() }));
auditContract('lmdb', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-audit-'));
  return { table: lmdbTable({ path: join(folder, 'table') }), dispose: () => rm(folder, { recursive: true }) };
});

it('rests before it goes on in yet another chain, where somebody follows it', async () => {
  const world = trail();
  let taken = 0;
  const writer = world.writer(
    'serve',
    new Proxy(world.table, {
      get: (target, name: keyof Table) =>
        name === 'putIfAbsent'
          ? async () => {
              taken += 1;
              return { applied: false, row: undefined };
            }
          : target[name],
    }),
  );
  writer.add(passOf(1));
  const flushed = writer.flush(1);
  await expect.poll(() => taken).toBe(2);
  await new Promise((resolve) => setImmediate(resolve));
  expect(taken).toBe(2);
  world.passTime();
  expect(await flushed).toBe(false);
  writer.stop();
});

it('begins each chain with its beginning, also where lines were lost before', async () => {
  const world = trail();
  const writer = world.writer();
  writer.add({ kind: 'settings', parts: 'x'.repeat(limits.auditWaitingBytes) });
  writer.add(passOf(0));
  await writer.flush(1);
  const [name = ''] = await writersOf(world.table);
  expect(await factsOf(world.table, name)).toEqual(['1 begin', '2 lost', '3 pass c-0']);
});

it('counts what there is no room for while the table takes nothing, and tells it when it does', async () => {
  const world = trail();
  const { table } = world;
  let fails = true;
  const writer = world.writer(
    'serve',
    new Proxy(table, {
      get: (target, name: keyof Table) =>
        name === 'putIfAbsent' && fails
          ? () => Promise.reject(new CodedError('table_unavailable', 'no disk'))
          : target[name],
    }),
  );
  const most = limits.auditWaitingLines;
  for (let number = 0; number < most + 7; number += 1) writer.add(passOf(number));
  expect(writer.state()).toMatchObject({ lost: 7 });
  await expect.poll(() => writer.state().failingSince).toBe(world.clock.now);
  expect(world.log.map(({ event }) => event)).toEqual(['audit_lost', 'audit_not_written']);
  fails = false;
  world.passTime();
  expect(await writer.flush(1)).toBe(true);
  const [name = ''] = await writersOf(table);
  const facts = await factsOf(table, name);
  expect(facts).toHaveLength(most + 2);
  expect(facts.filter((fact) => fact.endsWith(' lost'))).toHaveLength(1);
  expect(writer.state()).toEqual({ waiting: 0, lost: 7 });
  expect(inShort(await world.examine())).toEqual([]);
});
