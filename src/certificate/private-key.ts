import { createPublicKey, type KeyObject, sign, verify, type X509Certificate } from 'node:crypto';
import { CodedError } from '../errors.ts';
import { privateKeyObject } from '../private-key-object.ts';
import { Secret } from '../secret.ts';
import type { PrivateKey } from './certificate.ts';
import { derOf, formatBlock, type PemBlock, readBlocks } from './pem-blocks.ts';
import {
  type KeyEncoding,
  type PrivateKeyStructure,
  readPrivateKeyStructure,
  unsupportedPrivateKey,
} from './private-key-structure.ts';
import { readPublicKey } from './public-key.ts';
import { publicKeyOf } from './structure.ts';

export const isPrivateKey = (block: PemBlock): boolean => block.label.endsWith('PRIVATE KEY');

/**
 * What the labels say of the DER in a block (RFC 7468 section 10, and OpenSSL's for the older
 * encodings).
 */
const encodings: Readonly<Record<string, KeyEncoding>> = {
  'PRIVATE KEY': 'pkcs8',
  'RSA PRIVATE KEY': 'pkcs1',
  'EC PRIVATE KEY': 'sec1',
};

/** Labels of encodings that are not read, and what is in them. */
const otherEncodings: Readonly<Record<string, string>> = {
  'OPENSSH PRIVATE KEY': 'openssh',
  'DSA PRIVATE KEY': 'dsa',
};

/**
 * A private key from a block of PKCS#8, PKCS#1 or SEC1. Throws `certificate_key_encrypted`,
 * `certificate_key_unsupported`, or `certificate_malformed`; nothing of the key is in the error.
 */
export function readPrivateKey(block: PemBlock): PrivateKey {
  if (block.encrypted) throw new CodedError('certificate_key_encrypted', 'the private key is encrypted');
  const other = otherEncodings[block.label];
  if (other !== undefined) throw unsupportedPrivateKey(other);
  const encoding = encodings[block.label];
  if (encoding === undefined)
    throw new CodedError('certificate_malformed', `the private key cannot be read: no key is called ${block.label}`);
  const der = derOf(block);
  try {
    const structure = readPrivateKeyStructure(der, encoding);
    const [key, publicKeyDer] = onPlatform(der, encoding, structure);
    const privateKey = { pem: new Secret(formatBlock(block.label, der)), publicKeyDer };
    handles.set(privateKey, { key, structure });
    return privateKey;
  } finally {
    der.fill(0);
  }
}

interface Handle {
  readonly key: KeyObject;
  readonly structure: PrivateKeyStructure;
}

/**
 * The platform's handles of keys that were read here, as long as they are used: reading one takes
 * as long as signing with it.
 */
const handles = new WeakMap<PrivateKey, Handle>();

/** The same key with a text of its own: either of the two may be wiped. */
export function ownKey(key: PrivateKey): PrivateKey {
  const own = { pem: key.pem.copy(), publicKeyDer: Uint8Array.from(key.publicKeyDer) };
  const handle = handles.get(key);
  if (handle !== undefined) handles.set(own, handle);
  return own;
}

/**
 * The same key as a PEM block of PKCS#8, whatever its encoding. Throws what `readPrivateKey`
 * throws.
 */
export function asPkcs8(key: PrivateKey): Secret {
  const pem = key.pem.revealBytes();
  try {
    const der = (handles.get(key) ?? handleOf(pem)).key.export({ type: 'pkcs8', format: 'der' });
    const pkcs8 = new Secret(formatBlock('PRIVATE KEY', der));
    der.fill(0);
    return pkcs8;
  } finally {
    pem.fill(0);
  }
}

/**
 * Whether the public half of a private key is the public key of a certificate, however either is
 * encoded.
 */
export function belongsTo(key: PrivateKey, certificate: X509Certificate): boolean {
  const theirs = publicKeyOf(certificate);
  // As nearly always. Else perhaps one key in two encodings, which takes longer to see.
  return (
    Buffer.compare(theirs.der, key.publicKeyDer) === 0 || theirs.identity === readPublicKey(key.publicKeyDer).identity
  );
}

/**
 * Whether a signature of the private key is verified by the certificate: some encodings carry the
 * public half beside the private one, and the two need not belong together.
 */
export function signsFor(key: PrivateKey, certificate: X509Certificate): boolean {
  const pem = key.pem.revealBytes();
  try {
    const handle = handles.get(key) ?? handleOf(pem);
    const answers = signers.get(handle) ?? new WeakMap<X509Certificate, boolean>();
    signers.set(handle, answers);
    const answer = answers.get(certificate) ?? signsWith(handle, certificate);
    answers.set(certificate, answer);
    return answer;
  } catch {
    return false;
  } finally {
    pem.fill(0);
  }
}

/**
 * What was found out of a key and a certificate: neither changes, and to sign and to verify takes
 * as long as to read both. It is forgotten with the key.
 */
const signers = new WeakMap<Handle, WeakMap<X509Certificate, boolean>>();

function signsWith({ key, structure }: Handle, certificate: X509Certificate): boolean {
  if (publicKeyOf(certificate).kind !== structure.kind) return false;
  // An RSA-PSS key may be bound to one digest; Ed25519 takes none.
  const digest = structure.kind === 'ed25519' ? null : (structure.digest ?? 'sha256');
  const probe = Buffer.from('certstandby');
  return verify(digest, probe, certificate.publicKey, sign(digest, probe, key));
}

/** The handle of a key that was not read here. */
function handleOf(pem: Uint8Array): Handle {
  const [block] = readBlocks(Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength).toString('latin1'));
  const handle = block && handles.get(readPrivateKey(block));
  if (handle === undefined) throw new CodedError('certificate_malformed', 'no private key was found');
  return handle;
}

/**
 * The platform's handle of a key, and DER of its public half, which is the same for every encoding
 * of the key. The platform sees only what was found to be a key, and is given DER: of PEM it leaves
 * decoded copies in memory that are not overwritten.
 */
function onPlatform(
  der: Buffer,
  type: KeyEncoding,
  { kind, publicKeyDer }: PrivateKeyStructure,
): readonly [KeyObject, Uint8Array] {
  try {
    const key = privateKeyObject({ key: der, format: 'der', type });
    if (publicKeyDer !== undefined) return [key, publicKeyDer];
    const given = createPublicKey(key);
    // The point of an elliptic curve may come compressed, and the curve written out: by way of a
    // JWK neither is.
    const plain = kind === 'ec' ? createPublicKey({ key: given.export({ format: 'jwk' }), format: 'jwk' }) : given;
    return [key, plain.export({ type: 'spki', format: 'der' })];
  } catch (cause) {
    throw new CodedError('certificate_malformed', 'the private key cannot be read', { cause });
  }
}
