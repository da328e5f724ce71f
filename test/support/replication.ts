import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import type { LogFields } from '../../src/log.ts';
import { idempotencyRecords } from '../../src/records/idempotency-records.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import type { ReplicationRecord } from '../../src/records/replication-record.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import type { Filter, Link, Policy } from '../../src/replication/link.ts';
import { type ReplicateAnswer, replicate } from '../../src/replication/pass/replicate.ts';
import { sharedListings } from '../../src/replication/shared-listing.ts';
import { defaultTiming, type Timing } from '../../src/replication/timing.ts';
import type { Worker } from '../../src/replication/worker.ts';
import type { Mark } from '../../src/store/mark.ts';
import { type MemoryStore, type MemoryStoreOptions, memoryStore } from '../../src/store/memory.ts';
import type { DescriptiveMetadata, StoredCertificate } from '../../src/store/store.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';
import { type VirtualTime, virtualTime } from '../simulation/virtual-time.ts';
import { type TestCertificateOptions, testCertificate } from './certificates.ts';

/** When the virtual clock of a test begins. */
export const startMs = Date.UTC(2026, 0, 1);

/** What a test does in place of a call; `proceed` makes the call after all. */
type Hooks<T> = {
  [K in keyof T]?: T[K] extends ((...args: infer A) => infer R) | undefined
    ? (proceed: (...args: A) => R, ...args: A) => R
    : never;
};

/**
 * Something whose asynchronous calls are written down, take their time, and can be tampered with.
 */
export interface Tapped<T> {
  readonly tap: T;
  readonly hooks: Hooks<T>;
}

/**
 * The clock and the journal of a test. A line of the journal is
 * `<milliseconds since the start> <name> <method>`.
 */
export interface Journal {
  readonly time: VirtualTime;
  readonly calls: string[];
  /** How long each call takes, in virtual milliseconds. 0: none, and no time has to run. */
  latencyMs: number;
}

function tapped<T extends object>(
  target: T,
  name: string,
  methods: readonly (keyof T & string)[],
  journal: Journal,
): Tapped<T> {
  type Call = (...args: unknown[]) => unknown;
  const hooks: Hooks<T> = {};
  const replaced = methods.flatMap((method) => {
    const original = target[method] as Call | undefined;
    if (original === undefined) return [];
    const call = async (...args: unknown[]) => {
      journal.calls.push(`${journal.time.now() - startMs} ${name} ${method}`);
      if (journal.latencyMs > 0) await journal.time.wait(journal.latencyMs);
      const hook = hooks[method] as ((proceed: Call, ...args: unknown[]) => unknown) | undefined;
      return hook === undefined ? original(...args) : hook(original, ...args);
    };
    return [[method, call]];
  });
  return { tap: { ...target, ...Object.fromEntries(replaced) }, hooks };
}

export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly fields: LogFields;
}

export interface SetupOptions {
  /** One entry for each backup. */
  readonly backups?: readonly Partial<MemoryStoreOptions>[];
  readonly primary?: Partial<MemoryStoreOptions>;
  readonly policy?: Partial<Policy>;
  readonly filter?: Partial<Filter>;
  readonly timing?: Partial<Timing>;
  /** Whether the first reconcile has been completed. Default true. */
  readonly reconciled?: boolean;
  /** Always the same chance, so that backoff can be told. Default 0: the shortest. */
  readonly random?: () => number;
}

type Backup = Tapped<MemoryStore> & { readonly store: MemoryStore };

const storeCalls = [
  'list',
  'readMetadata',
  'read',
  'findByMark',
  'import',
  'reimport',
  'updateMetadata',
  'delete',
] as const;
const tableCalls = ['get', 'update', 'putIfAbsent', 'delete', 'query', 'queryIndex'] as const;

/** One link `main` of memory stores on a memory table, in virtual time; everything tapped. */
export async function setup(options: SetupOptions = {}) {
  const { backups: backupOptions = [{}], reconciled = true, random = () => 0 } = options;
  const time = virtualTime(startMs, random);
  const journal: Journal = { time, calls: [], latencyMs: 0 };
  const lines: LogLine[] = [];
  const timing: Timing = { ...defaultTiming, ...options.timing };

  function makeStore(id: string, own: Partial<MemoryStoreOptions> = {}): Backup {
    let ids = 0;
    const newId = () => {
      ids += 1;
      return `${id}-${ids}`;
    };
    const store = memoryStore({ id, region: `region-of-${id}`, runtime: { ...time, now: time.now, newId }, ...own });
    return { store, ...tapped(store, id, storeCalls, journal) };
  }

  const table: Tapped<Table> = tapped(memoryTable(), 'table', tableCalls, journal);
  const records = replicationRecords(table.tap);
  const linkRows = linkRecords(table.tap);
  const primary = makeStore('primary', options.primary);
  const backups = backupOptions.map((own, index) => makeStore(`backup${index === 0 ? '' : index + 1}`, own));
  const link: Link = {
    name: 'main',
    primary: primary.tap,
    backups: backups.map(({ tap }) => tap),
    filter: { names: [], domains: [], ...options.filter },
    policy: { requireChain: false, onward: false, ...options.policy },
  };
  const log = (level: string, event: string, fields: LogFields = {}) => void lines.push({ level, event, fields });
  const newWorker = (): Worker => ({
    records,
    linkRecords: linkRows,
    listings: sharedListings(time),
    runtime: time,
    timing,
    log,
  });
  const worker = newWorker();
  if (reconciled)
    await linkRows.noteReconciled(
      link.name,
      backups.map(({ store }) => store.id),
      startMs - 1,
    );
  journal.calls.length = 0;

  /**
   * Lets virtual time run until the promise is settled, a millisecond at a time, at most so long.
   */
  async function finish<T>(promise: Promise<T>, mostMs = 200_000): Promise<T> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    promise.then(done, done);
    const until = time.now() + mostMs;
    while (!settled && time.now() < until) await time.runUntil(time.now() + 1, 1_000);
    if (!settled) throw new Error(`not settled after ${mostMs} ms of virtual time`);
    return promise;
  }

  return {
    ...journal,
    journal,
    lines,
    timing,
    table,
    records,
    linkRecords: linkRows,
    notifications: idempotencyRecords(table.tap),
    primary,
    backups,
    backup: backups[0] as Backup,
    link,
    log,
    worker,
    newWorker,
    finish,
    /** Moves the clock on. */
    later: (milliseconds: number) => time.runUntil(time.now() + milliseconds, 10_000),
    ask: (certificate: string, more: { eventAt?: number; occurredAt?: number; doubt?: number } = {}) =>
      records.ask({ link: link.name, certificate, now: time.now(), ...more }),
    pass: (certificate: string): Promise<ReplicateAnswer> => replicate(worker, link, certificate),
    async record(certificate: string): Promise<ReplicationRecord> {
      const found = await records.get(link.name, certificate);
      if (found === undefined) throw new Error(`there is no record of ${certificate}`);
      return found;
    },
    /** Writes fields of the row directly. */
    tamper: (certificate: string, fields: Readonly<Record<string, number | string | null>>) =>
      table.tap.update({ partition: `replication.1/${link.name}`, sort: certificate }, { set: fields }),
  };
}

export type Setup = Awaited<ReturnType<typeof setup>>;

/** Asks for a certificate, and makes one pass. */
export async function askAndPass(world: Setup, certificate: string): Promise<ReplicateAnswer> {
  await world.ask(certificate);
  return world.pass(certificate);
}

/**
 * A world in which the certificate `c1`, named `shop`, has been replicated, and nothing is left to
 * do.
 */
export async function replicated(held: CertificateContent, options: SetupOptions = {}): Promise<Setup> {
  const world = await setup(options);
  world.primary.store.put({ content: held, metadata: described('shop') }, 'c1');
  await askAndPass(world, 'c1');
  world.calls.length = 0;
  world.lines.length = 0;
  return world;
}

/** The writes among the calls to stores, without their moments. */
export function writesIn(world: Setup): readonly string[] {
  return world.calls
    .map((call) => call.replace(/^\d+ /, ''))
    .filter((call) => /^(?!table ).* (import|reimport|updateMetadata|delete)$/.test(call));
}

/** What was logged, without what only a developer reads. */
export function told(world: Setup): readonly LogLine[] {
  return world.lines.filter(({ level }) => level !== 'debug');
}

/** What a store holds under an id. Throws if it cannot be read. */
export async function held(store: MemoryStore, id: string): Promise<StoredCertificate> {
  const reading = await store.read(id);
  if (reading.state !== 'present') throw new Error(`${store.id} holds no ${id} that can be read: ${reading.state}`);
  return reading.value;
}

/** A certificate that is good in every respect unless told otherwise. */
export async function content(options: TestCertificateOptions = {}): Promise<CertificateContent> {
  return parseContent(await testCertificate(options));
}

export const described = (name: string, description = ''): DescriptiveMetadata => ({ name, description, tags: [] });

/** The mark of a copy of a certificate of the primary of `setup`. */
export const markOf = (certificate: string): Mark => ({ store: 'primary', certificate });
