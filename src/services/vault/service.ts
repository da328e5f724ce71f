import type { Service } from '../service.ts';
import { vaultSettings } from './settings.ts';

/** Key/value engines of HashiCorp Vault and OpenBao. */
export const vault: Service = {
  kind: 'vault',
  settings: vaultSettings,
  store: () => import('./store.ts'),
};
