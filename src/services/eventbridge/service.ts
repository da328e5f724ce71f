import type { Service } from '../service.ts';
import { eventBridgeSettings } from './settings.ts';

/** Amazon EventBridge, which tells of changes in stores of AWS. */
export const eventBridge: Service = {
  kind: 'eventbridge',
  senderSettings: eventBridgeSettings,
  sender: () => import('./sender.ts'),
  delivery: () => import('./delivery.ts'),
  senderDiagnosis: () => import('./sender-diagnosis.ts'),
};
