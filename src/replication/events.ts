import { defined } from '../defined.ts';
import type { ReplicationRecord, UnreadableRecord } from '../records/replication-record.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import { latest } from '../records/row-fields.ts';
import type { Link } from './link.ts';
import { type Standing, standingOf } from './standing.ts';
import { lagOf } from './status.ts';

/**
 * The last event that was acknowledged of one certificate, and what became of it. All moments are
 * epoch milliseconds.
 */
export interface AcknowledgedEvent {
  readonly certificate: string;
  readonly name: string;
  readonly acknowledgedAt: number;
  /**
   * Who told: the name of a sender, or the kind of the primary; absent where a version before noted
   * it.
   */
  readonly sender?: string;
  /** When it happened, by the sender's clock, if the notification said. */
  readonly occurredAt?: number;
  readonly standing: Standing;
  /**
   * When it was equal in every backup by a write of ours, if it took one, and how long that was
   * after the change.
   */
  readonly replicatedAt?: number;
  readonly lagMs?: number;
}

/**
 * The last event of each certificate that any was acknowledged of, the newest first, at most so
 * many. From the records alone, which keep the last one of each certificate: memory grows with
 * `most`, not with the estate.
 */
export async function acknowledgedEvents(
  records: ReplicationRecords,
  link: Link,
  options: {
    readonly most: number;
    readonly certificate?: string | undefined;
    readonly unreadable?: (record: UnreadableRecord) => void;
  },
): Promise<readonly AcknowledgedEvent[]> {
  const { most, certificate } = options;
  let newest: AcknowledgedEvent[] = [];
  const keep = (record: ReplicationRecord) => {
    const acknowledgedAt = latest([record.eventAt, record.toldAt]);
    if (acknowledgedAt !== undefined) newest.push(eventOf(link, record, acknowledgedAt));
    if (newest.length >= 2 * most) newest = newestFirst(newest).slice(0, most);
  };
  if (certificate === undefined) {
    for await (const record of records.all(link.name, options.unreadable)) keep(record);
  } else {
    const record = await records.get(link.name, certificate);
    if (record !== undefined) keep(record);
  }
  return newestFirst(newest).slice(0, most);
}

const newestFirst = (events: readonly AcknowledgedEvent[]) =>
  events.toSorted((a, b) => b.acknowledgedAt - a.acknowledgedAt);

function eventOf(link: Link, record: ReplicationRecord, acknowledgedAt: number): AcknowledgedEvent {
  const { certificate, primary, occurredAt, toldBy, backups } = record;
  const written = backups.flatMap(({ replicatedAt }) => (replicatedAt === undefined ? [] : [replicatedAt]));
  const lagMs = lagOf(record);
  return {
    certificate,
    name: primary?.name ?? certificate,
    acknowledgedAt,
    standing: standingOf(link, record),
    ...defined({ sender: toldBy, occurredAt }),
    ...(written.length === 0 ? {} : { replicatedAt: Math.max(...written) }),
    ...defined({ lagMs }),
  };
}
