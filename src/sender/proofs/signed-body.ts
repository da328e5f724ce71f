import { createHmac, type KeyObject, timingSafeEqual, verify } from 'node:crypto';

/** How a signature beside a body was made. */
export type SignatureScheme = 'hmac-sha256' | 'ed25519';

export interface BodySignature {
  readonly scheme: SignatureScheme;
  readonly bytes: Uint8Array;
}

/**
 * Whether one of these keys made one of these signatures over this content. A key is asked only for
 * signatures of its own kind: a secret for HMAC-SHA256 (RFC 2104), an Ed25519 public key for
 * Ed25519 (RFC 8032). MACs are compared in constant time.
 */
export function isSignedByAny(
  content: Uint8Array,
  signatures: readonly BodySignature[],
  keys: Iterable<KeyObject>,
): boolean {
  for (const key of keys) {
    const scheme = schemeOf(key);
    const ours = signatures.filter((signature) => signature.scheme === scheme);
    if (ours.length === 0) continue;
    if (scheme === 'ed25519') {
      if (ours.some(({ bytes }) => bytes.length === 64 && verify(null, content, key, bytes))) return true;
      continue;
    }
    const mac = createHmac('sha256', key).update(content).digest();
    if (ours.some(({ bytes }) => bytes.length === mac.length && timingSafeEqual(bytes, mac))) return true;
  }
  return false;
}

function schemeOf(key: KeyObject): SignatureScheme | undefined {
  if (key.type === 'secret') return 'hmac-sha256';
  return key.asymmetricKeyType === 'ed25519' ? 'ed25519' : undefined;
}
