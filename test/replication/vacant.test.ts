import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { statusOf } from '../../src/replication/status.ts';
import { fill, reconcileAll, verified } from '../support/estate.ts';
import {
  askAndPass,
  content,
  described,
  held,
  markOf,
  replicated,
  type Setup,
  setup,
  writesIn,
} from '../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;
beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

const places = ['deleted', 'half-made', 'empty'] as const;
const copyIn = async (world: Setup, id: string) => fingerprintOf((await held(world.backup.store, id)).content);
const put = (world: Setup, id: string, mark = markOf('c1')) =>
  world.backup.store.put({ content: first, metadata: described('shop'), mark }, id);

describe('the place of a copy that is occupied and holds no content', () => {
  it.each(places)('because it is %s is brought back and written over, under the same id', async (why) => {
    const world = await replicated(first);
    world.backup.store.vacate('backup-1', why);
    const { passes } = await askAndPass(world, 'c1');
    expect(passes[0]?.backups[0]).toMatchObject({
      equal: true,
      actions: ['brought-back'],
      searchedAt: expect.any(Number),
    });
    expect(writesIn(world)).toEqual(['backup import']);
    expect(await copyIn(world, 'backup-1')).toBe(fingerprintOf(first));
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'backup-1', fingerprint: fingerprintOf(first) });
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('vacant');
  });

  it('is not brought back where another copy lives: that one is adopted', async () => {
    const world = await replicated(first);
    world.backup.store.vacate('backup-1', 'deleted');
    put(world, 'other');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'other' });
    expect(await world.backup.store.read('backup-1')).toMatchObject({ state: 'vacant', why: 'deleted' });
  });

  it.each([
    ['half-made', ['backup delete'], 'absent'],
    ['deleted', [], 'vacant'],
  ] as const)('and is %s goes where a copy lives beside it, unless it goes by itself', async (why, writes, state) => {
    const world = await replicated(first, { backups: [{ abilities: { findsMarks: true } }] });
    put(world, 'left');
    world.backup.store.vacate('left', why);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(writes);
    expect(await world.backup.store.read('left')).toMatchObject({ state });
    expect(await copyIn(world, 'backup-1')).toBe(fingerprintOf(first));
  });

  it('is found by reconcile where no record knows it, and no second copy is made beside it', async () => {
    const world = await setup({ reconciled: false });
    fill(world, [first]);
    put(world, 'half');
    world.backup.store.vacate('half', 'half-made');
    await reconcileAll(world);
    await world.later(10 * 60_000);
    await askAndPass(world, 'c1');
    expect([world.backup.store.size(), await copyIn(world, 'half')]).toEqual([1, fingerprintOf(first)]);
  });

  it('is filled by the copy that replaces another one, as it may have the very name of that', async () => {
    const world = await replicated(first, { backups: [{ abilities: { reimportsInPlace: false, findsMarks: true } }] });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    put(world, 'half');
    world.backup.store.vacate('half', 'half-made');
    await askAndPass(world, 'c1');
    expect(await copyIn(world, 'half')).toBe(fingerprintOf(second));
    expect(await world.record('c1')).toMatchObject({
      doubt: expect.any(Number),
      backups: [{ id: 'half' }],
    });
  });

  it('is written over under its name where names are unique', async () => {
    const world = await replicated(first, { backups: [{ deletesSoftly: true, abilities: { uniqueNames: true } }] });
    await world.backup.store.delete('backup-1');
    await askAndPass(world, 'c1');
    expect(await copyIn(world, 'backup-1')).toBe(fingerprintOf(first));
    expect(world.backup.store.size()).toBe(1);
  });

  it('of another certificate, or of nobody, is neither written over nor brought back', async () => {
    const world = await replicated(first);
    await world.backup.store.updateMetadata('backup-1', described('shop'), markOf('c2'));
    world.backup.store.vacate('backup-1', 'empty');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]?.lastError?.code).toBe('store_copy_not_ours');

    const bare = await replicated(first);
    await bare.backup.store.updateMetadata('backup-1', described('shop'), undefined);
    bare.backup.store.vacate('backup-1', 'empty');
    await askAndPass(bare, 'c1');
    expect(await bare.backup.store.read('backup-1')).toMatchObject({ state: 'vacant' });
    expect(await copyIn(bare, 'backup-2')).toBe(fingerprintOf(first));
  });

  it('is waited with while a write may be on its way, and while the service refuses; status and verify say what it is', async () => {
    const world = await replicated(first);
    world.backup.store.vacate('backup-1', 'deleted');
    await world.ask('c1', { doubt: world.time.now() + 60_000 });
    await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'backup-1', vacant: { why: 'deleted' } });
    expect(await statusOf(world.worker, world.link)).toMatchObject({
      vacantPlaces: [{ store: 'backup', why: 'deleted', places: 1, names: ['shop'], ids: ['backup-1'] }],
    });
    expect(await verified(world)).toMatchObject({
      counts: { vacant: 1 },
      problems: 1,
      findings: [{ state: 'vacant', how: 'it was deleted, and is not gone yet', copy: 'backup-1' }],
    });
  });
});

describe('an original whose place holds no content', () => {
  it.each(places)('because it is %s is not gone: it is told, its copy stays, and comes to nothing', async (why) => {
    const world = await replicated(first);
    world.primary.store.vacate('c1', why);
    for (let look = 0; look < 3; look += 1) {
      await askAndPass(world, 'c1');
      await world.later(2 * 60_000);
    }
    expect(writesIn(world)).toEqual([]);
    const record = await world.record('c1');
    expect(record).toMatchObject({ refusal: { code: 'certificate_vacant' } });
    expect(record).not.toHaveProperty('absentSince');
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect(await copyIn(world, 'backup-1')).toBe(fingerprintOf(second));
  });

  it('counts for no loss in a reconcile, and is asked for once; one that was never copied is not asked for', async () => {
    const world = await setup({ reconciled: false });
    fill(world, [first, second]);
    await reconcileAll(world);
    world.primary.store.put({ content: second, metadata: described('never') }, 'c9');
    for (const id of ['c1', 'c2', 'c9']) world.primary.store.vacate(id, 'deleted');
    const asked = await reconcileAll(world);
    expect(asked.asked).toEqual({ unreadable: 2 });
    expect(asked).not.toHaveProperty('vanished');
    expect((await reconcileAll(world)).asked).toEqual({});
    expect(await verified(world)).toMatchObject({ counts: { 'would-not-serve': 2, older: 2 } });
  });
});
