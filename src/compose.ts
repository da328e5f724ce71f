import type { Config, LinkConfig, StoreConfig, TableConfig } from './config.ts';
import { inProcessDispatch } from './dispatch/in-process.ts';
import { asCodedError, CodedError } from './errors.ts';
import type { DevelopmentCa, DevelopmentCaOptions } from './instance/development-ca.ts';
import { errorFields, type Log } from './log.ts';
import { verifyCallback } from './notification/certificate-manager.ts';
import type { LifecycleEvent } from './notification/event.ts';
import { verificationKeyCache } from './notification/verification-keys.ts';
import { type CallbackLink, createReceiver } from './receiver/receiver.ts';
import { idempotencyRecords } from './records/idempotency-records.ts';
import { linkRecords } from './records/link-records.ts';
import type { ReplicationRecord } from './records/replication-record.ts';
import { replicationRecords } from './records/replication-records.ts';
import { acknowledge } from './replication/acknowledge.ts';
import type { Link } from './replication/link.ts';
import { type ReconcileReport, reconcile } from './replication/reconcile.ts';
import { type PassReport, replicate } from './replication/replicate.ts';
import { sharedListings } from './replication/shared-listing.ts';
import { sweep } from './replication/sweep.ts';
import { defaultTiming, type Timing } from './replication/timing.ts';
import type { Runtime } from './runtime.ts';
import { certificateManagerStore } from './store/certificate-manager.ts';
import { limitedStore } from './store/limited.ts';
import type { Store } from './store/store.ts';
import type { Table } from './table/table.ts';

// What the command line starts beside the program, so that it meets kinds only here.
export { startInstanceServer } from './instance/server.ts';
export { startReceiverServer } from './receiver/node-host.ts';
export { memoryTable } from './table/memory.ts';
export type { PassReport };

/** A development CA. Loaded only when one is wanted: what makes certificates is slow to load. */
export async function createDevelopmentCa(options: DevelopmentCaOptions): Promise<DevelopmentCa> {
  return (await import('./instance/development-ca.ts')).createDevelopmentCa(options);
}

/** What a host may watch. Nothing rests on it. */
export interface Observer {
  readonly acknowledged?: (link: string, event: LifecycleEvent, answer: 'new' | 'repeat') => void;
  readonly passed?: (report: PassReport) => void;
}

export interface ComposeOptions {
  readonly runtime: Runtime;
  readonly log: Log;
  readonly timing?: Partial<Timing>;
  readonly observer?: Observer;
  /** Instead of the table that the configuration names. The program closes it. */
  readonly table?: Table;
}

/** The program for one machine: contracts met with kinds, nothing started yet. */
export type Program = Awaited<ReturnType<typeof compose>>;

/**
 * Puts the program together for one machine: the configured table and stores, workers in this process.
 * Throws `table_unavailable` if the table cannot be opened, `configuration_link_moved` if a link's records belong to another primary.
 */
export async function compose(config: Config, options: ComposeOptions) {
  const { runtime, log, observer = {} } = options;
  const timing: Timing = { ...defaultTiming, ...options.timing };
  const table = options.table ?? (await openTable(config.table));
  const stores = new Map(config.stores.map((store) => [store.name, openStore(store, runtime)]));
  const links = config.links.map((link) => toLink(link, stores));
  const linkByName = new Map(links.map((link) => [link.name, link]));

  const records = replicationRecords(table);
  const linkRows = linkRecords(table);
  const worker = { records, links: linkRows, listings: sharedListings(), runtime, timing, log };
  const dispatch = inProcessDispatch({
    runtime,
    concurrency: config.worker.concurrency,
    most: 100_000,
    async work({ link: name, certificate }) {
      const link = linkByName.get(name);
      if (link === undefined) return {};
      const { passes, again } = await replicate(worker, link, certificate);
      for (const report of passes) observer.passed?.(report);
      return again === undefined ? {} : { again };
    },
    failed: ({ link, certificate }, thrown) =>
      log('error', 'pass_failed', { link, certificate, ...errorFields(asCodedError(thrown)) }),
  });
  const parts = { records, links: linkRows, dispatch, runtime, timing, log };
  const intake = { ...parts, notifications: idempotencyRecords(table) };

  const callbackLinks = config.links.map((link): CallbackLink => {
    const pinned = link.verificationKey;
    const instance = storeOf(stores, link.primary).id;
    return {
      name: link.name,
      verify: (body, publicKey) => verifyCallback(body, { instance, publicKey }),
      verificationKey: verificationKeyCache({
        runtime,
        load: async () => pinned ?? linkRows.verificationKey(link.name),
      }),
      async acknowledge(event) {
        const answer = await acknowledge(intake, link.name, event);
        observer.acknowledged?.(link.name, event, answer);
        return answer;
      },
    };
  });

  for (const link of links) await linkRows.bind(link.name, link.primary.id);
  return {
    config,
    links,
    stores: stores as ReadonlyMap<string, Store>,
    dispatch,
    receiver: createReceiver({ links: callbackLinks, log }),
    /** Wakes what is due on every link, and refreshes verification keys. */
    sweep: () => sweep(parts, links),
    /** Reconciles one link. */
    reconcile: (link: Link): Promise<ReconcileReport> => reconcile(parts, link),
    /** The replication record of one certificate. */
    record: (link: Link, certificate: string): Promise<ReplicationRecord | undefined> =>
      records.get(link.name, certificate),
    /** All replication records of a link. */
    records: (link: Link): AsyncGenerator<ReplicationRecord> => records.all(link.name),
    async close(): Promise<void> {
      await dispatch.stop();
      await table.close();
    },
  };
}

/** Opens the configured table. Each kind is loaded only when it is the configured one: a cold start pays for one engine. */
async function openTable(config: TableConfig): Promise<Table> {
  if (config.kind === 'lmdb') {
    const { lmdbTable } = await import('./table/lmdb.ts');
    return lmdbTable({ path: config.path });
  }
  const { dynamodbTable } = await import('./table/dynamodb.ts');
  const { name: tableName, region, endpoint } = config;
  return dynamodbTable({ tableName, region, ...(endpoint === undefined ? {} : { endpoint }) });
}

function openStore(config: StoreConfig, runtime: Runtime): Store {
  const {
    name: _name,
    kind: _kind,
    region: _region,
    iam,
    writesPerCertificatePerMinute,
    requestsPerSecond,
    ...given
  } = config;
  const store = certificateManagerStore({ ...given, runtime, ...(iam === undefined ? {} : { iamUrl: iam }) });
  const writes = writesPerCertificatePerMinute ?? store.abilities.writesPerCertificatePerMinute;
  return limitedStore(store, {
    runtime,
    ...(writes === undefined || writes === 'unlimited' ? {} : { writesPerCertificatePerMinute: writes }),
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
  });
}

function toLink({ name, primary, backups, filter, policy }: LinkConfig, stores: ReadonlyMap<string, Store>): Link {
  return {
    name,
    primary: storeOf(stores, primary),
    backups: backups.map((backup) => storeOf(stores, backup)),
    filter,
    policy,
  };
}

function storeOf(stores: ReadonlyMap<string, Store>, name: string): Store {
  const store = stores.get(name);
  if (store === undefined) throw new CodedError('configuration_invalid', `there is no store ${name}`);
  return store;
}
