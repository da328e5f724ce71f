import { hash } from 'node:crypto';
import { readChangeMessage } from '../../sender/change-message.ts';
import { digestKeys, proveSharedSecret } from '../../sender/proofs/shared-secret.ts';
import type { Sender } from '../../sender/sender.ts';
import type { SharedSecretConfig } from './settings.ts';

/**
 * Anything that posts a secret in a header. The secret proves who sends, and nothing of the body.
 */
export function senderOf(config: SharedSecretConfig): Sender {
  const { name, store, digest, nextDigest, header = 'authorization' } = config;
  return {
    store,
    keys: digestKeys({ digest, nextDigest }),
    tryAgain: 503,
    receive(request, digests) {
      proveSharedSecret(request, header, digests);
      const { body } = request;
      const digest = hash('sha256', `shared-secret\n${name}\n${hash('sha256', body)}`);
      return { events: [{ ...readChangeMessage(body, store), unsigned: true, digest }] };
    },
  };
}
