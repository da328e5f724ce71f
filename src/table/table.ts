import { defined } from '../defined.ts';

/**
 * The contract of a key-value table: what DynamoDB and an embedded store have in common, no more.
 *
 * A row is found by `partition` and `sort`, and holds named fields. There is one sparse index: a
 * row is in it while it has a number in its field `wakeAt`; it is read per partition, in order of
 * `wakeAt`. A row with `expiresAt` (epoch *seconds*, as DynamoDB wants it) may vanish at any time
 * after that moment, and may as well stay: who cares looks at the field.
 *
 * A kind is one file beside this one, its helpers named after it. No engine takes what another
 * refuses: check.ts says what goes in. `test/table/contract.ts` is the suite that every kind runs.
 */

/**
 * What a field holds. Numbers are finite, of a magnitude of 0 or from 1e-130 to below 1e126;
 * strings may be empty, and what is no Unicode in them (a lone surrogate) becomes U+FFFD; names are
 * non-empty and not `__proto__`; there is no `undefined` inside, and at most 31 levels of lists and
 * maps. A whole row takes at most 400 KB. It is read back equal, but -0 as 0.
 */
export type Value = string | number | boolean | null | readonly Value[] | { readonly [name: string]: Value };

/** Where a row is. Both are non-empty, together at most 1,000 bytes of UTF-8. */
export interface Key {
  readonly partition: string;
  readonly sort: string;
}

/** A row as read: its key and its fields, in one flat object. */
export type Row = Key & { readonly [field: string]: Value };

/**
 * What must hold for a conditional write. A comparison with a field that is absent (on either side)
 * does not hold; numbers compare with numbers, strings with strings (by their UTF-8 bytes), and
 * booleans with booleans by `=` only; anything else does not hold. An empty `all` holds, an empty
 * `any` does not.
 */
export type Condition =
  | { readonly exists: string }
  | { readonly absent: string }
  | {
      readonly field: string;
      readonly is: '=' | '<' | '<=' | '>' | '>=';
      readonly to: string | number | boolean | { readonly fieldOf: string };
    }
  | { readonly all: readonly Condition[] }
  | { readonly any: readonly Condition[] };

/**
 * What an update does to named top-level fields; the others stay as they are. A field stands in at
 * most one of the three.
 */
export interface Change {
  readonly set?: Readonly<Record<string, Value>>;
  /** Adds a whole number to a number; an absent field counts as 0, and adding 0 creates it. */
  readonly add?: Readonly<Record<string, number>>;
  readonly remove?: readonly string[];
}

/**
 * Applied: the row after the write. Refused: the row that refused it, `undefined` if there is none.
 */
export type WriteOutcome =
  | { readonly applied: true; readonly row: Row }
  | { readonly applied: false; readonly row: Row | undefined };

export interface Query {
  readonly partition: string;
  /** Only rows whose sort key begins with this. */
  readonly beginsWith?: string;
  /** Only rows whose sort key is greater than this. */
  readonly after?: string;
  /** At most so many rows on the page, 1 to 1,000. */
  readonly limit: number;
  /** The cursor of the page before, exactly as it was given. */
  readonly cursor?: string;
}

export interface IndexQuery {
  readonly partition: string;
  /** Only rows whose `wakeAt` is at most this. */
  readonly until: number;
  readonly limit: number;
  readonly cursor?: string;
}

export interface Page {
  readonly rows: readonly Row[];
  /** Absent on the last page. A page may be empty and still have a cursor. */
  readonly cursor?: string;
}

/**
 * The table as it was at one moment, whatever is written meanwhile. It costs room as long as it is
 * held: `end` lets go of it.
 */
export interface FrozenTable extends Pick<Table, 'get' | 'query'> {
  end(): void;
}

/**
 * Every method throws `table_unavailable` when the table cannot be asked or does not answer (a
 * write may then have been applied all the same), and `table_row_unreadable` when a row cannot be
 * understood: unreadable is never taken for absent. A page ends before such a row; the one that
 * would begin with it throws, with the row's sort key in the field `sort`. Arguments that no table
 * could take, and adding to what is no number, are faults of the program: `internal`. A cursor that
 * this query never gave: `usage`. A write that has resolved is durable, as far as the kind is
 * durable at all: visible to every process, and on disk.
 */
export interface Table {
  /** The row as the last completed write left it, or `undefined`. */
  get(key: Key): Promise<Row | undefined>;
  /**
   * Changes named fields of one row, atomically, if the condition holds of the row as it is.
   * Creates the row if there is none and the condition allows that.
   */
  update(key: Key, change: Change, condition?: Condition): Promise<WriteOutcome>;
  /** Writes the row if there is none. */
  putIfAbsent(key: Key, fields: Readonly<Record<string, Value>>): Promise<WriteOutcome>;
  /**
   * Removes the row if the condition holds. Removing what is not there is applied when no condition
   * is given, and `row` is then the key alone. `row` is what was removed.
   */
  delete(key: Key, condition?: Condition): Promise<WriteOutcome>;
  /** Rows of one partition in ascending order of the sort key (by its UTF-8 bytes). Consistent. */
  query(query: Query): Promise<Page>;
  /**
   * Rows of one partition that have `wakeAt`, in ascending order of it. May lag behind the writes
   * by seconds.
   */
  queryIndex(query: IndexQuery): Promise<Page>;
  /** The whole table as of now. Absent where the engine has no such thing. */
  freeze?(): Promise<FrozenTable>;
  /** Lets go of files and connections. Calls after it throw. */
  close(): Promise<void>;
}

/** All pages of a query, one after the other, as far as somebody asks for them. */
export async function* pagesOf(
  table: Pick<Table, 'query'>,
  query: Omit<Query, 'cursor'>,
): AsyncGenerator<readonly Row[]> {
  let cursor: string | undefined;
  do {
    const page = await table.query({ ...query, ...defined({ cursor }) });
    yield page.rows;
    cursor = page.cursor;
  } while (cursor !== undefined);
}
