import { secretsManagerAddress } from '../../ibm-cloud/secrets.ts';
import type { KeysContext, SenderDiagnosis } from '../service.ts';
import { eventNotificationsApi } from './api.ts';
import { setUpSteps } from './set-up.ts';
import type { EventNotificationsConfig } from './settings.ts';

/** Only the service has the key that signs; Secrets Manager has it send a test event. */
export function senderDiagnosisOf(config: EventNotificationsConfig, { runtime }: KeysContext): SenderDiagnosis {
  const [, , , , , region = '', , guid = ''] = config.source.split(':');
  const address = secretsManagerAddress(guid, region);
  return {
    trial: () => `curl --fail -H "Authorization: Bearer $TOKEN" ${address}/api/v2/notifications/registration/test`,
    setUp: (options) => setUpSteps({ config, api: eventNotificationsApi(config, runtime), runtime }, options),
  };
}
