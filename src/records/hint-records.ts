import { createHash } from 'node:crypto';
import { defined } from '../defined.ts';
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

export const partitionOf = (link: string) => `hint.1/${link}`;

/** A text may be longer than a key, and of any characters. */
export const keyOf = (link: string, { by, text }: HintText): Key => ({
  partition: partitionOf(link),
  sort: createHash('sha256').update(`${by} ${text}`).digest('hex'),
});

/**
 * Hints of all links, on a table: one row for each text, in a partition of their own, so that an
 * old worker never takes one for a record. A row goes when it was resolved; what is told meanwhile
 * keeps it. This is the part that intake needs, which reads none: see `waitingHintRecords`.
 */
export function hintRecords(table: Table) {
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
  };
}
