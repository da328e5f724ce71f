import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { otherwise } from '../lenient.ts';
import type { Key, Table } from '../table/table.ts';

/**
 * What stands for a certificate until a worker has found out which one is meant: its name, how its
 * id begins, or the id itself.
 */
export interface HintText {
  /** `id`: nothing has to be found out, and it is looked at when the moment has come. */
  readonly by: 'id' | 'name' | 'id-start';
  readonly text: string;
}

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

/** What a hint is kept with. */
export interface ToldHint {
  readonly now: number;
  /** When it is to be looked at; absent: now. */
  readonly wakeAt?: number;
  /**
   * Given by a sender that signs what it says: when it was acknowledged, and when it happened by
   * its clock, if it says.
   */
  readonly eventAt?: number;
  readonly occurredAt?: number | undefined;
  /** Who told, as the log names senders. */
  readonly toldBy?: string | undefined;
}

/** Holds unless the hint was told again since it was read. */
const unchanged = ({ told }: WaitingHint) => ({ field: 'told', is: '=' as const, to: told });

/**
 * Hints of all links, on a table: one row for each text, in a partition of their own, so that an
 * old worker never takes one for a record. A row goes when it was resolved; what is told meanwhile
 * keeps it.
 */
export function hintRecords(table: Table) {
  const partitionOf = (link: string) => `hint.1/${link}`;
  // A text may be longer than a key, and of any characters.
  const keyOf = (link: string, { by, text }: HintText): Key => ({
    partition: partitionOf(link),
    sort: createHash('sha256').update(`${by} ${text}`).digest('hex'),
  });

  const changeOf = ({ by, text }: HintText, { now, wakeAt = now, eventAt, occurredAt, toldBy }: ToldHint) => ({
    add: { told: 1 },
    set: {
      ...{ by, text, toldAt: now, wakeAt },
      ...defined({ eventAt, occurredAt, toldBy }),
    },
  });

  return {
    /** Makes a hint durable, or tells one again that waits. */
    async keepHint(link: string, hint: HintText, told: ToldHint): Promise<void> {
      await table.update(keyOf(link, hint), changeOf(hint, told));
    },

    /** Tells a hint again if it waits already. Answers whether it does. */
    async tellWaitingHint(link: string, hint: HintText, told: ToldHint): Promise<boolean> {
      return (await table.update(keyOf(link, hint), changeOf(hint, told), { exists: 'told' })).applied;
    },

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
