import { CodedError } from '../errors.ts';
import { type Condition, pagesOf, type Row, type Table } from '../table/table.ts';

/** A data key as it lies on the table: never plain, once for each root key that wraps it. */
export interface DataKeyRow {
  /**
   * `<version>-<8 hex>`: no two data keys share it, not even when a tenant's were erased in
   * between.
   */
  readonly id: string;
  readonly version: number;
  readonly createdAt: number;
  /** Wrapped texts by the id of the root key. */
  readonly wraps: ReadonlyMap<string, string>;
}

const format = 1;
const wrapField = 'wrap/';
const pageRows = 100;

/** Where the data keys of a tenant lie, each wrapped. */
export const dataKeyPartition = (tenant: string): string => `keys.1/${tenant}`;

export interface DataKeyRows {
  /** The data key of this id, `undefined` if there is none. */
  find(id: string): Promise<DataKeyRow | undefined>;
  /** All of them, the newest, which is current, last. */
  all(): Promise<DataKeyRow[]>;
  any(): Promise<boolean>;
  /** Whether it was added: `false` if another process was first with this version. */
  add(row: DataKeyRow): Promise<boolean>;
  /** Puts a wrap in the place of the one that was read (or of none). Whether it was still so. */
  putWrap(row: DataKeyRow, rootKey: string, wrapped: string): Promise<boolean>;
  /** Drops wraps while these others are still there. Whether they were. */
  dropWraps(row: DataKeyRow, rootKeys: readonly string[], proven: ReadonlyMap<string, string>): Promise<boolean>;
  /** Erases all of them. Works on rows of any format. */
  erase(): Promise<void>;
}

/**
 * The data keys of one tenant on the table, one row for each version. Each wrap is a field of its
 * own, changed only under the condition that it still is what was read, so that writers of
 * different wraps never meet and none writes over what it has not seen.
 */
export function dataKeyRows(table: Table, tenant: string): DataKeyRows {
  const partition = dataKeyPartition(tenant);
  // Versions in order as text.
  const keyOf = (version: number) => ({ partition, sort: `${version}`.padStart(9, '0') });
  const unchanged = (row: DataKeyRow): Condition => ({ field: 'id', is: '=', to: row.id });

  const pages = () => pagesOf(table, { partition, limit: pageRows });

  return {
    async find(id: string): Promise<DataKeyRow | undefined> {
      const row = await table.get(keyOf(Number.parseInt(id, 10)));
      const found = row && dataKeyRow(row);
      return found?.id === id ? found : undefined;
    },

    async all(): Promise<DataKeyRow[]> {
      const rows: DataKeyRow[] = [];
      for await (const page of pages()) rows.push(...page.map(dataKeyRow));
      return rows;
    },

    async any(): Promise<boolean> {
      for await (const page of pages()) if (page.length > 0) return true;
      return false;
    },

    async add({ id, version, createdAt, wraps }: DataKeyRow): Promise<boolean> {
      const fields = Object.fromEntries([...wraps].map(([rootKey, wrapped]) => [wrapField + rootKey, wrapped]));
      return (await table.putIfAbsent(keyOf(version), { format, id, createdAt, ...fields })).applied;
    },

    async putWrap(row: DataKeyRow, rootKey: string, wrapped: string): Promise<boolean> {
      const field = wrapField + rootKey;
      const before = row.wraps.get(rootKey);
      const asRead: Condition = before === undefined ? { absent: field } : { field, is: '=', to: before };
      const change = { set: { [field]: wrapped } };
      return (await table.update(keyOf(row.version), change, { all: [unchanged(row), asRead] })).applied;
    },

    async dropWraps(
      row: DataKeyRow,
      rootKeys: readonly string[],
      proven: ReadonlyMap<string, string>,
    ): Promise<boolean> {
      const asProven = [...proven].map(
        ([rootKey, wrapped]): Condition => ({ field: wrapField + rootKey, is: '=', to: wrapped }),
      );
      const change = { remove: rootKeys.map((rootKey) => wrapField + rootKey) };
      return (await table.update(keyOf(row.version), change, { all: [unchanged(row), ...asProven] })).applied;
    },

    async erase(): Promise<void> {
      for await (const page of pages()) for (const { sort } of page) await table.delete({ partition, sort });
    },
  };
}

function dataKeyRow(row: Row): DataKeyRow {
  const { sort, id, createdAt } = row;
  const where = { partition: row.partition, sort };
  if (row.format !== format)
    throw new CodedError(
      'table_row_unreadable',
      `data key ${sort} of ${row.partition} has the format ${JSON.stringify(row.format)}, and this version knows ${format}`,
      { fields: { ...where, format: JSON.stringify(row.format) } },
    );
  const wraps = new Map<string, string>();
  for (const [name, value] of Object.entries(row))
    if (name.startsWith(wrapField) && typeof value === 'string') wraps.set(name.slice(wrapField.length), value);
  const version = Number(sort);
  if (typeof id !== 'string' || !id.startsWith(`${version}-`) || typeof createdAt !== 'number' || wraps.size === 0)
    throw new CodedError('table_row_unreadable', `data key ${sort} of ${row.partition} is not as one is written`, {
      fields: where,
    });
  return { id, version, createdAt, wraps };
}
