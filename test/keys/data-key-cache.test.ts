import { describe, expect, it } from 'vitest';
import { CodedError, type ErrorCode } from '../../src/errors.ts';
import { dataKeyCache } from '../../src/keys/data-key-cache.ts';
import { manualClock } from './clock.ts';

const minute = 60_000;

function cacheUnderTest(most = 3) {
  const clock = manualClock();
  const loads: string[] = [];
  /** The bytes of each load, in order: the cache owns them, the test sees them wiped. */
  const bytes: Uint8Array[] = [];
  let failing: ErrorCode | undefined;
  let held: Promise<void> | undefined;
  const cache = dataKeyCache({
    runtime: clock,
    cacheMs: 5 * minute,
    outageMs: 10 * minute,
    pauseMs: 5_000,
    most,
    async load(id) {
      const number = loads.push(id);
      await held;
      if (failing) throw new CodedError(failing, 'as the test wants');
      const loaded = new Uint8Array(32).fill(number);
      bytes.push(loaded);
      return loaded;
    },
  });
  return {
    cache,
    clock,
    loads,
    bytes,
    fail: (code?: ErrorCode) => {
      failing = code;
    },
    hold() {
      let release = () => {};
      held = new Promise((resolve) => {
        release = resolve;
      });
      return () => {
        held = undefined;
        release();
      };
    },
    /** The first byte of the data key: which load it came from. */
    use: (id = 'a') => cache.use(id, (key) => key[0]),
  };
}

const isWiped = (key: Uint8Array | undefined) => key?.every((byte) => byte === 0);

describe('the cache of data keys', () => {
  it('loads once for all who want a data key at the same time, and for as long as it is kept', async () => {
    const { use, clock, loads } = cacheUnderTest();
    expect(await Promise.all([use(), use(), use('b'), use()])).toEqual([1, 1, 2, 1]);
    await clock.pass(5 * minute - 1);
    expect(await use()).toBe(1);
    expect(loads).toEqual(['a', 'b']);
  });

  it('wipes a data key that nobody has used for the whole period, at its end', async () => {
    const { cache, clock, bytes, loads } = cacheUnderTest();
    cache.keep('a', new Uint8Array(32).fill(7));
    await clock.pass(5 * minute - 1);
    expect(cache.size()).toBe(1);
    await clock.pass(1);
    expect(cache.size()).toBe(0);
    expect([bytes, loads]).toEqual([[], []]);
  });

  it('loads one that is in use anew at the end of each period, and wipes the old one', async () => {
    const { use, cache, clock, bytes, loads } = cacheUnderTest();
    await use();
    await clock.pass(5 * minute);
    expect(loads).toEqual(['a', 'a']);
    expect(isWiped(bytes[0])).toBe(true);
    expect(await use()).toBe(2);
    expect(loads).toEqual(['a', 'a']);
    // Used in this period, so loaded once more; not in the next one.
    await clock.pass(20 * minute);
    expect(loads).toEqual(['a', 'a', 'a']);
    expect(bytes.every(isWiped)).toBe(true);
    expect(cache.size()).toBe(0);
  });

  it('never holds more than it may', async () => {
    const { use, cache, bytes, loads } = cacheUnderTest(3);
    for (const id of ['a', 'b', 'c']) await use(id);
    expect(bytes.some(isWiped)).toBe(false);
    await use('d');
    expect(cache.size()).toBe(3);
    expect(bytes.map(isWiped)).toEqual([true, false, false, false]);
    await use('b');
    expect(loads).toEqual(['a', 'b', 'c', 'd']);
    await use('a');
    expect(loads).toEqual(['a', 'b', 'c', 'd', 'a']);
  });

  it('wipes all when it is cleared or closed, and gives nothing once closed', async () => {
    const { use, cache, bytes } = cacheUnderTest();
    await Promise.all([use('a'), use('b')]);
    cache.clear('b');
    expect(bytes.map(isWiped)).toEqual([true, false]);
    cache.clear();
    expect(bytes.map(isWiped)).toEqual([true, true]);
    expect(await use('a')).toBe(3);
    cache.close();
    expect(isWiped(bytes[2])).toBe(true);
    await expect(use('a')).rejects.toMatchObject({ code: 'keys_unavailable' });
    cache.keep('a', new Uint8Array(32).fill(1));
    expect(cache.size()).toBe(0);
  });

  it('wipes what is still being loaded when it is closed', async () => {
    const { use, cache, bytes, hold } = cacheUnderTest();
    const release = hold();
    const waiting = use();
    cache.close();
    release();
    await expect(waiting).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(isWiped(bytes[0])).toBe(true);
  });

  it('never lets anybody work with a data key that was wiped just when it was loaded', async () => {
    for (let turns = 0; turns < 20; turns += 1) {
      const { use, cache, hold } = cacheUnderTest();
      const release = hold();
      const waiting = use();
      release();
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      // As a rotation would do, at whatever moment.
      cache.clear();
      expect(await waiting, `wiped after ${turns} turns`).toBeGreaterThan(0);
    }
  });

  it('goes by the clock, too, where the machine slept and nobody was woken', async () => {
    const { use, clock, fail, loads } = cacheUnderTest();
    await use();
    clock.jump(5 * minute);
    expect(await use()).toBe(2);
    fail('keys_unavailable');
    clock.jump(5 * minute);
    expect(await use()).toBe(2);
    clock.jump(10 * minute - 1);
    expect(await use()).toBe(2);
    clock.jump(1);
    await expect(use()).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(loads.length).toBeGreaterThan(2);
  });
});

describe('while no root key can be asked', () => {
  it('what is in memory serves for ten minutes more, asking again at most every five seconds', async () => {
    const { use, cache, clock, fail, loads, bytes } = cacheUnderTest();
    await use();
    fail('keys_unavailable');
    await clock.pass(5 * minute);
    expect(loads).toHaveLength(2);
    for (let second = 0; second < 60; second += 1) {
      expect(await use()).toBe(1);
      await clock.pass(1_000);
    }
    expect(loads.length).toBe(2 + 11);
    expect(cache.trouble()).toEqual({ failed: true, servesUntil: 1_000_000 + 15 * minute });
    await clock.pass(9 * minute - 1);
    expect(await use()).toBe(1);
    await clock.pass(1);
    expect(isWiped(bytes[0])).toBe(true);
    await expect(use()).rejects.toMatchObject({ code: 'keys_unavailable' });
  });

  it('is loaded anew beside the work as soon as that is possible', async () => {
    const { use, clock, fail, cache } = cacheUnderTest();
    await use();
    fail('keys_unavailable');
    await clock.pass(6 * minute);
    fail();
    expect(await use()).toBe(1);
    await clock.pass(0);
    expect(await use()).toBe(3);
    expect(cache.trouble()).toEqual({ failed: false });
  });

  it('a table that cannot be asked is no word against the key either', async () => {
    const { use, clock, fail } = cacheUnderTest();
    await use();
    fail('table_unavailable');
    await clock.pass(6 * minute);
    expect(await use()).toBe(1);
  });

  it.each<ErrorCode>(['keys_refused', 'keys_unreadable', 'keys_file_missing', 'table_row_unreadable'])(
    'but %s wipes it at once',
    async (code) => {
      const { use, clock, fail, bytes } = cacheUnderTest();
      await use();
      fail(code);
      await clock.pass(5 * minute);
      expect(isWiped(bytes[0])).toBe(true);
      await expect(use()).rejects.toMatchObject({ code });
    },
  );

  it('and a refusal after an outage wipes it too', async () => {
    const { use, clock, fail, bytes } = cacheUnderTest();
    await use();
    fail('keys_unavailable');
    await clock.pass(6 * minute);
    fail('keys_refused');
    await use();
    await clock.pass(0);
    expect(isWiped(bytes[0])).toBe(true);
    await expect(use()).rejects.toMatchObject({ code: 'keys_refused' });
  });

  it('who needs what is not in memory is told, for five seconds without asking anybody', async () => {
    const { use, cache, clock, fail, loads } = cacheUnderTest();
    fail('keys_unavailable');
    for (let turn = 0; turn < 5; turn += 1) await expect(use()).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(loads).toHaveLength(1);
    expect(cache.trouble()).toEqual({ failed: true });
    await clock.pass(5_000);
    fail();
    expect(await use()).toBe(2);
    expect(cache.trouble()).toEqual({ failed: false });
  });

  it('a data key that does not exist troubles nobody else', async () => {
    const { use, cache, fail, loads } = cacheUnderTest();
    fail('sealed_unreadable');
    await expect(use()).rejects.toMatchObject({ code: 'sealed_unreadable' });
    expect(cache.trouble()).toEqual({ failed: false });
    fail();
    await use();
    expect(loads).toHaveLength(2);
  });
});
