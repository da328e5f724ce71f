import { CodedError } from '../../src/errors.ts';
import type { Runtime } from '../../src/runtime.ts';
import type { Mark } from '../../src/store/mark.ts';
import type { CallOptions, OperationAsked, Reading, Store } from '../../src/store/store.ts';
import type { Key, Table } from '../../src/table/table.ts';
import { ownContent, type SimulatedStore } from './simulated-store.ts';
import type { VirtualTime } from './virtual-time.ts';

/** What can go wrong at a call, and how likely each is while faults are on. */
const faults = {
  'crash-before': 0.006,
  'crash-after': 0.006,
  stall: 0.01,
  'error-before': 0.03,
  limited: 0.02,
  'limited-until': 0.01,
  'lost-answer': 0.03,
  'lands-late': 0.02,
  slow: 0.02,
} as const;

/** `down`: a call to a store while nothing there answers, for minutes. */
export type Fault = keyof typeof faults | 'down';

/**
 * Writes to a store; and those to the row of a certificate that have a condition, as claims and
 * commits.
 */
type OftenerWrong = 'removal' | 'import' | 'reimport' | 'row';

/** A share of one kind of call that goes wrong in one way: then `sent` is called. */
interface Oftener {
  readonly fault: Fault & keyof typeof faults;
  readonly share: number;
  /** How long a process stalls at the most. */
  readonly stallMs?: number;
  /**
   * The copy that is written to in this store, or the certificate that is imported, or that of the
   * row.
   */
  sent: (id: string, store: string) => void;
}

export interface FaultSource {
  /** Whether faults happen now. */
  on: boolean;
  readonly counts: Map<Fault, number>;
  /** Writes of which nobody heard what became of them, by store. */
  readonly unheard: Map<string, number>;
  /**
   * Writes that landed later than their store says that they can, by store: their sender was
   * stalled.
   */
  readonly overdue: Map<string, number>;
  /**
   * By write, until when a store has asked not to be asked again, and `recordsAtRisk` at that
   * moment.
   */
  readonly waits: Map<string, { readonly until: number; readonly recordsAtRisk: number }>;
  /** What may have kept a record from being written. */
  recordsAtRisk: number;
  /**
   * Writes that were sent although a store had asked to wait, and nothing had kept the record of
   * that from being written.
   */
  early: number;
  /** The stores that are down. */
  readonly down: Set<string>;
  /** How far the clocks of two processes may be apart. */
  readonly clocksApartMs: number;
  /** Calls that go wrong oftener than others, beside what goes wrong with any. */
  readonly oftener: { readonly [Kind in OftenerWrong]?: Oftener };
  readonly trace: (line: string) => void;
}

/**
 * Starts a process with a clock that is off by `skewMs` from `now`. Its memory is whatever hangs on
 * promises that its calls resolve: a dead one's never do.
 */
export function startProcess(time: VirtualTime, skewMs: number, died: () => void, now = time.now) {
  let dead = false;
  let frozenUntil = 0;
  const never = new Promise<never>(() => {});

  /** Resolves when the process runs: at once, after the stall, or never. */
  async function awake(): Promise<void> {
    while (!dead && time.now() < frozenUntil) await time.wait(frozenUntil - time.now());
    if (dead) await never;
  }

  const runtime: Runtime = {
    now: () => now() + skewMs,
    random: time.random,
    newId: time.newId,
    async wait(milliseconds, signal) {
      await time.wait(milliseconds, signal);
      await awake();
    },
  };
  return {
    runtime,
    awake,
    never,
    get dead() {
      return dead;
    },
    stall(milliseconds: number) {
      frozenUntil = Math.max(frozenUntil, time.now() + milliseconds);
    },
    crash() {
      if (dead) return;
      dead = true;
      died();
    },
  };
}

type Process = ReturnType<typeof startProcess>;

interface CallKind {
  readonly name: string;
  readonly writes: boolean;
  /** What it is about, if it is one of those that may go wrong oftener. */
  readonly about?: { readonly kind: OftenerWrong; readonly id: string } | undefined;
  /**
   * It is about no certificate: whichever comes first sends it, and where one is asked to wait,
   * that is in its record, which the others do not read.
   */
  readonly ofNone?: boolean;
  /** The store that is called; absent for the table. */
  readonly store?: string;
  /** How long the request may take to land when nobody waits for it any more. */
  readonly settlesMs: number;
  readonly failures: {
    readonly unavailable: () => CodedError;
    readonly unanswered: () => CodedError;
    readonly limited?: (retryAfterMs?: number) => CodedError;
  };
}

/** Sends one request of a process, through whatever goes wrong on the way. */
async function send<T>(
  time: VirtualTime,
  process: Process,
  source: FaultSource,
  kind: CallKind,
  land: () => Promise<T>,
): Promise<T> {
  const sentAt = time.now();
  const apply = () => {
    const { store = '', writes, settlesMs } = kind;
    if (writes && time.now() - sentAt > settlesMs) source.overdue.set(store, (source.overdue.get(store) ?? 0) + 1);
    return land();
  };
  await process.awake();
  const wait = kind.writes ? source.waits.get(kind.name) : undefined;
  if (wait !== undefined && sentAt < wait.until && wait.recordsAtRisk === source.recordsAtRisk) source.early += 1;
  await time.wait(1 + Math.floor(time.random() * 20));
  if (source.down.has(kind.store ?? '')) {
    source.counts.set('down', (source.counts.get('down') ?? 0) + 1);
    await process.awake();
    throw kind.failures.unavailable();
  }
  const fault = source.on ? faultAt(time, source, kind) : undefined;
  const limited = fault === 'limited' || fault === 'limited-until';
  if (fault === undefined || (limited && kind.failures.limited === undefined)) {
    const value = await attempt(apply);
    if (source.on) await time.wait(1 + Math.floor(time.random() * 20));
    await process.awake();
    return value();
  }
  source.counts.set(fault, (source.counts.get(fault) ?? 0) + 1);
  source.trace(`${time.now()} fault ${fault} at ${kind.name}`);
  if (kind.writes && kind.store !== undefined) {
    source.unheard.set(kind.store, (source.unheard.get(kind.store) ?? 0) + 1);
  }
  const losesRecord = kind.writes && kind.store === undefined;
  if (losesRecord || fault === 'stall' || fault.startsWith('crash')) source.recordsAtRisk += 1;
  switch (fault) {
    case 'crash-before':
      process.crash();
      return process.never;
    case 'crash-after':
      await attempt(apply);
      process.crash();
      return process.never;
    case 'stall': {
      process.stall(5_000 + time.random() * (source.oftener[kind.about?.kind ?? 'removal']?.stallMs ?? 240_000));
      await process.awake();
      const value = await attempt(apply);
      await process.awake();
      return value();
    }
    case 'slow': {
      await time.wait(time.random() * Math.min(30_000, kind.settlesMs));
      const value = await attempt(apply);
      await process.awake();
      return value();
    }
    case 'error-before':
      await process.awake();
      throw kind.failures.unavailable();
    case 'limited':
      throw kind.failures.limited?.();
    case 'limited-until': {
      const waitMs = Math.ceil(time.random() * 90_000);
      const { recordsAtRisk } = source;
      if (kind.ofNone !== true)
        source.waits.set(kind.name, { until: time.now() + waitMs - source.clocksApartMs, recordsAtRisk });
      throw kind.failures.limited?.(waitMs);
    }
    case 'lost-answer':
      await attempt(apply);
      await time.wait(time.random() * 3_000);
      await process.awake();
      throw kind.failures.unanswered();
    case 'lands-late':
      if (kind.writes) time.at(time.now() + time.random() * kind.settlesMs, () => void attempt(apply));
      await time.wait(time.random() * 10_000);
      await process.awake();
      throw kind.failures.unanswered();
  }
}

/** Runs the request; what it throws is thrown when the answer is taken, not when it lands. */
async function attempt<T>(apply: () => Promise<T>): Promise<() => T> {
  try {
    const value = await apply();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

function faultAt({ random }: VirtualTime, { oftener }: FaultSource, { store = '', about }: CallKind) {
  const wrong = about && oftener[about.kind];
  // Dice are thrown for this only where it may be so: the other worlds stay what they always were.
  if (about === undefined || wrong === undefined || random() > wrong.share) return pick(random());
  wrong.sent(about.id, store);
  return wrong.fault;
}

function pick(chance: number): keyof typeof faults | undefined {
  let left = chance;
  for (const [fault, share] of Object.entries(faults) as [keyof typeof faults, number][]) {
    left -= share;
    if (left < 0) return fault;
  }
  return undefined;
}

/**
 * The certificate of a mark, after its store where that is not the first primary: two primaries may
 * use the same ids.
 */
const named = (mark: Mark | undefined) =>
  mark === undefined || mark.store === 'primary' ? mark?.certificate : `${mark.store} ${mark.certificate}`;

/** The call that gives a store its identity. */
const naming = 'naming';

/** A process's way to a store. */
export function storeFrom(
  time: VirtualTime,
  process: Process,
  source: FaultSource,
  store: Store & Pick<Partial<SimulatedStore>, 'twoSteps'>,
): Store {
  const failures = {
    unavailable: () => new CodedError('store_unavailable', `${store.id} is not reached`),
    unanswered: () => new CodedError('store_unanswered', `${store.id} does not answer`),
    limited: (retryAfterMs?: number) =>
      new CodedError(
        'store_limited',
        `${store.id} limits requests`,
        retryAfterMs === undefined ? {} : { fields: { retryAfterMs } },
      ),
  };
  const { settlesMs } = store.abilities;
  const call = <T>(name: string, writes: boolean, apply: () => Promise<T>, about?: CallKind['about']) => {
    const ofNone = name === naming;
    const kind = { name: `${store.id} ${name}`, store: store.id, writes, about, ofNone, settlesMs, failures };
    return send(time, process, source, kind, apply);
  };
  const read = async <T>(name: string, apply: () => Promise<Reading<T>>): Promise<Reading<T>> => {
    try {
      return await call(name, false, apply);
    } catch (error) {
      return { state: 'unreadable', error: error as CodedError };
    }
  };
  const { findByMark, identity, giveIdentity, operation, twoSteps } = store;
  return {
    ...store,
    ...(operation && {
      operation: (asked: OperationAsked) => call('operation', false, () => operation(asked)),
    }),
    ...(identity && { identity: () => call('identity', false, () => identity()) }),
    ...(giveIdentity && { giveIdentity: (given: string) => call(naming, true, () => giveIdentity(given)) }),
    list: (request) => call('list', false, () => store.list(request)),
    readMetadata: (id) => read(`metadata ${id}`, () => store.readMetadata(id)),
    read: (id) => read(`read ${id}`, () => store.read(id)),
    ...(findByMark
      ? { findByMark: (mark, options?: CallOptions) => call('find', false, () => findByMark(mark, options)) }
      : {}),
    // A request that was sent holds what it holds, whatever becomes of the sender's key.
    async import(entry) {
      const sent = { ...entry, content: ownContent(entry.content) };
      const of = named(entry.mark);
      if (twoSteps === undefined)
        return call(`import of ${of}`, true, () => store.import(sent), { kind: 'import', id: of ?? '' });
      const { id } = await call(`creation of ${of}`, true, () => twoSteps.begin(sent));
      try {
        return await call(`content of ${of}`, true, () => twoSteps.fill(id, sent));
      } catch (cause) {
        // Whatever failed, the new place stays without content, so that the caller may not take the
        // import for undone. A place that was there before is what it was.
        if (entry.into !== undefined) throw cause;
        const { retryAfterMs } = cause as CodedError;
        const fields = retryAfterMs === undefined ? {} : { retryAfterMs };
        throw new CodedError('store_unanswered', `${store.id} got no content for ${id}`, { cause, fields });
      }
    },
    reimport(id, content) {
      const sent = ownContent(content);
      return call(`reimport ${id}`, true, () => store.reimport(id, sent), { kind: 'reimport', id });
    },
    updateMetadata: (id, metadata, mark) =>
      call(`describe ${id}`, true, () => store.updateMetadata(id, metadata, mark)),
    delete: (id) => call(`delete ${id}`, true, () => store.delete(id), { kind: 'removal', id }),
  };
}

/**
 * A process's way to the table. A table write that lands late lands within seconds: engines time
 * out their own transactions.
 */
export function tableFrom(time: VirtualTime, process: Process, source: FaultSource, table: Table): Table {
  const failures = {
    unavailable: () => new CodedError('table_unavailable', 'the table is not reached'),
    unanswered: () => new CodedError('table_unavailable', 'the table does not answer'),
  };
  const call = <T>(name: string, writes: boolean, apply: () => Promise<T>, about?: CallKind['about']) =>
    send(time, process, source, { name: `table ${name}`, writes, about, settlesMs: 2_000, failures }, apply);
  const rowOf = ({ partition, sort: id }: Key): CallKind['about'] =>
    partition.startsWith('replication.') ? { kind: 'row', id } : undefined;
  return {
    get: (key) => call(`get ${key.sort}`, false, () => table.get(key)),
    update: (key, change, condition) =>
      call(`update ${key.sort}`, true, () => table.update(key, change, condition), condition && rowOf(key)),
    putIfAbsent: (key, fields) => call(`put ${key.sort}`, true, () => table.putIfAbsent(key, fields)),
    delete: (key, condition) => call(`delete ${key.sort}`, true, () => table.delete(key, condition)),
    query: (query) => call('query', false, () => table.query(query)),
    queryIndex: (query) => call('due', false, () => table.queryIndex(query)),
    close: () => table.close(),
  };
}
