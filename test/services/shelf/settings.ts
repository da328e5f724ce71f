import * as z from 'zod/mini';
import { defined } from '../../../src/defined.ts';
import type { Secret, SecretReference } from '../../../src/secret.ts';
import type { ServiceSettings, SettingsContext, StoreConfig } from '../../../src/services/service.ts';
import { ofKind, optional, required, secretReference, text } from '../../../src/settings.ts';

const schema = ofKind('shelf', 'a shelf in memory', {
  label: required(text(/^[a-z]+$/, 'letters from a to z'), 'tells the shelf from all others'),
  depth: optional(z.int().check(z.minimum(1)), 'certificates on a page of its listing', { default: 10 }),
  pin: required(secretReference, 'where the number stands that opens it', { secret: true }),
});

export interface ShelfConfig extends StoreConfig {
  readonly label: string;
  readonly depth?: number;
  readonly pin: Secret | SecretReference;
}

export const shelfSettings: ServiceSettings = {
  schema,
  identities: ({ label }) => [{ is: typeof label === 'string' ? label : undefined, same: 'has the same label' }],
  region: () => 'here',
  toConfig({ kind, label, depth }: z.infer<typeof schema>, { name, secret }: SettingsContext): ShelfConfig {
    return { ...defined({ depth }), kind, name, region: 'here', label, pin: secret('pin') };
  },
};
