import type { Dispatch } from '../../dispatch/dispatch.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { errorFields } from '../../log.ts';
import type { LinkRecords } from '../../records/link-records.ts';
import type { Brake, Vanished } from '../../records/reconcile-records.ts';
import type { ProcessOwner } from '../../runtime.ts';
import { type HeldByBrake, heldSummary } from '../brake-finding.ts';
import { allowedShare } from '../brake-share.ts';
import type { Link } from '../link.ts';
import { brakeCodes } from '../pass/over-copy.ts';
import { settledMs } from '../timing.ts';
import { vanishedSummary } from '../vanished.ts';
import { answerAsked } from './asked.ts';
import { batchesOf, type Comparer, type Comparison, compare, doubtedIn, overwrites, type Reason } from './compare.ts';
import { type ReconcileLock, takeLock } from './lock.ts';

export interface Reconciler extends Comparer {
  readonly linkRecords: LinkRecords;
  readonly dispatch: Dispatch;
  /** Absent: nobody is known to have died, and a lease has to end by itself. */
  readonly owner?: ProcessOwner;
}

export interface ReconcileOptions {
  /**
   * Stops between two pages, or two writes to the table. What was asked for by then stays asked
   * for.
   */
  readonly signal?: AbortSignal | undefined;
  /** How many certificates were compared, or asked for, so far. */
  readonly progress?: (step: ReconcileStep, done: number) => void;
  /**
   * Goes on where the brake would hold, if no more certificates than this would change or vanish.
   */
  readonly allowChanges?: number | undefined;
  /**
   * A person's word that what is gone from the primary is meant to be: the `id` of exactly that
   * finding.
   */
  readonly acceptVanished?: string | undefined;
  /**
   * A person's word that what the brake keeps from being written is meant: the `id` of exactly that
   * finding.
   */
  readonly acceptChanges?: string | undefined;
  /**
   * Has everything looked at in full, whether it is its turn or not: what no listing tells is found
   * so.
   */
  readonly full?: boolean | undefined;
  /**
   * Called when everything is compared and nothing has been asked for: throws to leave it at that.
   * It answers which certificates to ask for; absent: all.
   */
  readonly confirm?: (comparison: Comparison) => Promise<ReadonlySet<string> | undefined>;
}

export type ReconcileStep = 'comparing' | 'asking';

export type ReconcileReport = Pick<
  Comparison,
  'listed' | 'included' | 'expired' | 'retained' | 'unmarked' | 'notListed' | 'notRead' | 'passedOver' | 'pages'
> & {
  readonly link: string;
  readonly asked: Comparison['counts'];
  /**
   * What is gone from the primary, more than is lost on an ordinary day: a finding until a person
   * has said that it is meant.
   */
  readonly vanished?: Vanished;
  /**
   * What the brake keeps from being written: a finding until the primary holds something else, or a
   * person has said that it is meant.
   */
  readonly held?: HeldByBrake;
};

/**
 * Compares both sides of a link by their listings, without keys, and asks for what differs: catches
 * what no event told. First everything is compared, then the brake is looked at, then it is asked.
 * Nothing is written to a store here; what is asked for is looked at by the same passes as
 * everything else, so that a run that is stopped anywhere loses and doubles nothing: what it asked
 * for is durable, and the next run finds the rest.
 *
 * A backup that cannot be listed is reported and does not hold up the others. Throws
 * `reconcile_running` while another one runs, `reconcile_brake`, `reconcile_vanished`,
 * `reconcile_vanished_changed`, what the primary's listing, the last backup's, or the table throws,
 * and the reason of the signal; then nothing is noted as reconciled.
 */
export async function reconcile(
  reconciler: Reconciler,
  link: Link,
  options: ReconcileOptions = {},
): Promise<ReconcileReport> {
  await reconciler.linkRecords.bind(link.name, link.primary.id);
  const lock = await takeLock(reconciler, link);
  try {
    const found = await compare(reconciler, link, {
      signal: options.signal,
      full: options.full,
      moved: (compared) => moveOn(lock, 'comparing', compared, options),
    });
    const comparison = await keepVanished(reconciler, link, found, options.acceptVanished);
    const accepted = await keepHeld(reconciler, link, comparison, options.acceptChanges);
    const chosen = await options.confirm?.(comparison);
    if (options.confirm === undefined) await brake(lock, link, comparison, options.allowChanges ?? 0);
    const asked = await askAll(reconciler, link, { comparison, chosen, lock, options });
    await reconciler.linkRecords.noteReconciled(link.name, comparison.compared, comparison.startedAt);
    await lock.complete(comparison);
    await answerAsked(reconciler, link, comparison.startedAt);
    await wake(reconciler, link, [...accepted, ...asked.first]);
    tellOfElements(reconciler, link, comparison);
    const { listed, included, expired, retained, unmarked, notListed, notRead, passedOver, pages, vanished, held } =
      comparison;
    const seen = { listed, included, expired, retained, unmarked, notListed, notRead, passedOver, pages };
    return {
      ...{ link: link.name, ...seen, asked: asked.counts },
      ...(vanished === undefined ? {} : { vanished: vanishedSummary(vanished) }),
      ...(held === undefined || options.acceptChanges !== undefined ? {} : { held: heldSummary(held) }),
    };
  } catch (thrown) {
    // A person's word that fits no more is no failure of a reconcile.
    const { code } = asCodedError(thrown);
    if (code === 'reconcile_vanished_changed' || code === 'reconcile_held_changed') await lock.release();
    await lock.fail(thrown, options.signal?.aborted === true);
    throw thrown;
  }
}

/**
 * What holds this reconcile back without a person; `undefined` if nothing does. Adding copies needs
 * nobody: only what writes over copies, or would count them as bereaved, is counted, and not what
 * was counted before and still waits. However few there are, the loss of all of them needs a
 * person.
 */
export function brakeOf(link: Link, comparison: Comparison, now: number): Brake | undefined {
  const { changing, vanishing, copied, vanished } = comparison;
  const allowed = allowedShare(link, copied, link.policy.brakeLeast?.listed);
  const emptied = vanishing > 0 && vanished?.left === 0;
  return changing + vanishing > allowed || emptied ? { at: now, changing, vanishing, copied, allowed } : undefined;
}

/**
 * Notes what is gone from the primary, for status, metrics and the next run, and tells it once; or,
 * where a person says that exactly this is meant, notes that, and answers the comparison without
 * it.
 */
async function keepVanished(
  { linkRecords, records, runtime, log }: Reconciler,
  link: Link,
  comparison: Comparison,
  accepted: string | undefined,
): Promise<Comparison> {
  const { vanished, vanishedBefore: standing } = comparison;
  if (vanished?.id !== standing?.id) {
    await linkRecords.noteVanished(link.name, vanished && vanishedSummary(vanished));
    if (vanished !== undefined) log('error', 'originals_vanished', { link: link.name, ...vanishedSummary(vanished) });
    else log('info', 'originals_back', { link: link.name, id: standing?.id });
  }
  if (accepted === undefined) return comparison;
  if (vanished?.id !== accepted) {
    const now = vanished === undefined ? 'nothing that has to be accepted' : `${vanished.id}: ${goneWords(vanished)}`;
    throw new CodedError(
      'reconcile_vanished_changed',
      `what is gone from the primary is ${now}, and not ${accepted}: nothing was accepted`,
      { fields: { link: link.name, id: vanished?.id, wanted: accepted } },
    );
  }
  const at = runtime.now();
  for (const batch of batchesOf(vanished.certificates, concurrency))
    await Promise.all(batch.map((certificate) => records.acceptGone(link.name, certificate, at)));
  await linkRecords.acceptVanished(link.name, vanishedSummary(vanished), at);
  log('warn', 'vanished_accepted', { link: link.name, ...vanishedSummary(vanished) });
  const { vanished: _accepted, ...rest } = comparison;
  return { ...rest, vanishing: 0 };
}

/**
 * Lets go of the brake where nothing is left that it keeps; or, where a person says that exactly
 * this is meant, notes that, asks for all of it, and answers the first of them, to be woken.
 */
async function keepHeld(
  { linkRecords, records, runtime, timing, log }: Reconciler,
  link: Link,
  { held, startedAt }: Comparison,
  accepted: string | undefined,
): Promise<readonly string[]> {
  if (accepted !== undefined && held?.id !== accepted) {
    const now = held === undefined ? 'nothing' : `${held.id}: ${held.certificates} certificates`;
    throw new CodedError(
      'reconcile_held_changed',
      `what the brake keeps is ${now}, and not ${accepted}: nothing was accepted`,
      { fields: { link: link.name, id: held?.id, wanted: accepted } },
    );
  }
  const first: string[] = [];
  if (accepted !== undefined && held !== undefined) {
    for (const batch of batchesOf(held.contents, concurrency))
      await Promise.all(
        batch.map(({ certificate, fingerprint: acceptedContent }) =>
          records.ask({ link: link.name, certificate, now: runtime.now(), acceptedContent }),
        ),
      );
    first.push(...held.contents.slice(0, limits.reconcileWakes).map(({ certificate }) => certificate));
    log('warn', 'changes_accepted', { link: link.name, id: held.id, certificates: held.certificates });
  }
  // A pass that has made it hold a moment ago has not written down yet whom it caught.
  const before = accepted === undefined ? startedAt - timing.leaseMs : runtime.now() + 1;
  for (const kind of Object.values(brakeCodes))
    if (accepted !== undefined || (held?.kinds[kind] ?? 0) === 0)
      await linkRecords.releaseBrake(link.name, kind, before);
  return first;
}

const goneWords = ({ gone, of }: Vanished) => `${gone} of ${of} originals are gone`;

async function brake(lock: ReconcileLock, link: Link, comparison: Comparison, allowChanges: number): Promise<void> {
  const held = brakeOf(link, comparison, comparison.startedAt);
  if (held === undefined || held.changing + held.vanishing <= allowChanges) return;
  await lock.brake(held);
  const { changing, vanishing, copied, allowed } = held;
  const { vanished } = comparison;
  if (vanished !== undefined && changing <= allowed) {
    const left = vanished.left === 0 ? ', and nothing is left there' : '';
    throw new CodedError(
      'reconcile_vanished',
      `${goneWords(vanished)} from the primary${left}: nothing was changed. This loss is ${vanished.id}`,
      { fields: { link: link.name, ...vanishedSummary(vanished), changing, vanishing, copied, allowed } },
    );
  }
  throw new CodedError(
    'reconcile_brake',
    `${changing} of ${copied} copies would be written over and ${vanishing} originals are gone, and ${allowed} are allowed ` +
      'without a person: nothing was changed',
    { fields: { link: link.name, changing, vanishing, copied, allowed } },
  );
}

async function askAll(
  reconciler: Reconciler,
  link: Link,
  run: {
    readonly comparison: Comparison;
    readonly chosen: ReadonlySet<string> | undefined;
    readonly lock: ReconcileLock;
    readonly options: ReconcileOptions;
  },
): Promise<{ readonly counts: Comparison['counts']; readonly first: readonly string[] }> {
  const { comparison, chosen, lock, options } = run;
  const { asks } = comparison;
  const counts: Partial<Record<Reason, number>> = {};
  const first: string[] = [];
  // What a person has said yes to is not counted by a pass: exactly this plan, or at least so many
  // as may have changed.
  const isAllowed = chosen !== undefined || (options.allowChanges ?? 0) >= comparison.unannounced.size;
  const saidYes = new Set(isAllowed ? comparison.unannounced.keys() : []);
  const settled = new Map(link.backups.map((store) => [store.id, settledMs(store, reconciler.timing)]));
  let done = 0;
  for (const batch of batchesOf(asks.keys(), concurrency)) {
    options.signal?.throwIfAborted();
    const wanted = batch.filter((certificate) => chosen?.has(certificate) ?? true);
    await Promise.all(
      wanted.map(async (certificate) => {
        const reason = asks.get(certificate) as Reason;
        const now = reconciler.runtime.now();
        const doubted = doubtedIn(comparison, certificate);
        const doubts = doubted.map((store) => [store, now + (settled.get(store) ?? 0)] as const);
        await reconciler.records.ask({
          link: link.name,
          certificate,
          now,
          ...(doubts.length > 0 ? { doubts: Object.fromEntries(doubts) } : ifStillKnown(reason)),
          ...(reason === 'removal-due' ? { removalAskedAt: now } : {}),
          ...(saidYes.has(certificate) ? { unannouncedAt: null } : unannouncedBy(comparison, certificate, reason, now)),
        });
        counts[reason] = (counts[reason] ?? 0) + 1;
        if (first.length < limits.reconcileWakes) first.push(certificate);
      }),
    );
    done += wanted.length;
    await moveOn(lock, 'asking', done, options);
  }
  return { counts, first };
}

/**
 * What is only in the table may never have been in the primary, and may have been forgotten since
 * it was read.
 */
const ifStillKnown = (reason: Reason) => (reason === 'gone-from-primary' ? { ifKnown: true as const } : {});

/** What was seen to differ was counted by this reconcile, and must not be once more by the pass. */
function unannouncedBy({ unannounced }: Comparison, certificate: string, reason: Reason, now: number) {
  if (unannounced.get(certificate) !== undefined) return { unannouncedAt: now };
  return overwrites.has(reason) ? { unannouncedAt: null } : {};
}

const concurrency = 32;

async function moveOn(lock: ReconcileLock, step: ReconcileStep, done: number, { progress }: ReconcileOptions) {
  progress?.(step, done);
  await lock.keep(step, done);
}

/** In the log: what no record tells of, each by its place, and how much was passed over. */
function tellOfElements({ log }: Reconciler, link: Link, { notRead, passedOver }: Comparison): void {
  for (const { store, place, error } of notRead)
    log('warn', 'element_unreadable', { link: link.name, store, place, ...errorFields(error) });
  if (passedOver.count === 0) return;
  const first = passedOver.first.slice(0, placesLogged).map(({ place, reason }) => `${place}: ${reason}`);
  log('info', 'elements_passed_over', { link: link.name, count: passedOver.count, first });
}

const placesLogged = 10;

/**
 * Wakes workers only now: a pass before the first reconcile is noted would have to list the backup
 * for each certificate.
 */
async function wake({ dispatch, log }: Reconciler, link: Link, certificates: readonly string[]): Promise<void> {
  if (certificates.length === 0) return;
  try {
    await dispatch.dispatch(certificates.map((certificate) => ({ link: link.name, certificate })));
  } catch (thrown) {
    log('warn', 'dispatch_failed', { link: link.name, ...errorFields(asCodedError(thrown)) });
  }
}
