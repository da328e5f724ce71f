import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { checkIndexQuery, checkKey, checkNumber, checkQuery } from './check.ts';
import { compareText } from './condition.ts';
import type { IndexQuery, Page, Query, Row } from './table.ts';

/**
 * Where a page begins and ends, and the cursor that says it: base64url of a JSON array that holds
 * the key of the last row of the page. A cursor may come back through a public API, so one that is
 * not ours is the caller's mistake: `usage`.
 */
type Position = readonly [partition: string, sort: string] | readonly [partition: string, sort: string, wakeAt: number];

export function cursorOf(position: Position): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

function positionOf(cursor: string, partition: string, parts: 2 | 3): Position {
  try {
    const position = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    const [of, sort, wakeAt] = position;
    checkKey({ partition: of, sort });
    if (parts === 3) checkNumber(wakeAt, 'wakeAt');
    if (of === partition && position.length === parts && cursorOf(position) === cursor) return position;
  } catch {
    // Whatever is wrong with it, it is not ours.
  }
  throw new CodedError('usage', 'the cursor of a page is not one that this query gave');
}

/**
 * The sort keys that a query reads: greater than `after`, and beginning with `prefix`. Either may
 * be empty.
 */
export interface SortRange {
  readonly prefix: string;
  readonly after: string;
}

export function sortRange(query: Query): SortRange {
  checkQuery(query);
  const given = query.after ?? '';
  const last = query.cursor === undefined ? '' : positionOf(query.cursor, query.partition, 2)[1];
  return { prefix: query.beginsWith ?? '', after: compareText(given, last) > 0 ? given : last };
}

/** The row of the index after which a page begins. */
export interface IndexPosition {
  readonly wakeAt: number;
  readonly sort: string;
}

export function indexPosition(query: IndexQuery): IndexPosition | undefined {
  checkIndexQuery(query);
  if (query.cursor === undefined) return undefined;
  const [, sort, wakeAt] = positionOf(query.cursor, query.partition, 3);
  return { sort, wakeAt: wakeAt as number };
}

/** Whether a row cannot be understood, by what a table has thrown. */
export const isUnreadable = (thrown: unknown): thrown is CodedError =>
  thrown instanceof CodedError && thrown.code === 'table_row_unreadable';

/**
 * Takes rows, each with the bytes that it is stored in, until the page is full; a page has at least
 * one row if there is one. It ends before a row that cannot be understood: the next one throws.
 */
export function fillPage(
  found: Iterable<{ readonly row: Row; readonly bytes: number }>,
  limit: number,
  cursorAfter: (row: Row) => string,
): Page {
  const rows: Row[] = [];
  let total = 0;
  try {
    for (const { row, bytes } of found) {
      const last = rows.at(-1);
      if (last !== undefined && (rows.length === limit || total + bytes > limits.tablePageBytes))
        return { rows, cursor: cursorAfter(last) };
      rows.push(row);
      total += bytes;
    }
  } catch (thrown) {
    const last = rows.at(-1);
    if (last === undefined || !isUnreadable(thrown)) throw thrown;
    return { rows, cursor: cursorAfter(last) };
  }
  return { rows };
}
