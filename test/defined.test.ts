import { expect, test } from 'vitest';
import { defined } from '../src/defined.ts';

test('what is undefined is absent, and nothing else is', () => {
  const given: { a?: number | undefined; b: string; c: null; d: boolean; e: number } = {
    a: undefined,
    b: '',
    c: null,
    d: false,
    e: 0,
  };
  expect(Object.entries(defined(given))).toEqual([
    ['b', ''],
    ['c', null],
    ['d', false],
    ['e', 0],
  ]);
});
