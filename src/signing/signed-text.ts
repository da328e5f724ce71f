import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import * as z from 'zod/mini';
import type { PublicKey } from '../certificate/public-key.ts';
import { readPublicKeyPem } from '../certificate/public-key-pem.ts';
import { CodedError } from '../errors.ts';
import { privateKeyObject } from '../private-key-object.ts';

export const signatureSchema = z.object({
  algorithm: z.literal('Ed25519'),
  publicKey: z.string(),
  value: z.string(),
});

/** A signature over the bytes of a text (RFC 8032), and the key that made it, in PEM. */
export type Signature = z.infer<typeof signatureSchema>;

export function signText(text: string, privateKeyPem: string): Signature {
  const key = privateKeyObject(privateKeyPem);
  const value = sign(null, Buffer.from(text), key).toString('base64');
  return { algorithm: 'Ed25519', publicKey: pemOf(createPublicKey(key)), value };
}

/**
 * Whether a signature over this text was made with one of the keys that are trusted: the key that
 * it names itself proves nothing.
 */
export function signatureState(
  text: string,
  { publicKey, value }: Signature,
  trusted: readonly PublicKey[],
): 'holds' | 'another-key' | 'broken' {
  const known = trusted.find((key) => isKey(publicKey, key));
  if (known === undefined) return 'another-key';
  const key = createPublicKey({ key: Buffer.from(known.der), format: 'der', type: 'spki' });
  return verify(null, Buffer.from(text), key, Buffer.from(value, 'base64')) ? 'holds' : 'broken';
}

/** The key that a person trusts. Throws `usage` if it is none that signs so. */
export function trustedKey(pem: string): PublicKey {
  try {
    const key = readPublicKeyPem(pem);
    if (key.kind === 'ed25519') return key;
  } catch (cause) {
    throw new CodedError('usage', 'the public key that is to be trusted cannot be read', { cause });
  }
  throw new CodedError('usage', 'the public key that is to be trusted is no Ed25519 key');
}

function isKey(pem: string, known: PublicKey): boolean {
  try {
    return readPublicKeyPem(pem).identity === known.identity;
  } catch {
    return false;
  }
}

export function pemOf(publicKey: KeyObject): string {
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
}
