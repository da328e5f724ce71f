import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { CodedError } from '../../src/errors.ts';
import { ownContent } from '../simulation/simulated-store.ts';
import {
  askAndPass,
  content,
  described,
  markOf,
  type Setup,
  setup,
  startMs,
  writesIn,
} from '../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

/** 120 s until an unanswered request is over, 10 s until a listing shows it, 5 s of skew. */
const settled = 135_000;
const unanswered = () => new CodedError('store_unanswered', 'no answer came');

/**
 * A link whose first import gets no answer. `lands`: it takes effect, at once, or when the test
 * says so.
 */
async function afterLostImport(lands: 'at once' | 'later' | 'never'): Promise<Setup & { land: () => void }> {
  const world = await setup({ backups: [{ abilities: { settlesMs: 120_000, listingLagMs: 10_000 } }] });
  world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
  let land = () => {};
  world.backup.hooks.import = async (_proceed, entry) => {
    const sent = { ...entry, content: ownContent(entry.content) };
    land = () => void world.backup.store.put(sent, 'late');
    if (lands === 'at once') land();
    throw unanswered();
  };
  await askAndPass(world, 'c1');
  delete world.backup.hooks.import;
  world.calls.length = 0;
  return Object.assign(world, { land: () => land() });
}

const idsIn = async (world: Setup) => (await world.backup.store.list({})).certificates.map(({ id }) => id);

describe('an import that got no answer', () => {
  it('leaves doubt until it must have taken effect and be listed', async () => {
    const world = await afterLostImport('never');
    expect(await world.record('c1')).toMatchObject({
      doubt: startMs + settled,
      wakeAt: startMs,
      backups: [{ attempts: 1, lastError: { code: 'store_unanswered' } }],
    });
  });

  it('is not sent a second time until the doubt has passed', async () => {
    const world = await afterLostImport('never');
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + settled, wakeAt: startMs + settled });
    // Being asked for makes no difference.
    await world.later(settled - 1);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    await world.later(1);
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup import']);
    expect(await idsIn(world)).toEqual(['backup-1']);
  });

  it('is not sent a second time by a look that began before the doubt had passed', async () => {
    const world = await afterLostImport('never');
    await world.pass('c1');
    await world.later(settled - 15);
    await world.ask('c1');
    world.journal.latencyMs = 10;
    await world.finish(world.pass('c1'));
    expect(world.time.now()).toBeGreaterThan(startMs + settled);
    expect(writesIn(world)).toEqual([]);
  });

  it('is adopted by its mark at once when it did take effect', async () => {
    const world = await afterLostImport('at once');
    const { passes } = await world.pass('c1');
    expect(passes[0]?.backups[0]).toMatchObject({ equal: true, actions: ['adopted'] });
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'late', attempts: 0 });
  });

  it('is adopted when it takes effect late, and stays one copy', async () => {
    const world = await afterLostImport('later');
    await world.pass('c1');
    await world.later(119_000);
    world.land();
    await world.later(settled - 119_000);
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    expect(await idsIn(world)).toEqual(['late']);
    expect(await world.record('c1')).not.toHaveProperty('doubt');
  });

  it('leaves no second copy, though the world is later than it says', async () => {
    const world = await afterLostImport('later');
    await world.later(settled);
    await world.pass('c1');
    world.land();
    expect(await idsIn(world)).toEqual(['backup-1', 'late']);
    await world.ask('c1', { doubt: world.time.now() });
    await world.pass('c1');
    expect(await idsIn(world)).toEqual(['backup-1']);
  });

  it('imports nothing while the store cannot be searched, though the doubt has passed', async () => {
    const world = await afterLostImport('never');
    await world.later(settled);
    world.backup.hooks.list = () => Promise.reject(new CodedError('store_unavailable', 'not reached'));
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    expect(await world.record('c1')).toMatchObject({
      doubt: startMs + settled,
      backups: [{ attempts: 2, lastError: { code: 'store_unavailable' } }],
    });
  });
});

describe('doubt', () => {
  /** A copy that rests, then a reimport that got no answer but took effect. */
  async function afterLostReimport(): Promise<Setup> {
    const world = await setup({ backups: [{ abilities: { settlesMs: 120_000, listingLagMs: 10_000 } }] });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.hooks.reimport = async (proceed, ...args) => {
      await proceed(...args);
      throw unanswered();
    };
    await askAndPass(world, 'c1');
    delete world.backup.hooks.reimport;
    world.calls.length = 0;
    return world;
  }

  it('is not cleared by a look before it has passed, though all is equal', async () => {
    const world = await afterLostReimport();
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + settled });
    const { passes } = await world.pass('c1');
    expect(passes[0]?.backups[0]?.equal).toBe(true);
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + settled, wakeAt: startMs + settled });
  });

  it('is cleared by a look that began when it had passed, and found all equal', async () => {
    const world = await afterLostReimport();
    await world.pass('c1');
    await world.later(settled);
    await world.pass('c1');
    expect(await world.record('c1')).not.toHaveProperty('doubt');
    expect(await world.record('c1')).not.toHaveProperty('wakeAt');
  });

  it('is not cleared when more was asked for meanwhile', async () => {
    const world = await afterLostReimport();
    await world.pass('c1');
    await world.later(settled);
    let looks = 0;
    const doubts: (number | undefined)[] = [];
    world.primary.hooks.read = async (proceed, ...args) => {
      looks += 1;
      doubts.push((await world.record('c1')).doubt);
      if (looks === 1) await world.ask('c1');
      return proceed(...args);
    };
    await world.pass('c1');
    expect(doubts).toEqual([startMs + settled, startMs + settled]);
    expect(await world.record('c1')).not.toHaveProperty('doubt');
  });

  it('is not cleared when a backup differs', async () => {
    const world = await afterLostReimport();
    await world.pass('c1');
    await world.later(settled);
    world.backup.hooks.read = async () => ({ state: 'unreadable', error: new CodedError('store_unavailable', 'no') });
    await world.pass('c1');
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + settled });
  });

  it('is not cleared when the primary holds nothing to compare with', async () => {
    const world = await afterLostReimport();
    await world.pass('c1');
    await world.later(settled);
    await world.primary.store.delete('c1');
    await world.pass('c1');
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + settled });
  });

  it('is set by an answer that makes no sense, and not by a refusal or a limit', async () => {
    const doubts: (number | undefined)[] = [];
    for (const code of ['store_nonsense', 'store_unauthorized', 'store_limited', 'store_unavailable'] as const) {
      const world = await setup();
      world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
      world.backup.hooks.import = () => Promise.reject(new CodedError(code, 'said the service'));
      await askAndPass(world, 'c1');
      doubts.push((await world.record('c1')).doubt);
    }
    expect(doubts).toEqual([startMs + 5_000, undefined, undefined, undefined]);
  });

  it('is that of the backup that did not answer, and of no other', async () => {
    const world = await setup({
      backups: [{ abilities: { settlesMs: 1_000 } }, { abilities: { settlesMs: 60_000, listingLagMs: 4_000 } }],
    });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.backup.hooks.import = () => Promise.reject(unanswered());
    await askAndPass(world, 'c1');
    const doubts = { backup: startMs + 6_000 };
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + 6_000, doubts });
  });

  it('makes a look search every backup', async () => {
    const world = await setup({ backups: [{}, {}] });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.backups[1]?.store.put({ content: second, metadata: described('shop'), mark: markOf('c1') }, 'earlier');
    await world.ask('c1', { doubt: startMs + 1 });
    await world.pass('c1');
    const [one, other] = (await world.record('c1')).backups;
    expect(one).not.toHaveProperty('id');
    expect(other?.id).toBe('earlier');
    expect(writesIn(world)).toEqual(['backup2 reimport']);
  });
});
