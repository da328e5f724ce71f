import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { CodedError } from '../../../src/errors.ts';
import { reconcile } from '../../../src/replication/reconcile/reconcile.ts';
import {
  copyOf,
  fill,
  planned,
  reconcileAll,
  verified,
  watchBackup,
  workOffAll,
  writesOf,
} from '../../support/estate.ts';
import { content, described, type SetupOptions, setup, startMs, writesIn } from '../../support/replication.ts';

let contents: CertificateContent[];
let other: CertificateContent;

beforeAll(async () => {
  contents = await Promise.all(Array.from({ length: 40 }, () => content()));
  other = await content();
});

const nobody = { dispatch: async () => {} };

/** A world of forty replicated certificates. */
async function replicatedEstate(options: SetupOptions = {}) {
  const world = await setup({ reconciled: false, ...options });
  fill(world, contents);
  await reconcileAll(world);
  world.calls.length = 0;
  return world;
}

describe('two runs at once', () => {
  it('the second is told who runs, since when and how far; afterwards it may', async () => {
    const world = await replicatedEstate();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    world.primary.hooks.list = async (proceed, request) => {
      await held;
      return proceed(request);
    };
    const running = reconcile({ ...world.worker, dispatch: nobody }, world.link);
    await world.later(10);
    await expect(reconcile({ ...world.worker, dispatch: nobody }, world.link)).rejects.toMatchObject({
      code: 'reconcile_running',
      message: `another reconcile or restore of main has been running since ${new Date(world.time.now() - 10).toISOString()}; it is comparing, and 0 certificates far`,
    });
    release();
    expect((await running).listed).toBe(40);
    expect((await reconcile({ ...world.worker, dispatch: nobody }, world.link)).asked).toEqual({});
  });

  it('one that died is free after two minutes; one that only slept is told that another has begun', async () => {
    const world = await replicatedEstate();
    world.primary.hooks.list = () => new Promise(() => {});
    void reconcile({ ...world.worker, dispatch: nobody }, world.link);
    await world.later(10);
    delete world.primary.hooks.list;
    const again = () => reconcile({ ...world.worker, dispatch: nobody }, world.link);
    await world.later(2 * 60_000);
    await expect(again()).rejects.toMatchObject({ code: 'reconcile_running' });
    await world.later(6_000);
    expect((await again()).listed).toBe(40);

    world.backup.hooks.list = async (proceed, request) => {
      await world.time.wait(3 * 60_000);
      return proceed(request);
    };
    const slept = world.finish(again(), 300_000).catch((thrown: unknown) => thrown);
    await world.later(1);
    delete world.backup.hooks.list;
    await world.later(2 * 60_000 + 10_000);
    expect((await again()).listed).toBe(40);
    expect(await slept).toMatchObject({ code: 'reconcile_running' });
  });
});

describe('a process that is started again', () => {
  it('takes over at once from one that is known to have died, and from no other', async () => {
    const world = await replicatedEstate();
    const now = world.time.now();
    const begin = (owner: string) =>
      world.linkRecords.beginReconcile('main', { owner, now: world.time.now(), until: now + 60_000, skewMs: 0 });
    const owner = { id: 'me', hasDied: (other: string) => other === 'dead' };
    const again = () => reconcile({ ...world.worker, dispatch: nobody, owner }, world.link);
    await begin('dead');
    expect((await again()).listed).toBe(40);
    await begin('alive');
    await expect(again()).rejects.toMatchObject({ code: 'reconcile_running', fields: { retryAfterMs: 65_001 } });
  });
});

describe('a run that is stopped', () => {
  it.each([
    ['while it compares', 'comparing', 32],
    ['while it asks', 'asking', 32],
  ])('%s loses nothing and doubles nothing: the next one goes on', async (_, step, at) => {
    const world = await replicatedEstate();
    for (const [index] of contents.slice(0, 40).entries())
      await world.primary.store.updateMetadata(`c${index + 1}`, described(`renamed ${index + 1}`), undefined);
    const stopping = new AbortController();
    const reason = new CodedError('interrupted', 'Ctrl-C');
    const progress = (now: string, done: number) => {
      if (now === step && done >= at) stopping.abort(reason);
    };
    const options = { signal: stopping.signal, progress, allowChanges: 40 };
    await expect(reconcileAll(world, options)).rejects.toBe(reason);
    expect(await world.linkRecords.reconcileState('main')).toMatchObject({ stoppedAt: world.time.now() });
    await workOffAll(world);
    const done = (await verified(world)).counts.same ?? 0;
    expect(done).toBe(step === 'comparing' ? 0 : 32);

    expect((await reconcileAll(world, { allowChanges: 40 })).asked).toEqual({ 'revision-moved': 40 - done });
    expect((await verified(world)).counts).toEqual({ same: 40 });
    expect(writesIn(world)).toHaveLength(40);
    expect(await world.linkRecords.reconcileState('main')).not.toHaveProperty('stoppedAt');
  });
});

describe('the brake', () => {
  it('holds when more than a fifth would be written over: nothing is asked for, the state says so, and a person lets go', async () => {
    const world = await replicatedEstate();
    for (let number = 1; number <= 11; number += 1) await world.primary.store.reimport(`c${number}`, other);
    await expect(reconcileAll(world)).rejects.toMatchObject({
      code: 'reconcile_brake',
      fields: { changing: 11, vanishing: 0, copied: 40, allowed: 10 },
    });
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).requested).toBe(1);
    const { brake, completedAt } = await world.linkRecords.reconcileState('main');
    expect(brake).toEqual({ at: world.time.now(), changing: 11, vanishing: 0, copied: 40, allowed: 10 });
    expect(completedAt).toBe(startMs);

    await expect(reconcileAll(world, { allowChanges: 10 })).rejects.toMatchObject({ code: 'reconcile_brake' });
    expect((await reconcileAll(world, { allowChanges: 11 })).asked).toEqual({ different: 11 });
    expect(await world.linkRecords.reconcileState('main')).not.toHaveProperty('brake');
    expect((await verified(world)).counts).toEqual({ same: 40 });
  });

  it('does not hold at the share itself, nor for what was asked for before and still waits', async () => {
    const world = await replicatedEstate();
    for (let number = 1; number <= 10; number += 1) await world.primary.store.reimport(`c${number}`, other);
    const asked = await reconcile({ ...world.worker, dispatch: nobody }, world.link);
    expect(asked.asked).toEqual({ different: 10 });
    for (let number = 11; number <= 20; number += 1) await world.primary.store.reimport(`c${number}`, other);
    expect((await reconcileAll(world)).asked).toEqual({ different: 20 });
  });

  it('holds when originals vanish, as in a listing that ends too early; not for a backup that lost everything', async () => {
    const world = await replicatedEstate({ primary: { pageSize: 20 } });
    world.primary.hooks.list = async (proceed, request) => {
      const { certificates } = await proceed(request);
      return { certificates };
    };
    await expect(reconcileAll(world)).rejects.toMatchObject({
      code: 'reconcile_vanished',
      fields: { gone: 20, of: 40, changing: 0, vanishing: 20, copied: 40, allowed: 10 },
    });
    delete world.primary.hooks.list;
    expect((await reconcileAll(world)).asked).toEqual({});

    const { certificates } = await world.backup.store.list({});
    for (const { id } of certificates) await world.backup.store.delete(id);
    expect((await reconcileAll(world)).asked).toEqual({ missing: 40 });
    expect((await verified(world)).counts).toEqual({ same: 40 });
  });

  it('is as wide as the policy says', async () => {
    const world = await replicatedEstate({ policy: { brakeShare: 0.5 } });
    for (let number = 1; number <= 20; number += 1) await world.primary.store.reimport(`c${number}`, other);
    expect((await reconcileAll(world)).asked).toEqual({ different: 20 });
  });
});

describe('a plan', () => {
  it('is what is done: the same writes, and it changes nothing itself', async () => {
    const world = await replicatedEstate();
    await world.primary.store.reimport('c1', other);
    await world.primary.store.updateMetadata('c2', described('renamed'), undefined);
    world.primary.store.put({ content: other, metadata: described('new') }, 'c41');
    await world.primary.store.delete('c3');
    const retainedCopy = await copyOf(world, 'c3');
    await world.backup.store.delete(await copyOf(world, 'c4'));
    const rows = () => Promise.all(['c1', 'c2', 'c3', 'c4', 'c41'].map((id) => world.records.get('main', id)));
    const before = JSON.stringify([await rows(), await world.linkRecords.reconcileState('main')]);

    const { digest, lines } = await planned(world);
    expect(writesIn(world)).toEqual([]);
    expect(JSON.stringify([await rows(), await world.linkRecords.reconcileState('main')])).toBe(before);
    expect([...lines.values()].map(({ certificate, reason, outcome }) => [certificate, reason, outcome])).toEqual([
      ['c1', 'different', 'write'],
      ['c2', 'revision-moved', 'write'],
      ['c4', 'missing', 'write'],
      ['c41', 'unknown', 'write'],
      ['c3', 'gone-from-primary', 'retain'],
    ]);
    expect((await planned(world)).digest).toBe(digest);

    const sent = watchBackup(world);
    await reconcileAll(world);
    const retained = sent.filter((write) => write.startsWith(`describe ${retainedCopy} `));
    expect(retained).toHaveLength(1);
    expect(sent.filter((write) => !retained.includes(write)).toSorted()).toEqual(writesOf(lines.values()).toSorted());
    expect((await planned(world)).lines.size).toBe(0);
  });

  it('is another one when anything of it has changed', async () => {
    const world = await replicatedEstate();
    await world.primary.store.reimport('c1', other);
    const { digest } = await planned(world);
    await world.primary.store.reimport('c1', contents[5] as CertificateContent);
    expect((await planned(world)).digest).not.toBe(digest);
    await world.primary.store.reimport('c1', other);
    expect((await planned(world)).digest).toBe(digest);
    await world.primary.store.reimport('c2', other);
    expect((await planned(world)).digest).not.toBe(digest);
  });
});

describe('a store that limits', () => {
  it('is waited for between pages, as long as it says, and no longer than a minute', async () => {
    const world = await replicatedEstate({ primary: { pageSize: 10 } });
    let refusals = 0;
    world.primary.hooks.list = (proceed, request) => {
      if (request.cursor !== undefined && refusals < 3) {
        refusals += 1;
        throw new CodedError('store_limited', 'wait', { fields: { retryAfterMs: 200 } });
      }
      return proceed(request);
    };
    const began = world.time.now();
    const report = await world.finish(reconcile({ ...world.worker, dispatch: nobody }, world.link));
    expect(report).toMatchObject({ listed: 40, asked: {} });
    expect(world.time.now() - began).toBe(600);

    world.primary.hooks.list = () => {
      throw new CodedError('store_limited', 'wait', { fields: { retryAfterMs: 60_001 } });
    };
    await expect(reconcile({ ...world.worker, dispatch: nobody }, world.link)).rejects.toMatchObject({
      code: 'store_limited',
    });
    expect((await world.linkRecords.reconcileState('main')).failure).toEqual({
      at: world.time.now(),
      code: 'store_limited',
      message: 'wait',
    });
  });
});

describe('among several backups', () => {
  it('one that cannot be listed is named, and the others are brought up to date', async () => {
    const world = await setup({ reconciled: false, backups: [{}, {}] });
    fill(world, contents.slice(0, 3));
    const [, second] = world.backups;
    if (second === undefined) throw new Error('no second backup');
    const down = () => Promise.reject(new CodedError('store_unavailable', 'not reached'));
    second.hooks.list = down;
    second.hooks.import = down;
    const dispatch = nobody;
    const report = await reconcile({ ...world.worker, dispatch }, world.link);
    expect(report.notListed).toMatchObject([{ store: 'backup2', error: { code: 'store_unavailable' } }]);
    expect((await world.linkRecords.reconcileState('main')).notListed).toEqual(['backup2']);
  });
});
