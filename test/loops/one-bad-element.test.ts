import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { download } from '../../src/archive/download.ts';
import { type ImportOptions, planImport } from '../../src/archive/import.ts';
import { pemFolderWriter } from '../../src/archive/pem-folder.ts';
import { openArchive } from '../../src/archive/read-archive.ts';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { CodedError } from '../../src/errors.ts';
import { linkFigures } from '../../src/monitor/figures.ts';
import type { UnreadableRecord } from '../../src/records/replication-record.ts';
import { acknowledgedEvents } from '../../src/replication/events.ts';
import { compare } from '../../src/replication/reconcile/compare.ts';
import { type PlanLine, planReconcile } from '../../src/replication/reconcile/plan.ts';
import { statusOf } from '../../src/replication/status.ts';
import { sweep } from '../../src/replication/sweep.ts';
import { vanishedTally } from '../../src/replication/vanished.ts';
import { verify } from '../../src/replication/verify.ts';
import { systemRuntime } from '../../src/runtime.ts';
import type { Reading, Store, StoredCertificate } from '../../src/store/store.ts';
import { fill, reconcileAll } from '../support/estate.ts';
import { content, type Setup, setup, startMs } from '../support/replication.ts';

/**
 * Every loop over certificates, copies, links, stores, files and records, with one bad element
 * among good ones: it throws, it never answers, or it is huge. The others are done, and the bad one
 * is named. A new loop is a line of the table. Commands, with their exit codes, run through
 * `one-bad-of-several.test.ts`.
 */

/** How an element is bad. */
type Fault = 'throws' | 'hangs' | 'is huge';
const faults: readonly Fault[] = ['throws', 'hangs', 'is huge'];

/** What a loop did: ids (or names, or paths) of what was done, and what it said of the rest. */
interface Outcome {
  readonly done: readonly string[];
  readonly named: string;
}

interface Loop {
  readonly name: string;
  /**
   * Those that an element of this loop can have: a row of a table is read with its page, and does
   * not hang by itself.
   */
  readonly faults?: readonly Fault[];
  /** Runs over elements of which the second is bad. */
  readonly run: (fault: Fault) => Promise<Outcome>;
  /** What is to be done all the same, and how the bad one is called. */
  readonly good: readonly string[];
  readonly bad: string;
}

let contents: CertificateContent[];
beforeAll(async () => {
  contents = await Promise.all([1, 2, 3].map((number) => content({ domains: [`host-${number}.example.test`] })));
});

const failure = new CodedError('store_content_unreadable', 'it cannot be read');
const never = <T>() => new Promise<T>(() => undefined);

/** A read as the fault has it. */
function badRead(fault: Fault): Promise<Reading<StoredCertificate>> {
  if (fault === 'hangs') return never();
  if (fault === 'throws') return Promise.reject(failure);
  const error = new CodedError('certificate_too_large', 'it has far too many bytes');
  return Promise.resolve({ state: 'unreadable', error });
}

/** Three certificates, equal in the backup. */
async function estate(): Promise<Setup> {
  const world = await setup({ reconciled: false });
  fill(world, contents);
  await reconcileAll(world);
  return world;
}

/**
 * The same, with the record of the second damaged: a field of another type, or one that is far too
 * long.
 */
async function damagedEstate(fault: Fault): Promise<Setup> {
  const world = await estate();
  const set = fault === 'throws' ? { requested: 'many' } : { lastError: 'x'.repeat(100_000) };
  await world.table.tap.update({ partition: 'replication.1/main', sort: 'c2' }, { set });
  await expect(world.records.get('main', 'c2')).rejects.toMatchObject({ code: 'table_row_unreadable' });
  return world;
}

/** Lets virtual time run until it is done. */
async function inTime<T>(world: Setup, work: Promise<T>): Promise<T> {
  let ended = false;
  const result = work.finally(() => {
    ended = true;
  });
  result.catch(() => undefined);
  for (let rounds = 0; !ended && rounds < 1_000; rounds += 1) await world.later(1_000);
  return result;
}

const rows: readonly Fault[] = ['throws', 'is huge'];
const others = ['c1', 'c3'];

/** A folder of three certificates, of which the second has something else in place of a file. */
async function soup(fault: Fault, file: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-loops-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const from = (await estate()).primary.store;
  const path = join(folder, 'archive');
  await download(systemRuntime, from, await pemFolderWriter(path), { wanted: () => true });
  const at = join(path, 'name 2', file);
  rmSync(at);
  if (fault === 'throws') mkdirSync(at);
  if (fault === 'hangs') execFileSync('mkfifo', [at]);
  if (fault === 'is huge') symlinkSync('/dev/zero', at);
  return path;
}

async function importOf(path: string, options: Partial<ImportOptions> = {}, into?: (store: Store) => Store) {
  const world = await setup();
  const done: string[] = [];
  const named: string[] = [];
  const store = into?.(world.backups[0]?.store as Store) ?? (world.backups[0]?.store as Store);
  const { entries } = await openArchive(path, {});
  const plan = await planImport(systemRuntime, store, entries, {
    wanted: () => true,
    done: ({ name }) => done.push(name),
    failed: ({ name }, { message }) => named.push(`${name}: ${message}`),
    ...options,
  });
  await plan.apply();
  return { done, named: [...named, ...plan.refused.map(({ error }) => error.message)].join('\n') };
}

const loops: readonly Loop[] = [
  {
    name: 'verify: originals',
    good: others,
    bad: 'c2',
    async run(fault) {
      const world = await estate();
      world.primary.hooks.read = (proceed, id, options) => (id === 'c2' ? badRead(fault) : proceed(id, options));
      return verifiedIn(world);
    },
  },
  {
    name: 'verify: copies',
    good: others,
    bad: 'c2',
    async run(fault) {
      const world = await estate();
      const backup = world.backups[0];
      if (backup === undefined) throw new Error('no backup');
      const { backups } = (await world.records.get('main', 'c2')) ?? {};
      const copy = backups?.[0]?.id;
      backup.hooks.read = (proceed, id, options) => (id === copy ? badRead(fault) : proceed(id, options));
      return verifiedIn(world);
    },
  },
  {
    name: 'verify: records',
    faults: rows,
    good: ['c1', 'c2', 'c3'],
    bad: '',
    run: async (fault) => verifiedIn(await damagedEstate(fault)),
  },
  {
    name: 'reconcile: records',
    faults: rows,
    good: others,
    bad: 'the record of c2',
    async run(fault) {
      const world = await damagedEstate(fault);
      const { notRead, asks } = await compare(world.worker, world.link, { full: true });
      return { done: [...asks.keys()], named: notRead.map(({ place }) => place).join('\n') };
    },
  },
  {
    name: 'reconcile --plan: certificates',
    faults: ['throws'],
    good: others,
    bad: 'c2',
    async run() {
      const world = await setup({ reconciled: false });
      fill(world, contents);
      const { worker, link } = world;
      const comparison = await compare(worker, link, { full: true });
      const get = (its: string, id: string) => (id === 'c2' ? Promise.reject(failure) : worker.records.get(its, id));
      const lines: PlanLine[] = [];
      const line = (each: PlanLine) => void lines.push(each);
      await planReconcile({ ...worker, records: { ...worker.records, get } }, link, { comparison, line });
      const [written, rest] = [true, false].map((is) => lines.filter(({ outcome }) => (outcome === 'write') === is));
      return {
        done: (written ?? []).map(({ certificate }) => certificate),
        named: (rest ?? [])
          .map(({ certificate, outcome, problem }) => `${certificate} ${outcome} ${problem}`)
          .join('\n'),
      };
    },
  },
  {
    name: 'status: records',
    faults: rows,
    good: ['2 equal'],
    bad: 'c2',
    async run(fault) {
      const world = await damagedEstate(fault);
      const { counts, stuck } = await statusOf(world.worker, world.link);
      return { done: [`${counts.equal} equal`], named: JSON.stringify(stuck) };
    },
  },
  {
    name: 'events: records',
    faults: rows,
    good: others,
    bad: 'c2',
    async run(fault) {
      const world = await damagedEstate(fault);
      for (const id of others) await world.ask(id, { eventAt: startMs });
      const named: string[] = [];
      const unreadable = ({ error }: UnreadableRecord) => void named.push(error.message);
      const events = await acknowledgedEvents(world.records, world.link, { most: 10, unreadable });
      return { done: events.map(({ certificate }) => certificate).sort(), named: named.join('\n') };
    },
  },
  {
    name: 'metrics: records',
    faults: rows,
    good: ['2 equal'],
    bad: 'table_row_unreadable',
    async run(fault) {
      const { records, link } = await damagedEstate(fault);
      const unreadable: UnreadableRecord[] = [];
      const figures = await linkFigures(
        link,
        records.all('main', (record) => void unreadable.push(record)),
        { lost: vanishedTally(link, startMs, undefined), standing: undefined, unreadable },
      );
      return { done: [`${figures.states.equal} equal`], named: [...figures.failing.keys()].join('\n') };
    },
  },
  {
    name: 'sweep: links',
    faults: ['throws'],
    good: ['main'],
    bad: 'other',
    async run() {
      const world = await setup();
      await world.ask('c1');
      world.table.hooks.queryIndex = (proceed, query) =>
        JSON.stringify(query).includes('other') ? Promise.reject(failure) : proceed(query);
      const named: string[] = [];
      const woken: string[] = [];
      const dispatch = {
        dispatch: async (wakes: readonly { link: string }[]) => void woken.push(...wakes.map(({ link }) => link)),
      };
      const log = (_level: string, _event: string, fields?: object) => void named.push(JSON.stringify(fields));
      await sweep({ ...world.worker, dispatch, log }, [{ ...world.link, name: 'other' }, world.link]);
      return { done: woken, named: named.join('\n') };
    },
  },
  {
    name: 'download: certificates',
    good: ['name 1', 'name 3'],
    bad: 'name 2',
    async run(fault) {
      const world = await estate();
      world.primary.hooks.read = (proceed, id, options) => (id === 'c2' ? badRead(fault) : proceed(id, options));
      const folder = mkdtempSync(join(tmpdir(), 'certstandby-loops-'));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      const done: string[] = [];
      const runtime = { ...systemRuntime, now: world.time.now, wait: world.time.wait };
      const writer = await pemFolderWriter(join(folder, 'archive'));
      const downloading = download(runtime, world.primary.tap, writer, {
        wanted: () => true,
        downloaded: ({ name }) => done.push(name),
      });
      const { missing } = await inTime(world, downloading);
      return { done, named: missing.map(({ name }) => name).join('\n') };
    },
  },
  ...['fullchain.pem', 'privkey.pem', 'certstandby.json'].map(
    (file): Loop => ({
      name: `import: ${file} of one certificate`,
      good: ['name 1', 'name 3'],
      bad: `name 2/${file}`,
      run: async (fault) => importOf(await soup(fault, file)),
    }),
  ),
  {
    name: 'import: what the store takes',
    faults: ['throws'],
    good: ['name 1', 'name 3'],
    bad: 'name 2',
    async run() {
      const path = await soup('throws', 'chain.pem').catch(() => soup('throws', 'cert.pem'));
      rmSync(join(path, 'name 2'), { recursive: true });
      cpSync(join(path, 'name 1'), join(path, 'name 2'), { recursive: true });
      writeFileSync(join(path, 'name 2', 'certstandby.json'), '{ "format": 1, "name": "name 2" }');
      return importOf(path, {}, (store) => ({
        ...store,
        import: async (given, options) => {
          if (given.metadata.name === 'name 2') throw failure;
          return store.import(given, options);
        },
      }));
    },
  },
];

async function verifiedIn(world: Setup): Promise<Outcome> {
  const done: string[] = [];
  const named: string[] = [];
  await inTime(
    world,
    verify(world.worker, world.link, {
      finding: ({ state, certificate = '', name, problem }) => {
        if (problem) named.push(`${certificate} ${name} ${state}`);
        else done.push(certificate);
      },
    }),
  );
  // Of a certificate that something is wrong with, more may be said that is good.
  const good = done.filter((certificate) => !named.some((words) => words.startsWith(`${certificate} `)));
  return { done: good.sort(), named: named.join('\n') };
}

describe.each(loops)('$name', ({ faults: its = faults, run, good, bad }) => {
  test.each(its)('one that %s is named, and the others are done', async (fault) => {
    const { done, named } = await run(fault);
    expect(done).toEqual(good);
    expect(named).toContain(bad);
  });
});
