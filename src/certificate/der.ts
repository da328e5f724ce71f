/** One element of DER: its tag byte, its content, and the offset after it. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly end: number;
}

/** Tag bytes of X.690 that certificates use. `context` ones are told apart by the place where they stand. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
  /** `[n]` around whole elements. */
  constructed: (n: number) => 0xa0 + n,
  /** `[n]` in place of the element's own tag, content primitive. */
  primitive: (n: number) => 0x80 + n,
} as const;

/**
 * The element that begins at `offset`. Only what certificates need: tags of one byte, definite lengths of at most 4 bytes
 * (X.690 section 8.1). Throws RangeError for anything else and for an element that reaches beyond the bytes.
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
  return { tag, content: bytes.subarray(start, end), end };
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
 * The content of an OBJECT IDENTIFIER in dotted form (X.690 section 8.19). Throws RangeError if it ends within
 * an arc or is empty.
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
