import { hash } from 'node:crypto';
import { digestKeys, proveSharedSecret } from '../../sender/proofs/shared-secret.ts';
import type { Sender } from '../../sender/sender.ts';
import { readEnvelope } from './envelope.ts';
import { eventBridgeDefaults as defaults, type EventBridgeConfig } from './settings.ts';

/**
 * An API destination of Amazon EventBridge: it posts events as they are, with a key in a header.
 * The key proves who sends, and nothing of the body. EventBridge sends again after 401, 429 and
 * what the server could not do, and drops what it was refused otherwise.
 */
export function senderOf(config: EventBridgeConfig): Sender {
  const { name, store, digest, nextDigest, header = defaults.header } = config;
  return {
    store,
    keys: digestKeys({ digest, nextDigest }),
    tryAgain: 503,
    receive(request, digests) {
      proveSharedSecret(request, header, digests);
      const told = readEnvelope(request.body, config);
      if (told === undefined) return { events: [] };
      // Deliveries of one event share its id.
      const own = hash('sha256', `eventbridge\n${name}\n${told.id}`);
      return { events: [{ ...told.event, unsigned: true, digest: own }] };
    },
  };
}
