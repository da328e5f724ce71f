import type { Condition, Key, Table } from '../table/table.ts';
import { numberIn } from './row-fields.ts';

/** A reconcile that somebody asked for and that has not been. Epoch milliseconds. */
export interface AskedReconcile {
  /** Since when it is asked for, and when that was asked for last. */
  readonly since: number;
  readonly lastAt: number;
}

const minuteMs = 60_000;

/**
 * What is kept of a link so that senders who prove less cost no more than is allowed. It stands on
 * the table and not in a process: functions are as many processes as there are requests, and a
 * budget of each would be none.
 */
export function intakeRecords(table: Table) {
  const keyOf = (link: string, sort: 'budget' | 'reconcile' | 'listing' | 'test'): Key => ({
    partition: `intake.1/${link}`,
    sort,
  });

  return {
    /** Takes one from the link's budget of this minute. Answers whether anything was left of it. */
    async takeFromBudget(link: string, now: number, most: number): Promise<boolean> {
      const key = keyOf(link, 'budget');
      const minute = Math.floor(now / minuteMs);
      // A clock that is behind another one takes from the later minute. One that was far ahead must
      // not stop the others.
      const isCurrent: Condition = {
        all: [
          { field: 'minute', is: '>=', to: minute },
          { field: 'minute', is: '<=', to: minute + 1 },
        ],
      };
      const isAnother: Condition = {
        any: [
          { absent: 'minute' },
          { field: 'minute', is: '<', to: minute },
          { field: 'minute', is: '>', to: minute + 1 },
        ],
      };
      const take = () =>
        table.update(key, { add: { taken: 1 } }, { all: [isCurrent, { field: 'taken', is: '<', to: most }] });
      const taken = await take();
      if (taken.applied || most < 1) return taken.applied;
      const begun = await table.update(key, { set: { minute, taken: 1 } }, isAnother);
      if (begun.applied) return true;
      // Somebody else may have begun the minute between the two.
      return taken.row?.minute !== begun.row?.minute && (await take()).applied;
    },

    /**
     * Claims the next listing. Answers until when it is somebody else's; `undefined` if it was
     * taken.
     */
    async claimListing(link: string, now: number, everyMs: number): Promise<number | undefined> {
      const outcome = await table.update(
        keyOf(link, 'listing'),
        { set: { begunAt: now } },
        {
          any: [
            { absent: 'begunAt' },
            { field: 'begunAt', is: '<=', to: now - everyMs },
            { field: 'begunAt', is: '>', to: now + everyMs },
          ],
        },
      );
      return outcome.applied ? undefined : (numberIn(outcome.row, 'begunAt') ?? now) + everyMs;
    },

    /** Makes durable when a test message came to a callback, of a link or a sender, by its name. */
    async noteTest(callback: string, now: number): Promise<void> {
      await table.update(keyOf(callback, 'test'), { set: { at: now } });
    },

    /** When the last one came, by the clock of its receiver; `undefined` if none did. */
    async lastTestAt(callback: string): Promise<number | undefined> {
      return numberIn(await table.get(keyOf(callback, 'test')), 'at');
    },

    /** Makes "a reconcile must begin after this" durable. */
    async askReconcile(link: string, now: number): Promise<void> {
      const key = keyOf(link, 'reconcile');
      const first = await table.putIfAbsent(key, { since: now, lastAt: now });
      if (first.applied) return;
      await table.update(
        key,
        { set: { lastAt: now } },
        { any: [{ absent: 'lastAt' }, { field: 'lastAt', is: '<', to: now }] },
      );
    },

    /** The reconcile that is asked for; `undefined` if none is. */
    async askedReconcile(link: string): Promise<AskedReconcile | undefined> {
      const row = await table.get(keyOf(link, 'reconcile'));
      if (row === undefined) return undefined;
      const lastAt = numberIn(row, 'lastAt') ?? 0;
      return { lastAt, since: numberIn(row, 'since') ?? lastAt };
    },

    /**
     * Notes that a reconcile has been which answers everything that was asked for until a moment;
     * what came later stays asked for.
     */
    async answerAskedReconcile(link: string, until: number): Promise<void> {
      const key = keyOf(link, 'reconcile');
      // Hardly ever is one asked for: a read costs less than a removal.
      if ((await table.get(key)) === undefined) return;
      const answered = await table.delete(key, { field: 'lastAt', is: '<=', to: until });
      if (answered.applied || answered.row === undefined) return;
      await table.update(key, { set: { since: until } }, { field: 'lastAt', is: '>', to: until });
    },
  };
}
