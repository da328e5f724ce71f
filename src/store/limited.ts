import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import type { Mark } from './mark.ts';
import { ownLimit } from './own-limit.ts';
import type { CallOptions, Rate, SlotNames, Store, StoreAbilities, WriteOperation } from './store.ts';

export interface LimitedStoreOptions {
  readonly runtime: Runtime;
  /**
   * All requests to the store, reads too. Absent: as many as you like. May be a fraction: 0.5 is
   * one in two seconds.
   */
  readonly requestsPerSecond?: number;
  /** Writes of one certificate: reimport, update, delete. Absent: as many as you like. */
  readonly writesPerCertificatePerMinute?: number;
}

/**
 * A store that is asked no more often than it takes. It never waits: beyond a limit a read is
 * unreadable, and everything else throws, with `store_limited` and the wait until there is room.
 * Its abilities state these limits in place of the store's own. An import has no certificate yet
 * and counts for the store alone. A listing leaves half of the requests to everything else.
 *
 * Where the store states rates of writes, each write needs a turn (`slots`): one that was taken
 * beforehand, or one that is free now.
 *
 * It counts what this process sends, for the `limits.limitedCertificates` certificates written to
 * last. Throws `configuration_invalid` for a limit that is not a number above 0.
 */
export function limitedStore(store: Store, options: LimitedStoreOptions): Store {
  const { runtime, requestsPerSecond, writesPerCertificatePerMinute } = options;
  const { findByMark, notificationKey } = store;
  const makeWritesBucket = bucketMaker('writesPerCertificatePerMinute', writesPerCertificatePerMinute, 60_000);
  const requests = bucketMaker('requestsPerSecond', requestsPerSecond, 1000)();
  const halfOfThem = requestsPerSecond === undefined ? undefined : requestsPerSecond / 2;
  const listings = bucketMaker('requestsPerSecond', halfOfThem, 1000)();
  const turns = (store.abilities.rates ?? []).map((rate) => turnsOf(rate, runtime));
  const writes = new Map<string, Bucket>();

  function bucketOf(certificate: string): Bucket {
    const bucket = writes.get(certificate) ?? makeWritesBucket();
    // Put back at the end: the first of the map is the one used longest ago.
    writes.delete(certificate);
    writes.set(certificate, bucket);
    const [oldest] = writes.keys();
    if (writes.size > limits.limitedCertificates && oldest !== undefined) writes.delete(oldest);
    return bucket;
  }

  /** Takes a token from each bucket, or from none. Returns the refusal. */
  function take(
    operation: string,
    given: { readonly certificate?: string; readonly lists?: boolean; readonly write?: Write } = {},
  ): CodedError | undefined {
    const { certificate, lists = false, write } = given;
    const now = runtime.now();
    const buckets = [
      requests,
      ...(lists ? [listings] : []),
      ...(certificate === undefined ? [] : [bucketOf(certificate)]),
    ];
    const waits = buckets.map((bucket) => bucket.waitMs(now));
    if (write !== undefined) waits.push(...turns.map((turn) => turn.waitMs(write)));
    const retryAfterMs = Math.max(...waits);
    if (retryAfterMs > 0) {
      const message = `${operation} at ${store.id}: not sent, the limit for requests to it is reached`;
      return ownLimit(message, { store: store.id, operation, certificate, retryAfterMs });
    }
    for (const bucket of buckets) bucket.take(now);
    if (write !== undefined) for (const turn of turns) turn.use(write);
    return undefined;
  }

  function takeOrThrow(...given: Parameters<typeof take>): void {
    const refusal = take(...given);
    if (refusal !== undefined) throw refusal;
  }

  return {
    ...store,
    abilities: limitedAbilities(store.abilities, options),
    ...(turns.length > 0 && {
      slots: {
        take: (names: SlotNames) => Math.max(...turns.map((turn) => turn.keep(names))),
        extend: (names: SlotNames) => {
          for (const turn of turns) turn.extend(names);
        },
        giveBack: (names: SlotNames) => {
          for (const turn of turns) turn.giveBack(names);
        },
      },
    }),
    async list(request) {
      takeOrThrow('list', { lists: true });
      return store.list(request);
    },
    async readMetadata(id, call) {
      const error = take('read metadata', { lists: call?.lists === true });
      return error === undefined ? store.readMetadata(id, call) : { state: 'unreadable', error };
    },
    async read(id, call) {
      const error = take('read');
      return error === undefined ? store.read(id, call) : { state: 'unreadable', error };
    },
    ...(findByMark && {
      async findByMark(mark: Mark, call?: CallOptions) {
        takeOrThrow('find by mark');
        return findByMark(mark, call);
      },
    }),
    async import(entry, call) {
      takeOrThrow('import', { write: { operation: 'import', original: entry.mark?.certificate } });
      return store.import(entry, call);
    },
    async reimport(id, content, call) {
      takeOrThrow('reimport', { certificate: id, write: { operation: 'reimport', copy: id } });
      return store.reimport(id, content, call);
    },
    async updateMetadata(id, metadata, mark, call) {
      takeOrThrow('update metadata', { certificate: id, write: { operation: 'describe', copy: id } });
      return store.updateMetadata(id, metadata, mark, call);
    },
    async delete(id, call) {
      takeOrThrow('delete', { certificate: id, write: { operation: 'delete', copy: id } });
      return store.delete(id, call);
    },
    ...(notificationKey && {
      async notificationKey(call?: CallOptions) {
        takeOrThrow('notification key');
        return notificationKey(call);
      },
    }),
  };
}

/** A write, and what its certificate goes by. */
interface Write {
  readonly operation: WriteOperation;
  readonly original?: string | undefined;
  readonly copy?: string | undefined;
}

/** A turn that is kept: its moment, and what its certificate goes by. */
interface Turn {
  readonly at: number;
  readonly names: Set<string>;
}

/**
 * The turns of one rate, in the order in which they were asked for: each is a moment, and no span
 * of the length of the rate's period has more of them than the rate says.
 */
function turnsOf({ operations, count, perMs }: Rate, runtime: Runtime) {
  /** The latest turns, given or used, in order: as many as count for the next one. */
  let given: number[] = [];
  /** Turns that are kept, by what their certificate goes by. */
  const kept = new Map<string, Turn>();
  const namesOf = ({
    original,
    copy,
  }: {
    readonly original?: string | undefined;
    readonly copy?: string | undefined;
  }) => [...(original === undefined ? [] : [`original ${original}`]), ...(copy === undefined ? [] : [`copy ${copy}`])];

  function forget({ names }: Turn): void {
    for (const name of names) kept.delete(name);
  }

  /** Keeps a turn for all of these names: whichever is written to first uses it. */
  function keepFor(turn: Turn, names: readonly string[]): void {
    for (const name of names) {
      // One that the name had before goes by its other names.
      kept.get(name)?.names.delete(name);
      turn.names.add(name);
      kept.set(name, turn);
    }
  }

  function find(names: readonly string[]) {
    const now = runtime.now();
    for (const name of names) {
      const turn = kept.get(name);
      if (turn === undefined) continue;
      if (turn.at + limits.slotKeptMs >= now) return turn;
      forget(turn);
    }
    return undefined;
  }

  /**
   * The next moment at which there is a turn. A clock that was set back does not make anyone wait
   * for longer than the turns before.
   */
  function next(): number {
    const now = runtime.now();
    const before = given.length < count ? undefined : given[given.length - count];
    return Math.max(now, (before ?? Number.NEGATIVE_INFINITY) + perMs);
  }

  function give(): number {
    const at = next();
    given = [...given, at].slice(-Math.max(count, limits.limitedCertificates));
    return at;
  }

  return {
    keep(names: SlotNames): number {
      const all = namesOf(names);
      const turn = find(all) ?? { at: give(), names: new Set<string>() };
      keepFor(turn, all);
      const [oldest] = kept.values();
      if (kept.size > 2 * limits.limitedCertificates && oldest !== undefined) forget(oldest);
      return turn.at;
    },
    extend({ original, copy }: SlotNames): void {
      const turn = find(namesOf({ original }));
      if (turn !== undefined) keepFor(turn, namesOf({ copy }));
    },
    giveBack(names: SlotNames): void {
      const turn = find(namesOf(names));
      if (turn === undefined) return;
      forget(turn);
      given = given.filter((at, index) => at !== turn.at || given.indexOf(at) !== index);
    },
    waitMs(write: Write): number {
      if (!operations.includes(write.operation)) return 0;
      return Math.max(0, (find(namesOf(write))?.at ?? next()) - runtime.now());
    },
    use(write: Write): void {
      if (!operations.includes(write.operation)) return;
      const turn = find(namesOf(write));
      if (turn === undefined) give();
      else forget(turn);
    },
  };
}

/**
 * A bucket of tokens. Each token comes back one period after it was taken, so no span of that
 * length ever sees more than there are.
 */
interface Bucket {
  /** Milliseconds until there is a token; 0 if there is one. */
  waitMs(now: number): number;
  take(now: number): void;
}

/**
 * Makes buckets for so many requests in a period; bottomless ones if that is absent. A rate below
 * one has one token and a longer period.
 */
function bucketMaker(name: string, rate: number | undefined, periodMs: number): () => Bucket {
  if (rate === undefined) return () => ({ waitMs: () => 0, take: () => {} });
  if (!(rate > 0 && Number.isFinite(rate)))
    throw new CodedError('configuration_invalid', `${name}: not a number above 0`, { fields: { name } });
  const tokens = Math.max(1, Math.floor(rate));
  const backAfterMs = (tokens / rate) * periodMs;
  return () => {
    const taken: number[] = [];
    return {
      waitMs(now) {
        const oldest = taken.length < tokens ? undefined : taken[0];
        // Never longer than one period, should the clock have been set back.
        return oldest === undefined ? 0 : Math.min(backAfterMs, Math.max(0, Math.ceil(oldest + backAfterMs - now)));
      },
      take(now) {
        taken.push(now);
        if (taken.length > tokens) taken.shift();
      },
    };
  };
}

function limitedAbilities(abilities: StoreAbilities, options: LimitedStoreOptions): StoreAbilities {
  const { requestsPerSecond: _requests, writesPerCertificatePerMinute: _writes, ...others } = abilities;
  const { requestsPerSecond, writesPerCertificatePerMinute } = options;
  return {
    ...others,
    ...defined({ requestsPerSecond, writesPerCertificatePerMinute }),
  };
}
