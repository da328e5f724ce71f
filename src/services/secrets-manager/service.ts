import type { Service } from '../service.ts';
import { secretsManagerSettings } from './settings.ts';

/** IBM Cloud Secrets Manager: its certificates. */
export const secretsManager: Service = {
  kind: 'secrets-manager',
  settings: secretsManagerSettings,
  store: () => import('./store.ts'),
  diagnosis: () => import('./diagnosis.ts'),
};
