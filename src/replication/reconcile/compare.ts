import { defined } from '../../defined.ts';
import { asCodedError, type CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { errorFields, type Log } from '../../log.ts';
import type { LinkRecords } from '../../records/link-records.ts';
import type { Silence, Vanished } from '../../records/reconcile-records.ts';
import type { BackupState, Refusal, ReplicationRecord, UnreadableRecord } from '../../records/replication-record.ts';
import type { ReplicationRecords } from '../../records/replication-records.ts';
import type { Runtime } from '../../runtime.ts';
import type { CertificateMetadata, PassedOver, UnreadableElement, VacantElement } from '../../store/store.ts';
import { brakeTally, type HeldFound } from '../brake-finding.ts';
import { type CompactMap, compactMap } from '../compact-map.ts';
import { includes, includesName, type Link, listedFacts, namesExactly } from '../link.ts';
import {
  copiesIn,
  type ListedCopies,
  type ListedCopy,
  listCopies,
  ofUnknownMark,
  placesIn,
  tickCopies,
} from '../listed-copies.ts';
import { regionProblem } from '../pass/judge.ts';
import { listAll } from '../shared-listing.ts';
import { silenceAfter } from '../silence.ts';
import { eventGraceMs, shownAfterMs, type Timing } from '../timing.ts';
import { unkeptId } from '../unkept-id.ts';
import { isGoneAccepted, type VanishedFound, vanishedTally } from '../vanished.ts';

/** Why a certificate is asked for. */
export type Reason =
  /** The records know nothing of it. */
  | 'unknown'
  /** A backup does not list a copy. */
  | 'missing'
  /** The primary lists it as something that cannot be read, or is no certificate any more. */
  | 'unreadable'
  /** It changed in the primary, and no event told. */
  | 'different'
  /**
   * Its revision moved in the primary, and what else is listed is as it was: only a look tells
   * whether it changed.
   */
  | 'revision-moved'
  /** Its copy changed, and not by us. */
  | 'changed-at-the-backup'
  /** The revision of its copy moved, and what else is listed is as it was. */
  | 'revision-moved-at-the-backup'
  | 'not-the-recorded-copy'
  /** A backup lists several copies. */
  | 'doubled'
  /** There are records of it, and the primary does not list it. */
  | 'gone-from-primary'
  /** There is a copy with our mark, but no record, and the primary does not list it. */
  | 'orphaned'
  /** It has been gone as long as the policy says. */
  | 'removal-due'
  | 'due-for-a-full-look';

export interface Comparer {
  readonly records: ReplicationRecords;
  readonly linkRecords: Pick<LinkRecords, 'reconcileState'>;
  readonly runtime: Runtime;
  readonly timing: Timing;
  readonly log: Log;
}

/** What both listings and the records say, at one moment: nothing has been asked for yet. */
export interface Comparison {
  readonly startedAt: number;
  /**
   * Certificates listed in the primary, how many of them the filter includes, and how many of these
   * have expired.
   */
  readonly listed: number;
  readonly included: number;
  readonly expired: number;
  /** What to ask for: certificates, and the `Reason` of each. */
  readonly asks: CompactMap;
  /**
   * Of what is asked for, certificates of which nothing tells that they changed: if they did, the
   * pass counts it.
   */
  readonly unannounced: CompactMap;
  /** What the brake keeps from being written until a person has spoken. */
  readonly held?: HeldFound;
  /** Of what is asked for in doubt, the backups that are doubted: see `doubtedIn`. */
  readonly doubted: CompactMap;
  readonly counts: Readonly<Partial<Record<Reason, number>>>;
  /** Certificates that have a copy, by the records. */
  readonly copied: number;
  /**
   * How many of these would be written over, or have lost their original, without having been asked
   * for before.
   */
  readonly changing: number;
  readonly vanishing: number;
  /**
   * What is gone from the primary, more than is lost on an ordinary day. While it stands nothing is
   * asked to be removed.
   */
  readonly vanished?: VanishedFound;
  /** What stood as such before. */
  readonly vanishedBefore?: Vanished;
  /** What the last reconciles found changed, and no event told of; absent: nothing. */
  readonly silence?: Silence;
  /** Copies of certificates that are gone, and are kept. */
  readonly retained: number;
  /** Certificates in the backups that are not ours. */
  readonly unmarked: number;
  readonly compared: readonly string[];
  /**
   * Backups that could not be listed: nothing is known of them, and the others were compared all
   * the same.
   */
  readonly notListed: readonly { readonly store: string; readonly error: CodedError }[];
  /** What stands in a store, cannot be read, and has no record that tells of it. */
  readonly notRead: readonly NotRead[];
  /** What the primary holds that is no certificate: how much, and the first of it. */
  readonly passedOver: { readonly count: number; readonly first: readonly PassedOver[] };
  /** Pages of listings that were asked for. */
  readonly pages: number;
}

/** Something in a store that cannot be read. */
export interface NotRead {
  readonly store: string;
  readonly id?: string;
  /** Where, for people. */
  readonly place: string;
  readonly error: CodedError;
}

const concurrency = 32;

/**
 * Compares both sides of a link with each other and with the records, by listings, without keys.
 * Only reads. Memory holds some bytes for each certificate, outside of the heap. `moved` is called
 * now and then with how many certificates were compared. Throws what the primary's listing, the
 * last backup's, or the table throws, or the reason of the signal.
 */
export async function compare(
  comparer: Comparer,
  link: Link,
  options: {
    readonly signal?: AbortSignal | undefined;
    /** Has everything looked at in full, whether it is its turn or not. */
    readonly full?: boolean | undefined;
    readonly moved?: (compared: number) => Promise<void> | void;
  } = {},
): Promise<Comparison> {
  const { runtime, timing, records } = comparer;
  const { signal, moved, full = false } = options;
  const startedAt = runtime.now();
  const tally = { listed: 0, included: 0, expired: 0, pages: 0 };
  const told = { untold: 0, toldAt: 0 };
  const paged = () => {
    tally.pages += 1;
  };
  const asking = () => moved?.(tally.listed);
  const [{ backups, notListed }, { vanished: standing, silence: before }] = await Promise.all([
    listBackups(comparer, link, { signal, paged, asking }),
    comparer.linkRecords.reconcileState(link.name),
  ]);
  const lost = vanishedTally(link, startedAt, standing);
  const found = findings();
  const beside = elementsBeside(comparer, link);
  // What the primary lists is ticked where a backup has a copy of it; only what no backup has is
  // written down.
  const uncopied = compactMap();
  const tick = (id: string) => backups.filter((side) => tickCopies(side, id)).length > 0;
  const wasSeen = (id: string) => uncopied.tick(id) || backups.some(({ copies }) => copies.isTicked(id));

  /** Answers whether it is the first time. */
  const see = (id: string) => {
    // A listing that moves while it is paged may show one certificate twice.
    if (wasSeen(id)) return false;
    if (!tick(id)) uncopied.set(id, '');
    return true;
  };

  // A certificate whose record cannot be understood is told of; what there is to do about it,
  // nobody knows.
  const damagedRows = new Map<string, NotRead>();
  const unreadableRow = ({ certificate: id, error }: UnreadableRecord) =>
    void damagedRows.set(id, { store: link.primary.id, id, place: `the record of ${id}`, error });
  const recordOf = async (id: string) => {
    try {
      return await records.get(link.name, id);
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (error.code !== 'table_row_unreadable') throw thrown;
      unreadableRow({ certificate: id, error });
      return undefined;
    }
  };

  const versionsOf = ({ name }: CertificateMetadata) => includesName(link.filter, name);
  const listing = listAll(link.primary, { runtime, signal, paged, versionsOf, asking, ...beside });
  for await (const batch of batches(listing, concurrency)) {
    const fresh = batch.filter(({ id }) => beside.canBeKept(id) && see(id));
    tally.listed += fresh.length;
    const included = fresh.filter((metadata) => includes(link.filter, metadata));
    tally.included += included.length;
    for (const _ of included) lost.present();
    tally.expired += included.filter(({ notAfter = startedAt }) => notAfter < startedAt).length;
    const known = await Promise.all(included.map(({ id }) => recordOf(id)));
    for (const [index, metadata] of included.entries()) {
      if (damagedRows.has(metadata.id)) continue;
      const record = known[index];
      const doubted = suspectCopies(metadata.id, record, backups);
      const reason = reasonToAsk(link, metadata, record, backups, { doubted, now: startedAt, timing });
      told.toldAt = Math.max(told.toldAt, record?.eventAt ?? 0, record?.toldAt ?? 0);
      if (record !== undefined && reason === 'different' && isUntold(record, metadata, startedAt)) told.untold += 1;
      found.note(metadata.id, record, reason ?? (full ? 'due-for-a-full-look' : undefined), doubted);
    }
    await moved?.(tally.listed);
  }
  for (const id of beside.excludedIds()) see(id);
  // What cannot be read is there: it is looked at, and neither gone nor a reason to keep the others
  // waiting.
  for (const batch of batchesOf(beside.unreadableIds(), concurrency)) {
    const known = await Promise.all(batch.map((id) => recordOf(id)));
    for (const [index, id] of batch.entries()) {
      if (!see(id) || damagedRows.has(id)) continue;
      found.note(id, known[index], 'unreadable');
      lost.present();
    }
  }
  // Neither is what holds no content. What was never copied from there is nobody's concern yet.
  for (const batch of batchesOf(beside.vacantIds(), concurrency)) {
    const known = await Promise.all(batch.map((id) => recordOf(id)));
    for (const [index, id] of batch.entries()) {
      const record = known[index];
      if (!see(id) || record === undefined || damagedRows.has(id)) continue;
      found.note(id, record, record.refusal?.code === 'certificate_vacant' ? undefined : 'unreadable');
      lost.present();
    }
  }
  const damaged = damagedCopies(backups);
  const held = brakeTally();
  for await (const record of records.all(link.name, unreadableRow)) {
    const { certificate } = record;
    held.add(record);
    const isListed = wasSeen(certificate);
    tick(certificate);
    for (const { store, id } of record.backups) if (id !== undefined) damaged.known(store, id);
    if (isListed) continue;
    // Its place is occupied by something else: nobody said that it is gone.
    if (beside.isPassedOver(certificate) && record.absentSince === undefined && hasCopy(record)) {
      found.note(certificate, record, 'unreadable');
      lost.present();
      continue;
    }
    found.noteGone(link, record, startedAt);
    if (!mayNotBeListedYet(link, record, { now: startedAt, timing })) lost.gone(record);
  }
  for (const certificate of damagedRows.keys()) tick(certificate);
  const orphans = new Set<string>();
  for (const { store, copies } of backups) {
    for (const certificate of copies.unticked()) {
      // What a mark names is whatever somebody wrote there.
      if (!beside.canBeKept(certificate)) continue;
      found.noteOrphan(certificate, store);
      if (!orphans.has(certificate)) lost.orphan(certificate);
      orphans.add(certificate);
    }
  }
  const unknown = backups.flatMap((side) =>
    ofUnknownMark(side).map(({ id, place, error }) => ({ store: side.store, id, place, error })),
  );
  const silence = silenceAfter(before, { ...told, startedAt });
  const vanished = lost.result();
  const braked = held.result();
  return {
    startedAt,
    ...tally,
    ...found.done(link, vanished === undefined),
    ...defined({ vanished, silence }),
    ...(braked === undefined ? {} : { held: braked }),
    ...(standing === undefined ? {} : { vanishedBefore: standing }),
    unmarked: backups.reduce((sum, { unmarked }) => sum + unmarked, 0),
    compared: backups.map(({ store }) => store),
    notListed,
    notRead: [...damagedRows.values(), ...beside.notRead, ...damaged.unknown(), ...unknown].slice(
      0,
      limits.elementsNamed,
    ),
    passedOver: beside.result(),
  };
}

/** What the primary's listing shows beside certificates. */
function elementsBeside({ records }: Comparer, { name, primary, filter }: Link) {
  const ids = compactMap();
  const excluded = compactMap();
  const vacant = compactMap();
  const passed = compactMap();
  const notRead: NotRead[] = [];
  const first: PassedOver[] = [];
  let count = 0;
  const add = ({ id, place, error }: UnreadableElement) => {
    if (notRead.length < limits.elementsNamed) notRead.push({ store: primary.id, ...defined({ id }), place, error });
  };
  /** No record holds an id that is longer than the key of a row: it is told of by name. */
  const canBeKept = (id: string): boolean => {
    if (records.canHold(name, id)) return true;
    if (!notRead.some((told) => told.id === id)) add({ id, place: id, error: unkeptId(primary.id, id) });
    return false;
  };
  return {
    notRead,
    canBeKept,
    unreadable(element: UnreadableElement): void {
      const { id } = element;
      // Domains are not known; a name that no pattern fits is excluded whatever they are.
      if (element.name !== undefined && !includesName(filter, element.name)) {
        if (id !== undefined) excluded.set(id, '');
      } else if (id === undefined) add(element);
      else if (canBeKept(id)) ids.set(id, '');
    },
    vacant({ id, name: named }: VacantElement): void {
      if (named !== undefined && !includesName(filter, named)) excluded.set(id, '');
      else if (records.canHold(name, id)) vacant.set(id, '');
    },
    passedOver(element: PassedOver): void {
      count += 1;
      if (first.length < limits.elementsNamed) first.push(element);
      if (element.id !== undefined) passed.set(element.id, '');
    },
    unreadableIds: () => ids.keys(),
    vacantIds: () => vacant.keys(),
    excludedIds: () => excluded.keys(),
    isPassedOver: (id: string) => passed.tick(id),
    result: () => ({ count, first }),
  };
}

/**
 * Copies in the backups whose marks cannot be read. Those that a record knows are written anew when
 * it is looked at.
 */
function damagedCopies(backups: readonly ListedCopies[]) {
  const all = new Map(
    backups.flatMap(({ store, unreadable }) =>
      unreadable.map((element): [string, NotRead] => {
        const { id, place, error } = element;
        return [`${store} ${id ?? place}`, { store, ...defined({ id }), place, error }];
      }),
    ),
  );
  return {
    known: (store: string, id: string): void => void all.delete(`${store} ${id}`),
    unknown: (): readonly NotRead[] => [...all.values()],
  };
}

async function listBackups(
  { runtime, log }: Comparer,
  link: Link,
  options: {
    readonly signal: AbortSignal | undefined;
    readonly paged: () => void;
    readonly asking: () => Promise<void> | void;
  },
): Promise<{ readonly backups: readonly ListedCopies[]; readonly notListed: Comparison['notListed'] }> {
  const listings = await Promise.allSettled(
    link.backups.map((store) => listCopies(link.primary.id, store, { runtime, versions: true, ...options })),
  );
  options.signal?.throwIfAborted();
  const backups = listings.flatMap((listing) => (listing.status === 'fulfilled' ? [listing.value] : []));
  const notListed = listings.flatMap((listing, index) =>
    listing.status === 'rejected'
      ? [{ store: link.backups[index]?.id ?? '', error: asCodedError(listing.reason) }]
      : [],
  );
  const [nobody] = notListed;
  if (backups.length === 0 && nobody !== undefined) throw nobody.error;
  for (const { store, error } of notListed)
    log('error', 'backup_not_listed', { link: link.name, backup: store, ...errorFields(error) });
  return { backups, notListed };
}

/**
 * Reasons that write over a copy that is there. What is missing is only added; what is due for a
 * look may well be equal.
 */
export const overwrites: ReadonlySet<Reason> = new Set(['different', 'changed-at-the-backup', 'doubled']);

/** Reasons to look that say nothing of whether content changed. */
const untold: ReadonlySet<Reason> = new Set(['revision-moved', 'revision-moved-at-the-backup', 'due-for-a-full-look']);

const hasCopy = ({ backups }: ReplicationRecord) => backups.some(({ id }) => id !== undefined);
/** Asked for before, and not through: it counted then. */
const isPending = ({ requested, replicated, wakeAt }: ReplicationRecord) =>
  requested > replicated || wakeAt !== undefined;

/** A direct read found it so lately that a listing need not show it. */
function mayNotBeListedYet(
  { primary }: Link,
  record: ReplicationRecord,
  { now, timing }: { readonly now: number; readonly timing: Timing },
): boolean {
  const lagMs = shownAfterMs(primary.abilities.listingLagMs, timing);
  return record.absentSince === undefined && (record.primary?.lookedAt ?? 0) >= now - lagMs && lagMs > 0;
}

/** What a comparison has found so far. */
function findings() {
  const asks = compactMap();
  const doubted = compactMap();
  const unannounced = compactMap();
  const counts: Partial<Record<Reason, number>> = {};
  const due: { readonly certificate: string; readonly since: number }[] = [];
  const tally = { copied: 0, changing: 0, vanishing: 0, retained: 0 };
  const ask = (certificate: string, reason: Reason) => {
    counts[reason] = (counts[reason] ?? 0) + 1;
    asks.set(certificate, reason);
  };
  return {
    note(
      certificate: string,
      record: ReplicationRecord | undefined,
      reason: Reason | undefined,
      suspect: readonly string[] = [],
    ): void {
      const copied = record !== undefined && hasCopy(record);
      if (copied) tally.copied += 1;
      if (reason === undefined) return;
      if (copied && overwrites.has(reason) && !isPending(record)) tally.changing += 1;
      ask(certificate, reason);
      if (untold.has(reason) && record !== undefined && !isPending(record)) unannounced.set(certificate, '');
      if (inDoubt.has(reason)) doubted.set(certificate, JSON.stringify(suspect));
    },
    noteGone({ policy }: Link, record: ReplicationRecord, now: number): void {
      const { certificate, absentSince, backups } = record;
      const copied = hasCopy(record);
      if (copied) tally.copied += 1;
      if (absentSince === undefined) {
        if (copied && !isPending(record) && !isGoneAccepted(record)) tally.vanishing += 1;
        ask(certificate, 'gone-from-primary');
        return;
      }
      if (!copied) return;
      tally.retained += 1;
      const unsaid = backups.some((state) => state.id !== undefined && state.retainedAt === undefined);
      const afterMs = policy.removal?.afterMs ?? Number.POSITIVE_INFINITY;
      if (now - absentSince >= afterMs && due.length < limits.removalsConsidered)
        due.push({ certificate, since: absentSince });
      else if (unsaid && !isPending(record)) ask(certificate, 'gone-from-primary');
    },
    noteOrphan(certificate: string, store: string): void {
      const reason = asks.get(certificate);
      if (reason === undefined) ask(certificate, 'orphaned');
      if (reason === undefined || reason === 'orphaned')
        doubted.set(certificate, JSON.stringify([...doubtedIn({ doubted }, certificate), store]));
    },
    /**
     * Of what is due to be removed as much as the policy allows at once, what has been gone longest
     * first; nothing unless `mayRemove`.
     */
    done({ policy }: Link, mayRemove: boolean) {
      const most = mayRemove ? Math.max(1, Math.floor((policy.removal?.maxShare ?? 0) * tally.copied)) : 0;
      for (const { certificate } of due.toSorted((a, b) => a.since - b.since).slice(0, most))
        ask(certificate, 'removal-due');
      return { asks, doubted, unannounced, counts, ...tally };
    },
  };
}

/**
 * Reasons that lie in which copies there are, and not in what they hold: the look must search for
 * all of them.
 */
const inDoubt: ReadonlySet<Reason> = new Set(['doubled', 'not-the-recorded-copy']);

/**
 * The backups whose copies of a certificate are in doubt, and no others: doubt of one holds back no
 * other's import.
 */
export function doubtedIn({ doubted }: Pick<Comparison, 'doubted'>, certificate: string): readonly string[] {
  return JSON.parse(doubted.get(certificate) ?? '[]') as readonly string[];
}

/**
 * The backups that list several copies of this certificate, another one than the recorded, or a
 * place of ours that holds no content.
 */
function suspectCopies(
  certificate: string,
  record: ReplicationRecord | undefined,
  backups: readonly ListedCopies[],
): readonly string[] {
  const suspect = backups.filter((side) => {
    const [first, ...others] = copiesIn(side, certificate);
    const places = placesIn(side, certificate);
    const recorded = record?.backups.find((state) => state.store === side.store)?.id;
    // A place that holds nothing is brought back where no copy lives, and removed where one does;
    // what is deleted goes by itself.
    if (first === undefined) return places.length > 0 && !places.some(({ id }) => id === recorded);
    return others.length > 0 || first.id !== recorded || places.some(({ why }) => why !== 'deleted');
  });
  return suspect.map(({ store }) => store);
}

/** Why this certificate must be looked at; `undefined` if both listings and the record agree. */
function reasonToAsk(
  link: Link,
  listed: CertificateMetadata,
  record: ReplicationRecord | undefined,
  backups: readonly ListedCopies[],
  given: { readonly doubted: readonly string[]; readonly now: number; readonly timing: Timing },
): Reason | undefined {
  const { doubted, now, timing } = given;
  // What rests by judgement of the primary alone, and has not changed, is not asked for again:
  // nothing would be done.
  if (record !== undefined && rests(link, record, listed))
    return isDueForFullLook(listed.id, record, now, timing) ? 'due-for-a-full-look' : undefined;
  const sides = backups.map((side) => {
    const { store } = side;
    const all = copiesIn(side, listed.id);
    const recorded = record?.backups.find((state) => state.store === store);
    const refuses = record?.refusal !== undefined || refusalHolds(link, recorded?.refusal, listed, now);
    return { all, listed: all[0], recorded, refuses, isGone: isCopyGone(side, recorded, all) };
  });
  if (sides.some(({ all }) => all.length > 1)) return 'doubled';
  if (doubted.length > 0) return 'not-the-recorded-copy';
  if (record === undefined) return 'unknown';

  const isAside = record.aside !== undefined || record.refusal?.byPolicy === true;
  if (isAside || record.absentSince !== undefined) return 'different';
  if (changedHere(record, listed)) return factsChangedHere(record, listed) ? 'different' : 'revision-moved';
  // A backup that refuses this version of the certificate has none of it, or keeps an older one,
  // and is to. But what was refused over a copy is taken where that copy is gone, or has become
  // another.
  if (sides.some((side) => side.listed === undefined && (!side.refuses || side.isGone))) return 'missing';
  const changedThere = sides.some(
    (side) => side.listed !== undefined && (side.recorded?.revision ?? '') !== side.listed.revision,
  );
  const facts = listedFacts(listed);
  const serves = sides.every(
    (side) =>
      side.listed === undefined ||
      sameFacts(side.listed.facts, facts) ||
      (side.refuses && sameFacts(side.recorded?.refusal?.copyFacts ?? side.listed.facts, side.listed.facts)),
  );
  if (!serves) return 'changed-at-the-backup';
  if (changedThere) return 'revision-moved-at-the-backup';
  return isDueForFullLook(listed.id, record, now, timing) ? 'due-for-a-full-look' : undefined;
}

/**
 * Whether a backup lists no copy, and the record knows one: not where that is a place without
 * content, or what cannot be read.
 */
function isCopyGone(
  { unreadable }: ListedCopies,
  recorded: BackupState | undefined,
  all: readonly ListedCopy[],
): boolean {
  const id = recorded?.id;
  if (id === undefined || all.length > 0) return false;
  return recorded?.vacant?.id !== id && !unreadable.some((element) => element.id === id);
}

/**
 * Whether a backup's refusal is of the version that the primary lists, and has not ended by itself.
 */
function refusalHolds(
  { policy }: Link,
  refusal: Refusal | undefined,
  listed: CertificateMetadata,
  now: number,
): boolean {
  if (refusal?.code === 'certificate_self_signed' && policy.standIns === true) return false;
  if (refusal === undefined || (refusal.until !== undefined && refusal.until <= now)) return false;
  const { revision, listedFacts: facts } = refusal;
  return revision === listed.revision && facts !== undefined && sameFacts(facts, listedFacts(listed));
}

/**
 * Whether a certificate is not copied, for a reason that lies in the primary alone and still holds.
 */
function rests(link: Link, record: ReplicationRecord, listed: CertificateMetadata): boolean {
  const isAside = record.aside !== undefined || record.refusal?.byPolicy === true;
  return isAside && record.absentSince === undefined && !restEnded(link, record) && !changedHere(record, listed);
}

/**
 * Whether another content is there so long that an event would have told of it, and none did. What
 * people wrote on it, not every sender tells of.
 */
function isUntold(record: ReplicationRecord, listed: CertificateMetadata, now: number): boolean {
  if (record.absentSince !== undefined || isPending(record) || !factsChangedHere(record, listed)) return false;
  return (listed.lastModified ?? 0) <= now - eventGraceMs;
}

/** Whether the primary lists another version than the last look saw. */
function changedHere(record: ReplicationRecord, listed: CertificateMetadata): boolean {
  return lastSeen(record)?.revision !== listed.revision || factsChangedHere(record, listed);
}

/**
 * Whether it lists a certificate of another serial or other dates, as far as the listing says them.
 */
function factsChangedHere(record: ReplicationRecord, listed: CertificateMetadata): boolean {
  const facts = listedFacts(listed);
  return !sameFacts(lastSeen(record)?.listedFacts ?? facts, facts);
}

/**
 * A refusal may be of content that could not be read, and then the last version that could be is an
 * older one.
 */
const lastSeen = ({ primary, refusal }: ReplicationRecord) => (refusal?.byPolicy === true ? refusal : primary);

/**
 * Whether a certificate rests for a reason that the configuration no longer gives. (Excluded ones
 * are never asked about here.)
 */
function restEnded({ policy, backups, filter }: Link, record: ReplicationRecord): boolean {
  const { aside, refusal, primary } = record;
  // Another backup may be none that it came through.
  if (aside === 'circle')
    return !policy.onward || backups.some(({ id }) => !record.backups.some(({ store }) => store === id));
  if (aside === 'authority') return primary !== undefined && namesExactly(filter, primary.name);
  if (aside === 'excluded' || (aside === 'marked' && policy.onward)) return true;
  if (refusal?.code === 'certificate_region_forbidden') return regionProblem({ policy, backups }) === undefined;
  if (refusal?.code === 'certificate_temporary') return policy.standIns === true;
  return refusal?.code === 'certificate_chain_missing' && refusal.byPolicy === true && !policy.requireChain;
}

/** Equal in each fact that both sides say. */
function sameFacts(a: string, b: string): boolean {
  const other = b.split('|');
  return a.split('|').every((fact, index) => fact === '' || other[index] === '' || fact === other[index]);
}

/**
 * Spread over the last seventh but one of the period by the id, so that an estate imported in one
 * hour is not looked at in one hour; the last seventh is for a reconcile that comes late.
 */
function isDueForFullLook(id: string, record: ReplicationRecord, now: number, timing: Timing): boolean {
  const { primary, refusal, lastError } = record;
  const lookedAt = (refusal === undefined ? undefined : lastError?.at) ?? primary?.lookedAt;
  if (lookedAt === undefined) return true;
  const spread = [...id].reduce((sum, character) => (sum * 31 + (character.codePointAt(0) ?? 0)) % 997, 7) / 997;
  return now - lookedAt >= (timing.fullLookMs * (6 - spread)) / 7;
}

export function* batchesOf<T>(items: Iterable<T>, size: number): Generator<T[]> {
  let batch: T[] = [];
  for (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function* batches<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}
