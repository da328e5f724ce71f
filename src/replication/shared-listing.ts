import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { formatMark, type Mark } from '../store/mark.ts';
import type { CertificateMetadata, Store } from '../store/store.ts';

/** All metadata of a store, page by page. A listing that runs in circles ends in `store_nonsense`. */
export async function* listAll(store: Store, signal?: AbortSignal): AsyncGenerator<CertificateMetadata> {
  let cursor: string | undefined;
  for (let page = 0; page < limits.listingPages; page += 1) {
    const answer = await store.list({ ...(cursor === undefined ? {} : { cursor }), ...(signal ? { signal } : {}) });
    yield* answer.certificates;
    if (answer.cursor === undefined) return;
    cursor = answer.cursor;
  }
  throw new CodedError('store_nonsense', `the listing of ${store.id} does not end after ${limits.listingPages} pages`, {
    fields: { store: store.id },
  });
}

type Marked = ReadonlyMap<string, readonly CertificateMetadata[]>;

/**
 * Finds copies by their mark in stores that cannot be asked for one, by listing. Listings are shared: one that starts after a
 * look began serves every look that waits for one, so a thousand looks in doubt cost two listings, not a thousand.
 */
export function sharedListings() {
  const running = new Map<Store, Promise<unknown>>();
  const waiting = new Map<Store, Promise<Marked>>();

  async function read(store: Store): Promise<Marked> {
    const marked = new Map<string, CertificateMetadata[]>();
    for await (const metadata of listAll(store)) {
      if (metadata.mark === undefined) continue;
      const key = formatMark(metadata.mark);
      const copies = marked.get(key);
      // A listing that moves while it is paged may show one certificate twice.
      if (copies === undefined) marked.set(key, [metadata]);
      else if (!copies.some(({ id }) => id === metadata.id)) copies.push(metadata);
    }
    return marked;
  }

  function next(store: Store): Promise<Marked> {
    const queued = waiting.get(store);
    if (queued) return queued;
    const before = running.get(store) ?? Promise.resolve();
    const listing = before.then(() => {
      waiting.delete(store);
      const result = read(store);
      const ended = result.then(
        () => undefined,
        () => undefined,
      );
      running.set(store, ended);
      void ended.then(() => running.get(store) === ended && running.delete(store));
      return result;
    });
    waiting.set(store, listing);
    return listing;
  }

  return {
    /** The copies with this mark, by a listing that starts after this call. Throws what the listing throws. */
    async marked(store: Store, mark: Mark): Promise<readonly CertificateMetadata[]> {
      return (await next(store)).get(formatMark(mark)) ?? [];
    },
  };
}

export type SharedListings = ReturnType<typeof sharedListings>;
