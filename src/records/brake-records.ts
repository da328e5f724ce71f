import { createHash } from 'node:crypto';
import { limits } from '../limits.ts';
import { type Key, pagesOf, type Table } from '../table/table.ts';
import { fitsTable, numberIn } from './row-fields.ts';

/**
 * What is counted against the brake. `going-back`: content that is older than that of the copy.
 * `unannounced`: content that changed without an event, and without a trace in the listing.
 */
export type BrakeKind = 'going-back' | 'unannounced';

/** Changes within so long count together, in milliseconds. */
const windowMs = 3_600_000;

/** One change that wants to be written. */
export interface CountedChange {
  readonly link: string;
  readonly kind: BrakeKind;
  readonly certificate: string;
  /** Fingerprint of the content that it wants to write. */
  readonly fingerprint: string;
  readonly now: number;
  /** The most certificates that may change so within the hour. */
  readonly allowed: number;
}

/**
 * Counts changes that need a person when there are many: a row for each certificate in a partition
 * for each link and kind, and a row that says that the brake holds. All workers of a table count
 * together: each writes its own row first and counts then, so that of several at the same moment
 * the last one at least sees all of them, and no more than are allowed get through.
 *
 * A clock that is set back does not empty the hour: a row from the future counts, and gets the time
 * as it is now. One that is set forward and back again may, but what the brake has caught stays
 * caught until a person has spoken.
 */
export function brakeRecords(table: Table) {
  const partitionOf = (kind: BrakeKind, link: string) => `brake.1/${kind}/${link}`;
  /**
   * An id that has a record fits here too: by its digest where the name of the partition leaves no
   * room for it.
   */
  function changeKeyOf({ kind, link, certificate }: Pick<CountedChange, 'kind' | 'link' | 'certificate'>): Key {
    const key = { partition: partitionOf(kind, link), sort: certificate };
    return fitsTable(key) ? key : { ...key, sort: createHash('sha256').update(certificate).digest('hex') };
  }
  const holdKeyOf = (kind: BrakeKind, link: string): Key => ({ partition: `brake-holds.1/${kind}`, sort: link });

  /**
   * Since when the brake holds changes of this kind, epoch milliseconds; `undefined` if it does
   * not.
   */
  async function brakeHeldSince(link: string, kind: BrakeKind): Promise<number | undefined> {
    return numberIn(await table.get(holdKeyOf(kind, link)), 'since');
  }

  /**
   * How many certificates are counted, at most `enough`; what is older than the hour is removed on
   * the way.
   */
  async function countUpTo(enough: number, { link, kind, now }: CountedChange): Promise<number> {
    const partition = partitionOf(kind, link);
    let counted = 0;
    for await (const rows of pagesOf(table, { partition, limit: Math.min(limits.brakePage, enough + 1) })) {
      for (const { sort, at } of rows) {
        const key = { partition, sort };
        if (typeof at === 'number' && at <= now - windowMs) {
          await table.delete(key, { field: 'at', is: '=', to: at });
          continue;
        }
        // A row that cannot be understood is one that was counted.
        counted += 1;
        if (typeof at === 'number' && at > now + limits.brakeAheadMs)
          await table.update(key, { set: { at: now } }, { field: 'at', is: '=', to: at });
      }
      if (counted >= enough) break;
    }
    return counted;
  }

  return {
    brakeHeldSince,

    /**
     * Counts a change, each certificate once within the hour. Answers whether it may be written:
     * not while the brake holds, and not if it is one more than are allowed, which makes the brake
     * hold. Content that was let through before within the hour goes on, also where the brake holds
     * by now: a copy that it has replaced is removed by a later pass.
     */
    async countChange(change: CountedChange): Promise<boolean> {
      const { link, kind, fingerprint, now, allowed } = change;
      const key = changeKeyOf(change);
      const before = await table.get(key);
      const isOfThisHour = typeof before?.at === 'number' && before.at > now - windowMs;
      if (isOfThisHour && before?.letThrough === fingerprint) return true;
      if ((await brakeHeldSince(link, kind)) !== undefined) return false;
      // The time to live is in seconds, and leaves room for clocks that differ.
      const expiresAt = Math.ceil((now + 2 * windowMs) / 1_000);
      await table.update(
        key,
        { set: { at: now, fingerprint, expiresAt }, remove: ['letThrough'] },
        { any: [{ absent: 'at' }, { field: 'at', is: '<=', to: now - windowMs }] },
      );
      if ((await countUpTo(allowed + 1, change)) <= allowed) {
        await table.update(key, { set: { letThrough: fingerprint } }, { exists: 'at' });
        return true;
      }
      await table.update(holdKeyOf(kind, link), { set: { since: now } }, { absent: 'since' });
      return false;
    },

    /**
     * Lets go of the brake, if it has held since before this moment: nothing that it caught is
     * left, or a person has spoken.
     */
    async releaseBrake(link: string, kind: BrakeKind, before: number): Promise<void> {
      // Each reconcile asks for this, and hardly ever is there anything: a read costs less than a
      // removal.
      if ((await table.get(holdKeyOf(kind, link))) === undefined) return;
      await table.delete(holdKeyOf(kind, link), { field: 'since', is: '<', to: before });
    },
  };
}
