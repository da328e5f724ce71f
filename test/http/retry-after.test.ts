import { expect, test } from 'vitest';
import { parseRetryAfter } from '../../src/http/retry-after.ts';

test.each([
  [undefined, undefined],
  ['0', 0],
  ['120', 120_000],
  [' 7 ', 7_000],
  ['-1', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['', undefined],
  ['Thu, 01 Jan 1970 00:01:00 GMT', 59_000],
  ['2026-01-01', undefined],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
])('Retry-After: %j means %j milliseconds', (value, milliseconds) => {
  expect(parseRetryAfter(value, 1_000)).toBe(milliseconds);
});
