import { createHash } from 'node:crypto';
import { chainRemarks } from '../../certificate/remarks.ts';
import { defined } from '../../defined.ts';
import { asCodedError, type ErrorCode } from '../../errors.ts';
import { doubtOf, type ReplicationRecord } from '../../records/replication-record.ts';
import { type Mark, markOfCopy } from '../../store/mark.ts';
import { type BackupFindings, backupFindings } from '../backup-findings.ts';
import { keysRead } from '../keys-read.ts';
import type { Link } from '../link.ts';
import type { BackupOutcome } from '../pass/backup-outcome.ts';
import { bringEqual } from '../pass/bring-equal.ts';
import { isCircle, judge, type Verdict } from '../pass/judge.ts';
import { backupStates, lookAtBackup, lookAtPrimary } from '../pass/look.ts';
import { overCopies } from '../pass/over-copy.ts';
import { isKeyProblem, keyProblems, standingOf } from '../standing.ts';
import type { Worker } from '../worker.ts';
import { type Comparison, compare, type Reason } from './compare.ts';
import { type RehearsedWrite, rehearsal } from './rehearsal.ts';

/** What would happen at one backup. */
export interface PlannedBackup {
  readonly store: string;
  /** The writes, in order; none: nothing would be done. */
  readonly writes: readonly RehearsedWrite[];
  /** A copy with our mark that the records do not know would be taken for the copy. */
  readonly adopts?: string;
  /** Why it would not be made equal. */
  readonly problem?: ErrorCode;
  /**
   * It is no failure but a finding, which rests: the backup does not take what the primary holds.
   */
  readonly refused?: {
    readonly message: string;
    /** Since when, and when it ends by itself, epoch milliseconds. */
    readonly since: number;
    readonly until?: number;
    /** When the copy that stays there stops serving. */
    readonly stops?: number;
  };
}

/** What would happen to one certificate. */
export interface PlanLine {
  readonly certificate: string;
  readonly name: string;
  readonly reason: Reason;
  /**
   * `write`: the backups are written as they say. `refuse`: what the primary holds is not copied.
   * `retain`: the original is gone, if a second look confirms it, and the copies stay and say so.
   * `remove`: the copies of an original that is gone are removed. `nothing`: both sides are equal.
   * `unsure`: a side could not be read, and it will be tried.
   */
  readonly outcome: 'write' | 'refuse' | 'retain' | 'remove' | 'nothing' | 'unsure';
  /** Why it is not copied, or not known. */
  readonly problem?: ErrorCode;
  readonly message?: string;
  /** What is to be told of the chain that would be copied, and is no reason to refuse it. */
  readonly remarks?: readonly string[];
  readonly backups: readonly PlannedBackup[];
}

export interface Plan {
  /** Names these lines: the same lines have the same digest, whenever they are made. */
  readonly digest: string;
  readonly comparison: Comparison;
  /**
   * Certificates that a reconcile would look at in full because it is their turn. They are not part
   * of the plan: a look may find anything.
   */
  readonly looks: number;
  /** What the backups would not take after it, or somebody has to see to there, at rest or not. */
  readonly findings: BackupFindings;
  /**
   * Certificates that were refused or failed when they were looked at last, that are no part of the
   * plan, and that no finding tells of.
   */
  readonly standing: number;
}

const concurrency = 16;

/**
 * What a reconcile would do, to the letter, in the order of the listings: each certificate that it
 * would ask for is passed as it would be then, by the same code, but against stores that keep every
 * write to themselves. Nothing is changed, in the table neither. `line` gets each line as it is
 * known. Throws what `compare` throws.
 */
export async function planReconcile(
  worker: Worker,
  link: Link,
  options: {
    readonly line?: (line: PlanLine) => void;
    readonly signal?: AbortSignal | undefined;
    /** What was compared already; absent: it is compared now. */
    readonly comparison?: Comparison;
    /** Has everything looked at in full, and all of that is part of the plan. */
    readonly full?: boolean | undefined;
    readonly progress?: (done: number) => void;
  } = {},
): Promise<Plan> {
  const comparison =
    options.comparison ?? (await compare(worker, link, { signal: options.signal, full: options.full }));
  const digests: string[] = [];
  const findings = backupFindings(worker.runtime.now());
  let looks = 0;
  let batch: (readonly [string, Reason])[] = [];
  const work = async () => {
    options.signal?.throwIfAborted();
    const lines = await Promise.all(
      batch.map(([certificate, reason]) => lineOf(worker, link, { certificate, reason, findings })),
    );
    for (const line of lines) {
      digests.push(digestOf(line));
      options.line?.(line);
    }
    batch = [];
    options.progress?.(digests.length);
  };
  for (const certificate of comparison.asks.keys()) {
    const reason = comparison.asks.get(certificate) as Reason;
    if (reason === 'due-for-a-full-look' && options.full !== true) {
      looks += 1;
      continue;
    }
    batch.push([certificate, reason]);
    if (batch.length === concurrency) await work();
  }
  await work();
  const standing = await addResting(worker, link, { comparison, full: options.full === true, findings });
  const digest = sha256([link.name, ...digests.toSorted()].join('\n')).slice(0, 16);
  return { digest, comparison, looks, findings: findings.result(), standing };
}

type Findings = ReturnType<typeof backupFindings>;

/**
 * What is found of certificates that are no part of the plan, by their records. Answers how many of
 * them are refused or failing, and told of by no finding.
 */
async function addResting(
  { records }: Worker,
  link: Link,
  plan: { readonly comparison: Comparison; readonly full: boolean; readonly findings: Findings },
): Promise<number> {
  const { comparison, full, findings } = plan;
  let standing = 0;
  // Records that cannot be understood are told of by the comparison.
  for await (const record of records.all(link.name, () => {})) {
    const reason = comparison.asks.get(record.certificate);
    const isPlanned = reason !== undefined && (full || reason !== 'due-for-a-full-look');
    if (isPlanned) continue;
    const stands = standingOf(link, record);
    // What one backup refuses is among the findings.
    if (stands.kind === 'failing' || (stands.kind === 'refused' && stands.store === undefined)) standing += 1;
    if (record.absentSince !== undefined) continue;
    for (const state of record.backups)
      if (link.backups.some(({ id }) => id === state.store)) findings.add(record, state);
  }
  return standing;
}

interface Planned {
  readonly certificate: string;
  readonly reason: Reason;
  /** Gets what the backups would not take. */
  readonly findings: Findings;
}

/**
 * The line of one certificate. What goes wrong with it keeps no other from its line; a table that
 * does not answer keeps all.
 */
async function lineOf(worker: Worker, link: Link, planned: Planned): Promise<PlanLine> {
  const { certificate, reason } = planned;
  try {
    return await planOne(worker, link, planned);
  } catch (thrown) {
    const { code, message } = asCodedError(thrown);
    if (code === 'table_unavailable' || code === 'interrupted') throw thrown;
    return { certificate, name: certificate, reason, outcome: 'unsure', problem: code, message, backups: [] };
  }
}

async function planOne(worker: Worker, link: Link, { certificate, reason, findings }: Planned): Promise<PlanLine> {
  const record = (await worker.records.get(link.name, certificate)) ?? newRecord(link, certificate);
  const about = { certificate, name: record.primary?.name ?? certificate, reason };
  if (reason === 'removal-due') {
    const backups = link.backups.map(({ id: store }): PlannedBackup => {
      const { id } = record.backups.find((state) => state.store === store) ?? {};
      return { store, writes: id === undefined ? [] : [{ write: 'remove', copy: id }] };
    });
    return { ...about, outcome: 'remove', backups };
  }
  const keys = keysRead();
  try {
    return await rehearse(worker, link, record, { about, keys, findings });
  } finally {
    keys.wipe();
  }
}

/** One pass over a certificate, as `replicate` would make it, against stores that write nothing. */
async function rehearse(
  worker: Worker,
  link: Link,
  record: ReplicationRecord,
  pass: {
    readonly about: Pick<PlanLine, 'certificate' | 'name' | 'reason'>;
    readonly keys: ReturnType<typeof keysRead>;
    readonly findings: Findings;
  },
): Promise<PlanLine> {
  const { runtime, timing, listings } = worker;
  const { about, keys, findings } = pass;
  const { certificate, reason } = about;
  const beganAt = runtime.now();
  const at = beganAt + timing.lookMs;
  const mark: Mark = { store: link.primary.id, certificate };
  const { reading, described } = await lookAtPrimary({ runtime, at, store: link.primary, id: certificate, keys });
  const verdict = judge(link, reading, beganAt, described);
  const said = { ...about, name: nameIn(verdict) ?? about.name };
  if (verdict.kind !== 'sound') return { ...said, ...withoutCopying(verdict), backups: [] };

  const over = overCopies(
    { linkRecords: worker.linkRecords, now: runtime.now, rehearsed: true },
    link,
    record,
    verdict,
  );
  const suspect = reason === 'doubled' || reason === 'not-the-recorded-copy';
  const states = backupStates(record, link.backups);
  const backups = await Promise.all(
    link.backups.map(async (real, index): Promise<PlannedBackup> => {
      const state = states[index] ?? { store: real.id, attempts: 0 };
      if (isCircle(verdict.metadata.mark, real)) return { store: real.id, writes: [] };
      const { store, writes } = rehearsal(real, runtime.now);
      const byMark = suspect || doubtOf(record, real.id) !== undefined;
      const look = await lookAtBackup({ runtime, at, store: real, state, mark, byMark, listings });
      const outcome = await bringEqual(
        {
          runtime,
          timing,
          beganAt,
          writeBy: beganAt + timing.leaseMs,
          doubt: undefined,
          mark: markOfCopy(mark, verdict.metadata.mark),
          sound: verdict,
          keys,
          // Nothing is begun in a rehearsal.
          noteOperation: () => Promise.resolve(),
          mayReplace: link.policy.neverReplace !== true,
          over,
          naming: link.naming,
        },
        { ...look, store },
      );
      const { id } = outcome.state;
      // What the service refused last time it will refuse again, though a rehearsal cannot show
      // that.
      const isRefusedStill = outcome.state.refusal === undefined && state.refusal?.facts.endsWith(verdict.fingerprint);
      findings.add(record, isRefusedStill ? state : outcome.state, said.name);
      return {
        store: real.id,
        writes,
        ...(outcome.actions.includes('adopted') && id !== undefined ? { adopts: id } : {}),
        ...(outcome.error === undefined ? {} : { problem: outcome.error.code }),
        ...refusedIn(outcome),
      };
    }),
  );
  const busy = backups.some(({ writes, adopts, problem }) => writes.length > 0 || adopts !== undefined || problem);
  const remarks = chainRemarks(verdict.content, beganAt).map(({ message }) => message);
  return { ...said, outcome: busy ? 'write' : 'nothing', ...(remarks.length > 0 && { remarks }), backups };
}

/** Why a backup would not take it, where that is a finding. */
function refusedIn({ state, error, refused }: BackupOutcome): Pick<PlannedBackup, 'refused'> {
  if (refused !== true || error === undefined || state.refusal === undefined) return {};
  const { since, until } = state.refusal;
  const { notAfter: stops } = state;
  return {
    refused: {
      ...{ message: error.message, since },
      ...defined({ until, stops }),
    },
  };
}

function withoutCopying(
  verdict: Exclude<Verdict, { kind: 'sound' }>,
): Pick<PlanLine, 'outcome' | 'problem' | 'message'> {
  switch (verdict.kind) {
    case 'absent':
      return { outcome: 'retain' };
    case 'refused':
      return refusal(verdict.error);
    case 'unreadable':
      return { outcome: 'unsure', problem: verdict.error.code, message: verdict.error.message };
    case 'aside':
      return isKeyProblem(verdict.why) ? refusal(keyProblems[verdict.why]) : { outcome: 'nothing' };
  }
}

function refusal({ code, message }: { readonly code: ErrorCode; readonly message: string }) {
  return { outcome: 'refuse', problem: code, message } as const;
}

function nameIn(verdict: Verdict): string | undefined {
  if (verdict.kind === 'sound') return verdict.metadata.name;
  if (verdict.kind === 'refused') return verdict.metadata?.name;
  return verdict.kind === 'aside' ? verdict.found?.metadata.name : undefined;
}

function newRecord({ name }: Link, certificate: string): ReplicationRecord {
  return { link: name, certificate, requested: 0, replicated: 0, leaseToken: 0, attempts: 0, backups: [] };
}

/** Of what a line does, not of the words in it, or of moments. */
function digestOf({ message: _message, remarks: _remarks, ...line }: PlanLine): string {
  const backups = line.backups.map(({ refused: _refused, ...does }) => does);
  return sha256(JSON.stringify({ ...line, backups }));
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
