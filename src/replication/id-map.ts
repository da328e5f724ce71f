import { asCodedError, type CodedError } from '../errors.ts';
import type { LinkRecords, Place } from '../records/link-records.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import { formatMark, wholeMark } from '../store/mark.ts';
import type { CertificateMetadata, Store, UnreadableElement } from '../store/store.ts';
import { givenName } from './copy-name.ts';
import { type Link, listedFacts } from './link.ts';
import { copyOf, listAll } from './shared-listing.ts';

/** Where a certificate was, and where it is now. */
export interface MappedId {
  /** Empty if nobody knows it any more. */
  readonly name: string;
  readonly before: Place;
  readonly now: Place;
}

export interface IdMap {
  readonly rows: readonly MappedId[];
  /** Stores whose marks could not be asked: what the table does not know of them is missing. */
  readonly notListed: readonly { readonly store: string; readonly error: CodedError }[];
}

/**
 * The old and new ids of all certificates of a link that were ever moved to the primary that it has
 * now, at any time: from the table, and from the marks in its stores, which tell of a move that was
 * not finished, or that is written down on another machine's table. With `marks: false` no store is
 * asked. `others` are primaries of other links: their marks are no moves of this one. Throws what
 * the table throws.
 */
export async function idMap(
  parts: { readonly linkRecords: LinkRecords; readonly records: ReplicationRecords; readonly runtime: Runtime },
  link: Link,
  options: {
    readonly marks: boolean;
    readonly others?: ReadonlySet<string>;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<IdMap> {
  const { primary } = link;
  const listed = options.marks ? await listings(parts, link, options.signal) : noListings;
  const names = new Map(listed.primary.map(({ id, name }) => [id, name]));
  const rows = new Map<string, MappedId>();
  const add = (row: MappedId) => {
    if (keyOf(row.before) !== keyOf(row.now)) rows.set(`${keyOf(row.before)} ${keyOf(row.now)}`, row);
  };

  const homes = new Map<string, Place>();
  const kept: { readonly name: string; readonly now: Place }[] = [];
  for await (const { now, before, name } of parts.linkRecords.homes(link.name)) {
    homes.set(keyOf(now), before);
    if (now.store === primary.id) kept.push({ now, name: name ?? '' });
  }
  for (const { now, name: keptName } of kept) {
    const record = keptName === '' ? await parts.records.get(link.name, now.certificate) : undefined;
    const name = names.get(now.certificate) ?? record?.primary?.name ?? keptName;
    // It may have been moved more than once: each of the older ids finds it too.
    const seen = new Set<string>();
    for (let before = homes.get(keyOf(now)); before !== undefined && !seen.has(keyOf(before)); ) {
      seen.add(keyOf(before));
      add({ name, before, now });
      before = homes.get(keyOf(before));
    }
  }
  for (const row of byMarks(link, listed, options.others ?? new Set())) add(row);
  const sorted = [...rows.values()].toSorted((a, b) =>
    order(`${a.name} ${keyOf(a.before)}`, `${b.name} ${keyOf(b.before)}`),
  );
  return { rows: sorted, notListed: listed.notListed };
}

interface Listings {
  readonly primary: readonly CertificateMetadata[];
  readonly backups: readonly { readonly store: Store; readonly copies: readonly CertificateMetadata[] }[];
  readonly notListed: IdMap['notListed'];
}
const noListings: Listings = { primary: [], backups: [], notListed: [] };

async function listings(
  { runtime }: { readonly runtime: Runtime },
  { primary, backups }: Link,
  signal: AbortSignal | undefined,
): Promise<Listings> {
  const notListed: { store: string; error: CodedError }[] = [];
  const listOf = async (store: Store) => {
    const found: CertificateMetadata[] = [];
    try {
      const unreadable = (element: UnreadableElement) => {
        const copy = copyOf(element);
        if (copy !== undefined) found.push(copy);
      };
      for await (const metadata of listAll(store, { runtime, signal, unreadable })) found.push(metadata);
    } catch (thrown) {
      if (signal?.aborted === true) throw thrown;
      notListed.push({ store: store.id, error: asCodedError(thrown) });
    }
    return found;
  };
  const [first, ...rest] = await Promise.all([primary, ...backups].map(listOf));
  return {
    primary: first ?? [],
    backups: backups.map((store, index) => ({ store, copies: rest[index] ?? [] })),
    notListed,
  };
}

/**
 * What the marks tell: one in the primary names where it came from; one in a backup names an
 * original that the primary holds again.
 */
function* byMarks({ primary }: Link, listed: Listings, others: ReadonlySet<string>): Generator<MappedId> {
  const isElsewhere = (store: string) => store !== primary.id && !others.has(store);
  for (const { id, mark: found, name } of listed.primary) {
    const mark = wholeMark(found);
    if (mark !== undefined && isElsewhere(mark.store))
      yield { name: givenName(name, mark, primary), before: mark, now: { store: primary.id, certificate: id } };
  }
  const sameThere = new Map<string, CertificateMetadata | 'several'>();
  for (const metadata of listed.primary) {
    const key = contentKey(metadata);
    if (key !== undefined) sameThere.set(key, sameThere.has(key) ? 'several' : metadata);
  }
  const seen = new Set<string>();
  for (const { copies } of listed.backups)
    for (const copy of copies) {
      const mark = wholeMark(copy.mark);
      if (mark === undefined || !isElsewhere(mark.store) || seen.has(formatMark(mark))) continue;
      const same = sameThere.get(contentKey(copy) ?? '');
      if (same === undefined || same === 'several') continue;
      seen.add(formatMark(mark));
      yield { name: same.name, before: mark, now: { store: primary.id, certificate: same.id } };
    }
}

/**
 * The same certificate, by what an authority never gives twice; `undefined` where the listing does
 * not say enough.
 */
function contentKey(metadata: CertificateMetadata): string | undefined {
  const { serial, issuer } = metadata;
  return serial === undefined ? undefined : `${listedFacts(metadata)} ${issuer ?? ''}`;
}

const keyOf = ({ store, certificate }: Place) => JSON.stringify([store, certificate]);
const order = (a: string, b: string) => (a < b ? -1 : Number(a > b));
