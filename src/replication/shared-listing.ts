import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import { formatMark, type Mark } from '../store/mark.ts';
import type {
  CertificateMetadata,
  FindOptions,
  ListPage,
  PassedOver,
  Store,
  UnreadableElement,
  VacantElement,
} from '../store/store.ts';

export interface ListingOptions {
  /** Called for what is there and cannot be read. It has to be told of by somebody: it is not absent. */
  readonly unreadable: (element: UnreadableElement) => void;
  /** Called for what is there and holds no content: no certificate, and not absent either. */
  readonly vacant?: ((element: VacantElement) => void) | undefined;
  /** Called for what was looked at and is no certificate. */
  readonly passedOver?: ((element: PassedOver) => void) | undefined;
  /** For waits: a listing that the store limits is asked again when the store allows. Absent: it throws. */
  readonly runtime?: Runtime;
  readonly signal?: AbortSignal | undefined;
  /** Called for each page. */
  readonly paged?: () => void;
}

/**
 * All metadata of a store, page by page; what cannot be read goes to `unreadable`, and keeps no other from being listed. A listing that runs in circles ends in `store_nonsense`, one whose signal is aborted in
 * the signal's reason, between two pages.
 */
export async function* listAll(store: Store, options: ListingOptions): AsyncGenerator<CertificateMetadata> {
  let cursor: string | undefined;
  for (let page = 0; page < limits.listingPages; page += 1) {
    options.signal?.throwIfAborted();
    const answer = await onePage(store, cursor, options);
    options.paged?.();
    for (const element of answer.unreadable ?? []) options.unreadable(element);
    for (const element of answer.vacant ?? []) options.vacant?.(element);
    for (const element of answer.passedOver ?? []) options.passedOver?.(element);
    yield* answer.certificates;
    if (answer.cursor === undefined) return;
    cursor = answer.cursor;
  }
  throw new CodedError('store_nonsense', `the listing of ${store.id} does not end after ${limits.listingPages} pages`, {
    fields: { store: store.id },
  });
}

async function onePage(store: Store, cursor: string | undefined, options: ListingOptions): Promise<ListPage> {
  const { runtime, signal } = options;
  const request = { ...(cursor === undefined ? {} : { cursor }), ...(signal ? { signal } : {}) };
  for (let tries = 1; ; tries += 1) {
    try {
      return await store.list(request);
    } catch (thrown) {
      const { code, retryAfterMs } = asCodedError(thrown);
      const worthIt = retryAfterMs !== undefined && retryAfterMs <= limits.listingWaitMs;
      if (code !== 'store_limited' || runtime === undefined || !worthIt || tries >= limits.listingTries) throw thrown;
      await runtime.wait(retryAfterMs, signal);
    }
  }
}

/** A copy that cannot be read, as far as a listing shows it all the same; `undefined` if not even its mark can be. */
export function copyOf({ id, mark, name }: UnreadableElement): CertificateMetadata | undefined {
  if (id === undefined || mark === undefined) return undefined;
  return { id, name: name ?? id, description: '', tags: [], domains: [], mark };
}

/** What is found of each mark that somebody waits for: memory grows with those who wait, not with the estate. */
type Wanted = Map<string, { readonly copies: CertificateMetadata[]; readonly vacant: VacantElement[] }>;

interface Listing {
  readonly wanted: Wanted;
  /** Copies of which nobody can say whose they are. */
  readonly unreadable: UnreadableElement[];
  readonly listed: Promise<void>;
}

/**
 * Finds copies by their mark in stores that cannot be asked for one, by listing. Listings are shared: one that starts after a
 * look began serves every look that waits for one, so a thousand looks in doubt cost two listings, not a thousand.
 */
export function sharedListings() {
  const running = new Map<Store, Promise<unknown>>();
  const waiting = new Map<Store, Listing>();

  async function read(store: Store, { wanted, unreadable }: Omit<Listing, 'listed'>): Promise<void> {
    const found = (metadata: CertificateMetadata) => {
      if (metadata.mark === undefined) return;
      const copies = wanted.get(formatMark(metadata.mark))?.copies;
      // A listing that moves while it is paged may show one certificate twice.
      if (copies !== undefined && !copies.some(({ id }) => id === metadata.id)) copies.push(metadata);
    };
    const vacant = (element: VacantElement) => {
      if (element.mark !== undefined) wanted.get(formatMark(element.mark))?.vacant.push(element);
    };
    const notRead = (element: UnreadableElement) => {
      const copy = copyOf(element);
      if (copy !== undefined) found(copy);
      else if (element.ours && unreadable.length < limits.elementsNamed) unreadable.push(element);
    };
    for await (const metadata of listAll(store, { unreadable: notRead, vacant })) found(metadata);
  }

  function next(store: Store): Listing {
    const queued = waiting.get(store);
    if (queued) return queued;
    const wanted: Wanted = new Map();
    const unreadable: UnreadableElement[] = [];
    const before = running.get(store) ?? Promise.resolve();
    const listed = before.then(() => {
      waiting.delete(store);
      const result = read(store, { wanted, unreadable });
      const ended = result.then(
        () => undefined,
        () => undefined,
      );
      running.set(store, ended);
      void ended.then(() => running.get(store) === ended && running.delete(store));
      return result;
    });
    const listing = { wanted, unreadable, listed };
    waiting.set(store, listing);
    return listing;
  }

  return {
    /**
     * The copies with this mark, by a listing that starts after this call, as `Store.findByMark` has them. Throws what the
     * listing throws.
     */
    async marked(
      store: Store,
      mark: Mark,
      tell: Pick<FindOptions, 'unreadable' | 'vacant'> = {},
    ): Promise<readonly CertificateMetadata[]> {
      const { wanted, unreadable, listed } = next(store);
      const found = wanted.get(formatMark(mark)) ?? { copies: [], vacant: [] };
      wanted.set(formatMark(mark), found);
      await listed;
      for (const copy of unreadable) tell.unreadable?.(copy);
      for (const element of found.vacant) tell.vacant?.(element);
      return found.copies;
    },
  };
}

export type SharedListings = ReturnType<typeof sharedListings>;
