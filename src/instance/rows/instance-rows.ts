import { defined } from '../../defined.ts';
import { limits } from '../../limits.ts';
import type { FrozenTable, Row, Table } from '../../table/table.ts';

/** All rows of a partition, page by page. Between two pages others get their turn. */
export async function* rowsIn(
  table: Pick<Table | FrozenTable, 'query'>,
  partition: string,
  signal?: AbortSignal,
  pageRows: number = limits.tablePageRows,
): AsyncGenerator<Row> {
  let cursor: string | undefined;
  do {
    signal?.throwIfAborted();
    const page = await table.query({ partition, limit: pageRows, ...defined({ cursor }) });
    yield* page.rows;
    cursor = page.cursor;
    await new Promise(setImmediate);
  } while (cursor !== undefined);
}

/** Whether a partition has a row. */
export async function hasRows(table: Pick<Table, 'query'>, partition: string): Promise<boolean> {
  return (await table.query({ partition, limit: 1 })).rows.length > 0;
}
