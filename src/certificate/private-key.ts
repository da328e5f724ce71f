import { createPrivateKey, createPublicKey, type KeyObject, sign, verify, type X509Certificate } from 'node:crypto';
import { CodedError } from '../errors.ts';
import { Secret } from '../secret.ts';
import type { PrivateKey } from './certificate.ts';
import { derOf, formatBlock, type PemBlock } from './pem-blocks.ts';

/** Curves of ECDSA keys, as OpenSSL names them: P-256, P-384, P-521. */
const curves: ReadonlySet<string | undefined> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/** Which keys are taken, by Node's `asymmetricKeyType`. */
const keyTypes: Readonly<Record<string, (key: KeyObject) => boolean>> = {
  rsa: () => true,
  'rsa-pss': () => true,
  ed25519: () => true,
  ec: (key) => curves.has(key.asymmetricKeyDetails?.namedCurve),
};

export const isPrivateKey = (block: PemBlock): boolean => block.label.endsWith('PRIVATE KEY');

/**
 * A private key from a block of PKCS#8, PKCS#1 or SEC1. Throws `certificate_key_encrypted`, `certificate_key_unsupported`, or
 * `certificate_malformed`; nothing of the key is in the error.
 */
export function readPrivateKey(block: PemBlock): PrivateKey {
  if (block.encrypted) throw new CodedError('certificate_key_encrypted', 'the private key is encrypted');
  if (block.label === 'OPENSSH PRIVATE KEY') throw unsupported('openssh');
  const der = derOf(block);
  try {
    const key = createKey(block.label, der);
    const type = key.asymmetricKeyType ?? 'unknown';
    if (!keyTypes[type]?.(key)) throw unsupported(key.asymmetricKeyDetails?.namedCurve ?? type);
    const privateKey = { pem: new Secret(formatBlock(block.label, der)), publicKeyDer: publicKeyDerOf(key) };
    handles.set(privateKey, key);
    return privateKey;
  } finally {
    der.fill(0);
  }
}

/** The platform's handles of keys that were read here, as long as they are used: reading one takes as long as signing with it. */
const handles = new WeakMap<PrivateKey, KeyObject>();

/** The same key, its text apart: whoever has one of the two may wipe it. */
export function ownKey(key: PrivateKey): PrivateKey {
  const own = { pem: key.pem.copy(), publicKeyDer: Uint8Array.from(key.publicKeyDer) };
  const handle = handles.get(key);
  if (handle !== undefined) handles.set(own, handle);
  return own;
}

/** Whether the public half of a private key is the public key of a certificate, however either is encoded. */
export function belongsTo(key: PrivateKey, certificate: X509Certificate): boolean {
  try {
    const encoded = certificate.publicKey.export({ type: 'spki', format: 'der' });
    // As nearly always. Else perhaps one key in two encodings, which takes longer to see.
    if (encoded.equals(key.publicKeyDer)) return true;
    const publicKey = createPublicKey({ key: Buffer.from(key.publicKeyDer), format: 'der', type: 'spki' });
    return isSameKey(publicKey, certificate.publicKey);
  } catch {
    // The platform cannot read the certificate's key, so it is none of the kinds that are taken here.
    return false;
  }
}

/**
 * Whether two keys are the same. To be asked instead of `equals`, which of keys of two types leaves OpenSSL's "different key types"
 * behind, and the platform then throws it out of the next private key that is read (Node 20 to 24).
 */
export function isSameKey(a: KeyObject, b: KeyObject): boolean {
  return a.asymmetricKeyType === b.asymmetricKeyType && a.equals(b);
}

/**
 * Whether a signature of the private key is verified by the certificate: some encodings carry the public half beside the
 * private one, and the two need not belong together.
 */
export function signsFor(key: PrivateKey, certificate: X509Certificate): boolean {
  const probe = Buffer.from('certstandby');
  const pem = key.pem.revealBytes();
  try {
    const privateKey = handles.get(key) ?? createPrivateKey(pem);
    // An RSA-PSS key may be bound to one digest; Ed25519 takes none.
    const { hashAlgorithm = 'sha256' } = privateKey.asymmetricKeyDetails ?? {};
    const digest = privateKey.asymmetricKeyType === 'ed25519' ? null : hashAlgorithm;
    return verify(digest, probe, certificate.publicKey, sign(digest, probe, privateKey));
  } catch {
    return false;
  } finally {
    pem.fill(0);
  }
}

/** What the labels say of the DER in a block (RFC 7468 section 10, and OpenSSL's for the older encodings). */
const encodings: Readonly<Record<string, 'pkcs8' | 'pkcs1' | 'sec1'>> = {
  'PRIVATE KEY': 'pkcs8',
  'RSA PRIVATE KEY': 'pkcs1',
  'EC PRIVATE KEY': 'sec1',
};

/** The platform's handle of a key. It is given DER: of PEM it leaves decoded copies in memory that are not overwritten. */
function createKey(label: string, der: Buffer): KeyObject {
  const type = encodings[label];
  try {
    return type === undefined
      ? createPrivateKey(formatBlock(label, der))
      : createPrivateKey({ key: der, format: 'der', type });
  } catch (cause) {
    throw new CodedError('certificate_malformed', 'the private key cannot be read', { cause });
  }
}

/**
 * The same for every encoding of a key: that of an elliptic curve may carry its point compressed or not. By way
 * of a JWK it is not.
 */
function publicKeyDerOf(privateKey: KeyObject): Uint8Array {
  const given = createPublicKey(privateKey);
  const key =
    given.asymmetricKeyType === 'ec' ? createPublicKey({ key: given.export({ format: 'jwk' }), format: 'jwk' }) : given;
  return key.export({ type: 'spki', format: 'der' });
}

const unsupported = (keyType: string) =>
  new CodedError('certificate_key_unsupported', `the private key is of the kind ${keyType}`, { fields: { keyType } });
