import type { Log } from '../log.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { ProcessOwner, Runtime } from '../runtime.ts';
import type { SharedListings } from './shared-listing.ts';
import type { Timing } from './timing.ts';

/** What a worker needs. One for all passes of a process. */
export interface Worker {
  readonly records: ReplicationRecords;
  readonly linkRecords: LinkRecords;
  readonly listings: SharedListings;
  readonly runtime: Runtime;
  readonly timing: Timing;
  readonly log: Log;
  /** Absent: nobody is known to have died, and a lease has to end by itself. */
  readonly owner?: ProcessOwner;
}
