import { createCipheriv, createHash, createHmac, hash, pbkdf2Sync } from 'node:crypto';
import { integer, nothing, objectIdentifier, octetString, sequence } from './der-writing.ts';

/**
 * What a PKCS#12 file makes of a passphrase, and how the files that are written here are encrypted
 * and sealed: PBES2 with PBKDF2 and AES (RFC 8018), or for old programs triple DES and SHA-1 (RFC
 * 7292 appendices B and C).
 */

export const oids = {
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  pbmac1: '1.2.840.113549.1.5.14',
  tripleDes: '1.2.840.113549.1.12.1.3',
  hmacSha256: '1.2.840.113549.2.9',
  aes256: '2.16.840.1.101.3.4.1.42',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;

/**
 * Rounds of derivation: a few times what OpenSSL does by default, and no more than Java and Windows
 * take quickly.
 */
const iterations = 100_000;

/** Chance, so that tests can put their own in. */
export type Salt = (bytes: number) => Buffer;

/** One way to write a passphrase as bytes. */
export interface PassphraseForm {
  /**
   * For PKCS#12's own derivation: UTF-16, the high byte first, with two zero bytes at the end (RFC
   * 7292 appendix B.1).
   */
  readonly pkcs12: Uint8Array;
  /** For PBKDF2, scrypt and PBES1: UTF-8 (RFC 8018 section 3). */
  readonly text: Uint8Array;
}

/**
 * The forms in which programs write a passphrase. An empty one is two zero bytes to some, and
 * nothing at all to others. OpenSSL before 1.1 widened each byte of UTF-8 as if it were a
 * character.
 */
export function passphraseForms(passphrase: string): readonly PassphraseForm[] {
  const text = Buffer.from(passphrase, 'utf8');
  const forms = [{ pkcs12: wide(`${passphrase}\0`), text }];
  if (passphrase === '') return [...forms, { pkcs12: Buffer.alloc(0), text }];
  return text.length === passphrase.length ? forms : [...forms, { pkcs12: wide(`${text.toString('latin1')}\0`), text }];
}

/** Encrypts under a passphrase; gives the AlgorithmIdentifier and the ciphertext. */
export function encrypt(plain: Uint8Array, passphrase: string, salt: Salt, legacy: boolean) {
  if (legacy) {
    const seed = salt(8);
    const bytes = (id: 1 | 2, length: number) =>
      derive('sha1', { secret: wide(`${passphrase}\0`), salt: seed, rounds: iterations, id, bytes: length });
    const cipher = createCipheriv('des-ede3-cbc', bytes(1, 24), bytes(2, 8));
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

/** MacData over the authenticated content. */
export function macData(content: Uint8Array, passphrase: string, salt: Salt, legacy: boolean): Buffer {
  const digest = legacy ? 'sha1' : 'sha256';
  const seed = salt(legacy ? 8 : 16);
  const secret = wide(`${passphrase}\0`);
  const key = derive(digest, { secret, salt: seed, rounds: iterations, id: 3, bytes: legacy ? 20 : 32 });
  const mac = createHmac(digest, key).update(content).digest();
  const algorithm = sequence(objectIdentifier(oids[digest]), nothing());
  return sequence(sequence(algorithm, octetString(mac)), octetString(seed), integer(iterations));
}

/** What PKCS#12's own derivation rests on; `id` is 1 for a key, 2 for an IV, 3 for a MAC key. */
interface Derivation {
  readonly secret: Uint8Array;
  readonly salt: Uint8Array;
  readonly rounds: number;
  readonly id: 1 | 2 | 3;
  readonly bytes: number;
}

/** Key material of PKCS#12's own derivation (RFC 7292 appendix B.2). */
export function derive(digest: string, { secret, salt, rounds, id, bytes }: Derivation): Buffer {
  const blockBytes = blockBytesOf(digest);
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

/** Bytes that a digest takes at once: FIPS 180-4 for SHA-2, FIPS 202 for SHA-3. */
function blockBytesOf(digest: string): number {
  const sha3 = { 'sha3-224': 144, 'sha3-256': 136, 'sha3-384': 104, 'sha3-512': 72 }[digest];
  return sha3 ?? (/^sha(384|512)/.test(digest) ? 128 : 64);
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

const wide = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();
