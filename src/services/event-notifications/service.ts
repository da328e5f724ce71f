import type { Service } from '../service.ts';
import { eventNotificationsSettings } from './settings.ts';

/** IBM Cloud Event Notifications: it tells of the secrets of an instance of Secrets Manager. */
export const eventNotifications: Service = {
  kind: 'event-notifications',
  senderSettings: eventNotificationsSettings,
  sender: () => import('./sender.ts'),
  keys: () => import('./keys.ts'),
  senderDiagnosis: () => import('./sender-diagnosis.ts'),
};
