import { asCodedError, type CodedError } from '../../errors.ts';
import { errorFields } from '../../log.ts';
import type { Link } from '../link.ts';
import { type ReconcileReport, type Reconciler, reconcile } from './reconcile.ts';

/** What came of reconciling links one after the other. */
export interface TimedReconcile {
  readonly reports: readonly ReconcileReport[];
  /** Links whose reconcile failed, and why; the next run by the schedule tries them again. */
  readonly failures: readonly { readonly link: string; readonly error: CodedError }[];
  /** Links for which there was no time. What was asked for on them by then stays asked for. */
  readonly remaining: readonly string[];
}

/**
 * Reconciles links one after the other until `stopAt` (epoch milliseconds), for functions whose
 * time is limited. A link that fails does not hold up the others; one that another process
 * reconciles already is left to it. Never throws.
 */
export async function reconcileInTime(
  reconciler: Reconciler,
  links: readonly Link[],
  stopAt: number,
): Promise<TimedReconcile> {
  const { runtime, log } = reconciler;
  const reports: ReconcileReport[] = [];
  const failures: { link: string; error: CodedError }[] = [];
  for (const [index, link] of links.entries()) {
    const leftMs = stopAt - runtime.now();
    const remaining = links.slice(index).map(({ name }) => name);
    if (leftMs <= 0) return { reports, failures, remaining };
    const stopping = new AbortController();
    const ended = new AbortController();
    runtime.wait(leftMs, ended.signal).then(
      () => stopping.abort(),
      () => {},
    );
    try {
      reports.push(await reconcile(reconciler, link, { signal: stopping.signal }));
    } catch (thrown) {
      if (stopping.signal.aborted) return { reports, failures, remaining };
      const error = asCodedError(thrown);
      if (error.code === 'reconcile_running') log('info', 'reconcile_elsewhere', { link: link.name });
      else {
        failures.push({ link: link.name, error });
        log('error', 'reconcile_failed', { link: link.name, ...errorFields(error) });
      }
    } finally {
      ended.abort();
    }
  }
  return { reports, failures, remaining: [] };
}
