import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { CodedError } from '../../../src/errors.ts';
import { silentLog } from '../../../src/log.ts';
import { linkRecords } from '../../../src/records/link-records.ts';
import { replicationRecords } from '../../../src/records/replication-records.ts';
import { idMap } from '../../../src/replication/id-map.ts';
import type { Link } from '../../../src/replication/link.ts';
import { replicate } from '../../../src/replication/pass/replicate.ts';
import { reconcile } from '../../../src/replication/reconcile/reconcile.ts';
import { restore } from '../../../src/replication/restore/restore.ts';
import type { RestoreOptions } from '../../../src/replication/restore/survey.ts';
import { sharedListings } from '../../../src/replication/shared-listing.ts';
import { defaultTiming } from '../../../src/replication/timing.ts';
import type { Runtime } from '../../../src/runtime.ts';
import { type Mark, wholeMark } from '../../../src/store/mark.ts';
import { type MemoryStore, type MemoryStoreOptions, memoryStore } from '../../../src/store/memory.ts';
import type { DescriptiveMetadata, Store } from '../../../src/store/store.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { certifyLeaf } from '../../support/bundles.ts';
import { content, described, held } from '../../support/replication.ts';

const contents: Promise<CertificateContent>[] = [];
/** Certificates are slow to make, and tests need only that they differ. */
function certificate(number: number): Promise<CertificateContent> {
  contents[number] ??= content({ domains: [`n${number}.example.test`] });
  return contents[number];
}

/** Calls that can be counted, and from one on all fail, as those of a process that was killed. */
interface Life {
  calls: number;
  until: number;
}

function mortal<T extends object>(target: T, life: Life, methods: readonly string[]): T {
  const replaced = methods.flatMap((method) => {
    const call = (target as Record<string, unknown>)[method] as ((...args: unknown[]) => unknown) | undefined;
    if (call === undefined) return [];
    const dies = async (...args: unknown[]) => {
      life.calls += 1;
      if (life.calls > life.until) throw new CodedError('internal', 'killed');
      const answer = await call(...args);
      // Or between what the call did and its answer.
      if (life.calls + 0.5 > life.until && !Number.isInteger(life.until)) throw new CodedError('internal', 'killed');
      return answer;
    };
    return [[method, dies]];
  });
  return { ...target, ...Object.fromEntries(replaced) };
}

const storeCalls = ['list', 'readMetadata', 'read', 'findByMark', 'import', 'reimport', 'updateMetadata', 'delete'];
const tableCalls = ['get', 'update', 'putIfAbsent', 'delete', 'query', 'queryIndex'];

/** Frankfurt is copied to London, and to Milan if that is asked for; Paris is empty. */
async function world({
  milan = false,
  frankfurt = {} as Partial<MemoryStoreOptions>,
  london = {} as Partial<MemoryStoreOptions>,
  paris = {} as Partial<MemoryStoreOptions>,
  certificates = 3,
} = {}) {
  let now = Date.UTC(2026, 0, 1);
  let ids = 0;
  const runtime: Runtime = {
    now() {
      now += 1;
      return now;
    },
    random: () => 0,
    newId() {
      ids += 1;
      return `id-${ids}`;
    },
    // A thousand times as fast as real time; what is only computed here takes no time at all.
    async wait(milliseconds, signal) {
      await sleep(milliseconds / 1_000, undefined, { ...(signal && { signal }) });
      now += milliseconds;
    },
  };
  const life: Life = { calls: 0, until: Number.POSITIVE_INFINITY };
  const table: Table = mortal(memoryTable(), life, tableCalls);
  const store = (id: string, own: Partial<MemoryStoreOptions> = {}) => memoryStore({ id, region: id, runtime, ...own });
  const stores = {
    frankfurt: store('frankfurt', frankfurt),
    paris: store('paris', paris),
    london: store('london', london),
    milan: store('milan'),
  };
  const tapped = Object.fromEntries(
    Object.entries(stores).map(([name, one]) => [name, mortal(one, life, storeCalls)]),
  ) as unknown as Record<keyof typeof stores, Store>;
  const worker = {
    records: replicationRecords(table),
    linkRecords: linkRecords(table),
    listings: sharedListings(runtime),
    runtime,
    timing: defaultTiming,
    log: silentLog,
    owner: { id: 'here', hasDied: () => true },
  };
  const linkTo = (primary: keyof typeof stores, ...backups: (keyof typeof stores)[]): Link => ({
    name: 'shop',
    primary: tapped[primary],
    backups: backups.map((name) => tapped[name]),
    filter: { names: [], domains: [] },
    policy: { requireChain: false, onward: false },
  });
  /** A reconcile and its passes. */
  const bringEqual = async (link: Link) => {
    const asked: string[] = [];
    const dispatch = {
      dispatch: async (wakes: readonly { certificate: string }[]) =>
        void asked.push(...wakes.map((wake) => wake.certificate)),
    };
    await reconcile({ ...worker, dispatch }, link);
    for (const one of asked) await replicate(worker, link, one);
    return asked;
  };
  for (let number = 0; number < certificates; number += 1) {
    const metadata = { name: `n${number}`, description: `number ${number}`, tags: ['shop'] };
    stores.frankfurt.put({ content: await certificate(number), metadata }, `f${number}`);
  }
  const backups = milan ? (['london', 'milan'] as const) : (['london'] as const);
  await bringEqual(linkTo('frankfurt', ...backups));
  life.calls = 0;
  return { runtime, life, stores, tapped, worker, linkTo, bringEqual, backups };
}

type World = Awaited<ReturnType<typeof world>>;

async function run(of: World, link: Link, more: Partial<RestoreOptions> & Pick<RestoreOptions, 'from'>) {
  return restore(of.worker, link, { kind: 'restore', wanted: () => true, ...more });
}

/** What a store holds: each name with its fingerprint and mark, in order. */
async function holdings(store: MemoryStore) {
  const { certificates } = await store.list({});
  const all = certificates.map(async ({ id, name, mark, description, tags }) => ({
    id,
    name,
    description,
    tags,
    fingerprint: fingerprintOf((await held(store, id)).content),
    mark: mark && `${wholeMark(mark)?.store} ${wholeMark(mark)?.certificate}`,
  }));
  return (await Promise.all(all)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * One original each in the primary, without a mark, and one copy each in the backup that names it.
 */
async function expectMoved(primary: MemoryStore, backup: MemoryStore, numbers: readonly number[]) {
  const originals = await holdings(primary);
  const wanted = await Promise.all(
    numbers.map(async (number) => ({
      name: `n${number}`,
      description: `number ${number}`,
      tags: ['shop'],
      fingerprint: fingerprintOf(await certificate(number)),
    })),
  );
  expect(originals.map(({ id: _, ...rest }) => rest)).toEqual(wanted.map((one) => ({ ...one, mark: undefined })));
  const copies = await holdings(backup);
  expect(copies.map(({ name, fingerprint, mark }) => ({ name, fingerprint, mark }))).toEqual(
    originals.map(({ id, name, fingerprint }) => ({ name, fingerprint, mark: `${primary.id} ${id}` })),
  );
}

describe('restore', () => {
  it.each([undefined, 'exact'] as const)(
    'asks for the very name where the link says so (naming: %s)',
    async (naming) => {
      const of = await world();
      const asked: unknown[] = [];
      const paris: Store = {
        ...of.tapped.paris,
        import: (entry, options) => {
          asked.push(entry.exactName);
          return of.tapped.paris.import(entry, options);
        },
      };
      const link: Link = { ...of.linkTo('paris', 'london'), primary: paris, ...(naming && { naming }) };
      await run(of, link, { from: of.tapped.london });
      expect(asked).toEqual(Array.from({ length: 3 }, () => (naming === 'exact' ? true : undefined)));
    },
  );

  it('brings everything into an empty primary, and the copies are the copies of that', async () => {
    const of = await world();
    const link = of.linkTo('paris', 'london');
    const plans: unknown[] = [];
    const { moved, failed } = await run(of, link, {
      from: of.tapped.london,
      confirm: async (plan) => void plans.push(plan),
    });
    expect(plans).toMatchObject([
      {
        from: 'london',
        to: 'paris',
        there: 0,
        retained: 0,
        lines: [{ action: 'import' }, { action: 'import' }, { action: 'import' }],
      },
    ]);
    expect(failed).toEqual([]);
    expect(moved.map(({ origin }) => origin.certificate).sort()).toEqual(['f0', 'f1', 'f2']);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);

    await of.bringEqual(link);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
    const [first] = (await of.stores.paris.list({})).certificates;
    await of.stores.paris.reimport(first?.id ?? '', await certificate(9));
    await of.worker.records.ask({ link: 'shop', certificate: first?.id ?? '', now: of.runtime.now() });
    expect((await replicate(of.worker, link, first?.id ?? '')).passes).toMatchObject([{ link: 'shop' }]);
    expect((await holdings(of.stores.london)).map(({ fingerprint }) => fingerprint)).toContain(
      fingerprintOf(await certificate(9)),
    );
    expect(of.stores.london.size()).toBe(3);
  });

  it('reports no success before the end of imports that the new primary goes on with, and sends each once', async () => {
    const longWrites = { import: 60_000, reimport: 60_000 };
    const of = await world({ paris: { abilities: { longWrites }, longWritesTakeMs: 20_000 } });
    const sizes: number[] = [];
    const waited: string[] = [];
    const { failed } = await run(of, of.linkTo('paris', 'london'), {
      from: of.tapped.london,
      goesOn: ({ store, kind, longestMs }) => waited.push(`${store} ${kind} ${longestMs}`),
      moved: () => sizes.push(of.stores.paris.size()),
    });
    expect(failed).toEqual([]);
    expect(waited).toEqual(Array.from({ length: 3 }, () => 'paris import 60000'));
    expect(Math.min(...sizes)).toBeGreaterThan(0);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
  });

  it('that was stopped while the new primary goes on with its imports waits for their longest time, and doubles none', async () => {
    const longWrites = { import: 60_000, reimport: 60_000 };
    const of = await world({ paris: { abilities: { longWrites }, longWritesTakeMs: 50_000 } });
    const link = of.linkTo('paris', 'london');
    const stop = new AbortController();
    const stopped = run(of, link, {
      ...{ from: of.tapped.london, signal: stop.signal },
      goesOn: () => stop.abort(new CodedError('interrupted', 'stopped')),
    });
    await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
    const waits: number[] = [];
    await run(of, link, { from: of.tapped.london, waiting: (milliseconds) => waits.push(milliseconds) });
    expect(waits[0]).toBeGreaterThan(59_000);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
  });

  it('writes over places that a stopped run left without content, and makes no second ones', async () => {
    const of = await world();
    for (const number of [0, 2]) {
      const metadata = { name: `n${number}`, description: `number ${number}`, tags: ['shop'] };
      const mark = { store: 'frankfurt', certificate: `f${number}` };
      of.stores.paris.put({ content: await certificate(number), metadata, mark }, `half-${number}`);
      of.stores.paris.vacate(`half-${number}`, 'half-made');
    }
    const { lines, failed } = await run(of, of.linkTo('paris', 'london'), { from: of.tapped.london });
    expect(failed).toEqual([]);
    expect(lines.map(({ name, action, into }) => [name, action, into]).sort()).toEqual([
      ['n0', 'import', 'half-0'],
      ['n1', 'import', undefined],
      ['n2', 'import', 'half-2'],
    ]);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
    expect((await holdings(of.stores.paris)).map(({ id }) => id)).toEqual(['half-0', expect.any(String), 'half-2']);
  });

  it('of which one gets an id that no record can be kept of moves the others, and names it each time', async () => {
    const of = await world();
    const id = 'i'.repeat(1_000);
    const primary: Store = {
      ...of.tapped.paris,
      import: async (entry, call) =>
        entry.metadata.name === 'n1' ? { id: of.stores.paris.put(entry, id) } : of.tapped.paris.import(entry, call),
    };
    const link = { ...of.linkTo('paris', 'london'), primary };
    for (const time of ['first', 'second']) {
      const { moved, failed } = await run(of, link, { from: of.tapped.london });
      expect(failed).toMatchObject([{ name: 'n1', error: { code: 'store_name_unreadable' } }]);
      expect(moved.map(({ name }) => name).sort()).toEqual(time === 'first' ? ['n0', 'n2'] : []);
    }
    // It keeps the mark of where it came from: no pass takes it for an original.
    expect(of.stores.paris.size()).toBe(3);
    expect((await held(of.stores.paris, id)).metadata.mark).toEqual({ store: 'frankfurt', certificate: 'f1' });
  });

  it('of the old direction nobody works on: its passes and reconciles are refused', async () => {
    const of = await world();
    await run(of, of.linkTo('paris', 'london'), { from: of.tapped.london });
    const old = of.linkTo('frankfurt', 'london');
    await expect(of.bringEqual(old)).rejects.toMatchObject({ code: 'configuration_link_moved' });
    await of.worker.records.ask({ link: 'shop', certificate: 'f0', now: of.runtime.now() });
    await expect(replicate(of.worker, old, 'f0')).rejects.toMatchObject({ code: 'configuration_link_moved' });
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
  });

  it('makes the backup itself the primary without importing anything', async () => {
    const of = await world({ milan: true });
    const link = of.linkTo('london', 'milan');
    const before = (await holdings(of.stores.london)).map(({ id }) => id);
    const { lines } = await run(of, link, { from: of.tapped.london });
    expect(lines.map(({ action }) => action)).toEqual(['finish', 'finish', 'finish']);
    expect((await holdings(of.stores.london)).map(({ id }) => id)).toEqual(before);
    await expectMoved(of.stores.london, of.stores.milan, [0, 1, 2]);
    await of.bringEqual(link);
    await expectMoved(of.stores.london, of.stores.milan, [0, 1, 2]);
  });

  it('into the same primary, built anew, needs no turn, and brings back only what it lost', async () => {
    const of = await world();
    const link = of.linkTo('frankfurt', 'london');
    for (const id of ['f0', 'f2']) await of.stores.frankfurt.delete(id);
    const { there, moved } = await run(of, link, { from: of.tapped.london });
    expect([there, moved.map(({ name }) => name).sort()]).toEqual([1, ['n0', 'n2']]);
    await expectMoved(of.stores.frankfurt, of.stores.london, [0, 1, 2]);
    await of.bringEqual(link);
    await expectMoved(of.stores.frankfurt, of.stores.london, [0, 1, 2]);
    expect(await of.worker.records.get('shop', 'f0')).toBeUndefined();
    expect(await of.worker.records.get('shop', 'f1')).toBeDefined();
  });

  it('into a primary that holds some of it takes what is equal, and leaves another one of the name unless it may replace it', async () => {
    const of = await world();
    of.stores.paris.put(
      { content: await certificate(0), metadata: { name: 'n0', description: 'number 0', tags: ['shop'] } },
      'p0',
    );
    of.stores.paris.put({ content: await certificate(9), metadata: described('n1') }, 'p1');
    const link = of.linkTo('paris', 'london');
    const { lines, moved } = await run(of, link, { from: of.tapped.london });
    expect(lines.map(({ name, action, target }) => ({ name, action, target }))).toEqual([
      { name: 'n0', action: 'present', target: 'p0' },
      { name: 'n1', action: 'held', target: 'p1' },
      { name: 'n2', action: 'import', target: undefined },
    ]);
    expect(moved.map(({ name }) => name).sort()).toEqual(['n0', 'n2']);
    expect(fingerprintOf((await held(of.stores.paris, 'p1')).content)).toBe(fingerprintOf(await certificate(9)));
    expect(of.stores.paris.size()).toBe(3);

    const otherSite = await run(of, link, { from: of.tapped.london, replace: true });
    expect(otherSite.lines).toMatchObject([{ name: 'n1', action: 'held', target: 'p1', otherDomains: true }]);
    expect(fingerprintOf((await held(of.stores.paris, 'p1')).content)).toBe(fingerprintOf(await certificate(9)));

    const again = await run(of, link, { from: of.tapped.london, replace: true, replaceOthers: true });
    expect(again.lines.map(({ name, action }) => [name, action])).toEqual([['n1', 'replace']]);
    expect(again.there).toBe(2);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
  });

  it('puts no self-signed certificate in the place of one that an authority issued unless the link says so, and moves the others', async () => {
    const of = await world();
    const selfSigned = parseContent(await certifyLeaf(undefined));
    const copy = (await holdings(of.stores.london)).find(({ name }) => name === 'n0');
    await of.stores.london.reimport(copy?.id ?? '', selfSigned);
    of.stores.paris.put({ content: await certificate(0), metadata: described('n0') }, 'p0');
    const link = of.linkTo('paris', 'london');
    const how = { from: of.tapped.london, replace: true, replaceOthers: true };
    const { moved, failed } = await run(of, link, how);
    expect(failed).toMatchObject([{ name: 'n0', error: { code: 'certificate_self_signed' } }]);
    expect(moved.map(({ name }) => name).sort()).toEqual(['n1', 'n2']);
    expect(fingerprintOf((await held(of.stores.paris, 'p0')).content)).toBe(fingerprintOf(await certificate(0)));

    const meant = await run(of, { ...link, policy: { ...link.policy, standIns: true } }, how);
    expect(meant.failed).toEqual([]);
    expect(fingerprintOf((await held(of.stores.paris, 'p0')).content)).toBe(fingerprintOf(selfSigned));
  });

  it('replaces a version of the same site, and what is equal to one of two of a name is not taken for a version of the other', async () => {
    const of = await world();
    const renewed = await content({ domains: ['N0.example.test'] });
    of.stores.paris.put({ content: renewed, metadata: described('n0') }, 'p0');
    // Both are called n1 now, and Paris has the second one.
    await of.stores.frankfurt.updateMetadata('f2', described('n1'), undefined);
    await of.bringEqual(of.linkTo('frankfurt', 'london'));
    of.stores.paris.put({ content: await certificate(2), metadata: described('n1') }, 'p2');
    const { lines } = await run(of, of.linkTo('paris', 'london'), { from: of.tapped.london, replace: true });
    expect(lines.map(({ origin, action, target }) => [origin.certificate, action, target]).sort()).toEqual([
      ['f0', 'replace', 'p0'],
      ['f1', 'import', undefined],
      ['f2', 'present', 'p2'],
    ]);
    expect(fingerprintOf((await held(of.stores.paris, 'p0')).content)).toBe(fingerprintOf(await certificate(0)));
    expect(fingerprintOf((await held(of.stores.paris, 'p2')).content)).toBe(fingerprintOf(await certificate(2)));
  });

  it('replaces nothing that is valid by a copy that has expired', async () => {
    const of = await world();
    const domains = ['n0.example.test'];
    await of.stores.frankfurt.reimport('f0', await content({ domains, notAfter: Date.UTC(2026, 0, 1, 0, 1) }));
    await of.bringEqual(of.linkTo('frankfurt', 'london'));
    of.stores.paris.put({ content: await certificate(0), metadata: described('n0') }, 'p0');
    await of.runtime.wait(120_000);
    const how = { from: of.tapped.london, replace: true, replaceOthers: true };
    const { lines } = await run(of, of.linkTo('paris', 'london'), how);
    expect(lines.find(({ name }) => name === 'n0')).toMatchObject({ action: 'held', target: 'p0', expired: true });
    expect(fingerprintOf((await held(of.stores.paris, 'p0')).content)).toBe(fingerprintOf(await certificate(0)));
  });

  it('takes some first, and the rest later', async () => {
    const of = await world();
    const link = of.linkTo('paris', 'london');
    await run(of, link, { from: of.tapped.london, wanted: (name) => name === 'n1' });
    expect((await holdings(of.stores.paris)).map(({ name }) => name)).toEqual(['n1']);
    await of.bringEqual(link);
    expect(of.stores.london.size()).toBe(3);
    const { there, moved } = await run(of, link, { from: of.tapped.london });
    expect([there, moved.length]).toEqual([1, 2]);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
  });

  it('leaves deleted certificates out unless they are asked for, and takes off what says so', async () => {
    const of = await world();
    const [copy] = (await of.stores.london.list({})).certificates;
    const { id = '', name = '', mark } = copy ?? {};
    const description = `Retained since 2026-01-01: the original is gone from the primary.\nnumber ${name.slice(1)}`;
    await of.stores.london.updateMetadata(id, { name, description, tags: ['shop'] }, wholeMark(mark));
    const link = of.linkTo('paris', 'london');
    expect(await run(of, link, { from: of.tapped.london })).toMatchObject({ retained: 1, moved: [{}, {}] });
    expect(await run(of, link, { from: of.tapped.london, retained: true })).toMatchObject({
      retained: 0,
      there: 2,
      moved: [{}],
    });
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
  });

  it('gives certificates their own names back where the backup knows no two of one name', async () => {
    const of = await world({ london: { abilities: { uniqueNames: true } } });
    expect((await holdings(of.stores.london))[0]?.name).toMatch(/^n0-[0-9a-f]{16}$/);
    const link = of.linkTo('paris', 'london');
    await run(of, link, { from: of.tapped.london, wanted: (name) => name === 'n0' });
    await run(of, link, { from: of.tapped.london });
    expect((await holdings(of.stores.paris)).map(({ name }) => name)).toEqual(['n0', 'n1', 'n2']);
    await of.bringEqual(link);
    expect(of.stores.london.size()).toBe(3);
  });

  it('into a target that fills up says so, and goes on when there is room', async () => {
    const of = await world({ certificates: 80 });
    const full = new CodedError('store_refused', 'the quota of the instance is reached');
    let room = 7;
    const narrow: Store = {
      ...of.tapped.paris,
      import: async (...args) => {
        if (room === 0) throw full;
        room -= 1;
        return of.tapped.paris.import(...args);
      },
    };
    const link = { ...of.linkTo('paris', 'london'), primary: narrow };
    await expect(run(of, link, { from: of.tapped.london })).rejects.toMatchObject({
      code: 'store_refused',
      message: 'the quota of the instance is reached; 7 of 80 certificates were moved before',
    });
    room = 100;
    expect(await run(of, link, { from: of.tapped.london })).toMatchObject({ there: 7, failed: [] });
    await expectMoved(
      of.stores.paris,
      of.stores.london,
      Array.from({ length: 80 }, (_, number) => number).sort((a, b) => (`n${a}` < `n${b}` ? -1 : 1)),
    );
  });

  it('stopped by a person keeps what it did, and goes on', async () => {
    const of = await world({ certificates: 80 });
    const link = of.linkTo('paris', 'london');
    const stopping = new AbortController();
    const why = new CodedError('interrupted', 'stopped by SIGINT');
    const stopped = run(of, link, {
      from: of.tapped.london,
      signal: stopping.signal,
      moved: () => stopping.abort(why),
    });
    await expect(stopped).rejects.toBe(why);
    expect(of.stores.paris.size()).toBeLessThan(80);
    const { there, moved } = await run(of, link, { from: of.tapped.london });
    expect(there).toBeGreaterThan(0);
    expect(moved.length).toBeLessThanOrEqual(80 - there);
    expect(of.stores.paris.size()).toBe(80);
    expect((await holdings(of.stores.paris)).filter(({ mark }) => mark !== undefined)).toEqual([]);
  });

  it('waits where a store limits, and counts no failure', async () => {
    const of = await world();
    let asked = 0;
    const limited: Store = {
      ...of.tapped.paris,
      import: async (...args) => {
        asked += 1;
        if (asked % 2 === 1) throw new CodedError('store_limited', 'slowly', { fields: { retryAfterMs: 5_000 } });
        return of.tapped.paris.import(...args);
      },
    };
    const before = of.runtime.now();
    expect(
      await run(of, { ...of.linkTo('paris', 'london'), primary: limited }, { from: of.tapped.london }),
    ).toMatchObject({ failed: [] });
    expect(of.runtime.now() - before).toBeGreaterThan(5_000);
  });

  it('an import whose answer was lost is found by its mark', async () => {
    const of = await world();
    const deaf: Store = {
      ...of.tapped.paris,
      import: async (...args) => {
        await of.tapped.paris.import(...args);
        throw new CodedError('store_unanswered', 'no answer came');
      },
    };
    const { failed } = await run(of, { ...of.linkTo('paris', 'london'), primary: deaf }, { from: of.tapped.london });
    expect(failed).toEqual([]);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
  });

  it('says what the stores limits make of it', async () => {
    const of = await world();
    const slow = { ...of.tapped.paris, abilities: { ...of.tapped.paris.abilities, requestsPerSecond: 0.5 } };
    const { secondsAtLeast, requests } = await run(
      of,
      { ...of.linkTo('paris', 'london'), primary: slow },
      { from: of.tapped.london },
    );
    expect(Object.fromEntries(requests)).toEqual({ london: 6, paris: 6 });
    expect(secondsAtLeast).toBe(12);
  });

  it('refuses stores that give no private keys back, as source and as the new primary, with nothing changed', async () => {
    const of = await world();
    const mute = (store: Store): Store => ({ ...store, abilities: { ...store.abilities, givesKeys: false } });
    const { london, paris } = of.tapped;
    const link = of.linkTo('paris', 'london');
    for (const kind of ['restore', 'failback'] as const) {
      await expect(run(of, link, { from: mute(london), kind })).rejects.toMatchObject({
        code: 'restore_source_withholds_keys',
      });
      await expect(run(of, { ...link, primary: mute(paris) }, { from: london, kind })).rejects.toMatchObject({
        code: 'restore_primary_withholds_keys',
      });
    }
    expect([of.stores.paris.size(), of.stores.london.size()]).toEqual([0, 3]);
    expect(await of.worker.linkRecords.boundTo('shop')).toBe('frankfurt');
  });

  it('moves what it can where one copy gives its key not back, and one has lost it', async () => {
    let first = '';
    const of = await world({ london: { withholds: (id) => id === first } });
    const [one, two] = (await of.stores.london.list({})).certificates;
    first = one?.id ?? '';
    const { leaf, chain } = (await held(of.stores.london, two?.id ?? '')).content;
    of.stores.london.put(
      { content: { leaf, chain }, metadata: two as DescriptiveMetadata, mark: two?.mark as Mark },
      two?.id ?? '',
    );
    const { moved, failed } = await run(of, of.linkTo('paris', 'london'), { from: of.tapped.london });
    expect(moved).toHaveLength(1);
    expect(failed.map(({ name, error }) => [name, error.code]).sort()).toEqual([
      [one?.name, 'certificate_key_withheld'],
      [two?.name, 'certificate_key_missing'],
    ]);
    expect(of.stores.paris.size()).toBe(1);
  });

  it('refuses what it cannot do, with nothing changed', async () => {
    const of = await world();
    const link = of.linkTo('paris', 'london');
    const refused = (more: Partial<RestoreOptions> & Pick<RestoreOptions, 'from'>) =>
      expect(run(of, link, more)).rejects.toMatchObject({ code: 'restore_refused' });
    await refused({ from: of.tapped.milan });
    await refused({ from: of.tapped.london, kind: 'failback' });
    await refused({ from: of.tapped.paris, kind: 'failback' });
    const leaving = new Error('leave it');
    await expect(run(of, link, { from: of.tapped.london, confirm: () => Promise.reject(leaving) })).rejects.toBe(
      leaving,
    );
    expect((await of.worker.linkRecords.bindingOf('shop')).primary).toBe('frankfurt');
    expect(of.stores.paris.size()).toBe(0);
    await of.bringEqual(of.linkTo('frankfurt', 'london'));
  });

  it('works where the table is lost too: the marks tell which primary was lost, and a run that was stopped is gone on with', async () => {
    const of = await world();
    const table = memoryTable();
    const worker = { ...of.worker, records: replicationRecords(table), linkRecords: linkRecords(table) };
    const elsewhere = { ...of, worker };
    const link = of.linkTo('paris', 'london');
    const { moved } = await run(elsewhere, link, { from: of.tapped.london, wanted: (name) => name === 'n1' });
    expect(moved.map(({ name }) => name)).toEqual(['n1']);
    expect(await worker.linkRecords.bindingOf('shop')).toMatchObject({ primary: 'paris', former: ['frankfurt'] });
    const rest = await run(elsewhere, link, { from: of.tapped.london });
    expect([rest.there, rest.moved.length]).toEqual([1, 2]);
    await expectMoved(of.stores.paris, of.stores.london, [0, 1, 2]);
    const { rows } = await idMap(worker, link, { marks: false });
    expect(rows.map(({ before }) => before.certificate)).toEqual(['f0', 'f1', 'f2']);
  });

  it('where the table is lost too, takes only what is its own: copies of other links stay, and several lost ones are asked about', async () => {
    const of = await world({ certificates: 1 });
    const metadata = { name: 'milanese', description: '', tags: [] };
    const mark = { store: 'milan', certificate: 'm9' };
    of.stores.london.put({ content: await certificate(9), metadata, mark }, 'copy-of-m9');
    const table = memoryTable();
    const elsewhere = {
      ...of,
      worker: { ...of.worker, records: replicationRecords(table), linkRecords: linkRecords(table) },
    };
    const link = of.linkTo('paris', 'london');
    await expect(run(elsewhere, link, { from: of.tapped.london })).rejects.toMatchObject({
      code: 'restore_refused',
      message: expect.stringMatching(/holds copies of (frankfurt and of milan|milan and of frankfurt)/),
    });
    expect(of.stores.paris.size()).toBe(0);
    const others = new Set(['milan']);
    const { moved } = await run(elsewhere, link, { from: of.tapped.london, others });
    expect(moved.map(({ name }) => name)).toEqual(['n0']);
  });

  it('is alone: a second one, or a reconcile, is refused while it runs', async () => {
    const of = await world();
    const link = of.linkTo('paris', 'london');
    const others: unknown[] = [];
    const alone = { ...of.worker, owner: { id: 'there', hasDied: () => false } };
    await restore(alone, link, {
      kind: 'restore',
      from: of.tapped.london,
      wanted: () => true,
      confirm: async () => {
        const second = restore(alone, link, { kind: 'restore', from: of.tapped.london, wanted: () => true });
        others.push(await second.catch(({ code }) => code));
      },
    });
    expect(others).toEqual(['reconcile_running']);
  });
});

describe('failback', () => {
  /**
   * Frankfurt was lost and Paris stood in; there n0 was renewed, n3 is new, and n2 is as it was.
   * Frankfurt is back as it was.
   */
  async function away(home: 'as it was' | 'empty', frankfurt: Partial<MemoryStoreOptions> = {}) {
    const of = await world({ frankfurt });
    const standIn = of.linkTo('paris', 'london');
    await run(of, standIn, { from: of.tapped.london });
    const paris = await holdings(of.stores.paris);
    await of.stores.paris.reimport(paris[0]?.id ?? '', await certificate(10));
    of.stores.paris.put({
      content: await certificate(3),
      metadata: { name: 'n3', description: 'number 3', tags: ['shop'] },
    });
    await of.bringEqual(standIn);
    if (home === 'empty')
      for (const { id } of (await of.stores.frankfurt.list({})).certificates) await of.stores.frankfurt.delete(id);
    return of;
  }
  const expectHome = async (of: World) => {
    const names = (await holdings(of.stores.frankfurt)).map(({ name, fingerprint, mark }) => ({
      name,
      fingerprint,
      mark,
    }));
    const expected = [10, 1, 2, 3].map(async (number, index) => ({
      name: `n${index}`,
      fingerprint: fingerprintOf(await certificate(number)),
      mark: undefined,
    }));
    expect(names).toEqual(await Promise.all(expected));
    const copies = (await holdings(of.stores.london)).map(({ name, fingerprint, mark }) => ({
      name,
      fingerprint,
      mark,
    }));
    const originals = (await holdings(of.stores.frankfurt)).map(({ id, name, fingerprint }) => ({
      name,
      fingerprint,
      mark: `frankfurt ${id}`,
    }));
    expect(copies).toEqual(originals);
  };

  it('brings home what changed, under the old ids, and points the link home', async () => {
    const of = await away('as it was');
    const described: string[] = [];
    const home: Store = {
      ...of.tapped.frankfurt,
      updateMetadata: (id, ...rest) => {
        described.push(id);
        return of.tapped.frankfurt.updateMetadata(id, ...rest);
      },
    };
    const link = { ...of.linkTo('frankfurt', 'london'), primary: home };
    const { lines } = await run(of, link, { kind: 'failback', from: of.tapped.paris });
    expect(lines.map(({ name, action, target }) => [name, action, target])).toEqual([
      ['n0', 'replace', 'f0'],
      ['n1', 'present', 'f1'],
      ['n2', 'present', 'f2'],
      ['n3', 'import', undefined],
    ]);
    // What is as it was is not written to.
    expect(described).not.toContain('f1');
    expect(described).not.toContain('f2');
    await expectHome(of);
    await of.bringEqual(link);
    await expectHome(of);
    const again = await run(of, link, { kind: 'failback', from: of.tapped.paris });
    expect(again.lines.map(({ action }) => action)).toEqual(['present', 'present', 'present', 'present']);
    await expectHome(of);
  });

  it.each([
    ['shown by listings', {}],
    ['shown by no listing', { abilities: { silentListings: true } } as const],
  ])('leaves what was renewed at home meanwhile, and copies that: %s', async (_, frankfurt) => {
    const of = await away('as it was', frankfurt);
    const newer = await content({ domains: ['n0.example.test'], notBefore: Date.UTC(2025, 0, 1) });
    await of.stores.frankfurt.reimport('f0', newer);
    const link = of.linkTo('frankfurt', 'london');
    const { lines } = await run(of, link, { kind: 'failback', from: of.tapped.paris });
    expect(lines[0]).toMatchObject({ name: 'n0', action: 'present', target: 'f0' });
    await of.bringEqual(link);
    const [, copied] = await Promise.all([of.stores.frankfurt, of.stores.london].map(holdings));
    expect((await held(of.stores.frankfurt, 'f0')).content.leaf.raw).toEqual(newer.leaf.raw);
    expect(copied?.map(({ fingerprint }) => fingerprint)).toContain(fingerprintOf(newer));
  });

  it('names what has an id of which no record can be kept, and brings the others home', async () => {
    const of = await away('as it was');
    const metadata = { name: 'n4', description: '', tags: [] };
    const id = 'i'.repeat(1_000);
    of.stores.paris.put({ content: await certificate(4), metadata }, id);
    const link = of.linkTo('frankfurt', 'london');
    const { notRead, failed } = await run(of, link, { kind: 'failback', from: of.tapped.paris });
    expect(notRead).toMatchObject([{ store: 'paris', place: id, error: { code: 'store_name_unreadable' } }]);
    expect(failed).toEqual([]);
    await expectHome(of);
  });

  it('into a home that was built anew imports everything', async () => {
    const of = await away('empty');
    const link = of.linkTo('frankfurt', 'london');
    const { lines } = await run(of, link, { kind: 'failback', from: of.tapped.paris });
    expect(lines.map(({ action }) => action)).toEqual(['import', 'import', 'import', 'import']);
    await expectHome(of);
  });

  it('makes the backup that was promoted a backup again', async () => {
    const of = await world();
    await run(of, of.linkTo('london', 'milan'), { from: of.tapped.london });
    const london = await holdings(of.stores.london);
    await of.stores.london.reimport(london[0]?.id ?? '', await certificate(10));
    of.stores.london.put({
      content: await certificate(3),
      metadata: { name: 'n3', description: 'number 3', tags: ['shop'] },
    });
    const link = of.linkTo('frankfurt', 'london');
    await run(of, link, { kind: 'failback', from: of.tapped.london });
    await expectHome(of);
    await of.bringEqual(link);
    await expectHome(of);
  });

  it('killed between any two calls, and begun again, it ends the same', async () => {
    let points = 0;
    for (let until = 1; until < 500; until += 1) {
      const of = await away('as it was');
      const link = of.linkTo('frankfurt', 'london');
      of.life.calls = 0;
      of.life.until = until;
      const died = await run(of, link, { kind: 'failback', from: of.tapped.paris }).then(
        ({ failed }) => failed.length > 0,
        () => true,
      );
      of.life.until = Number.POSITIVE_INFINITY;
      if (died) await run(of, link, { kind: 'failback', from: of.tapped.paris });
      await of.bringEqual(link);
      await expectHome(of);
      points += 1;
      if (!died) break;
    }
    expect(points).toBeGreaterThan(20);
  });
});

describe.each([0, 0.5])('restore, killed between any two calls (+%f), and begun again', (share) => {
  it.each(['paris', 'london'] as const)('into %s, ends the same', async (target) => {
    let points = 0;
    for (let until = 1; until < 500; until += 1) {
      const of = await world({ milan: true });
      const link = of.linkTo(target, 'milan', ...(target === 'paris' ? (['london'] as const) : []));
      of.life.until = until + share;
      const died = await run(of, link, { from: of.tapped.london }).then(
        ({ failed }) => failed.length > 0,
        () => true,
      );
      of.life.until = Number.POSITIVE_INFINITY;
      if (died) await run(of, link, { from: of.tapped.london });
      await of.bringEqual(link);
      for (const backup of link.backups)
        await expectMoved(of.stores[target], of.stores[backup.id as 'milan'], [0, 1, 2]);
      if (!died) break;
      points += 1;
    }
    expect(points).toBeGreaterThan(20);
  });
});

describe('the map of ids', () => {
  const mapOf = async (of: World, link: Link, { marks = true, others = new Set<string>() } = {}) => {
    const { rows, notListed } = await idMap(of.worker, link, { marks, others });
    const lines = rows.map(
      ({ name, before, now }) => `${name}: ${before.store} ${before.certificate} -> ${now.store} ${now.certificate}`,
    );
    return { lines, notListed };
  };
  const idsIn = async (store: MemoryStore) =>
    new Map((await store.list({})).certificates.map(({ name, id }) => [name, id] as const));

  it('is of all that was ever moved, whichever run moved it, and the same whenever it is asked for', async () => {
    const of = await world();
    const link = of.linkTo('paris', 'london');
    await run(of, link, { from: of.tapped.london, wanted: (name) => name === 'n1' });
    await of.bringEqual(link);
    await run(of, link, { from: of.tapped.london });
    await run(of, link, { from: of.tapped.london });
    const ids = await idsIn(of.stores.paris);
    const expected = ['n0', 'n1', 'n2'].map((name) => `${name}: frankfurt f${name.slice(1)} -> paris ${ids.get(name)}`);
    expect((await mapOf(of, link)).lines).toEqual(expected);
    expect((await mapOf(of, link, { marks: false })).lines).toEqual(expected);
  });

  it('leads from every id that a certificate ever had to the one it has', async () => {
    const of = await world({ certificates: 1 });
    await run(of, of.linkTo('paris', 'london'), { from: of.tapped.london });
    await of.bringEqual(of.linkTo('paris', 'london'));
    const away = (await idsIn(of.stores.paris)).get('n0');
    const home = of.linkTo('frankfurt', 'london');
    await run(of, home, { kind: 'failback', from: of.tapped.paris });
    expect((await mapOf(of, home)).lines).toEqual([`n0: paris ${away} -> frankfurt f0`]);
    await of.bringEqual(home);
    await of.stores.frankfurt.delete('f0');
    await run(of, of.linkTo('milan', 'london'), { from: of.tapped.london });
    const last = (await idsIn(of.stores.milan)).get('n0');
    expect((await mapOf(of, of.linkTo('milan', 'london'))).lines).toEqual([
      `n0: frankfurt f0 -> milan ${last}`,
      `n0: paris ${away} -> milan ${last}`,
    ]);
  });

  it('is told by marks alone where the table knows nothing: what is on its way, and what a backup still calls by its old id', async () => {
    const of = await world();
    const link = of.linkTo('paris', 'london');
    // Killed after the first import, before it was written down.
    const metadata = { name: 'n0', description: '', tags: [] };
    of.stores.paris.put(
      { content: await certificate(0), metadata, mark: { store: 'frankfurt', certificate: 'f0' } },
      'p0',
    );
    // Imported by hand on another machine.
    of.stores.paris.put({ content: await certificate(1), metadata: { ...metadata, name: 'by hand' } }, 'p1');
    // A copy of another link, whose primary is frankfurt's neighbour.
    of.stores.paris.put({ content: await certificate(3), metadata, mark: { store: 'milan', certificate: 'm3' } }, 'p3');
    const elsewhere = linkRecords(memoryTable());
    const { rows } = await idMap({ ...of.worker, linkRecords: elsewhere }, link, {
      marks: true,
      others: new Set(['milan']),
    });
    expect(rows.map(({ name, before, now }) => [name, before.certificate, now.certificate])).toEqual([
      ['by hand', 'f1', 'p1'],
      ['n0', 'f0', 'p0'],
    ]);
  });

  it('is as whole as the table knows it where a store is gone, and says which one', async () => {
    const of = await world({ certificates: 1 });
    const link = of.linkTo('paris', 'london');
    await run(of, link, { from: of.tapped.london });
    const gone = { ...of.tapped.paris, list: () => Promise.reject(new CodedError('store_unavailable', 'not reached')) };
    const { lines, notListed } = await mapOf(of, { ...link, primary: gone });
    expect(lines).toEqual([expect.stringMatching(/^n0: frankfurt f0 -> paris /)]);
    expect(notListed).toMatchObject([{ store: 'paris', error: { code: 'store_unavailable' } }]);
  });
});
