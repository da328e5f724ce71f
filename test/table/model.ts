import type { Change, Condition, Key, Row, Value, WriteOutcome } from '../../src/table/table.ts';

/**
 * The table in its simplest form, written apart from the program so that both would have to be
 * wrong alike: an unordered list of rows, everything else worked out anew for each question.
 */
export interface Model {
  update(key: Key, change: Change, condition?: Condition): WriteOutcome | 'fault';
  putIfAbsent(key: Key, fields: Readonly<Record<string, Value>>): WriteOutcome;
  delete(key: Key, condition?: Condition): WriteOutcome;
  get(key: Key): Row | undefined;
  /** In order of the sort key. */
  all(partition: string): Row[];
  /** In order of wakeAt, then of the sort key. */
  due(partition: string, until: number): Row[];
}

export type TextOrder = (a: string, b: string) => number;

export const byBytes: TextOrder = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));

function operators(a: Value | undefined, b: Value | undefined, order: TextOrder): string[] {
  if (typeof a === 'boolean' && a === b) return ['='];
  const bothNumbers = typeof a === 'number' && typeof b === 'number';
  const bothStrings = typeof a === 'string' && typeof b === 'string';
  if (!bothNumbers && !bothStrings) return [];
  const sign = bothNumbers ? Math.sign(a - b) : Math.sign(order(a as string, b as string));
  if (sign === 0) return ['=', '<=', '>='];
  return sign < 0 ? ['<', '<='] : ['>', '>='];
}

function satisfies(row: Row | undefined, condition: Condition, order: TextOrder): boolean {
  const value = (name: string) => (row !== undefined && Object.keys(row).includes(name) ? row[name] : undefined);
  if ('exists' in condition) return value(condition.exists) !== undefined;
  if ('absent' in condition) return value(condition.absent) === undefined;
  if ('all' in condition) return !condition.all.some((part) => !satisfies(row, part, order));
  if ('any' in condition) return condition.any.filter((part) => satisfies(row, part, order)).length > 0;
  const to = condition.to instanceof Object ? value(condition.to.fieldOf) : condition.to;
  return operators(value(condition.field), to, order).includes(condition.is);
}

/** `order` is how conditions compare texts. */
export function emptyModel(order: TextOrder = byBytes): Model {
  let rows: Row[] = [];
  const same = (key: Key) => (row: Row) => row.partition === key.partition && row.sort === key.sort;
  const put = (row: Row): WriteOutcome => {
    rows = [...rows.filter((other) => !same(row)(other)), row];
    return { applied: true, row };
  };
  const model: Model = {
    get: (key) => rows.find(same(key)),
    update(key, change, condition) {
      const row = model.get(key);
      if (condition && !satisfies(row, condition, order)) return { applied: false, row };
      const fields = new Map(Object.entries<Value>(row ?? { ...key }));
      for (const [name, value] of Object.entries(change.set ?? {})) fields.set(name, value);
      for (const [name, amount] of Object.entries(change.add ?? {})) {
        const before = fields.has(name) ? fields.get(name) : 0;
        if (typeof before !== 'number') return 'fault';
        fields.set(name, before + amount);
      }
      for (const name of change.remove ?? []) fields.delete(name);
      return put(Object.fromEntries(fields) as Row);
    },
    putIfAbsent(key, fields) {
      const row = model.get(key);
      return row ? { applied: false, row } : put({ ...fields, ...key });
    },
    delete(key, condition) {
      const row = model.get(key);
      if (condition && !satisfies(row, condition, order)) return { applied: false, row };
      rows = rows.filter((other) => !same(key)(other));
      return { applied: true, row: row ?? { ...key } };
    },
    all: (partition) => rows.filter((row) => row.partition === partition).sort((a, b) => byBytes(a.sort, b.sort)),
    due: (partition, until) =>
      model
        .all(partition)
        .filter((row) => (row.wakeAt as number | undefined) !== undefined && (row.wakeAt as number) <= until)
        .sort((a, b) => (a.wakeAt as number) - (b.wakeAt as number)),
  };
  return model;
}
