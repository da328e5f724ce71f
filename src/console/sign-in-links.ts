import { randomBytes } from 'node:crypto';
import { limits } from '../limits.ts';
import { type Key, pagesOf, type Row, type Table } from '../table/table.ts';
import { digestOf, isSameDigest, newSecret } from './secrets.ts';

/**
 * Links by which a person signs in to the console: each once, for a short time. Whoever may open
 * the table may make one, in a process of their own; the process that serves the console takes it.
 * A row holds the digest of a link, never the link.
 */
export interface SignInLinks {
  /** Makes one. Answers what stands in the link after `/enter/`, and until when it is good. */
  make(): Promise<{ readonly token: string; readonly until: number }>;
  /** Uses one up. `false`: it was used, is too old, or was never made. */
  use(token: string): Promise<boolean>;
}

// The format stands in the partition, as for every row.
const partition = 'console.1/links';
const keyOf = (id: string): Key => ({ partition, sort: id });
const tokenPattern = /^([0-9a-f]{16})\.([\w-]{43})$/;

/** The links on a table. Both throw what the table throws. */
export function signInLinks(table: Table, now: () => number): SignInLinks {
  const untilOf = (row: Row): number => (typeof row.until === 'number' ? row.until : 0);

  /** Not every table removes what has expired by itself. */
  async function removeOld(): Promise<void> {
    for await (const rows of pagesOf(table, { partition, limit: 100 }))
      for (const row of rows) if (untilOf(row) <= now()) await table.delete(keyOf(row.sort));
  }

  return {
    async make() {
      await removeOld();
      const id = randomBytes(8).toString('hex');
      const secret = newSecret();
      const until = now() + limits.consoleLinkMs;
      const expiresAt = Math.ceil(until / 1_000);
      await table.putIfAbsent(keyOf(id), { digest: digestOf(secret), until, expiresAt });
      return { token: `${id}.${secret}`, until };
    },
    async use(token) {
      const [, id, secret] = tokenPattern.exec(token) ?? [];
      if (id === undefined || secret === undefined) return false;
      const row = await table.get(keyOf(id));
      if (row === undefined || typeof row.digest !== 'string') return false;
      if (!isSameDigest(row.digest, digestOf(secret)) || untilOf(row) <= now()) return false;
      // Of two who come at once one has removed it.
      const removed = await table.delete(keyOf(id), { field: 'digest', is: '=', to: row.digest });
      return removed.applied;
    },
  };
}
