import { describe, expect, it } from 'vitest';
import { limits } from '../../src/limits.ts';
import { isUsable, keyIdOf, verificationKeyRecords } from '../../src/records/verification-key-records.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Value } from '../../src/table/table.ts';

const pemOf = (text: string) =>
  `-----BEGIN PUBLIC KEY-----\n${Buffer.from(text).toString('base64')}\n-----END PUBLIC KEY-----\n`;
const [one, two] = [pemOf('one'), pemOf('two')];
const row = { partition: 'verification-key.1', sort: 'shop' };

async function keysOf(...kept: { readonly id: string; readonly pem: string; readonly goneAt?: number }[]) {
  const table = memoryTable();
  const keys = verificationKeyRecords(table);
  if (kept.length > 0) await keys.saveVerificationKeys('shop', await keys.verificationKeys('shop'), kept, 1);
  return { table, ...keys };
}

describe('the verification keys of a link', () => {
  it('are none until some are saved; then the served one is told as the key', async () => {
    const nothing = await keysOf();
    expect(await nothing.verificationKeys('shop')).toEqual({ keys: [], dropped: [], version: 0 });
    expect(await nothing.verificationKey('shop')).toBeUndefined();
    const keys = await keysOf({ id: '1', pem: one, goneAt: 5 }, { id: '2', pem: two });
    expect(await keys.verificationKey('shop')).toBe(two);
    expect(await keys.verificationKey('other')).toBeUndefined();
  });

  it('are not overwritten by who has read them before somebody else wrote', async () => {
    const keys = await keysOf();
    const read = await keys.verificationKeys('shop');
    expect(await keys.saveVerificationKeys('shop', read, [{ id: '1', pem: one }], 1)).toBe(true);
    expect(await keys.saveVerificationKeys('shop', read, [{ id: '2', pem: two }], 2)).toBe(false);
    expect((await keys.verificationKeys('shop')).keys).toEqual([{ id: '1', pem: one }]);
  });

  it('lose one at once when a person drops it, even if a sweep has read them before', async () => {
    const keys = await keysOf({ id: '1', pem: one }, { id: '2', pem: two });
    const read = await keys.verificationKeys('shop');
    expect(await keys.dropVerificationKey('shop', '1', 2)).toBe(true);
    expect(await keys.saveVerificationKeys('shop', read, [{ id: '1', pem: one }], 3)).toBe(false);
    expect(await keys.verificationKeys('shop')).toMatchObject({ keys: [{ id: '2' }], dropped: ['1'] });
    expect(await keys.dropVerificationKey('shop', 'of nobody', 4)).toBe(false);
  });

  it('are never left without one that is used', async () => {
    const gone = { id: '2', pem: two, goneAt: 0 };
    const keys = await keysOf({ id: '1', pem: one }, gone);
    const later = limits.goneKeyMs;
    await expect(keys.dropVerificationKey('shop', '1', later)).rejects.toMatchObject({ code: 'verification_key_last' });
    expect((await keys.verificationKeys('shop')).keys).toEqual([{ id: '1', pem: one }, gone]);
    expect(await keys.dropVerificationKey('shop', '1', later - 1)).toBe(true);
    await expect(keys.dropVerificationKey('shop', '2', later - 1)).rejects.toMatchObject({
      code: 'verification_key_last',
    });
  });

  it('that a worker of the version before wrote are known, unless they were dropped', async () => {
    const keys = await keysOf({ id: '2', pem: two });
    await keys.table.update(row, { set: { pem: one, fetchedAt: 1 } });
    const kept = { id: '2', pem: two };
    expect((await keys.verificationKeys('shop')).keys).toEqual([{ id: keyIdOf(one), pem: one }, kept]);
    await keys.dropVerificationKey('shop', keyIdOf(one), 2);
    await keys.table.update(row, { set: { pem: one, fetchedAt: 3 } });
    expect((await keys.verificationKeys('shop')).keys).toEqual([kept]);
  });

  it('leave the key that is served now to a worker of the version before', async () => {
    const { table } = await keysOf({ id: '1', pem: one, goneAt: 5 }, { id: '2', pem: two });
    expect(await table.get(row)).toMatchObject({ pem: two });
  });

  it.each<Readonly<Record<string, Value>>>([
    { keys: 'nonsense' },
    { keys: ['nonsense'] },
    { keys: [null] },
    { keys: [{ id: '1' }] },
    { keys: [{ id: 1, pem: one }] },
    { keys: [{ id: '1', pem: one, from: 1 }] },
    { keys: [{ id: '1', pem: one, goneAt: 'yesterday' }] },
    { dropped: ['1', 2] },
    { dropped: '1' },
    { version: '1' },
    { pem: 1 },
  ])('are unreadable, and not none, when the row is damaged: %o', async (set) => {
    const keys = await keysOf();
    await keys.table.update(row, { set });
    await expect(keys.verificationKeys('shop')).rejects.toMatchObject({ code: 'table_row_unreadable' });
  });
});

it('a key that its sender does not serve any more is used for an hour', () => {
  const gone = { id: '1', pem: one, goneAt: 1_000 };
  expect(isUsable({ id: '1', pem: one }, Number.MAX_SAFE_INTEGER)).toBe(true);
  expect(isUsable(gone, 1_000 + limits.goneKeyMs - 1)).toBe(true);
  expect(isUsable(gone, 1_000 + limits.goneKeyMs)).toBe(false);
});
