import { describe, expect, it } from 'vitest';
import { hintsWake, type Wake } from '../../src/dispatch/dispatch.ts';
import { CodedError } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { acknowledge } from '../../src/replication/acknowledge.ts';
import { resolveHints } from '../../src/replication/resolve-hints.ts';
import type { Hint, LifecycleEvent } from '../../src/sender/event.ts';
import type { StoreAbilities } from '../../src/store/store.ts';
import { content, described, setup, startMs } from '../support/replication.ts';

const named = (text: string): Hint => ({ by: 'name', text });
const begun = (text: string): Hint => ({ by: 'id-start', text });

function eventOf(hints: readonly Hint[], more: Partial<LifecycleEvent> = {}): LifecycleEvent {
  const kind = { kind: 'reimported', changes: true, type: 'renewed', version: 1 } as const;
  return { ...kind, store: 'primary', certificates: [], hints, digest: 'd1', ...more };
}

/** A primary that holds `c1` and `c2`, named `shop`, and `x1`, named `api`. */
async function worldOf(abilities: Partial<StoreAbilities> = {}) {
  const world = await setup({ primary: { abilities } });
  const pem = await content();
  for (const [id, name] of [
    ['c1', 'shop'],
    ['c2', 'shop'],
    ['x1', 'api'],
  ] as const)
    world.primary.store.put({ content: pem, metadata: described(name) }, id);
  const woken: Wake[] = [];
  const dispatch = { dispatch: async (wakes: readonly Wake[]) => void woken.push(...wakes) };
  const parts = { ...world.worker, dispatch };
  const waiting = async () => {
    const { rows } = await world.table.tap.query({ partition: 'hint.1/main', limit: 100 });
    return rows.map(({ text }) => text);
  };
  const asked = async () => {
    const { rows } = await world.table.tap.query({ partition: 'replication.1/main', limit: 100 });
    return rows.map(({ sort }) => sort);
  };
  return {
    ...world,
    woken,
    waiting,
    asked,
    acknowledge: (...events: readonly LifecycleEvent[]) =>
      acknowledge({ ...parts, notifications: world.notifications }, ['main'], events),
    resolve: () => resolveHints(parts, world.link),
  };
}

describe('an event that names no ids', () => {
  it('is kept as it is, and wakes one worker, which asks for everything that it means', async () => {
    const world = await worldOf();
    expect(await world.acknowledge(eventOf([named('shop'), begun('x')]))).toBe('new');
    expect(await world.asked()).toEqual([]);
    expect(world.woken).toEqual([hintsWake('main')]);
    expect(await world.resolve()).toEqual({ asked: 3, unmatched: 0 });
    expect(await world.asked()).toEqual(['c1', 'c2', 'x1']);
    expect(await world.record('c1')).toMatchObject({ requested: 1, wakeAt: startMs, eventAt: startMs });
    expect(await world.waiting()).toEqual([]);
    expect(world.calls.filter((call) => call.endsWith('primary list'))).toHaveLength(1);
  });

  it('takes one row however often it is told, and is due again after a repeat', async () => {
    const world = await worldOf();
    for (let count = 0; count < 3; count += 1) await world.acknowledge(eventOf([named('shop')]));
    expect(await world.waiting()).toEqual(['shop']);
    expect(world.woken).toEqual([hintsWake('main')]);
  });

  it('keeps its place beside ids of the same event, each event under a key of its own', async () => {
    const world = await worldOf();
    const first = eventOf([named('api')], { certificates: [{ id: 'c1', name: '' }] });
    expect(await world.acknowledge(first, eventOf([], { digest: 'd2', certificates: [{ id: 'c2', name: '' }] }))).toBe(
      'new',
    );
    expect(await world.acknowledge(first)).toBe('repeat');
    expect(await world.asked()).toEqual(['c1', 'c2']);
    expect(await world.waiting()).toEqual(['api']);
  });

  it('is not acknowledged when one of several events could not be written; the others are done and woken', async () => {
    const world = await worldOf();
    world.table.hooks.update = (proceed, key, ...rest) => {
      if (key.partition.startsWith('hint.1')) throw new CodedError('table_unavailable', 'not reached');
      return proceed(key, ...rest);
    };
    const events = [eventOf([named('shop')]), eventOf([], { digest: 'd2', certificates: [{ id: 'x1', name: '' }] })];
    await expect(world.acknowledge(...events)).rejects.toMatchObject({ code: 'table_unavailable' });
    expect(world.woken).toEqual([{ link: 'main', certificate: 'x1' }]);
    delete world.table.hooks.update;
    expect(await world.acknowledge(...events)).toBe('new');
    expect(await world.waiting()).toEqual(['shop']);
  });

  it('has everything compared where its text cannot be kept', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf([named('x'.repeat(limits.hintCharacters + 1)), named('')]));
    expect(await world.waiting()).toEqual([]);
    expect(await world.linkRecords.askedReconcile('main')).toEqual({ since: startMs, lastAt: startMs });
    await world.acknowledge(eventOf([named('x'.repeat(limits.hintCharacters))], { digest: 'd2' }));
    expect(await world.waiting()).toHaveLength(1);
  });

  it('reaches every link that it is acknowledged for', async () => {
    const world = await worldOf();
    const intake = { ...world.worker, notifications: world.notifications, dispatch: { dispatch: async () => {} } };
    expect(
      await acknowledge(intake, ['main', 'other'], [eventOf([], { certificates: [{ id: 'c1', name: '' }] })]),
    ).toBe('new');
    expect([await world.records.get('main', 'c1'), await world.records.get('other', 'c1')]).toMatchObject([
      { requested: 1 },
      { requested: 1 },
    ]);
  });
});

describe('a hint', () => {
  it('is asked for at once and stays until a listing is sure to show what it means', async () => {
    const world = await worldOf({ listingLagMs: 4_000 });
    await world.acknowledge(eventOf([named('shop')]));
    const settledAt = startMs + 4_000 + world.timing.skewMs;
    expect(await world.resolve()).toEqual({ asked: 2, unmatched: 0, again: settledAt });
    expect(await world.waiting()).toEqual(['shop']);
    await world.later(world.timing.toldEveryMs);
    expect(await world.resolve()).toEqual({ asked: 2, unmatched: 0 });
    expect(await world.waiting()).toEqual([]);
  });

  it('that nothing answers to is looked at again when reads and listings have settled, then forgotten and told', async () => {
    const world = await worldOf({ readSettlesMs: 3_000, listingLagMs: 4_000 });
    await world.acknowledge(eventOf([named('nobody\u0007')]));
    expect(await world.resolve()).toMatchObject({ asked: 0, unmatched: 0, again: startMs + 12_000 });
    await world.later(12_000);
    expect(await world.resolve()).toEqual({ asked: 0, unmatched: 1 });
    expect(await world.waiting()).toEqual([]);
    const [line] = world.lines.filter(({ event }) => event === 'hints_match_nothing');
    expect(line?.fields).toMatchObject({ link: 'main', count: 1 });
    expect(JSON.stringify(line)).not.toContain('\\u0007');
  });

  it('that is told again while it is looked for stays', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf([named('shop')]));
    world.primary.hooks.list = async (proceed, request) => {
      await world.acknowledge(eventOf([named('shop')], { digest: 'd2' }));
      return proceed(request);
    };
    await world.resolve();
    expect(await world.waiting()).toEqual(['shop']);
  });

  it('waits for the next listing while one has begun a moment ago', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf([named('shop')]));
    await world.resolve();
    await world.acknowledge(eventOf([named('api')], { digest: 'd2' }));
    expect(await world.resolve()).toEqual({ asked: 0, unmatched: 0, again: startMs + world.timing.toldEveryMs });
    await world.later(world.timing.toldEveryMs);
    expect(await world.resolve()).toEqual({ asked: 1, unmatched: 0 });
  });

  it('waits while the primary cannot be listed', async () => {
    const world = await worldOf();
    await world.acknowledge(eventOf([named('shop')]));
    world.primary.hooks.list = () => Promise.reject(new CodedError('store_unavailable', 'not reached'));
    expect(await world.resolve()).toEqual({ asked: 0, unmatched: 0 });
    expect(await world.waiting()).toEqual(['shop']);
    expect(world.lines).toMatchObject([{ event: 'hints_wait', fields: { hints: 1, code: 'store_unavailable' } }]);
  });

  it('gives way to a reconcile where as many wait as one listing looks for, and it cannot be had', async () => {
    const world = await worldOf();
    const keep = (text: string) => world.linkRecords.keepHint('main', named(text), { now: startMs, eventAt: startMs });
    for (let index = 0; index < limits.hintsAtOnce; index += 1) await keep(`n${index}`);
    world.primary.hooks.list = () => Promise.reject(new CodedError('store_unavailable', 'not reached'));
    await world.resolve();
    expect(await world.waiting()).toEqual([]);
    expect(await world.linkRecords.askedReconcile('main')).toBeDefined();
  });

  it('that is damaged keeps no other from being looked at', async () => {
    const world = await worldOf();
    await world.table.tap.update(
      { partition: 'hint.1/main', sort: 'bad' },
      { set: { wakeAt: startMs, by: 'nothing' } },
    );
    await world.acknowledge(eventOf([named('api')]));
    expect(await world.resolve()).toMatchObject({ asked: 1 });
    expect(world.lines).toMatchObject([{ level: 'error', event: 'hint_unreadable' }]);
  });
});
