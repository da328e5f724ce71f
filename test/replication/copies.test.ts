import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { CodedError } from '../../src/errors.ts';
import { ownLimit } from '../../src/store/own-limit.ts';
import { ownContent } from '../simulation/simulated-store.ts';
import {
  askAndPass,
  content,
  described,
  held,
  markOf,
  replicated,
  type Setup,
  type SetupOptions,
  setup,
  startMs,
  writesIn,
} from '../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

/** A primary that holds `c1`, in a link that nobody has worked on. */
async function fresh(options: SetupOptions = {}): Promise<Setup> {
  const world = await setup(options);
  world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
  return world;
}

const copyOf = (held: CertificateContent, certificate = 'c1', name = 'shop') => ({
  content: held,
  metadata: described(name),
  mark: markOf(certificate),
});
const stateOf = async (world: Setup) => (await world.record('c1')).backups[0];
const callsOf = (world: Setup, name: string) =>
  world.calls.map((call) => call.replace(/^\d+ /, '')).filter((call) => call.startsWith(`${name} `));

describe('a copy with our mark that the record does not know', () => {
  it('is adopted before the first reconcile, and an equal one is not written', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.store.put(copyOf(first), 'earlier');
    const { passes } = await askAndPass(world, 'c1');
    expect(passes[0]?.backups[0]?.actions).toEqual(['adopted']);
    expect(writesIn(world)).toEqual([]);
    expect(await stateOf(world)).toMatchObject({ id: 'earlier', fingerprint: fingerprintOf(first), revision: '1' });
  });

  it('is adopted and made equal if it differs', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.store.put(copyOf(second, 'c1', 'old name'), 'earlier');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup updateMetadata']);
    expect(fingerprintOf((await held(world.backup.store, 'earlier')).content)).toBe(fingerprintOf(first));
  });

  it('is looked for beside the look at the primary', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.store.put(copyOf(first), 'earlier');
    await world.ask('c1');
    world.calls.length = 0;
    world.journal.latencyMs = 10;
    await world.finish(world.pass('c1'));
    expect(world.calls.slice(2)).toEqual(['10 primary read', '10 backup list', '20 backup read', '30 table update']);
  });

  it('is not looked for after the first reconcile, without doubt', async () => {
    const world = await fresh();
    await askAndPass(world, 'c1');
    expect(callsOf(world, 'backup')).toEqual(['backup import']);
  });

  it('is found by a service that can be asked for marks, without a listing', async () => {
    const world = await fresh({ backups: [{ abilities: { findsMarks: true } }] });
    world.backup.store.put(copyOf(first), 'earlier');
    await askAndPass(world, 'c1');
    expect(callsOf(world, 'backup')).toEqual(['backup findByMark', 'backup read']);
    expect((await stateOf(world))?.id).toBe('earlier');
  });

  it('is not adopted when a direct read shows it without our mark', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.store.put(copyOf(first), 'taken');
    world.backup.hooks.list = async (proceed, ...args) => {
      const page = await proceed(...args);
      await world.backup.store.updateMetadata('taken', described('shop'), markOf('c2'));
      return page;
    };
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup import']);
    expect((await stateOf(world))?.id).toBe('backup-1');
  });

  it('that is listed and that a read does not find holds up an import until both agree', async () => {
    const world = await fresh({
      reconciled: false,
      backups: [{ abilities: { listingLagMs: 4_000 } }],
    });
    const page = await world.backup.store.list({});
    const [id] = [world.backup.store.put(copyOf(first), 'gone')];
    const shown = await world.backup.store.list({});
    await world.backup.store.delete(id);
    world.backup.hooks.list = async () => shown;
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect(await stateOf(world)).toMatchObject({ attempts: 1, lastError: { code: 'store_listed_unread' } });
    expect((await world.record('c1')).wakeAt).toBe(startMs + 9_000);
    world.backup.hooks.list = async () => page;
    await world.later(9_000);
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup import']);
  });

  it('is adopted though its content is damaged, and written anew', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.store.put(copyOf(first), 'earlier');
    world.backup.store.corrupt('earlier');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport']);
    expect((await stateOf(world))?.id).toBe('earlier');
  });

  it('holds up an import while the store cannot be searched', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.hooks.list = () => Promise.reject(new CodedError('store_unavailable', 'not reached'));
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect(await stateOf(world)).toMatchObject({ attempts: 1, lastError: { code: 'store_unavailable' } });
  });
});

describe('what does not carry our mark', () => {
  it('is neither adopted nor touched', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.store.put({ content: first, metadata: described('shop') }, 'unmarked');
    world.backup.store.put(copyOf(second, 'c2'), 'of-c2');
    world.backup.store.put({ ...copyOf(second), mark: { store: 'elsewhere', certificate: 'c1' } }, 'of-elsewhere');
    const before = await Promise.all(['unmarked', 'of-c2', 'of-elsewhere'].map((id) => held(world.backup.store, id)));
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup import']);
    expect(await Promise.all(['unmarked', 'of-c2', 'of-elsewhere'].map((id) => held(world.backup.store, id)))).toEqual(
      before,
    );
  });
});

describe('several copies with our mark', () => {
  const inDoubt = (world: Setup) => world.ask('c1', { doubt: startMs });

  it('become one: that of the smallest id, recorded or not, proven by a full read before anything is deleted', async () => {
    const world = await replicated(first);
    world.backup.store.put(copyOf(second), 'a-smaller-id');
    world.backup.store.put(copyOf(second), 'b');
    world.backup.store.put({ content: first, metadata: described('shop') }, 'unmarked');
    world.backup.store.put(copyOf(first, 'c2'), 'of-c2');
    await inDoubt(world);
    const { passes } = await world.pass('c1');
    expect(callsOf(world, 'backup')).toEqual([
      'backup readMetadata',
      'backup list',
      'backup read',
      'backup reimport',
      'backup read',
      'backup readMetadata',
      'backup delete',
      'backup readMetadata',
      'backup delete',
    ]);
    const actions = ['adopted', 'reimported', 'surplus-removed'];
    expect(passes[0]?.backups[0]).toMatchObject({ actions, equal: true, searchedAt: expect.any(Number) });
    expect((await stateOf(world))?.id).toBe('a-smaller-id');
    const left = await world.backup.store.list({});
    expect(left.certificates.map(({ id }) => id)).toEqual(['a-smaller-id', 'unmarked', 'of-c2']);
    expect(await world.record('c1')).not.toHaveProperty('doubt');
  });

  it('are proven after a write, too', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.store.put(copyOf(first), 'surplus');
    await inDoubt(world);
    await world.pass('c1');
    expect(callsOf(world, 'backup')).toEqual([
      'backup readMetadata',
      'backup list',
      'backup reimport',
      'backup read',
      'backup readMetadata',
      'backup delete',
    ]);
  });

  it('all stay while there is doubt: a removal of the kept one may be on its way', async () => {
    const world = await replicated(first);
    world.backup.store.put(copyOf(first), 'surplus');
    await world.ask('c1', { doubt: startMs + 1_000 });
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + 1_000, wakeAt: startMs + 1_000 });
    await world.later(1_000);
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup delete']);
    expect((await stateOf(world))?.id).toBe('backup-1');
    expect(await world.record('c1')).not.toHaveProperty('doubt');
  });

  it('all stay when the kept one cannot be proven', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.store.put(copyOf(first), 'surplus');
    world.backup.hooks.read = async () =>
      held(world.primary.store, 'c1').then((value) => ({
        state: 'present',
        value: { ...value, content: ownContent(first) },
      }));
    await inDoubt(world);
    await world.pass('c1');
    expect(world.backup.store.size()).toBe(2);
    expect(await stateOf(world)).toMatchObject({ lastError: { code: 'store_holds_other' } });
  });

  it('all stay when the kept one cannot be read', async () => {
    const world = await replicated(first);
    world.backup.store.put(copyOf(first), 'surplus');
    const error = new CodedError('store_unavailable', 'not reached');
    world.backup.hooks.read = async () => ({ state: 'unreadable', error });
    await inDoubt(world);
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
  });

  it('lose none whose mark has changed since the listing', async () => {
    const world = await replicated(first);
    world.backup.store.put(copyOf(first), 'surplus');
    world.backup.hooks.list = async (proceed, ...args) => {
      const page = await proceed(...args);
      await world.backup.store.updateMetadata('surplus', described('taken over by a person'), undefined);
      return page;
    };
    await inDoubt(world);
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    expect(world.backup.store.size()).toBe(2);
  });

  it('of which none is recorded keep the smallest id, equal or not', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.store.put(copyOf(second), 'a');
    world.backup.store.put(copyOf(first), 'b');
    world.backup.store.put(copyOf(first), 'c');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup delete', 'backup delete']);
    expect((await stateOf(world))?.id).toBe('a');
  });

  it('of which none is recorded and none is equal keep the smallest id', async () => {
    const world = await fresh({ reconciled: false });
    world.backup.store.put(copyOf(second), 'b');
    world.backup.store.put(copyOf(second), 'a');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup delete']);
    expect((await stateOf(world))?.id).toBe('a');
  });

  it('leave doubt when a deletion got no answer', async () => {
    const world = await replicated(first);
    world.backup.store.put(copyOf(first), 'surplus');
    world.backup.hooks.delete = () => Promise.reject(new CodedError('store_unanswered', 'no answer'));
    await inDoubt(world);
    const { passes } = await world.pass('c1');
    expect(passes[0]?.backups[0]).toMatchObject({ wrote: true, doubtful: true, equal: false });
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + 5_000 });
    delete world.backup.hooks.delete;
    await world.later(5_000);
    await world.pass('c1');
    expect(world.backup.store.size()).toBe(1);
    expect(await world.record('c1')).not.toHaveProperty('doubt');
  });
});

describe('a second copy that has a chain, beside a damaged one that was written anew by a leaf alone', () => {
  async function besides(hold: boolean): Promise<Setup> {
    const world = await replicated(first);
    const { store } = world.backup;
    store.put(copyOf(first), 'zz-second');
    if (hold) store.hold('zz-second', 'store_in_use');
    world.primary.store.put({ content: { ...second, chain: [] }, metadata: described('shop') }, 'c1');
    return world;
  }

  it.each([
    ['in use, keeps it', true],
    ['that nobody uses, is not removed', false],
  ])('%s', async (_, hold) => {
    const world = await besides(hold);
    // The kept copy has a leaf alone already.
    world.backup.store.put(copyOf({ ...second, chain: [] }), 'backup-1');
    await world.ask('c1', { doubt: startMs });
    await world.later(1_000);
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    const { chain } = (await held(world.backup.store, 'zz-second')).content;
    expect(chain).toHaveLength(1);
    expect(await stateOf(world)).toMatchObject({ id: 'backup-1' });
  });
});

describe('a service that refuses a reimport because of the content', () => {
  const refusing: SetupOptions = {
    backups: [{ abilities: { reimportsInPlace: false, settlesMs: 120_000, listingLagMs: 10_000 } }],
  };

  async function renewed(): Promise<Setup> {
    const world = await replicated(first, refusing);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    return world;
  }

  it('gets a replacement; a later look removes the old copy', async () => {
    const world = await renewed();
    const { passes } = await askAndPass(world, 'c1');
    expect(passes[0]?.backups[0]).toMatchObject({ equal: true, actions: ['replaced'], doubtful: true });
    expect(writesIn(world)).toEqual(['backup import']);
    expect(await stateOf(world)).toMatchObject({ id: 'backup-2', fingerprint: fingerprintOf(second) });
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + 135_000, wakeAt: startMs + 135_000 });
    expect(world.backup.store.size()).toBe(2);

    await world.later(135_000);
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup import', 'backup delete']);
    const left = await world.backup.store.list({});
    expect(left.certificates.map(({ id }) => id)).toEqual(['backup-2']);
    expect(await world.record('c1')).not.toHaveProperty('doubt');
    // A removal asks for one more look, when it has settled.
    expect(await world.record('c1')).toMatchObject({ wakeAt: startMs + 270_000 });
    await world.later(135_000);
    await world.pass('c1');
    expect(await world.record('c1')).not.toHaveProperty('wakeAt');
  });

  it('gets one as well where it could have reimported other content', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.hooks.reimport = () => Promise.reject(new CodedError('store_content_refused', 'other domains'));
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup import']);
    expect(await stateOf(world)).toMatchObject({ id: 'backup-2', fingerprint: fingerprintOf(second) });
  });

  it('gets one whose name waits, as a finding that is tried the more seldom, while what was removed still has it', async () => {
    const world = await replicated(first, {
      backups: [{ abilities: { reimportsInPlace: false, uniqueNames: true } }],
    });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    const { name } = (await held(world.backup.store, 'backup-1')).metadata;
    world.backup.hooks.updateMetadata = () => Promise.reject(new CodedError('store_conflict', `${name} is taken`));
    await askAndPass(world, 'c1');
    const { wakeAt: settledAt = 0 } = await world.record('c1');
    await world.later(settledAt - world.time.now());
    await world.pass('c1');
    const waits = await stateOf(world);
    expect(waits).toMatchObject({ id: 'backup-2', attempts: 0, refusal: { code: 'store_name_taken', looks: 1 } });
    expect(waits?.lastError?.remedy).toMatch(/^Wait until the service gives up the place of what was deleted/);
    expect(waits?.fingerprint).toBe(fingerprintOf(second));
    const lengths: number[] = [];
    for (let look = 0; look < 4; look += 1) {
      const { wakeAt = 0 } = await world.record('c1');
      lengths.push(wakeAt - world.time.now());
      await world.later(wakeAt - world.time.now());
      await world.pass('c1');
    }
    expect(lengths).toEqual(lengths.toSorted((a, b) => a - b));
    expect(lengths[3]).toBeGreaterThan(2 * (lengths[0] ?? 0));
    delete world.backup.hooks.updateMetadata;
    await world.later(3 * 3_600_000);
    await world.pass('c1');
    expect((await held(world.backup.store, 'backup-2')).metadata.name).toBe(name);
    expect(await stateOf(world)).not.toHaveProperty('refusal');
  });

  it('gets none for another failure', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.hooks.reimport = () => Promise.reject(new CodedError('store_unauthorized', 'not allowed'));
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport']);
    expect(await stateOf(world)).toMatchObject({ id: 'backup-1', lastError: { code: 'store_unauthorized' } });
  });

  it('gets none while there is doubt, and keeps the old copy', async () => {
    const world = await renewed();
    await world.ask('c1', { doubt: startMs + 1 });
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    expect(await stateOf(world)).toMatchObject({ id: 'backup-1', fingerprint: fingerprintOf(first) });
    await world.later(1);
    await world.pass('c1');
    expect((await stateOf(world))?.id).toBe('backup-2');
  });

  it('gets none where an equal copy with our mark is there already: its maker did not live to record it', async () => {
    const world = await renewed();
    world.backup.store.put(copyOf(second), 'made-and-forgotten');
    await world.ask('c1', { doubt: startMs });
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup delete']);
    expect(await stateOf(world)).toMatchObject({ id: 'made-and-forgotten', fingerprint: fingerprintOf(second) });
    const left = await world.backup.store.list({});
    expect(left.certificates.map(({ id }) => id)).toEqual(['made-and-forgotten']);
  });

  it('gets one of another name where names are unique; a later look gives the name over', async () => {
    const world = await replicated(first, { backups: [{ abilities: { reimportsInPlace: false, uniqueNames: true } }] });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect((await held(world.backup.store, 'backup-2')).metadata.name).toMatch(/^shop-507c4282c15f5a6d-[0-9a-f]{8}$/);
    await world.later(5_000);
    await world.pass('c1');
    expect(world.backup.store.size()).toBe(1);
    expect((await held(world.backup.store, 'backup-2')).metadata.name).toBe('shop-507c4282c15f5a6d');
    await world.later(5_000);
    await world.pass('c1');
    expect(await world.record('c1')).not.toHaveProperty('wakeAt');
  });

  it('begins no doubt anew for a name that the old copy still has, while nobody could search for that', async () => {
    const world = await replicated(first, { backups: [{ abilities: { reimportsInPlace: false, uniqueNames: true } }] });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    const { doubt } = await world.record('c1');
    expect(doubt).toBe(startMs + 5_000);
    world.backup.hooks.list = () =>
      Promise.reject(new CodedError('store_search_running', 'searched', { fields: { retryAfterMs: 60_000 } }));
    await world.later(5_000);
    const { passes } = (await world.pass('c1')) ?? {};
    expect(passes?.[0]?.backups[0]).toMatchObject({ equal: false, doubtful: false, again: startMs + 65_000 });
    expect(await world.record('c1')).toMatchObject({ doubt, wakeAt: startMs + 65_000 });
    expect(await stateOf(world)).toMatchObject({ attempts: 0 });

    delete world.backup.hooks.list;
    await world.later(60_000);
    await world.pass('c1');
    expect(world.backup.store.size()).toBe(1);
    expect((await held(world.backup.store, 'backup-2')).metadata.name).toBe('shop-507c4282c15f5a6d');
  });

  it('waits for doubt with a name that the old copy still has, and does not begin it anew', async () => {
    const world = await replicated(first, { backups: [{ abilities: { reimportsInPlace: false, uniqueNames: true } }] });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    await world.later(4_000);
    await world.ask('c1');
    await world.pass('c1');
    expect(world.backup.store.size()).toBe(2);
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + 5_000, wakeAt: startMs + 5_000 });
    await world.later(1_000);
    await world.pass('c1');
    expect(world.backup.store.size()).toBe(1);
  });
});

describe('a copy that stays as it is, before the kept one in the order', () => {
  const pass = async (world: Setup) => {
    await world.ask('c1');
    return world.pass('c1');
  };

  /** Somebody has locked it, and holds another version in it; the recorded one is equal. */
  async function lockedBefore(): Promise<Setup> {
    const world = await replicated(first);
    world.backup.store.put(copyOf(second), '!locked');
    world.backup.store.hold('!locked', 'store_held');
    await world.ask('c1', { doubt: startMs });
    await world.later(1_000);
    await world.pass('c1');
    return world;
  }

  it('is remembered with what its service says of it, and looked at again', async () => {
    const world = await lockedBefore();
    const again = startMs + 1_000 + world.timing.heldLooksMs;
    expect(await stateOf(world)).toMatchObject({
      id: 'backup-1',
      fingerprint: fingerprintOf(first),
      unremovable: [{ id: '!locked', code: 'store_held', since: startMs + 1_000, again }],
    });
    const record = await world.record('c1');
    expect(record).toMatchObject({ wakeAt: again });
    expect(record).not.toHaveProperty('doubt');
  });

  it('is searched for by the next look, which imports no third one where the kept one cannot be written', async () => {
    const world = await lockedBefore();
    world.primary.store.put({ content: await content(), metadata: described('shop') }, 'c1');
    world.backup.hooks.reimport = (proceed, id, given) =>
      id === 'backup-1' ? Promise.reject(new CodedError('store_content_refused', 'other domains')) : proceed(id, given);
    world.calls.length = 0;
    const { passes } = await pass(world);
    expect(passes[0]?.backups[0]).toMatchObject({ equal: false, refused: true, error: { code: 'store_held' } });
    expect(writesIn(world)).toEqual(['backup reimport', 'backup reimport']);
    expect(world.backup.store.size()).toBe(2);
    expect((await stateOf(world))?.unremovable).toMatchObject([{ id: '!locked' }]);
  });

  it('is the kept one as soon as it is free, and the other is removed', async () => {
    const world = await lockedBefore();
    world.backup.store.hold('!locked', undefined);
    await world.later(world.timing.heldLooksMs);
    await world.pass('c1');
    expect((await world.backup.store.list({})).certificates.map(({ id }) => id)).toEqual(['!locked']);
    const state = await stateOf(world);
    expect(state).toMatchObject({ id: '!locked', fingerprint: fingerprintOf(first) });
    expect(state).not.toHaveProperty('unremovable');
  });

  it('is remembered too where a finding tells that it was refused, and the look began with the next one', async () => {
    const world = await replicated(second);
    world.backup.store.put(copyOf(first), '!locked');
    world.backup.store.put(copyOf(first), 'zz-used');
    let isTurn = false;
    world.backup.hooks.delete = () => Promise.reject(new CodedError('store_in_use', 'in use'));
    world.backup.hooks.reimport = (proceed, id, given) => {
      if (id === '!locked') return Promise.reject(new CodedError('store_held', 'locked by somebody'));
      if (isTurn) return proceed(id, given);
      isTurn = true;
      return Promise.reject(ownLimit('not sent', { store: 'backup', retryAfterMs: 1_000 }));
    };
    await world.ask('c1', { doubt: startMs });
    await world.later(1_000);
    await world.pass('c1');
    await world.later(15_000);
    await world.pass('c1');
    const { refusal, unremovable = [] } = (await stateOf(world)) ?? {};
    expect(refusal).toBeUndefined();
    const told = unremovable.map(({ id, code }) => `${id} ${code}`).toSorted();
    expect(told).toEqual(['!locked store_held', 'zz-used store_in_use']);
  });
});

describe('a copy that does not take the content, whose attempt took the turn of the one beside it', () => {
  const noTurn = () => ownLimit('not sent', { store: 'backup', retryAfterMs: 1_000 });

  it.each([
    ['because somebody holds it', 'store_held', {}],
    ['because of the content, where others refer to its id', 'store_content_refused', { idsAreReferredTo: true }],
  ] as const)('%s is told, and tried again as a finding, not at each turn', async (_why, code, abilities) => {
    const world = await replicated(first, { backups: [{ abilities }] });
    world.backup.store.put(copyOf(first), 'zz-second');
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.hooks.reimport = (_proceed, id) =>
      Promise.reject(id === 'backup-1' ? new CodedError(code, 'not this one') : noTurn());
    await world.ask('c1', { doubt: startMs });
    await world.later(1_000);
    const { passes } = (await world.pass('c1')) ?? {};
    expect(passes?.[0]?.backups[0]).toMatchObject({ equal: false, refused: true, error: { code } });
    expect(await stateOf(world)).toMatchObject({ id: 'backup-1', refusal: { code } });
    expect(await world.record('c1')).toMatchObject({ wakeAt: startMs + 16_000 });
  });

  it('is told too where that was one which cannot be removed; the next look begins with another', async () => {
    const world = await replicated(second);
    world.backup.store.put(copyOf(first), '!held');
    world.backup.store.put(copyOf(first), 'zz-used');
    const tried: string[] = [];
    world.backup.hooks.delete = () => Promise.reject(new CodedError('store_in_use', 'in use'));
    world.backup.hooks.reimport = (proceed, id, given) => {
      tried.push(id);
      if (id === '!held') return Promise.reject(new CodedError('store_held', 'locked by somebody'));
      return tried.includes('!held') ? Promise.reject(noTurn()) : proceed(id, given);
    };
    await world.ask('c1', { doubt: startMs });
    await world.later(1_000);
    const { passes } = (await world.pass('c1')) ?? {};
    expect(passes?.[0]?.backups[0]).toMatchObject({ equal: false, refused: true, error: { code: 'store_held' } });
    expect(tried.splice(0)).toEqual(['!held', 'zz-used']);
    expect(await world.record('c1')).toMatchObject({ wakeAt: startMs + 16_000 });
    await world.later(15_000);
    await world.pass('c1');
    expect(tried).toEqual(['zz-used']);
    expect(await stateOf(world)).not.toHaveProperty('refusal');
  });

  it('is not asked again before its removal is tried again, where it cannot be removed', async () => {
    const world = await replicated(second);
    for (const id of ['zz-other', 'zz-used']) world.backup.store.put(copyOf(first), id);
    const tried: string[] = [];
    world.backup.hooks.delete = () => Promise.reject(new CodedError('store_in_use', 'in use'));
    world.backup.hooks.reimport = (proceed, id, given) => {
      tried.push(id);
      if (id === 'zz-other') return Promise.reject(new CodedError('store_content_refused', 'other domains'));
      return tried.includes('zz-other') ? Promise.reject(noTurn()) : proceed(id, given);
    };
    await world.ask('c1', { doubt: startMs });
    await world.later(1_000);
    await world.pass('c1');
    expect(tried.splice(0)).toEqual(['zz-other', 'zz-used']);
    expect(await stateOf(world)).toMatchObject({ unremovable: [{ notTaken: fingerprintOf(second) }, {}] });
    await world.later(1_000);
    await world.pass('c1');
    expect(tried.splice(0)).toEqual(['zz-used']);
    await world.later(world.timing.heldLooksMs);
    await world.pass('c1');
    expect(tried).toEqual(['zz-other']);
  });

  it('comes after those that can be written, of the copies that cannot be removed', async () => {
    const world = await replicated(second);
    world.backup.store.put(copyOf(first), 'zz-locked');
    world.backup.store.put(copyOf(first), 'zz-used');
    const tried: string[] = [];
    world.backup.hooks.delete = (_proceed, id) =>
      Promise.reject(new CodedError(id === 'zz-used' ? 'store_in_use' : 'store_held', 'not removed'));
    world.backup.hooks.reimport = (_proceed, id) => {
      tried.push(id);
      return Promise.reject(
        id === 'zz-locked' && tried.length === 2
          ? new CodedError('store_held', 'locked by somebody')
          : ownLimit('not sent', { store: 'backup', retryAfterMs: 1_000 }),
      );
    };
    await world.ask('c1', { doubt: startMs });
    await world.later(1_000);
    await world.pass('c1');
    expect(tried).toEqual(['zz-used', 'zz-locked']);
  });
});
