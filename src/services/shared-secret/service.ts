import type { Service } from '../service.ts';
import { sharedSecretSettings } from './settings.ts';

/** Anything that can post a header with a secret, and cannot sign. */
export const sharedSecret: Service = {
  kind: 'shared-secret',
  senderSettings: sharedSecretSettings,
  sender: () => import('./sender.ts'),
  senderDiagnosis: () => import('./sender-diagnosis.ts'),
};
