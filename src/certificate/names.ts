import { attributeNames } from './attribute-names.ts';
import { type DerElement, derTag, elementsIn, oidIn } from './der.ts';

/** One attribute of a distinguished name: dotted type, and its text. */
interface Attribute {
  readonly type: string;
  readonly text: string;
}

/**
 * A distinguished name as it stands in a certificate: relative names, the most general one first,
 * of one or more attributes each.
 */
type DistinguishedName = readonly (readonly Attribute[])[];

const commonName = '2.5.4.3';

/** A Name of RFC 5280 section 4.1.2.4. Throws RangeError for what is none. */
export function readName(name: DerElement | undefined): DistinguishedName {
  return elementsIn(name, derTag.sequence).map((relative) =>
    elementsIn(relative, derTag.set).map((attribute) => {
      const [type, value] = elementsIn(attribute, derTag.sequence);
      if (value === undefined) throw new RangeError('DER: an attribute of a name has no value');
      return { type: oidIn(type), text: textOf(value) };
    }),
  );
}

/**
 * A name as one line of RFC 4514, the most specific part first; attributes by OpenSSL's short
 * names.
 */
export function distinguishedName(name: DistinguishedName): string {
  return name
    .map((relative) => relative.map(({ type, text }) => `${attributeNames[type] ?? type}=${escaped(text)}`).join('+'))
    .reverse()
    .join(',');
}

/**
 * The common name. Of several the last: the most specific one (RFC 6125 section 6.4.4 speaks of it
 * so).
 */
export function commonNameOf(name: DistinguishedName): string | undefined {
  return name.flat().findLast(({ type }) => type === commonName)?.text;
}

/**
 * The text of a string of ASN.1 (X.690 section 8.23). Of the types that are not Unicode each byte
 * is a character, T61String too, as OpenSSL has it and as it was used; what is not text in its
 * encoding becomes U+FFFD.
 */
function textOf({ tag, content }: DerElement): string {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  switch (tag) {
    case derTag.utf8String:
      return bytes.toString('utf8');
    case derTag.bmpString:
      return Buffer.from(bytes.subarray(0, bytes.length & ~1))
        .swap16()
        .toString('utf16le')
        .toWellFormed();
    case derTag.universalString:
      return Array.from({ length: Math.floor(bytes.length / 4) }, (_, index) => {
        const point = bytes.readUInt32BE(index * 4);
        return point > 0x10ffff ? '\uFFFD' : String.fromCodePoint(point);
      })
        .join('')
        .toWellFormed();
    default:
      return bytes.toString('latin1');
  }
}

/**
 * Escaped as RFC 4514 section 2.4 wants it, and control characters by their codes, as OpenSSL
 * writes names.
 */
function escaped(text: string): string {
  const inside = text.replace(/[,+"\\<>;]|\p{Cc}/gu, (character) => {
    const code = character.charCodeAt(0);
    if (code < 0x20 || code === 0x7f) return `\\${code.toString(16).toUpperCase().padStart(2, '0')}`;
    return code < 0x80 ? `\\${character}` : character;
  });
  // A space at either end, and # in front; OpenSSL leaves a # that stands alone as it is.
  return inside.replace(/^[ #](?=.)| $/gsu, '\\$&');
}

/**
 * The DNS names and IP addresses among the alternative names of a certificate. They are read from
 * the DER and not from Node's text of them, where a name that holds commas could pass for several
 * (CVE-2021-44532): one name is one entry, whatever it contains.
 */
export function domainsOf(alternativeNames: readonly DerElement[]): readonly string[] {
  return alternativeNames.map(nameText).filter((name) => name !== undefined);
}

/**
 * GeneralName of RFC 5280 section 4.2.1.6: dNSName is [2], iPAddress is [7]; others are no domains.
 */
function nameText({ tag, content }: DerElement): string | undefined {
  if (tag === derTag.primitive(2)) return Buffer.from(content).toString('latin1');
  if (tag === derTag.primitive(7)) return addressText(content);
  return undefined;
}

/** IPv4 with dots, IPv6 in the canonical form of RFC 5952; nothing for other lengths. */
function addressText(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return undefined;
  const groups = Array.from({ length: 8 }, (_, index) =>
    Buffer.from(bytes)
      .readUInt16BE(index * 2)
      .toString(16),
  );
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}
