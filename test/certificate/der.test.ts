import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { oidText, readElement, readElements } from '../../src/certificate/der.ts';

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'));

describe('readElement', () => {
  it.each([
    ['a length in one byte', '0203010203', { tag: 0x02, content: '010203', end: 5 }],
    ['no content', '0500', { tag: 0x05, content: '', end: 2 }],
    ['a length in two bytes', `0481${'80'}${'ff'.repeat(128)}`, { tag: 0x04, content: 'ff'.repeat(128), end: 131 }],
    ['something after it', '020101ffff', { tag: 0x02, content: '01', end: 3 }],
  ])('reads %s', (_, hex, expected) => {
    const { tag, content, end } = readElement(bytes(hex));
    expect({ tag, content: Buffer.from(content).toString('hex'), end }).toEqual(expected);
  });

  it.each([
    ['nothing', ''],
    ['a tag alone', '30'],
    ['a length cut short', '308201'],
    ['content cut short', '300401'],
    ['an indefinite length', `3080${'00'.repeat(200)}`],
    ['a length of five bytes', '30850000000001ff'],
    ['a length that would overflow 32 bits if it were signed', '3084ffffffff00'],
    ['a tag of several bytes', '1f810100'],
  ])('refuses %s', (_, hex) => {
    expect(() => readElement(bytes(hex))).toThrow(RangeError);
  });

  it('reads no byte beyond the bytes, whatever they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (input) => {
        try {
          const elements = readElements(input);
          expect(elements.at(-1)?.end ?? 0).toBe(input.length);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

describe('oidText', () => {
  it.each([
    ['2a864886f70d01010b', '1.2.840.113549.1.1.11'],
    ['551d11', '2.5.29.17'],
    ['883703', '2.999.3'],
    ['27', '0.39'],
    ['2b06010401', '1.3.6.1.4.1'],
    ['2a8fffffffffffffffffff7f', '1.2.18889465931478580854783'],
  ])('%s is %s', (hex, expected) => {
    expect(oidText(bytes(hex))).toBe(expected);
  });

  it.each(['', '2a86'])('refuses "%s"', (hex) => {
    expect(() => oidText(bytes(hex))).toThrow(RangeError);
  });
});
