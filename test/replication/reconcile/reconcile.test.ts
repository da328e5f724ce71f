import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import type { Wake } from '../../../src/dispatch/dispatch.ts';
import { CodedError } from '../../../src/errors.ts';
import type { Link } from '../../../src/replication/link.ts';
import { replicate } from '../../../src/replication/pass/replicate.ts';
import { reconcile } from '../../../src/replication/reconcile/reconcile.ts';
import { mismatchedKey, testCertificate } from '../../support/certificates.ts';
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
  told,
  writesIn,
} from '../../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;
let wrongKey: CertificateContent;
let keyless: CertificateContent;

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
  wrongKey = parseContent(await mismatchedKey());
  const { privateKey: _key, ...rest } = first;
  keyless = rest;
});

/** Reconciles, and answers what was reported and who was woken. */
async function reconcileOnce(world: Setup, link: Link = world.link) {
  const woken: string[] = [];
  const dispatch = {
    dispatch: async (wakes: readonly Wake[]) => void woken.push(...wakes.map(({ certificate }) => certificate)),
  };
  const report = await reconcile({ ...world.worker, dispatch }, link);
  return { ...report, woken };
}

/** Makes passes until the certificate rests. */
async function workOff(world: Setup, certificate: string, link = world.link): Promise<void> {
  for (let passes = 0; ; passes += 1) {
    await replicate(world.worker, link, certificate);
    const { wakeAt } = await world.record(certificate);
    if (wakeAt === undefined) return;
    if (passes > 20) throw new Error('it does not come to rest');
    await world.later(Math.max(0, wakeAt - world.time.now()));
  }
}

const copyOf = (held: CertificateContent, certificate = 'c1') => ({
  content: held,
  metadata: described('shop'),
  mark: markOf(certificate),
});

describe('what differs is asked for', () => {
  it('nothing, if all agrees', async () => {
    const world = await replicated(first);
    expect(await reconcileOnce(world)).toEqual({
      link: 'main',
      listed: 1,
      included: 1,
      expired: 0,
      retained: 0,
      asked: {},
      unmarked: 0,
      notListed: [],
      notRead: [],
      passedOver: { count: 0, first: [] },
      pages: 2,
      woken: [],
    });
    expect((await world.record('c1')).requested).toBe(1);
  });

  it('unknown: what the records do not know', async () => {
    const world = await setup();
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    expect(await reconcileOnce(world)).toMatchObject({ asked: { unknown: 1 }, woken: ['c1'] });
    expect(await world.record('c1')).toMatchObject({ requested: 1, wakeAt: startMs });
    expect(await world.record('c1')).not.toHaveProperty('doubt');
    await workOff(world, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({});
  });

  it('missing: what a backup does not list', async () => {
    const world = await replicated(first, { backups: [{}, {}] });
    await world.backups[1]?.store.delete('backup2-1');
    expect((await reconcileOnce(world)).asked).toEqual({ missing: 1 });
    await workOff(world, 'c1');
    expect(world.backups[1]?.store.size()).toBe(1);
  });

  it('missing: what a backup refused over a copy that is gone since, and once', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: { ...second, chain: [] }, metadata: described('shop') }, 'c1');
    await world.ask('c1');
    await workOff(world, 'c1');
    expect((await world.record('c1')).backups[0]?.refusal).toMatchObject({ code: 'certificate_chain_missing' });
    expect((await reconcileOnce(world)).asked).toEqual({});
    await world.backup.store.delete('backup-1');
    expect((await reconcileOnce(world)).asked).toEqual({ missing: 1 });
    await workOff(world, 'c1');
    expect(fingerprintOf((await held(world.backup.store, 'backup-2')).content)).toBe(
      fingerprintOf({ ...second, chain: [] }),
    );
    expect((await reconcileOnce(world)).asked).toEqual({});
  });

  it('changed at the backup: what it refused over a copy that is another since, where there are no revisions', async () => {
    const plain = { givesRevisions: false };
    const world = await replicated(first, { primary: plain, backups: [plain] });
    world.primary.store.put({ content: { ...second, chain: [] }, metadata: described('shop') }, 'c1');
    await world.ask('c1');
    await workOff(world, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({});
    world.backup.store.put(copyOf(parseContent(await testCertificate({ intermediates: 2 }))), 'backup-1');
    expect((await reconcileOnce(world)).asked).toEqual({ 'changed-at-the-backup': 1 });
    await workOff(world, 'c1');
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(
      fingerprintOf({ ...second, chain: [] }),
    );
  });

  it('revision moved: what has another revision in the primary, and the same serial and dates', async () => {
    const world = await replicated(first);
    await world.primary.store.updateMetadata('c1', described('shop 2'), undefined);
    expect((await reconcileOnce(world)).asked).toEqual({ 'revision-moved': 1 });
  });

  it('revision moved at the backup: what has another revision there, and the same serial and dates', async () => {
    const world = await replicated(first);
    await world.backup.store.updateMetadata('backup-1', described('renamed by a person'), markOf('c1'));
    expect((await reconcileOnce(world)).asked).toEqual({ 'revision-moved-at-the-backup': 1 });
    await workOff(world, 'c1');
    expect((await held(world.backup.store, 'backup-1')).metadata.name).toBe('shop');
    expect((await reconcileOnce(world)).asked).toEqual({});
  });

  it('different: what has another serial in the primary, where there are no revisions', async () => {
    const plain = { givesRevisions: false };
    const world = await replicated(first, { primary: plain, backups: [plain] });
    expect((await reconcileOnce(world)).asked).toEqual({});
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({ different: 1 });
  });

  it('changed at the backup: what has another serial there, where there are no revisions', async () => {
    const plain = { givesRevisions: false };
    const world = await replicated(first, { primary: plain, backups: [plain] });
    world.backup.store.put(copyOf(second), 'backup-1');
    expect((await reconcileOnce(world)).asked).toEqual({ 'changed-at-the-backup': 1 });
    await workOff(world, 'c1');
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(first));
  });

  it('not the recorded copy: one with our mark and another id, in doubt', async () => {
    const world = await replicated(first);
    await world.backup.store.delete('backup-1');
    world.backup.store.put(copyOf(first), 'another');
    expect((await reconcileOnce(world)).asked).toEqual({ 'not-the-recorded-copy': 1 });
    expect((await world.record('c1')).doubt).toBe(startMs + 5_000);
    await workOff(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]?.id).toBe('another');
  });

  it('doubled: two with our mark, in doubt, wherever they stand in the listing', async () => {
    for (const pageSize of [1, 200]) {
      const world = await replicated(first, { backups: [{ pageSize }] });
      world.backup.store.put(copyOf(first), 'another');
      expect((await reconcileOnce(world)).asked).toEqual({ doubled: 1 });
      expect((await world.record('c1')).doubt).toBe(startMs + 5_000);
      await workOff(world, 'c1');
      expect(world.backup.store.size()).toBe(1);
      expect((await reconcileOnce(world)).asked).toEqual({});
    }
  });

  it('gone from the primary: until a look has confirmed that it is absent', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('another') }, 'c2');
    await askAndPass(world, 'c2');
    await world.primary.store.delete('c1');
    expect(await reconcileOnce(world)).toMatchObject({ listed: 1, asked: { 'gone-from-primary': 1 }, woken: ['c1'] });
    await workOff(world, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({});
    expect(world.backup.store.size()).toBe(2);
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({ different: 1 });
  });

  it('a copy that a moving listing shows twice is not doubled', async () => {
    const world = await replicated(first);
    world.backup.hooks.list = async (proceed, request) => {
      const page = await proceed({});
      return request.cursor === undefined ? { ...page, cursor: 'next' } : page;
    };
    expect((await reconcileOnce(world)).asked).toEqual({});
  });
});

describe('what is not asked for', () => {
  it('is a refused certificate whose facts have not changed', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: wrongKey, metadata: described('shop') }, 'c1');
    await world.ask('c1');
    await workOff(world, 'c1');
    const { requested } = await world.record('c1');
    for (let hour = 0; hour < 3; hour += 1) {
      await world.later(3_600_000);
      expect((await reconcileOnce(world)).asked).toEqual({});
    }
    expect((await world.record('c1')).requested).toBe(requested);
    await world.primary.store.updateMetadata('c1', described('touched'), undefined);
    expect((await reconcileOnce(world)).asked).toEqual({ different: 1 });
  });

  it.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])(
    'is one that the primary gives back damaged (revisions: %s, copied before: %s)',
    async (givesRevisions, before) => {
      const options: SetupOptions = { primary: { givesRevisions } };
      const world = before ? await replicated(first, options) : await setup(options);
      // Replaced by something else, which is damaged: listings tell that.
      world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
      world.primary.store.corrupt('c1');
      await world.ask('c1');
      await workOff(world, 'c1');
      await world.later(3_600_000);
      expect((await reconcileOnce(world)).asked).toEqual({});
      world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
      expect((await reconcileOnce(world)).asked).toEqual({ different: 1 });
      await workOff(world, 'c1');
      expect((await reconcileOnce(world)).asked).toEqual({});
    },
  );

  it('is a refused one without a copy that is known, though there are several with our mark: nothing would be done', async () => {
    const world = await setup();
    world.primary.store.put({ content: wrongKey, metadata: described('shop') }, 'c1');
    world.backup.store.put(copyOf(first), 'one');
    world.backup.store.put(copyOf(first), 'two');
    await world.ask('c1');
    await workOff(world, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({});
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({ doubled: 1 });
  });

  it('is a leaf alone that must not replace a copy with its chain, not even one that was found by its mark', async () => {
    const leafAlone = { ...second, chain: [] };
    const known = await replicated(first);
    known.primary.store.put({ content: leafAlone, metadata: described('shop') }, 'c1');
    await known.ask('c1');
    const found = await setup({ reconciled: false });
    found.primary.store.put({ content: leafAlone, metadata: described('shop') }, 'c1');
    found.backup.store.put(copyOf(first), 'earlier');
    await found.ask('c1');
    for (const world of [known, found]) {
      await workOff(world, 'c1');
      expect((await world.record('c1')).backups[0]?.refusal).toMatchObject({ code: 'certificate_chain_missing' });
      expect((await reconcileOnce(world)).asked).toEqual({});
    }
  });

  it('is one that a backup takes in no copy, whether it had one or not', async () => {
    const refuses = ({ leaf }: CertificateContent) =>
      leaf.raw.equals(second.leaf.raw) ? { why: 'no key of this kind' } : undefined;
    const world = await replicated(first, { backups: [{ refuses }] });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.ask('c1');
    await workOff(world, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({});
    await world.backup.store.delete('backup-1');
    // The copy that stood there is looked for once.
    expect((await reconcileOnce(world)).asked).toEqual({ missing: 1 });
    await workOff(world, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({});
    expect(world.backup.store.size()).toBe(0);
  });

  it('is one without a key, until it gets one', async () => {
    const world = await setup();
    world.primary.store.put({ content: keyless, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({});
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({ different: 1 });
  });

  it('is one that the filter does not include, in the primary or gone from it', async () => {
    const world = await setup({ filter: { names: ['other*'] } });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.primary.store.put({ content: second, metadata: described('other one') }, 'c2');
    expect(await reconcileOnce(world)).toMatchObject({ listed: 2, included: 1, asked: { unknown: 1 }, woken: ['c2'] });
  });
});

describe('a rest that the configuration ended', () => {
  const cases: readonly (readonly [string, SetupOptions, Partial<Link>])[] = [
    ['region', { policy: { regions: [] } }, { policy: { requireChain: false, onward: false } }],
    ['chain', { policy: { requireChain: true } }, { policy: { requireChain: false, onward: false } }],
    ['filter', { filter: { names: ['x'] } }, { filter: { names: [], domains: [] } }],
    ['mark', {}, { policy: { requireChain: false, onward: true } }],
  ];

  it.each(cases)('is asked for again (%s)', async (which, options, change) => {
    const world = await setup(options);
    const mark = which === 'mark' ? { mark: { store: 'far-away', certificate: 'x' } } : {};
    world.primary.store.put({ content: { ...first, chain: [] }, metadata: described('shop'), ...mark }, 'c1');
    await world.ask('c1');
    await workOff(world, 'c1');
    expect(world.backup.store.size()).toBe(0);
    expect((await reconcileOnce(world)).asked).toEqual({});
    const link = { ...world.link, ...change };
    expect((await reconcileOnce(world, link)).asked).toEqual({ different: 1 });
    await workOff(world, 'c1', link);
    expect(world.backup.store.size()).toBe(1);
  });
});

describe('what is not ours', () => {
  it('is counted', async () => {
    const world = await replicated(first, { backups: [{}, {}] });
    world.backup.store.put({ content: second, metadata: described('someone else') });
    world.backups[1]?.store.put({ content: second, metadata: described('someone else') });
    world.backups[1]?.store.put({ ...copyOf(second), mark: { store: 'elsewhere', certificate: 'c1' } });
    expect(await reconcileOnce(world)).toMatchObject({ asked: {}, unmarked: 2 });
  });
});

describe('the first reconcile', () => {
  it('adopts what carries our mark, imports the rest, and is noted for each backup', async () => {
    const world = await setup({ reconciled: false });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.primary.store.put({ content: second, metadata: described('api') }, 'c2');
    world.backup.store.put(copyOf(first), 'earlier');
    expect((await reconcileOnce(world)).asked).toEqual({ 'not-the-recorded-copy': 1, unknown: 1 });
    expect([...(await world.linkRecords.reconciled('main'))]).toEqual([['backup', startMs]]);
    for (const certificate of ['c1', 'c2']) await workOff(world, certificate);
    expect(writesIn(world)).toEqual(['backup import']);
    expect((await world.record('c1')).backups[0]?.id).toBe('earlier');
    expect((await reconcileOnce(world)).asked).toEqual({});
  });

  it('binds the link to its primary, and refuses another one', async () => {
    const world = await setup();
    await reconcileOnce(world);
    await expect(
      reconcileOnce(world, { ...world.link, primary: { ...world.link.primary, id: 'another' } }),
    ).rejects.toMatchObject({ code: 'configuration_link_moved' });
  });
});

describe('a failure', () => {
  it.each(['primary', 'backup'] as const)('of the listing of the %s notes nothing as reconciled', async (which) => {
    const world = await setup({ reconciled: false });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world[which].hooks.list = () => Promise.reject(new CodedError('store_unavailable', 'not reached'));
    await expect(reconcileOnce(world)).rejects.toMatchObject({ code: 'store_unavailable' });
    expect((await world.linkRecords.reconciled('main')).size).toBe(0);
    expect(writesIn(world)).toEqual([]);
  });

  it('on a later page of the primary asks for nothing that only seems to be gone', async () => {
    const world = await replicated(first, { primary: { pageSize: 1 } });
    world.primary.store.put({ content: second, metadata: described('api') }, 'c2');
    await askAndPass(world, 'c2');
    const before = (await world.record('c2')).requested;
    world.primary.hooks.list = (proceed, request) =>
      request.cursor === undefined ? proceed(request) : Promise.reject(new CodedError('store_limited', 'wait'));
    await expect(reconcileOnce(world)).rejects.toMatchObject({ code: 'store_limited' });
    expect((await world.record('c2')).requested).toBe(before);
  });

  it('to wake anybody is logged; what was asked for is due', async () => {
    const world = await setup();
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    const dispatch = { dispatch: () => Promise.reject(new CodedError('store_unavailable', 'no queue')) };
    const report = await reconcile({ ...world.worker, dispatch }, world.link);
    expect(report.asked).toEqual({ unknown: 1 });
    expect(await world.records.due('main', startMs, 10)).toEqual(['c1']);
    expect(told(world)).toMatchObject([
      { event: 'dispatch_failed', fields: { link: 'main', code: 'store_unavailable' } },
    ]);
  });
});

describe('large estates', () => {
  it('are listed page by page, each once', async () => {
    const world = await setup({ primary: { pageSize: 10 }, backups: [{ pageSize: 10 }] });
    for (let index = 0; index < 95; index += 1)
      world.primary.store.put({ content: first, metadata: described(`n${index}`) }, `c${index}`);
    expect((await reconcileOnce(world)).asked).toEqual({ unknown: 95 });
    expect(world.calls.filter((call) => call.endsWith('primary list'))).toHaveLength(10);
  });
});

describe('the full look', () => {
  const hourMs = 3_600_000;
  const weekMs = 7 * 24 * hourMs;

  it('comes for each certificate at least every seven days, spread over time', async () => {
    const world = await setup();
    // Among them are the two ends of what the spread can be.
    const ids = [...Array.from({ length: 40 }, (_, index) => `certificate-${index}-of-many`), 'c642', 'c641'];
    for (const id of ids) world.primary.store.put({ content: first, metadata: described(id) }, id);
    const looks = new Map<string, number[]>(ids.map((id) => [id, []]));
    world.primary.hooks.read = (proceed, id, ...rest) => {
      looks.get(id)?.push(world.time.now() - startMs);
      return proceed(id, ...rest);
    };
    for (const id of ids) await askAndPass(world, id);
    for (let hour = 0; hour <= 15 * 24; hour += 1) {
      const { woken } = await reconcileOnce(world);
      for (const id of woken) await world.pass(id);
      // A reconcile takes its time, too.
      await world.later(hourMs + 60_000);
    }
    const gaps = [...looks.values()].flatMap((at) => at.slice(1).map((moment, index) => moment - (at[index] ?? 0)));
    for (const at of looks.values()) expect(at.length).toBeGreaterThanOrEqual(3);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(weekMs);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(weekMs / 2);
    const busiest = new Map<number, number>();
    for (const at of looks.values()) busiest.set(at[1] ?? 0, (busiest.get(at[1] ?? 0) ?? 0) + 1);
    expect(Math.max(...busiest.values())).toBeLessThanOrEqual(9);
  });

  it('comes for a refused certificate as well, and once', async () => {
    const world = await setup();
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.primary.store.corrupt('c1');
    await world.ask('c1');
    await workOff(world, 'c1');
    await world.later(weekMs);
    expect((await reconcileOnce(world)).asked).toEqual({ 'due-for-a-full-look': 1 });
    await workOff(world, 'c1');
    expect((await reconcileOnce(world)).asked).toEqual({});
  });
});
