import { CodedError } from '../errors.ts';
import { checkedChange, checkedCondition, checkedFields, checkKey, rowJson } from './check.ts';
import { applied, asRow, compareText, holds } from './condition.ts';
import { cursorOf, fillPage, type IndexPosition, indexPosition, sortRange } from './paging.ts';
import type { Key, Row, Table, Value, WriteOutcome } from './table.ts';

/** A row that is frozen through and through, so that nobody can change it by holding it. */
interface Stored {
  readonly row: Row;
  /** In which another engine would store it. */
  readonly bytes: number;
  readonly wakeAt: number | undefined;
}

interface Partition {
  readonly rows: Map<string, Stored>;
  /** The sort keys in order. */
  readonly order: string[];
}

/** The place of the first sort key that is at least this (or greater than it). */
function placeOf(order: readonly string[], sort: string, greater: boolean): number {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const difference = compareText(order[middle] as string, sort);
    if (difference < 0 || (greater && difference === 0)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compareIndex(a: IndexPosition, b: IndexPosition): number {
  return a.wakeAt - b.wakeAt || compareText(a.sort, b.sort);
}

/** Freezes a value and all that is in it. What is frozen already came from here. */
function freeze(value: Value): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  for (const inner of Object.values(value)) freeze(inner as Value);
  Object.freeze(value);
}

/** A table in the memory of this process, gone with it. Rows stay after `expiresAt`. */
export function memoryTable(): Table {
  const partitions = new Map<string, Partition>();
  let closed = false;

  function partitionOf(name: string): Partition {
    if (closed) throw new CodedError('table_unavailable', 'the table in memory has been closed');
    return partitions.get(name) ?? { rows: new Map(), order: [] };
  }

  function read(key: Key): Row | undefined {
    return partitionOf(key.partition).rows.get(key.sort)?.row;
  }

  function write(row: Row): WriteOutcome {
    const bytes = Buffer.byteLength(rowJson(row));
    freeze(row);
    const partition = partitionOf(row.partition);
    partitions.set(row.partition, partition);
    const { rows, order } = partition;
    if (!rows.has(row.sort)) order.splice(placeOf(order, row.sort, false), 0, row.sort);
    rows.set(row.sort, { row, bytes, wakeAt: typeof row.wakeAt === 'number' ? row.wakeAt : undefined });
    return { applied: true, row };
  }

  /** Reads the rows of these sort keys one by one, as far as somebody asks. */
  function* rowsAt(partition: string, sorts: Iterable<string>): Generator<Stored> {
    const { rows } = partitionOf(partition);
    for (const sort of sorts) yield rows.get(sort) as Stored;
  }

  return {
    async get(key) {
      return read(checkKey(key));
    },

    async update(key, change, condition) {
      const checked = checkedChange(change);
      const row = read(checkKey(key));
      if (condition !== undefined && !holds(checkedCondition(condition), row)) return { applied: false, row };
      return write(applied(key, row, checked));
    },

    async putIfAbsent(key, fields) {
      const checked = checkedFields(fields);
      const row = read(checkKey(key));
      return row === undefined ? write(asRow(key, checked)) : { applied: false, row };
    },

    async delete(key, condition) {
      const row = read(checkKey(key));
      if (condition !== undefined && !holds(checkedCondition(condition), row)) return { applied: false, row };
      const { rows, order } = partitionOf(key.partition);
      if (rows.delete(key.sort)) order.splice(placeOf(order, key.sort, false), 1);
      return { applied: true, row: row ?? asRow(key, {}) };
    },

    async query(query) {
      const { prefix, after } = sortRange(query);
      const { order } = partitionOf(query.partition);
      const start = Math.max(placeOf(order, prefix, false), placeOf(order, after, true));
      const end = order.findIndex((sort, at) => at >= start && !sort.startsWith(prefix));
      const sorts = order.slice(start, end === -1 ? undefined : end);
      return fillPage(rowsAt(query.partition, sorts), query.limit, (row) => cursorOf([row.partition, row.sort]));
    },

    async queryIndex(query) {
      const start = indexPosition(query);
      const due: IndexPosition[] = [];
      for (const [sort, { wakeAt }] of partitionOf(query.partition).rows)
        if (wakeAt !== undefined && wakeAt <= query.until) due.push({ wakeAt, sort });
      const sorts = due
        .filter((entry) => start === undefined || compareIndex(entry, start) > 0)
        .sort(compareIndex)
        .map(({ sort }) => sort);
      return fillPage(rowsAt(query.partition, sorts), query.limit, (row) =>
        cursorOf([row.partition, row.sort, row.wakeAt as number]),
      );
    },

    async close() {
      closed = true;
      partitions.clear();
    },
  };
}
