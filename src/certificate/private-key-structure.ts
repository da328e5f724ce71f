import { defined } from '../defined.ts';
import { limits } from '../limits.ts';
import { type Curve, isScalar, readCurve } from './curves.ts';
import {
  bitStringIn,
  contentOf,
  type DerElement,
  derTag,
  elementsIn,
  oidIn,
  readWhole,
  smallIntegerIn,
  unsignedIn,
} from './der.ts';
import {
  bitsOf,
  checkRsaNumbers,
  ecKey,
  isOdd,
  keyOids,
  readingKey,
  readPssParameters,
  rsaPublicKeyDer,
  type TakenKind,
  unsupportedKey,
} from './public-key.ts';

/**
 * How the DER of a private key may be put together: RFC 5958, RFC 8017 appendix A.1.2, RFC 5915.
 */
export type KeyEncoding = 'pkcs8' | 'pkcs1' | 'sec1';

/** What a private key says of itself, read from its DER alone. Nothing of its secret part. */
export interface PrivateKeyStructure {
  readonly kind: TakenKind;
  /** The digest that it is bound to, by the platform's name; absent where it is bound to none. */
  readonly digest?: string;
  /**
   * SubjectPublicKeyInfo of the public half, where the encoding carries it and it has one encoding
   * only.
   */
  readonly publicKeyDer?: Uint8Array;
}

/**
 * Reads a private key before anything else looks at it: kind, curve, sizes; a number from 1 to
 * below the order, a point on the curve, RSA numbers that can be reckoned with. Whether the halves
 * belong together is for a signature to prove. Throws `certificate_malformed` for what cannot be a
 * key, and `certificate_key_unsupported` for kinds and sizes that are not taken; nothing of the key
 * is in the error, and no copy of its secret part stays.
 */
export function readPrivateKeyStructure(der: Uint8Array, encoding: KeyEncoding): PrivateKeyStructure {
  return readingKey('the private key', () => {
    const key = readWhole(der);
    if (encoding === 'pkcs1') return readRsa(key);
    if (encoding === 'sec1') return readEc(key, undefined);
    return readPkcs8(key);
  });
}

/** Names of kinds that are not taken, as the platform has them. */
const otherKinds: Readonly<Record<string, string>> = {
  [keyOids.dsa]: 'dsa',
  [keyOids.ed448]: 'ed448',
  '1.3.101.110': 'x25519',
  '1.3.101.111': 'x448',
  '1.2.840.113549.1.3.1': 'dh',
};

/** OneAsymmetricKey: version 0 or 1, algorithm, key; attributes and the public key may follow. */
function readPkcs8(info: DerElement): PrivateKeyStructure {
  const [version, algorithm, wrapped, ...more] = elementsIn(info, derTag.sequence);
  if (smallIntegerIn(version) > 1) throw new RangeError('PKCS#8: another version than 0 and 1');
  if (more.some(({ tag }) => tag !== derTag.constructed(0) && tag !== derTag.primitive(1)))
    throw new RangeError('PKCS#8: more than a private key has');
  const [identifier, parameters, ...others] = elementsIn(algorithm, derTag.sequence);
  if (others.length > 0) throw new RangeError('PKCS#8: an algorithm of more than two parts');
  const oid = oidIn(identifier);
  const content = contentOf(wrapped, derTag.octetString);
  switch (oid) {
    case keyOids.rsa:
      return readRsa(readWhole(content));
    case keyOids.rsaPss:
      return readRsa(readWhole(content), { parameters });
    case keyOids.ec:
      return readEc(readWhole(content), parameters);
    case keyOids.ed25519:
      if (parameters !== undefined) throw new RangeError('Ed25519: a key has no parameters');
      if (contentOf(readWhole(content), derTag.octetString).length !== 32)
        throw new RangeError('Ed25519: a private key has 32 bytes');
      return { kind: 'ed25519' };
    default:
      throw unsupportedPrivateKey(otherKinds[oid] ?? oid);
  }
}

/**
 * RSAPrivateKey: version, n, e, d, p, q, d mod (p-1), d mod (q-1), the inverse of q modulo p; of
 * version 1 with more primes. The sizes of its numbers are held to what the modulus says: they
 * decide how long a signature takes. `pss`: its parameters, for a key of that kind.
 */
function readRsa(key: DerElement, pss?: { readonly parameters: DerElement | undefined }): PrivateKeyStructure {
  const [version, ...members] = elementsIn(key, derTag.sequence);
  const more = smallIntegerIn(version);
  if (more > 1 || members.length !== 8 + more) throw new RangeError('RSA: other parts than a private key has');
  const number = (index: number) => nonZero(members[index]);
  const n = number(0);
  const e = number(1);
  const bits = checkRsaNumbers(n, e, limits.rsaPrivateKeyBits);
  const [p, q] = [number(3), number(4)];
  if (!isOdd(p) || !isOdd(q)) throw new RangeError('RSA: a prime is even');
  const primes = more === 1 ? elementsIn(members[8], derTag.sequence).map(furtherPrime) : [];
  const primeBits = [p, q, ...primes].map(bitsOf);
  const together = primeBits.reduce((sum, one) => sum + one, 0);
  // A product has as many bits as its factors together, or for each multiplication one less.
  if (together < bits || together > bits + primeBits.length - 1)
    throw new RangeError('RSA: the primes do not fit the modulus');
  const most = [bits, bitsOf(p), bitsOf(q), bitsOf(p)];
  if ([number(2), number(5), number(6), number(7)].some((one, index) => bitsOf(one) > (most[index] ?? 0)))
    throw new RangeError('RSA: a number of the private key is larger than it can be');
  if (bits > limits.rsaUncheckedBits) checkRemainders({ e, p, q, dp: number(5), dq: number(6), qInverse: number(7) });
  if (pss === undefined) return { kind: 'rsa', publicKeyDer: rsaPublicKeyDer(n, e) };
  const digest = readPssParameters(pss.parameters, bits);
  return { kind: 'rsa-pss', ...defined({ digest }) };
}

/**
 * Whether the numbers that a signature is made with fit each other (RFC 8017 section 3.2). Where
 * they do not, OpenSSL begins anew without them, which takes ten times as long: for a large key
 * longer than everything else on this thread may wait. Small keys are not looked at so: big
 * integers stay in memory that nobody can overwrite.
 */
function checkRemainders(parts: Readonly<Record<'e' | 'p' | 'q' | 'dp' | 'dq' | 'qInverse', Uint8Array>>): void {
  const whole = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  const e = whole(parts.e);
  const fits = (remainder: Uint8Array, prime: bigint) => (e * whole(remainder)) % (prime - 1n) === 1n;
  const [p, q] = [whole(parts.p), whole(parts.q)];
  if (!fits(parts.dp, p) || !fits(parts.dq, q) || (whole(parts.qInverse) * q) % p !== 1n)
    throw new RangeError('RSA: the numbers of the private key do not fit each other');
}

/** OtherPrimeInfo: a further prime, d modulo it less one, and its coefficient. The prime. */
function furtherPrime(info: DerElement): Uint8Array {
  const [prime, ...others] = elementsIn(info, derTag.sequence).map(nonZero);
  if (prime === undefined || others.length !== 2 || !isOdd(prime)) throw new RangeError('RSA: a further prime is none');
  if (others.some((other) => bitsOf(other) > bitsOf(prime))) throw new RangeError('RSA: a further prime does not fit');
  return prime;
}

function nonZero(element: DerElement | undefined): Uint8Array {
  const number = unsignedIn(element);
  if (number.length === 0) throw new RangeError('RSA: a number of the private key is zero');
  return number;
}

/**
 * ECPrivateKey: version 1, the number, and [0] the curve, [1] the point, each where it is given.
 */
function readEc(key: DerElement, parameters: DerElement | undefined): PrivateKeyStructure {
  const [version, scalar, ...rest] = elementsIn(key, derTag.sequence);
  if (smallIntegerIn(version) !== 1) throw new RangeError('EC: another version than 1');
  const parts = rest.map(({ tag }) => tag);
  const [curvePart, pointPart] = [derTag.constructed(0), derTag.constructed(1)];
  if (
    parts.length > 2 ||
    parts.some((tag, index) => tag !== curvePart && !(tag === pointPart && index === parts.length - 1))
  )
    throw new RangeError('EC: more than a private key has');
  const inside = (tag: number) => {
    const part = rest.find((one) => one.tag === tag);
    return part && readWhole(part.content);
  };
  const curve = sameCurve(parameters, inside(curvePart));
  if (!isScalar(curve, contentOf(scalar, derTag.octetString)))
    throw new RangeError('EC: the private key is not between 1 and the order of its curve');
  const point = inside(pointPart);
  return { kind: 'ec', ...(point && { publicKeyDer: ecKey(curve, bitStringIn(point)).der }) };
}

/** The curve, which PKCS#8 says outside and SEC1 inside, some programs in both places. */
function sameCurve(outside: DerElement | undefined, inside: DerElement | undefined): Curve {
  const named = [outside, inside].filter((one) => one !== undefined).map(readCurve);
  const [first, second = first] = named;
  if (first === undefined || second === undefined) throw new RangeError('EC: no curve is named');
  if (!first.taken || !second.taken) {
    const [name] = [first, second].flatMap((one) => (one.taken ? [] : [one.name]));
    throw unsupportedPrivateKey(name ?? 'EC');
  }
  if (first.curve !== second.curve) throw new RangeError('EC: two different curves are named');
  return first.curve;
}

export const unsupportedPrivateKey = (keyType: string) =>
  unsupportedKey(keyType, `the private key is of the kind ${keyType}`);
