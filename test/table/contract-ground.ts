import { expect, vi } from 'vitest';
import type { Key, Page, Row, Table, Value } from '../../src/table/table.ts';
import type { TextOrder } from './model.ts';

export interface TableUnderTest {
  readonly table: Table;
  /** Removes what the test made, after the table has been closed. */
  dispose?(): Promise<void>;
}

export interface ContractOptions {
  /** How many examples each property tries. */
  readonly runs?: number;
  /** What this engine does otherwise, each with the reason why that is no fault of ours. */
  readonly differs?: {
    /** Conditions compare texts in another order than that of their UTF-8 bytes. */
    readonly textOrder?: { readonly order: TextOrder; readonly reason: string };
  };
}

/**
 * What the parts of the suite work with: one table for all, and a partition that nobody else uses
 * for each test.
 */
export interface Ground {
  readonly table: Table;
  readonly freshPartition: () => string;
  readonly freshKey: () => Key;
  /** Writes a row of these fields. */
  readonly freshRow: (fields: Readonly<Record<string, Value>>) => Promise<Key>;
}

/** The table is there only when the tests run, so it is asked for with each call. */
export function groundOn(current: () => Table): Ground {
  let partitions = 0;
  const table: Table = {
    get: (key) => current().get(key),
    update: (key, change, condition) => current().update(key, change, condition),
    putIfAbsent: (key, fields) => current().putIfAbsent(key, fields),
    delete: (key, condition) => current().delete(key, condition),
    query: (query) => current().query(query),
    queryIndex: (query) => current().queryIndex(query),
    close: () => current().close(),
  };
  const freshPartition = (): string => {
    partitions += 1;
    return `partition ${partitions} \u{1f600}`;
  };
  const freshKey = (): Key => ({ partition: freshPartition(), sort: 'row' });
  return {
    table,
    freshPartition,
    freshKey,
    async freshRow(fields) {
      const key = freshKey();
      expect(await table.putIfAbsent(key, fields)).toEqual({ applied: true, row: { ...fields, ...key } });
      return key;
    },
  };
}

/** The index may lag behind the writes by seconds. */
export function eventually(check: () => Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: 10_000, interval: 50 });
}

/** All rows, page by page. `given` holds the cursor of the page before, if there was one. */
export async function readAll(page: (given: { readonly cursor?: string }) => Promise<Page>): Promise<Row[]> {
  const rows: Row[] = [];
  let given: { readonly cursor?: string } = {};
  for (let pages = 0; pages < 100; pages += 1) {
    const { rows: more, cursor } = await page(given);
    rows.push(...more);
    if (cursor === undefined) return rows;
    given = { cursor };
  }
  throw new Error('this listing does not end');
}
