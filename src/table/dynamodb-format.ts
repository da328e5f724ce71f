import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { CodedError } from '../errors.ts';
import type { CheckedChange } from './check.ts';
import type { Condition, Key, Row, Value } from './table.ts';

/**
 * Rows, conditions and changes in DynamoDB's words. Every name and every value goes in by
 * placeholder, so no word is reserved and nothing needs escaping.
 */

/**
 * The value as an attribute. A number goes over the wire as text: the shortest that reads back as
 * the same double.
 */
function toAttribute(value: Value): AttributeValue {
  if (value === null) return { NULL: true };
  if (typeof value === 'string') return { S: value };
  if (typeof value === 'number') return { N: `${value}` };
  if (typeof value === 'boolean') return { BOOL: value };
  // Array.isArray() does not tell a readonly array from a map.
  if (Array.isArray(value)) return { L: (value as readonly Value[]).map(toAttribute) };
  return { M: toItem(value as Readonly<Record<string, Value>>) };
}

function toItem(fields: Readonly<Record<string, Value>>): Record<string, AttributeValue> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, toAttribute(value)]));
}

export function keyItem({ partition, sort }: Key): Record<string, AttributeValue> {
  return { partition: { S: partition }, sort: { S: sort } };
}

/**
 * The row of an item. Throws `table_row_unreadable` for kinds of values that this program never
 * writes (sets, bytes), with the row's sort key in the field `sort`.
 */
export function toRow(item: Readonly<Record<string, AttributeValue>>): Row {
  try {
    return fromItem(item) as Row;
  } catch (thrown) {
    const sort = item.sort?.S;
    if (sort === undefined || !(thrown instanceof CodedError)) throw thrown;
    const { code, message, fields } = thrown;
    throw new CodedError(code, message, { fields: { ...fields, sort } });
  }
}

function fromItem(item: Readonly<Record<string, AttributeValue>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(item).map(([name, attribute]) => [name, fromAttribute(attribute, name)]));
}

function fromAttribute(attribute: AttributeValue, field: string): Value {
  if (attribute.S !== undefined) return attribute.S;
  if (attribute.N !== undefined) return Number(attribute.N);
  if (attribute.BOOL !== undefined) return attribute.BOOL;
  if (attribute.NULL !== undefined) return null;
  if (attribute.L !== undefined) return attribute.L.map((inner) => fromAttribute(inner, field));
  if (attribute.M !== undefined) return fromItem(attribute.M);
  const [kind = 'none'] = Object.keys(attribute);
  throw new CodedError('table_row_unreadable', `field ${field} of a row in DynamoDB is of the kind ${kind}`, {
    fields: { field, kind },
  });
}

/** The placeholders of one request. */
export interface Placeholders {
  readonly name: (field: string) => string;
  readonly value: (value: Value) => string;
  /** What goes into the request: absent where there are none, since DynamoDB refuses empty ones. */
  readonly attributes: () => {
    readonly ExpressionAttributeNames?: Record<string, string>;
    readonly ExpressionAttributeValues?: Record<string, AttributeValue>;
  };
}

export function placeholders(): Placeholders {
  const names = new Map<string, string>();
  const values: AttributeValue[] = [];
  return {
    name(field) {
      const placeholder = names.get(field) ?? `#n${names.size}`;
      names.set(field, placeholder);
      return placeholder;
    },
    value(value) {
      values.push(toAttribute(value));
      return `:v${values.length - 1}`;
    },
    attributes: () => ({
      ...(names.size > 0 && {
        ExpressionAttributeNames: Object.fromEntries([...names].map(([field, placeholder]) => [placeholder, field])),
      }),
      ...(values.length > 0 && {
        ExpressionAttributeValues: Object.fromEntries(values.map((value, at) => [`:v${at}`, value])),
      }),
    }),
  };
}

/** The change as an update expression, `undefined` when it changes no field. */
export function updateExpression(
  { set, add, remove }: CheckedChange,
  { name, value }: Placeholders,
): string | undefined {
  const clauses = [
    clause(
      'SET',
      Object.entries(set).map(([field, to]) => `${name(field)} = ${value(to)}`),
    ),
    clause(
      'ADD',
      Object.entries(add).map(([field, amount]) => `${name(field)} ${value(amount)}`),
    ),
    clause('REMOVE', remove.map(name)),
  ];
  return clauses.filter((each) => each !== '').join(' ') || undefined;
}

function clause(word: string, parts: readonly string[]): string {
  return parts.length === 0 ? '' : `${word} ${parts.join(', ')}`;
}

/** The condition as a condition expression, `undefined` when it always holds. */
export function conditionExpression(condition: Condition, using: Placeholders): string | undefined {
  const open = settled(condition);
  if (open === true) return undefined;
  // DynamoDB has no word for what never holds; the row that refused is wanted all the same.
  if (open === false) return translate({ all: [{ exists: 'partition' }, { absent: 'partition' }] }, using);
  return translate(open, using);
}

/**
 * The condition without the parts whose outcome is known beforehand: an empty AND always holds, an
 * empty OR never does. Done before anything is translated, since DynamoDB refuses placeholders that
 * are not used.
 */
function settled(condition: Condition): Condition | boolean {
  if (!('all' in condition || 'any' in condition)) {
    const orderOfBooleans = 'to' in condition && typeof condition.to === 'boolean' && condition.is !== '=';
    return orderOfBooleans ? false : condition;
  }
  const isAny = 'any' in condition;
  const parts = (isAny ? condition.any : condition.all).map(settled);
  if (parts.includes(isAny)) return isAny;
  const open = parts.filter((part) => typeof part === 'object');
  const [only] = open;
  if (only === undefined) return !isAny;
  // Alone it needs no parentheses, and DynamoDB refuses redundant ones.
  if (open.length === 1) return only;
  return isAny ? { any: open } : { all: open };
}

/**
 * Parentheses stand only around an OR inside of an AND, which binds closer. With more of them the
 * parser of dynalite takes seconds for one claim: its time grows by powers with their depth.
 */
function translate(condition: Condition, using: Placeholders, inside: 'AND' | 'OR' = 'OR'): string {
  if ('all' in condition) return condition.all.map((each) => translate(each, using, 'AND')).join(' AND ');
  if ('any' in condition) {
    const either = condition.any.map((each) => translate(each, using)).join(' OR ');
    return inside === 'AND' ? `(${either})` : either;
  }
  if ('exists' in condition) return `attribute_exists(${using.name(condition.exists)})`;
  if ('absent' in condition) return `attribute_not_exists(${using.name(condition.absent)})`;
  const { field, is, to } = condition;
  if (typeof to !== 'object') return `${using.name(field)} ${is} ${using.value(to)}`;
  const [left, right] = [using.name(field), using.name(to.fieldOf)];
  // DynamoDB would also compare what our tables do not compare, lists for instance.
  const types = is === '=' ? ['N', 'S', 'BOOL'] : ['N', 'S'];
  const alike = types.map((type) => {
    const typeName = using.value(type);
    return `attribute_type(${left}, ${typeName}) AND attribute_type(${right}, ${typeName})`;
  });
  return `(${alike.join(' OR ')}) AND ${left} ${is} ${right}`;
}
