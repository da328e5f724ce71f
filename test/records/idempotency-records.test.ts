import { expect, it } from 'vitest';
import { idempotencyRecords } from '../../src/records/idempotency-records.ts';
import { memoryTable } from '../../src/table/memory.ts';

const seen = { link: 'shop', digest: 'd1', type: 'cert_reimported', now: 1_500, keepMs: 60_000 };

it('is new once', async () => {
  const records = idempotencyRecords(memoryTable());
  expect(await records.remember(seen)).toBe(true);
  expect(await records.remember(seen)).toBe(false);
});

it('is new of another link and with another digest', async () => {
  const records = idempotencyRecords(memoryTable());
  await records.remember(seen);
  expect(await records.remember({ ...seen, link: 'other' })).toBe(true);
  expect(await records.remember({ ...seen, digest: 'd2' })).toBe(true);
});

it('is new again once it is forgotten', async () => {
  const records = idempotencyRecords(memoryTable());
  await records.remember(seen);
  await records.remember({ ...seen, digest: 'd2' });
  await records.forget('shop', 'd1');
  expect(await records.remember(seen)).toBe(true);
  expect(await records.remember({ ...seen, digest: 'd2' })).toBe(false);
});

it('expires, in whole seconds and not too early', async () => {
  const table = memoryTable();
  await idempotencyRecords(table).remember(seen);
  expect(await table.get({ partition: 'notification.1/shop/d1', sort: 'seen' })).toEqual({
    partition: 'notification.1/shop/d1',
    sort: 'seen',
    type: 'cert_reimported',
    seenAt: 1_500,
    expiresAt: 62,
  });
});
