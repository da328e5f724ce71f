import type { Key, Table } from '../table/table.ts';

export interface IdempotencyRecords {
  /** Remembers the notification for `keepMs`; whether it is new. */
  remember(options: {
    readonly link: string;
    readonly digest: string;
    readonly type: string;
    readonly now: number;
    readonly keepMs: number;
  }): Promise<boolean>;
  /** Forgets it, so that the sender's next try counts as new. */
  forget(link: string, digest: string): Promise<void>;
}

/**
 * That a notification was seen before. It saves work; safety does not rest on it, because two
 * genuine notifications can be the same bytes. The key is the digest of the verified content, never
 * token text: one token has many spellings.
 */
export function idempotencyRecords(table: Table): IdempotencyRecords {
  const keyOf = (link: string, digest: string): Key => ({
    partition: `notification.1/${link}/${digest}`,
    sort: 'seen',
  });

  return {
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

    async forget(link: string, digest: string): Promise<void> {
      await table.delete(keyOf(link, digest));
    },
  };
}
