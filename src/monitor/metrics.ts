import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ErrorCode } from '../errors.ts';
import type { BackupFindings } from '../replication/backup-findings.ts';
import type { Link } from '../replication/link.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import type { LifecycleEvent } from '../sender/event.ts';
import { certificateStates, type LinkFigures } from './figures.ts';
import { lagOf } from './lag.ts';
import type { Readiness } from './readiness.ts';

/** What can be asked about a link when somebody reads the metrics. */
export interface LinkView {
  readonly link: Link;
  readonly figures: () => Promise<LinkFigures>;
  /** Epoch milliseconds. */
  readonly lastReconcileAt: () => Promise<number | undefined>;
}

export interface MetricsOptions {
  readonly version: string;
  /** Names for people, by store id. */
  readonly storeNames: ReadonlyMap<string, string>;
  readonly links: readonly LinkView[];
  readonly readiness: () => Promise<Readiness>;
  readonly now: () => number;
  /** How it goes with the audit trail of this process; absent: it writes none. */
  readonly audit?:
    | (() => { readonly waiting: number; readonly lost: number; readonly failingSince?: number })
    | undefined;
  /**
   * Figures are counted again when they are older than this; counting reads every record. Default 1
   * s.
   */
  readonly figuresMs?: number;
  /** The figures of the process (memory, event loop). Default yes. */
  readonly process?: boolean;
}

/** `incomplete`: a backup could not be listed; `held`: the brake waits for a person. */
type ReconcileOutcome = 'complete' | 'incomplete' | 'held' | 'failed';

/**
 * The metrics of one process. What is counted here begins with it; gauges are read from the records
 * when somebody asks.
 */
export interface Metrics {
  acknowledged(link: string, event: LifecycleEvent, answer: 'new' | 'repeat', sender: string): void;
  /**
   * A request to a callback was answered with this status. `sender`: whose callback it is; absent:
   * it is nobody's.
   */
  answered(status: number, sender?: string): void;
  passed(report: PassReport): void;
  reconciled(link: string, outcome: ReconcileOutcome): void;
  /** The text of the Prometheus exposition format, and its media type. */
  text(): Promise<string>;
  readonly contentType: string;
  /** All of them, for what is written about them. */
  described(): readonly MetricDescription[];
}

export interface MetricDescription {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labels: readonly string[];
}

/**
 * Seconds: below one second lies what is normal, above it what a person wants to tell apart: a rate
 * limit, an outage, a night.
 */
const lagBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400];

export function createMetrics(options: MetricsOptions): Metrics {
  const { storeNames } = options;
  const registry = new Registry();
  if (options.process ?? true) collectDefaultMetrics({ register: registry });
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({ name: `certstandby_${name}`, help, labelNames: [...labelNames], registers: [registry] });
  const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Histogram({
      name: `certstandby_${name}`,
      help,
      labelNames: [...labelNames],
      buckets: lagBuckets,
      registers: [registry],
    });

  const notifications = counter('notifications_total', 'Notifications acknowledged, by what was known of them.', [
    'link',
    'kind',
    'answer',
    'sender',
  ]);
  const answers = counter('callback_answers_total', 'Requests to callbacks, by the status of the answer.', [
    'status',
    'sender',
  ]);
  const passes = counter('passes_total', 'Passes, by what was found at the primary.', ['link', 'verdict']);
  const actions = counter(
    'copy_actions_total',
    'What was done to copies: imported, reimported, adopted, removed, ...',
    ['link', 'backup', 'action'],
  );
  const failures = counter('failures_total', 'Failures, by the store where they happened and their code.', [
    'link',
    'store',
    'code',
  ]);
  const reconciles = counter(
    'reconciles_total',
    'Reconciles; incomplete: a backup could not be listed; held: the brake waits for a person.',
    ['link', 'outcome'],
  );
  const lag = histogram('lag_seconds', 'From the change in the primary until every backup was written and equal.', [
    'link',
  ]);
  const senderDelay = histogram(
    'sender_delay_seconds',
    'From the change in the primary until its notification was acknowledged: part of the lag, and not ours.',
    ['link'],
  );
  const readGauges = registerGauges(registry, options);
  let reading = Promise.resolve('');

  const nameOf = (store: string) => storeNames.get(store) ?? store;
  const failed = (link: string, store: string, code: ErrorCode) => failures.inc({ link, store: nameOf(store), code });
  const primaries = new Map(options.links.map(({ link }) => [link.name, link.primary.id]));

  return {
    acknowledged: (link, { kind }, answer, sender) => notifications.inc({ link, kind, answer, sender }),
    answered: (status, sender = '') => answers.inc({ status, sender }),
    passed(report) {
      const { link, verdict, backups } = report;
      passes.inc({ link, verdict: verdict.kind });
      if ('error' in verdict) failed(link, primaries.get(link) ?? '', verdict.error.code);
      for (const { state, actions: done, error } of backups) {
        for (const action of done) actions.inc({ link, backup: nameOf(state.store), action });
        if (error !== undefined) failed(link, state.store, error.code);
      }
      const times = lagOf(report);
      if (times === undefined) return;
      lag.observe({ link }, times.lagMs / 1_000);
      if (times.senderMs !== undefined) senderDelay.observe({ link }, times.senderMs / 1_000);
    },
    reconciled: (link, outcome) => reconciles.inc({ link, outcome }),
    text() {
      // One after the other: two readings at once would reset each other's gauges.
      reading = reading
        .catch(() => '')
        .then(readGauges)
        .then(() => registry.metrics());
      return reading;
    },
    contentType: registry.contentType,
    described: () =>
      registry.getMetricsAsArray().map((metric) => ({
        name: metric.name,
        help: metric.help,
        type: String(metric.type),
        labels: 'labelNames' in metric ? (metric.labelNames as readonly string[]) : [],
      })),
  };
}

/**
 * Makes the gauges. The answer reads them all anew: the registry asks its metrics side by side, and
 * could show halves of two readings.
 */
function registerGauges(registry: Registry, options: MetricsOptions): () => Promise<void> {
  const { links, storeNames, now, figuresMs = 1_000 } = options;
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Gauge({ name: `certstandby_${name}`, help, labelNames: [...labelNames], registers: [registry] });
  const ready = gauge('ready', '1 if a notification would be acknowledged now.', []);
  const waiting = gauge(
    'callback_waiting',
    '1 for a callback where nothing can be proven yet: the keys of its sender are not here.',
    ['callback'],
  );
  const readable = gauge('records_readable', '1 if the records of the link could be read for these figures.', ['link']);
  const certificates = gauge('certificates', 'Certificates by where they stand.', ['link', 'state']);
  const pending = gauge('pending', 'Certificates that are to be copied and are not yet equal in every backup.', [
    'link',
  ]);
  const pendingAge = gauge('oldest_pending_seconds', 'How long the oldest of them has waited.', ['link']);
  const failing = gauge('failing', 'Certificates that fail now, by the store where and the code.', [
    'link',
    'store',
    'code',
  ]);
  const vanished = gauge(
    'vanished',
    'Certificates that are gone from the primary, all of them or more than the brake allows; 0 once a person has said that it is meant.',
    ['link'],
  );
  const refused = gauge('refused', 'Certificates that a backup does not take as the primary holds them, by code.', [
    'link',
    'backup',
    'code',
  ]);
  const refusedStopped = gauge(
    'refused_stopped',
    'Of these the ones that the backup serves nobody with: it holds no copy, or one that has expired.',
    ['link', 'backup'],
  );
  const refusedStops = gauge(
    'refused_stop_timestamp_seconds',
    'When the first of the copies that stay because of that and still serve expires.',
    ['link', 'backup'],
  );
  const unremovable = gauge('copies_not_removable', 'Copies beside the kept ones that a backup does not let go.', [
    'link',
    'backup',
  ]);
  const overwritten = gauge('copies_overwritten', 'Copies that somebody else keeps changing.', ['link', 'backup']);
  const expiry = gauge('earliest_expiry_timestamp_seconds', 'When the first certificate expires.', ['link']);
  const age = gauge('last_reconcile_age_seconds', 'Since the last successful reconcile began; +Inf before the first.', [
    'link',
  ]);
  const auditWaiting = gauge('audit_waiting', 'Lines of the audit trail that are not on the table yet.', []);
  const auditLost = gauge('audit_lost', 'Lines of the audit trail that this process had no room for.', []);
  const auditFailing = gauge('audit_failing_seconds', 'How long the table has taken no line of the audit trail.', []);
  gauge('info', 'The version that runs.', ['version']).set({ version: options.version }, 1);
  const views = links.map((view) => ({ ...view, figures: heldFor(figuresMs, now, view.figures) }));
  const ofBackups = [refused, refusedStopped, refusedStops, unremovable, overwritten];
  const read = [waiting, readable, certificates, pending, pendingAge, failing, vanished, expiry, age, ...ofBackups];

  function showBackups(link: string, { refusals = [], keptBeside = [], overwritten: changed = [] }: BackupFindings) {
    const firstStops = new Map<string, number>();
    const labels = (store: string) => ({ link, backup: storeNames.get(store) ?? store });
    for (const { store, code, certificates: count, withoutCopy, stopped, stops } of refusals) {
      refused.inc({ ...labels(store), code }, count);
      refusedStopped.inc(labels(store), withoutCopy + stopped);
      if (stops !== undefined) firstStops.set(store, Math.min(firstStops.get(store) ?? stops.at, stops.at));
    }
    for (const [store, at] of firstStops) refusedStops.set(labels(store), at / 1_000);
    for (const { store, copies } of keptBeside) unremovable.inc(labels(store), copies);
    for (const { store, certificates: count } of changed) overwritten.inc(labels(store), count);
  }

  async function readLink({ link: { name: link }, figures, lastReconcileAt }: LinkView): Promise<void> {
    const outcome = await Promise.all([figures(), lastReconcileAt()]).catch(() => undefined);
    readable.set({ link }, outcome === undefined ? 0 : 1);
    if (outcome === undefined) return;
    const [{ states, pending: waiting, pendingSince, failing: found, vanished: gone, earliestExpiry, findings }, at] =
      outcome;
    showBackups(link, findings ?? {});
    for (const state of certificateStates) certificates.set({ link, state }, states[state]);
    pending.set({ link }, waiting);
    vanished.set({ link }, gone);
    pendingAge.set({ link }, pendingSince === undefined ? 0 : Math.max(0, now() - pendingSince) / 1_000);
    for (const { store, code, count } of found.values())
      failing.set({ link, store: storeNames.get(store) ?? store, code }, count);
    if (earliestExpiry !== undefined) expiry.set({ link }, earliestExpiry / 1_000);
    age.set({ link }, at === undefined ? Number.POSITIVE_INFINITY : Math.max(0, now() - at) / 1_000);
  }
  return async () => {
    // What cannot be read now is not shown as it was.
    for (const one of read) one.reset();
    const audit = options.audit?.() ?? { waiting: 0, lost: 0 };
    auditWaiting.set(audit.waiting);
    auditLost.set(audit.lost);
    auditFailing.set(audit.failingSince === undefined ? 0 : Math.max(0, now() - audit.failingSince) / 1_000);
    const found = await options.readiness();
    ready.set(found.problems.length === 0 ? 1 : 0);
    for (const { callback } of [...found.waiting, ...found.problems])
      if (callback !== undefined) waiting.set({ callback }, 1);
    for (const view of views) await readLink(view);
  };
}

/**
 * The answer of a task, asked for again when it is older than `leastMs` and than twenty times what
 * the task took.
 */
function heldFor<T>(leastMs: number, now: () => number, task: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  let goodUntil = Number.NEGATIVE_INFINITY;
  return () => {
    const startedAt = now();
    if (answer !== undefined && startedAt < goodUntil) return answer;
    goodUntil = Number.POSITIVE_INFINITY;
    const asked = task();
    answer = asked;
    asked.then(
      () => {
        goodUntil = now() + Math.max(leastMs, 20 * (now() - startedAt));
      },
      () => {
        answer = undefined;
      },
    );
    return asked;
  };
}
