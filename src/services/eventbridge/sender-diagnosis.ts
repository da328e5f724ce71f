import type { SenderDiagnosis } from '../service.ts';
import { eventBridgeDefaults as defaults, type EventBridgeConfig } from './settings.ts';

/** Of the key only the digest is here. What comes by a queue is sent by AWS alone. */
export function senderDiagnosisOf({
  header = defaults.header,
  delivery,
}: Pick<EventBridgeConfig, 'header' | 'delivery'>): SenderDiagnosis | undefined {
  if (delivery === 'queue') return undefined;
  const event = '{"version": "0", "id": "test-1", "detail-type": "test", "source": "certstandby.test", "detail": {}}';
  return {
    trial: (to) => `curl --fail -H "${header}: $KEY" -H 'Content-Type: application/json' -d '${event}' ${to}`,
  };
}
