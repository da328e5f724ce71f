import type { Service } from '../service.ts';
import { oidcTokenSettings } from './settings.ts';

/**
 * Jobs and services that prove who they are by a token of an issuer of OpenID Connect: no secret is
 * shared.
 */
export const oidcToken: Service = {
  kind: 'oidc-token',
  senderSettings: oidcTokenSettings,
  sender: () => import('./sender.ts'),
  keys: () => import('./keys.ts'),
  senderDiagnosis: () => import('./sender-diagnosis.ts'),
};
