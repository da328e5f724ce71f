import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** Bytes of chance in a link, a session and a token against forgery: none can be guessed. */
const secretBytes = 32;

/** A new secret, as it stands in a link, a cookie or a form: 43 characters of base64url. */
export const newSecret = (): string => randomBytes(secretBytes).toString('base64url');

/** What is kept of a secret: its SHA-256, in hex. Nobody signs in with it. */
export const digestOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** Whether two digests are the same. How long it takes tells nothing. */
export function isSameDigest(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
