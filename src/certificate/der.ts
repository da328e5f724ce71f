/**
 * One element of DER: its tag byte, its content, the offset after it, and all its bytes, tag and
 * length too.
 */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly end: number;
  readonly whole: Uint8Array;
}

/**
 * Tag bytes of X.690 that certificates use. `context` ones are told apart by the place where they
 * stand.
 */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
  /** `[n]` around whole elements. */
  constructed: (n: number) => 0xa0 + n,
  /** `[n]` in place of the element's own tag, content primitive. */
  primitive: (n: number) => 0x80 + n,
} as const;

/**
 * The element that begins at `offset`. Only what certificates need: tags of one byte, definite
 * lengths of at most 4 bytes (X.690 section 8.1). Throws RangeError for anything else and for an
 * element that reaches beyond the bytes.
 */
export function readElement(bytes: Uint8Array, offset = 0): DerElement {
  const tag = byteAt(bytes, offset);
  if ((tag & 0x1f) === 0x1f) throw new RangeError('DER: a tag of several bytes');
  const first = byteAt(bytes, offset + 1);
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || lengthBytes > 4) throw new RangeError('DER: an indefinite or oversized length');
  const start = offset + 2 + lengthBytes;
  let length = lengthBytes === 0 ? first : 0;
  for (let index = offset + 2; index < start; index += 1) length = length * 256 + byteAt(bytes, index);
  const end = start + length;
  if (end > bytes.length) throw new RangeError('DER: an element reaches beyond its container');
  return { tag, content: bytes.subarray(start, end), end, whole: bytes.subarray(offset, end) };
}

/** The elements one after another, to the last byte. Throws RangeError where `readElement` does. */
export function readElements(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const element = readElement(bytes, offset);
    elements.push(element);
    offset = element.end;
  }
  return elements;
}

/**
 * The one element that these bytes are. Throws RangeError where `readElement` does, and for bytes
 * after it.
 */
export function readWhole(bytes: Uint8Array): DerElement {
  const element = readElement(bytes);
  if (element.end !== bytes.length) throw new RangeError('DER: bytes after the end');
  return element;
}

/** The content of an element that must be there and have this tag. Throws RangeError if not. */
export function contentOf(element: DerElement | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag)
    throw new RangeError(`DER: tag ${tag} was expected, ${element?.tag ?? 'nothing'} was found`);
  return element.content;
}

/** The elements in an element that must be there and have this tag. Throws RangeError if not. */
export const elementsIn = (element: DerElement | undefined, tag: number): readonly DerElement[] =>
  readElements(contentOf(element, tag));

/** An object identifier that must be there, in dotted form. */
export const oidIn = (element: DerElement | undefined): string => oidText(contentOf(element, derTag.oid));

/**
 * The bytes of an INTEGER that is not negative, without the zero byte that keeps it so; empty
 * for 0. Throws RangeError for a negative one, for an empty one, and for more bytes than are needed
 * (X.690 section 8.3.2).
 */
export function unsignedIn(element: DerElement | undefined): Uint8Array {
  const content = contentOf(element, derTag.integer);
  const [first, second] = content;
  if (first === undefined) throw new RangeError('DER: an integer without a byte');
  if (first >= 0x80) throw new RangeError('DER: a negative integer');
  if (first !== 0) return content;
  if (second !== undefined && second < 0x80) throw new RangeError('DER: an integer of more bytes than it needs');
  return content.subarray(1);
}

/** An INTEGER from 0 to 2^31-1. Throws RangeError for any other. */
export function smallIntegerIn(element: DerElement | undefined): number {
  const bytes = unsignedIn(element);
  const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  if (value >= 2 ** 31) throw new RangeError('DER: an integer is too large for what it says');
  return value;
}

/** The bytes of a BIT STRING whose bits fill its bytes. Throws RangeError for any other. */
export function bitStringIn(element: DerElement | undefined): Uint8Array {
  const content = contentOf(element, derTag.bitString);
  if (content[0] !== 0) throw new RangeError('DER: a bit string that does not fill its bytes');
  return content.subarray(1);
}

/**
 * An element of DER: tag byte, definite length in the fewest bytes, content (X.690 section 8.1).
 */
export function writeElement(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const length: number[] = [];
  for (let rest = content.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256);
  const head = content.length < 0x80 ? [content.length] : [0x80 + length.length, ...length];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}

/**
 * The content of an OBJECT IDENTIFIER in dotted form (X.690 section 8.19). Throws RangeError if it
 * ends within an arc or is empty.
 */
export function oidText(content: Uint8Array): string {
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of content) {
    arc = arc * 128n + BigInt(byte & 0x7f);
    if (byte >= 0x80) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [first, ...rest] = arcs;
  if (first === undefined || (content.at(-1) ?? 0) >= 0x80)
    throw new RangeError('DER: an incomplete object identifier');
  // The first two arcs share one number: 40 times the first, which is at most 2, plus the second.
  const root = first < 80n ? first / 40n : 2n;
  return [root, first - root * 40n, ...rest].join('.');
}

function byteAt(bytes: Uint8Array, offset: number): number {
  const byte = bytes[offset];
  if (byte === undefined) throw new RangeError('DER: the bytes end within an element');
  return byte;
}
