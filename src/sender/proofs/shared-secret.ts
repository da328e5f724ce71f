import { createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { SenderRequest, VerificationKeys } from '../sender.ts';

/**
 * The digests of secrets, SHA-256 in hex, by the settings that hold them, as keys of a sender.
 */
export function digestKeys(digests: Readonly<Record<string, string | undefined>>): VerificationKeys {
  return new Map(
    Object.entries(digests).flatMap(([setting, hex]) =>
      hex === undefined ? [] : [[setting, createSecretKey(Buffer.from(hex, 'hex'))] as const],
    ),
  );
}

/**
 * Throws `notification_not_genuine` unless a request bears one of the secrets of which these are
 * the digests, in this header; in Authorization it follows the word Bearer.
 */
export function proveSharedSecret(
  { header: headerOf }: Pick<SenderRequest, 'header'>,
  header: string,
  digests: VerificationKeys,
): void {
  const inAuthorization = header.toLowerCase() === 'authorization';
  const value = headerOf(header) ?? '';
  const [, secret = ''] = (inAuthorization ? /^Bearer ([^ \t]+)$/i : /^(.+)$/s).exec(value) ?? [];
  const fits =
    secret.length >= limits.senderSecretLeastCharacters && secret.length <= limits.senderSecretMostCharacters;
  if (fits && isSharedSecret(secret, digests.values())) return;
  throw new CodedError('notification_not_genuine', 'the notification bears none of the secrets of this sender', {
    fields: { signs: `with the secret of this sender in the header ${header}` },
  });
}

/**
 * Whether the value of a header is one of the secrets of which these are the digests: secret keys
 * of the 32 bytes of SHA-256. Some hosts give the bytes of a header as characters of Latin-1
 * (Node), others as the UTF-8 that they are: either is looked at. Compared in constant time, each
 * with each, whichever comes first.
 */
function isSharedSecret(text: string, digests: Iterable<KeyObject>): boolean {
  const spelled = [Buffer.from(text, 'latin1'), Buffer.from(text, 'utf8')];
  const given = spelled.map((bytes) => hash('sha256', bytes, 'buffer'));
  let isOne = false;
  for (const digest of digests) {
    const known = digest.export();
    for (const one of given) if (known.length === one.length && timingSafeEqual(known, one)) isOne = true;
  }
  return isOne;
}
