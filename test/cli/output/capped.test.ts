import { expect, test } from 'vitest';
import { cappedByCause } from '../../../src/cli/output/capped.ts';

test('of seven findings of one cause five are shown and two are counted, and none of another cause is hidden', () => {
  const cap = cappedByCause<number>();
  const shown = [0, 1, 2, 3, 4, 5, 6].map((number) => [cap.shows('same', number), cap.shows(`own ${number}`, number)]);
  expect(shown.map(([same]) => same)).toEqual([true, true, true, true, true, false, false]);
  expect(shown.map(([, own]) => own)).toEqual(Array(7).fill(true));
  expect(cap.rest()).toEqual([{ cause: 'same', first: 0, more: 2 }]);
});

test('five of one cause are all shown, and nothing is counted', () => {
  const cap = cappedByCause<number>();
  for (const number of [0, 1, 2, 3, 4]) expect(cap.shows('same', number)).toBe(true);
  expect(cap.rest()).toEqual([]);
});
