import { createSecretKey, hash } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { readChangeMessage } from '../../sender/change-message.ts';
import { isSharedSecret } from '../../sender/proofs/shared-secret.ts';
import type { Sender, VerificationKeys } from '../../sender/sender.ts';
import type { SharedSecretConfig } from './settings.ts';

/**
 * Anything that posts a secret in a header. The secret proves who sends, and nothing of the body.
 */
export function senderOf(config: SharedSecretConfig): Sender {
  const { name, store, header = 'authorization' } = config;
  const inAuthorization = header.toLowerCase() === 'authorization';
  return {
    store,
    keys: keysOf(config),
    tryAgain: 503,
    receive({ header: headerOf, body }, digests) {
      const value = headerOf(header) ?? '';
      const [, secret = ''] = (inAuthorization ? /^Bearer ([^ \t]+)$/i : /^(.+)$/s).exec(value) ?? [];
      const fits =
        secret.length >= limits.senderSecretLeastCharacters && secret.length <= limits.senderSecretMostCharacters;
      if (!fits || !isSharedSecret(secret, digests.values())) {
        throw new CodedError('notification_not_genuine', 'the notification bears none of the secrets of this sender', {
          fields: { signs: `with the secret of this sender in the header ${header}` },
        });
      }
      const digest = hash('sha256', `shared-secret\n${name}\n${hash('sha256', body)}`);
      return { events: [{ ...readChangeMessage(body, store), unsigned: true, digest }] };
    },
  };
}

/** The digests of the secrets that are good, by the settings that hold them. */
function keysOf({ digest, nextDigest }: SharedSecretConfig): VerificationKeys {
  const given = Object.entries({ digest, nextDigest });
  return new Map(
    given.flatMap(([setting, hex]) =>
      hex === undefined ? [] : [[setting, createSecretKey(Buffer.from(hex, 'hex'))] as const],
    ),
  );
}
