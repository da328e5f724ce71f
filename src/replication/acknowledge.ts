import { defined } from '../defined.ts';
import { type Dispatch, hintsWake, type Wake, wakeKey } from '../dispatch/dispatch.ts';
import { asCodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { IdempotencyRecords } from '../records/idempotency-records.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type { RecordRequests } from '../records/record-requests.ts';
import type { Runtime } from '../runtime.ts';
import type { Hint, LifecycleEvent } from '../sender/event.ts';
import type { Timing } from './timing.ts';

export interface Intake {
  readonly records: RecordRequests;
  readonly notifications: IdempotencyRecords;
  /** Where hints are kept, and what senders may cost who do not sign what they say. */
  readonly linkRecords: Pick<LinkRecords, 'keepHint' | 'tellWaitingHint' | 'takeFromBudget' | 'askReconcile'>;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly timing: Timing;
  readonly log: Log;
}

/**
 * What came of one event for one link, once it is durable. The wake-ups may be lost without harm.
 */
interface Taken {
  readonly answer: 'new' | 'repeat';
  readonly wakes: readonly (Wake & { readonly delayMs?: number })[];
}

/**
 * Makes "what these events name must be looked at again" durable for each of these links, all side
 * by side, then wakes workers. Resolves after the writes; no certificate service is called.
 * `repeat` if every event was seen before on every link: a repeat is not dispatched, whatever the
 * number of repeats; it is due, and the sweep looks once. It must be looked at, because two genuine
 * notifications can be the same bytes. Throws `table_unavailable` if not all could be written. What
 * could be is durable and woken all the same; the sender's next try counts as new for the events
 * that failed. `toldBy`: who told, as the log names senders.
 */
export async function acknowledge(
  intake: Intake,
  links: readonly string[],
  events: readonly LifecycleEvent[],
  toldBy?: string,
): Promise<'new' | 'repeat'> {
  const results = await Promise.allSettled(
    links.flatMap((link) => events.map((event) => take(intake, { link, toldBy }, event))),
  );
  const taken = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  await wake(
    intake,
    taken.flatMap(({ wakes }) => wakes),
  );
  throwFirst(results);
  return taken.some(({ answer }) => answer === 'new') ? 'new' : 'repeat';
}

/** For which link an event is taken, and who told. */
interface Told {
  readonly link: string;
  readonly toldBy: string | undefined;
}

const take = (intake: Intake, told: Told, event: LifecycleEvent): Promise<Taken> =>
  event.unsigned === true ? takeUnsigned(intake, told, event) : takeSigned(intake, told, event);

/** One event of a sender that signs what it says: nobody has made up what it names. */
async function takeSigned(intake: Intake, { link, toldBy }: Told, event: LifecycleEvent): Promise<Taken> {
  const { records, notifications, linkRecords, runtime, timing } = intake;
  const now = runtime.now();
  const occurredAt = event.occurredAt === undefined ? undefined : Math.min(event.occurredAt, now);
  const certificates = event.certificates.map(({ id }) => id);
  const { hints = [] } = event;

  const remembering = notifications.remember({
    link,
    digest: event.digest,
    type: event.type,
    now,
    keepMs: timing.notificationKeepMs,
  });
  const asking = certificates.map((certificate) =>
    records.canHold(link, certificate)
      ? records.ask({ link, certificate, now, eventAt: now, toldBy, ...defined({ occurredAt }) })
      : linkRecords.askReconcile(link, now),
  );
  const keeping = hints.map((hint) =>
    canKeep(hint)
      ? linkRecords.keepHint(link, hint, { now, eventAt: now, occurredAt, toldBy })
      : linkRecords.askReconcile(link, now),
  );
  const comparing = event.something === true ? [linkRecords.askReconcile(link, now)] : [];
  const [remembered, ...asked] = await Promise.allSettled([remembering, ...asking, ...keeping, ...comparing]);
  const failed = [remembered, ...asked].find((result) => result.status === 'rejected');
  if (failed?.status === 'rejected') {
    await notifications.forget(link, event.digest).catch(() => undefined);
    throw asCodedError(failed.reason);
  }
  const isNew = remembered.status === 'fulfilled' && remembered.value;
  if (!isNew) return { answer: 'repeat', wakes: [] };
  const wakes = certificates
    .filter((certificate) => records.canHold(link, certificate))
    .map((certificate) => ({ link, certificate }));
  return { answer: 'new', wakes: hints.length === 0 ? wakes : [...wakes, hintsWake(link)] };
}

/**
 * One event of a sender that proved itself and not what it says. It is not remembered: a sender
 * could fill the table with event ids. What is known is looked at once in a while; what is not
 * known takes from a budget, and beyond that one reconcile looks for all of it. Nothing of its
 * times is kept.
 */
async function takeUnsigned(
  intake: Intake,
  told: Told,
  { certificates, hints = [], something }: LifecycleEvent,
): Promise<Taken> {
  const results = await Promise.allSettled([
    ...(something === true ? [askReconcile(intake, told.link)] : []),
    ...certificates.map(({ id }) => tellCertificate(intake, told, id)),
    ...hints.map((hint) => tellHint(intake, told, hint)),
  ]);
  throwFirst(results);
  const taken = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const allSeen = taken.length > 0 && taken.every(({ answer }) => answer === 'repeat');
  return { answer: allSeen ? 'repeat' : 'new', wakes: taken.flatMap(({ wakes }) => wakes) };
}

async function tellCertificate(intake: Intake, { link, toldBy }: Told, certificate: string): Promise<Taken> {
  const { records, linkRecords, runtime, timing } = intake;
  const now = runtime.now();
  if (!records.canHold(link, certificate)) return askReconcile(intake, link);
  const outcome = await records.tell({ link, certificate, now, everyMs: timing.toldEveryMs, toldBy });
  const looked: Taken = { answer: 'new', wakes: [{ link, certificate }] };
  if (outcome === 'asked') return looked;
  if (outcome !== 'unknown') {
    // The last word of many is looked at when its time has come, even if this process is gone by
    // then.
    await linkRecords.keepHint(link, { by: 'id', text: certificate }, { now, wakeAt: outcome.again, toldBy });
    return { answer: 'repeat', wakes: [{ ...hintsWake(link), delayMs: outcome.again - now }] };
  }
  if (!(await linkRecords.takeFromBudget(link, now, timing.unknownPerMinute))) return askReconcile(intake, link);
  await records.tellNew({ link, certificate, now, toldBy });
  return looked;
}

async function tellHint(intake: Intake, { link, toldBy }: Told, hint: Hint): Promise<Taken> {
  const { linkRecords, runtime, timing } = intake;
  const now = runtime.now();
  if (!canKeep(hint)) return askReconcile(intake, link);
  const wakes = [hintsWake(link)];
  if (await linkRecords.tellWaitingHint(link, hint, { now, toldBy })) return { answer: 'repeat', wakes };
  if (!(await linkRecords.takeFromBudget(link, now, timing.unknownPerMinute))) return askReconcile(intake, link);
  await linkRecords.keepHint(link, hint, { now, toldBy });
  return { answer: 'new', wakes };
}

/** Has everything compared instead. Nobody is woken: it waits for the end of what asks for it. */
async function askReconcile({ linkRecords, runtime }: Intake, link: string): Promise<Taken> {
  await linkRecords.askReconcile(link, runtime.now());
  return { answer: 'new', wakes: [] };
}

const canKeep = ({ text }: Hint): boolean => text !== '' && text.length <= limits.hintCharacters;

function throwFirst(results: readonly PromiseSettledResult<unknown>[]): void {
  const failed = results.find((result) => result.status === 'rejected');
  if (failed?.status === 'rejected') throw asCodedError(failed.reason);
}

/** Hands each wake-up over once. */
async function wake({ dispatch, log }: Intake, wakes: Taken['wakes']): Promise<void> {
  const soon = new Map<string, Wake>();
  const later = new Map<string, { readonly wake: Wake; readonly delayMs: number }>();
  for (const { delayMs, ...each } of wakes) {
    const key = wakeKey(each);
    if (delayMs === undefined) soon.set(key, each);
    else if (delayMs < (later.get(key)?.delayMs ?? Number.POSITIVE_INFINITY)) later.set(key, { wake: each, delayMs });
  }
  try {
    if (soon.size > 0) await dispatch.dispatch([...soon.values()]);
    for (const { wake: each, delayMs } of later.values()) await dispatch.dispatch([each], { delayMs });
  } catch (thrown) {
    // What was asked for is durable; the sweep wakes it within a minute.
    log('warn', 'dispatch_failed', { link: wakes[0]?.link, ...errorFields(asCodedError(thrown)) });
  }
}
