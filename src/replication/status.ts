import { defined } from '../defined.ts';
import type { ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type {
  Brake,
  DrillSummary,
  ReconcileState,
  Silence,
  Vanished,
  VerifySummary,
} from '../records/reconcile-records.ts';
import {
  type BackupState,
  type RecordedError,
  type RecordedWords,
  type ReplicationRecord,
  recordedWords,
  type UnreadableRecord,
} from '../records/replication-record.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import type { Quota } from '../store/store.ts';
import { type BackupFindings, backupFindings, type CopyEnd, earliest, sooner } from './backup-findings.ts';
import { brakeTally, type HeldByBrake, heldSummary } from './brake-finding.ts';
import type { Link } from './link.ts';
import { type QuotaForecast, type Renewals, renewalsPerYear } from './quota-forecast.ts';
import { isSilent } from './silence.ts';
import { type Standing, standingOf } from './standing.ts';
import { vanishedSummary, vanishedTally, worseOf } from './vanished.ts';

export interface StatusKeeper {
  readonly records: ReplicationRecords;
  readonly linkRecords: LinkRecords;
  readonly runtime: Runtime;
  /**
   * How long before its end a certificate should have been renewed, milliseconds. Default:
   * `limits.expiryNearMs`.
   */
  readonly expiryNearMs?: number;
}

/** The same trouble of several certificates. */
export interface Trouble extends RecordedWords {
  readonly code: ErrorCode;
  /** The store where it was met. */
  readonly store: string;
  readonly certificates: number;
  /** Names of the first of them. */
  readonly names: readonly string[];
  /** When it was last met, and when it is tried again at the earliest, epoch milliseconds. */
  readonly lastAt: number;
  readonly again?: number;
  /**
   * Where the primary holds what is not copied: how many of the copies that stay have expired, and
   * the one that expires next.
   */
  readonly stopped?: number;
  readonly stops?: CopyEnd;
}

/**
 * A trouble of one certificate. `ends`: when what its copies hold ends, where they stay because of
 * it.
 */
interface Met {
  readonly store: string;
  readonly error: RecordedError;
  readonly again?: number;
  readonly ends?: readonly number[];
}

/** From when a change is counted until it was in the slowest backup. */
export interface Lag {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** How many certificates that is of. */
  readonly of: number;
}

/** How many copies of one backup stand how. */
export interface BackupStatus {
  readonly store: string;
  readonly equal: number;
  readonly behind: number;
}

/** What is left of a quota of a store of the link. */
interface StoreQuota extends Quota {
  readonly store: string;
  readonly left: number;
  /**
   * When there will be more, epoch milliseconds; absent if all of it is left, or there never will
   * be.
   */
  readonly moreAt?: number;
  /** Of a backup: what the link's renewals will take of it; absent: they take none of it. */
  readonly forecast?: QuotaForecast;
}

/** Copies whose content their service destroys within 30 days, because they expire then. */
export interface DestroyedSoon {
  readonly store: string;
  readonly copies: number;
  /** Names of the first of them that were found. */
  readonly names: readonly string[];
  /** The one that goes first. */
  readonly first: CopyEnd;
}

/** A store of the link whose listings do not show that content changed. */
export interface SilentListing {
  readonly store: string;
  /** Versions that each reconcile asks for, by a request each: of originals, or of copies. */
  readonly versions: number;
  /** How long that takes at the least, in milliseconds; absent: the store states no limit. */
  readonly atLeastMs?: number;
}

export interface LinkStatus extends BackupFindings {
  readonly link: string;
  /** Epoch milliseconds, as all moments here. */
  readonly now: number;
  readonly counts: Readonly<Record<Standing['kind'], number>>;
  /**
   * Certificates that are not copied because their keys are those of authorities: how many, and
   * names of the first of them.
   */
  readonly authorities: { readonly count: number; readonly names: readonly string[] };
  /** Certificates that expired in the primary, whether or not that was looked at. */
  readonly expired: number;
  /** Those that expire soon, and whose renewal the primary does not hold yet; absent: none do. */
  readonly expiring?: { readonly count: number; readonly names: readonly string[]; readonly first: CopyEnd };
  /**
   * Of those that are equal, how many were written to a backup after the last verify began; all of
   * them if there was none.
   */
  readonly unproven: number;
  /** Certificates that came from a backup of the link, or through it, and get no copy there. */
  readonly circles: number;
  readonly backups: readonly BackupStatus[];
  readonly lag?: Lag;
  /** The change that has waited longest. */
  readonly oldestUnreplicated?: { readonly certificate: string; readonly name: string; readonly since: number };
  readonly nextExpiry?: { readonly certificate: string; readonly name: string; readonly at: number };
  /**
   * What was tried and failed, and what of the primary is not copied anywhere. What one backup
   * refuses stands in `refusals`.
   */
  readonly stuck: readonly Trouble[];
  /**
   * What is gone from the primary, more than is lost on an ordinary day, and nobody has said yet
   * that it is meant.
   */
  readonly vanished?: Vanished;
  /** What the brake keeps from being written until a person has spoken. */
  readonly held?: HeldByBrake;
  /** What a person last said that of. */
  readonly vanishedAccepted?: ReconcileState['vanishedAccepted'];
  readonly reconcile: Pick<
    ReconcileState,
    'completedAt' | 'tookMs' | 'listed' | 'included' | 'unmarked' | 'passedOver' | 'failure' | 'stoppedAt'
  > & {
    readonly notListed: readonly string[];
    readonly notRead: number;
    readonly notReadFirst: readonly string[];
    readonly running?: { readonly since: number; readonly step: string; readonly done: number };
    readonly brake?: Brake;
  };
  /**
   * Somebody is to tell of changes, and does not: what reconciles found that no event told of.
   */
  readonly silence?: Silence & { readonly toldBy: readonly string[] };
  readonly verify?: VerifySummary;
  /** What the last drill came to. */
  readonly drill?: DrillSummary;
  /** How often a renewal is copied; absent: nothing that is copied is known to end. */
  readonly renewals?: Renewals;
  /** What is left of the quotas that its stores state; absent: they state none. */
  readonly quotas?: readonly StoreQuota[];
  /** By backup; absent: there are none, or no service of the link does that. */
  readonly destroyedSoon?: readonly DestroyedSoon[];
  /** Stores whose listings do not show that content changed; absent: there are none. */
  readonly silentListings?: readonly SilentListing[];
  /**
   * How long a copy of everything into an empty backup takes under the stated limits, and whose
   * limit that is; absent: no store states one.
   */
  readonly fullCopy?: { readonly ms: number; readonly store: string };
}

const namesKept = 3;
/** From when on it is told that a service will destroy what expires. */
const destroyedSoonMs = 30 * 24 * 3_600_000;
/**
 * What lives shorter than most is renewed later: this share of its life, before its end, is soon,
 * whatever the settings say.
 */
const lastShare = 1 / 3;
/** Lags are told of what changed in this time. */
const lagWindowMs = 30 * 24 * 3_600_000;

/**
 * What is known of a link, from the table alone: no store is asked. Throws what the table throws.
 */
export async function statusOf(keeper: StatusKeeper, link: Link): Promise<LinkStatus> {
  const { records, linkRecords, runtime, expiryNearMs = limits.expiryNearMs } = keeper;
  const now = runtime.now();
  const [reconciled, state, verify, drill] = await Promise.all([
    linkRecords.reconciled(link.name),
    linkRecords.reconcileState(link.name),
    linkRecords.lastVerify(link.name),
    linkRecords.lastDrill(link.name),
  ]);
  // What changed before the link began was copied when it began: its lag would be the age of the
  // estate.
  const first = await linkRecords.firstReconciledAt(link.name);
  const seen = seenSoFar(link, now, {
    beganAt: first ?? Math.max(0, ...reconciled.values()),
    verifiedAt: verify?.startedAt ?? Number.NEGATIVE_INFINITY,
    standing: state.vanished,
    expiryNearMs,
  });
  for await (const record of records.all(link.name, seen.addUnreadable)) seen.add(record);
  const { completedAt, tookMs, listed, included, unmarked, failure, stoppedAt, brake } = state;
  const { notListed = [], notRead = 0, notReadFirst = [], passedOver } = state;
  const since = state.until !== undefined && state.until >= now ? state.startedAt : undefined;
  const running = since === undefined ? {} : { running: { since, step: state.step ?? '', done: state.done ?? 0 } };
  const { vanishedByRecords, ...summary } = seen.result();
  // A reconcile that the brake held has seen more in the listing than the records tell.
  const vanished = worseOf(state.vanished, vanishedByRecords);
  const fullCopy = fullCopyOf(
    link,
    Math.max(listed ?? 0, summary.counts.equal + summary.counts.waiting + summary.counts.failing),
  );
  const silentListings = silentListingsOf(link, included ?? 0);
  return {
    link: link.name,
    now,
    ...summary,
    ...(vanished === undefined ? {} : { vanished: vanishedSummary(vanished) }),
    ...(state.vanishedAccepted === undefined ? {} : { vanishedAccepted: state.vanishedAccepted }),
    reconcile: {
      completedAt,
      tookMs,
      listed,
      included,
      unmarked,
      failure,
      stoppedAt,
      notListed,
      notRead,
      notReadFirst,
      passedOver,
      ...running,
      ...defined({ brake }),
    },
    ...silenceOf(link, state.silence),
    ...defined({ verify, drill }),
    ...(silentListings.length > 0 && { silentListings }),
    ...defined({ fullCopy }),
  };
}

type Counted<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Goes through the records once; memory grows with what is wrong and with recent changes, by eight
 * bytes.
 */
function seenSoFar(
  link: Link,
  now: number,
  {
    beganAt,
    verifiedAt,
    standing,
    expiryNearMs,
  }: {
    readonly beganAt: number;
    readonly verifiedAt: number;
    readonly standing: Vanished | undefined;
    readonly expiryNearMs: number;
  },
) {
  const lost = vanishedTally(link, now, standing);
  const braked = brakeTally();
  const counts: Record<Standing['kind'], number> = { equal: 0, aside: 0, gone: 0, refused: 0, failing: 0, waiting: 0 };
  const backups = link.backups.map(({ id: store }): Counted<BackupStatus> => ({ store, equal: 0, behind: 0 }));
  const troubles = new Map<string, Trouble>();
  const findings = backupFindings(now);
  const authorities = { count: 0, names: [] as string[] };
  const destroyed = destroyedTally(link, now);
  const lags: number[] = [];
  let expiring: LinkStatus['expiring'];
  let expired = 0;
  let unproven = 0;
  let circles = 0;
  let oldest: LinkStatus['oldestUnreplicated'];
  let next: LinkStatus['nextExpiry'];
  let perYear = 0;
  let unknown = 0;

  function addTrouble({ certificate, name }: Pick<CopyEnd, 'certificate' | 'name'>, found: Met): void {
    const { store, ends = [] } = found;
    const { code, at } = found.error;
    const key = `${code} ${store}`;
    const before = troubles.get(key);
    const again = earliest(before?.again, found.again);
    const serving = ends.filter((end) => end >= now).map((end) => ({ certificate, name, at: end }));
    const stops = serving.reduce(sooner, before?.stops);
    const stopped = (before?.stopped ?? 0) + ends.length - serving.length;
    const names = before?.names ?? [];
    troubles.set(key, {
      code,
      store,
      ...recordedWords(before ?? found.error),
      certificates: (before?.certificates ?? 0) + 1,
      names: names.length < namesKept ? [...names, name] : names,
      lastAt: Math.max(before?.lastAt ?? 0, at),
      ...defined({ again }),
      ...(stopped > 0 && { stopped }),
      ...defined({ stops }),
    });
  }

  return {
    /** Nothing is known of it, which is not good. */
    addUnreadable({ certificate, error: { code, message } }: UnreadableRecord): void {
      counts.failing += 1;
      lost.present();
      const error = { code, message, at: now };
      addTrouble({ certificate, name: certificate }, { store: link.primary.id, error });
    },
    add(record: ReplicationRecord): void {
      const { certificate, primary } = record;
      const standing = standingOf(link, record);
      braked.add(record);
      counts[standing.kind] += 1;
      if (record.absentSince !== undefined) lost.gone(record);
      else if (standing.kind !== 'aside') lost.present();
      if (record.aside === 'circle' || record.backups.some((state) => state.aside === 'circle')) circles += 1;
      const name = primary?.name ?? certificate;
      for (const trouble of troublesOf(link, record, standing)) addTrouble({ certificate, name }, trouble);
      if (standing.kind === 'aside' && standing.why === 'authority') {
        authorities.count += 1;
        if (authorities.names.length < namesKept) authorities.names.push(name);
      }
      // Copies of what is gone are destroyed like any other.
      for (const state of statesOf(link, record))
        destroyed.add(certificate, name, state, state.notAfter ?? primary?.notAfter);
      if (standing.kind === 'gone' || standing.kind === 'aside') return;
      for (const state of statesOf(link, record)) findings.add(record, state);
      const lifeMs = lifeOf(record);
      if (lifeMs === undefined) unknown += 1;
      else perYear += renewalsPerYear(lifeMs);
      if (primary?.notAfter !== undefined) {
        const end = { certificate, name, at: primary.notAfter };
        if (end.at < now) expired += 1;
        else next = sooner(next, end);
        if (end.at >= now && end.at - now < Math.min(expiryNearMs, (lifeMs ?? Number.POSITIVE_INFINITY) * lastShare)) {
          const { count = 0, names = [], first } = expiring ?? {};
          const more = names.length < namesKept ? [...names, name] : names;
          expiring = { count: count + 1, names: more, first: sooner(first, end) };
        }
      }
      for (const side of backups) {
        const held = record.backups.find(({ store }) => store === side.store);
        const equal =
          held?.id !== undefined && held.lastError === undefined && held.fingerprint === primary?.fingerprint;
        if (standing.kind === 'equal' || equal) side.equal += 1;
        else side.behind += 1;
      }
      if (standing.kind === 'equal') {
        if (record.backups.some(({ replicatedAt = 0 }) => replicatedAt >= verifiedAt)) unproven += 1;
        const lag = lagOf(record);
        if (lag !== undefined && primary !== undefined && primary.changedAt >= Math.max(beganAt, now - lagWindowMs))
          lags.push(lag);
      } else if (standing.kind !== 'refused') {
        const since = unreplicatedSince(record);
        if (since !== undefined && (oldest === undefined || since < oldest.since))
          oldest = { certificate, name, since };
      }
    },
    result() {
      const lag = lagsOf(lags);
      const held = braked.result();
      return {
        counts,
        authorities,
        expired,
        ...defined({ expiring }),
        unproven,
        circles,
        vanishedByRecords: lost.result(),
        backups,
        ...findings.result(),
        ...destroyed.result(),
        stuck: [...troubles.values()].toSorted((a, b) => b.certificates - a.certificates),
        ...defined({ lag }),
        ...(held === undefined ? {} : { held: heldSummary(held) }),
        ...(oldest === undefined ? {} : { oldestUnreplicated: oldest }),
        ...(next === undefined ? {} : { nextExpiry: next }),
        ...(perYear > 0 && { renewals: { perYear: Math.round(perYear), ...(unknown > 0 && { unknown }) } }),
      };
    },
  };
}

/**
 * How long what the primary holds lives, milliseconds; `undefined` where that is not known. Where
 * the record does not say when that began, a copy of it that we have read may.
 */
function lifeOf({ primary, backups }: ReplicationRecord): number | undefined {
  const same = backups.find(({ held }) => held !== undefined && held.fingerprint === primary?.fingerprint);
  const began = primary?.notBefore ?? same?.held?.validFrom;
  if (primary?.notAfter === undefined || began === undefined || primary.notAfter <= began) return undefined;
  return primary.notAfter - began;
}

/** Copies whose content will be destroyed, by backup: where a service does that. */
function destroyedTally({ backups }: Link, now: number) {
  const soon = new Map<string, DestroyedSoon>();
  const destroying = new Set(backups.filter(({ abilities }) => abilities.destroysExpired).map(({ id }) => id));
  return {
    add(certificate: string, name: string, { store, id }: BackupState, at: number | undefined): void {
      if (id === undefined || at === undefined || !destroying.has(store)) return;
      if (at < now || at > now + destroyedSoonMs) return;
      const before = soon.get(store);
      const names = before?.names ?? [];
      soon.set(store, {
        store,
        copies: (before?.copies ?? 0) + 1,
        names: names.length < limits.elementsNamed ? [...names, name] : names,
        first: sooner(before?.first, { certificate, name, at }),
      });
    },
    result: (): Pick<LinkStatus, 'destroyedSoon'> => (soon.size === 0 ? {} : { destroyedSoon: [...soon.values()] }),
  };
}

/**
 * The states of the link's backups in a record. What it says of stores that are no longer backups
 * is passed over.
 */
const statesOf = (link: Link, { backups }: ReplicationRecord) =>
  backups.filter(({ store }) => link.backups.some(({ id }) => id === store));

/** What fails, at each store where it does: a backup that is down hides no other. */
function troublesOf(link: Link, record: ReplicationRecord, standing: Standing): readonly Met[] {
  const states = statesOf(link, record);
  if (standing.kind === 'refused') {
    // What one backup refuses is told apart.
    if (standing.store !== undefined) return [];
    const ends = states.flatMap(({ id, notAfter }) => (id === undefined ? [] : (notAfter ?? [])));
    return [{ store: link.primary.id, error: standing.error, ends }];
  }
  if (standing.kind !== 'failing') return [];
  const { store, error, again } = standing;
  const next = again === undefined ? {} : { again };
  if (store === link.primary.id) return [{ store, error, ...next }];
  return states.flatMap((state) =>
    state.lastError === undefined || state.refusal !== undefined
      ? []
      : [{ store: state.store, error: state.lastError, ...next }],
  );
}

/**
 * From the change in the primary until the slowest backup had it; `undefined` if no write of ours
 * brought it there.
 */
export function lagOf({ primary, backups }: ReplicationRecord): number | undefined {
  const moments = backups.map(({ replicatedAt }) => replicatedAt);
  if (primary === undefined || moments.length === 0 || moments.includes(undefined)) return undefined;
  const lag = Math.max(...(moments as number[])) - primary.changedAt;
  return lag < 0 ? undefined : lag;
}

/**
 * When the change happened that is not in every backup yet, as far as it is known: what told of it
 * last.
 */
function unreplicatedSince({ primary, eventAt, occurredAt, replicated }: ReplicationRecord): number | undefined {
  const moments = [eventAt, occurredAt, replicated > 0 ? primary?.changedAt : undefined];
  const known = moments.filter((moment) => moment !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

function lagsOf(lags: number[]): Lag | undefined {
  if (lags.length === 0) return undefined;
  const sorted = Float64Array.from(lags).sort();
  const quantile = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(1), of: sorted.length };
}

/**
 * A first copy takes one full read in the primary and one import in each backup, which count for
 * the store and not for a certificate: the slowest store decides, by its requests in a second.
 */
export function fullCopyOf(link: Link, certificates: number): LinkStatus['fullCopy'] {
  const limited = [link.primary, ...link.backups].flatMap(({ id, abilities: { requestsPerSecond } }) =>
    requestsPerSecond === undefined ? [] : [{ store: id, ms: (certificates / requestsPerSecond) * 1_000 }],
  );
  return limited.toSorted((a, b) => b.ms - a.ms)[0];
}

/** Nobody misses the events of a link of which nobody tells. */
function silenceOf({ toldBy = [] }: Link, silence: Silence | undefined): Pick<LinkStatus, 'silence'> {
  return toldBy.length > 0 && isSilent(silence) ? { silence: { ...silence, toldBy } } : {};
}

/** Of so many certificates. The versions take half of the requests, as a listing does. */
function silentListingsOf({ primary, backups }: Link, versions: number): readonly SilentListing[] {
  const silent = [primary, ...backups].filter(({ abilities }) => abilities.silentListings);
  return silent.map(({ id: store, abilities: { requestsPerSecond } }) => ({
    store,
    versions,
    ...(requestsPerSecond !== undefined && { atLeastMs: (2_000 * versions) / requestsPerSecond }),
  }));
}
