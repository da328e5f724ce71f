import { hash, type KeyObject, timingSafeEqual } from 'node:crypto';

/**
 * Whether the value of a header is one of the secrets of which these are the digests: secret keys
 * of the 32 bytes of SHA-256. Some hosts give the bytes of a header as characters of Latin-1
 * (Node), others as the UTF-8 that they are: either is looked at. Compared in constant time, each
 * with each, whichever comes first.
 */
export function isSharedSecret(text: string, digests: Iterable<KeyObject>): boolean {
  const spelled = [Buffer.from(text, 'latin1'), Buffer.from(text, 'utf8')];
  const given = spelled.map((bytes) => hash('sha256', bytes, 'buffer'));
  let isOne = false;
  for (const digest of digests) {
    const known = digest.export();
    for (const one of given) if (known.length === one.length && timingSafeEqual(known, one)) isOne = true;
  }
  return isOne;
}
