import { describe, expect, it } from 'vitest';
import {
  absenceConfirmedMs,
  backoffMs,
  defaultTiming,
  longestSettledMs,
  settledMs,
  shownAfterMs,
} from '../../src/replication/timing.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { virtualTime } from '../simulation/virtual-time.ts';

const runtime = virtualTime(0, () => 0);
const storeOf = (settlesMs: number, listingLagMs: number, readSettlesMs = 0) =>
  memoryStore({ id: 'b', region: 'r', runtime, abilities: { settlesMs, listingLagMs, readSettlesMs } });

describe('the periods', () => {
  it('are those that the protocol names', () => {
    expect(defaultTiming).toEqual({
      leaseMs: 60_000,
      skewMs: 5_000,
      lookMs: 20_000,
      commitMs: 10_000,
      backoffBaseMs: 1_000,
      backoffCapMs: 900_000,
      refusalLooksMs: [15_000, 60_000, 300_000, 1_200_000],
      heldLooksMs: 3 * 3_600_000,
      absenceMs: 60_000,
      notificationKeepMs: 604_800_000,
      toldEveryMs: 10_000,
      unknownPerMinute: 60,
      askedReconcileEveryMs: 300_000,
      fullLookMs: 604_800_000,
    });
  });

  it('let a refused certificate rest within the hour', () => {
    expect(defaultTiming.refusalLooksMs.reduce((sum, wait) => sum + wait, 0)).toBeLessThan(3_600_000);
  });
});

describe('backoff', () => {
  const shortest = () => 0;
  const longest = () => 0.999_999;

  it.each([
    [1, 1_000],
    [2, 2_000],
    [3, 4_000],
    [5, 16_000],
    [10, 512_000],
    [11, 900_000],
    [31, 900_000],
    [2_000, 900_000],
  ])('after %i failed attempts is anything up to %i ms', (attempts, most) => {
    expect(backoffMs(attempts, shortest, defaultTiming)).toBe(0);
    expect(backoffMs(attempts, () => 0.5, defaultTiming)).toBe(most / 2);
    expect(backoffMs(attempts, longest, defaultTiming)).toBe(most);
  });

  it('begins where the other side allows it', () => {
    expect(backoffMs(1, shortest, defaultTiming, 30_000)).toBe(30_000);
    expect(backoffMs(2, longest, defaultTiming, 30_000)).toBe(32_000);
  });
});

describe('what lags', () => {
  it('shows a moment of another clock when its lag and what clocks may be apart have passed; nothing where it does not lag', () => {
    expect(shownAfterMs(3_000, defaultTiming)).toBe(8_000);
    expect(shownAfterMs(0, defaultTiming)).toBe(0);
  });

  it('has absence confirmed by a look that is late enough for its reads', () => {
    const primaryOf = (readSettlesMs: number) => ({ primary: storeOf(0, 0, readSettlesMs) });
    expect(absenceConfirmedMs(primaryOf(0), defaultTiming)).toBe(60_000);
    expect(absenceConfirmedMs(primaryOf(55_000), defaultTiming)).toBe(60_000);
    expect(absenceConfirmedMs(primaryOf(58_000), defaultTiming)).toBe(63_000);
  });
});

describe('the time after which everything is settled', () => {
  it('is that of the slowest backup, its listing, and the skew', () => {
    expect(longestSettledMs([storeOf(120_000, 10_000)], defaultTiming)).toBe(135_000);
    expect(longestSettledMs([storeOf(120_000, 10_000), storeOf(1_000, 200_000)], defaultTiming)).toBe(206_000);
    expect(longestSettledMs([], defaultTiming)).toBe(5_000);
  });

  it('counts the longer of what listings and what reads take', () => {
    expect(settledMs(storeOf(120_000, 10_000, 30_000), defaultTiming)).toBe(155_000);
    expect(settledMs(storeOf(120_000, 10_000, 3_000), defaultTiming)).toBe(135_000);
  });
});
