import { setMaxListeners } from 'node:events';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { errorFields } from '../../log.ts';
import type { WriteBefore } from '../certificates/certificate-rows.ts';
import type { Channel } from './channels.ts';
import { type AttemptsContext, deliveryAttempts, factsOf } from './delivery-attempts.ts';
import {
  type ChangeEvent,
  type ChannelEvent,
  certificateItem,
  type DomainValidation,
  type EventItem,
  type InstanceEvent,
  type ItemExtras,
  isFor,
  testItem,
} from './events.ts';
import { type DeadLetter, type Notification, notificationId, onceId, type Pending } from './notification-rows.ts';

/**
 * How long a change may take to come into force after its notification was written: more than the
 * 10 minutes that it is given.
 */
const changeMs = 15 * 60_000;
const changeLookMs = 60_000;

/**
 * Makes a change that is told to the channels: the notifications are on the table before the change
 * is made, or it is not made. A change that comes to `undefined` found nothing to change, and is
 * not told.
 */
export type Announce = <T>(
  type: ChangeEvent,
  change: (writeBefore: WriteBefore) => Promise<T>,
  extras?: ItemExtras,
) => Promise<T>;

export interface Deliveries {
  readonly announce: Announce;
  /**
   * Tells every channel of this event that wants to know, each once, however often this is called
   * for an event of this id, and in how many processes. Resolves when it is on the table.
   */
  publishOnce(event: InstanceEvent): Promise<void>;
  /**
   * The same about a record that is to be published, or need no longer be. Answers how many
   * channels were told.
   */
  readonly publishValidation: (
    type: 'cert_domain_validation_required' | 'cert_domain_validation_completed',
    item: EventItem,
    validation: DomainValidation,
  ) => Promise<number>;
  /**
   * Tells one channel what happens to it, also if it is switched off. Resolves when that is on the
   * table.
   */
  tellChannel(type: ChannelEvent, channel: Channel): Promise<void>;
  /**
   * Sends the event of a dead letter again, with all its attempts, to its channel as it is now.
   * Under an id of its own: so what may be left of the first one never meets it, and is no longer
   * there once the letter is gone.
   */
  resend(letter: DeadLetter, channel: Channel): Promise<void>;
  /**
   * Ends waits and requests. What was not delivered stays on the table, due at once. Resolves when
   * nothing is under way.
   */
  close(): Promise<void>;
}

/**
 * Tells the channels of one instance what happened. A notification is a row on the table from
 * before the change that it tells of is made until it is delivered or given up: a process that is
 * killed is continued by the next one. Callers never wait for a delivery: each channel is served
 * beside the others, each notification beside the others, in no promised order. A notification may
 * arrive twice.
 */
export function delivery(
  context: AttemptsContext & {
    /**
     * Whether the change of a certificate has been made: it has this version, or a later one, or is
     * gone.
     */
    changed: (
      type: InstanceEvent['type'],
      change: { readonly id: string; readonly version: number },
    ) => Promise<boolean>;
  },
): Deliveries {
  const { instance, channels, rows, poster, changed, runtime, log, policy } = context;
  const stop = new AbortController();
  // Every notification under way listens to it; that many are no leak.
  setMaxListeners(0, stop.signal);
  const underWay = new Set<Promise<void>>();
  const ours = new Set<string>();
  const waiting = new Map<string, number>();
  const { deliver, bury, pause, asItIsNow, leaseMs } = deliveryAttempts(context, stop.signal);

  function start(work: Promise<void>): void {
    const watched: Promise<void> = work
      .catch((error) => log('error', 'instance_delivery_broken', errorFields(asCodedError(error))))
      .finally(() => underWay.delete(watched));
    underWay.add(watched);
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
      ...defined({ change }),
      attempts: 0,
      wakeAt: runtime.now() + leaseMs,
    };
  }

  const isFull = (channel: string) => (waiting.get(channel) ?? 0) >= policy.waiting;

  /**
   * Holds a place of the channel, and the notification against our own sweep, while the work goes
   * on.
   */
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

  /** Continues what another process, or a failure of the table, has left. */
  async function resume(left: Pending): Promise<void> {
    const waitMs = left.wakeAt - runtime.now();
    if (waitMs > 0 && !(await pause(waitMs))) return;
    const taken = await rows.take(left, { wakeAt: runtime.now() + leaseMs });
    if (taken === undefined) return;
    // A process gave it up, and was interrupted before this row was gone.
    if ((await rows.letter(taken.id)) !== undefined) return rows.remove(taken.id);
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
      for (const error of page.unreadable) {
        log('error', 'instance_row_unreadable', { instance: instance.crn, ...errorFields(error) });
      }
      for (const left of page.pending) {
        if (!ours.has(left.id) && !isFull(left.channel)) start(holding(left, () => resume(left)));
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  /** Sends what is on the table, beside whatever else goes on. */
  function send(notification: Pending, channel: Channel): void {
    if (isFull(channel.id)) start(bury(notification, 'too many notifications wait for this channel'));
    else start(holding(notification, () => deliver(notification, channel)));
  }

  /** Writes notifications of one channel alone, and sends them. */
  async function tell(channel: Channel, event: InstanceEvent): Promise<void> {
    const notification = notificationFor(channel, event);
    await rows.put(notification);
    send(notification, channel);
  }

  async function tellAll(event: InstanceEvent): Promise<number> {
    const those = (await channels.list()).filter((channel) => channel.is_active && isFor(channel, event.type));
    await Promise.all(those.map((channel) => tell(channel, event)));
    return those.length;
  }

  const announce: Announce = async (type, change, extras = {}) => {
    let written: readonly { readonly notification: Pending; readonly channel: Channel }[] = [];
    const writeBefore: WriteBefore = async (coming) => {
      const before = written;
      const item = { ...certificateItem(instance.crn, coming), ...extras };
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
      const made = await change(writeBefore);
      if (made === undefined) withdraw();
      else for (const { notification, channel } of written) send(notification, channel);
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

    async publishOnce(event: InstanceEvent): Promise<void> {
      const those = (await channels.list()).filter((channel) => channel.is_active && isFor(channel, event.type));
      const tellOnce = async (channel: Channel) => {
        const notification = { ...notificationFor(channel, event), id: onceId(event, channel.id) };
        // Refused: it was told, or somebody else is at it, or was; then the sweep takes it up.
        if (await rows.put(notification)) send(notification, channel);
      };
      await Promise.all(those.map(tellOnce));
    },

    publishValidation: (
      type: 'cert_domain_validation_required' | 'cert_domain_validation_completed',
      item: EventItem,
      validation: DomainValidation,
    ): Promise<number> => tellAll({ ...eventOf(type, [item]), validation }),

    async tellChannel(type: ChannelEvent, channel: Channel): Promise<void> {
      if (isFor(channel, type)) await tell(channel, eventOf(type, [testItem(instance.crn, runtime.now())]));
    },

    async resend(letter: DeadLetter, channel: Channel): Promise<void> {
      const again = { ...notificationFor(channel, letter.event), type: letter.type, version: letter.version };
      await rows.put(again);
      await rows.remove(letter.id);
      await rows.removeLetter(letter.id);
      send(again, channel);
    },

    async close(): Promise<void> {
      stop.abort();
      clearInterval(sweeping);
      while (underWay.size > 0) await Promise.all(underWay);
      poster.close();
    },
  };
}
