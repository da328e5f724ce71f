import { type ErrorCode, errorRegistry, remedyOf } from '../errors.ts';
import { remedyOfRecorded } from '../records/replication-record.ts';
import {
  type BackupFindings,
  type BackupRefusal,
  isNotLetGo,
  type KeptBeside,
  type KeysNotProven,
  type OverwrittenCopies,
  type VacantPlaces,
} from '../replication/backup-findings.ts';
import { vacancyWords } from '../replication/vacancy.ts';
import { clean, count, duration, thousands } from '../words.ts';

/** What is to be said of a backup. */
export interface BackupWords {
  /** Which finding it is, of its link. */
  readonly name: string;
  /** Since when, epoch milliseconds. */
  readonly since: number;
  /** What was found, and when something is done about it. */
  readonly what: string;
  /** What the service says, or what was seen. */
  readonly why: string;
  readonly code: ErrorCode;
  readonly when: string;
  /** Lines that say more. */
  readonly more: readonly string[];
  readonly remedy: string;
  /** There is no copy, or it has stopped serving, or will within two weeks. */
  readonly urgent: boolean;
}

/** All of it as lines: the first says what, the last what mends it. */
export const linesOf = ({ what, why, code, when, more, remedy }: BackupWords): readonly [string, ...string[]] => [
  what,
  `${why} [${code}]; ${when}`,
  ...more,
  remedy,
];

/** The exit code of what is wrong in a backup: certificates differ or were refused. */
export const backupExit = errorRegistry.certificate_expired.exit;

type NameOf = (store: string) => string;

const soonMs = 14 * 86_400_000;

/** `2026-01-13` */
export const day = (moment: number): string => new Date(moment).toISOString().slice(0, 10);

/** `in 12 d (2026-01-13)` */
const inTime = (moment: number, now: number) => `in ${duration(moment - now)} (${day(moment)})`;
const since = (moment: number, now: number) => (moment < now ? ` since ${duration(now - moment)} ago` : '');

/** The first names, and how many more there are. */
export function namesOf(names: readonly string[], all: number): string {
  const rest = all > names.length ? ` and ${thousands(all - names.length)} more` : '';
  return `(${names.map(clean).join(', ')}${rest})`;
}

/**
 * What a backup does not take, since when, until when, and when the copies that stay there stop
 * serving.
 */
function refusalWords(refusal: BackupRefusal, now: number, nameOf: NameOf): BackupWords {
  const { store, code, message, certificates, names } = refusal;
  const who = `${count(certificates, 'certificate')}${since(refusal.since, now)} ${namesOf(names, certificates)}`;
  return {
    name: `refused/${nameOf(store)}/${code}`,
    since: refusal.since,
    what: `${nameOf(store)} ${verbOf(code)} ${who}`,
    why: clean(message),
    code,
    when: whenWords(refusal, now),
    more: servingWords(refusal, now),
    remedy: clean(remedyOfRecorded(refusal)),
    urgent: isUrgent(refusal, now),
  };
}

/** Some say something about the content, some about the copy; the others are for a person there. */
function verbOf(code: BackupRefusal['code']): string {
  if (code === 'store_content_refused') return 'does not take';
  if (code === 'store_rewrites_content') return 'keeps in another shape than it was given';
  if (code === 'store_quota_used_up') return 'has no quota left for';
  return code.startsWith('store_') ? 'does not let us write to' : 'keeps the copy that it has of';
}

function whenWords({ until, again }: BackupRefusal, now: number): string {
  if (until !== undefined)
    return until <= now ? 'it is looked at again now' : `it ends by itself ${inTime(until, now)}`;
  if (again === undefined) return 'it rests until they change';
  return again <= now ? 'tried again now' : `tried again in ${duration(again - now)}`;
}

/** When the copies that stay as they are stop serving. */
export function servingWords(
  found: Partial<Pick<BackupRefusal, 'withoutCopy' | 'stopped' | 'stops'>>,
  now: number,
): readonly string[] {
  const { withoutCopy = 0, stopped = 0, stops } = found;
  const said: string[] = [];
  if (withoutCopy > 0) said.push(`no copy is there of ${thousands(withoutCopy)}`);
  if (stopped > 0) said.push(`${count(stopped, 'copy that stays has', 'copies that stay have')} expired`);
  if (stops !== undefined)
    said.push(`the copy of ${clean(stops.name)} stays, and is the first to stop serving, ${inTime(stops.at, now)}`);
  return said.length === 0 ? [] : [said.join('; ')];
}

const isUrgent = ({ withoutCopy, stopped, stops }: BackupRefusal, now: number): boolean =>
  withoutCopy + stopped > 0 || (stops !== undefined && stops.at - now < soonMs);

/** What the brake keeps from being written: told as that, with what lets go of it. */
export const isBraked = ({ code }: BackupRefusal): boolean =>
  code === 'certificate_going_back' || code === 'certificate_change_held';

/**
 * Copies beside the kept ones that the service does not let go, or that do not take what the kept
 * ones hold.
 */
export function keptBesideWords(kept: KeptBeside, now: number, nameOf: NameOf): BackupWords {
  const { store, code, message, copies, names, ids, again } = kept;
  const which = `${ids.map(clean).join(', ')}${ids.length < copies ? ', …' : ''}`;
  const next = again <= now ? 'now' : `in ${duration(again - now)}`;
  const seconds = count(copies, 'second copy', 'second copies');
  const stay = isNotLetGo(kept) ? `does not let go of ${seconds}` : `takes nothing new into ${seconds}`;
  return {
    name: `kept-beside/${nameOf(store)}/${code}`,
    since: kept.since,
    what: `${nameOf(store)} ${stay}${since(kept.since, now)}, of ${names.map(clean).join(', ')} (${which})`,
    why: clean(message),
    code,
    when: `tried again ${next}`,
    more: [],
    remedy: clean(remedyOfRecorded(kept)),
    urgent: false,
  };
}

/** Copies that somebody else keeps changing. */
function overwrittenWords(found: OverwrittenCopies, now: number, nameOf: NameOf): BackupWords {
  const { store, certificates, names, times, lastAt } = found;
  const code = 'store_copy_overwritten';
  const what = `${count(certificates, 'copy', 'copies')} in ${nameOf(store)} ${namesOf(names, certificates)}`;
  return {
    name: `overwritten/${nameOf(store)}`,
    since: found.since,
    what: `somebody else keeps changing ${what}`,
    why: `${times} times${since(found.since, now)}, each time after it was equal`,
    code,
    when: `the last time ${duration(now - lastAt)} ago`,
    more: [],
    remedy: remedyOf(code),
    urgent: false,
  };
}

/** Places of ours without content. They serve nobody, so they are told with what has no copy. */
function vacantWords(found: VacantPlaces, now: number, nameOf: NameOf): BackupWords {
  const { store, places, names, ids, again } = found;
  const code = 'store_copy_vacant';
  const which = `${ids.map(clean).join(', ')}${ids.length < places ? ', …' : ''}`;
  const who = `${count(places, 'certificate')}${since(found.since, now)} ${namesOf(names, places)}`;
  const later = again === undefined ? 'when it is next looked at' : `in ${duration(again - now)}`;
  return {
    name: `vacant/${nameOf(store)}`,
    since: found.since,
    what: `${nameOf(store)} has a place without content instead of a copy of ${who}`,
    why: `of ${which}: ${vacancyWords(found)}`,
    code,
    when: `bringing it back is tried again ${again !== undefined && again <= now ? 'now' : later}`,
    more: [],
    remedy: remedyOf(code),
    urgent: true,
  };
}

/** Copies of which nobody can read the private key. It is no fault: the service is made so. */
export function keysNotProvenWords({ store, copies }: KeysNotProven, nameOf: NameOf): string {
  return (
    `${nameOf(store)}: the private keys of ${count(copies, 'copy', 'copies')} are not proven, ` +
    'as the service keeps them to itself: all else of them is compared'
  );
}

/** All that is wrong in the backups, as words, the worst first. */
export function backupWords(found: BackupFindings, now: number, nameOf: NameOf): readonly BackupWords[] {
  const { refusals = [], overwritten = [], vacantPlaces = [] } = found;
  return [
    ...vacantPlaces.map((each) => vacantWords(each, now, nameOf)),
    ...refusals.map((each) => refusalWords(each, now, nameOf)),
    ...overwritten.map((each) => overwrittenWords(each, now, nameOf)),
  ];
}
