import { expect, test } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { readiness } from '../../src/monitor/readiness.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';

const keys = async () => new Map([['id', 'a key']]);

test('ready when the table takes writes and every link has its key; else each reason, with what to do', async () => {
  const ready = readiness({
    table: memoryTable(),
    callbacks: [{ name: 'shop', verificationKeys: keys }],
    runtime: systemRuntime,
  });
  expect(await ready()).toEqual([]);

  const full: Table = {
    ...memoryTable(),
    update: async () => {
      throw new CodedError('table_unavailable', 'the table cannot be written (ENOSPC)');
    },
  };
  const callbacks = [
    { name: 'shop', verificationKeys: async () => new Map() },
    { name: 'api', verificationKeys: keys },
  ];
  expect(await readiness({ table: full, callbacks, runtime: systemRuntime })()).toEqual([
    {
      code: 'table_unavailable',
      message: 'the table cannot be written (ENOSPC)',
      remedy: 'Check the table: disk space and permissions, or reachability and rights.',
    },
    {
      code: 'notification_key_missing',
      message: 'the verification key of link shop is not here yet',
      remedy:
        'The key that verifies has not been fetched yet; the sweep fetches it. Check that the primary can be reached.',
    },
  ]);
});

test('whoever asks often does not write often', async () => {
  let now = 0;
  let writes = 0;
  const runtime: Runtime = { ...systemRuntime, now: () => now };
  const memory = memoryTable();
  const table: Table = {
    ...memory,
    update: (...given) => {
      writes += 1;
      return memory.update(...given);
    },
  };
  const ready = readiness({ table, callbacks: [], runtime });
  await Promise.all([ready(), ready()]);
  now = 1_999;
  await ready();
  expect(writes).toBe(1);
  now = 2_000;
  await ready();
  expect(writes).toBe(2);
});
