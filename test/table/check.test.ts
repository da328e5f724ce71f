import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import {
  checkedChange,
  checkedCondition,
  checkedFields,
  checkIndexQuery,
  checkKey,
  checkQuery,
  rowJson,
} from '../../src/table/check.ts';
import type { Change, Condition, Value } from '../../src/table/table.ts';

const anything = (value: unknown) => value as Value;

/** What was thrown: the code, or `nothing`. */
function codeOf(work: () => unknown): string {
  try {
    work();
    return 'nothing';
  } catch (thrown) {
    return thrown instanceof CodedError ? thrown.code : String(thrown);
  }
}

function nested(levels: number): Value {
  let value: Value = 'inmost';
  for (let level = 0; level < levels; level += 1) value = level % 2 === 0 ? [value] : { value };
  return value;
}

describe('keys', () => {
  it.each([
    [1000, 'nothing'],
    [999, 'nothing'],
    [1001, 'internal'],
  ])('of %i bytes of UTF-8: %s', (bytes, expected) => {
    const partition = 'é'.repeat(100);
    expect(codeOf(() => checkKey({ partition, sort: 's'.repeat(bytes - 200) }))).toBe(expected);
  });

  it.each([
    ['partition', { partition: '', sort: 's' }],
    ['sort', { partition: 'p', sort: '' }],
    ['partition', { partition: 'p\ud83d', sort: 's' }],
    ['sort', { partition: 'p', sort: '\ude00s' }],
  ])('have no empty or malformed %s', (_, key) => {
    expect(codeOf(() => checkKey(key))).toBe('internal');
  });
});

describe('values', () => {
  it.each<readonly [string, unknown]>([
    ['undefined', undefined],
    ['undefined within', { list: [1, { a: undefined }] }],
    ['a hole', Object.assign([], { 1: 1 })],
    ['NaN', Number.NaN],
    ['Infinity within', [Number.POSITIVE_INFINITY]],
    ['a number beyond DynamoDB', 1e126],
    ['a number below DynamoDB', -9e-131],
    ['a bigint', 1n],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a date', new Date(0)],
    ['bytes', new Uint8Array(1)],
    ['a map', new Map()],
    ['a nameless field within', { '': 1 }],
    ['a malformed name within', { '\ud83d': 1 }],
    ['a field that the AWS SDK loses', JSON.parse('{"__proto__": 1}')],
    ['32 levels', nested(32)],
  ])('cannot be %s', (_, value) => {
    expect(codeOf(() => checkedFields({ field: anything(value) }))).toBe('internal');
  });

  it('refuses what contains itself', () => {
    const circle: unknown[] = [];
    circle.push(circle);
    expect(codeOf(() => checkedFields({ field: anything(circle) }))).toBe('internal');
  });

  it.each<readonly [string, Value]>([
    ['the greatest', 9.99e125],
    ['the least', 1e-130],
    ['31 levels', nested(31)],
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 })],
    ['inherited names', { constructor: 1, hasOwnProperty: [2] }],
  ])('can be %s', (_, field) => {
    expect(checkedFields({ field })).toEqual({ field });
  });

  it('are copied', () => {
    const given = { list: [{ a: 1 }] };
    const { given: checked } = checkedFields({ given });
    given.list.push({ a: 2 });
    expect(checked).toEqual({ list: [{ a: 1 }] });
  });

  it('are made well-formed, and -0 is 0', () => {
    const { text, zero } = checkedFields({ text: ['\ud83dx', '\u{1f600}', 'x\ude00'], zero: -0 });
    expect(text).toEqual(['\ufffdx', '\u{1f600}', 'x\ufffd']);
    expect(Object.is(zero, 0)).toBe(true);
  });
});

describe('changes', () => {
  it.each<readonly [string, Change]>([
    ['set and add', { set: { a: 1 }, add: { a: 1 } }],
    ['set and remove', { set: { a: 1 }, remove: ['a'] }],
    ['add and remove', { add: { a: 1 }, remove: ['a'] }],
    ['remove twice', { remove: ['a', 'a'] }],
    ['set the partition', { set: { partition: 'x' } }],
    ['add to the sort key', { add: { sort: 1 } }],
    ['remove the sort key', { remove: ['sort'] }],
    ['have a field without a name', { remove: [''] }],
    ['add a fraction', { add: { a: 0.5 } }],
    ['add NaN', { add: { a: Number.NaN } }],
    ['add beyond what is exact', { add: { a: 2 ** 53 } }],
    ['set wakeAt to text', { set: { wakeAt: '5' } }],
    ['set wakeAt to null', { set: { wakeAt: null } }],
    ['set expiresAt to text', { set: { expiresAt: '5' } }],
  ])('cannot %s', (_, change) => {
    expect(codeOf(() => checkedChange(change))).toBe('internal');
  });

  it('have three parts, none absent', () => {
    expect(checkedChange({})).toEqual({ set: {}, add: {}, remove: [] });
    const change = { set: { a: 1, wakeAt: 0 }, add: { b: -1, expiresAt: 1 }, remove: ['c', 'd'] };
    expect(checkedChange(change)).toEqual(change);
  });
});

describe('conditions', () => {
  it.each<readonly [string, Condition]>([
    ['compare a field with itself', { field: 'a', is: '=', to: { fieldOf: 'a' } }],
    ['compare by what is no comparison', { field: 'a', is: '!=' as '=', to: 1 }],
    ['compare with NaN', { field: 'a', is: '<', to: Number.NaN }],
    ['name nothing', { exists: '' }],
    ['name nothing deep inside', { any: [{ all: [{ absent: '' }] }] }],
    ['compare with nothing', { field: 'a', is: '<', to: { fieldOf: '' } }],
  ])('cannot %s', (_, condition) => {
    expect(codeOf(() => checkedCondition(condition))).toBe('internal');
  });
});

describe('queries', () => {
  const partition = 'p';

  it.each([
    [0, 'internal'],
    [1, 'nothing'],
    [2, 'nothing'],
    [999, 'nothing'],
    [1000, 'nothing'],
    [1001, 'internal'],
    [1.5, 'internal'],
    [Number.NaN, 'internal'],
  ])('of %d rows: %s', (limit, expected) => {
    expect(codeOf(() => checkQuery({ partition, limit }))).toBe(expected);
    expect(codeOf(() => checkIndexQuery({ partition, limit, until: 0 }))).toBe(expected);
  });

  it('have bounds that could be sort keys', () => {
    expect(codeOf(() => checkQuery({ partition, limit: 1, after: 'x'.repeat(1000) }))).toBe('internal');
    expect(codeOf(() => checkQuery({ partition, limit: 1, beginsWith: '\ud83d' }))).toBe('internal');
    expect(codeOf(() => checkQuery({ partition: '', limit: 1 }))).toBe('internal');
    expect(codeOf(() => checkIndexQuery({ partition, limit: 1, until: Number.POSITIVE_INFINITY }))).toBe('internal');
  });
});

it.each([
  [409_599, 'nothing'],
  [409_600, 'nothing'],
  [409_601, 'internal'],
])('a row of %i bytes as JSON: %s', (bytes, expected) => {
  const empty = rowJson({ partition: 'p', sort: 's', text: '' });
  const text = `é${'x'.repeat(bytes - empty.length - 2)}`;
  expect(codeOf(() => rowJson({ partition: 'p', sort: 's', text }))).toBe(expected);
});
