import type { KeyObject } from 'node:crypto';
import type { LogFields } from '../../src/log.ts';
import type { Callback } from '../../src/receiver/receiver.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import { senderOf } from '../../src/services/certificate-manager/sender.ts';
import { instanceCrn } from '../support/notifications.ts';

/** A link that writes down what it was asked. */
export interface WatchedLink extends Callback {
  readonly acknowledged: LifecycleEvent[];
  readonly asked: { keys: number };
}

/** A link named `shop` that has seen an event if it has seen its digest. */
export function watchedLink(
  key: () => Promise<KeyObject | undefined>,
  options: {
    readonly name?: string;
    readonly instance?: string;
    readonly acknowledge?: Callback['acknowledge'];
  } = {},
): WatchedLink {
  const { name = 'shop' } = options;
  const acknowledged: LifecycleEvent[] = [];
  const asked = { keys: 0 };
  const seen = new Set<string>();
  const remember = async (events: readonly LifecycleEvent[]): Promise<'new' | 'repeat'> => {
    const known = events.every(({ digest }) => seen.has(digest));
    for (const { digest } of events) seen.add(digest);
    return known ? 'repeat' : 'new';
  };
  return {
    name,
    told: { sender: 'certificate-manager', link: name },
    sender: senderOf({ instance: options.instance ?? instanceCrn }),
    acknowledged,
    asked,
    verificationKeys: async () => {
      asked.keys += 1;
      const pinned = await key();
      return new Map(pinned === undefined ? [] : [['only', pinned]]);
    },
    acknowledge: (events) => {
      acknowledged.push(...events);
      return (options.acknowledge ?? remember)(events);
    },
  };
}

export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly fields: LogFields;
}

/** A log that keeps its lines. */
export function keptLog(): {
  readonly lines: LogLine[];
  readonly log: (...line: [string, string, LogFields?]) => void;
} {
  const lines: LogLine[] = [];
  return { lines, log: (level, event, fields = {}) => void lines.push({ level, event, fields }) };
}
