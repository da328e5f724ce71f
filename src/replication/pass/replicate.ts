import { chainRemarks } from '../../certificate/remarks.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { errorFields, type Log } from '../../log.ts';
import { moved } from '../../records/link-records.ts';
import { doubtOf, type PrimaryState, type Refusal, type ReplicationRecord } from '../../records/replication-record.ts';
import type { CommitAnswer, LeaseHolderFields } from '../../records/replication-records.ts';
import { type Mark, markOfCopy } from '../../store/mark.ts';
import { type KeysRead, keysRead } from '../keys-read.ts';
import type { Link } from '../link.ts';
import { restOf } from '../refusal.ts';
import { longestSettledMs } from '../timing.ts';
import type { Worker } from '../worker.ts';
import type { BackupOutcome } from './backup-outcome.ts';
import { bringEqual } from './bring-equal.ts';
import { commitSurely } from './commit.ts';
import { isCircle, judge, type Verdict } from './judge.ts';
import { backupStates, endOfCopy, lookAtBackup, lookAtPrimary } from './look.ts';
import type { NoteOperation } from './operations.ts';
import { overCopies } from './over-copy.ts';
import { isOverwritten } from './overwritten.ts';
import { leaseHolderFields, neverThereFrom, nextDoubts, nextLook, primaryState } from './pass-outcome.ts';
import { isGone, mayRemove, retire } from './retire.ts';

/** What one pass did and found. The private keys in it are overwritten. */
export interface PassReport {
  readonly link: string;
  readonly certificate: string;
  readonly verdict: Verdict;
  readonly backups: readonly BackupOutcome[];
  /** As the pass claimed it. */
  readonly record: ReplicationRecord;
  /** When it began to look, and when the commit was written, epoch milliseconds. */
  readonly beganAt: number;
  readonly committedAt: number;
  /** What became of the commit. */
  readonly answer: CommitAnswer;
  /** The record as the commit leaves it, where the answer is `committed`. */
  readonly after: ReplicationRecord;
  readonly primary?: PrimaryState;
  /** Why what the primary holds is not copied, as the record has it from now on. */
  readonly refusal?: Refusal;
}

/**
 * `again` is when the next look is due, if one is known to be: a hint for a dispatch that can
 * delay.
 */
export interface ReplicateAnswer {
  readonly passes: readonly PassReport[];
  readonly again?: number;
}

/**
 * Replicates one certificate of one link: claims it, looks at both sides as they are now, judges,
 * writes what differs, and commits what it saw; begins again, a few times, if more was asked for
 * meanwhile. Looking again is always safe. After `beginBy` (epoch milliseconds) no pass begins
 * again: where a process has little time, the rest is left to the next wake-up. Throws when the
 * table cannot be asked; whatever the stores do is in the report and in the record.
 */
export async function replicate(
  worker: Worker,
  link: Link,
  certificate: string,
  { beginBy = Number.POSITIVE_INFINITY }: { readonly beginBy?: number } = {},
): Promise<ReplicateAnswer> {
  const passes: PassReport[] = [];
  for (let round = 0; round < limits.passesInARow; round += 1) {
    if (round > 0 && worker.runtime.now() > beginBy) break;
    const pass = await onePass(worker, link, certificate);
    if (pass === undefined) return { passes };
    passes.push(pass.report);
    if (pass.answer === 'refused') return { passes };
    if (pass.answer === 'committed') return pass.wakeAt === undefined ? { passes } : { passes, again: pass.wakeAt };
  }
  return { passes, again: worker.runtime.now() };
}

async function onePass(worker: Worker, link: Link, certificate: string) {
  const { runtime, timing, records } = worker;
  const claimedAt = runtime.now();
  const leaseUntil = claimedAt + timing.leaseMs;
  const [claim, binding] = await Promise.all([
    records.claim({
      link: link.name,
      certificate,
      owner: worker.owner?.id ?? runtime.newId(),
      now: claimedAt,
      leaseUntil,
      skewMs: timing.skewMs,
      doubt: claimedAt + longestSettledMs(link.backups, timing),
      ...(worker.owner === undefined ? {} : { hasDied: worker.owner.hasDied }),
    }),
    worker.linkRecords.bindingOf(link.name),
  ]);
  if (!claim.claimed) return undefined;
  const { record } = claim;
  if (binding.primary !== undefined && binding.primary !== link.primary.id) {
    await giveBack(worker, record);
    throw moved(link.name, link.primary.id, binding.primary);
  }

  const beganAt = runtime.now();
  const keys = keysRead();
  const { verdict, outcomes } = await lookAndWrite(worker, link, record, {
    beganAt,
    writeBy: leaseUntil - timing.commitMs,
    reconciled: binding.reconciled,
    keys,
  }).finally(() => keys.wipe());

  const primary = primaryState(record, verdict, beganAt);
  const fields = leaseHolderFields(worker, record, verdict, outcomes, primary);
  const { backups } = link;
  const doubts = nextDoubts(record, { beganAt, backups, outcomes, now: runtime.now(), timing });
  const forgetAt = neverThereFrom(link, record, fields, timing);
  const wakeAt = nextLook(link, record, fields, { beganAt, outcomes, doubts, timing });
  const wroteTo = backups.filter((_store, index) => outcomes[index]?.wrote);
  const answer =
    forgetAt !== undefined && beganAt >= forgetAt && (await forget(worker, record))
      ? 'committed'
      : await commitSurely(worker, link, record, { fields, doubts, wakeAt, wroteTo });
  const report: PassReport = {
    link: link.name,
    certificate,
    verdict,
    backups: outcomes,
    record,
    beganAt,
    committedAt: runtime.now(),
    answer,
    after: recordAfter(record, fields, wakeAt),
    ...defined({ primary, refusal: fields.refusal }),
  };
  logPass(worker.log, report, answer, fields);
  return { report, answer, wakeAt };
}

/** What a pass found, with nothing of what an earlier one had found. */
function recordAfter(
  before: ReplicationRecord,
  fields: LeaseHolderFields,
  wakeAt: number | undefined,
): ReplicationRecord {
  const { notBefore: _rest, lastError: _error, absentSince: _gone, aside: _aside, ...kept } = before;
  const { refusal: _refusal, primary: _primary, wakeAt: _wakeAt, ...asked } = kept;
  return { ...asked, ...fields, replicated: before.requested, ...defined({ wakeAt }) };
}

/**
 * Forgets a record in place of a commit; where it did not, or nobody heard that it did, the commit
 * that follows finds out.
 */
async function forget({ records }: Worker, record: ReplicationRecord): Promise<boolean> {
  const { link, certificate, leaseToken: token, requested: seen } = record;
  return records.forgetNeverThere(link, certificate, { token, seen }).catch(() => false);
}

/**
 * Leaves a record as it was claimed: it belongs to another direction of the link, whose workers go
 * on with it.
 */
async function giveBack({ records, runtime }: Worker, record: ReplicationRecord): Promise<void> {
  const { link, certificate, leaseToken: token, requested: seen, wakeAt = runtime.now() } = record;
  const { attempts, notBefore, lastError, absentSince, aside, refusal, primary, backups } = record;
  const fields = { attempts, notBefore, lastError, absentSince, aside, refusal, primary, backups };
  await records.commit({
    link,
    certificate,
    token,
    seen,
    wakeAt,
    fields: fields as LeaseHolderFields,
  });
}

async function lookAndWrite(
  worker: Worker,
  link: Link,
  record: ReplicationRecord,
  pass: {
    readonly beganAt: number;
    readonly writeBy: number;
    readonly reconciled: ReadonlyMap<string, number>;
    readonly keys: KeysRead;
  },
): Promise<{ readonly verdict: Verdict; readonly outcomes: readonly BackupOutcome[] }> {
  const { runtime, timing, listings } = worker;
  const { beganAt, writeBy, keys } = pass;
  const mark: Mark = { store: link.primary.id, certificate: record.certificate };
  const at = Math.min(beganAt + timing.lookMs, writeBy);
  const states = backupStates(record, link.backups);
  // The primary and the backups are asked at once; each backup is written as soon as it and the
  // primary have answered.
  const verdictSoon = lookAtPrimary({ runtime, at, store: link.primary, id: record.certificate, keys })
    .then(({ reading, described }) => judge(link, reading, runtime.now(), described))
    .catch((thrown: unknown): Verdict => ({ kind: 'unreadable', error: asCodedError(thrown) }));
  let over: ReturnType<typeof overCopies> | undefined;
  const noteOperation: NoteOperation = async (store, operation) => {
    const { certificate, leaseToken: token } = record;
    if (await worker.records.noteOperation(link.name, certificate, { token, store, operation })) return;
    throw new CodedError('store_unavailable', 'nothing is begun under a lease that somebody else has taken over', {
      fields: { store },
    });
  };
  const outcomes = await Promise.all(
    link.backups.map(async (store, index): Promise<BackupOutcome> => {
      const state = states[index] ?? { store: store.id, attempts: 0 };
      if (state.notBefore !== undefined && state.notBefore > beganAt) return untouched(state, state.notBefore);
      const names = { original: record.certificate, copy: state.id };
      const doubt = doubtOf(record, store.id);
      if (store.slots !== undefined) {
        // Where writes are scarce nobody looks who would have to write and has no turn yet.
        const soon = await verdictSoon;
        const wanted = soon.kind === 'sound' && soon.fingerprint !== state.fingerprint ? soon.fingerprint : undefined;
        // Nor does one take a turn that rests by a finding, in a look that is due for another
        // backup: each turn would be a look at both, and the two would give each other turns for
        // ever.
        const isAsked = record.requested > record.replicated;
        const rest =
          isAsked || !wanted ? undefined : restOf(state, { fingerprint: wanted, doubt, now: beganAt, timing });
        if (rest !== undefined) return untouched(state, rest.again);
        const turnAt = wanted === undefined ? 0 : store.slots.take(names);
        if (turnAt > runtime.now()) return untouched({ ...state, notBefore: turnAt }, turnAt);
      }
      // Where names are unique, one of ours that nobody remembers may have been named by a version
      // before.
      const maybeNamed = state.id === undefined && store.abilities.uniqueNames;
      const isKnown = pass.reconciled.has(store.id) && !maybeNamed;
      const isUnsure = doubt !== undefined || state.unremovable !== undefined || state.operation !== undefined;
      const byMark = isUnsure || !isKnown;
      const [verdict, look] = await Promise.all([
        verdictSoon,
        lookAtBackup({
          runtime,
          at,
          store,
          state,
          mark,
          byMark,
          since: searchedSince(state, doubt, beganAt),
          listings,
        }),
      ]);
      if (verdict.kind === 'absent' && isGone(link, record, beganAt, timing)) {
        const remove = mayRemove(link, record, runtime.now());
        if (state.retainedAt !== undefined && !remove) return untouched(state);
        return retire({ runtime, timing, beganAt, writeBy, mark, keys, noteOperation }, look, {
          since: record.absentSince ?? beganAt,
          remove,
        });
      }
      // Nothing sound to compare with: nothing is written, and no surplus removed, because nobody
      // can say which copy is right.
      if (verdict.kind !== 'sound') return untouched({ ...state, ...endOfCopy(look) });
      if (isCircle(verdict.metadata.mark, store)) {
        store.slots?.giveBack(names);
        return itself(state, beganAt);
      }
      const { naming, policy } = link;
      const mayReplace = policy.neverReplace !== true;
      over ??= overCopies({ linkRecords: worker.linkRecords, now: runtime.now }, link, record, verdict);
      const task = { runtime, timing, beganAt, writeBy, doubt, keys, noteOperation, mayReplace, over, naming };
      const outcome = await bringEqual(
        { ...task, sound: verdict, mark: markOfCopy(mark, verdict.metadata.mark) },
        look,
      );
      if (!outcome.wrote) store.slots?.giveBack(names);
      return outcome;
    }),
  );
  return { verdict: await verdictSoon, outcomes };
}

/**
 * A backup that the certificate came from, or through: it has the original, and is given no copy of
 * it.
 */
function itself(state: BackupOutcome['state'], beganAt: number): BackupOutcome {
  const { notBefore: _not, lastError: _last, refusal: _refusal, ...rest } = state;
  const kept: BackupOutcome['state'] = { ...rest, attempts: 0, aside: 'circle' };
  return { state: kept, actions: [], equal: true, searchedAt: beganAt, wrote: false, doubtful: false };
}

/**
 * A search that began before this moment tells a look nothing: before a doubt, or the longest time
 * of an operation, that had passed when the look began, which it does not settle; or before an
 * attempt that failed by what it had found.
 */
function searchedSince(
  { attempts, lastError, operation }: BackupOutcome['state'],
  doubt: number | undefined,
  beganAt: number,
): number | undefined {
  const passed = [doubt, operation?.until].filter((moment) => moment !== undefined && moment <= beganAt);
  const moments = [...passed, attempts > 0 ? lastError?.at : undefined].filter((moment) => moment !== undefined);
  return moments.length === 0 ? undefined : Math.max(...moments);
}

/** A backup to which nothing was done in this pass. */
function untouched(state: BackupOutcome['state'], again?: number): BackupOutcome {
  const nothing = { state, actions: [], equal: false, wrote: false, doubtful: false };
  return again === undefined ? nothing : { ...nothing, again };
}

function logPass(log: Log, report: PassReport, answer: CommitAnswer, fields: LeaseHolderFields): void {
  const { link, certificate, verdict } = report;
  const about = { link, certificate, name: report.primary?.name };
  // Once per finding: a pass that could not read the primary, or found the same again, has nothing
  // new to tell.
  if (fields.refusal !== undefined && fields.refusal.facts !== report.record.refusal?.facts) {
    log('warn', 'certificate_refused', { ...about, code: fields.refusal.code, message: fields.lastError?.message });
  }
  // And a remark once for each content: when it is written.
  const content = verdict.kind === 'sound' && report.backups.some(({ wrote }) => wrote) ? verdict.content : undefined;
  const remarks = content === undefined ? [] : chainRemarks(content, report.committedAt);
  for (const remark of remarks) log('info', 'chain_remark', { ...about, ...remark });
  if (verdict.kind === 'unreadable') log('warn', 'primary_unreadable', { ...about, ...errorFields(verdict.error) });
  for (const { state, actions, error, refused } of report.backups) {
    const at = { ...about, backup: state.store, copy: state.id };
    const before = report.record.backups.find(({ store }) => store === state.store);
    if (state.refusal !== undefined && state.refusal.facts !== before?.refusal?.facts)
      log('warn', 'certificate_refused', { ...at, code: state.refusal.code, message: state.lastError?.message });
    for (const { id, code, message } of state.unremovable ?? [])
      if (before?.unremovable?.some((copy) => copy.id === id) !== true)
        log('warn', 'copy_not_removable', { ...at, surplus: id, code, message });
    if (isOverwritten(state.overwritten, report.committedAt) && !isOverwritten(before?.overwritten, report.committedAt))
      log('warn', 'copy_overwritten', { ...at, code: 'store_copy_overwritten', times: state.overwritten.times });
    if (actions.length > 0) log('info', 'copy_written', { ...at, actions });
    if (error !== undefined && refused !== true)
      log('warn', 'backup_failed', { ...at, ...errorFields(asCodedError(error)) });
  }
  log('debug', 'pass', { ...about, verdict: verdict.kind, answer });
}
