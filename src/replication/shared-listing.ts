import { defined } from '../defined.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Runtime, systemRuntime } from '../runtime.ts';
import { type FoundMark, markDigest } from '../store/mark.ts';
import type {
  CertificateMetadata,
  FindOptions,
  ListPage,
  PassedOver,
  Store,
  UnreadableElement,
  VacantElement,
} from '../store/store.ts';
import { readMetadataInTime } from './read-in-time.ts';

export interface ListingOptions {
  /**
   * Called for what is there and cannot be read. It has to be told of by somebody: it is not
   * absent.
   */
  readonly unreadable: (element: UnreadableElement) => void;
  /** Called for what is there and holds no content: no certificate, and not absent either. */
  readonly vacant?: ((element: VacantElement) => void) | undefined;
  /** Called for what was looked at and is no certificate. */
  readonly passedOver?: ((element: PassedOver) => void) | undefined;
  /**
   * Where listings do not show that content changed (`abilities.silentListings`), of which elements
   * a direct read tells the version. Absent: of none. Of the others nothing is said of their
   * content.
   */
  readonly versionsOf?: (listed: CertificateMetadata) => boolean;
  /** Called now and then while versions are asked for, which takes a request for each. */
  readonly asking?: (() => Promise<void> | void) | undefined;
  /**
   * For waits: a listing that the store limits is asked again when the store allows. Absent: it
   * throws.
   */
  readonly runtime?: Runtime;
  readonly signal?: AbortSignal | undefined;
  /** Called for each page. */
  readonly paged?: () => void;
}

/**
 * All metadata of a store, page by page; what cannot be read goes to `unreadable`, and keeps no
 * other from being listed. A listing that runs in circles ends in `store_nonsense`, one whose
 * signal is aborted in the signal's reason, between two pages.
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
    yield* withVersions(store, answer.certificates, options);
    if (answer.cursor === undefined) return;
    cursor = answer.cursor;
  }
  throw new CodedError('store_nonsense', `the listing of ${store.id} does not end after ${limits.listingPages} pages`, {
    fields: { store: store.id },
  });
}

async function onePage(store: Store, cursor: string | undefined, options: ListingOptions): Promise<ListPage> {
  const { signal } = options;
  const request = { ...defined({ cursor }), ...(signal ? { signal } : {}) };
  for (let tries = 1; ; tries += 1) {
    try {
      return await store.list(request);
    } catch (thrown) {
      if (!(await waitedFor(asCodedError(thrown), tries, options))) throw thrown;
    }
  }
}

/** Waits where the store allows more requests soon, and answers whether to ask it again. */
async function waitedFor(
  { code, retryAfterMs }: CodedError,
  tries: number,
  { runtime, signal }: Pick<ListingOptions, 'runtime' | 'signal'>,
): Promise<boolean> {
  const worthIt = retryAfterMs !== undefined && retryAfterMs <= limits.listingWaitMs;
  if (code !== 'store_limited' || runtime === undefined || !worthIt || tries >= limits.listingTries) return false;
  await runtime.wait(retryAfterMs, signal);
  return true;
}

/** So many versions are asked for at once. */
const versionsAtOnce = 32;

/** What was listed, with the versions that are there now, where the listing does not show them. */
async function* withVersions(
  store: Store,
  listed: readonly CertificateMetadata[],
  options: ListingOptions,
): AsyncGenerator<CertificateMetadata> {
  const { versionsOf = () => false, asking, signal } = options;
  if (store.abilities.silentListings !== true) return yield* listed;
  for (let from = 0; from < listed.length; from += versionsAtOnce) {
    signal?.throwIfAborted();
    const some = listed.slice(from, from + versionsAtOnce);
    yield* await Promise.all(
      some.map((metadata) => (versionsOf(metadata) ? versionOf(store, metadata, options) : asListed(store, metadata))),
    );
    await asking?.();
  }
}

/**
 * What a direct read says. Where it says nothing the version is not known, and only a look tells.
 */
async function versionOf(
  store: Store,
  listed: CertificateMetadata,
  options: ListingOptions,
): Promise<CertificateMetadata> {
  const { runtime = systemRuntime, signal } = options;
  for (let tries = 1; ; tries += 1) {
    const reading = await readMetadataInTime(runtime, store, listed.id, signal);
    if (reading.state === 'present') return reading.value;
    const isAskedAgain = reading.state === 'unreadable' && (await waitedFor(reading.error, tries, options));
    if (!isAskedAgain) return asListed(store, listed);
  }
}

/**
 * What a listing or a search has shown, without what it says of content where that proves nothing.
 */
export function asListed({ abilities }: Store, listed: CertificateMetadata): CertificateMetadata {
  if (abilities.silentListings !== true) return listed;
  const { revision: _revision, lastModified: _at, serial: _serial, ...rest } = listed;
  const { notBefore: _from, notAfter: _until, ...bare } = rest;
  return bare;
}

/**
 * A copy that cannot be read, as far as a listing shows it all the same; `undefined` if not even
 * its mark can be.
 */
export function copyOf({ id, mark, name }: UnreadableElement): CertificateMetadata | undefined {
  if (id === undefined || mark === undefined) return undefined;
  return { id, name: name ?? id, description: '', tags: [], domains: [], mark };
}

/**
 * What is found of each mark that somebody waits for, by its digest: memory grows with those who
 * wait, not with the estate.
 */
type Wanted = Map<string, { readonly copies: CertificateMetadata[]; readonly vacant: VacantElement[] }>;

interface Listing {
  readonly wanted: Wanted;
  /** Copies of which nobody can say whose they are. */
  readonly unreadable: UnreadableElement[];
  readonly listed: Promise<void>;
  /** When it began; absent: it has not. */
  beganAt?: number;
}

/** What a search found, as it was when the search began. */
export interface Search {
  readonly copies: readonly CertificateMetadata[];
  readonly beganAt: number;
}

interface KeptSearch extends Search {
  readonly vacant: readonly VacantElement[];
  readonly unreadable: readonly UnreadableElement[];
  readonly endedAt: number;
  /** When it was told first; absent: it has not been. */
  readonly toldAt?: number;
}

/** What is known of the listings of one store. */
interface Listings {
  running?: Listing | undefined;
  waiting?: Listing | undefined;
  /** How long the last one took, in milliseconds. */
  lastMs?: number;
  /** What was found for those who could not wait for it, by the digest of the mark. */
  readonly kept: Map<string, KeptSearch>;
}

export interface SharedListings {
  /**
   * The copies with this mark, by a listing that starts after this call, or by one that an earlier
   * look asked for and could not wait for, if it began at `since` or later: what is known to be
   * wrong in a search began before that. `patienceMs`: how long
   * the caller can wait; what else is found is told as `Store.findByMark` does. Throws what the
   * listing throws, and `store_search_running` where it is known to take longer than that.
   */
  marked(
    store: Store,
    mark: FoundMark,
    options: {
      readonly patienceMs: number;
      readonly since?: number | undefined;
    } & Pick<FindOptions, 'unreadable' | 'vacant'>,
  ): Promise<Search>;
}

/**
 * Finds copies by their mark in stores that cannot be asked for one, by listing. Listings are
 * shared: one that starts after a look began serves every look that waits for one, so a thousand
 * looks in doubt cost two listings, not a thousand.
 *
 * A listing that takes longer than a look can wait goes on without it, once for all who asked: a
 * later look gets what it found, with the moment at which it began, and none of them begins another
 * one that nobody will wait for.
 */
export function sharedListings(runtime: Runtime): SharedListings {
  const stores = new Map<Store, Listings>();

  async function read(store: Store, { wanted, unreadable }: Pick<Listing, 'wanted' | 'unreadable'>): Promise<void> {
    const found = (metadata: CertificateMetadata) => {
      if (metadata.mark === undefined) return;
      const copies = wanted.get(markDigest(metadata.mark))?.copies;
      // A listing that moves while it is paged may show one certificate twice.
      if (copies !== undefined && !copies.some(({ id }) => id === metadata.id)) copies.push(metadata);
    };
    const vacant = (element: VacantElement) => {
      if (element.mark !== undefined) wanted.get(markDigest(element.mark))?.vacant.push(element);
    };
    const notRead = (element: UnreadableElement) => {
      const copy = copyOf(element);
      if (copy !== undefined) found(copy);
      else if (element.ours && unreadable.length < limits.elementsNamed) unreadable.push(element);
    };
    for await (const metadata of listAll(store, { unreadable: notRead, vacant, runtime })) found(metadata);
  }

  function of(store: Store): Listings {
    const known = stores.get(store) ?? { kept: new Map() };
    stores.set(store, known);
    return known;
  }

  /** The listing that begins next. */
  function next(store: Store): Listing {
    const own = of(store);
    if (own.waiting !== undefined) return own.waiting;
    const before = own.running?.listed ?? Promise.resolve();
    const listed = before
      .catch(() => undefined)
      .then(() => {
        own.waiting = undefined;
        own.running = listing;
        listing.beganAt = runtime.now();
        return read(store, listing);
      })
      .then(() => ended(own, listing))
      .finally(() => {
        if (own.running === listing) own.running = undefined;
      });
    const listing: Listing = { wanted: new Map(), unreadable: [], listed };
    own.waiting = listing;
    // Who waits hears of a failure; where nobody does any more, the next one to ask begins anew.
    listed.catch(() => undefined);
    return listing;
  }

  /** Keeps what was found for those who could not wait for it, and forgets what nobody came for. */
  function ended(own: Listings, { wanted, unreadable, beganAt = runtime.now() }: Listing): void {
    const endedAt = runtime.now();
    own.lastMs = endedAt - beganAt;
    for (const [digest, search] of own.kept) if (endedAt - search.endedAt > keptMs) own.kept.delete(digest);
    for (const [digest, found] of wanted) own.kept.set(digest, { ...found, unreadable, beganAt, endedAt });
  }

  return {
    async marked(
      store: Store,
      mark: FoundMark,
      options: { readonly patienceMs: number; readonly since?: number | undefined } & Pick<
        FindOptions,
        'unreadable' | 'vacant'
      >,
    ): Promise<Search> {
      const { patienceMs, since = Number.NEGATIVE_INFINITY } = options;
      const own = of(store);
      const digest = markDigest(mark);
      const now = runtime.now();
      const runningMs = now - (own.running?.beganAt ?? now);
      const isSlow = runningMs > patienceMs || (own.lastMs ?? 0) > patienceMs;
      const kept = own.kept.get(digest);
      own.kept.delete(digest);
      if (isSlow && kept !== undefined && kept.beganAt >= since && now <= (kept.toldAt ?? now) + toldAgainMs) {
        own.kept.set(digest, { ...kept, toldAt: kept.toldAt ?? now });
        tell(kept, options);
        return kept;
      }
      const isSearched = isSlow && own.running?.wanted.has(digest) === true && (own.running.beganAt ?? now) >= since;
      if (isSearched) throw running(store, own, { runningMs, patienceMs, isSearched });
      const listing = next(store);
      const found = listing.wanted.get(digest) ?? { copies: [], vacant: [] };
      listing.wanted.set(digest, found);
      if (isSlow) throw running(store, own, { runningMs, patienceMs, isSearched });
      await listing.listed;
      // Who could not wait so long is not there any more: it is kept for a later look.
      if (runtime.now() - now <= patienceMs) own.kept.delete(digest);
      tell({ ...found, unreadable: listing.unreadable }, options);
      return { copies: found.copies, beganAt: listing.beganAt ?? now };
    },
  };
}

/** Tells what was found beside copies. */
function tell(
  found: Pick<KeptSearch, 'vacant' | 'unreadable'>,
  { unreadable, vacant }: Pick<FindOptions, 'unreadable' | 'vacant'>,
): void {
  for (const copy of found.unreadable) unreadable?.(copy);
  for (const element of found.vacant) vacant?.(element);
}

/** How long what was found is kept for those who asked for it. */
const keptMs = 3_600_000;
/**
 * How long it is told once more to who asks again and has no reason to doubt it: a look that waits
 * for several slow backups at once has the answers of all of them then. Else what one of them found
 * would be used up while the other one is searched, by turns for ever.
 */
const toldAgainMs = 15 * 60_000;
/** A search is asked after again at least this often: how long it takes is a guess. */
const longestGuessMs = 15 * 60_000;

function running(
  store: Store,
  { lastMs }: Listings,
  search: { readonly runningMs: number; readonly patienceMs: number; readonly isSearched: boolean },
): CodedError {
  const { runningMs, patienceMs, isSearched } = search;
  const expectedMs = lastMs ?? 2 * runningMs;
  const remainingMs = (isSearched ? 0 : expectedMs) + Math.max(0, expectedMs - runningMs);
  const retryAfterMs = Math.ceil(Math.min(longestGuessMs, Math.max(patienceMs, remainingMs)));
  const message = `${store.id} is being searched for copies, which takes longer than a look`;
  return new CodedError('store_search_running', message, { fields: { store: store.id, retryAfterMs } });
}
