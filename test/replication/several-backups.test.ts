import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { CodedError } from '../../src/errors.ts';
import { replicate } from '../../src/replication/pass/replicate.ts';
import { limitedStore } from '../../src/store/limited.ts';
import {
  askAndPass,
  content,
  described,
  held,
  replicated,
  type Setup,
  type SetupOptions,
  startMs,
  told,
  writesIn,
} from '../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

/** Two backups that hold `c1`, of which the primary has a newer version. */
async function renewed(options: SetupOptions = {}): Promise<Setup & { one: Setup['backup']; other: Setup['backup'] }> {
  const world = await replicated(first, { backups: [{}, {}], ...options });
  world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
  const [one, other] = world.backups;
  if (one === undefined || other === undefined) throw new Error('there are not two backups');
  return Object.assign(world, { one, other });
}

const fingerprintAt = async (backup: Setup['backup']) =>
  fingerprintOf((await held(backup.store, `${backup.store.id}-1`)).content);

describe('a backup that is limited', () => {
  it('is left alone as long as it says, and the other one is brought up to date meanwhile, once', async () => {
    const world = await renewed();
    const limited = new CodedError('store_limited', 'too many requests', { fields: { retryAfterMs: 30_000 } });
    world.one.hooks.reimport = () => Promise.reject(limited);
    const { again } = await askAndPass(world, 'c1');
    expect(again).toBe(startMs + 30_000);
    expect(await world.record('c1')).toMatchObject({
      wakeAt: startMs + 30_000,
      attempts: 0,
      backups: [
        {
          fingerprint: fingerprintOf(first),
          attempts: 1,
          notBefore: startMs + 30_000,
          lastError: { code: 'store_limited' },
        },
        { fingerprint: fingerprintOf(second), attempts: 0 },
      ],
    });
    expect(await world.record('c1')).not.toHaveProperty('notBefore');
    expect(await fingerprintAt(world.other)).toBe(fingerprintOf(second));

    // Asked for in between, it is not even looked at, and keeps its place.
    delete world.one.hooks.reimport;
    world.calls.length = 0;
    await world.later(29_999);
    await askAndPass(world, 'c1');
    expect(world.calls.filter((call) => call.includes(' backup '))).toEqual([]);
    expect(writesIn(world)).toEqual([]);
    expect(await world.record('c1')).toMatchObject({ wakeAt: startMs + 30_000, backups: [{ attempts: 1 }, {}] });

    await world.later(1);
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup reimport']);
    const { backups } = await world.record('c1');
    expect(backups[0]).toMatchObject({ fingerprint: fingerprintOf(second), attempts: 0 });
    expect(backups[0]).not.toHaveProperty('notBefore');
    expect(backups[0]).not.toHaveProperty('lastError');
  });

  it('is not waited for: the limit of a store is a refusal like any other', async () => {
    const world = await renewed();
    const [one, other] = world.link.backups;
    if (one === undefined || other === undefined) throw new Error('there are not two backups');
    const limited = limitedStore(one, { runtime: world.time, writesPerCertificatePerMinute: 1 });
    const link = { ...world.link, backups: [limited, other] };
    await world.ask('c1');
    await replicate(world.worker, link, 'c1');
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    await world.ask('c1');
    await replicate(world.worker, link, 'c1');
    expect(world.time.now()).toBe(startMs);
    expect(await world.record('c1')).toMatchObject({
      wakeAt: startMs + 60_000,
      backups: [{ notBefore: startMs + 60_000 }, { fingerprint: fingerprintOf(first) }],
    });
  });
});

describe('backups whose writes are scarce', () => {
  it('give each other no turns for ever, where both rest until there is room in a quota', async () => {
    const world = await renewed();
    const until = startMs + 3_600_000;
    const usedUp = new CodedError('store_quota_used_up', 'used up', { fields: { until } });
    for (const backup of [world.one, world.other]) backup.hooks.reimport = () => Promise.reject(usedUp);
    const rate = { operations: ['reimport'], count: 1 } as const;
    const scarce = world.link.backups.map((store, index) => {
      const abilities = { ...store.abilities, rates: [{ ...rate, perMs: 20_000 + index * 10_000 }] };
      return limitedStore({ ...store, abilities }, { runtime: world.time });
    });
    const link = { ...world.link, backups: scarce };
    const look = () => replicate(world.worker, link, 'c1');
    await world.ask('c1');
    await look();
    await world.later(1_000);
    await world.ask('c1');
    await look();

    let looks = 0;
    for (; looks < 20; looks += 1) {
      const { wakeAt = until } = await world.record('c1');
      if (wakeAt >= until) break;
      await world.later(wakeAt - world.time.now());
      await look();
    }
    expect(looks).toBe(2);
    expect(writesIn(world)).toEqual(['backup reimport', 'backup2 reimport']);
    expect((await world.record('c1')).wakeAt).toBe(until + 5_000);

    for (const backup of [world.one, world.other]) delete backup.hooks.reimport;
    await world.later(until + 5_000 - world.time.now());
    await look();
    for (const backup of [world.one, world.other]) expect(await fingerprintAt(backup)).toBe(fingerprintOf(second));
  });
});

describe('a backup that is down', () => {
  it('is tried again on its own, ever later, and the other one is not written again', async () => {
    const world = await renewed({ random: () => 0.5 });
    world.one.hooks.reimport = () => Promise.reject(new CodedError('store_unavailable', 'not reached'));
    await world.ask('c1');
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      await world.pass('c1');
      const [state] = (await world.record('c1')).backups;
      waits.push((state?.notBefore ?? 0) - world.time.now());
      expect(state?.attempts).toBe(attempt);
      await world.later(waits.at(-1) ?? 0);
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000]);
    expect(writesIn(world).filter((call) => call.startsWith('backup2'))).toEqual(['backup2 reimport']);
    expect(told(world).filter(({ event }) => event === 'backup_failed')).toHaveLength(4);
  });
});

describe('a backup that is slow', () => {
  it('ends at its deadline in doubt, and the other one is written at once', async () => {
    const world = await renewed();
    let signal: AbortSignal | undefined;
    let otherWrittenAt = 0;
    world.one.hooks.reimport = (_proceed, _id, _content, options) => {
      signal = options?.signal;
      return new Promise(() => {});
    };
    world.other.hooks.reimport = (proceed, ...args) => {
      otherWrittenAt = world.time.now();
      return proceed(...args);
    };
    await world.ask('c1');
    const pass = world.pass('c1');
    await world.later(49_999);
    expect(otherWrittenAt).toBe(startMs);
    expect(signal?.aborted).toBe(false);
    expect((await world.record('c1')).leaseUntil).toBe(startMs + 60_000);
    await world.later(1);
    await pass;
    expect(signal?.aborted).toBe(true);
    expect(await world.record('c1')).toMatchObject({
      replicated: 2,
      doubt: startMs + 55_000,
      backups: [
        { attempts: 1, lastError: { code: 'store_unanswered', message: 'backup did not answer a write in time' } },
        { fingerprint: fingerprintOf(second) },
      ],
    });
  });

  it('does not hold up the other one by its look', async () => {
    const world = await renewed();
    let otherWrittenAt = 0;
    world.one.hooks.readMetadata = () => new Promise(() => {});
    world.other.hooks.reimport = (proceed, ...args) => {
      otherWrittenAt = world.time.now();
      return proceed(...args);
    };
    await world.ask('c1');
    const pass = world.pass('c1');
    await world.later(20_000);
    await pass;
    expect(otherWrittenAt).toBe(startMs);
    expect((await world.record('c1')).backups[0]).toMatchObject({
      lastError: { code: 'store_unavailable', message: 'backup did not answer a read in time' },
    });
  });
});

describe('a worker that stalls', () => {
  it('sends no write in the last part of its lease, or after it', async () => {
    for (const [stall, writes] of [
      [49_999, 2],
      [50_000, 0],
      [600_000, 0],
    ] as const) {
      const world = await renewed();
      let stalled = 0;
      const runtime = { ...world.time, now: () => world.time.now() + stalled };
      world.one.hooks.readMetadata = (proceed, ...args) => {
        stalled = stall;
        return proceed(...args);
      };
      await world.ask('c1');
      await replicate({ ...world.worker, runtime }, world.link, 'c1');
      expect(writesIn(world)).toHaveLength(writes);
      if (writes === 0)
        expect((await world.record('c1')).backups[0]?.lastError).toMatchObject({
          message: 'no time was left in the lease to send a write',
        });
    }
  });
});
