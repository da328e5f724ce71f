import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cutText,
  formatMark,
  parseMark,
  readMarkedDescription,
  sameMark,
  writeMarkedDescription,
} from '../../src/store/mark.ts';

const mark = { store: 'crn:v1:bluemix:public:cloudcerts:eu-de:a/1:2::', certificate: 'aaaa' };
const line = 'certstandby:1 crn:v1:bluemix:public:cloudcerts:eu-de:a/1:2:: aaaa';

const word = fc.stringMatching(/^[!-~]{1,40}$/);
const anyMark = fc.record({ store: word, certificate: word });
/** Text that is likely to hold marks, halves of marks, and line ends in odd places. */
const description = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      anyMark.map(formatMark),
      fc.constantFrom('\n', '\r\n', ' ', 'certstandby:1'),
    ),
    {
      maxLength: 6,
    },
  )
  .map((parts) => parts.join('\n'));
const wellFormed = description.map((text) => text.replace(/\p{Surrogate}/gu, ''));

describe('a mark as text', () => {
  it('is the line that the project promises', () => {
    expect(formatMark(mark)).toBe(line);
    expect(parseMark(line)).toEqual(mark);
  });

  it.each([
    '',
    'certstandby:1',
    `${line} more`,
    ` ${line}`,
    `${line}\n`,
    line.replace(':1 ', ':2 '),
    'certstandby:1  aaaa',
  ])('is nothing else: %j', (text) => {
    expect(parseMark(text)).toBeUndefined();
  });

  it('is the same only if both parts are', () => {
    expect(sameMark(mark, { ...mark })).toBe(true);
    expect(sameMark(mark, { ...mark, certificate: 'aaab' })).toBe(false);
    expect(sameMark(mark, { ...mark, store: 'other' })).toBe(false);
    expect(sameMark(undefined, undefined)).toBe(false);
  });
});

describe('a description with a mark', () => {
  it.each([
    ['the shop', `the shop\n${line}`],
    ['', line],
    ['one\ntwo', `one\ntwo\n${line}`],
    ['ends with a line\n', `ends with a line\n\n${line}`],
    [`the shop\n${line}`, `the shop\n${line}`],
    [`the shop\ncertstandby:1 other id\n${line}`, `the shop\n${line}`],
    [`${line}\nthe shop`, `${line}\nthe shop\n${line}`],
  ])('%j is written as %j', (text, written) => {
    expect(writeMarkedDescription(text, mark, 1024)).toBe(written);
  });

  it('is read where a service has put blanks or a carriage return at its end', () => {
    expect(readMarkedDescription(`the shop\n${line} \r`)).toEqual({ description: 'the shop', mark });
  });

  it('is cut one above the maximum, not at it', () => {
    const room = 1024 - line.length - 1;
    expect(writeMarkedDescription('x'.repeat(room), mark, 1024)).toBe(`${'x'.repeat(room)}\n${line}`);
    expect(writeMarkedDescription('x'.repeat(room + 1), mark, 1024)).toBe(`${'x'.repeat(room)}\n${line}`);
    expect(writeMarkedDescription('x'.repeat(1025), undefined, 1024)).toBe('x'.repeat(1024));
  });

  it('does not become another mark by being cut', () => {
    const text = 'the shop\ncertstandby:1 other id and more';
    expect(writeMarkedDescription(text, undefined, 'the shop\ncertstandby:1 other id'.length)).toBe('the shop');
  });

  it('comes back with its mark, whatever it was', () => {
    fc.assert(
      fc.property(
        description,
        fc.option(anyMark, { nil: undefined }),
        fc.integer({ min: 100, max: 400 }),
        (text, given, maximum) => {
          const written = writeMarkedDescription(text, given, maximum);
          const read = readMarkedDescription(written);
          expect(read.mark).toEqual(given);
          expect(text.startsWith(read.description)).toBe(true);
        },
      ),
    );
  });

  it('is never longer than the maximum, and stays whole characters', () => {
    fc.assert(
      fc.property(
        wellFormed,
        fc.option(anyMark, { nil: undefined }),
        fc.integer({ min: 100, max: 400 }),
        (text, given, maximum) => {
          const written = writeMarkedDescription(text, given, maximum);
          expect(written.length).toBeLessThanOrEqual(maximum);
          expect(written).not.toMatch(/\p{Surrogate}/u);
        },
      ),
    );
  });

  it('stays the same when what was read is written again', () => {
    fc.assert(
      fc.property(
        description,
        fc.option(anyMark, { nil: undefined }),
        fc.integer({ min: 100, max: 400 }),
        (text, given, maximum) => {
          const written = writeMarkedDescription(text, given, maximum);
          expect(writeMarkedDescription(readMarkedDescription(written).description, given, maximum)).toBe(written);
        },
      ),
    );
  });
});

describe('a cut', () => {
  it.each([
    ['abc', 3, 'abc'],
    ['abcd', 3, 'abc'],
    ['ab😀', 4, 'ab😀'],
    ['ab😀', 3, 'ab'],
    ['😀', 1, ''],
    ['abc', 0, ''],
  ])('of %j at %i is %j', (text, maximum, expected) => {
    expect(cutText(text, maximum)).toBe(expected);
  });
});
