import { sharedSecretSender } from '../../sender/proofs/shared-secret.ts';
import type { Sender } from '../../sender/sender.ts';
import { eventBridgeDefaults as defaults } from './defaults.ts';
import type { EventBridgeConfig } from './settings.ts';

/**
 * An API destination of Amazon EventBridge: it posts events as they are, with a key in a header.
 * EventBridge sends again after 401, 429 and what the server could not do, and drops what it was
 * refused otherwise. `undefined`: what comes by a queue is never taken at a callback URL, and the
 * callback of a deployment that has no other one loads nothing that reads events.
 */
export async function senderOf(config: EventBridgeConfig): Promise<Sender | undefined> {
  const { store, delivery, digest, nextDigest, header = defaults.header } = config;
  if (delivery === 'queue') return undefined;
  const { eventsIn } = await import('./envelope.ts');
  return sharedSecretSender({ store, header, digest, nextDigest }, (body) => eventsIn(body, config));
}
