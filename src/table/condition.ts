import { type CheckedChange, checkNumber, fault } from './check.ts';
import type { Condition, Key, Row, Value } from './table.ts';

/** What conditions and changes mean, for the kinds whose engine does not know them itself. */

/**
 * Orders two well-formed texts by their UTF-8 bytes, which is the order of their code points:
 * negative, 0 or positive. JavaScript's own `<` orders by UTF-16 units, where what lies beyond
 * U+FFFF comes before U+E000 to U+FFFF.
 */
export function compareText(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at += 1) {
    const difference = rank(a.charCodeAt(at)) - rank(b.charCodeAt(at));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

function fieldOf(row: Row | undefined, name: string): Value | undefined {
  return row !== undefined && Object.hasOwn(row, name) ? row[name] : undefined;
}

/** Negative, 0 or positive, or `undefined` where the two are not to be compared. */
function compare(a: Value | undefined, b: Value | undefined): number | undefined {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  return undefined;
}

/** Whether a checked condition holds of a row; `undefined` is the row that is not there. */
export function holds(condition: Condition, row: Row | undefined): boolean {
  if ('all' in condition) return condition.all.every((each) => holds(each, row));
  if ('any' in condition) return condition.any.some((each) => holds(each, row));
  if ('exists' in condition) return fieldOf(row, condition.exists) !== undefined;
  if ('absent' in condition) return fieldOf(row, condition.absent) === undefined;
  const left = fieldOf(row, condition.field);
  const right = typeof condition.to === 'object' ? fieldOf(row, condition.to.fieldOf) : condition.to;
  if (typeof left === 'boolean') return condition.is === '=' && left === right;
  const order = compare(left, right);
  if (order === undefined) return false;
  switch (condition.is) {
    case '=':
      return order === 0;
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '>=':
      return order >= 0;
  }
}

/**
 * The row after the change; `undefined` is the row that is not there. Throws `internal` for adding
 * to what is no number.
 */
export function applied(key: Key, row: Row | undefined, change: CheckedChange): Row {
  const fields: Record<string, Value> = { ...row, ...change.set };
  for (const [name, amount] of Object.entries(change.add)) {
    const there = fieldOf(row, name);
    const before = there === undefined ? 0 : there;
    if (typeof before !== 'number') throw fault(`field ${name} holds no number to add to`);
    fields[name] = checkNumber(before + amount, name);
  }
  for (const name of change.remove) delete fields[name];
  return asRow(key, fields);
}

/** Key and fields in one flat object. */
export function asRow(key: Key, fields: Readonly<Record<string, Value>>): Row {
  return { ...fields, partition: key.partition, sort: key.sort };
}
