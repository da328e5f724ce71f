import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import type { VerificationKeys } from '../../src/sender/sender.ts';
import { verificationKeyCache, withAnyKey } from '../../src/sender/verification-keys.ts';
import { virtualTime } from '../simulation/virtual-time.ts';

const pemOf = () =>
  generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' });
const [first, second] = [pemOf().toString(), pemOf().toString()];

/** A cache in front of what the test says the table holds. */
function cacheOf(initial: string | undefined) {
  const time = virtualTime(1_000_000, () => 0);
  const table = { pem: initial, former: undefined as string | undefined, loads: 0, broken: false };
  const keys = verificationKeyCache({
    runtime: time,
    load: async () => {
      table.loads += 1;
      if (table.broken) throw new CodedError('table_unavailable', 'the table is not reached');
      return [table.pem, table.former].flatMap((pem, index) => (pem === undefined ? [] : [{ id: `${index}`, pem }]));
    },
  });
  const key = async () => [...(await keys()).values()][0];
  return {
    table,
    keys,
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

describe('several keys', () => {
  it('are used together, and one that is not loaded any more is used no more', async () => {
    const { keys, table, later } = cacheOf(first);
    table.former = second;
    expect([...(await keys()).keys()]).toEqual(['0', '1']);
    table.former = undefined;
    await later(15_000);
    expect([...(await keys()).keys()]).toEqual(['0']);
  });

  it('are used without one that cannot verify', async () => {
    const { keys, table } = cacheOf('nonsense');
    table.former = second;
    expect([...(await keys()).keys()]).toEqual(['1']);
  });

  it('are used for an hour while none can be loaded anew, and no longer', async () => {
    const { keys, table, later } = cacheOf(first);
    await keys();
    table.pem = undefined;
    await later(limits.goneKeyMs - 1);
    expect((await keys()).size).toBe(1);
    await later(15_000);
    expect((await keys()).size).toBe(0);
  });
});

describe('what one of several keys made', () => {
  const [a, b] = [pinVerificationKey(first), pinVerificationKey(second)];
  const keys: VerificationKeys = new Map([
    ['a', a],
    ['b', b],
  ]);
  const refused = new CodedError('notification_not_genuine', 'not this one');

  it('is what the first key makes that made the signature', () => {
    const tried: unknown[] = [];
    const made = withAnyKey(keys, (key) => {
      tried.push(key);
      if (key !== b) throw refused;
      return 'made';
    });
    expect([made, tried]).toEqual(['made', [a, b]]);
  });

  it('is refused when none did, and at once when it is refused for what no key could mend', () => {
    let tries = 0;
    const failing = (error: CodedError) => () =>
      withAnyKey(keys, () => {
        tries += 1;
        throw error;
      });
    expect(failing(refused)).toThrow(refused);
    expect(tries).toBe(2);
    const malformed = new CodedError('notification_malformed', 'no token');
    expect(failing(malformed)).toThrow(malformed);
    expect(tries).toBe(3);
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
