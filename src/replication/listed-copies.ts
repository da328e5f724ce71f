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
  /** Certificates with a copy, by their id in the primary. Values are read with `copiesIn`. */
  readonly copies: CompactMap;
  /** Certificates with a place of ours that holds no content, by their id in the primary. Values are read with `placesIn`. */
  readonly vacant: CompactMap;
  /** Certificates without a mark. */
  readonly unmarked: number;
  /** Copies of which nobody can say whose they are. */
  readonly unreadable: readonly UnreadableElement[];
}

/** Lists a backup. `foreign` is called for each certificate without a mark. Throws what the listing throws. */
export async function listCopies(
  primary: string,
  store: Store,
  options: Omit<ListingOptions, 'unreadable'> & { readonly foreign?: (id: string, name: string) => void } = {},
): Promise<ListedCopies> {
  const copies = compactMap();
  const vacant = compactMap();
  let unmarked = 0;
  const unreadable: UnreadableElement[] = [];
  const note = (metadata: CertificateMetadata) => {
    const { mark, id } = metadata;
    if (mark === undefined) {
      unmarked += 1;
      options.foreign?.(id, metadata.name);
    }
    if (mark?.store !== primary) return;
    // A listing that moves while it is paged may show one copy twice.
    const others = copiesIn(copies, mark.certificate).filter((copy) => copy.id !== id);
    const copy: ListedCopy = { id, revision: metadata.revision ?? '', facts: listedFacts(metadata) };
    const rows = [...others, copy].map(({ id, revision, facts }) => [id, revision, facts]);
    copies.set(mark.certificate, JSON.stringify(rows));
  };
  const notRead = (element: UnreadableElement) => {
    const copy = copyOf(element);
    if (copy !== undefined) note(copy);
    else if (element.ours) unreadable.push(element);
    // What others made and damaged is theirs.
    else unmarked += 1;
  };
  const noteVacant = ({ id, why, mark }: VacantElement) => {
    if (mark?.store !== primary) return;
    const others = placesIn(vacant, mark.certificate).filter((place) => place.id !== id);
    vacant.set(mark.certificate, JSON.stringify([...others, { id, why }]));
  };
  for await (const metadata of listAll(store, { ...options, unreadable: notRead, vacant: noteVacant })) note(metadata);
  return { store: store.id, copies, vacant, unmarked, unreadable };
}

/** All places of a certificate that were listed and hold no content. */
export function placesIn(vacant: CompactMap, certificate: string): readonly Pick<VacantElement, 'id' | 'why'>[] {
  const listed = vacant.get(certificate);
  return listed === undefined ? [] : (JSON.parse(listed) as readonly Pick<VacantElement, 'id' | 'why'>[]);
}

/** All copies of a certificate that were listed. */
export function copiesIn(copies: CompactMap, certificate: string): readonly ListedCopy[] {
  const listed = copies.get(certificate);
  if (listed === undefined) return [];
  const rows = JSON.parse(listed) as readonly (readonly [string, string, string])[];
  return rows.map(([id, revision, facts]) => ({ id, revision, facts }));
}
