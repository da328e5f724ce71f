import type { Service } from '../service.ts';
import { secretsManagerSettings } from './settings.ts';

/** AWS Secrets Manager. */
export const awsSecretsManager: Service = {
  kind: 'aws-secrets-manager',
  settings: secretsManagerSettings,
  store: () => import('./store.ts'),
  diagnosis: () => import('./diagnosis.ts'),
  rights: () => import('./rights.ts'),
};
