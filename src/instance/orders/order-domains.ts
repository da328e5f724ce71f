import { hash } from 'node:crypto';
import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import type { Key, Table } from '../../table/table.ts';
import { partitionOf } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';

const weekMs = 7 * 86_400_000;
/** How long the order of a claim may take to be written. */
const writingMs = 60_000;
const attempts = 20;

const schema = z.object({
  version: z.number(),
  running: z.optional(z.string()),
  claimedAt: z.number(),
  orders: z.array(z.number()),
  renewals: z.array(z.number()),
});

/**
 * What is remembered of each set of domains of one instance, on the table: which certificate is
 * being ordered for it, and when it was ordered and renewed within the last week.
 */
export function orderDomains(context: {
  readonly table: Table;
  readonly instanceCrn: string;
  readonly now: () => number;
  /** At most so many orders, and as many renewals, in a week. */
  readonly perWeek: number;
  /** Whether the order of a certificate is under way. */
  readonly isRunning: (id: string) => Promise<boolean>;
}) {
  const { table, instanceCrn, now, perWeek, isRunning } = context;
  const partition = partitionOf(instanceCrn, 'order-domains');
  const keyOf = (domains: readonly string[]): Key => ({
    partition,
    sort: hash('sha256', JSON.stringify([...domains].sort())),
  });

  return {
    /**
     * Counts one more. An order claims the domains for this certificate too, until they are
     * released. Throws `instance_limited`, and `instance_order_running` if the same domains are
     * being ordered.
     */
    async count(kind: 'orders' | 'renewals', domains: readonly string[], id: string): Promise<void> {
      const key = keyOf(domains);
      for (let attempt = 1; attempt <= attempts; attempt++) {
        const row = await table.get(key);
        const kept = row && decodeRow(schema, row);
        const at = now();
        const { running } = kept ?? {};
        if (kind === 'orders' && kept !== undefined && running !== undefined && running !== id) {
          if (at - kept.claimedAt < writingMs || (await isRunning(running))) {
            const message = `certificate ${running} is being ordered for the same domains`;
            throw new CodedError('instance_order_running', message, { fields: { certificate: running } });
          }
        }
        const recent = { orders: kept?.orders ?? [], renewals: kept?.renewals ?? [] };
        const counted = recent[kind].filter((time) => time > at - weekMs);
        const oldest = counted[counted.length - perWeek];
        if (oldest !== undefined) {
          const message = `at most ${perWeek} ${kind} for one set of domains in a week are taken`;
          throw new CodedError('instance_limited', message, { fields: { retryAfterMs: oldest + weekMs - at } });
        }
        // Without a limit nobody asks how many there were.
        const times = Number.isFinite(perWeek) ? [...counted, at] : [];
        const set = formatted({
          ...recent,
          [kind]: times,
          version: (kept?.version ?? 0) + 1,
          claimedAt: kind === 'orders' ? at : (kept?.claimedAt ?? 0),
          ...(kind === 'orders' && { running: id }),
          expiresAt: Math.ceil((at + 2 * weekMs) / 1000),
        });
        const unchanged =
          kept === undefined ? { absent: 'version' } : ({ field: 'version', is: '=', to: kept.version } as const);
        if ((await table.update(key, { set }, unchanged)).applied) return;
      }
      throw new CodedError('instance_busy', 'the same domains were ordered too often at once');
    },

    /** Lets others order these domains again. */
    async release(domains: readonly string[], id: string): Promise<void> {
      const condition = { field: 'running', is: '=', to: id } as const;
      await table.update(keyOf(domains), { remove: ['running'], add: { version: 1 } }, condition);
    },
  };
}
