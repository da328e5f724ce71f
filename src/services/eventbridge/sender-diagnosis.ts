import type { SenderDiagnosis } from '../service.ts';
import { eventBridgeDefaults as defaults, type EventBridgeConfig } from './settings.ts';

/** Of the key only the digest is here. */
export function senderDiagnosisOf({ header = defaults.header }: Pick<EventBridgeConfig, 'header'>): SenderDiagnosis {
  const event = '{"version": "0", "id": "test-1", "detail-type": "test", "source": "certstandby.test", "detail": {}}';
  return {
    trial: (to) => `curl --fail -H "${header}: $KEY" -H 'Content-Type: application/json' -d '${event}' ${to}`,
  };
}
