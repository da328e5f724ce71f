import { hash } from 'node:crypto';
import type { LifecycleEvent } from '../../sender/event.ts';
import { digestKeys, proveSharedSecret } from '../../sender/proofs/shared-secret.ts';
import type { Sender } from '../../sender/sender.ts';
import { readEnvelope } from './envelope.ts';
import { eventBridgeDefaults as defaults, type EventBridgeConfig } from './settings.ts';

/**
 * An API destination of Amazon EventBridge: it posts events as they are, with a key in a header.
 * The key proves who sends, and nothing of the body. EventBridge sends again after 401, 429 and
 * what the server could not do, and drops what it was refused otherwise. `undefined`: what comes by
 * a queue is never taken at a callback URL.
 */
export function senderOf(config: EventBridgeConfig): Sender | undefined {
  const { name, store, delivery, digest, nextDigest, header = defaults.header } = config;
  if (delivery === 'queue') return undefined;
  return {
    store,
    keys: digestKeys({ digest, nextDigest }),
    tryAgain: 503,
    receive(request, digests) {
      proveSharedSecret(request, header, digests);
      const told = readEnvelope(request.body, config);
      return { events: told === undefined ? [] : [{ ...told.event, unsigned: true, digest: digestOf(name, told.id) }] };
    },
  };
}

/**
 * What rules of the deployment put into its queue, which takes nothing else: AWS proves who sends,
 * and that the source is what it says. Throws what reading the event throws.
 */
export function deliveredOf(config: EventBridgeConfig): ((body: Uint8Array) => readonly LifecycleEvent[]) | undefined {
  if (config.delivery !== 'queue') return undefined;
  return (body) => {
    const told = readEnvelope(body, config);
    return told === undefined ? [] : [{ ...told.event, digest: digestOf(config.name, told.id) }];
  };
}

/** Deliveries of one event share its id. */
const digestOf = (name: string, id: string): string => hash('sha256', `eventbridge\n${name}\n${id}`);
