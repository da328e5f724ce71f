import { hash, type KeyObject, timingSafeEqual } from 'node:crypto';

/**
 * Whether a text is one of the secrets of which these are the digests: secret keys of the 32 bytes
 * of SHA-256. Compared in constant time, each with each, whichever comes first.
 */
export function isSharedSecret(text: string, digests: Iterable<KeyObject>): boolean {
  const given = hash('sha256', text, 'buffer');
  let isOne = false;
  for (const digest of digests) {
    const known = digest.export();
    if (known.length === given.length && timingSafeEqual(known, given)) isOne = true;
  }
  return isOne;
}
