import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hash,
  pbkdf2Sync,
  timingSafeEqual,
} from 'node:crypto';
import { type DerElement, derTag, oidText, readElement, readElements } from '../certificate/der.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { integer, nothing, objectIdentifier, octetString, sequence } from './der-writing.ts';

/**
 * How PKCS#12 encrypts and seals: PBES2 with PBKDF2 and AES (RFC 8018), and what old programs know, PKCS#12's own derivation with
 * triple DES and SHA-1 (RFC 7292, appendices B and C). No library that we know does both for keys of every kind.
 */

const oids = {
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  tripleDes: '1.2.840.113549.1.12.1.3',
  hmacSha256: '1.2.840.113549.2.9',
  aes256: '2.16.840.1.101.3.4.1.42',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;

const prfs: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  [oids.hmacSha256]: 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
};
const digests: Readonly<Record<string, string>> = {
  [oids.sha1]: 'sha1',
  [oids.sha256]: 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
const blockCiphers: Readonly<Record<string, { readonly name: string; readonly keyBytes: number }>> = {
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', keyBytes: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', keyBytes: 24 },
  [oids.aes256]: { name: 'aes-256-cbc', keyBytes: 32 },
};

/** Rounds of derivation: a few times what OpenSSL does by default, and no more than Java and Windows take quickly. */
const iterations = 100_000;

/** Chance, so that tests can put their own in. */
export type Salt = (bytes: number) => Buffer;

/** Encrypts under a passphrase; gives the AlgorithmIdentifier and the ciphertext. */
export function encrypt(plain: Uint8Array, passphrase: string, salt: Salt, legacy: boolean) {
  if (legacy) {
    const seed = salt(8);
    const cipher = createCipheriv('des-ede3-cbc', derive(passphrase, seed, 1, 24), derive(passphrase, seed, 2, 8));
    const algorithm = sequence(objectIdentifier(oids.tripleDes), sequence(octetString(seed), integer(iterations)));
    return { algorithm, encrypted: Buffer.concat([cipher.update(plain), cipher.final()]) };
  }
  const [seed, iv] = [salt(16), salt(16)];
  const cipher = createCipheriv('aes-256-cbc', pbkdf2Sync(passphrase, seed, iterations, 32, 'sha256'), iv);
  const prf = sequence(objectIdentifier(oids.hmacSha256), nothing());
  const derivation = sequence(
    objectIdentifier(oids.pbkdf2),
    sequence(octetString(seed), integer(iterations), integer(32), prf),
  );
  const scheme = sequence(objectIdentifier(oids.aes256), octetString(iv));
  const algorithm = sequence(objectIdentifier(oids.pbes2), sequence(derivation, scheme));
  return { algorithm, encrypted: Buffer.concat([cipher.update(plain), cipher.final()]) };
}

/** Decrypts what an AlgorithmIdentifier describes. Throws `archive_unsupported`, RangeError for what is no DER, and Node's for padding that is wrong. */
export function decrypt(algorithm: DerElement, encrypted: Uint8Array, passphrase: string): Buffer {
  const [oid, parameters] = readElements(algorithm.content);
  const name = oid === undefined ? '' : oidText(oid.content);
  const inner = readElements(parameters?.content ?? new Uint8Array());
  if (name === oids.tripleDes) {
    const [salt, count] = inner;
    const seed = contentOf(salt);
    const rounds = roundsOf(count);
    const cipher = createDecipheriv(
      'des-ede3-cbc',
      derive(passphrase, seed, 1, 24, 'sha1', rounds),
      derive(passphrase, seed, 2, 8, 'sha1', rounds),
    );
    return Buffer.concat([cipher.update(encrypted), cipher.final()]);
  }
  if (name !== oids.pbes2) throw unsupported(`encryption ${name}`);
  const [derivation, scheme] = inner.map(({ content }) => readElements(content));
  const kdf = oidText(contentOf(derivation?.[0]));
  if (kdf !== oids.pbkdf2) throw unsupported(`key derivation ${kdf}`);
  const [salt, count, ...options] = readElements(contentOf(derivation?.[1]));
  const prfElement = options.find(({ tag }) => tag === derTag.sequence);
  // Without one it is HMAC with SHA-1 (RFC 8018 appendix A.2).
  const prfOid = prfElement === undefined ? '1.2.840.113549.2.7' : oidText(readElement(prfElement.content).content);
  const schemeOid = oidText(contentOf(scheme?.[0]));
  const cipher = blockCiphers[schemeOid];
  const prf = prfs[prfOid];
  if (cipher === undefined) throw unsupported(`cipher ${schemeOid}`);
  if (prf === undefined) throw unsupported(`key derivation with ${prfOid}`);
  const key = pbkdf2Sync(passphrase, contentOf(salt), roundsOf(count), cipher.keyBytes, prf);
  const decipher = createDecipheriv(cipher.name, key, contentOf(scheme?.[1]));
  return Buffer.concat([decipher.update(encrypted), decipher.final()]);
}

/** MacData over the authenticated content. */
export function macData(content: Uint8Array, passphrase: string, salt: Salt, legacy: boolean): Buffer {
  const digest = legacy ? 'sha1' : 'sha256';
  const seed = salt(legacy ? 8 : 16);
  const mac = macOf(content, passphrase, seed, iterations, digest);
  const algorithm = sequence(objectIdentifier(oids[digest]), nothing());
  return sequence(sequence(algorithm, octetString(mac)), octetString(seed), integer(iterations));
}

/** Whether the MacData is that of the content under this passphrase. */
export function macHolds(macDataElement: DerElement, content: Uint8Array, passphrase: string): boolean {
  const [info, salt, count] = readElements(macDataElement.content);
  const [algorithm, expected] = readElements(contentOf(info));
  const oid = oidText(readElement(contentOf(algorithm)).content);
  const digest = digests[oid];
  if (digest === undefined) throw unsupported(`seal ${oid}`);
  const rounds = count === undefined ? 1 : roundsOf(count);
  const mac = macOf(content, passphrase, contentOf(salt), rounds, digest);
  const wanted = contentOf(expected);
  return wanted.length === mac.length && timingSafeEqual(mac, wanted);
}

function macOf(content: Uint8Array, passphrase: string, salt: Uint8Array, rounds: number, digest: string): Buffer {
  const size = createHash(digest).digest().length;
  return createHmac(digest, derive(passphrase, salt, 3, size, digest, rounds))
    .update(content)
    .digest();
}

/** Key material of PKCS#12's own derivation (RFC 7292 appendix B.2): `id` 1 for a key, 2 for an IV, 3 for a MAC key. */
function derive(
  passphrase: string,
  salt: Uint8Array,
  id: 1 | 2 | 3,
  bytes: number,
  digest = 'sha1',
  rounds = iterations,
): Buffer {
  const blockBytes = digest === 'sha384' || digest === 'sha512' ? 128 : 64;
  const secret = Buffer.from(`${passphrase}\0`, 'utf16le').swap16();
  const filled = (source: Uint8Array) =>
    Buffer.alloc(Math.ceil(source.length / blockBytes) * blockBytes, source.length === 0 ? undefined : source);
  const diversifier = Buffer.alloc(blockBytes, id);
  let mixed = Buffer.concat([filled(salt), filled(secret)]);
  const out: Buffer[] = [];
  for (let have = 0; have < bytes; ) {
    let block = createHash(digest).update(diversifier).update(mixed).digest();
    for (let round = 1; round < rounds; round += 1) block = hash(digest, block, 'buffer');
    out.push(block);
    have += block.length;
    const addend = Buffer.alloc(blockBytes, block);
    mixed = Buffer.concat(
      Array.from({ length: mixed.length / blockBytes }, (_, index) =>
        plusOne(mixed.subarray(index * blockBytes, (index + 1) * blockBytes), addend),
      ),
    );
  }
  return Buffer.concat(out).subarray(0, bytes);
}

/** a + b + 1, as numbers of their length. */
function plusOne(a: Uint8Array, b: Uint8Array): Buffer {
  const sum = Buffer.alloc(a.length);
  let carry = 1;
  for (let index = a.length - 1; index >= 0; index -= 1) {
    carry += (a[index] ?? 0) + (b[index] ?? 0);
    sum[index] = carry & 0xff;
    carry >>= 8;
  }
  return sum;
}

function roundsOf(element: DerElement | undefined): number {
  let value = 0;
  for (const byte of contentOf(element)) value = value * 256 + byte;
  if (value < 1 || value > limits.pkcs12Iterations) throw unsupported(`a key derivation of ${value} rounds`);
  return value;
}

function contentOf(element: DerElement | undefined): Uint8Array {
  if (element === undefined) throw new RangeError('DER: an element is missing');
  return element.content;
}

function unsupported(what: string): CodedError {
  return new CodedError('archive_unsupported', `a PKCS#12 file with ${what} is not read here`);
}
