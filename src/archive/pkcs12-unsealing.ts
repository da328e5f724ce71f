import { createDecipheriv, createHash, createHmac, hash, pbkdf2Sync, scryptSync, timingSafeEqual } from 'node:crypto';
import forge from 'node-forge';
import { type DerElement, derTag, oidText, readElement, readElements } from '../certificate/der.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { withNames } from './object-identifiers.ts';
import { derive, oids, type PassphraseForm, passphraseForms } from './pkcs12-ciphers.ts';

/**
 * How PKCS#12 files are sealed and encrypted, for reading: PBES2 with PBKDF2 or scrypt, PBES1 (RFC
 * 8018), PKCS#12's own schemes (RFC 7292 appendix C), the MAC of RFC 7292 and PBMAC1 (RFC 9579).
 * The platform's own ciphers and derivations wherever it has them, since they take a fraction of
 * the time; RC2 and DES alone are node-forge's.
 */

/**
 * Digests by their object identifiers, as the platform names them, with the block length that
 * PKCS#12's derivation rests on.
 */
const digests: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.5': 'md5',
  [oids.sha1]: 'sha1',
  '2.16.840.1.101.3.4.2.4': 'sha224',
  [oids.sha256]: 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
  '2.16.840.1.101.3.4.2.5': 'sha512-224',
  '2.16.840.1.101.3.4.2.6': 'sha512-256',
  '2.16.840.1.101.3.4.2.7': 'sha3-224',
  '2.16.840.1.101.3.4.2.8': 'sha3-256',
  '2.16.840.1.101.3.4.2.9': 'sha3-384',
  '2.16.840.1.101.3.4.2.10': 'sha3-512',
};

/** HMACs by their object identifiers (RFC 8018 appendix B.1, and those of SHA-3). */
const hmacs: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.8': 'sha224',
  [oids.hmacSha256]: 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
  '1.2.840.113549.2.12': 'sha512-224',
  '1.2.840.113549.2.13': 'sha512-256',
  '2.16.840.1.101.3.4.2.13': 'sha3-224',
  '2.16.840.1.101.3.4.2.14': 'sha3-256',
  '2.16.840.1.101.3.4.2.15': 'sha3-384',
  '2.16.840.1.101.3.4.2.16': 'sha3-512',
};

/**
 * A cipher: how many bytes of key it takes, and how it decrypts. `iv` is empty for one that takes
 * none.
 */
interface Cipher {
  readonly keyBytes: number;
  readonly ivBytes: number;
  decrypt(key: Buffer, iv: Uint8Array, encrypted: Uint8Array): Buffer;
}

const ofPlatform = (name: string, keyBytes: number, ivBytes: number): Cipher => ({
  keyBytes,
  ivBytes,
  decrypt(key, iv, encrypted) {
    const decipher = createDecipheriv(name, key, iv);
    return Buffer.concat([decipher.update(encrypted), decipher.final()]);
  },
});
/**
 * RC2 in CBC (RFC 2268), as long as its key: OpenSSL 3 has it only among what must be loaded apart.
 */
const rc2 = (keyBytes: number): Cipher => ({
  keyBytes,
  ivBytes: 8,
  decrypt(key, iv, encrypted) {
    const cipher = forge.rc2.createDecryptionCipher(binary(key), 8 * keyBytes);
    cipher.start(binary(iv));
    return finished(cipher, encrypted);
  },
});
const singleDes: Cipher = {
  keyBytes: 8,
  ivBytes: 8,
  decrypt(key, iv, encrypted) {
    const cipher = forge.cipher.createDecipher('DES-CBC', binary(key));
    cipher.start({ iv: binary(iv) });
    return finished(cipher, encrypted);
  },
};
const rc4 = (keyBytes: number): Cipher => ({
  keyBytes,
  ivBytes: 0,
  decrypt: (key, _, encrypted) => rc4Of(key, encrypted),
});
const tripleDes = ofPlatform('des-ede3-cbc', 24, 8);

/** Ciphers that PBES2 names. */
const pbes2Ciphers: Readonly<Record<string, Cipher>> = {
  '2.16.840.1.101.3.4.1.2': ofPlatform('aes-128-cbc', 16, 16),
  '2.16.840.1.101.3.4.1.22': ofPlatform('aes-192-cbc', 24, 16),
  [oids.aes256]: ofPlatform('aes-256-cbc', 32, 16),
  '1.2.392.200011.61.1.1.1.2': ofPlatform('camellia-128-cbc', 16, 16),
  '1.2.392.200011.61.1.1.1.3': ofPlatform('camellia-192-cbc', 24, 16),
  '1.2.392.200011.61.1.1.1.4': ofPlatform('camellia-256-cbc', 32, 16),
  '1.2.840.113549.3.7': tripleDes,
  '1.3.14.3.2.7': singleDes,
};

/** PKCS#12's own schemes (RFC 7292 appendix C): all derive with SHA-1. */
const pkcs12Ciphers: Readonly<Record<string, Cipher>> = {
  '1.2.840.113549.1.12.1.1': rc4(16),
  '1.2.840.113549.1.12.1.2': rc4(5),
  [oids.tripleDes]: tripleDes,
  '1.2.840.113549.1.12.1.4': ofPlatform('des-ede-cbc', 16, 8),
  '1.2.840.113549.1.12.1.5': rc2(16),
  '1.2.840.113549.1.12.1.6': rc2(5),
};

/** PBES1 (RFC 8018 section 6.1): key and IV are the two halves of one digest, repeated. */
const pbes1Ciphers: Readonly<Record<string, { readonly digest: string; readonly cipher: Cipher }>> = {
  '1.2.840.113549.1.5.3': { digest: 'md5', cipher: singleDes },
  '1.2.840.113549.1.5.6': { digest: 'md5', cipher: rc2(8) },
  '1.2.840.113549.1.5.10': { digest: 'sha1', cipher: singleDes },
  '1.2.840.113549.1.5.11': { digest: 'sha1', cipher: rc2(8) },
};

/**
 * Decrypts what an AlgorithmIdentifier describes. Throws `archive_unsupported` for one that is not
 * known here, `archive_costly`, RangeError for parameters that are none, and an Error for padding
 * that is wrong: another passphrase, or other bytes.
 */
export function decrypt(algorithm: DerElement, encrypted: Uint8Array, passphrase: PassphraseForm): Buffer {
  const [oid, parameters] = readElements(algorithm.content);
  const name = oidText(contentOf(oid));
  const inner = readElements(contentOf(parameters));
  if (name === oids.pbes2) return decryptPbes2(inner, encrypted, passphrase);
  const [salt, count] = inner;
  const own = pkcs12Ciphers[name];
  if (own !== undefined) {
    const bytes = (id: 1 | 2, length: number) =>
      derive('sha1', { secret: passphrase.pkcs12, salt: contentOf(salt), rounds: roundsOf(count), id, bytes: length });
    return own.decrypt(bytes(1, own.keyBytes), own.ivBytes === 0 ? Buffer.alloc(0) : bytes(2, own.ivBytes), encrypted);
  }
  const old = pbes1Ciphers[name];
  if (old === undefined) throw unsupported(`the encryption ${name}`);
  let mixed = createHash(old.digest).update(passphrase.text).update(contentOf(salt)).digest();
  for (let round = roundsOf(count); round > 1; round -= 1) mixed = hash(old.digest, mixed, 'buffer');
  return old.cipher.decrypt(mixed.subarray(0, 8), mixed.subarray(8, 16), encrypted);
}

/** PBES2 (RFC 8018 section 6.2): a derivation, and a cipher with its IV. */
function decryptPbes2(
  [derivation, scheme]: readonly DerElement[],
  encrypted: Uint8Array,
  passphrase: PassphraseForm,
): Buffer {
  const [schemeOid, schemeParameters] = readElements(contentOf(scheme));
  const name = oidText(contentOf(schemeOid));
  // RC2-CBC says its key length in a number of its own beside the IV (RFC 8018 appendix B.2.3); all
  // others have an IV alone.
  const rc2Parameters = name === '1.2.840.113549.3.2' ? readElements(contentOf(schemeParameters)) : undefined;
  const cipher = rc2Parameters === undefined ? pbes2Ciphers[name] : rc2Of(rc2Parameters);
  if (cipher === undefined) throw unsupported(`the cipher ${name}`);
  const iv = contentOf(rc2Parameters === undefined ? schemeParameters : rc2Parameters.at(-1));
  if (iv.length !== cipher.ivBytes) throw new RangeError(`an initialisation vector of ${iv.length} bytes`);
  const key = derivedKey(readElements(contentOf(derivation)), passphrase.text, cipher.keyBytes);
  return cipher.decrypt(key, iv, encrypted);
}

/**
 * RFC 8018 appendix B.2.3 says 40, 64 and 128 bits by these numbers; without one it is 32 bits,
 * which nobody uses.
 */
function rc2Of(parameters: readonly DerElement[]): Cipher | undefined {
  const [version] = parameters.length === 2 ? parameters : [];
  const bits = { 160: 40, 120: 64, 58: 128 }[version === undefined ? 0 : numberIn(version)];
  return bits === undefined ? undefined : rc2(bits / 8);
}

/** Key material of PBKDF2 or scrypt, by the AlgorithmIdentifier of a key derivation. */
function derivedKey([oid, parameters]: readonly DerElement[], secret: Uint8Array, bytes: number): Buffer {
  const name = oidText(contentOf(oid));
  const [salt, ...rest] = readElements(contentOf(parameters));
  if (name === '1.3.6.1.4.1.11591.4.11') return scryptKey(contentOf(salt), rest, secret, bytes);
  if (name !== oids.pbkdf2) throw unsupported(`the key derivation ${name}`);
  const { prf } = pbkdf2Options(rest);
  return pbkdf2Sync(secret, contentOf(salt), roundsOf(rest[0]), bytes, prf);
}

/**
 * What may follow the salt in PBKDF2-params (RFC 8018 appendix A.2): rounds, a key length, and an
 * HMAC, which is SHA-1's unless it is said.
 */
function pbkdf2Options([, ...options]: readonly DerElement[]) {
  const length = options.find(({ tag }) => tag === derTag.integer);
  const algorithm = options.find(({ tag }) => tag === derTag.sequence);
  const name = algorithm === undefined ? '1.2.840.113549.2.7' : oidText(readElement(algorithm.content).content);
  const prf = hmacs[name];
  if (prf === undefined) throw unsupported(`a key derivation with ${name}`);
  return { prf, keyBytes: length === undefined ? undefined : numberIn(length) };
}

/** scrypt (RFC 7914 section 7): N, r and p are its costs. */
function scryptKey(
  salt: Uint8Array,
  [cost, blockSize, parallel]: readonly DerElement[],
  secret: Uint8Array,
  bytes: number,
): Buffer {
  const [N, r, p] = [numberIn(cost), numberIn(blockSize), numberIn(parallel)];
  const work = N * r * p;
  if (!(work >= 1 && work <= limits.scryptWork))
    throw costly(`scrypt with N ${N}, r ${r} and p ${p}`, work, limits.scryptWork);
  return scryptSync(secret, salt, bytes, { N, r, p, maxmem: 130 * limits.scryptWork });
}

/**
 * Which form of the passphrase a MAC holds under; `undefined` if under none. Throws as `decrypt`
 * does.
 */
export function macHolds(
  macDataElement: DerElement,
  content: Uint8Array,
  passphrase: string,
): PassphraseForm | undefined {
  const [info, salt, count] = readElements(macDataElement.content);
  const [algorithm, expected] = readElements(contentOf(info));
  const [oid, parameters] = readElements(contentOf(algorithm));
  const name = oidText(contentOf(oid));
  const wanted = contentOf(expected);
  const digest = digests[name];
  if (digest === undefined && name !== oids.pbmac1) throw unsupported(`the seal ${name}`);
  return passphraseForms(passphrase).find((form) => {
    const mac =
      digest === undefined
        ? pbmac1(contentOf(parameters), content, form.text)
        : macOf(content, form.pkcs12, contentOf(salt), count === undefined ? 1 : roundsOf(count), digest);
    return wanted.length === mac.length && timingSafeEqual(mac, wanted);
  });
}

/** The MAC of RFC 7292 appendix B.4: an HMAC under a key of PKCS#12's own derivation. */
function macOf(content: Uint8Array, secret: Uint8Array, salt: Uint8Array, rounds: number, digest: string): Buffer {
  const bytes = createHash(digest).digest().length;
  return createHmac(digest, derive(digest, { secret, salt, rounds, id: 3, bytes }))
    .update(content)
    .digest();
}

/**
 * PBMAC1 (RFC 9579 section 4): an HMAC under a key of PBKDF2, whose length must be said and may not
 * be short.
 */
function pbmac1(parameters: Uint8Array, content: Uint8Array, secret: Uint8Array): Buffer {
  const [derivation, scheme] = readElements(parameters);
  const [kdf, kdfParameters] = readElements(contentOf(derivation));
  if (oidText(contentOf(kdf)) !== oids.pbkdf2) throw unsupported(`the seal PBMAC1 with ${oidText(contentOf(kdf))}`);
  const [salt, ...rest] = readElements(contentOf(kdfParameters));
  const { prf, keyBytes } = pbkdf2Options(rest);
  const name = oidText(contentOf(readElements(contentOf(scheme))[0]));
  const hmac = hmacs[name];
  if (hmac === undefined) throw unsupported(`the seal PBMAC1 with ${name}`);
  if (keyBytes === undefined || keyBytes < 20 || keyBytes > 128)
    throw new RangeError(`PBMAC1 with a key of ${keyBytes ?? 'no said number of'} bytes`);
  const key = pbkdf2Sync(secret, contentOf(salt), roundsOf(rest[0]), keyBytes, prf);
  return createHmac(hmac, key).update(content).digest();
}

/** Writes what is decrypted or encrypted with RC4, which the platform has no more. */
function rc4Of(key: Uint8Array, input: Uint8Array): Buffer {
  const state = Uint8Array.from({ length: 256 }, (_, index) => index);
  const at = (index: number) => state[index & 0xff] ?? 0;
  const swap = (a: number, b: number) => {
    const kept = at(a);
    state[a] = at(b);
    state[b] = kept;
  };
  for (let index = 0, other = 0; index < 256; index += 1) {
    other = (other + at(index) + (key[index % key.length] ?? 0)) & 0xff;
    swap(index, other);
  }
  let other = 0;
  return Buffer.from(
    input.map((byte, index) => {
      const place = (index + 1) & 0xff;
      other = (other + at(place)) & 0xff;
      swap(place, other);
      return byte ^ at(at(place) + at(other));
    }),
  );
}

/** What one of node-forge's ciphers makes of all of the input; it looks at the padding last. */
function finished(
  cipher: { update(input: forge.util.ByteBuffer): void; finish(): boolean; readonly output: forge.util.ByteBuffer },
  encrypted: Uint8Array,
): Buffer {
  cipher.update(forge.util.createBuffer(binary(encrypted)));
  if (!cipher.finish()) throw new Error('the padding is wrong');
  return Buffer.from(cipher.output.getBytes(), 'latin1');
}

const binary = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

function numberIn(element: DerElement | undefined): number {
  let value = 0;
  for (const byte of contentOf(element)) value = value * 256 + byte;
  return value;
}

function roundsOf(element: DerElement | undefined): number {
  const rounds = numberIn(element);
  if (rounds < 1) throw new RangeError('a key derivation of no rounds');
  if (rounds > limits.pkcs12Iterations)
    throw costly(`a key derivation of ${rounds} rounds`, rounds, limits.pkcs12Iterations);
  return rounds;
}

function costly(what: string, asked: number, limit: number): CodedError {
  return new CodedError('archive_costly', `it asks for ${what}, and at most ${limit} are done here`, {
    fields: { asked, limit },
  });
}

function contentOf(element: DerElement | undefined): Uint8Array {
  if (element === undefined) throw new RangeError('DER: an element is missing');
  return element.content;
}

/**
 * Says what is not known here; the object identifier is in the fields too, for those who search for
 * it.
 */
function unsupported(what: string): CodedError {
  return new CodedError('archive_unsupported', `it uses ${withNames(what)}, which is not known here`, {
    fields: { uses: what },
  });
}
