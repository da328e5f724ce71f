import { writeElement as element } from '../certificate/der.ts';

export { element };

export const sequence = (...contents: readonly Uint8Array[]): Buffer => element(0x30, ...contents);
export const octetString = (content: Uint8Array): Buffer => element(0x04, content);
export const nothing = (): Buffer => element(0x05);

/** A SET OF: DER wants its elements in the order of their bytes (X.690 section 11.6). */
export const setOf = (...contents: readonly Uint8Array[]): Buffer =>
  element(0x31, ...contents.toSorted((a, b) => Buffer.compare(a, b)));

/** An INTEGER that is not negative. */
export function integer(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  if (bytes.length === 0 || (bytes[0] ?? 0) >= 0x80) bytes.unshift(0);
  return element(0x02, Buffer.from(bytes));
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) groups.unshift(0x80 + (left % 128));
    return groups;
  });
  return element(0x06, Buffer.from(bytes));
}

/** A BMPString: UTF-16, the high byte first. */
export const bmpString = (text: string): Buffer => element(0x1e, Buffer.from(text, 'utf16le').swap16());
