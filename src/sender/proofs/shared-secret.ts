import { createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { LifecycleEvent } from '../event.ts';
import type { Sender, SenderRequest, VerificationKeys } from '../sender.ts';

/**
 * Whoever bears a secret in a header of its requests. That proves who sends, and nothing of the
 * body: what it says is unsigned, and is read only once the secret was found to be right. The
 * secret is given by its digest, SHA-256 in hex; that of a second one, which is good as well, by
 * `nextDigest`.
 */
export function sharedSecretSender(
  given: {
    readonly store: string;
    readonly header: string;
    readonly digest?: string | undefined;
    readonly nextDigest?: string | undefined;
  },
  eventsIn: (body: Uint8Array) => readonly LifecycleEvent[],
): Sender {
  const { store, header, digest, nextDigest } = given;
  return {
    store,
    keys: digestKeys({ digest, nextDigest }),
    tryAgain: 503,
    receive(request, digests) {
      proveSharedSecret(request, header, digests);
      return { events: eventsIn(request.body).map((event) => ({ ...event, unsigned: true })) };
    },
  };
}

/**
 * The digests of secrets, SHA-256 in hex, by the settings that hold them, as keys of a sender.
 */
function digestKeys(digests: Readonly<Record<string, string | undefined>>): VerificationKeys {
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
function proveSharedSecret(
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
