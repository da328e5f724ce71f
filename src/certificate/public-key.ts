import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Curve, checkPointForm, readCurve, readPoint } from './curves.ts';
import {
  bitStringIn,
  type DerElement,
  derTag,
  elementsIn,
  oidIn,
  readWhole,
  smallIntegerIn,
  unsignedIn,
  writeElement,
} from './der.ts';

/** The kinds of keys that are taken here. */
export type TakenKind = 'rsa' | 'rsa-pss' | 'ec' | 'ed25519';

/** What a public key says of itself, read from its DER alone. */
export interface PublicKey {
  /** `other`: of a kind that is known at most by name, whose form nobody looked at. */
  readonly kind: TakenKind | 'other';
  /**
   * OpenSSL's long name of its algorithm, as Certificate Manager uses it; else the dotted
   * identifier.
   */
  readonly algorithm: string;
  /** Absent where they are not known. */
  readonly bits?: number;
  /** A text that two keys share if they are one key, however each is encoded. */
  readonly identity: string;
  /**
   * The encoding of this key that is the same for all its encodings: SubjectPublicKeyInfo, points
   * not compressed.
   */
  readonly der: Uint8Array;
}

/**
 * OpenSSL's long names of the algorithms of public keys. An algorithm that is not here goes by its
 * dotted identifier.
 */
const algorithmNames: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.1': 'rsaEncryption',
  '1.2.840.113549.1.1.10': 'rsassaPss',
  '1.2.840.10040.4.1': 'dsaEncryption',
  '1.2.840.10045.2.1': 'id-ecPublicKey',
  '1.3.101.112': 'ED25519',
  '1.3.101.113': 'ED448',
};

export const keyOids = {
  rsa: '1.2.840.113549.1.1.1',
  rsaPss: '1.2.840.113549.1.1.10',
  dsa: '1.2.840.10040.4.1',
  ec: '1.2.840.10045.2.1',
  ed25519: '1.3.101.112',
  ed448: '1.3.101.113',
} as const;

/** What is said of a key before its kind's own fields. */
interface Encoded {
  readonly algorithm: string;
  readonly parameters: DerElement | undefined;
  /** What the BIT STRING holds. */
  readonly key: Uint8Array;
  /** All of it, as it came. */
  readonly der: Uint8Array;
}

type Reader = (encoded: Encoded) => PublicKey;

const readers: Readonly<Record<string, Reader>> = {
  [keyOids.rsa]: readRsa,
  [keyOids.rsaPss]: readRsaPss,
  [keyOids.dsa]: readDsa,
  [keyOids.ec]: readEc,
  [keyOids.ed25519]: readEd25519,
  [keyOids.ed448]: (encoded) => ({ ...other(encoded), bits: 456 }),
};

/**
 * A public key from its SubjectPublicKeyInfo (RFC 5280 section 4.1), which nothing else looks at
 * before: the platform ends the process where it is asked about some keys that cannot exist. Throws
 * `certificate_malformed` for one that cannot be what it says, and `certificate_key_unsupported`
 * for one that is too small, too large, or bound to a digest that is not known.
 */
export function readPublicKey(der: Uint8Array): PublicKey {
  return readingKey('the public key', () => {
    const [algorithmIdentifier, key, ...more] = elementsIn(readWhole(der), derTag.sequence);
    const [oid, parameters, ...others] = elementsIn(algorithmIdentifier, derTag.sequence);
    if (more.length + others.length > 0) throw new RangeError('DER: more than a public key has');
    const algorithm = oidIn(oid);
    const encoded = { algorithm, parameters, key: bitStringIn(key), der };
    return (readers[algorithm] ?? other)(encoded);
  });
}

/**
 * Does a reading, and says of what it throws that a key cannot be read. Coded errors go through.
 */
export function readingKey<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof CodedError) throw thrown;
    // A RangeError of the reader: it quotes no byte of the key.
    const why = thrown instanceof RangeError ? `: ${thrown.message}` : '';
    throw new CodedError('certificate_malformed', `${what} cannot be read${why}`, { cause: thrown });
  }
}

/** A key of a kind that is not taken, told apart by its bytes alone. */
function other({ algorithm, der }: Encoded): PublicKey {
  return { kind: 'other', algorithm: algorithmNames[algorithm] ?? algorithm, identity: `other:${hex(der)}`, der };
}

function readRsa(encoded: Encoded): PublicKey {
  return rsaKey('rsa', encoded);
}

function readRsaPss(encoded: Encoded): PublicKey {
  const key = rsaKey('rsa-pss', encoded);
  readPssParameters(encoded.parameters, key.bits ?? 0);
  return key;
}

function rsaKey(kind: 'rsa' | 'rsa-pss', { algorithm, key, der }: Encoded): PublicKey {
  const [modulus, exponent, ...more] = elementsIn(readWhole(key), derTag.sequence);
  if (more.length > 0) throw new RangeError('RSA: more than a public key has');
  const n = unsignedIn(modulus);
  const e = unsignedIn(exponent);
  const bits = checkRsaNumbers(n, e, limits.rsaPublicKeyBits);
  const name = algorithmNames[algorithm] ?? algorithm;
  return {
    kind,
    algorithm: name,
    bits,
    identity: `${kind}:${hex(n)}:${hex(e)}`,
    der: kind === 'rsa' ? rsaPublicKeyDer(n, e) : der,
  };
}

/**
 * The bits of an RSA modulus that may be one, with an exponent that may be one (RFC 8017 section
 * 3.1): both odd, the exponent at least 3. Throws RangeError, and `certificate_key_unsupported`
 * where one is too small or too large to be reckoned with.
 */
export function checkRsaNumbers(n: Uint8Array, e: Uint8Array, mostBits: number): number {
  const bits = bitsOf(n);
  if (bits > mostBits || (bits > 0 && bits < limits.rsaLeastBits)) {
    throw unsupportedKey(`RSA ${bits}`, `an RSA key has ${bits} bits, ${limits.rsaLeastBits} to ${mostBits} are taken`);
  }
  const exponentBits = bitsOf(e);
  if (exponentBits > limits.rsaExponentBits) {
    const message = `an RSA key has a public exponent of ${exponentBits} bits, at most ${limits.rsaExponentBits} are taken`;
    throw unsupportedKey('RSA', message);
  }
  if (!isOdd(n)) throw new RangeError('RSA: the modulus is even');
  if (!isOdd(e) || exponentBits < 2) throw new RangeError('RSA: the public exponent is even, or less than 3');
  return bits;
}

/**
 * The SubjectPublicKeyInfo of an RSA key (RFC 3279 section 2.3.1) of these numbers, without leading
 * zeros.
 */
export function rsaPublicKeyDer(n: Uint8Array, e: Uint8Array): Buffer {
  const integer = (bytes: Uint8Array) =>
    writeElement(derTag.integer, new Uint8Array((bytes[0] ?? 0) >= 0x80 ? 1 : 0), bytes);
  const algorithm = writeElement(derTag.sequence, oidOfRsa, writeElement(derTag.null));
  const key = writeElement(derTag.sequence, integer(n), integer(e));
  return writeElement(derTag.sequence, algorithm, writeElement(derTag.bitString, new Uint8Array(1), key));
}

const oidOfRsa = Buffer.from('06092a864886f70d010101', 'hex');
const mgf1Oid = '1.2.840.113549.1.1.8';

/** Digests that RSASSA-PSS keys may be bound to, by the names of the platform, with their bytes. */
const pssDigests: Readonly<Record<string, readonly [name: string, bytes: number]>> = {
  '1.3.14.3.2.26': ['sha1', 20],
  '2.16.840.1.101.3.4.2.4': ['sha224', 28],
  '2.16.840.1.101.3.4.2.1': ['sha256', 32],
  '2.16.840.1.101.3.4.2.2': ['sha384', 48],
  '2.16.840.1.101.3.4.2.3': ['sha512', 64],
  '2.16.840.1.101.3.4.2.5': ['sha512-224', 28],
  '2.16.840.1.101.3.4.2.6': ['sha512-256', 32],
};

/**
 * The digest that an RSASSA-PSS key is bound to (RFC 4055 section 3.1), by the name of the
 * platform; `undefined` if it is bound to none. Throws RangeError for parameters that say nothing
 * that can be, and `certificate_key_unsupported` for digests that are not known and for salt that
 * has no room.
 */
export function readPssParameters(parameters: DerElement | undefined, modulusBits: number): string | undefined {
  if (parameters === undefined) return undefined;
  const fields = elementsIn(parameters, derTag.sequence);
  if (fields.some(({ tag }, index) => tag < (fields[index - 1]?.tag ?? 0xa0 - 1) + 1 || tag > 0xa3))
    throw new RangeError('RSASSA-PSS: parameters that are none');
  const inside = (n: number) => {
    const field = fields.find(({ tag }) => tag === derTag.constructed(n));
    return field && readWhole(field.content);
  };
  const [digest, digestBytes] = digestOf(inside(0));
  const mask = inside(1);
  if (mask !== undefined) {
    const [oid, maskDigest] = elementsIn(mask, derTag.sequence);
    if (oidIn(oid) !== mgf1Oid) throw unsupportedKey('rsa-pss', 'an RSASSA-PSS key asks for another mask than MGF1');
    digestOf(maskDigest);
  }
  const salt = inside(2);
  const saltBytes = salt === undefined ? 20 : smallIntegerIn(salt);
  const trailer = inside(3);
  if (trailer !== undefined && smallIntegerIn(trailer) !== 1)
    throw new RangeError('RSASSA-PSS: another trailer than 1');
  if (Math.ceil((modulusBits - 1) / 8) < digestBytes + saltBytes + 2)
    throw unsupportedKey('rsa-pss', 'an RSASSA-PSS key asks for more salt than it has room for');
  return digest;
}

function digestOf(algorithm: DerElement | undefined): readonly [name: string, bytes: number] {
  if (algorithm === undefined) return ['sha1', 20];
  const oid = oidIn(elementsIn(algorithm, derTag.sequence)[0]);
  const digest = pssDigests[oid];
  if (digest === undefined) throw unsupportedKey('rsa-pss', `an RSASSA-PSS key is bound to the digest ${oid}`);
  return digest;
}

function readDsa(encoded: Encoded): PublicKey {
  const key = other(encoded);
  // Parameters may be those of the issuer (RFC 3279 section 2.3.2).
  if (encoded.parameters?.tag !== derTag.sequence) return key;
  const bits = bitsOf(unsignedIn(elementsIn(encoded.parameters, derTag.sequence)[0]));
  if (bits > limits.rsaPublicKeyBits) throw unsupportedKey('dsa', `a DSA key has ${bits} bits`);
  return { ...key, bits };
}

function readEc(encoded: Encoded): PublicKey {
  const named = readCurve(encoded.parameters);
  if (named.taken) return ecKey(named.curve, encoded.key);
  const { name, bytes, bits } = named;
  if (encoded.parameters?.tag !== derTag.oid) throw unsupportedKey(name, `a public key is of the kind ${name}`);
  // Whether the point is on a curve that is not taken is for the platform to say; infinity is a
  // point of none.
  checkPointForm(encoded.key, bytes ?? Math.floor((encoded.key.length - 1) / ((encoded.key[0] ?? 0) < 4 ? 1 : 2)));
  return { ...other(encoded), ...defined({ bits }) };
}

/** The public key that is this point of a curve. Throws RangeError if it is none. */
export function ecKey(curve: Curve, point: Uint8Array): PublicKey {
  const plain = readPoint(curve, point);
  const identity = `${curve.name}:${hex(plain)}`;
  return { kind: 'ec', algorithm: 'id-ecPublicKey', bits: curve.bits, identity, der: ecPublicKeyDer(curve, plain) };
}

const oidOfEc = Buffer.from('06072a8648ce3d0201', 'hex');

function ecPublicKeyDer(curve: Curve, point: Uint8Array): Buffer {
  const algorithm = writeElement(derTag.sequence, oidOfEc, Buffer.from(curve.oidDer, 'hex'));
  return writeElement(derTag.sequence, algorithm, writeElement(derTag.bitString, new Uint8Array(1), point));
}

function readEd25519({ parameters, key, der }: Encoded): PublicKey {
  if (parameters !== undefined) throw new RangeError('Ed25519: a key has no parameters');
  if (key.length !== 32) throw new RangeError('Ed25519: a public key has 32 bytes');
  return { kind: 'ed25519', algorithm: 'ED25519', bits: 256, identity: `ed25519:${hex(key)}`, der };
}

export function unsupportedKey(keyType: string, message: string): CodedError {
  return new CodedError('certificate_key_unsupported', message, { fields: { keyType } });
}

/** Bits of a number that is given without leading zero bytes. */
export function bitsOf(bytes: Uint8Array): number {
  const [first] = bytes;
  return first === undefined ? 0 : bytes.length * 8 - Math.clz32(first) + 24;
}

export const isOdd = (bytes: Uint8Array): boolean => (bytes.at(-1) ?? 0) % 2 === 1;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
