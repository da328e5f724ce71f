import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import type { ReplicationRecord } from '../../records/replication-record.ts';
import type { CommitAnswer, LeaseHolderFields } from '../../records/replication-records.ts';
import type { Store } from '../../store/store.ts';
import type { Link } from '../link.ts';
import { backoffMs, settledMs } from '../timing.ts';
import type { Worker } from '../worker.ts';

/**
 * Commits, whatever becomes of the answer: if it is refused or lost, the row says whether it was
 * done. If someone else took over and this pass sent a write, it asks for one more look in doubt,
 * so that a late write of ours cannot be the last word.
 */
export async function commitSurely(
  worker: Worker,
  link: Link,
  record: ReplicationRecord,
  pass: {
    readonly fields: LeaseHolderFields;
    /** As the record keeps it from now on, by store id. */
    readonly doubts: Readonly<Record<string, number>>;
    readonly wakeAt: number | undefined;
    /** The backups to which this pass sent a write. */
    readonly wroteTo: readonly Store[];
  },
): Promise<CommitAnswer> {
  const { records, runtime, timing } = worker;
  const { certificate, leaseToken: token, requested: seen } = record;
  const { fields, doubts, wakeAt, wroteTo } = pass;
  let failure: unknown = new CodedError(
    'internal',
    `the table refuses the commit of ${certificate} and shows its lease as ours`,
  );
  for (let attempt = 1; attempt <= commitAttempts; attempt += 1) {
    try {
      const answer = await records.commit({
        link: link.name,
        certificate,
        token,
        seen,
        fields,
        doubts,
        ...defined({ wakeAt }),
      });
      if (answer !== 'refused') return answer;
      const row = await records.get(link.name, certificate);
      if (row?.leaseToken === token) {
        if (row.leaseUntil !== undefined) continue;
        // An earlier try of ours was applied, and its answer lost.
        return row.requested === seen ? 'committed' : 'moved';
      }
      if (wroteTo.length > 0) {
        const now = runtime.now();
        const late = wroteTo.map((store) => [store.id, now + settledMs(store, timing)] as const);
        await records.ask({ link: link.name, certificate, now, doubts: Object.fromEntries(late) });
      }
      return 'refused';
    } catch (thrown) {
      failure = thrown;
      await runtime.wait(backoffMs(attempt, runtime.random, timing));
    }
  }
  throw failure;
}

const commitAttempts = 4;
