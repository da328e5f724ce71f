import { defined } from '../defined.ts';
import { asCodedError, CodedError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import type { Quota, QuotaLeft, Store, WriteOperation } from './store.ts';

/** A quota of a store, as it is counted. */
export interface CountedQuota {
  readonly store: string;
  /**
   * Tells it from the others of this store, as long as its operations and its period stay the same.
   */
  readonly name: string;
  readonly perMs: number;
}

/** Where it is kept how much of each quota has been used, over all processes. */
export interface QuotaBook {
  /**
   * Counts one use at a moment (epoch milliseconds) if fewer than `most` lie in the period before
   * it. If not it answers when there will be room; `until` is absent if there never will.
   */
  useQuota(
    quota: CountedQuota,
    now: number,
    most: number,
  ): Promise<{ readonly used: true } | { readonly used: false; readonly until?: number }>;
  /** Takes back one use of that moment: nothing was sent. */
  giveBackQuota(quota: CountedQuota, now: number): Promise<void>;
  /** How many uses lie in the period before a moment, and when the first of them no longer will. */
  quotaUsed(quota: CountedQuota, now: number): Promise<{ readonly count: number; readonly nextAt?: number }>;
}

/**
 * A store whose quotas are counted before anything is sent: what is beyond is not sent and throws
 * `store_quota_used_up`, with the moment (`until`) at which there is room again. What brings new
 * copies leaves the reserve of a quota alone; only the content of a copy that is there may use it
 * up. A store without quotas is handed back as it is.
 *
 * Other users of the same account are not counted, and a clock that is set forward by a period
 * forgets all: the service itself has the last word.
 */
export function quotaStore(
  store: Store,
  { runtime, book }: { readonly runtime: Runtime; readonly book: QuotaBook },
): Store {
  const { quotas = [] } = store.abilities;
  if (quotas.length === 0) return store;

  async function within<T>(operation: WriteOperation, write: () => Promise<T>): Promise<T> {
    const counted: { readonly quota: CountedQuota; readonly at: number }[] = [];
    const giveBack = () => Promise.all(counted.map(({ quota, at }) => book.giveBackQuota(quota, at)));
    for (const quota of quotas) {
      if (!quota.operations.includes(operation)) continue;
      const most = operation === 'reimport' ? quota.count : Math.max(0, quota.count - quota.reserve);
      const at = runtime.now();
      const use = await book.useQuota(countedQuota(store, quota), at, most);
      if (!use.used) {
        await giveBack();
        throw usedUp(store, quota, { operation, most, until: use.until });
      }
      counted.push({ quota: countedQuota(store, quota), at });
    }
    try {
      return await write();
    } catch (thrown) {
      // What a limit of ours has kept back was never sent, and what the service refused had no
      // effect: content that it will never take would else use up what others need, attempt by
      // attempt.
      if (asCodedError(thrown).entry.applied === 'no') await giveBack();
      throw thrown;
    }
  }

  return {
    ...store,
    import: (entry, call) => within('import', () => store.import(entry, call)),
    reimport: (id, content, call) => within('reimport', () => store.reimport(id, content, call)),
    updateMetadata: (id, metadata, mark, call) =>
      within('describe', () => store.updateMetadata(id, metadata, mark, call)),
    delete: (id, call) => within('delete', () => store.delete(id, call)),
  };
}

/** What is left of each quota of a store at a moment. Throws what the table throws. */
export async function quotasLeft(store: Store, book: QuotaBook, now: number): Promise<readonly QuotaLeft[]> {
  const { quotas = [] } = store.abilities;
  return Promise.all(
    quotas.map(async (quota) => {
      const { count, nextAt } = await book.quotaUsed(countedQuota(store, quota), now);
      const left = Math.max(0, quota.count - count);
      return { ...quota, left, ...defined({ moreAt: nextAt }) };
    }),
  );
}

function countedQuota({ id }: Store, { operations, perMs }: Quota): CountedQuota {
  return { store: id, name: `${[...operations].sort().join('+')} in ${perMs}`, perMs };
}

function usedUp(
  { id }: Store,
  { count, perMs, reserve, operations }: Quota,
  { operation, most, until }: { readonly operation: string; readonly most: number; readonly until: number | undefined },
): CodedError {
  const days = Math.round(perMs / 86_400_000);
  const period = days >= 1 ? `${days} days` : `${Math.round(perMs / 1_000)} s`;
  const kept = most < count ? `, ${reserve} of which are kept for the content of copies that are there` : '';
  const when = until === undefined ? 'it allows none' : `there is room again at ${new Date(until).toISOString()}`;
  return new CodedError(
    'store_quota_used_up',
    `${operation} at ${id}: not sent, its quota is ${count} (${operations.join(', ')}) in ${period}${kept}; ${when}`,
    { fields: { store: id, operation, ...defined({ until }) } },
  );
}
