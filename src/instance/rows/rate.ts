import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import type { Key, Table } from '../../table/table.ts';
import { decodeRow, formatted } from './row-format.ts';

/**
 * At most so many events of one key in any stretch of time: each key has its own limit, which all
 * processes share.
 */
export interface RateLimit {
  /**
   * Counts one event of this key and answers 0, or counts nothing and answers how many milliseconds
   * to wait.
   */
  take(key: string): Promise<number>;
}

const schema = z.object({ version: z.number(), times: z.array(z.number()) });
/** How often it is tried to count against others who count the same. */
const attempts = 20;
/** How much later than it must a row goes: clocks of processes differ. */
const lateSeconds = 60;

/**
 * `count` events in any `windowMs` milliseconds by the given clock, kept on the table; `Infinity`
 * switches it off, and then nothing is kept. Throws `instance_busy` where too many count the same
 * at once, and what the table throws.
 */
export function rateLimit(options: {
  readonly table: Table;
  readonly partition: string;
  /** Names this limit among others in the partition. */
  readonly name: string;
  readonly count: number;
  readonly windowMs: number;
  readonly now: () => number;
}): RateLimit {
  const { table, partition, name, count, windowMs, now } = options;

  return {
    async take(key) {
      if (count === Number.POSITIVE_INFINITY) return 0;
      const place: Key = { partition, sort: `${name}/${key}` };
      for (let attempt = 1; attempt <= attempts; attempt++) {
        const row = await table.get(place);
        const kept = row && decodeRow(schema, row);
        const at = now();
        const recent = (kept?.times ?? []).filter((time) => time > at - windowMs);
        const oldest = recent[recent.length - count];
        if (oldest !== undefined) return oldest + windowMs - at;
        const set = formatted({
          version: (kept?.version ?? 0) + 1,
          times: [...recent, at],
          expiresAt: Math.ceil((at + windowMs) / 1000) + lateSeconds,
        });
        const unchanged =
          kept === undefined ? { absent: 'version' } : ({ field: 'version', is: '=', to: kept.version } as const);
        if ((await table.update(place, { set }, unchanged)).applied) return 0;
      }
      throw new CodedError('instance_busy', 'too many changes of the same were asked for at once');
    },
  };
}
