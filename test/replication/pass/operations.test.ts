import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { CodedError } from '../../../src/errors.ts';
import type { OperationState, Store } from '../../../src/store/store.ts';
import { content, described, held, markOf, type Setup, setup, writesIn } from '../../support/replication.ts';

const minuteMs = 60_000;
const longestMs = 20 * minuteMs;
const longWrites = { import: longestMs, reimport: longestMs, delete: longestMs };
let first: CertificateContent;
let second: CertificateContent;
beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

/** A world whose backup goes on with imports until `land` is called. */
async function goingOn(
  options: { readonly asked?: () => OperationState; readonly abilities?: Partial<Store['abilities']> } = {},
) {
  const world = await setup({ backups: [{ abilities: { longWrites, settlesMs: minuteMs, ...options.abilities } }] });
  world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
  const landing: (() => void)[] = [];
  world.backup.hooks.import = async (_proceed, entry) => {
    landing.push(() => void world.backup.store.put({ ...entry, content: first }, 'made'));
    return { id: 'made', running: 'handle-1' };
  };
  const asked: unknown[] = [];
  const { asked: answer } = options;
  if (answer !== undefined)
    Object.assign(world.link.backups[0] as Store, {
      operation: async (of: unknown) => {
        asked.push(of);
        return answer();
      },
    });
  const land = () => {
    for (const effect of landing.splice(0)) effect();
  };
  return { world, land, asked };
}

const operationIn = async (world: Setup) => (await world.record('c1')).backups[0]?.operation;
const copyIn = async (world: Setup, id: string) => fingerprintOf((await held(world.backup.store, id)).content);
const look = async (world: Setup) => {
  await world.ask('c1');
  return world.pass('c1');
};

describe('a write that its service goes on with', () => {
  it('is written down before it is started, and its handle after; nothing else is written until its end is seen', async () => {
    let state: OperationState = { state: 'running' };
    const { world, land, asked } = await goingOn({ asked: () => state });
    let before: unknown;
    const { import: importing } = world.backup.hooks;
    world.backup.hooks.import = async (...given) => {
      before = await operationIn(world);
      return (await importing?.(...given)) as { id: string };
    };
    await look(world);
    expect(before).toMatchObject({ kind: 'import', fingerprint: fingerprintOf(first) });
    expect(before).not.toHaveProperty('handle');
    expect(await operationIn(world)).toMatchObject({ kind: 'import', id: 'made', handle: 'handle-1' });
    expect((await world.record('c1')).wakeAt).toBe(world.time.now() + 5_000);

    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.later(minuteMs);
    await look(world);
    expect(asked).toEqual([{ kind: 'import', handle: 'handle-1', id: 'made', mark: markOf('c1') }]);
    expect(writesIn(world)).toEqual(['backup import']);

    land();
    state = { state: 'ended', id: 'made' };
    await look(world);
    expect(await operationIn(world)).toBeUndefined();
    expect((await world.record('c1')).backups[0]).toMatchObject({
      id: 'made',
      written: { id: 'made', fingerprint: fingerprintOf(first) },
    });
    await look(world);
    expect(writesIn(world)).toEqual(['backup import', 'backup reimport']);
    expect(await copyIn(world, 'made')).toBe(fingerprintOf(second));
  });

  it('and that takes the place of another copy leaves that one behind: a look in doubt removes it', async () => {
    let state: OperationState = { state: 'running' };
    const { world, land } = await goingOn({ asked: () => state, abilities: { reimportsInPlace: false } });
    world.backup.store.put({ content: second, metadata: described('shop'), mark: markOf('c1') }, 'old');
    await world.ask('c1', { doubt: world.time.now() });
    await world.later(1);
    await world.pass('c1');
    expect(await operationIn(world)).toMatchObject({ kind: 'import', id: 'made' });
    const { doubt } = await world.record('c1');
    expect(doubt).toBeGreaterThan(world.time.now());

    land();
    state = { state: 'ended', id: 'made' };
    await world.later(minuteMs);
    for (let round = 0; round < 3; round += 1) {
      await look(world);
      await world.later(10_000);
    }
    expect(world.backup.store.size()).toBe(1);
    expect(await copyIn(world, 'made')).toBe(fingerprintOf(first));
    expect(await world.record('c1')).not.toHaveProperty('doubt');
  });

  it('may go on for its longest time where nobody can be asked, from the end of the pass that began it', async () => {
    const { world, land } = await goingOn();
    world.backup.hooks.import = async () => {
      throw new CodedError('store_unanswered', 'no answer');
    };
    await look(world);
    const until = world.time.now() + minuteMs + 5_000 + longestMs;
    expect(await operationIn(world)).toMatchObject({ kind: 'import', until });
    await world.later(longestMs);
    await look(world);
    expect(writesIn(world)).toEqual(['backup import']);
    world.backup.store.put({ content: first, metadata: described('shop'), mark: markOf('c1') }, 'late');
    await world.later(until - world.time.now());
    await look(world);
    expect(writesIn(world)).toEqual(['backup import']);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'late' });
    expect(await operationIn(world)).toBeUndefined();
    land();
  });

  it('has not ended, by whatever its service says, while nobody heard its handle and it may not have arrived', async () => {
    const { world } = await goingOn({ asked: () => ({ state: 'ended' }) });
    world.backup.hooks.import = async () => {
      throw new CodedError('store_unanswered', 'no answer');
    };
    await look(world);
    const arrivedBy = world.time.now() + minuteMs + 5_000;
    await world.later(minuteMs);
    await look(world);
    expect(await operationIn(world)).toMatchObject({ kind: 'import', until: arrivedBy + longestMs });
    expect((await world.record('c1')).wakeAt).toBe(arrivedBy);
    await world.later(arrivedBy - world.time.now());
    await look(world);
    expect(await operationIn(world)).toBeUndefined();
    expect(writesIn(world)).toEqual(['backup import']);
  });

  it('is followed by no second one before a search has ended that began after its longest time', async () => {
    const { world, land } = await goingOn();
    world.backup.hooks.import = async () => {
      throw new CodedError('store_unanswered', 'no answer');
    };
    await look(world);
    const until = (await operationIn(world))?.until ?? 0;
    world.backup.store.put({ content: first, metadata: described('shop'), mark: markOf('c1') }, 'late');
    const asked: unknown[] = [];
    const { listings } = world.worker;
    Object.assign(world.worker, {
      listings: {
        marked: async (_store: unknown, _mark: unknown, { since }: { readonly since?: number }) => {
          asked.push(since);
          throw new CodedError('store_search_running', 'searched', { fields: { retryAfterMs: 1_000 } });
        },
      },
    });
    await world.later(until - world.time.now());
    await look(world);
    expect(asked).toEqual([until]);
    expect(await operationIn(world)).toMatchObject({ kind: 'import', until });

    Object.assign(world.worker, { listings });
    await world.later(1_000);
    await look(world);
    expect(writesIn(world)).toEqual(['backup import']);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'late' });
    expect(await operationIn(world)).toBeUndefined();
    land();
  });

  it('whose pass died may go on for its longest time from when its lease was taken over', async () => {
    const { world } = await goingOn();
    await world.ask('c1');
    const dying = new Promise<never>(() => {});
    world.backup.hooks.import = () => {
      // Nothing that it writes after this arrives.
      world.table.hooks.update = () => dying;
      return dying;
    };
    void world.pass('c1').catch(() => undefined);
    await world.later(1);
    expect(await operationIn(world)).not.toHaveProperty('until');
    await world.later(10 * minuteMs);
    delete world.table.hooks.update;
    await look(world);
    expect((await operationIn(world))?.until).toBeGreaterThanOrEqual(world.time.now() + longestMs);
  });

  it.each([
    { when: 'it is seen to have ended', asked: (): OperationState => ({ state: 'ended', id: 'made' }) },
    { when: 'it can go on no longer, and nobody can be asked', asked: undefined },
  ])('counts as a write when $when: what is read back otherwise is sent twice, and no more', async ({ asked }) => {
    const { world } = await goingOn({ ...(asked && { asked }) });
    // The same leaf, and a chain that the service adds.
    const completed = { ...first, chain: [...first.chain, first.leaf] };
    const put = () =>
      world.backup.store.put({ content: completed, metadata: described('shop'), mark: markOf('c1') }, 'made');
    world.backup.hooks.import = async () => {
      put();
      return { id: 'made', running: 'handle-1' };
    };
    world.backup.hooks.reimport = async () => {
      put();
      return { running: 'handle-2' } as never;
    };
    for (let pass = 0; pass < 10; pass += 1) {
      await look(world);
      await world.later(asked === undefined ? 2 * longestMs : minuteMs);
    }
    expect(writesIn(world)).toEqual(['backup import', 'backup reimport']);
    const [state] = (await world.record('c1')).backups;
    expect(state?.refusal?.code).toBe('store_rewrites_content');
  });

  it('is not started under a lease that somebody else has taken over', async () => {
    const { world } = await goingOn();
    world.primary.hooks.read = async (proceed, ...given) => {
      const reading = await proceed(...given);
      await world.table.tap.update({ partition: 'replication.1/main', sort: 'c1' }, { add: { leaseToken: 1 } });
      return reading;
    };
    await look(world);
    expect(writesIn(world)).toEqual([]);
  });

  it('is no operation where it was refused, or done when it was answered', async () => {
    const { world } = await goingOn();
    world.backup.hooks.import = () => Promise.reject(new CodedError('store_refused', 'no'));
    await look(world);
    expect(await operationIn(world)).toBeUndefined();
    delete world.backup.hooks.import;
    await world.later(10 * minuteMs);
    await look(world);
    expect(await operationIn(world)).toBeUndefined();
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'backup-1' });
  });

  it('may be a removal: what it removes is not counted on, and nothing is written beside it', async () => {
    let state: OperationState = { state: 'running' };
    const { world } = await goingOn({ asked: () => state, abilities: { findsMarks: true } });
    for (const id of ['a', 'b'])
      world.backup.store.put({ content: first, metadata: described('shop'), mark: markOf('c1') }, id);
    world.backup.hooks.delete = async () => ({ running: 'handle-2' });
    await look(world);
    expect(await operationIn(world)).toMatchObject({ kind: 'delete', id: 'b', handle: 'handle-2' });
    await world.backup.store.delete('a');
    await look(world);
    expect(writesIn(world)).toEqual(['backup delete']);
    await world.backup.store.delete('b');
    state = { state: 'ended' };
    delete world.backup.hooks.import;
    await look(world);
    await look(world);
    expect(writesIn(world)).toEqual(['backup delete', 'backup import']);
  });
});
