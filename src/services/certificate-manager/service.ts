import type { Service } from '../service.ts';
import { certificateManagerSettings } from './settings.ts';

/** IBM Cloud Certificate Manager. */
export const certificateManager: Service = {
  kind: 'certificate-manager',
  settings: certificateManagerSettings,
  store: () => import('./store.ts'),
  sender: () => import('./sender.ts'),
  diagnosis: () => import('./diagnosis.ts'),
};
