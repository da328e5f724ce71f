import { defined } from '../defined.ts';
import { type ErrorCode, remedyOf } from '../errors.ts';
import {
  type BackupState,
  type RecordedError,
  type RecordedWords,
  type ReplicationRecord,
  recordedWords,
  type VacantCopy,
} from '../records/replication-record.ts';
import { isOverwritten } from './pass/overwritten.ts';
import { refusesRemoval } from './refusal.ts';

/**
 * What a backup does not take, or somebody has to see to there: the same cause of several
 * certificates together, so that two hundred of one cause are one finding. All moments are epoch
 * milliseconds.
 */
export interface BackupRefusal extends RecordedWords {
  /** Id of the backup store. */
  readonly store: string;
  readonly code: ErrorCode;
  readonly certificates: number;
  /** Names of the first of them. */
  readonly names: readonly string[];
  /** Since when the first of them is refused. */
  readonly since: number;
  /** When the first of them ends by itself; absent where none does. */
  readonly until?: number;
  /** When the first of them is looked at again; absent: when it changes. */
  readonly again?: number;
  /** Of how many the backup holds no copy at all. */
  readonly withoutCopy: number;
  /** How many of the copies that stay there have stopped serving: they have expired. */
  readonly stopped: number;
  /**
   * Of the copies that stay and serve, the one that stops first; absent: it is not known of any.
   */
  readonly stops?: CopyEnd;
}

/** The day on which a copy that stays as it is stops serving. */
export interface CopyEnd {
  readonly certificate: string;
  readonly name: string;
  readonly at: number;
}

/**
 * Copies of ours beside the kept ones, which their service does not let go, or which do not take
 * what those hold.
 */
export interface KeptBeside extends Pick<BackupRefusal, 'store' | 'code' | 'message' | 'remedy' | 'names' | 'since'> {
  readonly copies: number;
  /** Ids of the first of them. */
  readonly ids: readonly string[];
  /** When the first of them is tried again. */
  readonly again: number;
}

/** Whether such copies stay because somebody there holds or uses them. */
export const isNotLetGo = ({ code }: Pick<KeptBeside, 'code'>): boolean => refusesRemoval.has(code);

/** Copies that somebody else keeps changing. */
export interface OverwrittenCopies extends Pick<BackupRefusal, 'store' | 'certificates' | 'names' | 'since'> {
  /** How often, of all of them. */
  readonly times: number;
  readonly lastAt: number;
}

/** Places of ours that hold no content, and could not be brought back yet. */
export interface VacantPlaces extends Pick<BackupRefusal, 'store' | 'names' | 'since' | 'again'> {
  readonly why: VacantCopy['why'];
  readonly places: number;
  /** Ids of the first of them. */
  readonly ids: readonly string[];
}

/** Copies whose private key their service does not give back: compared without, and not proven. */
export interface KeysNotProven extends Pick<BackupRefusal, 'store'> {
  readonly copies: number;
}

/**
 * What the records say of the backups of a link, apart from what is stuck. Each list is the worst
 * first; absent: nothing is to be said.
 */
export interface BackupFindings {
  readonly refusals?: readonly BackupRefusal[];
  readonly keptBeside?: readonly KeptBeside[];
  readonly overwritten?: readonly OverwrittenCopies[];
  readonly vacantPlaces?: readonly VacantPlaces[];
  readonly keysNotProven?: readonly KeysNotProven[];
}

const namesKept = 3;
/**
 * So many causes of one code at one store are told apart by their words; the rest is counted with
 * the last of them.
 */
const causesKept = 4;

/**
 * Gathers the findings of one link. Memory grows with the number of causes, and not of
 * certificates.
 */
export function backupFindings(now: number): {
  /** `name`: what the certificate is called, where the record does not know that yet. */
  readonly add: (record: ReplicationRecord, state: BackupState, name?: string) => void;
  readonly result: () => BackupFindings;
} {
  const refusals = new Map<string, BackupRefusal>();
  const beside = new Map<string, KeptBeside>();
  const overwritten = new Map<string, OverwrittenCopies>();
  const vacant = new Map<string, VacantPlaces>();
  const keysNotProven = new Map<string, KeysNotProven>();

  /** The group of a refusal: its code, and its cause in words. */
  function groupOf({ store }: BackupState, { code, message, status }: RecordedError, name: string): string {
    const start = `${store} ${code} `;
    const key = `${start}${status ?? ''} ${causeIn(message.replaceAll(name, '…'))}`;
    const alike = [...refusals.keys()].filter((other) => other.startsWith(start));
    return refusals.has(key) || alike.length < causesKept ? key : (alike.at(-1) as string);
  }

  function addRefusal(record: ReplicationRecord, state: BackupState, name: string): void {
    if (state.refusal === undefined) return;
    const { code, since, until } = state.refusal;
    const { certificate, wakeAt } = record;
    const said = state.lastError ?? { code, message: remedyOf(code), at: since };
    const key = groupOf(state, { ...said, code }, name);
    const before = refusals.get(key);
    const end = endOf(record, state);
    const hasStopped = end !== undefined && end < now;
    const stops =
      end === undefined || hasStopped ? before?.stops : sooner(before?.stops, { certificate, name, at: end });
    const ends = earliest(before?.until, until);
    const again = earliest(before?.again, wakeAt);
    refusals.set(key, {
      store: state.store,
      code,
      ...recordedWords(before ?? said),
      certificates: (before?.certificates ?? 0) + 1,
      names: added(before?.names, name),
      since: Math.min(before?.since ?? since, since),
      withoutCopy: (before?.withoutCopy ?? 0) + (holdsCopy(state) ? 0 : 1),
      stopped: (before?.stopped ?? 0) + (hasStopped ? 1 : 0),
      ...(ends !== undefined && { until: ends }),
      ...defined({ again, stops }),
    });
  }

  function addKeptBeside({ store, unremovable = [] }: BackupState, name: string): void {
    for (const { id, code, message, remedy, since, again } of unremovable) {
      const key = `${store} ${code}`;
      const before = beside.get(key);
      beside.set(key, {
        store,
        code,
        message: before?.message ?? message,
        remedy: before === undefined ? remedy : before.remedy,
        copies: (before?.copies ?? 0) + 1,
        names: added(before?.names, name),
        ids: added(before?.ids, id),
        since: Math.min(before?.since ?? since, since),
        again: Math.min(before?.again ?? again, again),
      });
    }
  }

  function addOverwritten(state: BackupState, name: string): void {
    if (!isOverwritten(state.overwritten, now)) return;
    const { times, since, lastAt } = state.overwritten;
    const before = overwritten.get(state.store);
    overwritten.set(state.store, {
      store: state.store,
      certificates: (before?.certificates ?? 0) + 1,
      names: added(before?.names, name),
      times: (before?.times ?? 0) + times,
      since: Math.min(before?.since ?? since, since),
      lastAt: Math.max(before?.lastAt ?? lastAt, lastAt),
    });
  }

  function addVacant({ wakeAt }: ReplicationRecord, { store, vacant: place }: BackupState, name: string): void {
    if (place === undefined) return;
    const key = `${store} ${place.why}`;
    const before = vacant.get(key);
    const again = earliest(before?.again, wakeAt);
    vacant.set(key, {
      store,
      why: place.why,
      places: (before?.places ?? 0) + 1,
      names: added(before?.names, name),
      ids: added(before?.ids, place.id),
      since: Math.min(before?.since ?? place.since, place.since),
      ...defined({ again }),
    });
  }

  function addKey({ store, keyWithheld }: BackupState): void {
    if (keyWithheld !== true) return;
    keysNotProven.set(store, { store, copies: (keysNotProven.get(store)?.copies ?? 0) + 1 });
  }

  return {
    add(record, state, name = record.primary?.name ?? record.certificate) {
      addRefusal(record, state, name);
      addKeptBeside(state, name);
      addOverwritten(state, name);
      addVacant(record, state, name);
      addKey(state);
    },
    result() {
      const refused = [...refusals.values()].toSorted(worstFirst);
      const kept = [...beside.values()].toSorted((a, b) => b.copies - a.copies);
      const changed = [...overwritten.values()].toSorted((a, b) => b.certificates - a.certificates);
      const places = [...vacant.values()].toSorted((a, b) => b.places - a.places);
      const keys = [...keysNotProven.values()].toSorted((a, b) => b.copies - a.copies);
      return {
        ...(refused.length > 0 && { refusals: refused }),
        ...(kept.length > 0 && { keptBeside: kept }),
        ...(changed.length > 0 && { overwritten: changed }),
        ...(places.length > 0 && { vacantPlaces: places }),
        ...(keys.length > 0 && { keysNotProven: keys }),
      };
    },
  };
}

/** Whether a copy is there that could serve: a place without content serves nobody. */
const holdsCopy = ({ id, vacant }: BackupState): boolean => id !== undefined && vacant?.id !== id;

/**
 * When the copy that stays stops serving. One that its service keeps in another shape serves as
 * long as the primary's.
 */
function endOf({ primary }: ReplicationRecord, state: BackupState): number | undefined {
  if (!holdsCopy(state)) return undefined;
  const { notAfter, refusal, fingerprint } = state;
  const isSameLeaf = refusal?.code === 'store_rewrites_content' || fingerprint === primary?.fingerprint;
  return isSameLeaf ? primary?.notAfter : notAfter;
}

/**
 * What a service says, without what it says of one certificate alone: names with dots, ids,
 * numbers.
 */
const causeIn = (message: string): string => message.replace(/[^\s"'(),:;]*[\d.][^\s"'(),:;]*/g, '…');

/**
 * What serves nobody comes first, then what stops serving soonest, then what is of the most
 * certificates.
 */
function worstFirst(a: BackupRefusal, b: BackupRefusal): number {
  const rank = ({ withoutCopy, stopped }: BackupRefusal) => withoutCopy + stopped;
  const end = ({ stops }: BackupRefusal) => stops?.at ?? Number.POSITIVE_INFINITY;
  if (rank(a) !== rank(b)) return rank(b) - rank(a);
  return end(a) === end(b) ? b.certificates - a.certificates : end(a) - end(b);
}

/** The one that stops serving first. */
export const sooner = (a: CopyEnd | undefined, b: CopyEnd): CopyEnd => (a === undefined || b.at < a.at ? b : a);

/** The earlier of two moments, of which each may be absent. */
export const earliest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);

/** The first names, with this one if there is room and it is not among them. */
const added = (names: readonly string[] = [], name: string): readonly string[] =>
  names.length < namesKept && !names.includes(name) ? [...names, name] : names;
