import { contentOf, type DerElement, derTag, elementsIn, oidIn, oidText, unsignedIn } from './der.ts';

/**
 * A curve of ECDSA keys: y² = x³ - 3x + b over the integers modulo a prime (FIPS 186-5, SP 800-186
 * section 3.2.1).
 */
export interface Curve {
  /** As OpenSSL names it. */
  readonly name: string;
  readonly oid: string;
  /** The same as an element of DER, in hex. */
  readonly oidDer: string;
  readonly bits: number;
  /** Bytes of a coordinate, and of a private key. */
  readonly bytes: number;
  readonly prime: bigint;
  readonly b: bigint;
  readonly order: bigint;
  /** The generator, without compression, in hex. */
  readonly generator: string;
}

/** The curves of the keys that are taken here: P-256, P-384, P-521. */
const curves: readonly Curve[] = [
  {
    name: 'prime256v1',
    oid: '1.2.840.10045.3.1.7',
    oidDer: '06082a8648ce3d030107',
    bits: 256,
    bytes: 32,
    prime: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    generator:
      '046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5',
  },
  {
    name: 'secp384r1',
    oid: '1.3.132.0.34',
    oidDer: '06052b81040022',
    bits: 384,
    bytes: 48,
    prime: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    generator:
      '04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f',
  },
  {
    name: 'secp521r1',
    oid: '1.3.132.0.35',
    oidDer: '06052b81040023',
    bits: 521,
    bytes: 66,
    prime: 2n ** 521n - 1n,
    b: 0x51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    order:
      0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    generator:
      '0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650',
  },
];

/**
 * Other curves by the names of OpenSSL, and the bytes of a coordinate. Their keys are known, not
 * taken.
 */
const otherCurves: Readonly<Record<string, { readonly name: string; readonly bytes: number; readonly bits?: number }>> =
  {
    '1.2.840.10045.3.1.1': { name: 'prime192v1', bytes: 24 },
    '1.3.132.0.33': { name: 'secp224r1', bytes: 28 },
    '1.3.132.0.10': { name: 'secp256k1', bytes: 32, bits: 256 },
    '1.3.36.3.3.2.8.1.1.7': { name: 'brainpoolP256r1', bytes: 32 },
    '1.3.36.3.3.2.8.1.1.8': { name: 'brainpoolP256t1', bytes: 32 },
    '1.3.36.3.3.2.8.1.1.11': { name: 'brainpoolP384r1', bytes: 48 },
    '1.3.36.3.3.2.8.1.1.12': { name: 'brainpoolP384t1', bytes: 48 },
    '1.3.36.3.3.2.8.1.1.13': { name: 'brainpoolP512r1', bytes: 64 },
    '1.3.36.3.3.2.8.1.1.14': { name: 'brainpoolP512t1', bytes: 64 },
    '1.2.156.10197.1.301': { name: 'SM2', bytes: 32 },
  };

/** What the parameters of an EC key name. */
export type NamedCurve =
  | { readonly taken: true; readonly curve: Curve }
  | { readonly taken: false; readonly name: string; readonly bytes?: number; readonly bits?: number };

/**
 * The curve of an EC key (ECParameters, RFC 5480 section 2.1.1 and RFC 3279 section 2.3.5): by its
 * identifier, or written out in full, if it then is one of those that are taken. Throws RangeError
 * for what is neither.
 */
export function readCurve(parameters: DerElement | undefined): NamedCurve {
  if (parameters?.tag === derTag.sequence) {
    const curve = curves.find((candidate) => isWrittenOut(candidate, parameters));
    return curve ? { taken: true, curve } : { taken: false, name: 'EC with a curve of its own' };
  }
  const oid = oidText(contentOf(parameters, derTag.oid));
  const curve = curves.find((candidate) => candidate.oid === oid);
  return curve ? { taken: true, curve } : { taken: false, ...(otherCurves[oid] ?? { name: `EC on ${oid}` }) };
}

/**
 * SpecifiedECDomain (SEC 1 section C.2): version, field, curve, base point, order; then a cofactor
 * and more that are left out.
 */
function isWrittenOut(curve: Curve, parameters: DerElement): boolean {
  const [, field, coefficients, base, n] = elementsIn(parameters, derTag.sequence);
  const [fieldType, p] = elementsIn(field, derTag.sequence);
  if (oidIn(fieldType) !== '1.2.840.10045.1.1') return false;
  const [a, b] = elementsIn(coefficients, derTag.sequence).map((one) => numberOf(one.content));
  return (
    numberOf(unsignedIn(p)) === curve.prime &&
    a === curve.prime - 3n &&
    b === curve.b &&
    numberOf(unsignedIn(n)) === curve.order &&
    Buffer.from(readPoint(curve, contentOf(base, derTag.octetString))).toString('hex') === curve.generator
  );
}

/**
 * Whether these bytes are the number of a private key: from 1 to below the order. Nothing of it is
 * copied.
 */
export function isScalar({ order, bytes }: Curve, scalar: Uint8Array): boolean {
  const start = scalar.findIndex((byte) => byte !== 0);
  if (start === -1) return false;
  const digits = scalar.subarray(start);
  const least = Buffer.from(order.toString(16).padStart(bytes * 2, '0'), 'hex');
  return digits.length < bytes || (digits.length === bytes && Buffer.compare(digits, least) < 0);
}

/**
 * A point without compression: 4, then both coordinates. It may come compressed, or in both ways at
 * once (SEC 1 section 2.3.4, X9.62 section 4.3.6). Throws RangeError for infinity, for other
 * lengths, and for what is not on the curve.
 */
export function readPoint(curve: Curve, point: Uint8Array): Uint8Array {
  const { prime, bytes } = curve;
  const form = checkPointForm(point, bytes);
  const x = numberOf(point.subarray(1, 1 + bytes));
  if (x >= prime) throw new RangeError('EC: a coordinate is no element of the field');
  const square = ((x * x - 3n) * x + curve.b) % prime;
  const wanted = square < 0n ? square + prime : square;
  const y = form < 4 ? rootOf(wanted, prime, form % 2 === 1) : numberOf(point.subarray(1 + bytes));
  if (y >= prime || (y * y) % prime !== wanted) throw new RangeError('EC: the point is not on the curve');
  if (form > 4 && (y % 2n === 1n) !== (form % 2 === 1)) throw new RangeError('EC: the point says two things');
  return Buffer.from(`04${hexOf(x, bytes)}${hexOf(y, bytes)}`, 'hex');
}

/**
 * The first byte of a point: 2 or 3 compressed, 4 not, 6 or 7 both. Throws RangeError for other
 * bytes and lengths.
 */
export function checkPointForm(point: Uint8Array, bytes: number): number {
  const [form = 0] = point;
  const length = form === 2 || form === 3 ? 1 + bytes : 1 + 2 * bytes;
  if (![2, 3, 4, 6, 7].includes(form) || point.length !== length)
    throw new RangeError('EC: the public key is no point in a form that is known, or the point at infinity');
  return form;
}

/** The square root of this parity, if there is one; every prime here leaves 3 when divided by 4. */
function rootOf(square: bigint, prime: bigint, odd: boolean): bigint {
  let root = 1n;
  for (const bit of ((prime + 1n) / 4n).toString(2)) {
    root = (root * root) % prime;
    if (bit === '1') root = (root * square) % prime;
  }
  return (root % 2n === 1n) === odd ? root : prime - root;
}

const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x0${Buffer.from(bytes).toString('hex')}`);
const hexOf = (number: bigint, bytes: number): string => number.toString(16).padStart(bytes * 2, '0');
