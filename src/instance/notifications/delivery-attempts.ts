import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import { lanes } from '../rows/lane.ts';
import type { ChannelVersion, Instance } from '../tenants/instance.ts';
import type { Channel, Channels } from './channels.ts';
import { claimsOf, type InstanceEvent, isChannelEvent, slackMessage } from './events.ts';
import type { Notification, NotificationRows, Pending } from './notification-rows.ts';
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

export interface AttemptsContext {
  readonly instance: Instance;
  readonly channels: Channels;
  readonly rows: NotificationRows;
  readonly poster: Poster;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly policy: DeliveryPolicy;
}

/**
 * The way of one notification that is held: attempts, waits between them, and its end. `stop` ends
 * waits and requests.
 */
export function deliveryAttempts(context: AttemptsContext, stop: AbortSignal) {
  const { instance, channels, rows, poster, runtime, log, policy } = context;
  const lane = lanes(limits.deliveriesAtOnce);
  const leaseMs = policy.requestMs + leaseMarginMs;
  const tokens = new WeakMap<InstanceEvent, Map<ChannelVersion, Promise<string>>>();

  /** The body of a request. An event is signed at most once for each payload version. */
  async function bodyOf({ type, version, event }: Notification): Promise<string> {
    if (type === 'slack') return JSON.stringify(slackMessage(instance, event));
    const signed = tokens.get(event) ?? new Map<ChannelVersion, Promise<string>>();
    tokens.set(event, signed);
    const token = signed.get(version) ?? signToken(claimsOf(instance, event, version), instance.signingKey);
    signed.set(version, token);
    return JSON.stringify({ data: await token });
  }

  /** Waits; false if the server is stopping. */
  async function pause(milliseconds: number): Promise<boolean> {
    try {
      await runtime.wait(milliseconds, stop);
    } catch {
      return false;
    }
    return !stop.aborted;
  }

  function backoff(attempt: number, askedMs = 0): number {
    const ownMs = runtime.random() * Math.min(policy.longestWaitMs, policy.firstWaitMs * 2 ** (attempt - 1));
    return Math.max(ownMs, Math.min(askedMs, policy.longestRetryAfterMs));
  }

  /**
   * Attempts until it is delivered, given up, or no longer ours. The first goes to the channel as
   * given.
   */
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

  /**
   * One request, when the channel has a place free. Nothing is held if somebody else has taken the
   * notification meanwhile.
   */
  async function attempt(
    notification: Pending,
    { id, endpoint }: Channel,
    body: string,
  ): Promise<{ readonly held: Pending | undefined; readonly outcome: Delivery | 'stopped' }> {
    return lane.run(id, async () => {
      if (stop.aborted) return { held: notification, outcome: 'stopped' };
      const late = runtime.now() >= notification.wakeAt;
      const held = late ? await rows.take(notification, { wakeAt: runtime.now() + leaseMs }) : notification;
      if (held === undefined) return { held, outcome: 'stopped' };
      const outcome = await poster.post(endpoint, body, { timeoutMs: policy.requestMs, signal: stop });
      return { held, outcome: !outcome.ok && stop.aborted ? 'stopped' : outcome };
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

  return { deliver, bury, pause, asItIsNow, leaseMs };
}

/** What logs say of a notification. */
export function factsOf(instance: Pick<Instance, 'crn'>, { channel, event }: Notification) {
  return {
    instance: instance.crn,
    channel,
    event_type: event.type,
    certificates: isChannelEvent(event.type) ? undefined : event.items.map(({ cert_crn }) => cert_crn),
  };
}
