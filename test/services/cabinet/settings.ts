import * as z from 'zod/mini';
import { defined } from '../../../src/defined.ts';
import type { Secret, SecretReference } from '../../../src/secret.ts';
import type { ServiceSettings, SettingsContext, StoreConfig } from '../../../src/services/service.ts';
import {
  duration,
  durationText,
  milliseconds,
  ofKind,
  optional,
  required,
  secretReference,
  text,
  url,
} from '../../../src/settings.ts';

export const cabinetDefaults = { settlesMs: 120_000 };

const schema = ofKind('cabinet', 'a cabinet of places, made first and filled then', {
  label: required(text(/^[a-z0-9-]+$/, 'letters, digits and -'), 'tells the cabinet from all others'),
  endpoint: required(url, 'address of the service'),
  pin: required(secretReference, 'where the word stands that opens it', { secret: true }),
  uniqueNames: optional(z.boolean(), 'whether two places cannot have one name', { default: false }),
  settles: optional(duration, 'how long an unanswered request may still take effect', {
    default: durationText(cabinetDefaults.settlesMs),
  }),
});

export interface CabinetConfig extends StoreConfig {
  readonly kind: 'cabinet';
  readonly label: string;
  readonly endpoint: string;
  readonly pin: Secret | SecretReference;
  readonly uniqueNames?: boolean;
  readonly settlesMs?: number;
}

export const cabinetSettings: ServiceSettings = {
  schema,
  identities: ({ label }) => [{ is: typeof label === 'string' ? label : undefined, same: 'has the same label' }],
  region: () => 'here',
  toConfig({ settles, pin: _reference, ...plain }: z.infer<typeof schema>, context: SettingsContext): CabinetConfig {
    const settlesMs = milliseconds(settles);
    return defined({ ...plain, name: context.name, region: 'here', pin: context.secret('pin'), settlesMs });
  },
};
