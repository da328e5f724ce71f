import { type ErrorCode, errorRegistry, remedyOf } from '../errors.ts';
import { remedyOfRecorded } from '../records/replication-record.ts';
import type { DestroyedSoon, LinkStatus, SilentListing } from '../replication/status.ts';
import { clean, count, duration, thousands } from '../words.ts';
import {
  type BackupWords,
  backupExit,
  backupWords,
  day,
  isBraked,
  linesOf,
  namesOf,
  servingWords,
} from './backup-words.ts';
import { heldWords } from './brake-words.ts';
import { forecastWords, isScarce, isUsedUp, quotaWords } from './quota-words.ts';
import { vanishedWords } from './vanished-words.ts';

/** One thing that is wrong with a link, or will be. */
export interface Finding {
  /**
   * Which one it is, of its link: the same however its words and numbers change. It begins with
   * what it is (`stuck`, `brake`), and may say where.
   */
  readonly name: string;
  /** What was found, what mends it: the first line says what. Foreign text in it is visible. */
  readonly words: string;
  readonly exit: number;
  /** Since when, epoch milliseconds; absent: nothing tells. */
  readonly since?: number;
  /** It may pass by itself: nobody need be told who does not look, until it has stood a while. */
  readonly mayPass?: true;
}

/** What status comes to: nothing is good that was not looked at. */
export interface Judged {
  /** Why it is not good, the worst first; empty if it is. */
  readonly wrong: readonly Finding[];
  /** What is good still, and will not be unless somebody sees to it. */
  readonly near: readonly Finding[];
  /** What is good, and how far that is known. */
  readonly good: string;
}

const exits = {
  service: errorRegistry.store_unavailable.exit,
  certificates: errorRegistry.certificate_expired.exit,
} as const;

/**
 * Judges a link by what is known of it. `reconcileEveryMs` is how often everything is to be
 * compared.
 */
export function judgeStatus(status: LinkStatus, reconcileEveryMs: number, nameOf: (store: string) => string): Judged {
  const refusals = status.refusals?.filter((refusal) => status.held === undefined || !isBraked(refusal)) ?? [];
  const backups = backupWords({ ...status, refusals }, status.now, nameOf);
  const wrong = [
    ...lostWords(status),
    ...heldBack(status),
    ...backups.filter(({ urgent }) => urgent).map(asWrong),
    ...stuckWords(status, nameOf),
    ...backups.filter(({ urgent }) => !urgent).map(asWrong),
    ...quotasUsedUp(status, nameOf),
    ...reconcileWords(status, reconcileEveryMs, nameOf),
    ...silenceWords(status),
    ...certificateWords(status),
    ...verifyWords(status),
    ...drillWords(status),
  ];
  const { counts, reconcile, now } = status;
  const { passedOver = 0 } = reconcile;
  const passed =
    passedOver === 0
      ? ''
      : `; ${count(passedOver, 'element')} of the primary passed over, as no certificates (certstandby reconcile names them)`;
  const besides = `${passed}${authorityWords(status)}`;
  const compared = reconcile.completedAt === undefined ? '' : `, compared ${ago(now, reconcile.completedAt)}`;
  const good =
    counts.equal === 0
      ? `there is nothing to copy${compared}${besides}`
      : `${count(counts.equal, 'certificate')} equal in every backup${compared}; ${provenWords(status)}${authorityWords(status)}`;
  return { wrong, near: [...expiringSoon(status), ...quotasNearEnd(status, nameOf)], good };
}

type StoreQuota = NonNullable<LinkStatus['quotas']>[number];

const asWrong = (found: BackupWords): Finding => ({
  name: found.name,
  words: linesOf(found).join('\n  '),
  exit: backupExit,
  since: found.since,
  mayPass: true,
});

/**
 * What is not copied because its key could issue certificates; how to have it copied all the same
 * is told too.
 */
function authorityWords({ authorities: { count: number, names } }: LinkStatus): string {
  if (number === 0) return '';
  const first = names.map(clean).join(', ');
  const more = number > names.length ? ` and ${number - names.length} more` : '';
  return `; ${count(number, 'authority', 'authorities')} not copied (${first}${more}): filter.names has to name one exactly`;
}

/** A primary that lost what it had is no good primary, whatever the copies say. */
function lostWords({ link, vanished, now }: LinkStatus): Judged['wrong'] {
  if (vanished === undefined) return [];
  return [{ name: 'vanished', words: vanishedWords(link, vanished, now), exit: exits.certificates }];
}

/**
 * How far a verify has proven what is equal: what was written to a backup after it began is not.
 */
function provenWords({ verify, counts, unproven, now }: LinkStatus): string {
  if (verify === undefined || unproven >= counts.equal)
    return 'not proven yet: certstandby verify reads every copy back';
  const except = unproven === 0 ? '' : `, except ${thousands(unproven)} copied since`;
  return `proven by reading everything back ${ago(now, verify.completedAt)}${except}`;
}

/** What a store whose listings do not show changes costs each reconcile, and what that bounds. */
export function silentListingWords(
  { store, versions, atLeastMs }: SilentListing,
  nameOf: (store: string) => string,
): string {
  const time = atLeastMs === undefined ? '' : `, in ${duration(atLeastMs)} at the least`;
  const asked = `each reconcile asks for ${count(versions, 'version')}${time}`;
  return `${nameOf(store)}: its listings do not show that content changed; ${asked}`;
}

/** What expires in a backup that destroys it then. */
export function destroyedSoonWords(
  { store, copies, names, first }: DestroyedSoon,
  now: number,
  nameOf: (store: string) => string,
): string {
  return (
    `${nameOf(store)}: destroys what expires, for good; of ${count(copies, 'copy', 'copies')} within 30 days ${namesOf(names.slice(0, 10), copies)}, ` +
    `the first ${clean(first.name)} in ${duration(first.at - now)}`
  );
}

export const ago = (now: number, moment: number): string => `${duration(now - moment)} ago`;

/** What no new copy can be brought within. */
function quotasUsedUp({ quotas = [] }: LinkStatus, nameOf: (store: string) => string): Judged['wrong'] {
  return quotas.filter(isUsedUp).map((quota) => ({
    name: quotaName(quota, nameOf),
    words: `${nameOf(quota.store)} has no quota left for new copies: ${quotaWords(quota)} [store_quota_used_up]\n  ${remedyOf('store_quota_used_up')}`,
    exit: exits.certificates,
  }));
}

/** The same whether a quota is near its end or has reached it. */
const quotaName = ({ store, operations }: StoreQuota, nameOf: (store: string) => string) =>
  `quota/${nameOf(store)}/${operations.join('+')}`;

/** What is nearly used up, and what renewals will use up at the rate at which they come. */
function quotasNearEnd({ quotas = [], renewals }: LinkStatus, nameOf: (store: string) => string): Judged['near'] {
  return quotas
    .filter((quota) => !isUsedUp(quota))
    .flatMap((quota): Judged['near'] => {
      const { store, perMs, forecast } = quota;
      const told = { name: quotaName(quota, nameOf), exit: exits.certificates };
      const runsOut = renewals !== undefined && forecast?.usedUpAt !== undefined;
      const when = runsOut ? forecastWords(forecast, renewals, perMs) : '';
      if (isScarce(quota)) {
        const more = runsOut ? `\n  ${when}` : '';
        return [{ ...told, words: `${nameOf(store)} is near the end of a quota: ${quotaWords(quota)}${more}` }];
      }
      if (!runsOut) return [];
      const remedy =
        '  Have it raised before then, or have less renewed there: renewals are not copied once it is used up.';
      return [{ ...told, words: `${nameOf(store)} will run out of a quota: ${when}\n${remedy}` }];
    });
}

/** What should have been renewed by now, and was not, as far as the primary tells. */
function expiringSoon({ expiring, now }: LinkStatus): Judged['near'] {
  if (expiring === undefined) return [];
  const { count: number, names, first } = expiring;
  return [
    {
      name: 'expiring',
      words:
        `${count(number, 'certificate')} of the primary ${number === 1 ? 'expires' : 'expire'} soon ${namesOf(names, number)}, ` +
        `the first ${clean(first.name)} in ${duration(first.at - now)} (${day(first.at)}): no renewal was seen\n` +
        '  See why what renews it has not; a renewal in the primary is copied by itself.',
      exit: exits.certificates,
      // Of what an older version looked at last, how long it lives is read from a copy, which one
      // that was just renewed does not have yet.
      mayPass: true,
    },
  ];
}

function heldBack({ link, held, refusals = [], now }: LinkStatus): Judged['wrong'] {
  if (held === undefined) return [];
  const serving = refusals.filter(isBraked).flatMap((refusal) => servingWords(refusal, now));
  const words = [heldWords(link, held, now), ...serving].join('\n  ');
  return [{ name: 'held', words, exit: exits.certificates, since: held.since }];
}

function stuckWords({ stuck, now }: LinkStatus, nameOf: (store: string) => string): Judged['wrong'] {
  return stuck.map((trouble) => {
    const { code, store, message, certificates, names, lastAt, again } = trouble;
    const rest = certificates > names.length ? ` and ${certificates - names.length} more` : '';
    const when = again === undefined ? '' : `; tried again ${again <= now ? 'now' : `in ${duration(again - now)}`}`;
    const more = [...servingWords(trouble, now), clean(remedyOfRecorded(trouble))].join('\n  ');
    const isService = errorRegistry[code].exit === exits.service;
    return {
      name: `stuck/${nameOf(store)}/${code}`,
      mayPass: true,
      words:
        `${count(certificates, 'certificate')} stuck at ${nameOf(store)} (${names.map(clean).join(', ')}${rest}), ` +
        `last ${ago(now, lastAt)}: ${clean(message)} [${code}]${when}\n  ${more}`,
      exit: isService ? exits.service : exits.certificates,
    };
  });
}

function reconcileWords(
  { link, reconcile, vanished, now }: LinkStatus,
  everyMs: number,
  nameOf: (store: string) => string,
): Judged['wrong'] {
  const { completedAt, failure, stoppedAt, brake, notListed, listed = 0, included = listed } = reconcile;
  const { notRead, notReadFirst } = reconcile;
  const wrong: Finding[] = [];
  // Where the brake holds because of what is gone, that has been said.
  if (brake !== undefined && (vanished === undefined || brake.changing > brake.allowed)) {
    const { changing, vanishing, copied, allowed, at } = brake;
    wrong.push({
      name: 'brake',
      words:
        `the brake holds since ${ago(now, at)}: a reconcile would write over ${changing} of ${copied} copies, and ${vanishing} originals are gone; ` +
        `${allowed} are allowed without a person\n  ${remedyOf('reconcile_brake')}`,
      exit: exits.certificates,
    });
  }
  if (failure !== undefined)
    wrong.push({
      name: 'reconcile-failed',
      mayPass: true,
      words: `the last reconcile failed ${ago(now, failure.at)}${failure.store === undefined ? '' : ` at ${nameOf(failure.store)}`}: ${clean(failure.message)} [${failure.code}]${remedyLine(failure)}`,
      exit: exits.service,
    });
  if (notListed.length > 0)
    wrong.push({
      name: 'not-listed',
      mayPass: true,
      words: `the last reconcile could not compare ${notListed.map(nameOf).join(', ')}`,
      exit: exits.service,
    });
  if (notRead > 0) {
    const more = notRead > notReadFirst.length ? [`… and ${notRead - notReadFirst.length} more`] : [];
    wrong.push({
      name: 'not-read',
      mayPass: true,
      words:
        `${count(notRead, 'element')} of the stores could not be read by the last reconcile: certstandby reconcile names all\n  ` +
        [...notReadFirst, ...more].map(clean).join('\n  '),
      exit: exits.certificates,
    });
  }
  if (listed > 0 && included === 0)
    wrong.push({
      name: 'filter',
      words: `nothing is copied: the filter includes none of the ${count(listed, 'certificate')} in the primary\n  Mend links.${link}.filter.`,
      exit: exits.certificates,
    });
  if (completedAt === undefined) {
    wrong.push({
      name: 'not-compared',
      mayPass: true,
      words: 'nothing has ever been compared: certstandby reconcile does that',
      exit: exits.certificates,
    });
  } else if (now - completedAt > 2 * everyMs) {
    const stopped = stoppedAt === undefined ? '' : `; the last one was stopped ${ago(now, stoppedAt)}`;
    wrong.push({
      name: 'not-compared',
      mayPass: true,
      words: `nothing has been compared since ${ago(now, completedAt)}${stopped}`,
      exit: exits.certificates,
    });
  }
  return wrong;
}

/** That events do not arrive; what they would have told of was copied as late as it was found. */
function silenceWords({ silence, now }: LinkStatus): Judged['wrong'] {
  if (silence === undefined) return [];
  const words = `${silenceText(silence, now)}\n  ${silenceRemedy}`;
  return [{ name: 'silence', words, exit: exits.service, since: silence.since }];
}

export function silenceText({ since, times, found, toldBy }: NonNullable<LinkStatus['silence']>, now: number): string {
  const who = toldBy.map(clean).join(', ');
  return (
    `notifications do not arrive (${who}): the last ${times} reconciles that found a change found what no event told of, since ${ago(now, since)}, ` +
    `${count(found, 'certificate')} at last`
  );
}

export const silenceRemedy =
  'See whether it still sends here: a channel or a destination may be switched off, paused by its service after failures, or point elsewhere. certstandby doctor says how to send a test. Until an event arrives, changes are copied as late as reconcile finds them.';

/** Codes in a table may be of another version of this program. */
function remedyLine(failure: NonNullable<LinkStatus['reconcile']['failure']>): string {
  if (!Object.hasOwn(errorRegistry, failure.code)) return '';
  return `\n  ${clean(remedyOfRecorded({ ...failure, code: failure.code as ErrorCode }))}`;
}

function certificateWords({ counts, expired, oldestUnreplicated, now }: LinkStatus): Judged['wrong'] {
  const wrong: Finding[] = [];
  if (counts.waiting > 0) {
    const oldest = oldestUnreplicated;
    const since = oldest === undefined ? '' : `; the oldest, ${clean(oldest.name)}, changed ${ago(now, oldest.since)}`;
    wrong.push({
      name: 'waiting',
      mayPass: true,
      ...(oldest !== undefined && { since: oldest.since }),
      words: `${count(counts.waiting, 'certificate')} waiting to be copied${since}`,
      exit: exits.certificates,
    });
  }
  if (expired > 0)
    wrong.push({
      name: 'expired',
      words: `${count(expired, 'certificate')} expired in the primary`,
      exit: exits.certificates,
    });
  return wrong;
}

function drillWords({ drill, now }: LinkStatus): Judged['wrong'] {
  if (drill === undefined || drill.failed + drill.notDrilled === 0) return [];
  const examples = drill.examples.map((example) => `\n  ${clean(example)}`).join('');
  const found = [
    ...(drill.failed > 0 ? [`${count(drill.failed, 'copy', 'copies')} would not serve`] : []),
    ...(drill.notDrilled > 0 ? [`${count(drill.notDrilled, 'backup')} could not be drilled`] : []),
  ];
  return [
    {
      name: 'drill',
      words: `the last drill, ${ago(now, drill.completedAt)}: ${found.join(', ')}${examples}`,
      exit: drill.failed > 0 ? exits.certificates : exits.service,
    },
  ];
}

function verifyWords({ verify, now }: LinkStatus): Judged['wrong'] {
  if (verify === undefined || verify.problems === 0) return [];
  const examples = verify.examples.map((example) => `\n  ${clean(example)}`).join('');
  return [
    {
      name: 'verify',
      words: `the last verify found ${count(verify.problems, 'problem')} ${ago(now, verify.completedAt)}; it has to be run again to prove them mended${examples}`,
      exit: exits.certificates,
    },
  ];
}
