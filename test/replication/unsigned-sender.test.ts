import { describe, expect, it } from 'vitest';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { CodedError } from '../../src/errors.ts';
import { acknowledge } from '../../src/replication/acknowledge.ts';
import { acknowledgedEvents } from '../../src/replication/events.ts';
import { isAskedReconcileDue } from '../../src/replication/reconcile/asked.ts';
import { reconcile } from '../../src/replication/reconcile/reconcile.ts';
import { resolveHints } from '../../src/replication/resolve-hints.ts';
import { statusOf } from '../../src/replication/status.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import type { StoreAbilities } from '../../src/store/store.ts';
import { content, described, setup, startMs } from '../support/replication.ts';

function eventOf(ids: readonly string[], more: Partial<LifecycleEvent> = {}): LifecycleEvent {
  const kind = { kind: 'reimported', changes: true, type: 'renewed', version: 1, unsigned: true } as const;
  return { ...kind, store: 'primary', certificates: ids.map((id) => ({ id, name: '' })), digest: 'd1', ...more };
}

/** A primary that holds `c1`, which has been replicated. Four ids a minute may be made up. */
async function worldOf(abilities: Partial<StoreAbilities> = {}, ofBackup: Partial<StoreAbilities> = {}) {
  const backups = [{ abilities: ofBackup }];
  const world = await setup({ primary: { abilities }, backups, timing: { unknownPerMinute: 4 } });
  world.primary.store.put({ content: await content(), metadata: described('shop') }, 'c1');
  await world.ask('c1');
  await world.pass('c1');
  const woken: (Wake & { readonly delayMs?: number | undefined })[] = [];
  const dispatch = {
    dispatch: async (wakes: readonly Wake[], options?: { readonly delayMs?: number }) =>
      void woken.push(...wakes.map((wake) => ({ ...wake, ...options }))),
  };
  const parts = { ...world.worker, dispatch };
  const rows = async (partition: string) =>
    (await world.table.tap.query({ partition, limit: 100 })).rows.map(({ sort }) => sort);
  return {
    ...world,
    woken,
    rows,
    acknowledge: (...events: readonly LifecycleEvent[]) =>
      acknowledge({ ...parts, notifications: world.notifications }, ['main'], events),
    resolve: () => resolveHints(parts, world.link),
    reconcile: () => reconcile(parts, world.link),
    isDue: () => isAskedReconcileDue(parts, world.link),
  };
}

describe('what nobody signed, of a certificate that is known', () => {
  it('has it looked at once in a while, and the last of it is looked at when its time has come', async () => {
    const world = await worldOf();
    expect(await world.acknowledge(eventOf(['c1']))).toBe('new');
    for (let count = 0; count < 5; count += 1) expect(await world.acknowledge(eventOf(['c1']))).toBe('repeat');
    expect((await world.record('c1')).requested).toBe(2);
    expect(world.woken.slice(0, 2)).toEqual([
      { link: 'main', certificate: 'c1' },
      { link: 'main', certificate: 'hints', about: 'hints', delayMs: world.timing.toldEveryMs },
    ]);
    await world.later(world.timing.toldEveryMs);
    expect(await world.resolve()).toEqual({ asked: 1, unmatched: 0 });
    expect((await world.record('c1')).requested).toBe(3);
    expect(world.calls.filter((call) => call.endsWith('primary list'))).toEqual([]);
  });

  it('says nothing of when anything happened, and fills no table with event ids', async () => {
    const world = await worldOf();
    const before = await world.record('c1');
    await world.acknowledge(eventOf(['c1'], { occurredAt: startMs - 1_000 }));
    const { toldAt, eventAt, occurredAt } = await world.record('c1');
    expect({ toldAt, eventAt, occurredAt }).toEqual({ toldAt: startMs, eventAt: undefined, occurredAt: undefined });
    await world.pass('c1');
    expect((await world.record('c1')).primary?.changedAt).toBe(before.primary?.changedAt);
    expect(await world.rows('notification.1/main/d1')).toEqual([]);
    expect(await acknowledgedEvents(world.records, world.link, { most: 5 })).toMatchObject([
      { certificate: 'c1', acknowledgedAt: startMs },
    ]);
  });

  it('has it looked at once more when reads have settled', async () => {
    const world = await worldOf({ readSettlesMs: 3_000 });
    await world.acknowledge(eventOf(['c1']));
    await world.pass('c1');
    expect((await world.record('c1')).wakeAt).toBe(startMs + 3_000 + world.timing.skewMs);
  });

  it('is not put off by a clock that was ahead', async () => {
    const world = await worldOf();
    await world.tamper('c1', { toldAt: startMs + 86_400_000 });
    expect(await world.acknowledge(eventOf(['c1']))).toBe('new');
    expect((await world.record('c1')).requested).toBe(2);
  });
});

describe('what nobody signed, of ids that nobody knows', () => {
  const flood = ['u1', 'u2', 'u3', 'u4', 'u5', 'u6'];

  it('is looked at within a budget; beyond it one reconcile is asked for, and no row is made', async () => {
    const world = await worldOf();
    expect(await world.acknowledge(eventOf(flood.slice(0, 4)))).toBe('new');
    expect(await world.linkRecords.askedReconcile('main')).toBeUndefined();
    await world.later(1_000);
    expect(await world.acknowledge(eventOf(flood.slice(4)))).toBe('new');
    expect(await world.rows('replication.1/main')).toEqual(['c1', ...flood.slice(0, 4)]);
    expect(await world.linkRecords.askedReconcile('main')).toEqual({ since: startMs + 1_000, lastAt: startMs + 1_000 });
    await world.later(60_000);
    await world.acknowledge(eventOf(['u7']));
    expect(await world.rows('replication.1/main')).toContain('u7');
  });

  it('does not touch what is known', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf([...flood, 'c1']));
    expect((await world.record('c1')).requested).toBe(2);
  });

  it('is forgotten when reads and listings would show it, and raises no alarm until then', async () => {
    const world = await worldOf({ readSettlesMs: 3_000, listingLagMs: 4_000 });
    await world.acknowledge(eventOf(['u1']));
    expect((await statusOf(world.worker, world.link)).oldestUnreplicated).toBeUndefined();
    await world.pass('u1');
    expect((await world.record('u1')).wakeAt).toBe(startMs + 3_000 + world.timing.skewMs);
    await world.later(12_000);
    await world.pass('u1');
    expect(await world.rows('replication.1/main')).toEqual(['c1']);
  });

  it('is forgotten by a later look where a backup could not be searched at first', async () => {
    const world = await worldOf({ listingLagMs: 4_000 }, { findsMarks: true });
    await world.acknowledge(eventOf(['u1']));
    await world.pass('u1');
    await world.later(world.timing.absenceMs);
    world.backup.hooks.findByMark = async () => {
      throw new CodedError('store_unavailable', 'not now');
    };
    await world.pass('u1');
    const { backups, wakeAt = 0 } = await world.record('u1');
    expect(backups).toMatchObject([{ lastError: { code: 'store_unavailable' } }]);
    delete world.backup.hooks.findByMark;
    await world.later(wakeAt - world.time.now());
    await world.pass('u1');
    expect(await world.rows('replication.1/main')).toEqual(['c1']);
  });

  it('is not asked for by a reconcile that read its record before it was forgotten', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf(['u1']));
    world.table.hooks.update = async (proceed, key, ...change) => {
      if (key.sort === 'u1') await world.table.tap.delete(key);
      return proceed(key, ...change);
    };
    expect(await world.reconcile()).toMatchObject({ asked: { 'gone-from-primary': 1 } });
    expect(await world.rows('replication.1/main')).toEqual(['c1']);
  });

  it('stays if it was asked for while it was looked for', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf(['u1']));
    world.primary.hooks.read = async (proceed, id, options) => {
      delete world.primary.hooks.read;
      await world.ask('u1', { eventAt: startMs });
      return proceed(id, options);
    };
    await world.pass('u1');
    expect(await world.record('u1')).toMatchObject({ requested: 2, eventAt: startMs });
  });

  it('stays if anybody else named it, or something was copied', async () => {
    const world = await worldOf();
    await world.ask('u1', { eventAt: startMs });
    await world.acknowledge(eventOf(['u1', 'c1']));
    await world.primary.store.delete('c1');
    for (const id of ['u1', 'c1']) await world.pass(id);
    expect(await world.rows('replication.1/main')).toEqual(['c1', 'u1']);
  });

  it('begins anew with tokens that no worker of a forgotten record has', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf(['u1']));
    const { leaseToken } = await world.record('u1');
    await world.pass('u1');
    await world.later(1_000);
    await world.acknowledge(eventOf(['u1']));
    expect((await world.record('u1')).leaseToken).toBeGreaterThan(leaseToken + 1);
  });

  it('cannot be kept by an id that is too long for the table, and is compared', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf(['u'.repeat(1_000)]), eventOf(['s'.repeat(1_000)], { digest: 'd2' }));
    expect(await world.rows('replication.1/main')).toEqual(['c1']);
    expect(await world.linkRecords.askedReconcile('main')).toBeDefined();
  });
});

describe('a reconcile that was asked for', () => {
  it('begins when its listing shows what asked for it, and is answered by one that began then', async () => {
    const world = await worldOf({ listingLagMs: 4_000 });
    expect(await world.isDue()).toBe(false);
    await world.linkRecords.askReconcile('main', world.time.now());
    await world.later(4_000 + world.timing.skewMs - 1);
    expect(await world.isDue()).toBe(false);
    await world.later(1);
    expect(await world.isDue()).toBe(true);
    await world.reconcile();
    expect(await world.linkRecords.askedReconcile('main')).toBeUndefined();
  });

  it('is not answered by one that began before', async () => {
    const world = await worldOf({ listingLagMs: 4_000 });
    await world.linkRecords.askReconcile('main', world.time.now());
    await world.reconcile();
    expect(await world.linkRecords.askedReconcile('main')).toMatchObject({ lastAt: startMs });
  });

  it('begins once in five minutes at the most, however the last one ended', async () => {
    const world = await worldOf();
    await world.reconcile();
    await world.linkRecords.askReconcile('main', world.time.now());
    await world.later(world.timing.askedReconcileEveryMs - 1);
    expect(await world.isDue()).toBe(false);
    await world.later(1);
    expect(await world.isDue()).toBe(true);
  });

  it('does not wait for the end of what never ends, and what came later stays asked for', async () => {
    const world = await worldOf();
    for (let minutes = 0; minutes <= 5; minutes += 1) {
      await world.linkRecords.askReconcile('main', world.time.now());
      if (minutes < 5) expect(await world.isDue()).toBe(false);
      if (minutes < 5) await world.later(60_000);
    }
    expect(await world.isDue()).toBe(true);
    await world.reconcile();
    expect(await world.linkRecords.askedReconcile('main')).toEqual({
      since: startMs + 5 * 60_000 - world.timing.skewMs,
      lastAt: startMs + 5 * 60_000,
    });
  });
});
