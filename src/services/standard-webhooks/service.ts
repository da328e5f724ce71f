import type { Service } from '../service.ts';
import { standardWebhooksSettings } from './settings.ts';

/** Anything that can post: hooks of tools that renew certificates, CI jobs, other programs. */
export const standardWebhooks: Service = {
  kind: 'standard-webhooks',
  senderSettings: standardWebhooksSettings,
  sender: () => import('./sender.ts'),
  senderDiagnosis: () => import('./sender-diagnosis.ts'),
};
