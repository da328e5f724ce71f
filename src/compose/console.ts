import type { Config } from '../config.ts';
import { type Screens, screens } from '../console/console.ts';
import type { Collector } from '../console/link-view.ts';
import { type Live, liveEvents } from '../console/live.ts';
import { consolePresence, type Presence } from '../console/presence.ts';
import { type SignInLinks, signInLinks } from '../console/sign-in-links.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Link } from '../replication/link.ts';
import type { LinkStatus } from '../replication/status.ts';
import type { Runtime } from '../runtime.ts';
import type { Store } from '../store/store.ts';
import type { Table } from '../table/table.ts';
import { openTable } from './tables.ts';

/** What a listener of the console serves. */
export interface ConsoleParts {
  /** To be told what happens. */
  readonly live: Live;
  readonly screens: Screens;
  readonly links: SignInLinks;
  readonly presence: Presence;
}

/** Throws what the table throws. */
export async function composeConsole(given: {
  readonly config: Pick<Config, 'worker'>;
  readonly links: readonly Link[];
  readonly stores: ReadonlyMap<string, Store>;
  readonly status: (link: Link, records: ReplicationRecords) => Promise<LinkStatus>;
  readonly records: ReplicationRecords;
  readonly linkRows: Pick<LinkRecords, 'firstReconciledAt'>;
  readonly table: Table;
  readonly runtime: Pick<Runtime, 'now'>;
  readonly log: Log;
}): Promise<ConsoleParts> {
  const { config, links, stores, status, records, linkRows, table, runtime, log } = given;
  const nameById = new Map([...stores].map(([name, { id }]) => [id, name]));
  // One id may be how another one begins; and what a name holds is no id.
  const ids = [...nameById.keys()].toSorted((one, other) => other.length - one.length);
  const anyId = new RegExp(ids.map((id) => id.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'g');
  const now = () => runtime.now();
  /** As they were last read: those who are told of a pass do not wait for the table. */
  const firsts = new Map<string, number>();
  async function firstReconciledAt({ name }: Link): Promise<number | undefined> {
    const at = await linkRows.firstReconciledAt(name);
    if (at !== undefined) firsts.set(name, at);
    return at;
  }
  await Promise.all(links.map(firstReconciledAt));
  const estate = {
    links,
    nameOf: (store: string) => nameById.get(store) ?? store,
    wording: (text: string) => (ids.length === 0 ? text : text.replace(anyId, (id) => nameById.get(id) ?? id)),
    reconcileEveryMs: config.worker.reconcileEveryMs,
    status: (link: Link, begin: () => Collector) => status(link, watched(records, begin)),
    record: (link: Link, certificate: string) => records.get(link.name, certificate),
    firstReconciledAt,
  };
  const failed = (thrown: unknown) => log('error', 'console_failed', errorFields(asCodedError(thrown)));
  const live = liveEvents({ now, links, record: estate.record, firstReconciledAt: (link) => firsts.get(link), failed });
  const presence = consolePresence(table, now);
  return { live, screens: screens(estate, live, now), links: signInLinks(table, now), presence };
}

/** Records that are read before whatever else waits has its turn. */
const recordsAtOnce = 200;

/** The same records; who reads them all has each told to a collector on the way. */
function watched(records: ReplicationRecords, begin: () => Collector): ReplicationRecords {
  return {
    ...records,
    async *all(link, unreadable) {
      const collector = begin();
      const addUnreadable: typeof unreadable = (record) => {
        collector.addUnreadable(record);
        unreadable?.(record);
      };
      let read = 0;
      for await (const record of records.all(link, addUnreadable)) {
        collector.add(record);
        read += 1;
        // A table in memory or on this disk answers at once: notifications would wait for it all.
        if (read % recordsAtOnce === 0) await new Promise((resolve) => setImmediate(resolve));
        yield record;
      }
    },
  };
}

/**
 * Makes a link that signs in to the console on this port, whichever process serves it, on the table
 * of its configuration alone. Throws `console_not_served` where none has said of late that it does,
 * and what the table throws.
 */
export async function makeSignInLink(config: Pick<Config, 'table'>, port: number, now: () => number) {
  const table = await openTable(config.table);
  try {
    if (!(await consolePresence(table, now).isServed(port)))
      throw new CodedError('console_not_served', `no console of this configuration listens on port ${port}`, {
        fields: { port },
      });
    return await signInLinks(table, now).make();
  } finally {
    await table.close();
  }
}
