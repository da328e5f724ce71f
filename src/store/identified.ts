import { asCodedError, CodedError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import type { Mark } from './mark.ts';
import type { CallOptions, Reading, Store } from './store.ts';

/** Where it is kept which identity a store proved when it was first used. */
export interface IdentityBook {
  /** The identity that a store is bound to; `undefined` before its first use. */
  identityOf(store: string): Promise<string | undefined>;
  /** The id of the store that is bound to an identity; `undefined` if none is. */
  holderOf(identity: string): Promise<string | undefined>;
  /** Binds it, if it is not bound. Answers the identity that it is bound to then. */
  bindIdentity(store: string, identity: string): Promise<string>;
}

/**
 * Longer than this nobody waits for the proof; a container that goes and comes back meanwhile is
 * not told.
 */
const absenceProvenWithinMs = 30_000;

export interface IdentifiedStoreOptions {
  readonly runtime: Runtime;
  readonly book: IdentityBook;
  /** Ids of all stores of the configuration: two of them may not prove one identity. */
  readonly configured: ReadonlySet<string>;
  /**
   * How long an answer about the identity is good for, in milliseconds. 0: asked before each call.
   */
  readonly everyMs: number;
}

/**
 * A store that is asked nothing, and given nothing, while what stands behind its setting is not
 * what stood there when it was first used: an empty mount point in the place of a share, another
 * cluster behind the same address. Reads are unreadable then, and everything else throws, with
 * `store_identity_changed` or `store_identity_shared`; a person binds the new one with
 * `certstandby store accept`. What says that something is not there (a read, the end of a listing,
 * a search that finds nothing, `store_gone`, a removal) is believed only if the identity is proven
 * after it, and within half a minute: a container that is away as a whole seems empty. A search
 * that finds a copy says that this one is there, as a read does, and each that it does not name is
 * asked for by its id before it counts as gone. A store that can prove no identity is handed back
 * as it is.
 */
export function identifiedStore(store: Store, options: IdentifiedStoreOptions): Store {
  const { identity: ask, giveIdentity, findByMark, notificationKey } = store;
  if (ask === undefined) return store;
  const { runtime, book, configured, everyMs } = options;
  let lastGood: number | undefined;
  /**
   * What the store was bound to when that was last looked up: only another answer is a reason to
   * look again.
   */
  let lastBound: string | undefined;

  /**
   * Whether the store is bound to an identity, and has just proven it. Throws if it proved another
   * one.
   */
  async function check(call: CallOptions | undefined, writes: boolean): Promise<boolean> {
    const found = await ask?.(call);
    if (found !== undefined && found === lastBound) return true;
    const bound = await book.identityOf(store.id);
    if (bound !== undefined) {
      if (found !== bound) throw changed(store, bound, found);
      lastBound = bound;
      return true;
    }
    // One that has none yet gets one with the first write; what is only read stays as it is.
    const proven = found ?? (writes ? await giveIdentity?.(runtime.newId(), call) : undefined);
    if (proven === undefined) return false;
    const holder = await book.holderOf(proven);
    if (holder !== undefined && holder !== store.id && configured.has(holder)) throw shared(store, holder, proven);
    const now = await book.bindIdentity(store.id, proven);
    if (now !== proven) throw changed(store, now, proven);
    return true;
  }

  const isGood = () => lastGood !== undefined && runtime.now() - lastGood < everyMs;

  async function prove(call: CallOptions | undefined, writes: boolean): Promise<void> {
    if (await check(call, writes)) lastGood = runtime.now();
  }

  /** A proof under way, which serves all who would begin one. */
  let underWay: Promise<void> | undefined;

  async function ensure(call: CallOptions | undefined, writes: boolean): Promise<void> {
    if (isGood()) return;
    if (underWay !== undefined) {
      // One that fails is the failure of who began it: it may have been ended.
      await underWay.catch(() => {});
      if (isGood()) return;
    }
    const proof = prove(call, writes);
    underWay = proof;
    try {
      await proof;
    } finally {
      if (underWay === proof) underWay = undefined;
    }
  }

  /**
   * Throws unless the container that said at `askedAt` or later what is not in it is the one that
   * this store is bound to.
   */
  async function proveAbsence(askedAt: number, call: CallOptions | undefined): Promise<void> {
    lastGood = undefined;
    await prove(call, false);
    if (runtime.now() - askedAt <= absenceProvenWithinMs) return;
    throw new CodedError('store_unavailable', `${store.id} took too long to prove that it is the one that was asked`, {
      fields: { store: store.id },
    });
  }

  /** A container that is said to be away may be another one when it is back. */
  function noteAway(error: CodedError): void {
    if (error.code === 'store_root_unusable') lastGood = undefined;
  }

  const guarded =
    <A extends unknown[], R>(
      call: (...given: A) => Promise<R>,
      optionsOf: (given: A) => CallOptions | undefined,
      { writes, tellsAbsence = () => false }: { writes: boolean; tellsAbsence?: (answer: R) => boolean },
    ) =>
    async (...given: A): Promise<R> => {
      const options = optionsOf(given);
      await ensure(options, writes);
      const askedAt = runtime.now();
      try {
        const answer = await call(...given);
        if (tellsAbsence(answer)) await proveAbsence(askedAt, options);
        return answer;
      } catch (thrown) {
        const error = asCodedError(thrown);
        noteAway(error);
        if (error.code === 'store_gone') await proveAbsence(askedAt, options);
        throw thrown;
      }
    };

  const reading =
    <T>(call: (id: string, options?: CallOptions) => Promise<Reading<T>>) =>
    async (id: string, given?: CallOptions): Promise<Reading<T>> => {
      try {
        await ensure(given, false);
      } catch (thrown) {
        return { state: 'unreadable', error: asCodedError(thrown) };
      }
      const askedAt = runtime.now();
      const answer = await call(id, given);
      if (answer.state === 'unreadable') noteAway(answer.error);
      if (answer.state !== 'absent') return answer;
      try {
        await proveAbsence(askedAt, given);
        return answer;
      } catch (thrown) {
        return { state: 'unreadable', error: asCodedError(thrown) };
      }
    };

  return {
    ...store,
    list: guarded(store.list, ([request]) => request, {
      writes: false,
      tellsAbsence: ({ cursor }) => cursor === undefined,
    }),
    readMetadata: reading(store.readMetadata),
    read: reading(store.read),
    import: guarded(store.import, ([, call]) => call, { writes: true }),
    reimport: guarded(store.reimport, ([, , call]) => call, { writes: true }),
    updateMetadata: guarded(store.updateMetadata, ([, , , call]) => call, { writes: true }),
    delete: guarded(store.delete, ([, call]) => call, { writes: true, tellsAbsence: () => true }),
    ...(findByMark && {
      findByMark: guarded(
        (mark: Mark, call?: CallOptions) => findByMark(mark, call),
        ([, call]) => call,
        { writes: false, tellsAbsence: (found) => found.length === 0 },
      ),
    }),
    ...(notificationKey && { notificationKey: guarded(notificationKey, ([call]) => call, { writes: false }) }),
  };
}

function changed(store: Store, bound: string, found: string | undefined): CodedError {
  const where = store.diagnosis?.address ?? store.id;
  const what = found === undefined ? 'what is there now has no identity' : `what is there now is ${found}`;
  const message = `${where} is not what was there when it was first used: that was ${bound}, and ${what}`;
  return new CodedError('store_identity_changed', message, { fields: { store: store.id, bound, found } });
}

function shared(store: Store, holder: string, identity: string): CodedError {
  const message = `${store.id} and ${holder} lead to one and the same place (${identity})`;
  return new CodedError('store_identity_shared', message, { fields: { store: store.id, holder, identity } });
}
