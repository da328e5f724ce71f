import forge from 'node-forge';
import { type DerElement, readElements } from '../certificate/der.ts';
import { limits } from '../limits.ts';

/**
 * The same in DER as was written in BER (X.690 section 8): lengths are said, and strings in pieces
 * are put together. NSS, Bouncy Castle and macOS write PKCS#12 with lengths that are not said
 * beforehand. What stands inside of an octet string is not touched, so that certificates stay as
 * they were signed. Throws an Error for what is neither, is nested deeper than
 * `limits.pkcs12Depth`, or goes on after its end.
 */
export function derOfBer(bytes: Uint8Array): Buffer {
  const options = { strict: true, parseAllBytes: true, decodeBitStrings: false, maxDepth: limits.pkcs12Depth };
  // Its types know only the first of these.
  const fromDer = forge.asn1.fromDer as unknown as (bytes: string, how: typeof options) => forge.asn1.Asn1;
  const whole = fromDer(Buffer.from(bytes).toString('latin1'), options);
  putTogether(whole);
  return Buffer.from(forge.asn1.toDer(whole).getBytes(), 'latin1');
}

/** Makes each octet string that came in pieces one, in place. */
function putTogether(element: forge.asn1.Asn1): void {
  if (typeof element.value === 'string') return;
  for (const inner of element.value) putTogether(inner);
  if (element.tagClass !== forge.asn1.Class.UNIVERSAL || element.type !== forge.asn1.Type.OCTETSTRING) return;
  const pieces = element.value.map(({ value }) => value);
  if (!pieces.every((piece) => typeof piece === 'string')) throw new RangeError('BER: an octet string of other things');
  element.value = pieces.join('');
  element.constructed = false;
  element.composed = false;
}

/**
 * The octets of an `[n] IMPLICIT OCTET STRING`, in one piece or, as its constructed form, in
 * several.
 */
export function implicitOctets({ tag, content }: DerElement): Uint8Array {
  return (tag & 0x20) === 0 ? content : Buffer.concat(readElements(content).map((piece) => piece.content));
}
