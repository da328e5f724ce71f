import { asCodedError, CodedError } from '../../errors.ts';
import type { LinkRecords } from '../../records/link-records.ts';
import type { Brake } from '../../records/reconcile-records.ts';
import { recordedError } from '../../records/replication-record.ts';
import type { ProcessOwner, Runtime } from '../../runtime.ts';
import type { Link } from '../link.ts';
import type { Timing } from '../timing.ts';
import type { Comparison } from './compare.ts';

/** The one reconcile of a link that may run, while it runs. */
export interface ReconcileLock {
  /**
   * Notes how far it is, now and then. Throws `reconcile_running` if it took so long that another
   * one has begun.
   */
  keep(step: string, done: number): Promise<void>;
  complete(comparison: Comparison): Promise<void>;
  brake(brake: Brake): Promise<void>;
  /** Gives it back when it was taken for something else than a reconcile. */
  release(): Promise<void>;
  /** Notes why it ended; if even that fails, the lease ends by itself. */
  fail(thrown: unknown, stopped: boolean): Promise<void>;
}

/**
 * How many leases of a pass the lock lives on without a sign: a page of a listing takes less, waits
 * for a limit included.
 */
const leases = 2;
const keepEveryMs = 5_000;
/** Elements that could not be read, as far as status names them. */
const elementsKept = 5;

/** Takes the lock of a link. Throws `reconcile_running` with who has it and how far that is. */
export async function takeLock(
  given: {
    readonly linkRecords: LinkRecords;
    readonly runtime: Runtime;
    readonly timing: Timing;
    readonly owner?: ProcessOwner;
  },
  link: Link,
): Promise<ReconcileLock> {
  const { linkRecords, runtime, timing, owner } = given;
  const { name } = link;
  const leaseMs = leases * timing.leaseMs;
  const startedAt = runtime.now();
  const lease = {
    owner: owner?.id ?? runtime.newId(),
    now: startedAt,
    until: startedAt + leaseMs,
    skewMs: timing.skewMs,
  };
  let begun = await linkRecords.beginReconcile(name, lease);
  // A program that was killed and started again need not wait for its own lease.
  if ('running' in begun && owner?.hasDied(begun.running.owner ?? '') === true)
    begun = await linkRecords.beginReconcile(name, { ...lease, instead: begun.running.token });
  if ('running' in begun) {
    const { startedAt: since = startedAt, step = 'comparing', done = 0, until = startedAt } = begun.running;
    const retryAfterMs = Math.max(0, until + timing.skewMs + 1 - startedAt);
    throw new CodedError(
      'reconcile_running',
      `another reconcile or restore of ${name} has been running since ${new Date(since).toISOString()}; it is ${step}, and ${done} certificates far`,
      { fields: { link: name, step, done, retryAfterMs } },
    );
  }
  const { token } = begun;
  let keptAt = startedAt;
  let ended = false;
  return {
    async keep(step, done) {
      const now = runtime.now();
      if (now - keptAt < Math.min(keepEveryMs, leaseMs / 8)) return;
      keptAt = now;
      if (await linkRecords.keepReconcile(name, token, { until: now + leaseMs, step, done })) return;
      ended = true;
      throw new CodedError('reconcile_running', `this reconcile of ${name} took so long that another one has begun`);
    },
    async complete({ listed, included, unmarked, notListed, notRead, passedOver, silence }) {
      ended = true;
      await linkRecords.endReconcile(name, token, {
        completed: {
          listed,
          included,
          unmarked,
          notListed: notListed.map(({ store }) => store),
          notRead: notRead.length,
          notReadFirst: notRead.slice(0, elementsKept).map(({ error }) => `${error.message} [${error.code}]`),
          passedOver: passedOver.count,
          silence,
          tookMs: runtime.now() - startedAt,
        },
        startedAt,
      });
    },
    async brake(brake) {
      ended = true;
      await linkRecords.endReconcile(name, token, { brake });
    },
    async release() {
      if (ended) return;
      ended = true;
      await linkRecords.endReconcile(name, token, { released: true });
    },
    async fail(thrown, stopped) {
      if (ended) return;
      const error = asCodedError(thrown);
      const store = typeof error.fields.store === 'string' ? { store: error.fields.store } : {};
      const at = runtime.now();
      const end = stopped ? { stoppedAt: at } : { failure: { ...recordedError(error, at), ...store } };
      await linkRecords.endReconcile(name, token, end).catch(() => undefined);
    },
  };
}
