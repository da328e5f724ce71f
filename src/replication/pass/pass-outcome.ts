import { defined } from '../../defined.ts';
import type { CodedError } from '../../errors.ts';
import {
  type BackupState,
  doubtOf,
  isLeftAside,
  type PrimaryState,
  type ReplicationRecord,
  recordedError,
} from '../../records/replication-record.ts';
import type { LeaseHolderFields } from '../../records/replication-records.ts';
import { isOwnLimit } from '../../store/own-limit.ts';
import type { CertificateMetadata, Store } from '../../store/store.ts';
import { type Link, listedFacts } from '../link.ts';
import { countedOn } from '../refusal.ts';
import { absenceConfirmedMs, backoffMs, settledMs, shownAfterMs, type Timing } from '../timing.ts';
import type { Worker } from '../worker.ts';
import type { BackupOutcome } from './backup-outcome.ts';
import type { Sound, Verdict } from './judge.ts';

/**
 * What the record says about the primary after a look that began at `beganAt`; what it said before,
 * if nothing was found.
 */
export function primaryState(record: ReplicationRecord, verdict: Verdict, beganAt: number): PrimaryState | undefined {
  const found = foundIn(verdict);
  if (found === undefined) return record.primary;
  const { metadata, fingerprint, metadataDigest } = found;
  const { validFrom, validTo } = found.content.leaf;
  const [notBefore, notAfter] = [Date.parse(validFrom), Date.parse(validTo)];
  return {
    name: metadata.name,
    fingerprint,
    metadataDigest,
    listedFacts: listedFacts(metadata),
    lookedAt: beganAt,
    // OpenSSL reads a certificate whose dates are no dates, and a row holds no NaN.
    ...(Number.isNaN(notBefore) ? {} : { notBefore }),
    ...(Number.isNaN(notAfter) ? {} : { notAfter }),
    ...(metadata.revision === undefined ? {} : { revision: metadata.revision }),
    ...changeMoment(record, found, beganAt),
  };
}

/**
 * When the certificate changed: the primary's last-modified, else the event's time, else when it
 * was acknowledged.
 */
function changeMoment(
  record: ReplicationRecord,
  { metadata }: Sound,
  beganAt: number,
): Pick<PrimaryState, 'changedAt' | 'changedAtFrom'> {
  if (metadata.lastModified !== undefined) return { changedAt: metadata.lastModified, changedAtFrom: 'last-modified' };
  if (record.occurredAt !== undefined) return { changedAt: record.occurredAt, changedAtFrom: 'event' };
  return { changedAt: record.eventAt ?? beganAt, changedAtFrom: 'acknowledged' };
}

function foundIn(verdict: Verdict): Sound | undefined {
  if (verdict.kind === 'sound') return verdict;
  return verdict.kind === 'refused' || verdict.kind === 'aside' ? verdict.found : undefined;
}

/**
 * What the lease holder writes about the certificate as a whole. What it does not mention is
 * removed.
 */
export function leaseHolderFields(
  worker: Pick<Worker, 'runtime' | 'timing'>,
  record: ReplicationRecord,
  verdict: Verdict,
  outcomes: readonly BackupOutcome[],
  primary: PrimaryState | undefined,
): LeaseHolderFields {
  const { runtime, timing } = worker;
  const now = runtime.now();
  const always = {
    attempts: 0,
    backups: outcomes.map(({ state }) => state),
    ...defined({ primary }),
  };
  if (verdict.kind === 'unreadable') {
    if (isOwnLimit(verdict.error)) {
      const { attempts, lastError } = record;
      const notBefore = now + (verdict.error.retryAfterMs ?? 0);
      return { ...always, ...keptOf(record), attempts, notBefore, ...(lastError && { lastError }) };
    }
    const attempts = record.attempts + 1;
    const notBefore = now + backoffMs(attempts, runtime.random, timing, verdict.error.retryAfterMs);
    return { ...always, ...keptOf(record), attempts, notBefore, lastError: recordedError(verdict.error, now) };
  }
  if (verdict.kind === 'absent') {
    // What was not to be copied when it was there is no loss now.
    const { aside } = record;
    const kept = isLeftAside(aside) ? { aside } : {};
    return { ...always, ...kept, absentSince: record.absentSince ?? now };
  }
  if (verdict.kind === 'aside') return { ...always, aside: verdict.why };
  if (verdict.kind === 'refused') {
    return { ...always, ...refusalOf(record, verdict, now) };
  }
  return always;
}

/** What was known of the certificate before a look that saw nothing. */
function keptOf({ absentSince, aside, refusal }: ReplicationRecord) {
  return defined({ absentSince, aside, refusal });
}

/** The finding, counted on if it is the same as before. */
function refusalOf(
  record: ReplicationRecord,
  finding: {
    readonly error: CodedError;
    readonly facts: string;
    readonly metadata?: CertificateMetadata;
  },
  now: number,
): Pick<LeaseHolderFields, 'refusal' | 'lastError'> {
  const { error, facts, metadata } = finding;
  return {
    refusal: {
      ...countedOn(record.refusal, { code: error.code, facts }, now),
      byPolicy: true,
      ...(metadata === undefined ? {} : { listedFacts: listedFacts(metadata) }),
      ...(metadata?.revision === undefined ? {} : { revision: metadata.revision }),
    },
    lastError: recordedError(error, now),
  };
}

/**
 * The doubt of each backup after a pass, by store id. It is set anew after a write that nobody
 * heard the end of, and cleared only by a pass whose search of this backup began after it, and
 * which found it equal.
 */
export function nextDoubts(
  record: ReplicationRecord,
  pass: {
    readonly beganAt: number;
    readonly backups: readonly Store[];
    readonly outcomes: readonly BackupOutcome[];
    readonly now: number;
    readonly timing: Timing;
  },
): Readonly<Record<string, number>> {
  const doubts: Record<string, number> = {};
  for (const [index, store] of pass.backups.entries()) {
    const { doubtful, searchedAt, equal } = pass.outcomes[index] as BackupOutcome;
    const doubt = doubtOf(record, store.id);
    const isSettled = doubt === undefined || (searchedAt !== undefined && doubt <= searchedAt && equal);
    if (doubtful) doubts[store.id] = Math.max(doubt ?? 0, pass.now + settledMs(store, pass.timing));
    else if (!isSettled) doubts[store.id] = doubt;
  }
  return doubts;
}

/**
 * From when on a look that finds nothing in the primary forgets this record: nobody but a sender
 * who does not sign what it says ever named it, nothing was ever found there or copied, and by then
 * both reads and listings would show it. `undefined`: never.
 */
export function neverThereFrom(
  link: Link,
  record: ReplicationRecord,
  fields: LeaseHolderFields,
  timing: Timing,
): number | undefined {
  const { toldAt, eventAt, primary, doubt, removalAskedAt, goneAcceptedAt } = record;
  if (toldAt === undefined || fields.absentSince === undefined || fields.primary !== undefined) return undefined;
  if ([eventAt, primary, doubt, removalAskedAt, goneAcceptedAt].some((known) => known !== undefined)) return undefined;
  const isKnown = ({ id, fingerprint, written }: BackupState) =>
    [id, fingerprint, written].some((known) => known !== undefined);
  if ([...record.backups, ...fields.backups].some(isKnown)) return undefined;
  // A backup that could not be searched is asked again, and what failed before this look says
  // nothing any more.
  if (fields.backups.some(({ lastError }) => lastError !== undefined)) return undefined;
  const { readSettlesMs, listingLagMs } = link.primary.abilities;
  return toldAt + shownAfterMs(readSettlesMs + listingLagMs, timing);
}

/** The earliest moment at which something may have to be done; absent if there is nothing. */
export function nextLook(
  link: Link,
  record: ReplicationRecord,
  fields: LeaseHolderFields,
  pass: {
    readonly beganAt: number;
    readonly outcomes: readonly BackupOutcome[];
    readonly doubts: Readonly<Record<string, number>>;
    readonly timing: Timing;
  },
): number | undefined {
  const { beganAt, timing, doubts } = pass;
  const moments: number[] = [];
  if (fields.notBefore !== undefined) moments.push(fields.notBefore);
  for (const { again } of pass.outcomes) if (again !== undefined) moments.push(again);
  // A doubt that had passed when this look began is settled by whatever else is in this list.
  for (const doubt of Object.values(doubts)) if (doubt > beganAt) moments.push(doubt);
  const refusalWait = fields.refusal && timing.refusalLooksMs[fields.refusal.looks - 1];
  if (refusalWait !== undefined) moments.push(beganAt + refusalWait);
  if (fields.absentSince !== undefined) {
    const confirmAt = fields.absentSince + absenceConfirmedMs(link, timing);
    if (beganAt < confirmAt) moments.push(confirmAt);
  }
  for (const toldAt of [record.eventAt, record.toldAt]) {
    // The clock of the process that acknowledged it may differ: a look that is too early by so
    // little would be the last one.
    const readSettledAt =
      (toldAt ?? Number.NEGATIVE_INFINITY) + shownAfterMs(link.primary.abilities.readSettlesMs, timing);
    if (beganAt < readSettledAt) moments.push(readSettledAt);
  }
  const forgetAt = neverThereFrom(link, record, fields, timing);
  // Where it could not be forgotten just now, another look will.
  if (forgetAt !== undefined) moments.push(beganAt < forgetAt ? forgetAt : beganAt + timing.absenceMs);
  return moments.length === 0 ? undefined : Math.min(...moments);
}
