import { secretsManagerAddress } from '../../ibm-cloud/secrets.ts';
import type { SenderDiagnosis } from '../service.ts';
import type { EventNotificationsConfig } from './settings.ts';

/** Only the service has the key that signs; Secrets Manager has it send a test event. */
export const senderDiagnosisOf = ({ source }: Pick<EventNotificationsConfig, 'source'>): SenderDiagnosis => {
  const [, , , , , region = '', , guid = ''] = source.split(':');
  const address = secretsManagerAddress(guid, region);
  return {
    trial: () => `curl --fail -H "Authorization: Bearer $TOKEN" ${address}/api/v2/notifications/registration/test`,
  };
};
