import type { Continuation, Rest } from '../dispatch/continuation.ts';
import type { Wake } from '../dispatch/dispatch.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { errorFields } from '../log.ts';
import { linkFigures } from '../monitor/figures.ts';
import { factsRecords } from '../records/facts-records.ts';
import { linkRecords } from '../records/link-records.ts';
import { quotaRecords } from '../records/quota-records.ts';
import type { UnreadableRecord } from '../records/replication-record.ts';
import { replicationRecords } from '../records/replication-records.ts';
import type { Link } from '../replication/link.ts';
import { type PassReport, replicate } from '../replication/pass/replicate.ts';
import { isAskedReconcileDue } from '../replication/reconcile/asked.ts';
import { reconcileInTime } from '../replication/reconcile/in-time.ts';
import type { ReconcileReport } from '../replication/reconcile/reconcile.ts';
import { resolveHints } from '../replication/resolve-hints.ts';
import { sharedListings } from '../replication/shared-listing.ts';
import { sweep } from '../replication/sweep.ts';
import { defaultTiming, type Timing } from '../replication/timing.ts';
import { vanishedTally } from '../replication/vanished.ts';
import type { FunctionParts } from './function-callback.ts';
import { tellerOf } from './function-trail.ts';
import { keySourcesOf, openService, type SecretOf, toLink } from './services.ts';

/** What a sweep saw of a link, for those who watch. */
export interface LinkSeen {
  readonly link: string;
  readonly woken: number;
  readonly dueSince: number | undefined;
  readonly reconcileAwaitedSince: number;
}

/*
 * The work of each function that asks stores. Each is made for itself, loads what it does and
 * nothing of the others, and is used by every invocation that finds the process warm.
 */

/**
 * Looks at one certificate, or finds out what the hints of a link mean. No pass begins again after
 * `beginBy` (epoch milliseconds). A wake-up for a link that the configuration no longer has is
 * nothing. Throws when the table cannot be asked.
 */
export type FunctionReplicate = (wake: Wake, beginBy: number) => Promise<readonly PassReport[]>;

/**
 * Reconciles the links of `rest`, all, or only those of which somebody `asked` for it and that are
 * due, until `stopAt` (epoch milliseconds), and has the rest done by another invocation. Throws
 * `dispatch_unavailable` if that one could not be had, and `reconcile_out_of_time` if it would go
 * on for ever.
 */
export type FunctionReconcile = (
  rest: Partial<Rest> & { readonly asked?: boolean },
  stopAt: number,
) => Promise<ReconcileSummary>;

/**
 * Wakes what is due on every link, refreshes verification keys, has a reconcile that somebody asked
 * for begun when it is due, and answers what it saw. Throws when the table cannot be asked.
 */
export type FunctionSweep = () => Promise<readonly LinkSeen[]>;

export interface ReconcileSummary {
  readonly reconciled: readonly string[];
  readonly failed: readonly string[];
  readonly goesOn: readonly string[];
  /** Certificates that wait, and that fail, of each link that was reconciled. */
  readonly figures: readonly { readonly link: string; readonly pending: number; readonly failing: number }[];
}

/**
 * How often one run of a reconcile goes on in a new invocation. AWS stops chains of sixteen by
 * itself ("recursive loop detection").
 */
const mostContinuations = 10;

/** Whether there can be anything of a pass that belongs into the audit trail. */
const tellsSomething = ({ record, backups, refusal }: PassReport): boolean =>
  refusal !== undefined ||
  (record.requested > record.replicated && (record.eventAt ?? record.toldAt) !== undefined) ||
  backups.some(({ wrote, actions, state }) => wrote || actions.length > 0 || state.refusal !== undefined);

type WorkerParts = FunctionParts & { readonly secretOf: SecretOf; readonly continuation: Continuation };

/**
 * The links of the configuration, and what work on them is done with. Nothing is asked of a store,
 * or of where its API key is, before the work needs it. Throws `configuration_invalid`.
 */
async function linksOf(parts: WorkerParts) {
  const { config, table, runtime, secretOf } = parts;
  const timing: Timing = { ...defaultTiming, ...parts.timing };
  const context = { runtime, secretOf, quotas: quotaRecords(table), facts: factsRecords(table, runtime.now) };
  const opened = await Promise.all(
    config.stores.map(async (store) => [store.name, await openService(store, context)] as const),
  );
  const stores = new Map(opened);
  const links = config.links.map((link) => toLink(link, stores, config));
  const worker = { ...parts, timing, records: replicationRecords(table), linkRecords: linkRecords(table) };
  return { links, worker };
}

/** Throws `configuration_invalid`. */
export async function composeSweep(parts: WorkerParts): Promise<FunctionSweep> {
  const { config, runtime, log, continuation } = parts;
  const { links, worker } = await linksOf(parts);
  const { records, linkRecords: linkRows } = worker;
  const keySources = await keySourcesOf(config.senders, runtime);

  return async () => {
    const now = runtime.now();
    const [{ byLink }] = await Promise.all([sweep(worker, links, keySources), beginAsked()]);
    return Promise.all(
      links.map(async ({ name }) => ({
        link: name,
        woken: byLink.get(name) ?? 0,
        dueSince: await records.dueSince(name, now),
        reconcileAwaitedSince: await linkRows.reconcileAwaitedSince(name, now),
      })),
    );
  };

  /**
   * Has the function that may ask the stores reconcile what is due. Never throws: what fails here
   * is tried again by the next sweep.
   */
  async function beginAsked(): Promise<void> {
    const due = await Promise.all(
      links.map((link) =>
        isAskedReconcileDue(worker, link).catch((thrown: unknown) => {
          log('error', 'asked_reconcile_failed', { link: link.name, ...errorFields(asCodedError(thrown)) });
          return false;
        }),
      ),
    );
    if (!due.includes(true)) return;
    await continuation
      .beginAsked()
      .catch((thrown: unknown) => log('error', 'asked_reconcile_failed', errorFields(asCodedError(thrown))));
  }
}

/** Throws `configuration_invalid`. */
export async function composeReplicate(parts: WorkerParts): Promise<FunctionReplicate> {
  const { runtime, log } = parts;
  const { links, worker: made } = await linksOf(parts);
  const worker = { ...made, listings: sharedListings(runtime) };
  const byName = new Map(links.map((link) => [link.name, link]));
  const tell = tellerOf(parts);

  return async ({ link: name, certificate, about }, beginBy) => {
    const link = byName.get(name);
    if (link === undefined) {
      log('warn', 'wake_for_unknown_link', { link: name, certificate });
      return [];
    }
    if (about === 'hints') {
      await resolveHints(worker, link);
      return [];
    }
    const { passes } = await replicate(worker, link, certificate, { beginBy });
    if (passes.some(tellsSomething)) await tell((trail) => trail.passed(passes, link));
    return passes;
  };
}

/** Throws `configuration_invalid`. */
export async function composeReconcile(parts: WorkerParts): Promise<FunctionReconcile> {
  const { runtime, continuation } = parts;
  const { links, worker: made } = await linksOf(parts);
  const worker = { ...made, listings: sharedListings(runtime) };
  const { records } = worker;
  const tell = tellerOf(parts);

  async function figuresOf(link: Link, standing: ReconcileReport['vanished']) {
    const unreadable: UnreadableRecord[] = [];
    const figures = await linkFigures(
      link,
      records.all(link.name, (record) => unreadable.push(record)),
      {
        lost: vanishedTally(link, runtime.now(), standing),
        standing,
        unreadable,
      },
    );
    const { pending, failing, vanished } = figures;
    // What is gone that should not be needs a person, as a failure does, and has the same alarm.
    return {
      link: link.name,
      pending,
      failing: [...failing.values()].reduce((sum, { count }) => sum + count, vanished),
    };
  }

  return async ({ links: names, continuation: count = 0, asked = false }, stopAt) => {
    const named = names === undefined ? links : links.filter(({ name }) => names.includes(name));
    const due = await Promise.all(named.map((link) => !asked || isAskedReconcileDue(worker, link)));
    const wanted = named.filter((_link, index) => due[index]);
    const { reports, failures, remaining } = await reconcileInTime(worker, wanted, stopAt);
    const done = wanted.filter(({ name }) => reports.some(({ link }) => link === name));
    if (remaining.length > 0) await goOn(remaining, count, wanted[0]?.name);
    for (const link of done) if (runtime.now() < stopAt) await tell((trail) => trail.complete(link));
    return {
      reconciled: done.map(({ name }) => name),
      failed: failures.map(({ link }) => link),
      goesOn: remaining,
      figures: await Promise.all(
        done.map((link) => figuresOf(link, reports.find((report) => report.link === link.name)?.vanished)),
      ),
    };
  };

  /**
   * A link that took all the time of an invocation that began with it would take all of the next
   * one too.
   */
  async function goOn(remaining: readonly string[], count: number, first: string | undefined): Promise<void> {
    if (count < mostContinuations && !(count > 0 && remaining[0] === first))
      return continuation.goOn({ links: remaining, continuation: count + 1 });
    throw new CodedError('reconcile_out_of_time', `the reconcile of ${remaining.join(', ')} does not end in its time`, {
      fields: { links: [...remaining], continuation: count },
    });
  }
}
