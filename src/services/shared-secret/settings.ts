import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { ofKind, optional, required, text } from '../../settings.ts';
import type { SenderConfig, SenderSettings, SettingsContext } from '../service.ts';

const digest = text(/^[0-9a-f]{64}$/, 'SHA-256 of a secret, as 64 digits: printf %s "$SECRET" | sha256sum');

const schema = ofKind('shared-secret', 'anything that can post a secret in a header', {
  store: required(z.string(), 'the store whose certificates it tells of: the primary of one link or more'),
  digest: required(digest, 'SHA-256 of the secret, in hex; the secret itself is not needed here'),
  nextDigest: optional(digest, 'that of a second secret that is good as well, while one takes the place of the other', {
    otherwise: 'none',
  }),
  header: optional(
    text(/^[a-zA-Z][a-zA-Z0-9-]{0,63}$/, 'the name of a header'),
    'the header that holds the secret; in Authorization it follows the word Bearer',
    { default: 'Authorization' },
  ),
});

export interface SharedSecretConfig extends SenderConfig {
  readonly kind: 'shared-secret';
  readonly digest: string;
  readonly nextDigest?: string;
  readonly header?: string;
}

export const sharedSecretSettings: SenderSettings = {
  schema,
  keySettings: ['digest', 'nextDigest'],
  toConfig: (given: z.infer<typeof schema>, { name }: SettingsContext): SharedSecretConfig =>
    defined({ ...given, name }),
};
