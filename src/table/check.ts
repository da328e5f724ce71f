import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Change, Condition, IndexQuery, Key, Query, Row, Value } from './table.ts';

/**
 * What every kind demands of its arguments before it touches a row, so that no engine takes what
 * another refuses. A fault here is one of the program, not of the data: it throws `internal`.
 */

/** DynamoDB holds magnitudes from 1e-130 to below 1e126, so nothing else goes into any table. */
const smallest = 1e-130;
const largest = 1e126;

export function fault(message: string): CodedError {
  return new CodedError('internal', message);
}

function isPlain(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function checkName(name: string): void {
  if (typeof name !== 'string' || name === '') throw fault('a field of a row has no name');
  if (!name.isWellFormed()) throw fault('the name of a field of a row is not well-formed Unicode');
  // The AWS SDK loses a field of this name without a word.
  if (name === '__proto__') throw fault('a field of a row is called __proto__');
}

export function checkNumber(value: number, field: string): number {
  const magnitude = typeof value === 'number' ? Math.abs(value) : Number.NaN;
  if (!(magnitude < largest) || (magnitude < smallest && magnitude !== 0))
    throw fault(`field ${field}: ${value} is not a number that every table can hold`);
  return value + 0; // -0 becomes 0, as it does on the wire
}

/** A copy of the value as it will be read again, with nothing shared with what was given. */
function canonical(value: unknown, field: string, depth: number): Value {
  if (value === null || typeof value === 'boolean') return value;
  // A lone surrogate becomes U+FFFD, which is what its UTF-8 bytes would say.
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value === 'number') return checkNumber(value, field);
  if (typeof value !== 'object') throw fault(`field ${field}: a ${typeof value} cannot be stored`);
  if (depth > limits.tableDepth) throw fault(`field ${field} is nested deeper than ${limits.tableDepth} levels`);
  if (Array.isArray(value)) return Array.from(value, (inner) => canonical(inner, field, depth + 1));
  if (!isPlain(value)) throw fault(`field ${field}: only plain objects can be stored`);
  const copy: Record<string, Value> = {};
  for (const name of Object.keys(value)) {
    checkName(name);
    copy[name] = canonical(value[name], field, depth + 1);
  }
  return copy;
}

/**
 * Named fields for a row, copied; the key is not among them, and the two fields that engines read
 * are numbers.
 */
export function checkedFields(fields: Readonly<Record<string, Value>>): Record<string, Value> {
  const checked: Record<string, Value> = {};
  for (const name of Object.keys(fields)) {
    checkField(name);
    const value = fields[name];
    if ((name === 'wakeAt' || name === 'expiresAt') && typeof value !== 'number')
      throw fault(`field ${name} takes a number, not ${value === null ? 'null' : `a ${typeof value}`}`);
    checked[name] = canonical(value, name, 1);
  }
  return checked;
}

function checkField(name: string): void {
  checkName(name);
  if (name === 'partition' || name === 'sort') throw fault(`field ${name} is part of the key and cannot be changed`);
}

function checkPart(part: string, what: string): void {
  if (typeof part !== 'string' || part === '') throw fault(`the ${what} of a row is empty`);
  if (!part.isWellFormed()) throw fault(`the ${what} of a row is not well-formed Unicode`);
}

export function checkKey({ partition, sort }: Key): Key {
  checkPart(partition, 'partition key');
  checkPart(sort, 'sort key');
  const bytes = Buffer.byteLength(partition) + Buffer.byteLength(sort);
  if (bytes > limits.tableKeyBytes)
    throw fault(`the key of a row takes ${bytes} bytes, at most ${limits.tableKeyBytes} are allowed`);
  return { partition, sort };
}

/** The three parts of a change, none absent. */
export interface CheckedChange {
  readonly set: Readonly<Record<string, Value>>;
  readonly add: Readonly<Record<string, number>>;
  readonly remove: readonly string[];
}

export function checkedChange(change: Change): CheckedChange {
  const set = checkedFields(change.set ?? {});
  const add: Record<string, number> = {};
  for (const [name, amount] of Object.entries(change.add ?? {})) {
    checkField(name);
    // Engines count in decimal or in binary: sums are the same everywhere for whole numbers only.
    if (!Number.isSafeInteger(amount)) throw fault(`field ${name}: only whole numbers can be added`);
    add[name] = amount + 0;
  }
  const remove = [...(change.remove ?? [])];
  for (const name of remove) checkField(name);
  const names = new Set<string>();
  for (const name of [...Object.keys(set), ...Object.keys(add), ...remove]) {
    if (names.has(name)) throw fault(`field ${name} stands twice in one change`);
    names.add(name);
  }
  return { set, add, remove };
}

const comparisons = ['=', '<', '<=', '>', '>='];

/** The condition with its literals as they would be stored. */
export function checkedCondition(condition: Condition): Condition {
  if ('all' in condition) return { all: condition.all.map(checkedCondition) };
  if ('any' in condition) return { any: condition.any.map(checkedCondition) };
  if ('exists' in condition) {
    checkName(condition.exists);
    return condition;
  }
  if ('absent' in condition) {
    checkName(condition.absent);
    return condition;
  }
  const { field, is, to } = condition;
  checkName(field);
  if (!comparisons.includes(is)) throw fault(`a condition on field ${field} compares by ${String(is)}`);
  if (typeof to !== 'object') return { field, is, to: canonical(to, field, 1) as string | number | boolean };
  checkName(to.fieldOf);
  if (to.fieldOf === field) throw fault(`a condition compares field ${field} with itself`);
  return condition;
}

function checkLimit(limit: number): void {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > limits.tablePageRows)
    throw fault(`a page of ${limit} rows was asked for, 1 to ${limits.tablePageRows} are allowed`);
}

export function checkQuery(query: Query): void {
  checkPart(query.partition, 'partition key');
  checkLimit(query.limit);
  for (const bound of [query.beginsWith, query.after])
    if (bound !== undefined && bound !== '') checkKey({ partition: query.partition, sort: bound });
}

export function checkIndexQuery(query: IndexQuery): void {
  checkKey({ partition: query.partition, sort: '-' });
  checkLimit(query.limit);
  checkNumber(query.until, 'wakeAt');
}

/** A row as the JSON that is stored. Throws `internal` when it is too large for any table. */
export function rowJson(row: Row): string {
  const json = JSON.stringify(row);
  const bytes = Buffer.byteLength(json);
  if (bytes > limits.tableRowBytes)
    throw fault(`a row takes ${bytes} bytes, at most ${limits.tableRowBytes} are allowed`);
  return json;
}
