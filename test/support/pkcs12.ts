import { createCipheriv, createHmac, hash, pbkdf2Sync, scryptSync } from 'node:crypto';
import forge from 'node-forge';
import {
  bmpString,
  element,
  integer,
  nothing,
  objectIdentifier,
  octetString,
  sequence,
  setOf,
} from '../../src/archive/der-writing.ts';
import { derive } from '../../src/archive/pkcs12-ciphers.ts';
import { readElements } from '../../src/certificate/der.ts';

/**
 * PKCS#12 files as other programs make them, with few rounds. What tools really make is opened in
 * test/peers.
 */

/** A name and a key id for a bag; `windows` and `trusted` are what Windows and Java add. */
export interface BagSigns {
  readonly name?: string;
  readonly keyId?: string;
  readonly windows?: boolean;
  readonly trusted?: boolean;
}

const oid = objectIdentifier;
const explicit = (content: Uint8Array) => element(0xa0, content);

function attributes({ name, keyId, windows, trusted }: BagSigns): Buffer {
  const each = (id: string, value: Uint8Array) => sequence(oid(id), setOf(value));
  return setOf(
    ...(name === undefined ? [] : [each('1.2.840.113549.1.9.20', bmpString(name))]),
    ...(keyId === undefined ? [] : [each('1.2.840.113549.1.9.21', octetString(Buffer.from(keyId)))]),
    ...(windows ? [each('1.3.6.1.4.1.311.17.1', bmpString('Microsoft Software Key Storage Provider'))] : []),
    ...(trusted ? [each('2.16.840.1.113894.746875.1.1', oid('2.5.29.37.0'))] : []),
  );
}

const bag = (kind: string, value: Uint8Array, signs: BagSigns = {}): Buffer =>
  sequence(oid(`1.2.840.113549.1.12.10.1.${kind}`), explicit(value), attributes(signs));

export const certificateBag = (der: Uint8Array, signs: BagSigns = {}): Buffer =>
  bag('3', sequence(oid('1.2.840.113549.1.9.22.1'), explicit(octetString(der))), signs);
export const keyBag = (pkcs8: Uint8Array, signs: BagSigns = {}): Buffer => bag('1', pkcs8, signs);
export const bagInBag = (...bags: readonly Uint8Array[]): Buffer => bag('6', sequence(...bags));
export const secretBag = (name: string): Buffer =>
  bag('5', sequence(oid('1.2.840.113549.1.12.10.1.2'), explicit(octetString(Buffer.from('x')))), { name });
export const revocationListBag = (): Buffer =>
  bag('4', sequence(oid('1.2.840.113549.1.9.23.1'), explicit(octetString(Buffer.from('x')))));
/** A key whose encryption nobody knows. */
export const unknownKeyBag = (signs: BagSigns): Buffer =>
  bag('2', sequence(sequence(oid('1.3.6.1.4.1.99999.1'), sequence()), octetString(Buffer.alloc(16))), signs);

/** Bags in one part of a file. */
export type Part = (passphrase: Uint8Array) => Buffer;

const contentInfo = (kind: string, content: Uint8Array) =>
  sequence(oid(`1.2.840.113549.1.7.${kind}`), explicit(content));

/** Bags in the clear. */
export const part =
  (...bags: readonly Uint8Array[]): Part =>
  () =>
    contentInfo('1', octetString(sequence(...bags)));

/** Bags under RC2 with 40 or 128 bits, as Windows and OpenSSL 1 encrypt certificates. */
export const rc2Part =
  (bits: 40 | 128, ...bags: readonly Uint8Array[]): Part =>
  (secret) => {
    const salt = Buffer.from('8 bytes.');
    const bytes = (id: 1 | 2, length: number) =>
      derive('sha1', { secret, salt, rounds: 2, id, bytes: length }).toString('latin1');
    const cipher = forge.rc2.createEncryptionCipher(bytes(1, bits / 8), bits);
    cipher.start(bytes(2, 8));
    cipher.update(forge.util.createBuffer(sequence(...bags).toString('latin1')));
    cipher.finish();
    const encrypted = Buffer.from(cipher.output.getBytes(), 'latin1');
    const scheme = sequence(
      oid(`1.2.840.113549.1.12.1.${bits === 40 ? 6 : 5}`),
      sequence(octetString(salt), integer(2)),
    );
    const info = sequence(oid('1.2.840.113549.1.7.1'), scheme, element(0x80, encrypted));
    return contentInfo('6', sequence(integer(0), info));
  };

interface ScryptCosts {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

/**
 * Bags under AES-256 with a key of scrypt (PBES2; RFC 7914 section 7). With `really`, the key is
 * made at other costs than the file says: to make one at the bound would take as long as to open
 * it.
 */
export const scryptPart =
  (
    { N, r, p, really = { N, r, p } }: ScryptCosts & { readonly really?: ScryptCosts },
    ...bags: readonly Uint8Array[]
  ): Part =>
  (secret) => {
    const text = Buffer.from(secret.subarray(0, -2)).swap16().toString('utf16le');
    const iv = Buffer.from('16 bytes, public');
    const cipher = createCipheriv('aes-256-cbc', scryptSync(text, salt, 32, really), iv);
    const encrypted = Buffer.concat([cipher.update(sequence(...bags)), cipher.final()]);
    const costs = sequence(octetString(salt), integer(N), integer(r), integer(p));
    const scheme = sequence(
      oid('1.2.840.113549.1.5.13'),
      sequence(
        sequence(oid('1.3.6.1.4.1.11591.4.11'), costs),
        sequence(oid('2.16.840.1.101.3.4.1.42'), octetString(iv)),
      ),
    );
    const info = sequence(oid('1.2.840.113549.1.7.1'), scheme, element(0x80, encrypted));
    return contentInfo('6', sequence(integer(0), info));
  };

/** How a file is sealed: PKCS#12's own MAC, PBMAC1, or not at all. */
export type Seal =
  | { readonly kind: 'mac'; readonly digest: 'sha1' | 'sha256' | 'sha512'; readonly rounds: number }
  | {
      readonly kind: 'pbmac1';
      readonly digest: 'sha256' | 'sha512';
      readonly rounds: number;
      readonly keyBytes?: number;
    }
  | { readonly kind: 'none' };

const digestOids = { sha1: '1.3.14.3.2.26', sha256: '2.16.840.1.101.3.4.2.1', sha512: '2.16.840.1.101.3.4.2.3' };
const hmacOids = { sha256: '1.2.840.113549.2.9', sha512: '1.2.840.113549.2.11' };
const salt = Buffer.from('another 8 bytes.');

/** How PKCS#12 writes a passphrase for its own derivation. */
export const inPkcs12 = (passphrase: string): Buffer => Buffer.from(`${passphrase}\0`, 'utf16le').swap16();

/** The MacData of a content under a passphrase; for PBMAC1 the passphrase is in UTF-8. */
function macOf(content: Uint8Array, seal: Exclude<Seal, { kind: 'none' }>, secret: Uint8Array): Buffer {
  const size = hash(seal.digest, '', 'buffer').length;
  const sealed = (algorithm: Uint8Array, mac: Uint8Array, rounds: number) =>
    sequence(sequence(algorithm, octetString(mac)), octetString(salt), integer(rounds));
  if (seal.kind === 'mac') {
    const key = derive(seal.digest, { secret, salt, rounds: seal.rounds, id: 3, bytes: size });
    const mac = createHmac(seal.digest, key).update(content).digest();
    return sealed(sequence(oid(digestOids[seal.digest]), nothing()), mac, seal.rounds);
  }
  const { digest, rounds, keyBytes = size } = seal;
  const text = Buffer.from(secret.subarray(0, -2)).swap16().toString('utf16le');
  const key = pbkdf2Sync(text, salt, rounds, keyBytes, digest);
  const hmac = sequence(oid(hmacOids[digest]), nothing());
  const derivation = sequence(octetString(salt), integer(rounds), integer(keyBytes), hmac);
  const parameters = sequence(sequence(oid('1.2.840.113549.1.5.12'), derivation), hmac);
  return sealed(
    sequence(oid('1.2.840.113549.1.5.14'), parameters),
    createHmac(digest, key).update(content).digest(),
    1,
  );
}

export interface Pkcs12Options {
  /** As PKCS#12 writes it, or as nothing at all. Default: `secret`. */
  readonly passphrase?: Uint8Array;
  readonly seal?: Seal;
}

/** A PKCS#12 file of these parts. */
export function pkcs12Of(parts: readonly Part[], options: Pkcs12Options = {}): Buffer {
  const { passphrase = inPkcs12('secret'), seal = { kind: 'mac', digest: 'sha256', rounds: 2 } } = options;
  const safe = sequence(...parts.map((each) => each(passphrase)));
  const mac = seal.kind === 'none' ? [] : [macOf(safe, seal, passphrase)];
  return sequence(integer(3), contentInfo('1', octetString(safe)), ...mac);
}

/**
 * The same in BER as NSS and Bouncy Castle write it: no length is said beforehand, and strings come
 * in pieces.
 */
export function asBer(der: Uint8Array): Buffer {
  const whole = readElements(der).map(({ tag, content }) => {
    if (tag === 0x04 && content.length > 4) {
      const half = content.length >> 1;
      const pieces = [octetString(content.subarray(0, half)), octetString(content.subarray(half))];
      return Buffer.concat([Buffer.from([0x24, 0x80]), ...pieces, Buffer.from([0, 0])]);
    }
    // An octet string that goes by another tag is one here too: there is no other of these.
    if (tag === 0x80) return Buffer.concat([Buffer.from([0xa0, 0x80]), octetString(content), Buffer.from([0, 0])]);
    if ((tag & 0x20) === 0) return element(tag, content);
    return Buffer.concat([Buffer.from([tag, 0x80]), asBer(content), Buffer.from([0, 0])]);
  });
  return Buffer.concat(whole);
}
