import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { verificationKeyCache } from '../../src/notification/verification-keys.ts';
import { virtualTime } from '../simulation/virtual-time.ts';

const pemOf = () =>
  generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' });
const [first, second] = [pemOf().toString(), pemOf().toString()];

/** A cache in front of what the test says the table holds. */
function cacheOf(initial: string | undefined) {
  const time = virtualTime(1_000_000, () => 0);
  const table = { pem: initial, loads: 0, broken: false };
  const key = verificationKeyCache({
    runtime: time,
    load: async () => {
      table.loads += 1;
      if (table.broken) throw new CodedError('table_unavailable', 'the table is not reached');
      return table.pem;
    },
  });
  return {
    table,
    key,
    pem: async () => (await key())?.export({ type: 'spki', format: 'pem' }),
    later: (milliseconds: number) => time.runUntil(time.now() + milliseconds, 10),
  };
}

describe('a key that is there', () => {
  it('is loaded once for many notifications at one time', async () => {
    const { key, table } = cacheOf(first);
    const keys = await Promise.all(Array.from({ length: 100 }, () => key()));
    expect(new Set(keys).size).toBe(1);
    expect(table.loads).toBe(1);
  });

  it('is used for fifteen seconds before it is loaded again', async () => {
    const { pem, table, later } = cacheOf(first);
    await pem();
    table.pem = second;
    await later(14_999);
    expect(await pem()).toBe(first);
    expect(table.loads).toBe(1);
    await later(1);
    expect(await pem()).toBe(second);
    expect(table.loads).toBe(2);
  });

  it('goes on being used when it cannot be loaded anew, and that is not tried for each notification', async () => {
    const { pem, table, later } = cacheOf(first);
    await pem();
    table.broken = true;
    await later(15_000);
    expect([await pem(), await pem()]).toEqual([first, first]);
    expect(table.loads).toBe(2);
  });

  it.each([
    ['nothing', undefined],
    ['no key', 'nonsense'],
  ])('goes on being used when %s is found in its place', async (_what, pem) => {
    const cache = cacheOf(first);
    await cache.pem();
    cache.table.pem = pem;
    await cache.later(15_000);
    expect(await cache.pem()).toBe(first);
  });
});

describe('a key that is not there yet', () => {
  it('is looked for again after a second, not for each notification', async () => {
    const { pem, table, later } = cacheOf(undefined);
    expect([await pem(), await pem()]).toEqual([undefined, undefined]);
    expect(table.loads).toBe(1);
    table.pem = first;
    await later(999);
    expect(await pem()).toBeUndefined();
    await later(1);
    expect(await pem()).toBe(first);
  });

  it('is an error when the table cannot be asked, and is looked for again after a second', async () => {
    const { pem, table, later } = cacheOf(first);
    table.broken = true;
    await expect(pem()).rejects.toMatchObject({ code: 'table_unavailable' });
    table.broken = false;
    await later(1_000);
    expect(await pem()).toBe(first);
  });
});
