import type { Key, Table } from '../table/table.ts';

/**
 * That a notification was seen before. It saves work; safety does not rest on it, because two genuine notifications can be
 * the same bytes. The key is the digest of the verified content, never token text: one token has many spellings.
 */
export function idempotencyRecords(table: Table) {
  const keyOf = (link: string, digest: string): Key => ({
    partition: `notification.1/${link}/${digest}`,
    sort: 'seen',
  });

  return {
    /** Remembers the notification for `keepMs`; whether it is new. */
    async remember(options: {
      readonly link: string;
      readonly digest: string;
      readonly type: string;
      readonly now: number;
      readonly keepMs: number;
    }): Promise<boolean> {
      const outcome = await table.putIfAbsent(keyOf(options.link, options.digest), {
        type: options.type,
        seenAt: options.now,
        expiresAt: Math.ceil((options.now + options.keepMs) / 1000),
      });
      return outcome.applied;
    },

    /** Forgets it, so that the sender's next try counts as new. */
    async forget(link: string, digest: string): Promise<void> {
      await table.delete(keyOf(link, digest));
    },
  };
}

export type IdempotencyRecords = ReturnType<typeof idempotencyRecords>;
