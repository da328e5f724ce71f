import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { type BackupState, heldNow, type ReplicationRecord } from '../../records/replication-record.ts';
import type { Runtime } from '../../runtime.ts';
import type { Mark } from '../../store/mark.ts';
import type {
  CertificateMetadata,
  Reading,
  Store,
  StoredCertificate,
  UnreadableElement,
  VacantElement,
} from '../../store/store.ts';
import { withDeadline } from '../deadline.ts';
import type { KeysRead } from '../keys-read.ts';
import { asListed, type SharedListings } from '../shared-listing.ts';

/** What one look saw at one backup. */
export interface BackupLook {
  readonly store: Store;
  readonly state: BackupState;
  /** What is under the id that the record knows; absent if it knows none. */
  readonly known?: Reading<CertificateMetadata>;
  /** The copies found by our mark; absent if it was not looked for. */
  readonly marked?: readonly CertificateMetadata[];
  /** Places with our mark that are occupied and hold no content, found along with them. */
  readonly vacant?: readonly VacantElement[];
  /** When the search for them began: it may have begun before this look. Absent: with this look. */
  readonly searchedAt?: number;
  /** Copies of which nobody can say whose they are, because their mark cannot be read. */
  readonly unreadable?: readonly UnreadableElement[];
  /** Why the copies could not be looked for. */
  readonly markedError?: CodedError;
}

/** A read that ends by a moment, as the store's own answer or as unreadable. */
export function readBy<T>(
  runtime: Runtime,
  at: number,
  store: Store,
  read: (signal: AbortSignal) => Promise<Reading<T>>,
): Promise<Reading<T>> {
  return withDeadline<Reading<T>>(runtime, at, read, () => ({
    state: 'unreadable',
    error: new CodedError('store_unavailable', `${store.id} did not answer a read in time`, {
      fields: { store: store.id },
    }),
  })).catch((thrown: unknown): Reading<T> => ({ state: 'unreadable', error: asCodedError(thrown) }));
}

/** What one look saw at the primary. */
export interface PrimaryLook {
  readonly reading: Reading<StoredCertificate>;
  /** What the service says about a certificate whose content cannot be understood. */
  readonly described?: CertificateMetadata;
}

/** Looks at the primary in full. */
export async function lookAtPrimary(options: {
  readonly runtime: Runtime;
  readonly at: number;
  readonly store: Store;
  readonly id: string;
  readonly keys: KeysRead;
}): Promise<PrimaryLook> {
  const { runtime, at, store, id, keys } = options;
  const reading = await readBy(runtime, at, store, async (signal) => keys.keep(await store.read(id, { signal })));
  if (reading.state !== 'unreadable' || reading.error.code !== 'store_content_unreadable') return { reading };
  const described = await readBy(runtime, at, store, (signal) => store.readMetadata(id, { signal }));
  return described.state === 'present' ? { reading, described: described.value } : { reading };
}

/**
 * Looks at one backup: at the id that the record knows, and by our mark where there is doubt, where
 * the service can be asked for a mark directly, where this backup has not completed its first
 * reconcile, or where the known id turns out to be vacant: a copy that lives is adopted before that
 * one is brought back. Answers instead of throwing.
 */
export async function lookAtBackup(options: {
  readonly runtime: Runtime;
  readonly at: number;
  readonly store: Store;
  readonly state: BackupState;
  readonly mark: Mark;
  readonly byMark: boolean;
  /** A search that began before this moment tells nothing; absent: any does. */
  readonly since?: number | undefined;
  readonly listings: SharedListings;
}): Promise<BackupLook> {
  const { runtime, at, store, state } = options;
  const { id } = state;
  const [known, found] = await Promise.all([
    id === undefined ? undefined : readBy(runtime, at, store, (signal) => store.readMetadata(id, { signal })),
    options.byMark || store.abilities.findsMarks ? findCopies(options) : undefined,
  ]);
  const copies = found ?? (known?.state === 'vacant' ? await findCopies(options) : undefined);
  return { store, state, ...defined({ known }), ...copies };
}

/**
 * When what the known copy holds ends, as this look saw it, or one before: kept in the record where
 * the copy stays as it is though the primary holds something else.
 */
export function endOfCopy({ known, state }: BackupLook): Pick<BackupState, 'notAfter'> {
  const shown = known?.state === 'present' ? known.value.notAfter : undefined;
  const notAfter = shown ?? state.notAfter;
  return notAfter === undefined || Number.isNaN(notAfter) ? {} : { notAfter };
}

/** When the search for copies began, which may be before the look did. */
export function searchBeganAt({ searchedAt = Number.POSITIVE_INFINITY }: BackupLook, lookBeganAt: number): number {
  return Math.min(searchedAt, lookBeganAt);
}

async function findCopies(search: {
  readonly runtime: Runtime;
  readonly at: number;
  readonly store: Store;
  readonly mark: Mark;
  readonly listings: SharedListings;
  readonly since?: number | undefined;
}): Promise<Pick<BackupLook, 'marked' | 'searchedAt' | 'vacant' | 'unreadable' | 'markedError'>> {
  const { runtime, at, store, mark, listings, since } = search;
  const notRead: UnreadableElement[] = [];
  const places: VacantElement[] = [];
  const tell = {
    unreadable: (copy: UnreadableElement) => void notRead.push(copy),
    vacant: (element: VacantElement) => void places.push(element),
  };
  const find = async (signal: AbortSignal): Promise<Pick<BackupLook, 'marked' | 'searchedAt'>> => {
    if (store.findByMark !== undefined) {
      const marked = await store.findByMark(mark, { signal, ...tell });
      return { marked: marked.map((copy) => asListed(store, copy)) };
    }
    const patienceMs = at - runtime.now();
    const { copies, beganAt } = await listings.marked(store, mark, { patienceMs, since, ...tell });
    return { marked: copies, searchedAt: beganAt };
  };
  try {
    return {
      unreadable: notRead,
      vacant: places,
      ...(await withDeadline(runtime, at, find, () => {
        throw new CodedError('store_unavailable', `${store.id} could not be searched for copies in time`, {
          fields: { store: store.id },
        });
      })),
    };
  } catch (thrown) {
    return { markedError: asCodedError(thrown) };
  }
}

/**
 * The state of each backup of the link, in the link's order. What the record says about stores that
 * are no longer backups is dropped, and so is what it says of a copy's content and nobody can rely
 * on any more: it must not be written into it again.
 */
export function backupStates(record: ReplicationRecord, backups: readonly Store[]): readonly BackupState[] {
  return backups.map(({ id }): BackupState => {
    const found = record.backups.find(({ store }) => store === id) ?? { store: id, attempts: 0 };
    const { held: _held, ...state } = found;
    const held = heldNow(record, id);
    return held === undefined ? state : { ...state, held };
  });
}
