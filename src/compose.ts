import type { ArchiveUnlock } from './archive/archive.ts';
import type { DownloadOptions } from './archive/download.ts';
import type { ImportOptions } from './archive/import.ts';
import type { WantedArchive } from './archive/write-archive.ts';
import { awsSecretOf } from './compose/aws-secrets.ts';
import { callbackLinks } from './compose/callback-links.ts';
import { isDirectory, openService, toLink } from './compose/services.ts';
import { type Config, defaultDrill, type TableConfig } from './config.ts';
import { inProcessDispatch } from './dispatch/in-process.ts';
import type { DrillOptions } from './drill/drill.ts';
import type { KeptDrill } from './drill/keep.ts';
import type { DrillReport } from './drill/report.ts';
import { asCodedError } from './errors.ts';
import { type InstanceServer, type InstanceServerOptions, startInstanceServer } from './instance/api/server.ts';
import { certificateRows } from './instance/certificates/certificate-rows.ts';
import type { DevelopmentCa, DevelopmentCaOptions } from './instance/orders/authority/development-ca.ts';
import { orderingElsewhere } from './instance/orders/ordering.ts';
import { instanceRates, resolveLimits } from './instance/tenants/instance-limits.ts';
import { instanceRegistry, reclaimMs } from './instance/tenants/registry.ts';
import { certificateUpkeep } from './instance/upkeep/certificate-upkeep.ts';
import { eraseWhatIsDue } from './instance/upkeep/erasure.ts';
import { type SnapshotReport, takeSnapshot } from './instance/upkeep/snapshot.ts';
import { newestSnapshot, type SnapshotOptions, snapshotPath } from './instance/upkeep/snapshot-folder.ts';
import {
  type CheckedSnapshot,
  checkSnapshot,
  type KeyringOver,
  restoreSnapshot,
} from './instance/upkeep/snapshot-restore.ts';
import { hasDataKeys, type Keyring, keyring, wrappingRootKeys } from './keys/keyring.ts';
import { recoveryProofs } from './keys/recovery-proofs.ts';
import type { RootKey } from './keys/root-key.ts';
import { errorFields, type Log } from './log.ts';
import { linkFigures } from './monitor/figures.ts';
import type { Metrics, MetricsOptions } from './monitor/metrics.ts';
import { readiness } from './monitor/readiness.ts';
import type { LifecycleEvent } from './notification/event.ts';
import { processOwner } from './process-owner.ts';
import type { ProveCost, ProveReport } from './prove/prove.ts';
import { createReceiver } from './receiver/receiver.ts';
import { idempotencyRecords } from './records/idempotency-records.ts';
import { identityRecords } from './records/identity-records.ts';
import { linkRecords } from './records/link-records.ts';
import { quotaRecords } from './records/quota-records.ts';
import type { ReplicationRecord, UnreadableRecord } from './records/replication-record.ts';
import { replicationRecords } from './records/replication-records.ts';
import { type Adoption, adopt } from './replication/adopt.ts';
import { isAskedReconcileDue } from './replication/asked-reconcile.ts';
import {
  type BackupFindings,
  type BackupRefusal,
  backupFindings,
  type KeptBeside,
  type OverwrittenCopies,
} from './replication/backup-findings.ts';
import { type AcknowledgedEvent, acknowledgedEvents } from './replication/events.ts';
import type { IdMap, MappedId } from './replication/id-map.ts';
import type { Link } from './replication/link.ts';
import { type Plan, type PlanLine, planReconcile } from './replication/plan.ts';
import { brakeOf, type ReconcileOptions, type ReconcileReport, reconcile } from './replication/reconcile.ts';
import { type PassReport, replicate } from './replication/replicate.ts';
import { resolveHints } from './replication/resolve-hints.ts';
import type { RestoreLine, RestoreOptions, RestorePlan, RestoreResult } from './replication/restore.ts';
import { sharedListings } from './replication/shared-listing.ts';
import { type Standing, standingOf } from './replication/standing.ts';
import { type LinkStatus, statusOf } from './replication/status.ts';
import { sweep, wakeDue } from './replication/sweep.ts';
import { defaultTiming, type Timing } from './replication/timing.ts';
import { vanishedTally } from './replication/vanished.ts';
import { type VerifyFinding, type VerifyOptions, type VerifyReport, verify } from './replication/verify.ts';
import { watchPrimaries } from './replication/watch.ts';
import type { Runtime } from './runtime.ts';
import type { Secret } from './secret.ts';
import { countedStore } from './store/counted.ts';
import { identifiedStore } from './store/identified.ts';
import { type QuotaBook, type QuotaLeft, quotaStore, quotasLeft } from './store/quota.ts';
import type { Store } from './store/store.ts';
import type { Table } from './table/table.ts';

export { type ArchiveKind, archiveKinds, type RefusedEntry } from './archive/archive.ts';
export type { ImportLine } from './archive/import.ts';
export { type TlsFiles, tlsFiles } from './http/tls-files.ts';
export { publicIdOf } from './ibm-cloud/crn.ts';
export { isIssued } from './instance/certificates/certificate-row.ts';
export { orderedKeys } from './instance/orders/order-request.ts';
export type { OrderingOptions } from './instance/orders/ordering.ts';
export { instanceCrnOf, isInstanceCrn } from './instance/rows/crn.ts';
export type { KeptInstance } from './instance/tenants/registry.ts';
// What the command line starts beside the program, so that it meets kinds only here.
export type { Metrics } from './monitor/metrics.ts';
export { startMonitorServer } from './monitor/server.ts';
export { startReceiverServer } from './receiver/node-host.ts';
export { linkRecords } from './records/link-records.ts';
export type {
  BackupFindings,
  BackupRefusal,
  DevelopmentCa,
  KeptBeside,
  KeptDrill,
  LinkStatus,
  MappedId,
  OverwrittenCopies,
  PassReport,
  Plan,
  PlanLine,
  ProveReport,
  QuotaLeft,
  ReconcileReport,
  RestoreLine,
  RestorePlan,
  RestoreResult,
  Standing,
  VerifyFinding,
  VerifyReport,
};
export { snapshotPath };

/**
 * What the records of a link say of its backups, those that are no longer configured too, and of
 * how many copies nobody could prove the private key, by store id. Records that cannot be
 * understood are passed over: status tells of them.
 */
export async function recordedFindings(table: Table, link: string, now: number) {
  const findings = backupFindings(now);
  const keysNotProven = new Map<string, number>();
  for await (const record of replicationRecords(table).all(link, () => {})) {
    if (record.absentSince !== undefined) continue;
    for (const state of record.backups) {
      findings.add(record, state);
      if (state.keyWithheld === true) keysNotProven.set(state.store, (keysNotProven.get(state.store) ?? 0) + 1);
    }
  }
  return { ...findings.result(), keysNotProven };
}

/** A development CA. Loaded only when one is wanted: what makes certificates is slow to load. */
export async function createDevelopmentCa(options: DevelopmentCaOptions): Promise<DevelopmentCa> {
  return (await import('./instance/orders/authority/development-ca.ts')).createDevelopmentCa(options);
}

/** The report in a signed file of a drill. Throws `drill_report_changed` and `drill_report_unreadable`. */
export async function checkDrillReport(text: string, publicKeyPem: string): Promise<DrillReport> {
  return (await import('./drill/report.ts')).checkReport(text, publicKeyPem);
}

/** Writes certificates of a store to an archive. What archives need is loaded only here: most commands never see one. */
export async function downloadTo(runtime: Runtime, store: Store, archive: WantedArchive, options: DownloadOptions) {
  const [{ createArchive }, { download }] = await Promise.all([
    import('./archive/write-archive.ts'),
    import('./archive/download.ts'),
  ]);
  return download(runtime, store, await createArchive(archive), options);
}

/** Reads an archive, whatever kind it is of, and plans its import into a store. */
export async function importFrom(
  runtime: Runtime,
  store: Store,
  archive: { readonly path: string; readonly unlock: ArchiveUnlock },
  options: ImportOptions,
) {
  const [{ openArchive }, { planImport }] = await Promise.all([
    import('./archive/read-archive.ts'),
    import('./archive/import.ts'),
  ]);
  const { kind, entries } = await openArchive(archive.path, archive.unlock, options.signal);
  return { kind, ...(await planImport(runtime, store, entries, options)) };
}

/**
 * Proves what a store states about itself, with a certificate of its own, and waits for its word of a change where one of these
 * links listens to it. Loaded only when it is wanted.
 */
export async function proveStore(
  given: {
    readonly runtime: Runtime;
    readonly store: Store;
    readonly signal: AbortSignal;
    readonly step: (what: string) => void;
  },
  listening?: { readonly table: Table; readonly links: readonly string[] },
): Promise<ProveReport> {
  const [{ proveStore: prove }, { createDevelopmentCa: createCa }] = await Promise.all([
    import('./prove/prove.ts'),
    import('./instance/orders/authority/development-ca.ts'),
  ]);
  const ca = await createCa({ name: 'certstandby prove', now: given.runtime.now, keyKind: 'rsa-2048' });
  const issue = (domains: readonly string[]) => ca.issue({ domains, keyKind: 'rsa-2048' });
  if (listening === undefined) return prove({ ...given, issue });
  const records = replicationRecords(listening.table);
  const toldAt = async (certificate: string) => {
    const found = await Promise.all(listening.links.map((link) => records.get(link, certificate)));
    const moments = found.flatMap((record) => record?.eventAt ?? []);
    return moments.length === 0 ? undefined : Math.max(...moments);
  };
  return prove({ ...given, issue, toldAt });
}

/** A store whose quotas are counted on a table, as the program counts them, and what is left of them now. */
export async function countedOn(
  table: Table,
  store: Store,
  runtime: Runtime,
): Promise<{ readonly store: Store; readonly left: readonly QuotaLeft[] }> {
  const book = quotaRecords(table);
  return { store: quotaStore(store, { runtime, book }), left: await quotasLeft(store, book, runtime.now()) };
}

/** What a proof of a store sends at the most. */
export async function costOfProof(store: Store): Promise<ProveCost> {
  return (await import('./prove/prove.ts')).proveCost(store);
}

/** The metrics of a process. Loaded only where somebody watches. */
export async function createMetrics(options: MetricsOptions): Promise<Metrics> {
  return (await import('./monitor/metrics.ts')).createMetrics(options);
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
  /** A link whose primary is another one than its records say: what moves it there is about to be called. */
  readonly moving?: string;
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
  let requests = 0;
  const sent = () => {
    requests += 1;
  };
  const quotas = quotaRecords(table);
  const opened = await openStores(config, runtime, { sent, quotas });
  const book = identityRecords(table);
  const configured = new Set([...opened.values()].map(({ id }) => id));
  const stores = new Map(
    [...opened].map(([name, store]) => {
      // A folder is asked before each call: its answer costs nothing, and a share may go at any moment.
      const everyMs = store.kind === 'directory' ? 0 : identityMs;
      return [name, identifiedStore(store, { runtime, book, configured, everyMs })] as const;
    }),
  );
  const links = config.links.map((link) => toLink(link, stores));
  const linkByName = new Map(links.map((link) => [link.name, link]));

  const records = replicationRecords(table);
  const linkRows = linkRecords(table);
  const owner = processOwner(runtime.newId);
  const worker = { records, links: linkRows, listings: sharedListings(), runtime, timing, log, owner };
  const dispatch = inProcessDispatch({
    runtime,
    concurrency: config.worker.concurrency,
    most: 100_000,
    async work({ link: name, certificate, about }) {
      const link = linkByName.get(name);
      if (link === undefined) return {};
      if (about === 'hints') return resolveHints({ ...worker, dispatch }, link);
      const { passes, again } = await replicate(worker, link, certificate);
      for (const report of passes) observer.passed?.(report);
      return again === undefined ? {} : { again };
    },
    failed: ({ link, certificate }, thrown) =>
      log('error', 'pass_failed', { link, certificate, ...errorFields(asCodedError(thrown)) }),
  });
  const parts = { records, links: linkRows, dispatch, runtime, timing, log };
  const intake = { ...parts, notifications: idempotencyRecords(table) };

  /** Primaries of the other links. */
  const primariesBeside = (link: Link) =>
    new Set(links.filter((other) => other !== link).map(({ primary }) => primary.id));

  const callbacks = callbackLinks(config, intake, observer.acknowledged);

  for (const link of links) if (link.name !== options.moving) await linkRows.bind(link.name, link.primary.id);
  return {
    config,
    links,
    stores,
    dispatch,
    receiver: createReceiver({ links: callbacks, log }),
    /** Names of the links that have a callback. */
    callbacks: callbacks.map(({ name }) => name),
    /** What is left of the quotas of a store. */
    quotasLeft: (store: Store): Promise<readonly QuotaLeft[]> => quotasLeft(store, quotas, runtime.now()),
    /** Watches the primaries that can be watched from here, until closed. */
    watch: () => watchPrimaries(parts, links),
    /** Wakes what is due on every link, and refreshes verification keys. */
    sweep: () => sweep(parts, links),
    /** Wakes what is due on one link, as much as a sweep does. Answers how many that were. */
    wakeDue: (link: Link): Promise<number> => wakeDue(parts, link),
    /** The links of which somebody asked for a reconcile that is due now: see `isAskedReconcileDue`. */
    async reconcilesAsked(): Promise<readonly Link[]> {
      const due = await Promise.all(
        links.map(async (link) => ((await isAskedReconcileDue(worker, link)) ? [link] : [])),
      );
      return due.flat();
    },
    /** Reconciles one link. */
    reconcile: (link: Link, given: ReconcileOptions = {}): Promise<ReconcileReport> =>
      reconcile({ ...parts, owner }, link, given),
    /** What a reconcile of one link would do. Changes nothing. */
    plan: (link: Link, given: Parameters<typeof planReconcile>[2] = {}): Promise<Plan> =>
      planReconcile(worker, link, given),
    /** What would hold a reconcile back that finds what this plan found. */
    brakeOf: (link: Link, { comparison }: Plan) => brakeOf(link, comparison, runtime.now()),
    /** Proves one link by reading both sides. */
    verify: (link: Link, given: VerifyOptions = {}): Promise<VerifyReport> => verify(worker, link, given),
    /** Serves the copies of one link to a client, as `configuration.drill` says, signs and keeps what came of it. */
    async drill(link: Link, given: Omit<DrillOptions, 'trust'> & { readonly trust?: string } = {}): Promise<KeptDrill> {
      const { drillAndKeep } = await import('./drill/keep.ts');
      const kept = await drillAndKeep(runtime, link, { ...(config.drill ?? defaultDrill), ...given });
      await linkRows.saveDrill(link.name, kept.summary);
      return kept;
    },
    /** Moves the certificates of one link into its primary, as it is configured now, and points the link there. */
    async restore(link: Link, given: RestoreOptions): Promise<RestoreResult> {
      const { restore } = await import('./replication/restore.ts');
      return restore(worker, link, { others: primariesBeside(link), ...given });
    },
    /** Old and new ids of what was moved to the primary of a link. */
    async idMap(link: Link, given: { readonly marks: boolean; readonly signal?: AbortSignal }): Promise<IdMap> {
      const { idMap } = await import('./replication/id-map.ts');
      return idMap(worker, link, { ...given, others: primariesBeside(link) });
    },
    /** The primary that the records of a link belong to. */
    boundTo: (link: Link): Promise<string | undefined> => linkRows.boundTo(link.name),
    /** How one link stands, from the table alone. */
    async status(link: Link): Promise<LinkStatus> {
      const stores = [link.primary, ...link.backups];
      const left = stores.map(async (store) =>
        (await quotasLeft(store, quotas, runtime.now())).map((quota) => ({ store: store.id, ...quota })),
      );
      const [status, ...found] = await Promise.all([statusOf(worker, link), ...left]);
      return found.flat().length === 0 ? status : { ...status, quotas: found.flat() };
    },
    /** How one certificate stands, by its record. */
    standing: (link: Link, record: ReplicationRecord): Standing => standingOf(link, record),
    /** Takes a copy that somebody else made under management, and has it looked at. */
    async adopt(link: Link, request: Parameters<typeof adopt>[2]): Promise<Adoption> {
      const adoption = await adopt(worker, link, request);
      await dispatch.dispatch([{ link: link.name, certificate: adoption.certificate }]);
      return adoption;
    },
    /** The last acknowledged event of each certificate, the newest first. */
    events: (link: Link, given: Parameters<typeof acknowledgedEvents>[2]): Promise<readonly AcknowledgedEvent[]> =>
      acknowledgedEvents(records, link, given),
    /** Requests that this process has sent to the stores so far. */
    requests: (): number => requests,
    /** Why a notification would not be acknowledged now; empty if it would. */
    notReady: readiness({ table, links: callbacks, runtime }),
    /** Where the certificates of a link stand, counted from its records. */
    async figures(link: Link) {
      const { vanished: standing } = await linkRows.reconcileState(link.name);
      const unreadable: UnreadableRecord[] = [];
      return linkFigures(
        link,
        records.all(link.name, (record) => unreadable.push(record)),
        {
          lost: vanishedTally(link, runtime.now(), standing),
          standing,
          unreadable,
          findings: backupFindings(runtime.now()),
        },
      );
    },
    /** When the last successful reconcile of a link began, epoch milliseconds. */
    lastReconcileAt: (link: Link): Promise<number | undefined> => linkRows.lastReconcileAt(link.name),
    /** The replication record of one certificate. */
    record: (link: Link, certificate: string): Promise<ReplicationRecord | undefined> =>
      records.get(link.name, certificate),
    /** All replication records of a link; what cannot be understood of them goes to `unreadable`. */
    records: (link: Link, unreadable?: (record: UnreadableRecord) => void): AsyncGenerator<ReplicationRecord> =>
      records.all(link.name, unreadable),
    async close(): Promise<void> {
      await dispatch.stop();
      await table.close();
    },
  };
}

/** How long the answer of a service about its identity is good for, in milliseconds. */
const identityMs = 10_000;

/**
 * The configured stores by their names in the configuration. Nothing is asked of them yet; `sent` is called for each request.
 */
export async function openStores(
  config: Pick<Config, 'stores'>,
  runtime: Runtime,
  { sent = () => {}, quotas }: { readonly sent?: () => void; readonly quotas?: QuotaBook } = {},
): Promise<ReadonlyMap<string, Store>> {
  const opened = config.stores.map(async (store) => {
    if (!isDirectory(store)) return [store.name, openService(store, runtime, awsSecretOf, { sent, quotas })] as const;
    const { directoryStore } = await import('./services/directory/store.ts');
    return [store.name, countedStore(directoryStore({ ...store, runtime }), sent)] as const;
  });
  return new Map(await Promise.all(opened));
}

/**
 * Binds a store to the place that is behind its setting now, whatever it was bound to: a person said that it is meant. A place that
 * has no identity yet gets one with its next write; one that another store is bound to gets one of its own. Answers what it was
 * bound to, and what it is bound to now; both are absent for a store that can prove no identity.
 */
export async function acceptStore(
  tableConfig: TableConfig,
  store: Store,
  { runtime, signal }: { readonly runtime: Runtime; readonly signal: AbortSignal },
): Promise<{ readonly before?: string; readonly identity?: string }> {
  if (store.identity === undefined) return {};
  const found = await store.identity({ signal });
  const table = await openTable(tableConfig);
  try {
    const records = identityRecords(table);
    const before = await records.identityOf(store.id);
    const was = before === undefined ? {} : { before };
    if (found === undefined) {
      await records.unbindIdentity(store.id);
      return was;
    }
    const holder = await records.holderOf(found);
    const another = holder !== undefined && holder !== store.id;
    const own = another ? await store.giveIdentity?.(runtime.newId(), { signal, instead: true }) : found;
    return { ...was, identity: await records.bindIdentity(store.id, own ?? found, { instead: true }) };
  } finally {
    await table.close();
  }
}

/** Opens the configured table. Each kind is loaded only when it is the configured one: a cold start pays for one engine. */
export async function openTable(config: TableConfig): Promise<Table> {
  if (config.kind === 'lmdb') {
    const { openLmdbTable } = await import('./table/lmdb.ts');
    return openLmdbTable({ path: config.path });
  }
  const { dynamodbTable } = await import('./table/dynamodb.ts');
  const { name: tableName, region, endpoint } = config;
  return dynamodbTable({ tableName, region, ...(endpoint === undefined ? {} : { endpoint }) });
}

/** Makes the configured table in DynamoDB, if it is not there. Answers whether it was made. Throws `table_unavailable`. */
export async function createTable(config: Extract<TableConfig, { readonly kind: 'dynamodb' }>): Promise<boolean> {
  const { createDynamodbTable } = await import('./table/dynamodb-create.ts');
  const { name: tableName, region, endpoint } = config;
  return createDynamodbTable({ tableName, region, ...(endpoint === undefined ? {} : { endpoint }) });
}

/** Where a root key is. Either of two opens. */
export type RootKeyConfig =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'aws-kms'; readonly keyArn: string }
  | {
      readonly kind: 'key-protect';
      readonly region: string;
      readonly instance: string;
      readonly key: string;
      readonly apiKey: Secret;
    };

export interface InstancesConfig {
  readonly table: TableConfig;
  readonly rootKeys: readonly RootKeyConfig[];
  /** Instances that are not in the registry. */
  readonly tenants?: readonly string[];
  /** Where servers keep a snapshot for each day. Default: nowhere. */
  readonly snapshots?: SnapshotOptions;
  /** Whether a root key file that is not there may be made. Default true. */
  readonly makeRootKeys?: boolean;
}

/** A file of a snapshot, and how its reader or writer is watched and stopped. */
interface SnapshotFileOptions {
  readonly path: string;
  readonly signal?: AbortSignal;
  readonly progress?: () => void;
}

/** Instances of our own on one table, as commands and servers use them. */
export type Instances = Awaited<ReturnType<typeof openInstances>>;

/**
 * Opens the table and the root keys of instances of our own. A root key file that is not there is made, as long as no data key
 * needs another one; its recovery text is in `made` then, for the only time.
 * Throws what the table and the root keys throw.
 */
export async function openInstances(
  config: InstancesConfig,
  { runtime, log }: Pick<ComposeOptions, 'runtime' | 'log'>,
) {
  const table = await openTable(config.table);
  const registry = instanceRegistry({ table, runtime });
  const keyrings = new Map<string, Keyring>();
  const destroyed = new Set<string>();
  const made: { readonly path: string; readonly recoveryText: Secret }[] = [];
  let rootKeys: readonly RootKey[] = [];
  const everOpened: { close(): Promise<void> }[] = [];

  async function openRootKeys(configs: readonly RootKeyConfig[], create: boolean): Promise<void> {
    const opened: RootKey[] = [];
    for (const rootKey of configs) {
      const { recoveryText, ...rest } = await openRootKey(rootKey, { create, runtime });
      opened.push(rest.rootKey);
      everOpened.push(rest.rootKey);
      if (recoveryText !== undefined && rootKey.kind === 'file') made.push({ path: rootKey.path, recoveryText });
    }
    rootKeys = opened;
  }

  async function close(): Promise<void> {
    for (const each of [...keyrings.values(), ...everOpened]) await each.close();
    await table.close();
  }

  try {
    const tenants = [...(config.tenants ?? []), ...(await registry.list()).map(({ crn }) => crn)];
    const taken = await Promise.all(tenants.map((tenant) => hasDataKeys(table, tenant)));
    await openRootKeys(config.rootKeys, !taken.includes(true) && config.makeRootKeys !== false);
  } catch (thrown) {
    await close();
    throw thrown;
  }

  const inForce = (tenant: string): Keyring => {
    const there = keyrings.get(tenant) ?? keyring({ table, tenant, rootKeys, runtime, log });
    keyrings.set(tenant, there);
    return there;
  };
  /** The keyring of a tenant, by whichever root keys are in force when it is used. */
  const keyringOf = (tenant: string): Keyring => ({
    seal: (place, content) => inForce(tenant).seal(place, content),
    open: (place, sealed) => inForce(tenant).open(place, sealed),
    sealedWith: (sealed) => inForce(tenant).sealedWith(sealed),
    currentDataKey: () => inForce(tenant).currentDataKey(),
    rotate: () => inForce(tenant).rotate(),
    rewrap: () => inForce(tenant).rewrap(),
    check: () => inForce(tenant).check(),
    status: () => inForce(tenant).status(),
    async destroy() {
      destroyed.add(tenant);
      await inForce(tenant).destroy();
    },
    close: () => inForce(tenant).close(),
  });

  /** A keyring, by the root keys in force, over data keys that are not on the table. */
  const keyringOver: KeyringOver = async (tenant, rows) => {
    const over = await keyringApart(tenant, rows, { rootKeys, runtime, log });
    everOpened.push(over);
    return over;
  };

  await eraseWhatIsDue({ table, registry, keyringOf, log, snapshotFolder: config.snapshots?.folder });
  return {
    registry,
    /** How long a deleted instance can be reclaimed, in milliseconds. */
    reclaimMs,
    /** Takes a snapshot of an instance of the registry, beside running servers. */
    snapshot: (instanceCrn: string, options: SnapshotFileOptions): Promise<SnapshotReport> =>
      takeSnapshot({ table, sealer: keyringOf(instanceCrn), runtime, instanceCrn, ...options }),
    /** The day of the newest snapshot of an instance here, as `newestSnapshot` says. */
    newestSnapshot: async (instanceCrn: string): Promise<number | undefined> =>
      config.snapshots && newestSnapshot(config.snapshots.folder, instanceCrn),
    /** Brings an instance back that is not here. */
    restore: (options: SnapshotFileOptions): Promise<CheckedSnapshot> =>
      restoreSnapshot({ table, registry, runtime, keyringOver, ...options }),
    /** Ids of the root keys in force. */
    rootKeys: (): readonly string[] => rootKeys.map(({ id }) => id),
    made,
    /** When recovery texts were shown to be right. */
    recoveryProofs: recoveryProofs(table),
    keyringOf,
    /**
     * Changes to these root keys; a file that is not there is made. What is under way goes on with those it began with: their data
     * keys leave the memory at the end of their time, as always.
     */
    async useRootKeys(configs: readonly RootKeyConfig[]): Promise<void> {
      await openRootKeys(configs, true);
      everOpened.push(...keyrings.values());
      // Whoever is still at work on an instance that was erased must make no new data key: its keyring stays, closed.
      for (const tenant of keyrings.keys()) if (!destroyed.has(tenant)) keyrings.delete(tenant);
    },
    /** Work on all certificates of an instance. */
    upkeepOf(instanceCrn: string) {
      const its = { table, sealer: keyringOf(instanceCrn), runtime, log, instanceCrn };
      return certificateUpkeep({ ...its, rows: certificateRows(its) });
    },
    /** Orders and renewals of an instance, as a command asks for them: a server of the same table carries them out. */
    async ordersOf(instanceCrn: string) {
      const resolved = resolveLimits((await registry.get(instanceCrn)).limits);
      const its = { table, sealer: keyringOf(instanceCrn), runtime, log, instanceCrn };
      const rates = instanceRates({ limits: resolved, table, instanceCrn, now: runtime.now });
      const instance = { crn: instanceCrn, limits: resolved, rates };
      return orderingElsewhere({ ...its, instance, rows: certificateRows(its) });
    },
    /** Serves the instances of the registry, and others if asked. */
    serve: (
      options: Omit<InstanceServerOptions, 'table' | 'registry' | 'keyringOf' | 'runtime' | 'log'>,
    ): Promise<InstanceServer> => {
      const snapshots = config.snapshots === undefined ? {} : { snapshots: config.snapshots };
      return startInstanceServer({ ...snapshots, ...options, table, registry, keyringOf, runtime, log });
    },
    /** After what serves has been closed. */
    close,
  };
}

/** A keyring over data keys that are on no table. */
async function keyringApart(
  tenant: string,
  rows: Parameters<KeyringOver>[1],
  its: { readonly rootKeys: readonly RootKey[] } & Pick<ComposeOptions, 'runtime' | 'log'>,
): Promise<Keyring> {
  const { memoryTable } = await import('./table/memory.ts');
  const apart = memoryTable();
  for (const { partition, sort, ...fields } of rows) await apart.putIfAbsent({ partition, sort }, fields);
  return keyring({ table: apart, tenant, ...its });
}

/**
 * Whether a snapshot is whole, and opens under these root keys. No table is opened, and no root key before the file was read.
 * Throws what `checkSnapshot` of snapshot-restore.ts and the root keys throw.
 */
export async function checkSnapshotFile(
  path: string,
  configs: readonly RootKeyConfig[],
  { runtime, log }: Pick<ComposeOptions, 'runtime' | 'log'>,
): Promise<CheckedSnapshot> {
  const opened: { close(): Promise<void> }[] = [];
  try {
    return await checkSnapshot(path, async (tenant, rows) => {
      const rootKeys: RootKey[] = [];
      for (const config of configs) {
        const { rootKey } = await openRootKey(config, { create: false, runtime });
        rootKeys.push(rootKey);
        opened.push(rootKey);
      }
      const over = await keyringApart(tenant, rows, { rootKeys, runtime, log });
      opened.unshift(over);
      return over;
    });
  } finally {
    for (const each of opened) await each.close();
  }
}

/** Ids of the root keys of which one opens the data keys of the instances on a table. No root key is opened. Throws what the table throws. */
export async function rootKeysThatOpen(config: TableConfig, runtime: Runtime): Promise<ReadonlySet<string>> {
  const table = await openTable(config);
  try {
    const instances = await instanceRegistry({ table, runtime }).list();
    const ids = await Promise.all(instances.map(({ crn }) => wrappingRootKeys(table, crn)));
    return new Set(ids.flat());
  } finally {
    await table.close();
  }
}

/** Opens a root key; each kind is loaded only when it is wanted. */
async function openRootKey(
  config: RootKeyConfig,
  { create, runtime }: { readonly create: boolean; readonly runtime: Runtime },
): Promise<{ readonly rootKey: RootKey; readonly recoveryText?: Secret }> {
  if (config.kind === 'file') {
    const { fileRootKey } = await import('./keys/file.ts');
    return fileRootKey({ path: config.path, create });
  }
  if (config.kind === 'aws-kms') {
    const { awsKmsRootKey } = await import('./keys/aws-kms.ts');
    return { rootKey: awsKmsRootKey({ keyArn: config.keyArn }) };
  }
  const { keyProtectRootKey } = await import('./keys/key-protect.ts');
  const { kind: _kind, ...options } = config;
  return { rootKey: keyProtectRootKey({ ...options, runtime }) };
}

/** Makes a root key file again from its recovery text; the id of the root key. Throws `keys_recovery_text_wrong` and `keys_file_unusable`. */
export async function recoverRootKey(path: string, text: Secret): Promise<string> {
  return (await import('./keys/file.ts')).recoverFileRootKey(path, text);
}

/** The id of the root key that this recovery text makes again. Throws `keys_recovery_text_wrong`. */
export async function rootKeyOfRecoveryText(text: Secret): Promise<string> {
  return (await import('./keys/file.ts')).rootKeyOfRecoveryText(text);
}
