import { CodedError } from '../errors.ts';
import { isOfStore, isWhole, markDigest } from '../store/mark.ts';
import type { CertificateMetadata, Store, UnreadableElement, VacantElement } from '../store/store.ts';
import { type CompactMap, compactMap } from './compact-map.ts';
import { listedFacts } from './link.ts';
import { copyOf, type ListingOptions, listAll } from './shared-listing.ts';

/** A copy with our mark, as a listing shows it. */
export interface ListedCopy {
  readonly id: string;
  readonly revision: string;
  readonly facts: string;
}

/** The copies that one backup lists of the certificates of one primary. */
export interface ListedCopies {
  readonly store: string;
  readonly primary: string;
  /** Certificates with a copy, by their id in the primary. Values are read with `copiesIn`. */
  readonly copies: CompactMap;
  /**
   * Certificates with a place of ours that holds no content, by their id in the primary. Values are
   * read with `placesIn`.
   */
  readonly vacant: CompactMap;
  /**
   * Copies by the digest of their mark, where the store keeps no more of it, as far as nobody has
   * asked for their certificates.
   */
  readonly digested: Map<string, readonly ListedCopy[]>;
  /** Certificates without a mark. */
  readonly unmarked: number;
  /** Copies of which nobody can say whose they are. */
  readonly unreadable: readonly UnreadableElement[];
}

/**
 * Lists a backup. `foreign` is called for each certificate without a mark; `versions`: a direct
 * read tells the version of each copy where listings do not show it. Throws what the listing
 * throws.
 */
export async function listCopies(
  primary: string,
  store: Store,
  options: Omit<ListingOptions, 'unreadable' | 'versionsOf'> & {
    readonly foreign?: (id: string, name: string) => void;
    readonly versions?: boolean;
  } = {},
): Promise<ListedCopies> {
  const copies = compactMap();
  const vacant = compactMap();
  const digested = new Map<string, readonly ListedCopy[]>();
  let unmarked = 0;
  const unreadable: UnreadableElement[] = [];
  const note = (metadata: CertificateMetadata) => {
    const { mark, id } = metadata;
    if (mark === undefined) {
      unmarked += 1;
      options.foreign?.(id, metadata.name);
    }
    if (mark === undefined || !isOfStore(mark, primary)) return;
    const copy: ListedCopy = { id, revision: metadata.revision ?? '', facts: listedFacts(metadata) };
    // A listing that moves while it is paged may show one copy twice.
    const others = (of: readonly ListedCopy[]) => of.filter((other) => other.id !== id);
    if (isWhole(mark)) writeCopies(copies, mark.certificate, [...others(readCopies(copies, mark.certificate)), copy]);
    else digested.set(mark.digest, [...others(digested.get(mark.digest) ?? []), copy]);
  };
  const notRead = (element: UnreadableElement) => {
    const copy = copyOf(element);
    if (copy !== undefined) note(copy);
    else if (element.ours) unreadable.push(element);
    // What others made and damaged is theirs.
    else unmarked += 1;
  };
  const noteVacant = ({ id, why, mark }: VacantElement) => {
    if (mark === undefined || !isOfStore(mark, primary)) return;
    const key = isWhole(mark) ? mark.certificate : digestKey(mark.digest);
    const others = readPlaces(vacant, key).filter((place) => place.id !== id);
    vacant.set(key, JSON.stringify([...others, { id, why }]));
  };
  const isCopy = ({ mark }: CertificateMetadata) => mark !== undefined && isOfStore(mark, primary);
  const listing = { ...options, unreadable: notRead, vacant: noteVacant };
  const versionsOf = (listed: CertificateMetadata) => options.versions === true && isCopy(listed);
  for await (const metadata of listAll(store, { ...listing, versionsOf })) note(metadata);
  return { store: store.id, primary, copies, vacant, digested, unmarked, unreadable };
}

/** All places of a certificate that were listed and hold no content. */
export function placesIn(
  { primary: store, vacant }: ListedCopies,
  certificate: string,
): readonly Pick<VacantElement, 'id' | 'why'>[] {
  if (vacant.size === 0) return [];
  const digest = digestKey(markDigest({ store, certificate }));
  return [...readPlaces(vacant, certificate), ...readPlaces(vacant, digest)];
}

/**
 * Where the place of a mark stands of which no more than the digest is known. No id of a
 * certificate begins so.
 */
const digestKey = (digest: string) => `\0${digest}`;

function readPlaces(vacant: CompactMap, key: string): readonly Pick<VacantElement, 'id' | 'why'>[] {
  const listed = vacant.get(key);
  return listed === undefined ? [] : (JSON.parse(listed) as readonly Pick<VacantElement, 'id' | 'why'>[]);
}

/** A backup that could not be listed, or shows nothing. */
export function noListedCopies(primary: string, store: string): ListedCopies {
  return {
    store,
    primary,
    copies: compactMap(),
    vacant: compactMap(),
    digested: new Map(),
    unmarked: 0,
    unreadable: [],
  };
}

/**
 * All copies of a certificate that were listed, those too that are known by the digest of their
 * mark alone.
 */
export function copiesIn(listed: ListedCopies, certificate: string): readonly ListedCopy[] {
  claimDigested(listed, certificate);
  return readCopies(listed.copies, certificate);
}

/**
 * Notes that a certificate with copies is known: what stays unticked is an orphan. Answers whether
 * it has any.
 */
export function tickCopies(listed: ListedCopies, certificate: string): boolean {
  claimDigested(listed, certificate);
  return listed.copies.tick(certificate);
}

/** What stands in a backup with a digest for its mark, of which no certificate is known. */
export function ofUnknownMark({
  store,
  digested,
}: ListedCopies): readonly (UnreadableElement & { readonly id: string })[] {
  return [...digested.values()].flat().map(({ id }) => {
    const message = `the mark of ${id} is kept by its digest, and no certificate is known that it could be of`;
    const error = new CodedError('store_mark_unknown', message, { fields: { store, certificate: id } });
    return { id, place: id, error, ours: true };
  });
}

/** Puts copies that are known by digest where those of this certificate are. */
function claimDigested({ primary: store, copies, digested }: ListedCopies, certificate: string): void {
  if (digested.size === 0) return;
  const digest = markDigest({ store, certificate });
  const found = digested.get(digest);
  if (found === undefined) return;
  digested.delete(digest);
  writeCopies(copies, certificate, [...readCopies(copies, certificate), ...found]);
}

function writeCopies(copies: CompactMap, certificate: string, all: readonly ListedCopy[]): void {
  copies.set(certificate, JSON.stringify(all.map(({ id, revision, facts }) => [id, revision, facts])));
}

function readCopies(copies: CompactMap, certificate: string): readonly ListedCopy[] {
  const listed = copies.get(certificate);
  if (listed === undefined) return [];
  const rows = JSON.parse(listed) as readonly (readonly [string, string, string])[];
  return rows.map(([id, revision, facts]) => ({ id, revision, facts }));
}
