import { CodedError } from '../../../src/errors.ts';
import { Secret } from '../../../src/secret.ts';
import type { StoreContext } from '../../../src/services/service.ts';
import { memoryStore } from '../../../src/store/memory.ts';
import type { Store } from '../../../src/store/store.ts';
import type { ShelfConfig } from './settings.ts';

/**
 * A store in memory that opens with one number, and says by its own words what to do where it does
 * not.
 */
export function openStore({ label, region, depth = 10, pin }: ShelfConfig, { runtime, secret }: StoreContext): Store {
  const store = memoryStore({ id: `shelf:${label}`, region, runtime, pageSize: depth });
  const given = secret(pin);
  const open = async () => {
    const number = given instanceof Secret ? given : await given();
    if (number.reveal() === '1234') return;
    throw new CodedError('store_unauthorized', `the shelf ${label} does not open with this number`);
  };
  return {
    ...store,
    kind: 'shelf',
    async list(request) {
      await open();
      return store.list(request);
    },
    diagnosis: {
      address: `the shelf ${label}`,
      clock: async () => undefined,
      mayImport: async () => true,
      credentialsRemedy: (setting) => `Put the number of the shelf behind ${setting}.pin.`,
    },
  };
}
