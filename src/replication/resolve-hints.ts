import { defined } from '../defined.ts';
import { type Dispatch, hintsWake } from '../dispatch/dispatch.ts';
import { asCodedError } from '../errors.ts';
import { visibleWithin } from '../foreign-text.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { WaitingHint } from '../records/waiting-hint-records.ts';
import type { Runtime } from '../runtime.ts';
import type { Link } from './link.ts';
import { batchesOf } from './reconcile/compare.ts';
import { listAll } from './shared-listing.ts';
import type { Timing } from './timing.ts';

/** What a worker needs that finds out what hints mean. */
export interface HintResolver {
  readonly records: ReplicationRecords;
  readonly linkRecords: LinkRecords;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly timing: Timing;
  readonly log: Log;
}

/** What became of the hints of a link. */
export interface ResolvedHints {
  /** Certificates that were asked for. */
  readonly asked: number;
  /** Hints that nothing in the primary answers to, and that are forgotten. */
  readonly unmatched: number;
  /** When the next one is due, if that is known; epoch milliseconds. */
  readonly again?: number;
}

/** Writes to the table at one time. */
const concurrency = 32;
/** Hints without a match that one line of the log names. */
const hintsLogged = 10;

/**
 * Finds out which certificates the hints of a link mean that are due, and asks for each of them: by
 * one listing of the primary for all, which begins once in `toldEveryMs` at most. A hint is
 * forgotten only when its certificates are asked for, and when no listing that is still to come
 * could show another one: so a crash anywhere has it looked at once more.
 *
 * A name is what the listing says when it is looked for: a certificate that was given another name
 * since then is found by reconcile. Throws when the table cannot be asked. Where the primary cannot
 * be listed, everything waits for the next wake-up.
 */
export async function resolveHints(resolver: HintResolver, link: Link): Promise<ResolvedHints> {
  const { linkRecords, runtime, timing, log } = resolver;
  const { hints, damaged } = await linkRecords.hintsDue(link.name, runtime.now(), limits.hintsAtOnce);
  for (const error of damaged) log('error', 'hint_unreadable', { link: link.name, ...errorFields(error) });
  let asked = 0;
  for (const hint of hints.filter(({ by }) => by === 'id')) {
    asked += await askFor(resolver, link, hint, [hint.text]);
    await linkRecords.forgetHint(link.name, hint);
  }
  const sought = hints.filter(({ by }) => by !== 'id');
  if (sought.length === 0) return { asked, unmatched: 0 };

  const busyUntil = await linkRecords.claimListing(link.name, runtime.now(), timing.toldEveryMs);
  if (busyUntil !== undefined) return { asked, unmatched: 0, again: busyUntil };
  const beganAt = runtime.now();
  const matches = await matchesIn(resolver, link, sought).catch((thrown: unknown) =>
    standIn(resolver, link, sought, thrown),
  );
  if (matches === undefined) return { asked, unmatched: 0 };

  const unmatched: WaitingHint[] = [];
  let again: number | undefined;
  for (const hint of sought) {
    const ids = matches.get(hint) ?? [];
    asked += await askFor(resolver, link, hint, ids);
    const settledAt = settlesAt(link, hint, ids.length > 0, timing);
    if (settledAt !== undefined && beganAt < settledAt) {
      again = Math.min(settledAt, again ?? settledAt);
      await linkRecords.putOffHint(link.name, hint, settledAt);
      continue;
    }
    if (ids.length === 0) unmatched.push(hint);
    await linkRecords.forgetHint(link.name, hint);
  }
  tellOf(resolver, link, unmatched);
  return { asked, unmatched: unmatched.length, ...defined({ again }) };
}

/**
 * From when on a listing tells everything about a hint: what was acknowledged is in it then.
 * `undefined`: at any moment. What nothing answers to may be new there, and is not taken for
 * nothing before direct reads would know of it too.
 */
function settlesAt(link: Link, { toldAt }: WaitingHint, matched: boolean, timing: Timing): number | undefined {
  const { listingLagMs, readSettlesMs } = link.primary.abilities;
  const lagMs = matched ? listingLagMs : listingLagMs + readSettlesMs;
  return lagMs === 0 ? undefined : toldAt + lagMs + timing.skewMs;
}

/** Has certificates looked at that a hint means, and wakes workers for them. Answers how many. */
async function askFor(
  { records, dispatch, runtime, log }: HintResolver,
  link: Link,
  { eventAt, occurredAt, toldBy }: WaitingHint,
  certificates: readonly string[],
): Promise<number> {
  const holdable = certificates.filter((certificate) => records.canHold(link.name, certificate));
  for (const batch of batchesOf(holdable, concurrency)) {
    const now = runtime.now();
    // By the moment of asking, so that what a later event has set is never lowered.
    const signed = { eventAt: now, ...defined({ occurredAt }) };
    const moments = eventAt === undefined ? { toldAt: now } : signed;
    await Promise.all(
      batch.map((certificate) => records.ask({ link: link.name, certificate, now, toldBy, ...moments })),
    );
    try {
      await dispatch.dispatch(batch.map((certificate) => ({ link: link.name, certificate })));
    } catch (thrown) {
      log('warn', 'dispatch_failed', { link: link.name, ...errorFields(asCodedError(thrown)) });
    }
  }
  return holdable.length;
}

/**
 * The ids that each hint means, by one listing of the primary. What is listed and cannot be read
 * counts: it is there.
 */
async function matchesIn(
  { runtime }: HintResolver,
  link: Link,
  hints: readonly WaitingHint[],
): Promise<ReadonlyMap<WaitingHint, readonly string[]>> {
  const matches = new Map<WaitingHint, Set<string>>(hints.map((hint) => [hint, new Set()]));
  const byName = new Map(hints.filter(({ by }) => by === 'name').map((hint) => [hint.text, hint]));
  const byStart = new Map(hints.filter(({ by }) => by === 'id-start').map((hint) => [hint.text, hint]));
  const lengths = new Set([...byStart.keys()].map(({ length }) => length));
  const note = (id: string, name: string | undefined) => {
    const named = name === undefined ? undefined : byName.get(name);
    if (named !== undefined) matches.get(named)?.add(id);
    for (const length of lengths) {
      const begun = byStart.get(id.slice(0, length));
      if (begun !== undefined) matches.get(begun)?.add(id);
    }
  };
  const unreadable = ({ id, name }: { readonly id?: string; readonly name?: string }) => {
    if (id !== undefined) note(id, name);
  };
  for await (const { id, name } of listAll(link.primary, { unreadable, runtime })) note(id, name);
  return new Map([...matches].map(([hint, ids]) => [hint, [...ids]]));
}

/**
 * The primary cannot be listed. The hints wait; but where as many wait as one listing looks for, a
 * reconcile takes their place, so that their number stays bounded for however long it lasts.
 */
async function standIn(
  { linkRecords, runtime, log }: HintResolver,
  link: Link,
  hints: readonly WaitingHint[],
  thrown: unknown,
): Promise<undefined> {
  log('warn', 'hints_wait', { link: link.name, hints: hints.length, ...errorFields(asCodedError(thrown)) });
  if (hints.length < limits.hintsAtOnce) return;
  await linkRecords.askReconcile(link.name, runtime.now());
  for (const hint of hints) await linkRecords.forgetHint(link.name, hint);
}

/** In the log: what nothing answered to, the first of it by its text, which is somebody else's. */
function tellOf({ log }: HintResolver, link: Link, unmatched: readonly WaitingHint[]): void {
  if (unmatched.length === 0) return;
  const words = ({ by, text }: WaitingHint) => `${by} ${visibleWithin(text, limits.notificationTextCharacters)}`;
  const first = unmatched.slice(0, hintsLogged).map(words);
  log('info', 'hints_match_nothing', { link: link.name, count: unmatched.length, first });
}

/**
 * Wakes a worker for the hints of a link, if any is due. Throws what the table and the dispatch
 * throw.
 */
export async function wakeHints(
  { linkRecords, dispatch, runtime }: Pick<HintResolver, 'linkRecords' | 'dispatch' | 'runtime'>,
  link: Pick<Link, 'name'>,
): Promise<void> {
  if (await linkRecords.hasHintsDue(link.name, runtime.now())) await dispatch.dispatch([hintsWake(link.name)]);
}
