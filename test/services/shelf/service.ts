import type { Service } from '../../../src/services/service.ts';
import { shelfSettings } from './settings.ts';

/** The smallest service there could be: what one takes, and no more. */
export const shelf: Service = { kind: 'shelf', settings: shelfSettings, store: () => import('./store.ts') };
