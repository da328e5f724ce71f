import * as z from 'zod/mini';
import { signatureSchema } from '../signing/signed-text.ts';
import { isUnreadable } from '../table/paging.ts';
import { type Key, pagesOf, type Query, type Row, type Table } from '../table/table.ts';

/**
 * The rows of the audit trail. Lines of one chain stand in rows of some lines each, by the number
 * of the first; a chain has a row that says how far it goes, written after its lines. Beside them:
 * what is known of persons, checkpoints, and what retention has removed.
 */

const blockSchema = z.object({ lines: z.array(z.string()), at: z.number() });
const chainSchema = z.object({
  program: z.string(),
  begunAt: z.number(),
  last: z.int(),
  digest: z.string(),
  lastAt: z.number(),
});
const personSchema = z.object({ salt: z.string(), text: z.string() });
const signedSchema = z.object({ text: z.string(), signature: signatureSchema });
const roundSchema = z.object({ upTo: z.optional(z.number()), until: z.optional(z.number()) });

/** How far a chain goes. All moments are epoch milliseconds. */
export interface ChainRow extends z.infer<typeof chainSchema> {
  readonly writer: string;
}

/** Some lines of a chain, as they were written at once. */
export interface Block {
  /** The number of the first of them, as the row's place says. */
  readonly first: number;
  readonly at: number;
  readonly lines: readonly string[];
}

/** A row that cannot be understood. */
export interface Unreadable {
  readonly unreadable: true;
  readonly sort: string;
}

export type Person = z.infer<typeof personSchema>;
export type Signed = z.infer<typeof signedSchema>;

const digits = 12;
const padded = (number: number): string => String(number).padStart(digits, '0');
const chains = 'audit-chains.1';
const people = 'audit-people.1';
const checkpoints = 'audit-checkpoints.1';
const bases = 'audit-bases.1';
const linesOf = (writer: string): string => `audit.1/${writer}`;
/** Where it is written down of which moment on whole chains are kept. No writer is called so. */
const horizonSort = '*';
const page = 200;

export function auditRows(table: Table) {
  const personKey = (writer: string, number: number): Key => ({
    partition: people,
    sort: `${writer}/${padded(number)}`,
  });
  const roundKey = (link: string): Key => ({ partition: 'audit-rounds.1', sort: link });

  const chainOf = (row: Row | Unreadable): ChainRow | Unreadable => {
    const { data } = chainSchema.safeParse(row);
    return data === undefined ? { unreadable: true, sort: row.sort } : { ...data, writer: row.sort };
  };
  const blockOf = (row: Row | Unreadable): Block | Unreadable => {
    const { data } = blockSchema.safeParse(row);
    const first = /^\d{12}$/.test(row.sort) ? Number(row.sort) : Number.NaN;
    return data === undefined || Number.isNaN(first) ? { unreadable: true, sort: row.sort } : { ...data, first };
  };
  const signedOf = (row: Pick<Row, 'sort'>) => ({ sort: row.sort, signed: signedSchema.safeParse(row).data });

  /** The rows of a query; one that the table itself cannot read hides none after it. */
  async function* rowsOf(query: Pick<Query, 'partition' | 'beginsWith' | 'after'>): AsyncGenerator<Row | Unreadable> {
    let after = query.after;
    for (;;) {
      try {
        const from = after === undefined ? {} : { after };
        for await (const rows of pagesOf(table, { ...query, ...from, limit: page })) yield* rows;
        return;
      } catch (thrown) {
        const sort = isUnreadable(thrown) ? thrown.fields.sort : undefined;
        if (typeof sort !== 'string' || sort === after) throw thrown;
        yield { unreadable: true, sort };
        after = sort;
      }
    }
  }

  return {
    /**
     * Writes lines of a chain, the first of which has this number. Answers whether they stand there
     * now: as they were given, also if an earlier call had written them and nobody heard of it.
     */
    async append(writer: string, { first, at, lines }: Block): Promise<boolean> {
      const key = { partition: linesOf(writer), sort: padded(first) };
      let there: Row | undefined;
      try {
        const outcome = await table.putIfAbsent(key, { lines: [...lines], at });
        if (outcome.applied) return true;
        there = outcome.row;
      } catch (thrown) {
        if (!isUnreadable(thrown)) throw thrown;
      }
      const { data } = blockSchema.safeParse(there);
      return data?.lines.length === lines.length && data.lines.every((line, index) => line === lines[index]);
    },

    /** Says how far a chain goes. */
    async saveChain({ writer, ...fields }: ChainRow): Promise<void> {
      await table.update({ partition: chains, sort: writer }, { set: { ...fields } });
    },

    async *chains(): AsyncGenerator<ChainRow | Unreadable> {
      for await (const row of rowsOf({ partition: chains })) yield chainOf(row);
    },

    async chain(writer: string): Promise<ChainRow | Unreadable | undefined> {
      const row = await table.get({ partition: chains, sort: writer });
      return row && chainOf(row);
    },

    /** Blocks of a chain in the order of their numbers; those that begin after this number. */
    async *blocks(writer: string, after = 0): AsyncGenerator<Block | Unreadable> {
      const from = after === 0 ? {} : { after: padded(after) };
      for await (const row of rowsOf({ partition: linesOf(writer), ...from })) yield blockOf(row);
    },

    /** The first block of a chain that begins after this number. */
    async blockAfter(writer: string, after: number): Promise<Block | Unreadable | undefined> {
      const query = { partition: linesOf(writer), after: padded(after), limit: 1 };
      try {
        for await (const [row] of pagesOf(table, query)) if (row !== undefined) return blockOf(row);
      } catch (thrown) {
        if (!isUnreadable(thrown)) throw thrown;
        return { unreadable: true, sort: String(thrown.fields.sort) };
      }
      return undefined;
    },

    async removeBlock(writer: string, sort: number | string): Promise<void> {
      const place = typeof sort === 'number' ? padded(sort) : sort;
      await table.delete({ partition: linesOf(writer), sort: place });
    },

    async removeChain(writer: string): Promise<void> {
      await table.delete({ partition: chains, sort: writer });
      await table.delete({ partition: bases, sort: writer });
    },

    async savePerson(writer: string, number: number, { salt, text }: Person): Promise<void> {
      await table.update(personKey(writer, number), { set: { salt, text } });
    },

    /**
     * What is known of persons, by writer and number; `undefined` where it cannot be understood.
     */
    async *people(writer?: string) {
      const of = writer === undefined ? {} : { beginsWith: `${writer}/` };
      for await (const row of rowsOf({ partition: people, ...of })) {
        const at = row.sort.lastIndexOf('/');
        const place = { writer: row.sort.slice(0, at), number: Number(row.sort.slice(at + 1)) };
        yield { ...place, person: personSchema.safeParse(row).data };
      }
    },

    async erasePerson(writer: string, number: number): Promise<void> {
      await table.delete(personKey(writer, number));
    },

    /** `sort` tells when it was made, so that they are read in that order. */
    async saveCheckpoint(sort: string, { text, signature }: Signed): Promise<void> {
      await table.putIfAbsent({ partition: checkpoints, sort }, { text, signature });
    },

    /** Checkpoints, the oldest first; `undefined` where one cannot be understood. */
    async *checkpoints() {
      for await (const row of rowsOf({ partition: checkpoints })) yield signedOf(row);
    },

    async removeCheckpoint(sort: string): Promise<void> {
      await table.delete({ partition: checkpoints, sort });
    },

    /**
     * What says where a chain begins since retention, up to this number; without a writer: which
     * chains there are, up to this moment. It never goes back: answers whether it was taken.
     */
    async saveBase(writer: string | undefined, { text, signature }: Signed, upTo: number): Promise<boolean> {
      const forward = { any: [{ absent: 'upTo' }, { field: 'upTo', is: '<', to: upTo }] } as const;
      const key = { partition: bases, sort: writer ?? horizonSort };
      return (await table.update(key, { set: { text, signature, upTo } }, forward)).applied;
    },

    /** What retention has written down; `writer` is absent for what it says of whole chains. */
    async *bases() {
      for await (const row of rowsOf({ partition: bases })) {
        const { sort, signed } = signedOf(row);
        yield { ...(sort === horizonSort ? {} : { writer: sort }), signed };
      }
    },

    /** The configuration as it was last told of, for one program: digests by part of it. */
    async settings(program: string): Promise<Readonly<Record<string, string>> | undefined> {
      const row = await table.get({ partition: 'audit-settings.1', sort: program });
      return z.record(z.string(), z.string()).safeParse(row?.parts).data;
    },

    async saveSettings(program: string, parts: Readonly<Record<string, string>>): Promise<void> {
      await table.update({ partition: 'audit-settings.1', sort: program }, { set: { parts: { ...parts } } });
    },

    /**
     * Takes the turn to add what is missing of a link, until a moment. Answers up to which moment
     * that was done last, or `taken`: another one has the turn, or had it after `notSince`. What
     * was done in a time that is still to come was done under a wrong clock, and counts for
     * nothing.
     */
    async takeRound(
      link: string,
      { now, until, notSince }: { readonly now: number; readonly until: number; readonly notSince: number },
    ): Promise<'taken' | { readonly upTo: number | undefined }> {
      // What is further ahead than anybody sets it was set under a clock that was.
      const tooFar = until + (until - now);
      const free = {
        any: [{ absent: 'until' }, { field: 'until', is: '<', to: now }, { field: 'until', is: '>', to: tooFar }],
      } as const;
      const due = {
        any: [{ absent: 'upTo' }, { field: 'upTo', is: '<=', to: notSince }, { field: 'upTo', is: '>', to: now }],
      } as const;
      const outcome = await table.update(roundKey(link), { set: { until } }, { all: [free, due] });
      if (!outcome.applied) return 'taken';
      const upTo = roundSchema.safeParse(outcome.row).data?.upTo;
      return { upTo: upTo !== undefined && upTo > now ? undefined : upTo };
    },

    /** Ends the turn; with a moment: all up to it is told. */
    async endRound(link: string, upTo?: number): Promise<void> {
      await table.update(roundKey(link), { remove: ['until'], ...(upTo === undefined ? {} : { set: { upTo } }) });
    },
  };
}

export type AuditRows = ReturnType<typeof auditRows>;
