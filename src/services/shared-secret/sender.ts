import { hash } from 'node:crypto';
import { readChangeMessage } from '../../sender/change-message.ts';
import { sharedSecretSender } from '../../sender/proofs/shared-secret.ts';
import type { Sender } from '../../sender/sender.ts';
import type { SharedSecretConfig } from './settings.ts';

/** Anything that posts a secret in a header. */
export function senderOf(config: SharedSecretConfig): Sender {
  const { name, store, digest, nextDigest, header = 'authorization' } = config;
  return sharedSecretSender({ store, header, digest, nextDigest }, (body) => {
    const digest = hash('sha256', `shared-secret\n${name}\n${hash('sha256', body)}`);
    return [{ ...readChangeMessage(body, store), digest }];
  });
}
