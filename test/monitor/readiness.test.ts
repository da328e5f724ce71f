import { expect, test } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { readiness } from '../../src/monitor/readiness.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';

const keys = async () => new Map([['id', 'a key']]);

const full: Table = {
  ...memoryTable(),
  update: async () => {
    throw new CodedError('table_unavailable', 'the table cannot be written (ENOSPC)');
  },
};
const shop = { name: 'shop', verificationKeys: keys };
const ci = { name: 'ci', verificationKeys: async () => new Map() };
const waits = {
  code: 'notification_key_missing',
  message: 'the key that proves what comes to /callback/ci is not here yet',
  remedy: expect.stringContaining('the address where the keys of the sender are served'),
  callback: 'ci',
};
const readinessOf = (callbacks: Parameters<typeof readiness>[0]['callbacks'], table: Table = memoryTable()) =>
  readiness({ table, callbacks, runtime: systemRuntime })();

test('ready when the table takes writes and every callback has its keys; else each reason, with what to do', async () => {
  expect(await readinessOf([shop])).toEqual({ problems: [], waiting: [] });
  expect(await readinessOf([shop], full)).toEqual({
    problems: [
      {
        code: 'table_unavailable',
        message: 'the table cannot be written (ENOSPC)',
        remedy: 'Check the table: disk space and permissions, or reachability and rights.',
      },
    ],
    waiting: [],
  });
});

test('one sender whose keys cannot be had makes nobody else wait: it is told, and the others are served', async () => {
  expect(await readinessOf([shop, ci])).toEqual({ problems: [], waiting: [waits] });
  expect(await readinessOf([ci])).toEqual({ problems: [waits], waiting: [] });
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
