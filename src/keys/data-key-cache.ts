import { asCodedError, CodedError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';

/** A plain data key in memory. Wiped means overwritten: it must not be used any more. */
interface Kept {
  readonly bytes: Uint8Array;
  /** From this moment on its root key is asked again before it serves. */
  readonly freshUntil: number;
  /** Until this moment it may serve while no root key can be asked. */
  readonly keptUntil: number;
  readonly ender: AbortController;
  used: boolean;
}

/** Plain data keys in memory: few, for minutes, and wiped. */
export interface DataKeyCache {
  /**
   * What `work` makes of the data key. It gets the bytes for as long as it runs, so it does not
   * wait for anything.
   */
  use<Result>(id: string, work: (bytes: Uint8Array) => Result): Promise<Result>;
  /** Keeps this data key; the bytes belong to the cache from now on. */
  keep(id: string, bytes: Uint8Array): void;
  /** Wipes all, or all but one. What is asked for is loaded anew. */
  clear(butId?: string): void;
  /** Wipes all for good. */
  close(): void;
  size(): number;
  /**
   * Whether the last loading of some data key failed; and until when some of them serve all the
   * same.
   */
  trouble(): { readonly failed: boolean; readonly servesUntil?: number };
}

export interface DataKeyCacheOptions {
  /** Opens a data key: bytes of their own. */
  readonly load: (id: string) => Promise<Uint8Array>;
  readonly runtime: Runtime;
  readonly cacheMs: number;
  readonly outageMs: number;
  /** After a failure, nobody is asked again for so long. */
  readonly pauseMs: number;
  /** At most so many. The one that was loaded first goes first. */
  readonly most: number;
}

/** A rotation or a full cache may wipe a data key just when it was loaded, not again and again. */
const triesToUse = 3;

/** What may pass by itself, and is no word against the key. */
const passing: ReadonlySet<string> = new Set(['keys_unavailable', 'table_unavailable']);

/**
 * A data key is loaded once for all who want it at the same time, and kept for `cacheMs`. Then it
 * is wiped if nobody has used it, else loaded anew. If that fails because nobody can be asked, it
 * serves on for at most `outageMs`, and is tried again beside that; any other failure wipes it at
 * once.
 */
export function dataKeyCache(options: DataKeyCacheOptions): DataKeyCache {
  const { runtime, cacheMs, outageMs, pauseMs, most } = options;
  const kept = new Map<string, Kept>();
  const flights = new Map<string, Promise<void>>();
  const failures = new Map<string, { readonly error: CodedError; readonly until: number }>();
  let closed = false;

  function wipe(id: string): void {
    const entry = kept.get(id);
    if (entry === undefined) return;
    kept.delete(id);
    entry.bytes.fill(0);
    entry.ender.abort('wiped');
  }

  function keep(id: string, bytes: Uint8Array): void {
    wipe(id);
    failures.delete(id);
    if (closed) {
      bytes.fill(0);
      return;
    }
    const [first] = kept.keys();
    if (first !== undefined && kept.size >= most) wipe(first);
    const freshUntil = runtime.now() + cacheMs;
    const ender = new AbortController();
    const entry: Kept = { bytes, freshUntil, keptUntil: freshUntil + outageMs, ender, used: false };
    kept.set(id, entry);
    void attend(id, entry);
  }

  /** Stays with a data key until it is wiped or replaced. */
  async function attend(id: string, entry: Kept): Promise<void> {
    const { signal } = entry.ender;
    const passed = (milliseconds: number) =>
      runtime.wait(Math.max(0, milliseconds), signal).then(
        () => !signal.aborted,
        () => false,
      );
    if (!(await passed(cacheMs))) return;
    if (entry.used) {
      // What comes of it for this entry, `reload` has seen to.
      await reload(id).catch(() => {});
      if (signal.aborted || !(await passed(entry.keptUntil - runtime.now()))) return;
    }
    wipe(id);
  }

  /**
   * Loads a data key, in one flight for all. Rejects when it could not be had; what was kept stays
   * only if that may pass.
   */
  function reload(id: string): Promise<void> {
    const flight = flights.get(id);
    if (flight !== undefined) return flight;
    const fresh = options
      .load(id)
      .then(
        (bytes) => keep(id, bytes),
        (thrown: unknown) => {
          const error = asCodedError(thrown);
          if (!passing.has(error.code)) wipe(id);
          // Where there is no such data key, no root key was asked, and what it was asked for is of
          // the asker's making.
          if (error.code !== 'sealed_unreadable') failures.set(id, { error, until: runtime.now() + pauseMs });
          throw error;
        },
      )
      .finally(() => flights.delete(id));
    flights.set(id, fresh);
    return fresh;
  }

  /** The kept data key if it may serve now. */
  function serving(id: string): Kept | undefined {
    const entry = kept.get(id);
    const now = runtime.now();
    if (entry === undefined || now < entry.freshUntil) return entry;
    const failure = failures.get(id);
    if (failure === undefined || now >= entry.keptUntil) return undefined;
    // Known to be out of reach: no request waits to hear that again, one of them asks beside its
    // work.
    if (now >= failure.until) reload(id).catch(() => {});
    return entry;
  }

  async function load(id: string): Promise<Kept | undefined> {
    const failure = failures.get(id);
    if (failure !== undefined && runtime.now() < failure.until) throw failure.error;
    try {
      await reload(id);
    } catch (thrown) {
      // It may have been out of reach just now for the first time, while what is kept still serves.
      const entry = serving(id);
      if (entry === undefined) throw thrown;
      return entry;
    }
    return kept.get(id);
  }

  function clear(butId?: string): void {
    for (const id of [...kept.keys()]) if (id !== butId) wipe(id);
  }

  return {
    async use(id, work) {
      for (let tries = 0; tries < triesToUse && !closed; tries += 1) {
        const entry = serving(id) ?? (await load(id));
        // It may have been wiped between loading and here: zeros would seal and never say so.
        if (entry === undefined || kept.get(id) !== entry) continue;
        entry.used = true;
        return work(entry.bytes);
      }
      const found = closed ? 'the keyring has been closed' : 'it was wiped while it was asked for';
      throw new CodedError('keys_unavailable', `data key ${id}: ${found}`, { fields: { dataKey: id } });
    },
    keep,
    clear,
    close() {
      closed = true;
      clear();
    },
    size: () => kept.size,
    trouble() {
      const now = runtime.now();
      const recent = [...failures].filter(([, { until }]) => now < until + cacheMs);
      const moments = recent.flatMap(([id]) => kept.get(id)?.keptUntil ?? []);
      return { failed: recent.length > 0, ...(moments.length > 0 && { servesUntil: Math.max(...moments) }) };
    },
  };
}
