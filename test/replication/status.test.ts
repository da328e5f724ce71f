import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { CodedError } from '../../src/errors.ts';
import { destroyedSoonWords } from '../../src/findings/status-words.ts';
import { acknowledgedEvents } from '../../src/replication/events.ts';
import { fullCopyOf, statusOf } from '../../src/replication/status.ts';
import { sameMark } from '../../src/store/mark.ts';
import { fill, reconcileAll, verified } from '../support/estate.ts';
import { content, described, markOf, type Setup, type SetupOptions, setup, startMs } from '../support/replication.ts';

const minuteMs = 60_000;
let contents: CertificateContent[];
let fresh: CertificateContent;
let keyless: CertificateContent;
beforeAll(async () => {
  contents = await Promise.all(Array.from({ length: 4 }, () => content()));
  fresh = await content({ notAfter: startMs + 30 * 24 * 60 * minuteMs });
  const { privateKey: _key, ...rest } = fresh;
  keyless = rest;
});

const status = (world: Setup) => statusOf(world.worker, world.link);

/**
 * A certificate changes in the primary, the notification comes at once, and it is copied so much
 * later.
 */
async function changes(world: Setup, certificate: string, content: CertificateContent, lagMs: number): Promise<void> {
  await world.primary.store.reimport(certificate, content);
  await world.ask(certificate, { eventAt: world.time.now() });
  await world.later(lagMs);
  await world.pass(certificate);
}

async function estate(): Promise<Setup> {
  const world = await setup({ reconciled: false });
  fill(world, contents);
  await world.later(minuteMs);
  await reconcileAll(world);
  await world.later(minuteMs);
  return world;
}

describe('status', () => {
  it('says how often what is copied is renewed, as far as the records know how long it lives', async () => {
    const world = await setup({ reconciled: false });
    const lives = await Promise.all(
      [30, 60].map((days) => content({ notBefore: startMs, notAfter: startMs + days * 24 * 60 * minuteMs })),
    );
    fill(world, lives);
    await reconcileAll(world);
    // 365 / 20 and 365 / 40.
    expect((await status(world)).renewals).toEqual({ perYear: 27 });
    await world.records.ask({ link: 'main', certificate: 'new', now: world.time.now() });
    expect((await status(world)).renewals).toEqual({ perYear: 27, unknown: 1 });
  });

  it('of a link that nobody has compared yet says just that', async () => {
    const world = await setup({ reconciled: false });
    expect(await status(world)).toEqual({
      link: 'main',
      now: startMs,
      authorities: { count: 0, names: [] },
      counts: { equal: 0, aside: 0, gone: 0, refused: 0, failing: 0, waiting: 0 },
      expired: 0,
      unproven: 0,
      circles: 0,
      backups: [{ store: 'backup', equal: 0, behind: 0 }],
      stuck: [],
      reconcile: { notListed: [], notRead: 0, notReadFirst: [] },
    });
  });

  it('tells what should have been renewed by now: within the stated time, or the last third of a short life', async () => {
    const dayMs = 24 * 60 * minuteMs;
    const world = await setup({ reconciled: false });
    const ending = (days: number, lifeDays: number) =>
      content({ notAfter: startMs + days * dayMs, notBefore: startMs + (days - lifeDays) * dayMs });
    fill(world, await Promise.all([ending(13, 90), ending(15, 90), ending(3, 6), ending(1, 6)]));
    await reconcileAll(world);
    const within = async (days?: number) =>
      (await statusOf({ ...world.worker, ...(days !== undefined && { expiryNearMs: days * dayMs }) }, world.link))
        .expiring;
    expect(await within()).toMatchObject({ count: 2, names: ['name 1', 'name 4'], first: { certificate: 'c4' } });
    expect(await within(30)).toMatchObject({ count: 3, names: ['name 1', 'name 2', 'name 4'] });
    expect(await within(0)).toBeUndefined();
  });

  it('takes a short life that has just begun for what it is, also while no backup has it', async () => {
    const dayMs = 24 * 60 * minuteMs;
    const world = await setup({ reconciled: false });
    const lasting = (from: number, to: number) =>
      content({ notBefore: startMs + from * dayMs, notAfter: startMs + to * dayMs });
    fill(world, [await lasting(-4, 2)]);
    await reconcileAll(world);
    const ending = async () => (await statusOf(world.worker, world.link)).expiring?.count;
    // Four of six days are over in a moment.
    await world.later(minuteMs);
    expect(await ending()).toBe(1);
    world.backup.hooks.reimport = () => Promise.reject(new CodedError('store_unavailable', 'connection refused'));
    world.primary.store.put({ content: await lasting(0, 6), metadata: described('name 1') }, 'c1');
    await world.ask('c1', { eventAt: world.time.now() });
    await world.pass('c1');
    expect(await statusOf(world.worker, world.link)).toMatchObject({ counts: { failing: 1 } });
    expect(await ending()).toBeUndefined();
    // It is near its end again, and is not renewed.
    await world.later(4 * dayMs + minuteMs);
    expect(await ending()).toBe(1);
  });

  it('counts keys that nobody can prove apart, and tells a key that the primary withholds as that, not as none', async () => {
    const world = await setup({
      reconciled: false,
      backups: [{ abilities: { givesKeys: false } }, {}],
      primary: { withholds: (id) => id === 'c2' },
    });
    fill(world, contents.slice(0, 3));
    world.primary.store.put({ content: keyless, metadata: described('name 3') }, 'c3');
    await reconcileAll(world);
    expect(await status(world)).toMatchObject({
      counts: { equal: 1, refused: 2 },
      keysNotProven: [{ store: 'backup', copies: 1 }],
      stuck: [
        { code: 'certificate_key_withheld', store: 'primary', names: ['name 2'] },
        { code: 'certificate_key_missing', store: 'primary', names: ['name 3'] },
      ],
    });
  });

  it('tells what is equal, when that was compared and proven, and what expires next', async () => {
    const world = await estate();
    await changes(world, 'c2', fresh, 500);
    await world.later(1);
    await verified(world);
    expect(await status(world)).toMatchObject({
      counts: { equal: 4, waiting: 0 },
      unproven: 0,
      circles: 0,
      backups: [{ store: 'backup', equal: 4, behind: 0 }],
      reconcile: { completedAt: startMs + minuteMs, listed: 4, unmarked: 0, notListed: [] },
      verify: { certificates: 4, counts: { same: 4 }, problems: 0 },
      nextExpiry: { certificate: 'c2', name: 'name 2', at: startMs + 30 * 24 * 60 * minuteMs },
      stuck: [],
    });
  });

  it('counts what was written to a backup after the last verify began, and everything if there was none', async () => {
    const world = await estate();
    expect(await status(world)).toMatchObject({ counts: { equal: 4 }, unproven: 4 });
    await verified(world);
    expect(await status(world)).toMatchObject({ counts: { equal: 4 }, unproven: 0 });
    await world.later(1_000);
    await changes(world, 'c2', fresh, 500);
    expect(await status(world)).toMatchObject({ counts: { equal: 4 }, unproven: 1 });
  });

  it('tells lags of what changed since the link began: the first copies are not among them', async () => {
    const world = await estate();
    expect(await status(world)).not.toHaveProperty('lag');
    for (const [index, lagMs] of [100, 200, 300, 4_000].entries()) await changes(world, `c${index + 1}`, fresh, lagMs);
    expect((await status(world)).lag).toEqual({ p50Ms: 200, p99Ms: 4_000, maxMs: 4_000, of: 4 });
    await world.later(31 * 24 * 60 * minuteMs);
    expect(await status(world)).not.toHaveProperty('lag');
  });

  it('says at once when a backup does not answer: what is stuck, where, why, since when, and when it is tried again', async () => {
    const world = await estate();
    const down = () => Promise.reject(new CodedError('store_unavailable', 'backup: connection refused'));
    world.backup.hooks.reimport = down;
    const changedAt = world.time.now();
    for (const certificate of ['c1', 'c3']) await changes(world, certificate, fresh, 0);
    await world.later(minuteMs);
    const said = await status(world);
    expect(said).toMatchObject({
      counts: { equal: 2, failing: 2 },
      backups: [{ equal: 2, behind: 2 }],
      oldestUnreplicated: { certificate: 'c1', name: 'name 1', since: changedAt },
      stuck: [
        {
          code: 'store_unavailable',
          store: 'backup',
          message: 'backup: connection refused',
          certificates: 2,
          names: ['name 1', 'name 3'],
          lastAt: changedAt,
        },
      ],
    });
    delete world.backup.hooks.reimport;
    await reconcileAll(world);
    expect(await status(world)).toMatchObject({ counts: { equal: 4, failing: 0 }, stuck: [] });
  });

  it('says what a person has to mend in the primary, and what is gone', async () => {
    const world = await estate();
    world.primary.store.put({ content: keyless, metadata: described('no key') }, 'c5');
    world.primary.store.put({ content: fresh, metadata: described('expires') }, 'c6');
    await world.primary.store.delete('c4');
    await reconcileAll(world);
    await world.later(40 * 24 * 60 * minuteMs);
    expect(await status(world)).toMatchObject({
      counts: { equal: 4, refused: 1, gone: 1 },
      expired: 2,
      stuck: [{ code: 'certificate_key_missing', store: 'primary', certificates: 1, names: ['no key'] }],
    });
  });

  it('shows a reconcile that runs, and the brake', async () => {
    const world = await estate();
    const now = world.time.now();
    await world.linkRecords.beginReconcile('main', { owner: 'someone', now, until: now + 1_000, skewMs: 0 });
    expect((await status(world)).reconcile.running).toEqual({ since: now, step: 'comparing', done: 0 });
    await world.later(1_001);
    expect((await status(world)).reconcile).not.toHaveProperty('running');
    const { token } = await world.linkRecords.reconcileState('main');
    const brake = { at: 5, changing: 30, vanishing: 1, copied: 40, allowed: 10 };
    await world.linkRecords.endReconcile('main', token, { brake });
    expect((await status(world)).reconcile.brake).toEqual(brake);
  });

  it('is refused by a row that cannot be understood, never taken for a good one', async () => {
    const world = await estate();
    await world.table.tap.update({ partition: 'verify.1', sort: 'main' }, { set: { problems: 'none' } });
    await expect(status(world)).rejects.toMatchObject({ code: 'table_row_unreadable' });
  });
});

describe('status of the backups', () => {
  const older = { content: { notAfter: startMs + 20 * 24 * 60 * minuteMs } };
  const oneRefusing = (held: () => CertificateContent): SetupOptions => ({
    backups: [
      { refuses: (given) => (given.leaf.raw.equals(held().leaf.raw) ? { why: 'it is too new' } : undefined) },
      {},
    ],
  });

  it('tells what one backup refuses, since when, and when the copy that stays stops serving; the other goes on', async () => {
    const world = await setup({ reconciled: false, ...oneRefusing(() => fresh) });
    fill(world, [await content(older.content)]);
    await reconcileAll(world);
    const began = world.time.now();
    await changes(world, 'c1', fresh, 0);
    const said = await status(world);
    expect(said).toMatchObject({
      counts: { refused: 1 },
      stuck: [],
      backups: [
        { store: 'backup', equal: 0, behind: 1 },
        { store: 'backup2', equal: 1, behind: 0 },
      ],
      refusals: [
        {
          store: 'backup',
          code: 'store_content_refused',
          message: 'store backup does not take this: it is too new',
          certificates: 1,
          names: ['name 1'],
          since: began,
          withoutCopy: 0,
          stopped: 0,
          stops: { certificate: 'c1', name: 'name 1', at: older.content.notAfter },
        },
      ],
    });
    await world.later(21 * 24 * 60 * minuteMs);
    expect((await status(world)).refusals).toMatchObject([{ stopped: 1 }]);
  });

  it('tells a refusal beside a backup that is down: neither hides the other', async () => {
    const world = await setup({ reconciled: false, ...oneRefusing(() => fresh) });
    fill(world, [contents[0] as CertificateContent]);
    await reconcileAll(world);
    const down = () => Promise.reject(new CodedError('store_unavailable', 'backup2: connection refused'));
    (world.backups[1] as Setup['backup']).hooks.reimport = down;
    await changes(world, 'c1', fresh, 0);
    expect(await status(world)).toMatchObject({
      counts: { failing: 1 },
      stuck: [{ store: 'backup2', code: 'store_unavailable' }],
      refusals: [{ store: 'backup', code: 'store_content_refused' }],
    });
  });

  it('tells when the last good copies of what the primary broke stop serving', async () => {
    const world = await setup({ reconciled: false });
    fill(world, [await content(older.content)]);
    await reconcileAll(world);
    await changes(world, 'c1', keyless, 0);
    expect((await status(world)).stuck).toMatchObject([
      { code: 'certificate_key_missing', stops: { name: 'name 1', at: older.content.notAfter } },
    ]);
  });

  it('tells a copy that somebody else changes again and again, and not one edit', async () => {
    const world = await estate();
    const edit = async () => {
      const { certificates } = await world.backup.store.list({});
      const copy = certificates.find(({ mark }) => sameMark(mark, markOf('c1')))?.id ?? '';
      await world.backup.store.reimport(copy, fresh);
      await reconcileAll(world);
      await world.later(60 * minuteMs);
    };
    for (const times of [1, 2, 3]) {
      expect((await status(world)).overwritten).toBeUndefined();
      await edit();
      expect(await status(world)).toMatchObject({ counts: { equal: 4 } });
      expect((await world.record('c1')).backups[0]?.overwritten).toMatchObject({ times });
    }
    expect((await status(world)).overwritten).toMatchObject([{ store: 'backup', certificates: 1, times: 3 }]);
    expect(world.lines.filter(({ event }) => event === 'copy_overwritten')).toHaveLength(1);
    // The primary's own changes are none of that.
    await changes(world, 'c2', fresh, 0);
    expect((await world.record('c2')).backups[0]).not.toHaveProperty('overwritten');
  });
});

describe('a copy of everything', () => {
  it.each([
    [1_000, 5 / 60, 12_000_000],
    [1_000, 2, 500_000],
    [0, 1, 0],
  ])('of %d certificates at %d requests a second takes %d ms', async (certificates, requestsPerSecond, ms) => {
    const world = await setup({ backups: [{ abilities: { requestsPerSecond } }] });
    expect(fullCopyOf(world.link, certificates)).toEqual({ store: 'backup', ms });
  });

  it('is held up by the slowest store, and by none that states no limit for all its requests', async () => {
    const slow = { abilities: { requestsPerSecond: 1 } };
    const world = await setup({ primary: { abilities: { requestsPerSecond: 10 } }, backups: [{}, slow] });
    expect(fullCopyOf(world.link, 60)).toEqual({ store: 'backup2', ms: 60_000 });
    const free = await setup({ backups: [{ abilities: { writesPerCertificatePerMinute: 5 } }] });
    expect(fullCopyOf(free.link, 60)).toBeUndefined();
  });
});

describe('stores whose listings do not show that content changed', () => {
  it('are told, with how many versions each reconcile asks for, and how long that takes at the least', async () => {
    const limited = { abilities: { silentListings: true, requestsPerSecond: 4 } } as const;
    const world = await setup({ primary: { abilities: { silentListings: true } }, backups: [{}, limited] });
    fill(world, contents.slice(0, 3));
    await reconcileAll(world);
    expect((await statusOf(world.worker, world.link)).silentListings).toEqual([
      { store: 'primary', versions: 3 },
      { store: 'backup2', versions: 3, atLeastMs: 1_500 },
    ]);
    const usual = await setup();
    expect(await statusOf(usual.worker, usual.link)).not.toHaveProperty('silentListings');
  });
});

describe('events', () => {
  it('are the last of each certificate, the newest first, with what became of each', async () => {
    const world = await estate();
    const began = world.time.now();
    await changes(world, 'c1', fresh, 250);
    world.primary.store.put({ content: keyless, metadata: described('name 2') }, 'c2');
    await world.ask('c2', { eventAt: world.time.now(), occurredAt: began });
    await world.pass('c2');
    await world.ask('c3', { eventAt: world.time.now() + 1 });
    const events = await acknowledgedEvents(world.records, world.link, { most: 10 });
    expect(
      events.map(({ certificate, acknowledgedAt, standing }) => [certificate, acknowledgedAt - began, standing.kind]),
    ).toEqual([
      ['c3', 251, 'waiting'],
      ['c2', 250, 'refused'],
      ['c1', 0, 'equal'],
    ]);
    expect(events[2]).toMatchObject({ name: 'name 1', lagMs: 250, replicatedAt: began + 250 });
    expect(events[1]?.occurredAt).toBe(began);
    expect(await acknowledgedEvents(world.records, world.link, { most: 1 })).toMatchObject([{ certificate: 'c3' }]);
    expect(await acknowledgedEvents(world.records, world.link, { most: 9, certificate: 'c1' })).toMatchObject([
      { certificate: 'c1' },
    ]);
    expect(await acknowledgedEvents(world.records, world.link, { most: 9, certificate: 'c4' })).toEqual([]);
  });
});

describe('copies that their service destroys when they expire', () => {
  const day = 24 * 60 * minuteMs;
  const withOne = async (abilities: object) => {
    const world = await setup({ backups: [{ abilities }] });
    const ends = [20, 31].map((days) => content({ notAfter: startMs + days * day }));
    for (const [index, made] of (await Promise.all(ends)).entries()) {
      const id = `c${index + 1}`;
      world.primary.store.put({ content: made, metadata: described(`name ${index + 1}`) }, id);
      await world.ask(id);
      await world.pass(id);
    }
    return world;
  };

  it('are named thirty days ahead, by the backup that does so', async () => {
    const world = await withOne({ destroysExpired: true });
    const { destroyedSoon } = await status(world);
    expect(destroyedSoon).toEqual([
      {
        store: 'backup',
        copies: 1,
        names: ['name 1'],
        first: { certificate: 'c1', name: 'name 1', at: startMs + 20 * day },
      },
    ]);
    const [found] = destroyedSoon ?? [];
    if (found === undefined) throw new Error('none');
    expect(destroyedSoonWords(found, startMs, (store) => store)).toBe(
      'backup: destroys what expires, for good; of 1 copy within 30 days (name 1), the first name 1 in 20 d',
    );
    await world.later(2 * day);
    expect((await status(world)).destroyedSoon).toMatchObject([{ copies: 2, names: ['name 1', 'name 2'] }]);
  });

  it('are not named where expired ones stay', async () => {
    expect((await status(await withOne({}))).destroyedSoon).toBeUndefined();
  });
});
