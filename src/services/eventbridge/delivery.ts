import type { LifecycleEvent } from '../../sender/event.ts';
import { eventsIn } from './envelope.ts';
import type { EventBridgeConfig } from './settings.ts';

/**
 * What rules of the deployment put into its queue, which takes nothing else: AWS proves who sends,
 * and that the source is what it says. Throws what reading the event throws.
 */
export function deliveredOf(config: EventBridgeConfig): ((body: Uint8Array) => readonly LifecycleEvent[]) | undefined {
  if (config.delivery !== 'queue') return undefined;
  return (body) => eventsIn(body, config);
}
