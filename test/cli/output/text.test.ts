import { expect, test } from 'vitest';
import { clean, count, cut, duration, tableLines, thousands, widthOf } from '../../../src/cli/output/text.ts';

test('foreign text stands on one line, visible, and is not shown without end', () => {
  expect(clean('a\u001b[2Jb\nc\u202Ed\u2028e')).toBe('a\\u{1b}[2Jb\\u{a}c\\u{202e}d\\u{2028}e');
  expect(clean('x'.repeat(1_000_000))).toBe(`${'x'.repeat(1_999)}…`);
});

test.each([
  ['shop', 4],
  ['', 0],
  ['日本', 4],
  ['e\u0301', 1],
  ['👩‍👩‍👧', 2],
  ['…', 1],
])('%s takes %i columns', (text, width) => expect(widthOf(text)).toBe(width));

test.each([
  ['certificate', 11, 'certificate'],
  ['certificate', 10, 'certifica…'],
  ['日本語', 5, '日本…'],
  ['日本語', 4, '日…'],
])('%s in %i columns is %s', (text, most, kept) => expect(cut(text, most)).toBe(kept));

test('columns are as wide as their widest cell, numbers stand at the right, nothing trails', () => {
  const columns = [{ title: 'NAME', most: 6 }, { title: 'COPIES', right: true }, { title: 'STATE' }];
  const bold = (text: string) => `<${text}>`;
  expect(tableLines(columns, [['日本', '12', { text: 'same', paint: bold }], ['a-long-name', '3'], ['x\ny']])).toEqual([
    'NAME    COPIES  STATE',
    '日本        12  <same>',
    'a-lon…       3',
    'x\\u{a…',
  ]);
});

test.each([
  [0, '0 ms'],
  [999, '999 ms'],
  [999.6, '1.0 s'],
  [1_449, '1.4 s'],
  [9_949, '9.9 s'],
  [9_950, '10 s'],
  [59_499, '59 s'],
  [59_500, '1 min'],
  [61_000, '1 min 1 s'],
  [3_599_499, '59 min 59 s'],
  [3_599_500, '1 h'],
  [12_000_000, '3 h 20 min'],
  [86_400_000, '1 d'],
  [93_600_000, '1 d 2 h'],
])('%i ms is %s', (ms, words) => expect(duration(ms)).toBe(words));

test('numbers in words', () => {
  expect([count(0, 'copy', 'copies'), count(1, 'copy', 'copies'), count(2_000, 'store')]).toEqual([
    '0 copies',
    '1 copy',
    '2,000 stores',
  ]);
  const numbers = [0, 7, 999, 1_000, 16_384, 999_999, 1_234_567, -1_234];
  expect(numbers.map(thousands)).toEqual(numbers.map((number) => number.toLocaleString('en-US')));
});
