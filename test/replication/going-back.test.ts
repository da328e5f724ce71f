import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { replicate } from '../../src/replication/pass/replicate.ts';
import { reconcile } from '../../src/replication/reconcile/reconcile.ts';
import { statusOf } from '../../src/replication/status.ts';
import type { ListPage } from '../../src/store/store.ts';
import { fill, reconcileAll } from '../support/estate.ts';
import { askAndPass, content, described, markOf, setup, startMs, told, writesIn } from '../support/replication.ts';

const dayMs = 86_400_000;
const hourMs = 3_600_000;
const since = Date.UTC(2020, 0, 10);
let newer: CertificateContent;
let older: CertificateContent;
let aDayOlder: CertificateContent;
let newest: CertificateContent;
let oldest: CertificateContent;

beforeAll(async () => {
  [newer, older, aDayOlder, newest, oldest] = await Promise.all([
    content({ notBefore: since }),
    content({ notBefore: since - dayMs - 1_000 }),
    content({ notBefore: since - dayMs }),
    content({ notBefore: since + dayMs }),
    content({ notBefore: since - 3 * dayMs }),
  ]);
});

const ids = ['c1', 'c2', 'c3', 'c4'];

/**
 * Four certificates with copies, of which two may go back, or change unannounced, within an hour.
 */
async function estate() {
  const brakeLeast = { 'going-back': 2, unannounced: 2 };
  const world = await setup({ policy: { brakeShare: 0, brakeLeast } });
  fill(
    world,
    ids.map(() => newer),
  );
  await reconcileAll(world);
  world.calls.length = 0;
  return world;
}

type World = Awaited<ReturnType<typeof estate>>;

const inPrimary = (world: World, certificate: string, given: CertificateContent) =>
  world.primary.store.put({ content: given, metadata: described(`name ${certificate.slice(1)}`) }, certificate);

async function event(world: World, certificate: string) {
  await world.ask(certificate, { eventAt: world.time.now() });
  return world.pass(certificate);
}

async function goesBack(world: World, certificate: string): Promise<boolean> {
  inPrimary(world, certificate, older);
  await event(world, certificate);
  return (await stateOf(world, certificate))?.fingerprint === fingerprintOf(older);
}

const stateOf = async (world: World, certificate: string) => (await world.record(certificate)).backups[0];

describe('going back in time', () => {
  it('is a copy like any other for so many as may, whatever asks for it; from the next one on it is for a person', async () => {
    const world = await estate();
    expect(await goesBack(world, 'c1')).toBe(true);
    // Without an event: a reconcile asks.
    inPrimary(world, 'c2', older);
    await reconcileAll(world);
    expect((await stateOf(world, 'c2'))?.fingerprint).toBe(fingerprintOf(older));
    expect(await goesBack(world, 'c3')).toBe(false);
    expect(await stateOf(world, 'c3')).toMatchObject({
      fingerprint: fingerprintOf(newer),
      refusal: { code: 'certificate_going_back' },
    });
    expect(told(world).filter(({ event: what }) => what === 'certificate_refused')).toHaveLength(1);
    // From then on even after the hour.
    await world.later(3 * hourMs);
    expect(await goesBack(world, 'c4')).toBe(false);
    await askAndPass(world, 'c3');
    expect((await stateOf(world, 'c3'))?.fingerprint).toBe(fingerprintOf(newer));
    expect(writesIn(world).filter((call) => call === 'backup reimport')).toHaveLength(2);
  });

  it('counts from more than a day on, by the first day of validity', async () => {
    const world = await estate();
    for (const certificate of ids) {
      inPrimary(world, certificate, aDayOlder);
      await event(world, certificate);
      expect((await stateOf(world, certificate))?.fingerprint).toBe(fingerprintOf(aDayOlder));
    }
  });

  it('of one certificate counts once, and what lies further back than an hour does not', async () => {
    const world = await estate();
    for (const given of [older, newer, older, newer, older]) {
      inPrimary(world, 'c1', given);
      await event(world, 'c1');
    }
    expect((await stateOf(world, 'c1'))?.fingerprint).toBe(fingerprintOf(older));
    expect(await goesBack(world, 'c2')).toBe(true);
    await world.later(hourMs + 1);
    expect(await goesBack(world, 'c3')).toBe(true);
  });

  it('goes on where it was let through before the brake held: what it replaced is removed', async () => {
    const brakeLeast = { 'going-back': 1 };
    const abilities = { reimportsInPlace: false, settlesMs: 120_000, listingLagMs: 0 };
    const world = await setup({ policy: { brakeShare: 0, brakeLeast }, backups: [{ abilities }] });
    fill(world, [newer, newer]);
    await reconcileAll(world);
    expect(await goesBack(world, 'c1')).toBe(true);
    expect(world.backup.store.size()).toBe(3);
    expect(await goesBack(world, 'c2')).toBe(false);
    await world.later(130_000);
    await world.pass('c1');
    expect(world.backup.store.size()).toBe(2);
    expect(await stateOf(world, 'c1')).not.toHaveProperty('refusal');
    // Other content of the same certificate was not let through.
    inPrimary(world, 'c1', newer);
    await event(world, 'c1');
    expect(await goesBack(world, 'c1')).toBe(true);
    inPrimary(world, 'c1', oldest);
    await event(world, 'c1');
    expect(await stateOf(world, 'c1')).toMatchObject({ refusal: { code: 'certificate_going_back' } });
  });

  it('is told where another copy has the content already, and the one that everyone keeps has not', async () => {
    const world = await estate();
    for (const certificate of ['c1', 'c2', 'c3']) await goesBack(world, certificate);
    const copy = { metadata: described('name 4'), mark: markOf('c4') };
    const { id = '' } = (await stateOf(world, 'c4')) ?? {};
    world.backup.store.put({ ...copy, content: older }, id);
    world.backup.store.put({ ...copy, content: newer }, '!first');
    inPrimary(world, 'c4', older);
    await world.ask('c4', { doubt: startMs });
    await world.later(1_000);
    await world.pass('c4');
    expect(world.backup.store.size()).toBe(5);
    expect(await stateOf(world, 'c4')).toMatchObject({ refusal: { code: 'certificate_going_back' } });
  });

  it('counts on when the clock is set back', async () => {
    const world = await estate();
    const back = { ...world.worker, runtime: { ...world.worker.runtime, now: () => world.time.now() - 30 * dayMs } };
    expect(await goesBack(world, 'c1')).toBe(true);
    expect(await goesBack(world, 'c2')).toBe(true);
    inPrimary(world, 'c3', older);
    await world.records.ask({ link: 'main', certificate: 'c3', now: startMs - 30 * dayMs });
    await replicate(back, world.link, 'c3');
    expect((await stateOf(world, 'c3'))?.refusal?.code).toBe('certificate_going_back');
  });

  it('ends with what is newer, and the brake lets go when nothing is left that it keeps', async () => {
    const world = await estate();
    for (const certificate of ids.slice(0, 3)) await goesBack(world, certificate);
    expect((await stateOf(world, 'c3'))?.refusal).toBeDefined();
    inPrimary(world, 'c3', newest);
    await event(world, 'c3');
    expect(await stateOf(world, 'c3')).toMatchObject({ fingerprint: fingerprintOf(newest) });
    await world.later(hourMs + 1);
    await reconcileAll(world);
    expect(await world.linkRecords.brakeHeldSince('main', 'going-back')).toBeUndefined();
    expect(await goesBack(world, 'c4')).toBe(true);
  });

  it('is told by status and reconcile, and accepted by a person: exactly what was seen', async () => {
    const world = await estate();
    for (const certificate of ids) await goesBack(world, certificate);
    const { held } = await statusOf(world.worker, world.link);
    expect(held).toMatchObject({
      certificates: 2,
      kinds: { 'going-back': 2, unannounced: 0 },
      names: ['name 3', 'name 4'],
    });
    expect((await reconcileAll(world)).held).toEqual(held);
    inPrimary(world, 'c4', newest);
    await event(world, 'c4');
    await expect(reconcileAll(world, { acceptChanges: held?.id })).rejects.toMatchObject({
      code: 'reconcile_held_changed',
    });
    const now = (await statusOf(world.worker, world.link)).held;
    const report = await reconcileAll(world, { acceptChanges: now?.id });
    expect(report.held).toBeUndefined();
    expect((await stateOf(world, 'c3'))?.fingerprint).toBe(fingerprintOf(older));
    expect((await statusOf(world.worker, world.link)).held).toBeUndefined();
    expect(await world.linkRecords.brakeHeldSince('main', 'going-back')).toBeUndefined();
  });
});

describe('content that changed without an event', () => {
  /** Listings tell a revision, and nothing of the content. */
  async function silent() {
    const world = await estate();
    const blind = async (proceed: (request: object) => Promise<ListPage>, request: object): Promise<ListPage> => {
      const page = await proceed(request);
      return {
        ...page,
        certificates: page.certificates.map(({ serial: _s, notBefore: _b, notAfter: _a, ...rest }) => rest),
      };
    };
    world.primary.hooks.list = blind;
    world.backup.hooks.list = blind;
    await reconcileAll(world);
    world.calls.length = 0;
    return world;
  }

  it('is counted by the look that found it, before anything is replaced; a revision that moves alone is not', async () => {
    const world = await silent();
    for (const certificate of ids) inPrimary(world, certificate, newer);
    await world.later(dayMs);
    const restless = await reconcileAll(world);
    expect(restless.asked).toEqual({ 'revision-moved': 4 });
    expect(writesIn(world)).toEqual([]);

    for (const certificate of ids) inPrimary(world, certificate, newest);
    expect((await reconcileAll(world)).asked).toEqual({ 'revision-moved': 4 });
    expect(writesIn(world)).toEqual(['backup reimport', 'backup reimport']);
    const { held } = await statusOf(world.worker, world.link);
    expect(held).toMatchObject({ certificates: 2, kinds: { unannounced: 2 } });
    // An event is the primary's own word.
    await event(world, 'c3');
    expect((await stateOf(world, 'c3'))?.fingerprint).toBe(fingerprintOf(newest));
    const left = (await statusOf(world.worker, world.link)).held;
    await reconcileAll(world, { acceptChanges: left?.id });
    expect((await stateOf(world, 'c4'))?.fingerprint).toBe(fingerprintOf(newest));
  });

  it('is not counted where a person has said how many may change', async () => {
    const world = await silent();
    for (const certificate of ids) inPrimary(world, certificate, newest);
    await reconcileAll(world, { allowChanges: 4 });
    expect(writesIn(world)).toHaveLength(4);
  });

  it('is not counted while an event of before it has not been worked off', async () => {
    const world = await silent();
    for (const certificate of ids) {
      inPrimary(world, certificate, newest);
      await world.ask(certificate, { eventAt: world.time.now() });
    }
    await world.later(1_000);
    await reconcile({ ...world.worker, dispatch: { dispatch: async () => undefined } }, world.link);
    for (const certificate of ids) await world.pass(certificate);
    expect(writesIn(world)).toHaveLength(4);
  });
});
