import type { Service } from '../service.ts';
import { acmSettings } from './settings.ts';

/** AWS Certificate Manager. */
export const awsAcm: Service = {
  kind: 'aws-acm',
  settings: acmSettings,
  store: () => import('./store.ts'),
  diagnosis: () => import('./diagnosis.ts'),
  rights: () => import('./rights.ts'),
};
