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

describe('ids that no mark holds as they are', () => {
  const of = (certificate: string) => ({ store: 'directory:web-1', certificate });

  it.each([
    ['web shop', 'certstandby:2 directory:web-1 web%20shop'],
    ['münchen', 'certstandby:2 directory:web-1 m%C3%BCnchen'],
    ['50% off\n', 'certstandby:2 directory:web-1 50%25%20off%0A'],
    ['東京', 'certstandby:2 directory:web-1 %E6%9D%B1%E4%BA%AC'],
    ['\u0000\u001b[31m\u007f', 'certstandby:2 directory:web-1 %00%1B[31m%7F'],
  ])('are encoded: %j', (certificate, text) => {
    expect(formatMark(of(certificate))).toBe(text);
  });

  it.each(['api+v2', '50%', 'a%20b', '-rf', '"x"', '*.example.test', 'a/b?c#d'])(
    'as it is, in the words of every version: %s',
    (certificate) => {
      expect(formatMark(of(certificate))).toBe(`certstandby:1 directory:web-1 ${certificate}`);
      expect(parseMark(formatMark(of(certificate)))).toEqual(of(certificate));
    },
  );

  it('of the first kind are never decoded, as they were never encoded', () => {
    expect(parseMark('certstandby:1 s a%20b')).toEqual({ store: 's', certificate: 'a%20b' });
    expect(parseMark('certstandby:1 s münchen')).toEqual({ store: 's', certificate: 'münchen' });
  });

  it.each([
    ['needs no encoding', 'certstandby:2 s a'],
    ['encodes what needs none', 'certstandby:2 s %61%20'],
    ['has lower-case digits', 'certstandby:2 s m%c3%bcnchen'],
    ['leaves a letter as it is', 'certstandby:2 s mü%20'],
    ['ends in half a byte', 'certstandby:2 s a%2'],
    ['is not UTF-8', 'certstandby:2 s a%FF%20'],
    ['has a third part', 'certstandby:2 s a%20b c'],
    ['has no second part', 'certstandby:2 s%20s'],
    ['is of a version that is not known', 'certstandby:3 s a%20b'],
    ['has two spaces', 'certstandby:2 s  a%20b'],
    ['ends in a line end', 'certstandby:2 s a%20b\n'],
  ])('are no marks where the text %s', (_, text) => {
    expect(parseMark(text)).toBeUndefined();
  });

  it('come back whatever they are, alone and as the last line of a description', () => {
    const id = fc.string({ unit: 'binary', minLength: 1 });
    fc.assert(
      fc.property(id, id, fc.string(), (store, certificate, description) => {
        const mark = { store, certificate };
        expect(parseMark(formatMark(mark))).toEqual(mark);
        expect(formatMark(mark)).toMatch(/^[ -~]*$/);
        expect(readMarkedDescription(writeMarkedDescription(description, mark, 10_000)).mark).toEqual(mark);
      }),
    );
  });
});
