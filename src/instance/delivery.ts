import { setMaxListeners } from 'node:events';
import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';
import type { Channel, Channels } from './channels.ts';
import { type Announce, certificateItem, claimsOf, type InstanceEvent, isFor, testItem } from './events.ts';
import type { ChannelVersion, Instance } from './instance.ts';
import { lanes } from './lane.ts';
import { postToken } from './post.ts';
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
}

/** Eight attempts over about two minutes, at most four. */
export const defaultDeliveryPolicy: DeliveryPolicy = {
  attempts: 8,
  firstWaitMs: 2_000,
  longestWaitMs: 120_000,
  longestRetryAfterMs: 600_000,
  requestMs: 10_000,
  waiting: limits.deliveriesWaiting,
};

const deadLetterSeconds = 30 * 86_400;

/** An event on its way, signed at most once for each payload version. */
interface Outgoing {
  readonly event: InstanceEvent;
  readonly token: (version: ChannelVersion) => Promise<string>;
}

/**
 * Tells the channels of one instance what happened. Callers never wait: each channel is served beside the others, each notification
 * beside the others, in no promised order. A notification may arrive twice; one that cannot be delivered becomes a row among the dead letters.
 */
export function delivery(context: {
  instance: Instance;
  channels: Channels;
  table: Table;
  runtime: Runtime;
  log: Log;
  policy: DeliveryPolicy;
}) {
  const { instance, channels, table, runtime, log, policy } = context;
  const stop = new AbortController();
  // Every notification under way listens to it; that many are no leak.
  setMaxListeners(0, stop.signal);
  const underWay = new Set<Promise<void>>();
  const waiting = new Map<string, number>();
  const lane = lanes(limits.deliveriesAtOnce);

  function start(work: Promise<void>): void {
    const watched: Promise<void> = work
      .catch((error) => log('error', 'instance_delivery_broken', errorFields(asCodedError(error))))
      .finally(() => underWay.delete(watched));
    underWay.add(watched);
  }

  function outgoing(type: InstanceEvent['type'], at: number, item: InstanceEvent['item']): Outgoing {
    const event: InstanceEvent = { id: runtime.newId(), type, at, item };
    const tokens = new Map<ChannelVersion, Promise<string>>();
    return {
      event,
      token(version) {
        const token = tokens.get(version) ?? signToken(claimsOf(instance, event, version), instance.signingKey);
        tokens.set(version, token);
        return token;
      },
    };
  }

  /** Waits before the next attempt; false if the server is stopping. */
  async function pause(attempt: number, askedMs = 0): Promise<boolean> {
    const ownMs = runtime.random() * Math.min(policy.longestWaitMs, policy.firstWaitMs * 2 ** (attempt - 1));
    try {
      await runtime.wait(Math.max(ownMs, Math.min(askedMs, policy.longestRetryAfterMs)), stop.signal);
    } catch {
      return false;
    }
    return !stop.signal.aborted;
  }

  async function toAll(out: Outgoing): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        const all = await channels.list();
        for (const channel of all) {
          if (channel.is_active && isFor(channel.version, out.event.type)) start(toOne(channel, out));
        }
        return;
      } catch (error) {
        if (attempt >= policy.attempts || !(await pause(attempt))) throw error;
      }
    }
  }

  async function toOne(first: Channel, out: Outgoing): Promise<void> {
    const before = waiting.get(first.id) ?? 0;
    if (before >= policy.waiting) return bury(first, out, 0, 'too many notifications wait for this channel');
    waiting.set(first.id, before + 1);
    try {
      await tryOne(first, out);
    } finally {
      const rest = (waiting.get(first.id) ?? 1) - 1;
      if (rest === 0) waiting.delete(first.id);
      else waiting.set(first.id, rest);
    }
  }

  async function tryOne(first: Channel, out: Outgoing): Promise<void> {
    const token = await out.token(first.version);
    const facts = { instance: instance.crn, channel: first.id, event_type: out.event.type };
    let channel: Channel | undefined = first;
    for (let attempt = 1; ; attempt++) {
      const { endpoint } = channel;
      const outcome = await lane.run(first.id, () =>
        postToken(endpoint, token, { timeoutMs: policy.requestMs, signal: stop.signal, now: runtime.now }),
      );
      if (outcome.ok) return log('info', 'instance_notification_delivered', { ...facts, attempt });
      log('warn', 'instance_notification_not_delivered', { ...facts, attempt, reason: outcome.reason });
      if (outcome.final || attempt >= policy.attempts) return bury(channel, out, attempt, outcome.reason);
      if (!(await pause(attempt, outcome.retryAfterMs))) return bury(channel, out, attempt, 'the server stopped');
      channel = await asItIsNow(channel);
      const wanted = channel?.is_active || out.event.type === 'test_notification_channel';
      if (channel === undefined || !wanted) return log('info', 'instance_notification_dropped', { ...facts, attempt });
    }
  }

  /** The channel as it is now: deleted, switched off or given another endpoint since. If the table does not say, as it was. */
  async function asItIsNow(channel: Channel): Promise<Channel | undefined> {
    try {
      return await channels.get(channel.id);
    } catch (error) {
      return error instanceof CodedError && error.code === 'instance_not_found' ? undefined : channel;
    }
  }

  async function bury(channel: Channel, out: Outgoing, attempts: number, reason: string): Promise<void> {
    const { event } = out;
    const at = runtime.now();
    log('error', 'instance_notification_dead', {
      instance: instance.crn,
      channel: channel.id,
      event_type: event.type,
      certificate: event.item.cert_crn,
      attempts,
      reason,
    });
    await table.putIfAbsent(
      { partition: deadLetterPartition(instance.crn), sort: `${String(at).padStart(15, '0')}/${runtime.newId()}` },
      {
        channel: channel.id,
        version: channel.version,
        event: { ...event, item: { ...event.item } },
        attempts,
        reason,
        at,
        expiresAt: Math.floor(at / 1000) + deadLetterSeconds,
      },
    );
  }

  const announce: Announce = (type, row) => {
    start(toAll(outgoing(type, runtime.now(), certificateItem(instance, row))));
  };

  return {
    announce,

    /** Sends the test event to one channel, also to one that is switched off. */
    test(channel: Channel): void {
      const at = runtime.now();
      start(toOne(channel, outgoing('test_notification_channel', at, testItem(instance, at))));
    },

    /** Ends waits and requests; what was not delivered becomes dead letters. Resolves when nothing is under way. */
    async close(): Promise<void> {
      stop.abort();
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

export type Deliveries = ReturnType<typeof delivery>;

/** Where the notifications lie that could not be delivered, oldest first; each for 30 days. */
export function deadLetterPartition(instanceCrn: string): string {
  return `instance.1/${instanceCrn}/dead-letter`;
}
