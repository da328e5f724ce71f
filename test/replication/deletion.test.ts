import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { CodedError } from '../../src/errors.ts';
import { ownLimit } from '../../src/store/own-limit.ts';
import { copyOf, fill, planned, reconcileAll, verified, workOffAll } from '../support/estate.ts';
import {
  content,
  described,
  held,
  markOf,
  type Setup,
  type SetupOptions,
  setup,
  writesIn,
} from '../support/replication.ts';

const dayMs = 86_400_000;
let contents: CertificateContent[];

beforeAll(async () => {
  contents = await Promise.all(Array.from({ length: 40 }, () => content()));
});

async function estate(count: number, options: SetupOptions = {}): Promise<Setup> {
  const world = await setup({ reconciled: false, ...options });
  fill(world, contents.slice(0, count));
  await reconcileAll(world);
  world.calls.length = 0;
  return world;
}

describe('a certificate that is deleted in the primary', () => {
  it('keeps its copy, which says so once a second look has confirmed it, and is not asked for again', async () => {
    const world = await estate(2);
    const copy = await copyOf(world, 'c1');
    await world.backup.store.updateMetadata(copy, described('name 1', 'a note'), markOf('c1'));
    await world.primary.store.updateMetadata('c1', described('name 1', 'a note'), undefined);
    await reconcileAll(world);
    await world.primary.store.delete('c1');
    world.calls.length = 0;
    expect((await reconcileAll(world)).asked).toEqual({ 'gone-from-primary': 1 });
    const { metadata, content: kept } = await held(world.backup.store, copy);
    expect(metadata).toMatchObject({
      name: 'name 1',
      description: 'Retained since 2026-01-01: the original is gone from the primary.\na note',
      mark: markOf('c1'),
    });
    expect(kept.leaf.raw).toEqual(contents[0]?.leaf.raw);
    expect(writesIn(world)).toEqual(['backup updateMetadata']);

    for (let day = 0; day < 60; day += 20) {
      await world.later(20 * dayMs);
      const { asked, retained } = await reconcileAll(world);
      expect(asked).not.toHaveProperty('gone-from-primary');
      expect(retained).toBe(1);
    }
    expect(writesIn(world)).toEqual(['backup updateMetadata']);
  });

  it('is not said to be gone by one look: neither its copy nor its description is touched until a second one, later', async () => {
    const world = await estate(2);
    await world.primary.store.delete('c1');
    await world.ask('c1');
    await world.pass('c1');
    const { absentSince = 0, wakeAt } = await world.record('c1');
    expect(wakeAt).toBe(absentSince + world.timing.absenceMs);
    // An event in between is no second look.
    await world.later(world.timing.absenceMs - 1);
    await world.ask('c1');
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    // It was away only while somebody put another version in its place.
    world.primary.store.put({ content: contents[1] as CertificateContent, metadata: described('name 1') }, 'c1');
    await world.later(1);
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup reimport']);
    expect(await world.record('c1')).not.toHaveProperty('absentSince');

    await world.primary.store.delete('c1');
    await world.ask('c1');
    await world.pass('c1');
    await world.later(world.timing.absenceMs);
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup updateMetadata']);
  });

  it('is an ordinary one again when it comes back', async () => {
    const world = await estate(2);
    await world.primary.store.delete('c1');
    await reconcileAll(world);
    world.primary.store.put({ content: contents[1] as CertificateContent, metadata: described('back', 'again') }, 'c1');
    expect((await reconcileAll(world)).asked).toEqual({ different: 1 });
    expect(await verified(world)).toMatchObject({ counts: { same: 2 }, problems: 0 });
    expect((await held(world.backup.store, await copyOf(world, 'c1'))).metadata.description).toBe('again');
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('retainedAt');
  });

  it('has its copy left alone where the copy is not ours any more', async () => {
    const world = await estate(2);
    const copy = await copyOf(world, 'c1');
    await world.primary.store.delete('c1');
    await world.backup.store.updateMetadata(copy, described('mine'), undefined);
    world.calls.length = 0;
    await reconcileAll(world);
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('id');
  });

  it('is marked later where the backup does not answer', async () => {
    const world = await estate(2);
    await world.primary.store.delete('c1');
    let failures = 3;
    world.backup.hooks.updateMetadata = (proceed, ...given) => {
      failures -= 1;
      return failures < 0 ? proceed(...given) : Promise.reject(new CodedError('store_unavailable', 'not reached'));
    };
    await reconcileAll(world);
    expect((await held(world.backup.store, await copyOf(world, 'c1'))).metadata.description).toMatch(/^Retained since/);
    expect((await world.record('c1')).backups[0]).toMatchObject({ attempts: 0, retainedAt: expect.any(Number) });
  });

  it('is marked later where a limit of ours leaves no room for it: that is no failure', async () => {
    const world = await estate(2);
    await world.primary.store.delete('c1');
    await world.ask('c1');
    await world.pass('c1');
    await world.later(world.timing.absenceMs);
    let left = 1;
    world.backup.hooks.updateMetadata = (proceed, ...given) => {
      left -= 1;
      return left < 0
        ? proceed(...given)
        : Promise.reject(ownLimit('not sent', { store: 'backup', retryAfterMs: 20_000 }));
    };
    const { passes } = (await world.pass('c1')) ?? {};
    expect(passes?.[0]?.backups[0]).not.toHaveProperty('error');
    const again = world.time.now() + 20_000;
    expect((await world.record('c1')).backups[0]).toMatchObject({ attempts: 0, notBefore: again });
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('lastError');
    expect((await world.record('c1')).wakeAt).toBe(again);
    await world.later(20_000);
    await world.pass('c1');
    const state = (await world.record('c1')).backups[0];
    expect(state).toMatchObject({ attempts: 0, retainedAt: expect.any(Number) });
    expect(state).not.toHaveProperty('notBefore');
  });

  it.each([
    ['says so', {}],
    ['goes', { policy: { removal: { afterMs: dayMs, maxShare: 1 } } }],
  ])(
    'whose copy is locked: it %s when that ends, is told until then, and is tried ever later',
    async (what, options) => {
      const world = await estate(2, options as SetupOptions);
      const copy = await copyOf(world, 'c1');
      world.backup.store.hold(copy, 'store_held');
      await world.primary.store.delete('c1');
      // It never comes to rest: somebody may let go of it at any moment.
      await expect(reconcileAll(world)).rejects.toThrow('does not come to rest');
      await world.later(2 * dayMs);
      await expect(reconcileAll(world)).rejects.toThrow('does not come to rest');
      const stateOf = async () => (await world.record('c1')).backups[0];
      expect(await stateOf()).toMatchObject({ attempts: 0, refusal: { code: 'store_held' } });
      expect(await stateOf()).not.toHaveProperty('notBefore');
      const { wakeAt = 0, backups } = await world.record('c1');
      expect(wakeAt - (backups[0]?.lastError?.at ?? 0)).toBe(world.worker.timing.heldLooksMs);
      world.backup.store.hold(copy, undefined);
      await world.later(dayMs);
      await reconcileAll(world);
      expect(await stateOf()).not.toHaveProperty('refusal');
      expect(world.backup.store.size()).toBe(what === 'goes' ? 1 : 2);
    },
  );

  it('without a record, is found by the mark on its copy, and that is kept as well', async () => {
    const world = await estate(2);
    world.backup.store.put(
      { content: contents[1] as CertificateContent, metadata: described('orphan'), mark: markOf('c9') },
      'orphan',
    );
    expect((await reconcileAll(world)).asked).toEqual({ orphaned: 1 });
    expect((await held(world.backup.store, 'orphan')).metadata.description).toMatch(/^Retained since/);
    expect((await reconcileAll(world)).asked).toEqual({});
  });
});

describe('with onDelete: remove', () => {
  const removal = { afterMs: 30 * dayMs, maxShare: 0.1 };
  const policy = { removal };

  it('copies go when their originals have been gone as long as the policy says, no earlier', async () => {
    const world = await estate(20, { policy });
    const [copy, other] = [await copyOf(world, 'c1'), await copyOf(world, 'c2')];
    await world.primary.store.delete('c1');
    await reconcileAll(world);
    const { absentSince = 0 } = await world.record('c1');
    await world.later(absentSince + removal.afterMs - 1 - world.time.now());
    expect((await reconcileAll(world)).asked).not.toHaveProperty('removal-due');
    await world.later(absentSince + removal.afterMs - world.time.now());
    expect([...(await planned(world)).lines.values()]).toMatchObject([
      { certificate: 'c1', outcome: 'remove', backups: [{ writes: [{ write: 'remove', copy }] }] },
    ]);
    expect((await reconcileAll(world)).asked).toMatchObject({ 'removal-due': 1 });
    expect((await world.backup.store.read(copy)).state).toBe('absent');
    expect((await world.backup.store.read(other)).state).toBe('present');
    expect((await world.record('c1')).backups[0]).toEqual({ store: 'backup', attempts: 0 });
    expect((await reconcileAll(world)).asked).toEqual({});
  });

  it('no more go at once than the share allows, those first that have been gone longest', async () => {
    const world = await estate(40, { policy: { removal, brakeShare: 1 } });
    for (let number = 1; number <= 9; number += 1) {
      await world.primary.store.delete(`c${number}`);
      await reconcileAll(world);
      await world.later(3_600_000);
    }
    await world.later(removal.afterMs);
    const left = async () => (await world.backup.store.list({})).certificates.length;
    await reconcileAll(world);
    expect(await left()).toBe(36);
    for (const certificate of ['c1', 'c2', 'c3', 'c4'])
      await expect(copyOf(world, certificate)).rejects.toThrow('no copy');
    await reconcileAll(world);
    expect(await left()).toBe(33);
    await reconcileAll(world);
    expect(await left()).toBe(31);
  });

  it('nothing goes whose original is back, though no listing shows it yet', async () => {
    const world = await estate(2, { policy });
    const copy = await copyOf(world, 'c1');
    await world.primary.store.delete('c1');
    await reconcileAll(world);
    await world.later(31 * dayMs);
    world.primary.store.put({ content: contents[0] as CertificateContent, metadata: described('name 1') }, 'c1');
    world.primary.hooks.list = async (proceed, request) => {
      const page = await proceed(request);
      return { ...page, certificates: page.certificates.filter(({ id }) => id !== 'c1') };
    };
    expect((await reconcileAll(world)).asked).toMatchObject({ 'removal-due': 1 });
    expect((await world.backup.store.read(copy)).state).toBe('present');
    expect((await world.record('c1')).absentSince).toBeUndefined();
  });

  it('the permission is for one pass, and nothing without it: an event about it removes nothing', async () => {
    const world = await estate(2, { policy });
    const copy = await copyOf(world, 'c1');
    await world.primary.store.delete('c1');
    await reconcileAll(world);
    await world.later(31 * dayMs);
    await world.ask('c1', { eventAt: world.time.now() });
    await workOffAll(world);
    expect((await world.backup.store.read(copy)).state).toBe('present');
    await world.records.ask({
      link: 'main',
      certificate: 'c1',
      now: world.time.now(),
      removalAskedAt: world.time.now(),
    });
    world.primary.hooks.read = async () => ({
      state: 'unreadable',
      error: new CodedError('store_unavailable', 'not reached'),
    });
    await world.pass('c1');
    delete world.primary.hooks.read;
    expect(await world.record('c1')).not.toHaveProperty('removalAskedAt');
    await workOffAll(world);
    expect((await world.backup.store.read(copy)).state).toBe('present');
  });
});
