import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import type { Mark } from './mark.ts';
import type { CallOptions, Store, StoreAbilities } from './store.ts';

export interface LimitedStoreOptions {
  readonly runtime: Runtime;
  /** All requests to the store, reads too. Absent: as many as you like. May be a fraction: 0.5 is one in two seconds. */
  readonly requestsPerSecond?: number;
  /** Writes of one certificate: reimport, update, delete. Absent: as many as you like. */
  readonly writesPerCertificatePerMinute?: number;
}

/**
 * A store that is asked no more often than it takes. It never waits: beyond a limit a read is unreadable, and everything else
 * throws, with `store_limited` and the wait until there is room. Its abilities state these limits in place of the store's own.
 * An import has no certificate yet and counts for the store alone.
 *
 * It counts what this process sends, for the `limits.limitedCertificates` certificates written to last. Throws
 * `configuration_invalid` for a limit that is not a number above 0.
 */
export function limitedStore(store: Store, options: LimitedStoreOptions): Store {
  const { runtime, requestsPerSecond, writesPerCertificatePerMinute } = options;
  const { findByMark, notificationKey } = store;
  const makeWritesBucket = bucketMaker('writesPerCertificatePerMinute', writesPerCertificatePerMinute, 60_000);
  const requests = bucketMaker('requestsPerSecond', requestsPerSecond, 1000)();
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
  function take(operation: string, certificate?: string): CodedError | undefined {
    const now = runtime.now();
    const buckets = certificate === undefined ? [requests] : [requests, bucketOf(certificate)];
    const retryAfterMs = Math.max(...buckets.map((bucket) => bucket.waitMs(now)));
    if (retryAfterMs > 0) {
      const message = `${operation} at ${store.id}: not sent, the limit for requests to it is reached`;
      return new CodedError('store_limited', message, {
        fields: { store: store.id, operation, certificate, retryAfterMs },
      });
    }
    for (const bucket of buckets) bucket.take(now);
    return undefined;
  }

  function takeOrThrow(operation: string, certificate?: string): void {
    const refusal = take(operation, certificate);
    if (refusal !== undefined) throw refusal;
  }

  return {
    ...store,
    abilities: limitedAbilities(store.abilities, options),
    async list(request) {
      takeOrThrow('list');
      return store.list(request);
    },
    async readMetadata(id, call) {
      const error = take('read metadata');
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
      takeOrThrow('import');
      return store.import(entry, call);
    },
    async reimport(id, content, call) {
      takeOrThrow('reimport', id);
      return store.reimport(id, content, call);
    },
    async updateMetadata(id, metadata, mark, call) {
      takeOrThrow('update metadata', id);
      return store.updateMetadata(id, metadata, mark, call);
    },
    async delete(id, call) {
      takeOrThrow('delete', id);
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

/** A bucket of tokens. Each token comes back one period after it was taken, so no span of that length ever sees more than there are. */
interface Bucket {
  /** Milliseconds until there is a token; 0 if there is one. */
  waitMs(now: number): number;
  take(now: number): void;
}

/** Makes buckets for so many requests in a period; bottomless ones if that is absent. A rate below one has one token and a longer period. */
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
    ...(requestsPerSecond !== undefined && { requestsPerSecond }),
    ...(writesPerCertificatePerMinute !== undefined && { writesPerCertificatePerMinute }),
  };
}
