import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { CodedError } from '../../src/errors.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import type { Link } from '../../src/replication/link.ts';
import { replicate } from '../../src/replication/pass/replicate.ts';
import { statusOf } from '../../src/replication/status.ts';
import { copyOf, fill, planned, reconcileAll, verified, workOffAll } from '../support/estate.ts';
import { content, described, held, markOf, type Setup, type SetupOptions, setup } from '../support/replication.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
let contents: CertificateContent[];

beforeAll(async () => {
  contents = await Promise.all(Array.from({ length: 40 }, () => content()));
});

async function estate(count: number, options: SetupOptions = {}): Promise<Setup> {
  const world = await setup({ reconciled: false, ...options });
  fill(world, contents.slice(0, count));
  await reconcileAll(world);
  await world.later(hourMs);
  return world;
}

const vanishedIn = async (world: Setup) => (await statusOf(world.worker, world.link)).vanished;

async function lose(world: Setup, from: number, to: number): Promise<void> {
  for (let number = from; number <= to; number += 1) await world.primary.store.delete(`c${number}`);
}

/** What a watch of the primary does: everything is looked at, and no reconcile is near. */
async function lookAtAll(world: Setup, count: number): Promise<void> {
  for (let number = 1; number <= count; number += 1) await world.ask(`c${number}`, { eventAt: world.time.now() });
  await workOffAll(world);
}

/** The first so many certificates can neither be listed nor read, until it is called again. */
function unmount(world: Setup, count: number): void {
  const isThere = (id: string) => Number(id.slice(1)) > count;
  world.primary.hooks.list = async (proceed, request) => {
    const page = await proceed(request);
    return { ...page, certificates: page.certificates.filter(({ id }) => isThere(id)) };
  };
  world.primary.hooks.read = async (proceed, id) => (isThere(id) ? proceed(id) : { state: 'absent' });
}

function putBack(world: Setup, count: number): void {
  for (let number = 1; number <= count; number += 1)
    world.primary.store.put(
      { content: contents[number - 1] as CertificateContent, metadata: described(`name ${number}`) },
      `c${number}`,
    );
}

describe('a primary that lost what it had', () => {
  it.each([1, 3, 10, 12])(
    'all of %i: reconcile stops before it changes anything, and status says so',
    async (count) => {
      const world = await estate(count);
      await lose(world, 1, count);
      const failed = await reconcileAll(world).catch((thrown: CodedError) => thrown);
      const found = await vanishedIn(world);
      expect(found).toMatchObject({ gone: count, of: count });
      expect(failed).toMatchObject({
        code: 'reconcile_vanished',
        entry: { exit: 6 },
        message: expect.stringContaining(found?.id ?? '-'),
      });
      expect((await world.record('c1')).requested).toBe(1);
      expect((await held(world.backup.store, await copyOf(world, 'c1'))).metadata.description).toBe('');
      expect((await verified(world)).vanished).toMatchObject({ id: found?.id, gone: count, of: count });
      expect((await planned(world)).comparison.vanished).toMatchObject({ id: found?.id });
    },
  );

  it('more than the brake allows of it, too; as much as that is an ordinary day', async () => {
    const world = await estate(40);
    await lose(world, 1, 10);
    expect(await reconcileAll(world)).not.toHaveProperty('vanished');
    expect(await vanishedIn(world)).toBeUndefined();
    await lose(world, 11, 11);
    expect((await reconcileAll(world)).vanished).toMatchObject({ gone: 11, of: 40 });
    expect(await vanishedIn(world)).toMatchObject({ gone: 11, of: 40 });
  });

  it('seen by events alone, before any reconcile: status says it from the records', async () => {
    const world = await estate(3);
    await lose(world, 1, 3);
    await lookAtAll(world, 3);
    const found = await vanishedIn(world);
    expect(found).toMatchObject({ gone: 3, of: 3, names: ['name 1', 'name 2', 'name 3'] });
    expect((await reconcileAll(world)).vanished).toMatchObject({ id: found?.id });
    expect((await verified(world)).vanished).toMatchObject({ id: found?.id });
  });

  it('and whose copies are gone as well, as on one disk: that is no reason to be silent', async () => {
    const world = await estate(2);
    await lose(world, 1, 2);
    for (const certificate of ['c1', 'c2']) await world.backup.store.delete(await copyOf(world, certificate));
    await lookAtAll(world, 2);
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('id');
    expect(await vanishedIn(world)).toMatchObject({ gone: 2, of: 2 });
  });

  it('stands over restarts and days, and is over when all of it is back', async () => {
    const world = await estate(12);
    unmount(world, 12);
    await expect(reconcileAll(world)).rejects.toMatchObject({ code: 'reconcile_vanished' });
    await world.later(3 * dayMs);
    expect(
      (await statusOf({ ...world.newWorker(), linkRecords: linkRecords(world.table.tap) }, world.link)).vanished,
    ).toMatchObject({ gone: 12 });
    unmount(world, 1);
    expect((await reconcileAll(world)).vanished).toMatchObject({ gone: 1, of: 12, names: ['name 1'] });
    unmount(world, 0);
    expect(await reconcileAll(world)).not.toHaveProperty('vanished');
    expect(await vanishedIn(world)).toBeUndefined();
    expect((await verified(world)).vanished).toBeUndefined();
    expect(world.lines.filter(({ event }) => event === 'originals_back')).toHaveLength(1);
  });

  it('is told once for each loss, and not each hour', async () => {
    const world = await estate(2);
    await lose(world, 1, 2);
    for (let hour = 0; hour < 3; hour += 1) await reconcileAll(world).catch(() => undefined);
    expect(world.lines.filter(({ event }) => event === 'originals_vanished')).toEqual([
      {
        level: 'error',
        event: 'originals_vanished',
        fields: expect.objectContaining({ link: 'main', gone: 2, of: 2 }),
      },
    ]);
  });
});

describe('a person', () => {
  it('says that exactly this is meant: it is kept, it is in the log, and another loss is a new finding', async () => {
    const world = await estate(20);
    await lose(world, 1, 15);
    await expect(reconcileAll(world)).rejects.toMatchObject({ code: 'reconcile_vanished' });
    const { id = '' } = (await vanishedIn(world)) ?? {};
    expect((await reconcileAll(world, { acceptVanished: id })).asked).toEqual({ 'gone-from-primary': 15 });
    expect(world.lines.filter(({ event }) => event === 'vanished_accepted')).toEqual([
      {
        level: 'warn',
        event: 'vanished_accepted',
        fields: expect.objectContaining({ link: 'main', id, gone: 15, of: 20 }),
      },
    ]);
    const { vanished, vanishedAccepted } = await statusOf(world.worker, world.link);
    expect(vanished).toBeUndefined();
    expect(vanishedAccepted).toMatchObject({ id, gone: 15, of: 20 });
    await world.later(hourMs);
    expect(await reconcileAll(world)).not.toHaveProperty('vanished');
    expect((await held(world.backup.store, await copyOf(world, 'c1'))).metadata.description).toMatch(/^Retained since/);

    await lose(world, 16, 20);
    await expect(reconcileAll(world)).rejects.toMatchObject({ code: 'reconcile_vanished' });
    expect(await vanishedIn(world)).toMatchObject({ gone: 5, of: 5 });
  });

  it('accepts nothing that he has not seen', async () => {
    const world = await estate(3);
    await lose(world, 1, 2);
    await reconcileAll(world);
    await lose(world, 3, 3);
    await expect(reconcileAll(world)).rejects.toMatchObject({ code: 'reconcile_vanished' });
    const { id = '' } = (await vanishedIn(world)) ?? {};
    putBack(world, 1);
    await expect(reconcileAll(world, { acceptVanished: id })).rejects.toMatchObject({
      code: 'reconcile_vanished_changed',
      entry: { exit: 6 },
    });
    expect(await vanishedIn(world)).toMatchObject({ gone: 2, of: 3 });
    expect(await world.linkRecords.reconcileState('main')).not.toHaveProperty('failure');
    await expect(reconcileAll(world, { acceptVanished: '0000' })).rejects.toMatchObject({
      code: 'reconcile_vanished_changed',
    });
  });

  it('is asked anew when what he accepted came back, and went again', async () => {
    const world = await estate(2);
    await lose(world, 1, 2);
    await lookAtAll(world, 2);
    const { id = '' } = (await vanishedIn(world)) ?? {};
    await reconcileAll(world, { acceptVanished: id });
    await world.later(hourMs);
    putBack(world, 2);
    await reconcileAll(world);
    expect(await vanishedIn(world)).toBeUndefined();
    await world.later(hourMs);
    await lose(world, 1, 2);
    await expect(reconcileAll(world)).rejects.toMatchObject({ code: 'reconcile_vanished' });
  });

  it('who deletes one after the other over days is asked for the last one only', async () => {
    const world = await estate(4);
    for (let number = 1; number <= 3; number += 1) {
      await lose(world, number, number);
      expect(await reconcileAll(world)).not.toHaveProperty('vanished');
      await world.later(2 * dayMs);
    }
    await lose(world, 4, 4);
    await expect(reconcileAll(world)).rejects.toMatchObject({ code: 'reconcile_vanished' });
    expect(await vanishedIn(world)).toMatchObject({ gone: 4, of: 4 });
  });

  it('who lets the brake go with a number has not said that the loss is meant', async () => {
    const world = await estate(3);
    await lose(world, 1, 3);
    expect((await reconcileAll(world, { allowChanges: 3 })).asked).toEqual({ 'gone-from-primary': 3 });
    expect(await vanishedIn(world)).toMatchObject({ gone: 3 });
  });
});

describe('with onDelete: remove', () => {
  it('nothing is removed while the finding stands, however long; after a person’s word the policy goes on', async () => {
    const world = await estate(3, { policy: { removal: { afterMs: dayMs, maxShare: 1 } } });
    await lose(world, 1, 3);
    await lookAtAll(world, 3);
    for (let month = 0; month < 3; month += 1) {
      await world.later(30 * dayMs);
      expect((await reconcileAll(world)).asked).toEqual({});
    }
    expect(world.backup.store.size()).toBe(3);
    const { id = '' } = (await vanishedIn(world)) ?? {};
    await reconcileAll(world, { acceptVanished: id });
    expect((await reconcileAll(world)).asked).toEqual({ 'removal-due': 3 });
    expect(world.backup.store.size()).toBe(0);
    expect(await vanishedIn(world)).toBeUndefined();
  });
});

describe('not gone is', () => {
  it('what a filter excludes by now', async () => {
    const world = await estate(12);
    const link: Link = { ...world.link, filter: { names: ['other*'], domains: [] } };
    const narrowed = { ...world, link };
    expect(await reconcileAll(narrowed)).not.toHaveProperty('vanished');
    expect((await statusOf(world.worker, link)).vanished).toBeUndefined();
    // Nor is it missed when it goes while it is excluded.
    await lose(world, 1, 12);
    expect(await reconcileAll(narrowed, { allowChanges: 12 })).not.toHaveProperty('vanished');
    expect((await statusOf(world.worker, link)).vanished).toBeUndefined();
  });

  it('what was looked at while it was excluded, and went then', async () => {
    const world = await estate(12);
    const link: Link = { ...world.link, filter: { names: [], domains: ['nothing.example'] } };
    for (let number = 1; number <= 12; number += 1) {
      await world.ask(`c${number}`);
      await replicate(world.worker, link, `c${number}`);
      expect((await world.record(`c${number}`)).aside).toBe('excluded');
    }
    await lose(world, 1, 12);
    for (let number = 1; number <= 12; number += 1) {
      await world.ask(`c${number}`);
      await replicate(world.worker, link, `c${number}`);
      expect((await world.record(`c${number}`)).absentSince).toBeDefined();
    }
    expect((await statusOf(world.worker, link)).vanished).toBeUndefined();
  });

  it('a primary that cannot be listed, nor a certificate that cannot be read', async () => {
    const world = await estate(3);
    const error = new CodedError('store_unavailable', 'not reached');
    world.primary.hooks.list = () => Promise.reject(error);
    await expect(reconcileAll(world)).rejects.toBe(error);
    expect(await vanishedIn(world)).toBeUndefined();
    delete world.primary.hooks.list;
    world.primary.hooks.read = async () => ({ state: 'unreadable', error });
    for (const certificate of ['c1', 'c2', 'c3']) {
      await world.ask(certificate);
      await world.pass(certificate);
    }
    expect(await vanishedIn(world)).toBeUndefined();
  });

  it('what a listing that lags does not show yet, and a direct read found a moment ago', async () => {
    const world = await setup({ reconciled: false });
    const abilities = { ...world.primary.store.abilities, listingLagMs: 10_000 };
    const lagging = { ...world, link: { ...world.link, primary: { ...world.primary.tap, abilities } } };
    fill(world, contents.slice(0, 1));
    await world.ask('c1');
    await replicate(world.worker, lagging.link, 'c1');
    world.primary.hooks.list = async () => ({ certificates: [] });
    await world.later(5_000);
    expect(await reconcileAll(lagging)).not.toHaveProperty('vanished');
    await world.later(hourMs);
    await expect(reconcileAll(lagging)).rejects.toMatchObject({ code: 'reconcile_vanished' });
  });

  it('an empty primary of a link that is new', async () => {
    const world = await setup({ reconciled: false });
    expect(await reconcileAll(world)).not.toHaveProperty('vanished');
    world.backup.store.put({ content: contents[0] as CertificateContent, metadata: described('not ours') }, 'foreign');
    expect(await reconcileAll(world)).not.toHaveProperty('vanished');
    expect(await vanishedIn(world)).toBeUndefined();
  });
});

it('an empty primary of a new table is one that was not empty, where copies with its mark are in the backup', async () => {
  const world = await setup({ reconciled: false });
  world.backup.store.put(
    { content: contents[0] as CertificateContent, metadata: described('kept'), mark: markOf('c9') },
    'kept',
  );
  const { vanished } = await reconcileAll(world);
  expect(vanished).toMatchObject({ gone: 1, of: 1, names: ['c9'] });
  expect(await vanishedIn(world)).toMatchObject({ gone: 1 });
  expect(await reconcileAll(world, { acceptVanished: vanished?.id })).not.toHaveProperty('vanished');
  expect(await vanishedIn(world)).toBeUndefined();
});

it('a table of the version before, whose records say that all is gone, is read as that', async () => {
  const world = await estate(2);
  await lose(world, 1, 2);
  await lookAtAll(world, 2);
  await world.later(90 * dayMs);
  expect(await world.linkRecords.reconcileState('main')).not.toHaveProperty('vanished');
  expect(await vanishedIn(world)).toMatchObject({ gone: 2, of: 2 });
});
