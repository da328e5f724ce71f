import { hostname } from 'node:os';
import type { Key, Table } from '../table/table.ts';

/**
 * Where consoles are served, as their processes say in the table. A link is printed only for one
 * that is: whoever else had taken its port would be handed the link.
 */
export interface Presence {
  /** A console of this machine listens on this port, and will say so again before long. */
  note(port: number): Promise<void>;
  leave(port: number): Promise<void>;
  isServed(port: number): Promise<boolean>;
}

/** How often that is said, and how long it is believed, in milliseconds. */
export const presenceEveryMs = 60_000;
const believedMs = 3 * presenceEveryMs;

// The format stands in the partition, as for every row.
const keyOf = (port: number): Key => ({ partition: 'console.1/served', sort: `${hostname()}:${port}` });

/** On a table. Each method throws what the table throws. */
export function consolePresence(table: Table, now: () => number): Presence {
  return {
    async note(port) {
      const until = now() + believedMs;
      await table.update(keyOf(port), { set: { until, expiresAt: Math.ceil(until / 1_000) } });
    },
    async leave(port) {
      await table.delete(keyOf(port));
    },
    async isServed(port) {
      const until = (await table.get(keyOf(port)))?.until;
      return typeof until === 'number' && until > now();
    },
  };
}
