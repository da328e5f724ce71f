import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cameThrough,
  cutText,
  formatMark,
  formatMarkWithin,
  markDigest,
  mostOrigins,
  parseMark,
  readMarkedDescription,
  sameMark,
  sameOrigins,
  storeDigest,
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
    expect(parseMark('certstandby:1 s münchen')).toEqual({ store: 's', certificate: 'münchen', outdated: true });
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

describe('the digest of a mark', () => {
  const mark = { store: 'vault:1', certificate: 'web/shop-tls' };

  it('is of its parts, each with its length: no other mark has it', () => {
    // printf '\0\0\0\x07vault:1\0\0\0\x0cweb/shop-tls' | sha256sum
    const bytes = Buffer.concat([
      Buffer.from([0, 0, 0, 7]),
      Buffer.from('vault:1'),
      Buffer.from([0, 0, 0, 12]),
      Buffer.from('web/shop-tls'),
    ]);
    expect(markDigest(mark)).toBe(createHash('sha256').update(bytes).digest('hex').slice(0, 32));
    expect(markDigest({ store: 'vault:1w', certificate: 'eb/shop-tls' })).not.toBe(markDigest(mark));
    expect(markDigest({ store: 'vault:2', certificate: 'web/shop-tls' })).not.toBe(markDigest(mark));
  });

  it('is the same however the mark is written, and whatever it came through', () => {
    const origins = [storeDigest('upstream')];
    expect(markDigest({ ...mark, origins })).toBe(markDigest(mark));
    const text = formatMarkWithin({ ...mark, origins }, 10);
    expect(text).toBe(`certstandby:3 ${markDigest(mark)} ${storeDigest('vault:1')} ${origins[0]}`);
    const found = parseMark(text);
    expect(sameMark(found, mark)).toBe(true);
    expect(sameMark(found, { ...mark, certificate: 'other' })).toBe(false);
    expect(sameMark(found, found)).toBe(true);
    expect(found !== undefined && cameThrough(found, 'upstream') && cameThrough(found, 'vault:1')).toBe(true);
    expect(found !== undefined && cameThrough(found, 'elsewhere')).toBe(false);
  });

  it('fits a label', () => {
    expect(formatMarkWithin(mark, 0)).toHaveLength(63);
  });

  it('is written where the mark is one character too long, and not where it fits', () => {
    const whole = formatMark(mark);
    expect(formatMarkWithin(mark, whole.length)).toBe(whole);
    expect(formatMarkWithin(mark, whole.length - 1)).toMatch(/^certstandby:3 /);
  });
});

describe('what a copy came through', () => {
  it('stands after both ids, which are encoded then', () => {
    const [a, b] = [storeDigest('a'), storeDigest('b')];
    const mark = { store: 's%1', certificate: 'c', origins: [a, b] };
    expect(formatMark(mark)).toBe(`certstandby:2 s%251 c ${a} ${b}`);
    expect(parseMark(formatMark(mark))).toEqual(mark);
  });

  it.each([
    ['a short digest', 'certstandby:2 s c 0123456789abcde'],
    ['a long digest', 'certstandby:2 s c 0123456789abcdef0'],
    ['an upper-case digest', 'certstandby:2 s c 0123456789ABCDEF'],
    ['two spaces', 'certstandby:2 s c  0123456789abcdef'],
    ['a space at its end', 'certstandby:2 s c 0123456789abcdef '],
    ['an id after it', 'certstandby:2 s c 0123456789abcdef d'],
    ['more digests than a mark has', `certstandby:2 s c${' 0123456789abcdef'.repeat(mostOrigins + 1)}`],
    ['a mark of the first kind before it', 'certstandby:1 s c 0123456789abcdef'],
    ['a digest of the mark that is short', 'certstandby:3 0123456789abcdef 0123456789abcdef'],
    ['no digest of the store', `certstandby:3 ${'0'.repeat(32)}`],
  ])('is in no mark with %s', (_, text) => {
    expect(parseMark(text)).toBeUndefined();
  });
});

describe('texts of others that nearly are marks', () => {
  const ids = fc.string({ unit: 'binary', minLength: 1 }).filter((id) => !/\p{Surrogate}/u.test(id));
  const origin = fc.stringMatching(/^[0-9a-f]{16}$/);
  const marks = fc
    .record({ store: ids, certificate: ids, origins: fc.array(origin, { minLength: 1, maxLength: mostOrigins }) })
    .chain((mark) => fc.constantFrom(mark, { store: mark.store, certificate: mark.certificate }));

  it('are read as what they would be written as again, or as none', () => {
    const edits = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      remove: fc.nat(3),
      insert: fc.oneof(fc.constantFrom(' ', '%', '%2', '\n', '0', 'a', 'A', '\u00a0', '\u2028'), fc.string()),
    });
    fc.assert(
      fc.property(marks, fc.boolean(), edits, (mark, isShort, { at, remove, insert }) => {
        const text = formatMarkWithin(mark, isShort ? 0 : Number.POSITIVE_INFINITY);
        const place = Math.floor(at * text.length);
        const edited = text.slice(0, place) + insert + text.slice(place + remove);
        const found = parseMark(edited);
        if (found === undefined) return;
        const isOutdated = 'outdated' in found;
        // Of the first kind everything is as it stands there, and the other kinds have one
        // spelling.
        if (isOutdated) expect(edited).toBe(`certstandby:1 ${found.store} ${found.certificate}`);
        else expect(formatMark(found)).toBe(edited);
        expect(parseMark(formatMark(found))).toEqual({ ...found, ...(isOutdated && { outdated: undefined }) });
      }),
    );
  });

  it('come back whatever they name and came through, whole or by digest, in as little room as there is', () => {
    fc.assert(
      fc.property(marks, fc.string(), fc.integer({ min: 0, max: 2_000 }), (mark, description, maximum) => {
        const written = writeMarkedDescription(description, mark, maximum);
        const read = readMarkedDescription(written).mark;
        expect(sameMark(read, mark)).toBe(true);
        expect(sameOrigins(read, mark)).toBe(true);
        const least = formatMarkWithin(mark, 0).length;
        if (maximum >= least) expect(written.length).toBeLessThanOrEqual(maximum);
      }),
    );
  });
});
