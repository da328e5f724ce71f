import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { attributeNames } from '../../src/certificate/attribute-names.ts';
import { factsOf } from '../../src/certificate/facts.ts';
import { CodedError } from '../../src/errors.ts';
import { bits, oids, raw, seq, tlv } from '../support/der.ts';
import { foreignCertificateDer } from '../support/foreign-certificates.ts';

const publicKey = seq(seq(oids.ed25519), bits(raw('19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1')));

/** An OBJECT IDENTIFIER of arcs below 2^14 and above, as X.690 section 8.19 has it. */
function identifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) groups.unshift(128 + (left % 128));
    return groups;
  });
  return tlv(0x06, Buffer.from(bytes));
}

/** What names are made of, what escapes, and what is not ASCII. */
const text = fc
  .array(fc.constantFrom(...' ,+"\\<>;#=ab\0\n\r\u001f\u007f', 'é', '\u0085', '€', '  '), { maxLength: 5 })
  .map((characters) => characters.join(''));
const latin1 = (value: string) => Buffer.from(value.replace(/[^\0-\xff]/g, '?'), 'latin1');
const wide = (value: string) => Buffer.from(value, 'utf16le').swap16();
const wider = (value: string) =>
  Buffer.concat([...value].map((character) => raw((character.codePointAt(0) ?? 0).toString(16).padStart(8, '0'))));

/** UTF8String, PrintableString, T61String, IA5String, UniversalString, BMPString. */
const value = fc.oneof(
  text.map((one) => tlv(0x0c, Buffer.from(one))),
  text.map((one) => tlv(0x13, latin1(one))),
  text.map((one) => tlv(0x14, latin1(one))),
  text.map((one) => tlv(0x16, latin1(one))),
  text.map((one) => tlv(0x1c, wider(one))),
  text.map((one) => tlv(0x1e, wide(one))),
);
const type = fc.constantFrom('2.5.4.3', '2.5.4.3', '2.5.4.10', '1.2.3.4', '2.5.4.200', ...Object.keys(attributeNames));
const relative = fc
  .array(fc.tuple(type, value), { minLength: 1, maxLength: 3 })
  .map((attributes) => tlv(0x31, ...attributes.map(([oid, one]) => seq(identifier(oid), one))));
const subject = fc.array(relative, { maxLength: 4 }).map((parts) => seq(...parts));
const serial = fc.uint8Array({ minLength: 1, maxLength: 21 }).map((bytes) => tlv(0x02, bytes));
const two = (most: number) => fc.nat(most).map((number) => String(number).padStart(2, '0'));
const time = fc
  .tuple(fc.constantFrom('49', '50', '2026', '2100', '9999', '0999'), two(13), two(32), two(24), two(60), two(60))
  .map((parts) => tlv((parts[0] ?? '').length === 2 ? 0x17 : 0x18, Buffer.from(`${parts.join('')}Z`)));

it('names, serials and dates are those that the platform prints of the same certificate', () => {
  let compared = 0;
  fc.assert(
    fc.property(subject, serial, time, (name, number, notAfter) => {
      let certificate: X509Certificate;
      const der = foreignCertificateDer({ publicKey, subject: name, serial: number, notAfter });
      try {
        certificate = new X509Certificate(der);
      } catch {
        return; // The platform takes no such serial, or no such date.
      }
      const lines = certificate.subject ?? '';
      const expected = {
        subject: lines.split('\n').reverse().join(',').replaceAll(' + ', '+'),
        serial: certificate.serialNumber.toLowerCase(),
        notAfter: Date.parse(certificate.validTo),
      };
      // It writes years before 1000 short, and `Date.parse` takes them for this century.
      const known = / \d{4} GMT$/.test(certificate.validTo) && !Number.isNaN(expected.notAfter);
      compared += known ? 1 : 0;
      if (known) expect(factsOf(certificate)).toMatchObject(expected);
      else expect(() => factsOf(certificate)).toThrow(CodedError);
    }),
    { numRuns: 500 },
  );
  expect(compared).toBeGreaterThan(100);
});
