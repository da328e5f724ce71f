import { CodedError } from '../../errors.ts';
import type { Binding } from '../../records/link-records.ts';
import type { UnreadableRecord } from '../../records/replication-record.ts';
import type { Store } from '../../store/store.ts';
import type { Link } from '../link.ts';
import { type ReconcileLock, takeLock } from '../reconcile/lock.ts';
import { settledMs } from '../timing.ts';
import type { Worker } from '../worker.ts';
import { longestWriteMs } from '../write-to-end.ts';
import { type Moved, moveAll } from './move.ts';
import { planOf, type RestoreOptions, type RestorePlan, refused, surveyOf } from './survey.ts';

/**
 * Restore and failback: the certificates of a link move to another primary, and the link points
 * there from then on.
 *
 * The order, per certificate, is what lets a run be killed anywhere and begun again:
 *
 *   1. It is imported with a mark that names where it comes from: found again by that, it is never
 *      imported twice, and while it carries the mark it counts as a copy, which no pass copies on.
 *   2. Old and new id are written down, for people who ask, and for the way home.
 *   3. Its copies get a mark that names the new original: the passes of the new direction know them
 *      as theirs.
 *   4. The mark of 1 is taken off. From now on it is the truth.
 */

export interface RestoreResult extends RestorePlan, Moved {}

/**
 * Moves the certificates of a link out of `from` into its primary, as the configuration names it
 * now, and points the link there. A run that was stopped, or in which some failed, is gone on with
 * by the same call: what was moved is left alone. Throws `reconcile_running`, `restore_refused`,
 * `restore_source_withholds_keys`, `restore_primary_withholds_keys`, what the listings throw, and
 * the reason of the signal.
 */
export async function restore(restorer: Worker, link: Link, options: RestoreOptions): Promise<RestoreResult> {
  const { linkRecords, runtime } = restorer;
  const lock = await takeLock(restorer, link);
  try {
    const binding = await linkRecords.bindingOf(link.name);
    refuseWhatCannotBe(link, options, binding);
    await waitUntilSettled(restorer, link, options);
    const survey = await surveyOf(restorer, link, { ...options, binding, lock });
    const plan = planOf(link, options.from, survey);
    if (plan.lines.length + plan.there === 0 && binding.primary !== link.primary.id)
      throw refused(
        `${options.from.id} holds nothing that link ${link.name} could be restored from; say with --from what does`,
      );
    await options.confirm?.(plan);
    const begun = await linkRecords.bindingOf(link.name);
    const repoints = begun.primary !== link.primary.id || survey.toldByMarks.length > 0;
    if (repoints || plan.lines.length > 0) await linkRecords.noteRestore(link.name, 'begun');
    if (repoints) {
      const former = [...begun.former, ...survey.toldByMarks];
      await linkRecords.repoint(link.name, { ...begun, former }, link.primary.id);
    }
    if (repoints || begun.repointing) await forgetOldDirection(restorer, link, lock);
    const { moved, failed } = await moveAll(restorer, link, survey, { ...options, lock });
    await linkRecords.noteRestore(link.name, failed.length === 0 ? 'done' : { stoppedAt: runtime.now() });
    await lock.release();
    return { ...plan, moved, failed };
  } catch (thrown) {
    // What went wrong is more than a note that is missing, or a lease that ends by itself.
    await linkRecords.noteRestore(link.name, { stoppedAt: runtime.now() }).catch(() => undefined);
    await lock.release().catch(() => undefined);
    throw thrown;
  }
}

/**
 * What a run sent that was stopped may be on its way still, and no listing shows it: waits until it
 * does.
 */
async function waitUntilSettled(
  { linkRecords, runtime, timing }: Worker,
  link: Link,
  options: RestoreOptions,
): Promise<void> {
  const unfinished = await linkRecords.unfinishedRestore(link.name);
  if (unfinished === undefined) return;
  const now = runtime.now();
  const longestMs = settledMs(link.primary, timing) + longestWriteMs(link.primary, 'import', 'reimport');
  const waitMs = (unfinished.stoppedAt ?? now) + longestMs - now;
  if (waitMs <= 0) return;
  options.waiting?.(waitMs);
  await runtime.wait(waitMs, options.signal);
}

function refuseWhatCannotBe(
  { name, primary }: Link,
  { kind, from }: RestoreOptions,
  { primary: bound, former }: Binding,
): void {
  refuseWithheldKeys(primary, from);
  if (kind === 'restore') return;
  if (bound === undefined) throw refused(`link ${name} has never run here, so that nobody knows which way is home`);
  if (from.id === primary.id)
    throw refused(`${from.id} is the primary of link ${name}: point the link at the one that it goes home to`);
  const stoodIn = bound === primary.id ? former.at(-1) : bound;
  if (stoodIn !== from.id) throw refused(`link ${name} goes home from ${stoodIn ?? 'nowhere'}, not from ${from.id}`);
}

/** What gives no private keys back can neither be restored from nor be the truth. */
function refuseWithheldKeys(primary: Store, from: Store): void {
  if (!from.abilities.givesKeys) {
    const message = `${from.id} does not give private keys back, so nothing can be restored from it`;
    throw new CodedError('restore_source_withholds_keys', message, { fields: { store: from.id } });
  }
  if (primary.abilities.givesKeys) return;
  const message = `${primary.id} does not give private keys back, so it cannot be the primary`;
  throw new CodedError('restore_primary_withholds_keys', message, { fields: { store: primary.id } });
}

/**
 * The records of the direction before: they say of another primary what is in it. Passes and
 * reconciles find everything again by its marks.
 */
async function forgetOldDirection({ records, linkRecords }: Worker, link: Link, lock: ReconcileLock): Promise<void> {
  const certificates: string[] = [];
  const unreadable = ({ certificate }: UnreadableRecord) => void certificates.push(certificate);
  for await (const { certificate } of records.all(link.name, unreadable)) certificates.push(certificate);
  for (const [done, certificate] of certificates.entries()) {
    await records.forget(link.name, certificate);
    await lock.keep('restoring', done);
  }
  await linkRecords.repointed(link.name);
}
