import type { Service } from '../service.ts';
import { directorySettings } from './settings.ts';

/** Folders with the files of certificates. */
export const directory: Service = {
  kind: 'directory',
  settings: directorySettings,
  store: () => import('./store.ts'),
};
