import type { Service } from '../../../src/services/service.ts';
import { cabinetSettings } from './settings.ts';

/** A service whose imports take two requests: a place with its mark first, then the content. */
export const cabinet: Service = { kind: 'cabinet', settings: cabinetSettings, store: () => import('./store.ts') };
