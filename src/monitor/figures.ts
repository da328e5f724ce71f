import type { ErrorCode } from '../errors.ts';
import type { ReplicationRecord, UnreadableRecord } from '../records/replication-record.ts';
import { type BackupFindings, type backupFindings, earliest } from '../replication/backup-findings.ts';
import type { Link } from '../replication/link.ts';
import type { VanishedFound, VanishedTally } from '../replication/vanished.ts';

/** Where a certificate of a link stands. Each is in exactly one state. */
export type CertificateState =
  | 'equal'
  | 'behind'
  | 'refused'
  | 'keyless'
  | 'withheld'
  | 'excluded'
  | 'marked'
  | 'authority'
  | 'gone';

export const certificateStates: readonly CertificateState[] = [
  'equal',
  'behind',
  'refused',
  'keyless',
  'withheld',
  'excluded',
  'marked',
  'authority',
  'gone',
];

/**
 * What stands in the way of how many certificates: at which store, by its id, and the code of the
 * failure.
 */
interface Failing {
  readonly store: string;
  readonly code: ErrorCode;
  count: number;
}

/** One link in figures, as its records say it. */
export interface LinkFigures {
  readonly states: Record<CertificateState, number>;
  /** Certificates that were asked for and not yet done with. */
  pending: number;
  /** Since when the one that waits longest does; `undefined` if none does. */
  pendingSince: number | undefined;
  readonly failing: ReadonlyMap<string, Failing>;
  /** Certificates that are gone from the primary where that is a finding; 0 if it is none. */
  vanished: number;
  /** Of certificates that are there, epoch milliseconds. */
  earliestExpiry: number | undefined;
  /** What the backups do not take, and what somebody has to see to there; absent: nobody asked. */
  findings?: BackupFindings;
}

/**
 * Counts the records of a link. `standing` is what the last reconcile found to be gone, `lost`
 * counts it anew. Streams: holds figures, and what that holds, not records.
 */
export async function linkFigures(
  link: Link,
  records: AsyncIterable<ReplicationRecord>,
  {
    lost,
    standing,
    unreadable = [],
    findings,
  }: {
    readonly lost: VanishedTally;
    readonly standing: Pick<VanishedFound, 'gone'> | undefined;
    /** Records that could not be understood, filled while `records` is read. */
    readonly unreadable?: readonly UnreadableRecord[];
    /** Gathers what is to be said of the backups; absent: nobody asks for that. */
    readonly findings?: ReturnType<typeof backupFindings>;
  },
): Promise<LinkFigures> {
  const failing = new Map<string, Failing>();
  const figures: LinkFigures = {
    states: { equal: 0, behind: 0, refused: 0, keyless: 0, withheld: 0, excluded: 0, marked: 0, authority: 0, gone: 0 },
    pending: 0,
    pendingSince: undefined,
    failing,
    vanished: 0,
    earliestExpiry: undefined,
  };
  const fails = (store: string, code: ErrorCode) => {
    const found = failing.get(`${store} ${code}`) ?? { store, code, count: 0 };
    found.count += 1;
    failing.set(`${store} ${code}`, found);
  };
  for await (const record of records) {
    const state = stateOf(link, record);
    if (state === 'gone') lost.gone(record);
    else if (state !== 'excluded' && state !== 'marked' && state !== 'authority') lost.present();
    figures.states[state] += 1;
    if (record.requested > record.replicated || state === 'behind') {
      figures.pending += 1;
      figures.pendingSince = earliest(figures.pendingSince, waitsSince(record));
    }
    if (state === 'gone') continue;
    figures.earliestExpiry = earliest(figures.earliestExpiry, record.primary?.notAfter);
    if (record.lastError !== undefined) fails(link.primary.id, record.lastError.code);
    for (const backup of record.backups)
      if (link.backups.some(({ id }) => id === backup.store)) findings?.add(record, backup);
    for (const { store, lastError } of record.backups) if (lastError !== undefined) fails(store, lastError.code);
  }
  for (const { error } of unreadable) {
    lost.present();
    figures.states.behind += 1;
    fails(link.primary.id, error.code);
  }
  if (findings !== undefined) figures.findings = findings.result();
  figures.vanished = Math.max(standing?.gone ?? 0, lost.result()?.gone ?? 0);
  return figures;
}

function stateOf(link: Link, record: ReplicationRecord): CertificateState {
  const { primary, aside, refusal, absentSince } = record;
  if (absentSince !== undefined) return 'gone';
  // A copy, whether or not the link copies those onward.
  if (aside === 'circle') return 'marked';
  if (aside !== undefined) return aside;
  if (refusal !== undefined) return 'refused';
  const states = link.backups.map(({ id }) => record.backups.find(({ store }) => store === id));
  const refusing = states.some((state) => state?.refusal !== undefined);
  const settled = states.every((state) => {
    if (state?.refusal !== undefined || state?.aside !== undefined) return true;
    return state?.id !== undefined && state.lastError === undefined && state.fingerprint === primary?.fingerprint;
  });
  if (primary === undefined || !settled || record.lastError !== undefined) return 'behind';
  return refusing ? 'refused' : 'equal';
}

/**
 * The change that a record waits with. What was never looked at waits since it was asked for, if
 * that is known.
 */
function waitsSince({ eventAt, primary, lastError, backups }: ReplicationRecord): number | undefined {
  const failedAt = backups.reduce<number | undefined>((at, state) => earliest(at, state.lastError?.at), lastError?.at);
  const asked = [eventAt, primary?.changedAt].filter((moment) => moment !== undefined);
  return asked.length === 0 ? failedAt : Math.max(...asked);
}
