import type { SenderDiagnosis, SenderDiagnosisContext } from '../service.ts';
import { eventBridgeDefaults as defaults } from './defaults.ts';
import { stepsOfRules } from './rules-diagnosis.ts';
import type { EventBridgeConfig } from './settings.ts';

/** Of the key only the digest is here. What comes by a queue is sent by AWS alone. */
export function senderDiagnosisOf(config: EventBridgeConfig, context: SenderDiagnosisContext): SenderDiagnosis {
  const { header = defaults.header, delivery } = config;
  async function* setUp({ signal }: { readonly signal: () => AbortSignal }) {
    yield* await stepsOfRules(config, context, signal);
  }
  if (delivery === 'queue') return { comes: 'by the queue of the functions on AWS', setUp };
  const event = '{"version": "0", "id": "test-1", "detail-type": "test", "source": "certstandby.test", "detail": {}}';
  return {
    setUp,
    trial: (to) => `curl --fail -H "${header}: $KEY" -H 'Content-Type: application/json' -d '${event}' ${to}`,
  };
}
