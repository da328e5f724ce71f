import { hash } from 'node:crypto';
import type { LifecycleEvent } from '../../sender/event.ts';
import { sharedSecretSender } from '../../sender/proofs/shared-secret.ts';
import type { Sender } from '../../sender/sender.ts';
import { readEnvelope } from './envelope.ts';
import { eventBridgeDefaults as defaults, type EventBridgeConfig } from './settings.ts';

/**
 * An API destination of Amazon EventBridge: it posts events as they are, with a key in a header.
 * EventBridge sends again after 401, 429 and what the server could not do, and drops what it was
 * refused otherwise. `undefined`: what comes by a queue is never taken at a callback URL.
 */
export function senderOf(config: EventBridgeConfig): Sender | undefined {
  const { store, delivery, digest, nextDigest, header = defaults.header } = config;
  if (delivery === 'queue') return undefined;
  return sharedSecretSender({ store, header, digest, nextDigest }, (body) => eventsIn(body, config));
}

/**
 * What rules of the deployment put into its queue, which takes nothing else: AWS proves who sends,
 * and that the source is what it says. Throws what reading the event throws.
 */
export function deliveredOf(config: EventBridgeConfig): ((body: Uint8Array) => readonly LifecycleEvent[]) | undefined {
  if (config.delivery !== 'queue') return undefined;
  return (body) => eventsIn(body, config);
}

/** What an envelope tells of, if anything. Deliveries of one event share its id. */
function eventsIn(body: Uint8Array, config: EventBridgeConfig): readonly LifecycleEvent[] {
  const told = readEnvelope(body, config);
  return told === undefined
    ? []
    : [{ ...told.event, digest: hash('sha256', `eventbridge\n${config.name}\n${told.id}`) }];
}
