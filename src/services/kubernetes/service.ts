import type { Service } from '../service.ts';
import { kubernetesSettings } from './settings.ts';

/** Secrets of type `kubernetes.io/tls` in a Kubernetes cluster. */
export const kubernetes: Service = {
  kind: 'kubernetes',
  settings: kubernetesSettings,
  store: () => import('./store.ts'),
  diagnosis: () => import('./diagnosis.ts'),
};
