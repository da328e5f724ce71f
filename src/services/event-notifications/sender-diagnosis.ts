import type { SenderDiagnosis } from '../service.ts';
import type { EventNotificationsConfig } from './settings.ts';

/** Only the service has the key that signs; Secrets Manager has it send a test event. */
export const senderDiagnosisOf = ({ source }: Pick<EventNotificationsConfig, 'source'>): SenderDiagnosis => {
  const [, , , , , region, , guid] = source.split(':');
  return {
    trial: () =>
      `curl --fail -H "Authorization: Bearer $TOKEN" https://${guid}.${region}.secrets-manager.appdomain.cloud/api/v2/notifications/registration/test`,
  };
};
