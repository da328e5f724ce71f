import type { Alerts } from '../alerts/alerts.ts';
import { type Config, defaultAudit, defaultDrill } from '../config.ts';
import { defined } from '../defined.ts';
import { type InProcessDispatch, inProcessDispatch } from '../dispatch/in-process.ts';
import type { DrillOptions } from '../drill/drill.ts';
import type { KeptDrill } from '../drill/keep.ts';
import { asCodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import { type LinkFigures, linkFigures } from '../monitor/figures.ts';
import type { Metrics, MetricsOptions } from '../monitor/metrics.ts';
import { type Readiness, readiness } from '../monitor/readiness.ts';
import { processOwner } from '../process-owner.ts';
import { type CallbackRequest, type CallbackResponse, createReceiver } from '../receiver/receiver.ts';
import { factsRecords } from '../records/facts-records.ts';
import { idempotencyRecords } from '../records/idempotency-records.ts';
import { identityRecords } from '../records/identity-records.ts';
import { linkRecords } from '../records/link-records.ts';
import { quotaRecords } from '../records/quota-records.ts';
import type { Brake } from '../records/reconcile-records.ts';
import type { ReplicationRecord, UnreadableRecord } from '../records/replication-record.ts';
import { replicationRecords } from '../records/replication-records.ts';
import { type Adoption, adopt } from '../replication/adopt.ts';
import { type AdoptionPlan, planAdoptions } from '../replication/adopt-all.ts';
import { backupFindings } from '../replication/backup-findings.ts';
import { type AcknowledgedEvent, acknowledgedEvents } from '../replication/events.ts';
import type { IdMap } from '../replication/id-map.ts';
import type { Link } from '../replication/link.ts';
import { type PassReport, replicate } from '../replication/pass/replicate.ts';
import { forecastFor } from '../replication/quota-forecast.ts';
import { isAskedReconcileDue } from '../replication/reconcile/asked.ts';
import { type Plan, planReconcile } from '../replication/reconcile/plan.ts';
import { brakeOf, type ReconcileOptions, type ReconcileReport, reconcile } from '../replication/reconcile/reconcile.ts';
import { resolveHints } from '../replication/resolve-hints.ts';
import type { RestoreResult } from '../replication/restore/restore.ts';
import type { RestoreOptions, RestorePlan } from '../replication/restore/survey.ts';
import { sharedListings } from '../replication/shared-listing.ts';
import { type Standing, standingOf } from '../replication/standing.ts';
import { type LinkStatus, statusOf } from '../replication/status.ts';
import { sweep, wakeDue } from '../replication/sweep.ts';
import { defaultTiming, type Timing } from '../replication/timing.ts';
import { vanishedTally } from '../replication/vanished.ts';
import { type VerifyOptions, type VerifyReport, verify } from '../replication/verify.ts';
import { watchPrimaries } from '../replication/watch.ts';
import type { Runtime } from '../runtime.ts';
import { identifiedStore } from '../store/identified.ts';
import { quotasLeft } from '../store/quota.ts';
import type { QuotaLeft, Store } from '../store/store.ts';
import type { Table } from '../table/table.ts';
import type { ProgramAudit } from './audit.ts';
import { type Acknowledged, callbacksOf } from './callbacks.ts';
import type { ConsoleParts } from './console.ts';
import { keySourcesOf, toLink } from './services.ts';
import { isOnThisMachine, openStores } from './stores.ts';
import { openTable } from './tables.ts';

/**
 * What the records of a link say of its backups, those that are no longer configured too.
 * Records that cannot be understood are passed over: status tells of them.
 */
export async function recordedFindings(table: Table, link: string, now: number) {
  const findings = backupFindings(now);
  for await (const record of replicationRecords(table).all(link, () => {})) {
    if (record.absentSince !== undefined) continue;
    for (const state of record.backups) findings.add(record, state);
  }
  return findings.result();
}

/** The metrics of a process. Loaded only where somebody watches. */
export async function createMetrics(options: MetricsOptions): Promise<Metrics> {
  return (await import('../monitor/metrics.ts')).createMetrics(options);
}

/** What a host may watch. Nothing rests on it: what it throws is logged, and that is all. */
export interface Observer {
  readonly acknowledged?: Acknowledged;
  readonly passed?: (report: PassReport) => void;
}

/** The same; what is durable is told as that, whatever becomes of those who only watch. */
export function guarded({ acknowledged, passed }: Observer, log: Log): Required<Observer> {
  const guard =
    <A extends readonly unknown[]>(told: ((...about: A) => void) | undefined) =>
    (...about: A): void => {
      try {
        told?.(...about);
      } catch (thrown) {
        log('error', 'observer_failed', errorFields(asCodedError(thrown)));
      }
    };
  return { acknowledged: guard(acknowledged), passed: guard(passed) };
}

export interface ComposeOptions {
  readonly runtime: Runtime;
  readonly log: Log;
  readonly timing?: Partial<Timing>;
  readonly observer?: Observer;
  /** Instead of the table that the configuration names. The program closes it. */
  readonly table?: Table;
  /**
   * A link whose primary is another one than its records say: what moves it there is about to be
   * called.
   */
  readonly moving?: string;
  /** What runs, as the audit trail names it: `serve`, or a command. Absent: `certstandby`. */
  readonly runs?: string;
}

/**
 * The program for one machine: contracts met with kinds, nothing started yet. What is asked of it
 * about a link throws what the table and the stores throw.
 */
export interface Program {
  readonly config: Config;
  readonly links: readonly Link[];
  /** By their names in the configuration. */
  readonly stores: ReadonlyMap<string, Store>;
  readonly dispatch: InProcessDispatch;
  /** The callback, as a function from request to response. */
  readonly receiver: (request: CallbackRequest) => Promise<CallbackResponse>;
  /** Names of the links and senders that have a callback. */
  readonly callbacks: readonly string[];

  /** Watches the primaries that can be watched from here, until closed. */
  watch(): { close(): void };
  /**
   * Wakes what is due on every link, and refreshes verification keys. Answers how many were woken,
   * in all and by link.
   */
  sweep(): Promise<{ readonly woken: number; readonly byLink: ReadonlyMap<string, number> }>;
  /** Wakes what is due on one link, as much as a sweep does. Answers how many that were. */
  wakeDue(link: Link): Promise<number>;
  /**
   * The links of which somebody asked for a reconcile that is due now: see `isAskedReconcileDue`.
   */
  reconcilesAsked(): Promise<readonly Link[]>;
  reconcile(link: Link, given?: ReconcileOptions): Promise<ReconcileReport>;
  /** What a reconcile of one link would do. Changes nothing. */
  plan(link: Link, given?: Parameters<typeof planReconcile>[2]): Promise<Plan>;
  /**
   * What would hold a reconcile back that finds what this plan found; undefined if nothing would.
   */
  brakeOf(link: Link, plan: Plan): Brake | undefined;
  /** Proves one link by reading both sides. */
  verify(link: Link, given?: VerifyOptions): Promise<VerifyReport>;
  /**
   * Serves the copies of one link to a client, as `configuration.drill` says, signs and keeps what
   * came of it.
   */
  drill(link: Link, given?: Omit<DrillOptions, 'trust'> & { readonly trust?: string }): Promise<KeptDrill>;
  /**
   * Moves the certificates of one link into its primary, as it is configured now, and points the
   * link there.
   */
  restore(link: Link, given: RestoreOptions): Promise<RestoreResult>;
  /** Takes a copy that somebody else made under management, and has it looked at. */
  adopt(link: Link, request: Parameters<typeof adopt>[2]): Promise<Adoption>;
  /** What `adopt` would do with everything in a backup that somebody else made. Changes nothing. */
  planAdoptions(link: Link, options: Parameters<typeof planAdoptions>[2]): Promise<AdoptionPlan>;

  /** How one link stands, from the table alone. */
  status(link: Link): Promise<LinkStatus>;
  /** How one certificate stands, by its record. */
  standing(link: Link, record: ReplicationRecord): Standing;
  /** Where the certificates of a link stand, counted from its records. */
  figures(link: Link): Promise<LinkFigures>;
  /** Old and new ids of what was moved to the primary of a link. */
  idMap(link: Link, given: { readonly marks: boolean; readonly signal?: AbortSignal }): Promise<IdMap>;
  /** The primary that the records of a link belong to; undefined before its first pass. */
  boundTo(link: Link): Promise<string | undefined>;
  /** The last acknowledged event of each certificate, the newest first. */
  events(link: Link, given: Parameters<typeof acknowledgedEvents>[2]): Promise<readonly AcknowledgedEvent[]>;
  /**
   * When the last successful reconcile of a link began, epoch milliseconds; undefined if there was
   * none.
   */
  lastReconcileAt(link: Link): Promise<number | undefined>;
  /** The replication record of one certificate; undefined if there is none. */
  record(link: Link, certificate: string): Promise<ReplicationRecord | undefined>;
  /** All replication records of a link; what cannot be understood of them goes to `unreadable`. */
  records(link: Link, unreadable?: (record: UnreadableRecord) => void): AsyncGenerator<ReplicationRecord>;

  /** Requests that this process has sent to the stores so far. */
  requests(): number;
  /** What is left of the quotas of a store. */
  quotasLeft(store: Store): Promise<readonly QuotaLeft[]>;
  /**
   * Who is told of what is wrong. Loaded when it is asked for; the signal ends what is being sent.
   * Undefined: the configuration names nobody.
   */
  alerts(signal: AbortSignal): Promise<Alerts | undefined>;
  /** What the console shows of the links, and the links by which people sign in to it. */
  console(): Promise<ConsoleParts>;
  /** The audit trail; undefined: the configuration wants none. */
  readonly audit: ProgramAudit | undefined;
  /** Whether a notification would be acknowledged now. */
  readiness(): Promise<Readiness>;
  /**
   * Ends what is under way in this process, gives back what the stores hold, and closes the table.
   */
  close(): Promise<void>;
}

/**
 * Puts the program together for one machine: the configured table and stores, workers in this
 * process. Throws `table_unavailable` if the table cannot be opened, `configuration_link_moved` if
 * a link's records belong to another primary.
 */
export async function compose(config: Config, options: ComposeOptions): Promise<Program> {
  const { runtime, log } = options;
  const observer = guarded(options.observer ?? {}, log);
  const timing: Timing = { ...defaultTiming, ...options.timing };
  const table = options.table ?? (await openTable(config.table));
  let requests = 0;
  const sent = () => {
    requests += 1;
  };
  const { runs: program = 'certstandby' } = options;
  const kept = config.audit ?? defaultAudit;
  const audit = kept.write
    ? (await import('./audit.ts')).programAudit({ table, audit: kept, runtime, log, program })
    : undefined;
  const quotas = quotaRecords(table);
  const facts = factsRecords(table, runtime.now);
  const opened = await openStores(config, runtime, { sent, quotas, facts });
  const book = identityRecords(table);
  const configured = new Set([...opened.values()].map(({ id }) => id));
  const stores = new Map(
    [...opened].map(([name, store]) => {
      // What lies on this machine is asked before each call: its answer costs nothing, and a share
      // may go at any moment.
      const everyMs = isOnThisMachine(store) ? 0 : identityMs;
      return [name, identifiedStore(store, { runtime, book, configured, everyMs })] as const;
    }),
  );
  const links = config.links.map((link) => toLink(link, stores, config));
  const linkByName = new Map(links.map((link) => [link.name, link]));

  const records = replicationRecords(table);
  const linkRows = linkRecords(table);
  const owner = processOwner(runtime.newId);
  const worker = { records, linkRecords: linkRows, listings: sharedListings(runtime), runtime, timing, log, owner };
  const dispatch = inProcessDispatch({
    runtime,
    concurrency: config.worker.concurrency,
    most: 100_000,
    async work({ link: name, certificate, about }) {
      const link = linkByName.get(name);
      if (link === undefined) return {};
      if (about === 'hints') return resolveHints({ ...worker, dispatch }, link);
      const { passes, again } = await replicate(worker, link, certificate);
      for (const report of passes) {
        audit?.passed(report, link.primary.id);
        observer.passed(report);
      }
      return again === undefined ? {} : { again };
    },
    failed: ({ link, certificate }, thrown) =>
      log('error', 'pass_failed', { link, certificate, ...errorFields(asCodedError(thrown)) }),
  });
  const parts = { records, linkRecords: linkRows, dispatch, runtime, timing, log };
  const intake = { ...parts, notifications: idempotencyRecords(table) };

  /** Primaries of the other links. */
  const primariesBeside = (link: Link) =>
    new Set(links.filter((other) => other !== link).map(({ primary }) => primary.id));

  const keySources = await keySourcesOf(config.senders, runtime);
  const callbacks = await callbacksOf(config, intake, (...event) => {
    audit?.acknowledged(...event);
    observer.acknowledged(...event);
  });

  /** Read from these records, so that somebody may see them on the way. */
  async function status(link: Link, read = records): Promise<LinkStatus> {
    const now = runtime.now();
    const keeper = { ...worker, records: read, ...defined({ expiryNearMs: config.alerts?.expiryWithinMs }) };
    const found = await statusOf(keeper, link);
    const left = [link.primary, ...link.backups].map(async (store) =>
      (await quotasLeft(store, quotas, now)).map((quota) => {
        const forecast = store === link.primary ? undefined : forecastFor(store.abilities, quota, found.renewals, now);
        return { store: store.id, ...quota, ...defined({ forecast }) };
      }),
    );
    const all = (await Promise.all(left)).flat();
    return all.length === 0 ? found : { ...found, quotas: all };
  }

  for (const link of links) if (link.name !== options.moving) await linkRows.bind(link.name, link.primary.id);
  return {
    config,
    links,
    stores,
    dispatch,
    receiver: createReceiver({ callbacks, now: () => runtime.now(), log }),
    callbacks: callbacks.map(({ name }) => name),
    quotasLeft: (store) => quotasLeft(store, quotas, runtime.now()),
    watch: () => watchPrimaries(parts, links),
    sweep: () => sweep(parts, links, keySources),
    wakeDue: (link) => wakeDue(parts, link),
    async reconcilesAsked() {
      const due = await Promise.all(
        links.map(async (link) => ((await isAskedReconcileDue(worker, link)) ? [link] : [])),
      );
      return due.flat();
    },
    reconcile: (link, given = {}) => reconcile({ ...parts, owner }, link, given),
    plan: (link, given = {}) => planReconcile(worker, link, given),
    brakeOf: (link, { comparison }) => brakeOf(link, comparison, runtime.now()),
    verify: (link, given = {}) => verify(worker, link, given),
    async drill(link, given = {}) {
      const { drillAndKeep } = await import('../drill/keep.ts');
      const kept = await drillAndKeep(runtime, link, { ...(config.drill ?? defaultDrill), ...given });
      await linkRows.saveDrill(link.name, kept.summary);
      audit?.drilled(link.name, kept);
      return kept;
    },
    async restore(link, given) {
      const { restore } = await import('../replication/restore/restore.ts');
      const about = { link: link.name, move: given.kind, from: given.from.id, to: link.primary.id };
      const confirm = async (plan: RestorePlan) => {
        await given.confirm?.(plan);
        audit?.add({ kind: 'move', ...about, certificates: plan.lines.length });
      };
      const result = await restore(worker, link, { others: primariesBeside(link), ...given, confirm });
      const { moved, failed } = result;
      audit?.add({ kind: 'move', ...about, done: true, moved: moved.length, failed: failed.length });
      return result;
    },
    async idMap(link, given) {
      const { idMap } = await import('../replication/id-map.ts');
      return idMap(worker, link, { ...given, others: primariesBeside(link) });
    },
    boundTo: (link) => linkRows.boundTo(link.name),
    status,
    async alerts(signal) {
      if (config.alerts === undefined) return undefined;
      const { composeAlerts, isAnybodyTold } = await import('./alerts.ts');
      if (!isAnybodyTold(config.alerts)) return undefined;
      const names = new Map([...stores].map(([name, { id }]) => [id, name]));
      const nameOf = (store: string) => names.get(store) ?? store;
      return composeAlerts(config.alerts, { config, links, status, nameOf, table, runtime, owner, log, signal });
    },
    async console() {
      const { composeConsole } = await import('./console.ts');
      return composeConsole({ config, links, stores, status, records, linkRows, table, runtime, log });
    },
    audit,
    standing: (link, record) => standingOf(link, record),
    async adopt(link, request) {
      const adoption = await adopt(worker, link, request);
      await dispatch.dispatch([{ link: link.name, certificate: adoption.certificate }]);
      return adoption;
    },
    planAdoptions: (link, options) => planAdoptions(worker, link, options),
    events: (link, given) => acknowledgedEvents(records, link, given),
    requests: () => requests,
    readiness: readiness({ table, callbacks, runtime }),
    async figures(link) {
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
    lastReconcileAt: (link) => linkRows.lastReconcileAt(link.name),
    record: (link, certificate) => records.get(link.name, certificate),
    records: (link, unreadable) => records.all(link.name, unreadable),
    async close() {
      try {
        await dispatch.stop();
        await Promise.all([...stores.values()].map((store) => store.close?.()));
      } finally {
        // Whatever else fails: what was done is told.
        await audit?.close();
        await table.close();
      }
    },
  };
}

/** How long the answer of a service about its identity is good for, in milliseconds. */
const identityMs = 10_000;
