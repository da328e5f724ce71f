import { auditRows } from '../audit/audit-rows.ts';
import { completeTrail } from '../audit/completion.ts';
import { eventOfPass, passFacts } from '../audit/facts.ts';
import { auditWriter } from '../audit/writer.ts';
import { limits } from '../limits.ts';
import type { Log } from '../log.ts';
import { replicationRecords } from '../records/replication-records.ts';
import type { Link } from '../replication/link.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import type { Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';

/**
 * The audit trail of one function's process. It may be frozen as soon as it has answered, so that
 * it waits a moment for what it told: after each commit, and never where the table takes nothing.
 */
export interface FunctionAudit {
  /** What passes of a link wrote and refused, and the events that they answer. */
  passed(passes: readonly PassReport[], link: Link): Promise<void>;
  /**
   * Adds what nobody has told of a link, as far as its records know. Throws what the table throws.
   */
  complete(link: Link): Promise<void>;
}

export function functionAudit(given: {
  readonly table: Table;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly program: string;
}): FunctionAudit {
  const { table, runtime } = given;
  const rows = auditRows(table);
  const writer = auditWriter({ ...given, rows });
  const flush = async () =>
    writer.state().failingSince === undefined && (await writer.flush(limits.auditFunctionFlushMs));
  return {
    async passed(passes, { primary }) {
      const facts = passes.flatMap((report) => [...eventOfPass(report), ...passFacts(report, primary.id)]);
      for (const fact of facts) writer.add(fact);
      if (facts.length > 0) await flush();
    },
    async complete({ name: link, primary }) {
      const records = replicationRecords(table).all(link, () => undefined);
      const add = writer.add.bind(writer);
      await completeTrail(rows, { link, primary: primary.id, records, now: runtime.now(), add, flush });
    },
  };
}
