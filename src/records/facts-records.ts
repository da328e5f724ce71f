import * as z from 'zod/mini';
import { otherwise } from '../lenient.ts';
import type { Key, Row, Table } from '../table/table.ts';

/** What one version of an element was found to be when it was read. */
interface KnownVersion {
  readonly version: string;
  readonly content: KnownContent;
}
type KnownContent =
  | { readonly is: 'certificate'; readonly facts: ContentFacts }
  | { readonly is: 'something-else'; readonly reason: string };
interface ContentFacts {
  readonly domains: readonly string[];
  readonly issuer?: string;
  readonly serial?: string;
  readonly notBefore?: number;
  readonly notAfter?: number;
}

const text = otherwise(z.optional(z.string()), undefined);
const moment = otherwise(z.optional(z.number()), undefined);

/** What `KnownContent` is as it stands in a row. */
const contentSchema = z.discriminatedUnion('is', [
  z.object({
    is: z.literal('certificate'),
    facts: z.object({ domains: z.array(z.string()), issuer: text, serial: text, notBefore: moment, notAfter: moment }),
  }),
  z.object({ is: z.literal('something-else'), reason: z.string() }),
]);

/** A row that nothing has been parsed for in this time may go: it is made anew by the next look. */
const keptMs = 400 * 86_400_000;
/** So many rows are asked for at once. */
const atOnce = 32;
/** The key of a row has 1,000 bytes. An element whose id leaves no room is never known. */
const keyBytes = 1_000;

/**
 * What content alone tells of the elements of stores: a row for each, with the version that was
 * parsed last. What cannot be understood in a row is as if nothing were known.
 */
export function factsRecords(table: Table, now: () => number) {
  const keyOf = (store: string, id: string): Key | undefined => {
    const key = { partition: `facts.1/${store}`, sort: id };
    return Buffer.byteLength(key.partition) + Buffer.byteLength(id) <= keyBytes ? key : undefined;
  };
  return {
    async known(store: string, ids: readonly string[]): Promise<ReadonlyMap<string, KnownVersion>> {
      const found = new Map<string, KnownVersion>();
      for (let from = 0; from < ids.length; from += atOnce) {
        const some = ids.slice(from, from + atOnce);
        const rows = await Promise.all(
          some.map((id) => {
            const key = keyOf(store, id);
            return key === undefined ? undefined : table.get(key);
          }),
        );
        for (const [index, row] of rows.entries()) {
          const known = row && versionIn(row);
          if (known !== undefined) found.set(some[index] ?? '', known);
        }
      }
      return found;
    },
    async keep(store: string, id: string, { version, content }: KnownVersion): Promise<void> {
      const key = keyOf(store, id);
      if (key === undefined) return;
      const expiresAt = Math.floor((now() + keptMs) / 1_000);
      await table.update(key, { set: { version, content: rowOf(content), expiresAt } });
    },
  };
}

/** Without the facts that are not known: a row holds no `undefined`. */
function rowOf(content: KnownContent) {
  if (content.is === 'something-else') return { is: content.is, reason: content.reason };
  const { domains, ...rest } = content.facts;
  const said = Object.entries(rest).filter((entry): entry is [string, string | number] => entry[1] !== undefined);
  return { is: content.is, facts: { domains: [...domains], ...Object.fromEntries(said) } };
}

function versionIn({ version, content }: Row): KnownVersion | undefined {
  const parsed = z.safeParse(contentSchema, content);
  return parsed.success && typeof version === 'string' ? { version, content: parsed.data as KnownContent } : undefined;
}
