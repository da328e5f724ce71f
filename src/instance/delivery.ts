import { setMaxListeners } from 'node:events';
import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { Along } from './certificate-rows.ts';
import type { Channel, Channels } from './channels.ts';
import {
  type ChangeEvent,
  type ChannelEvent,
  certificateItem,
  claimsOf,
  type EventItem,
  type InstanceEvent,
  isChannelEvent,
  isFor,
  slackMessage,
  testItem,
} from './events.ts';
import type { ChannelVersion, Instance } from './instance.ts';
import { lanes } from './lane.ts';
import {
  type DeadLetter,
  type Notification,
  type NotificationRows,
  notificationId,
  type Pending,
} from './notification-rows.ts';
import type { Delivery, Poster } from './post.ts';
import { signToken } from './token.ts';

/** How often and how patiently a notification is delivered. */
export interface DeliveryPolicy {
  readonly attempts: number;
  /** The first wait is up to this, each further one up to twice as long as the one before. */
  readonly firstWaitMs: number;
  /** No wait by ourselves is longer. */
  readonly longestWaitMs: number;
  /** No wait that a `Retry-After` asks for is longer. */
  readonly longestRetryAfterMs: number;
  /** How long one request may take. */
  readonly requestMs: number;
  /** Notifications that may be on their way to one channel. */
  readonly waiting: number;
  /** How often the table is asked for notifications that a process has left behind. */
  readonly sweepMs: number;
}

/** Eight attempts over about two minutes, at most four. */
export const defaultDeliveryPolicy: DeliveryPolicy = {
  attempts: 8,
  firstWaitMs: 2_000,
  longestWaitMs: 120_000,
  longestRetryAfterMs: 600_000,
  requestMs: 10_000,
  waiting: limits.deliveriesWaiting,
  sweepMs: 60_000,
};

/** How long after a request could have ended its notification may be taken by somebody else. */
const leaseMarginMs = 5_000;
/** How long a change may take to come into force after its notification was written: more than the 10 minutes that it is given. */
const changeMs = 15 * 60_000;
const changeLookMs = 60_000;

/**
 * Makes a change that is told to the channels: the notifications are on the table before the change is made, or it is not made. A
 * change that comes to `undefined` found nothing to change, and is not told.
 */
export type Announce = <T>(type: ChangeEvent, change: (along: Along) => Promise<T>) => Promise<T>;

/**
 * Tells the channels of one instance what happened. A notification is a row on the table from before the change that it tells of is
 * made until it is delivered or given up: a process that is killed is continued by the next one. Callers never wait for a delivery: each
 * channel is served beside the others, each notification beside the others, in no promised order. A notification may arrive twice.
 */
export function delivery(context: {
  instance: Instance;
  channels: Channels;
  rows: NotificationRows;
  poster: Poster;
  /** Whether the change of a certificate has been made: it has this version, or a later one, or is gone. */
  changed: (type: InstanceEvent['type'], change: { readonly id: string; readonly version: number }) => Promise<boolean>;
  runtime: Runtime;
  log: Log;
  policy: DeliveryPolicy;
}) {
  const { instance, channels, rows, poster, changed, runtime, log, policy } = context;
  const stop = new AbortController();
  // Every notification under way listens to it; that many are no leak.
  setMaxListeners(0, stop.signal);
  const underWay = new Set<Promise<void>>();
  const ours = new Set<string>();
  const waiting = new Map<string, number>();
  const lane = lanes(limits.deliveriesAtOnce);
  const leaseMs = policy.requestMs + leaseMarginMs;
  const tokens = new WeakMap<InstanceEvent, Map<ChannelVersion, Promise<string>>>();

  function start(work: Promise<void>): void {
    const watched: Promise<void> = work
      .catch((error) => log('error', 'instance_delivery_broken', errorFields(asCodedError(error))))
      .finally(() => underWay.delete(watched));
    underWay.add(watched);
  }

  /** The body of a request. An event is signed at most once for each payload version. */
  async function bodyOf({ type, version, event }: Notification): Promise<string> {
    if (type === 'slack') return JSON.stringify(slackMessage(instance, event));
    const signed = tokens.get(event) ?? new Map<ChannelVersion, Promise<string>>();
    tokens.set(event, signed);
    const token = signed.get(version) ?? signToken(claimsOf(instance, event, version), instance.signingKey);
    signed.set(version, token);
    return JSON.stringify({ data: await token });
  }

  function eventOf(type: InstanceEvent['type'], items: readonly EventItem[]): InstanceEvent {
    return { id: runtime.newId(), type, at: runtime.now(), items };
  }

  function notificationFor(channel: Channel, event: InstanceEvent, change?: Notification['change']): Pending {
    return {
      id: notificationId(event.at, runtime.newId()),
      channel: channel.id,
      type: channel.type,
      version: channel.version,
      event,
      ...(change !== undefined && { change }),
      attempts: 0,
      wakeAt: runtime.now() + leaseMs,
    };
  }

  /** Waits; false if the server is stopping. */
  async function pause(milliseconds: number): Promise<boolean> {
    try {
      await runtime.wait(milliseconds, stop.signal);
    } catch {
      return false;
    }
    return !stop.signal.aborted;
  }

  function backoff(attempt: number, askedMs = 0): number {
    const ownMs = runtime.random() * Math.min(policy.longestWaitMs, policy.firstWaitMs * 2 ** (attempt - 1));
    return Math.max(ownMs, Math.min(askedMs, policy.longestRetryAfterMs));
  }

  const isFull = (channel: string) => (waiting.get(channel) ?? 0) >= policy.waiting;

  /** Holds a place of the channel, and the notification against our own sweep, while the work goes on. */
  async function holding(notification: Notification, work: () => Promise<void>): Promise<void> {
    const { id, channel } = notification;
    if (ours.has(id)) return;
    ours.add(id);
    waiting.set(channel, (waiting.get(channel) ?? 0) + 1);
    try {
      await work();
    } finally {
      ours.delete(id);
      const rest = (waiting.get(channel) ?? 1) - 1;
      if (rest === 0) waiting.delete(channel);
      else waiting.set(channel, rest);
    }
  }

  /** Attempts until it is delivered, given up, or no longer ours. The first goes to the channel as given. */
  async function deliver(first: Pending, to: Channel | undefined): Promise<void> {
    const body = await bodyOf(first);
    const facts = factsOf(instance, first);
    let notification = first;
    let channel = to;
    for (;;) {
      if (channel === undefined || !(channel.is_active || isChannelEvent(first.event.type))) {
        log('info', 'instance_notification_dropped', { ...facts, attempt: notification.attempts });
        return rows.remove(notification.id);
      }
      const { held, outcome } = await attempt(notification, channel, body);
      if (held === undefined) return;
      notification = held;
      if (outcome === 'stopped') {
        await rows.take(notification, { wakeAt: runtime.now() });
        return;
      }
      const attempts = notification.attempts + 1;
      if (outcome.ok) {
        log('info', 'instance_notification_delivered', { ...facts, attempt: attempts });
        audit(notification, { outcome: 'success' });
        return rows.remove(notification.id);
      }
      log('warn', 'instance_notification_not_delivered', { ...facts, attempt: attempts, reason: outcome.reason });
      if (outcome.final || attempts >= policy.attempts) return bury({ ...notification, attempts }, outcome.reason);
      const waitMs = backoff(attempts, outcome.retryAfterMs);
      const kept = await rows.take(notification, { wakeAt: runtime.now() + waitMs + leaseMs, attempts });
      if (kept === undefined) return;
      notification = kept;
      if (!(await pause(waitMs))) {
        await rows.take(notification, { wakeAt: runtime.now() });
        return;
      }
      channel = await asItIsNow(channel.id);
    }
  }

  /** One request, when the channel has a place free. Nothing is held if somebody else has taken the notification meanwhile. */
  async function attempt(
    notification: Pending,
    { id, endpoint }: Channel,
    body: string,
  ): Promise<{ readonly held: Pending | undefined; readonly outcome: Delivery | 'stopped' }> {
    return lane.run(id, async () => {
      if (stop.signal.aborted) return { held: notification, outcome: 'stopped' };
      const late = runtime.now() >= notification.wakeAt;
      const held = late ? await rows.take(notification, { wakeAt: runtime.now() + leaseMs }) : notification;
      if (held === undefined) return { held, outcome: 'stopped' };
      const outcome = await poster.post(endpoint, body, { timeoutMs: policy.requestMs, signal: stop.signal });
      return { held, outcome: !outcome.ok && stop.signal.aborted ? 'stopped' : outcome };
    });
  }

  /** The channel as it is now: moved, or switched off since; undefined if it was deleted. */
  async function asItIsNow(id: string): Promise<Channel | undefined> {
    try {
      return await channels.get(id);
    } catch (error) {
      if (error instanceof CodedError && error.code === 'instance_not_found') return undefined;
      throw error;
    }
  }

  async function bury(notification: Notification, reason: string): Promise<void> {
    const { attempts } = notification;
    log('error', 'instance_notification_dead', { ...factsOf(instance, notification), attempts, reason });
    audit(notification, { outcome: 'failure', reason });
    await rows.bury(notification, reason, runtime.now());
  }

  /** Continues what another process, or a failure of the table, has left. */
  async function resume(left: Pending): Promise<void> {
    const waitMs = left.wakeAt - runtime.now();
    if (waitMs > 0 && !(await pause(waitMs))) return;
    const taken = await rows.take(left, { wakeAt: runtime.now() + leaseMs });
    if (taken === undefined) return;
    const { change, event } = taken;
    if (change !== undefined && !(await changed(event.type, change))) {
      if (runtime.now() - event.at < changeMs) {
        await rows.take(taken, { wakeAt: runtime.now() + changeLookMs });
        return;
      }
      log('info', 'instance_notification_dropped', {
        ...factsOf(instance, taken),
        reason: 'the change was never made',
      });
      return rows.remove(taken.id);
    }
    await deliver(taken, await asItIsNow(taken.channel));
  }

  async function sweep(until: number): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await rows.due(until, cursor);
      if (stop.signal.aborted) return;
      for (const left of page.pending) {
        if (!ours.has(left.id) && !isFull(left.channel)) start(holding(left, () => resume(left)));
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  function audit(notification: Notification, outcome: { readonly outcome: string; readonly reason?: string }): void {
    const { event_type, channel, certificates } = factsOf(instance, notification);
    log('info', 'audit', {
      action: 'cloudcerts.notification.send',
      initiator: 'instance',
      instance: instance.crn,
      channel,
      event_type,
      certificates,
      ...outcome,
    });
  }

  /** Writes notifications of one channel alone, and sends them. */
  async function tell(channel: Channel, event: InstanceEvent): Promise<void> {
    const notification = notificationFor(channel, event);
    await rows.put(notification);
    start(holding(notification, () => deliver(notification, channel)));
  }

  const announce: Announce = async (type, change) => {
    let written: readonly { readonly notification: Pending; readonly channel: Channel }[] = [];
    const along: Along = async (coming) => {
      const before = written;
      const item = certificateItem(instance.crn, coming);
      const event = eventOf(type, [item]);
      const those = (await channels.list()).filter((channel) => channel.is_active && isFor(channel, type));
      written = those.map((channel) => ({
        channel,
        notification: notificationFor(channel, event, { id: coming.id, version: coming.version }),
      }));
      return () =>
        Promise.all([
          ...written.map(({ notification }) => rows.put(notification)),
          ...before.map(({ notification }) => rows.remove(notification.id)),
        ]);
    };
    const withdraw = () =>
      start(Promise.all(written.map(({ notification }) => rows.remove(notification.id))).then(() => undefined));
    try {
      const made = await change(along);
      if (made === undefined) withdraw();
      for (const { notification, channel } of made === undefined ? [] : written) {
        if (isFull(channel.id)) start(bury(notification, 'too many notifications wait for this channel'));
        else start(holding(notification, () => deliver(notification, channel)));
      }
      return made;
    } catch (error) {
      // Where nobody knows whether it was made, the sweep will see.
      if (error instanceof CodedError && error.entry.applied === 'no') withdraw();
      throw error;
    }
  };

  start(sweep(Number.MAX_SAFE_INTEGER));
  const sweeping = setInterval(() => start(sweep(runtime.now())), policy.sweepMs).unref();

  return {
    announce,

    /** Tells every channel of this that wants to know; for events that no request makes. */
    async publish(type: InstanceEvent['type'], items: readonly EventItem[]): Promise<void> {
      const event = eventOf(type, items);
      const those = (await channels.list()).filter((channel) => channel.is_active && isFor(channel, type));
      await Promise.all(those.map((channel) => tell(channel, event)));
    },

    /** Tells one channel what happens to it, also if it is switched off. Resolves when that is on the table. */
    async tellChannel(type: ChannelEvent, channel: Channel): Promise<void> {
      if (isFor(channel, type)) await tell(channel, eventOf(type, [testItem(instance.crn, runtime.now())]));
    },

    /** Sends a dead letter again, with all its attempts, to its channel as it is now. */
    async resend(letter: DeadLetter, channel: Channel): Promise<void> {
      const { id, event, version, type } = letter;
      const again: Pending = {
        id,
        channel: channel.id,
        type,
        version,
        event,
        attempts: 0,
        wakeAt: runtime.now() + leaseMs,
      };
      await rows.put(again);
      await rows.removeLetter(id);
      start(holding(again, () => deliver(again, channel)));
    },

    /** Ends waits and requests. What was not delivered stays on the table, due at once. Resolves when nothing is under way. */
    async close(): Promise<void> {
      stop.abort();
      clearInterval(sweeping);
      while (underWay.size > 0) await Promise.all(underWay);
      poster.close();
    },
  };
}

export type Deliveries = ReturnType<typeof delivery>;

function factsOf(instance: Pick<Instance, 'crn'>, { channel, event }: Notification) {
  return {
    instance: instance.crn,
    channel,
    event_type: event.type,
    certificates: isChannelEvent(event.type) ? undefined : event.items.map(({ cert_crn }) => cert_crn),
  };
}
