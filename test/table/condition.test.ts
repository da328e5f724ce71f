import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compareText } from '../../src/table/condition.ts';
import { justAfter, numberBytes, partitionBytes, rowKey } from '../../src/table/lmdb-format.ts';

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 4 }),
  fc.constantFrom('\u{e000}', '\u{ffff}', '\u{10000}'),
);

it('orders texts by their UTF-8 bytes', () => {
  expect(['\u{1f600}', '\u{ffee}', '\u{d7ff}', 'é', 'a', 'ab', ''].sort(compareText)).toEqual([
    '',
    'a',
    'ab',
    'é',
    '\u{d7ff}',
    '\u{ffee}',
    '\u{1f600}',
  ]);
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareText(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});

it('orders numbers by their bytes as by their size', () => {
  const sizes = [-1e300, -2, -1.5, -1e-130, 0, 1e-130, 1, 1.5, 2, 1e15, 1e300];
  const order = sizes.toReversed().sort((a, b) => Buffer.compare(numberBytes(a), numberBytes(b)));
  expect(order).toEqual(sizes);
  const number = fc.double({ noNaN: true }).map((any) => any + 0);
  fc.assert(
    fc.property(number, number, (a, b) => {
      expect(Buffer.compare(numberBytes(a), numberBytes(b))).toBe(Math.sign(a - b) || 0);
    }),
  );
});

it('gives each row bytes of its own, in order within its partition', () => {
  expect(rowKey({ partition: 'a\u0000', sort: 'b' }).equals(rowKey({ partition: 'a', sort: '\u0000b' }))).toBe(false);
  const part = fc.string({ unit: fc.constantFrom('a', '\u0000', '\u0001', '\u{1f600}'), minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(part, part, part, part, (p, s, q, t) => {
      const [one, two] = [rowKey({ partition: p, sort: s }), rowKey({ partition: q, sort: t })];
      expect(one.equals(two)).toBe(p === q && s === t);
      expect(one.subarray(0, partitionBytes(q).length).equals(partitionBytes(q))).toBe(p === q);
      if (p === q) expect(Buffer.compare(one, two)).toBe(Math.sign(compareText(s, t)));
      expect(Buffer.compare(justAfter(one), one)).toBe(1);
    }),
  );
});
