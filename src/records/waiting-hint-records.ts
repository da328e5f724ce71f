import * as z from 'zod/mini';
import { CodedError } from '../errors.ts';
import { otherwise } from '../lenient.ts';
import type { Table } from '../table/table.ts';
import { keyOf, partitionOf } from './hint-records.ts';

const rowSchema = z.object({
  by: z.enum(['id', 'name', 'id-start']),
  text: z.string(),
  told: z.number(),
  toldAt: z.number(),
  wakeAt: z.optional(z.number()),
  eventAt: z.optional(z.number()),
  occurredAt: z.optional(z.number()),
  toldBy: otherwise(z.optional(z.string()), undefined),
});

/** A hint that waits. All moments are epoch milliseconds. */
export type WaitingHint = Readonly<z.infer<typeof rowSchema>>;

/** Holds unless the hint was told again since it was read. */
const unchanged = ({ told }: WaitingHint) => ({ field: 'told', is: '=' as const, to: told });

/** The hints that wait, for who resolves them: see `hintRecords`. */
export function waitingHintRecords(table: Table) {
  return {
    /**
     * Hints that are due, the earliest first, and what is wrong with rows that cannot be
     * understood: these keep no other from being looked at. May lag behind the writes by seconds.
     */
    async hintsDue(
      link: string,
      until: number,
      limit: number,
    ): Promise<{ readonly hints: readonly WaitingHint[]; readonly damaged: readonly CodedError[] }> {
      const { rows } = await table.queryIndex({ partition: partitionOf(link), until, limit });
      const hints: WaitingHint[] = [];
      const damaged: CodedError[] = [];
      for (const row of rows) {
        const parsed = rowSchema.safeParse(row);
        if (parsed.success) hints.push(parsed.data);
        else damaged.push(damagedHint(link, parsed.error));
      }
      return { hints, damaged };
    },

    /** Whether any hint is due. May lag behind the writes by seconds. */
    async hasHintsDue(link: string, until: number): Promise<boolean> {
      return (await table.queryIndex({ partition: partitionOf(link), until, limit: 1 })).rows.length > 0;
    },

    /** Has a hint looked at again later, unless it was told again since it was read. */
    async putOffHint(link: string, hint: WaitingHint, wakeAt: number): Promise<void> {
      await table.update(keyOf(link, hint), { set: { wakeAt } }, unchanged(hint));
    },

    /** Forgets a hint, unless it was told again since it was read. */
    async forgetHint(link: string, hint: WaitingHint): Promise<void> {
      await table.delete(keyOf(link, hint), unchanged(hint));
    },
  };
}

function damagedHint(link: string, { issues }: z.core.$ZodError): CodedError {
  return new CodedError('table_row_unreadable', `a hint of link ${link} is damaged`, {
    fields: { link, damaged: issues.map(({ path }) => path.join('.')) },
  });
}
