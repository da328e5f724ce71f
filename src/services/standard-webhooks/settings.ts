import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import type { Secret, SecretReference } from '../../secret.ts';
import { publicKey, sharedSecret } from '../../sender/standard-webhook-keys.ts';
import { ofKind, optional, required, secretReference, text } from '../../settings.ts';
import type { SenderConfig, SenderSettings, SettingsContext } from '../service.ts';

const looksLikeKey = /^whpk_[A-Za-z0-9+/]{43}=$/;
const verifying = text(looksLikeKey, 'an Ed25519 public key: whpk_ and the base64 of its 32 bytes').check(
  z.refine(
    (given) => !looksLikeKey.test(given) || publicKey(given) !== undefined,
    'a public key as certstandby notify --new-key prints it; anybody could sign for this one, or nobody',
  ),
);

const schema = ofKind('standard-webhooks', 'anything that posts as the Standard Webhooks specification says', {
  store: required(z.string(), 'the store whose certificates it tells of: the primary of one link or more'),
  secret: optional(secretReference, 'where the secret stands that it signs with (whsec_…): env:NAME or file:PATH', {
    otherwise: 'none: it signs with the key of publicKey',
    secret: true,
  }),
  nextSecret: optional(
    secretReference,
    'a second secret that is good as well, while one takes the place of the other',
    {
      otherwise: 'none',
      secret: true,
    },
  ),
  publicKey: optional(verifying, 'the key that verifies its signatures (whpk_…)', { otherwise: 'none: secret does' }),
  nextPublicKey: optional(verifying, 'a second key that is good as well, while one takes the place of the other', {
    otherwise: 'none',
  }),
});

export interface StandardWebhooksConfig extends SenderConfig {
  readonly kind: 'standard-webhooks';
  readonly secret?: Secret | SecretReference;
  readonly nextSecret?: Secret | SecretReference;
  readonly publicKey?: string;
  readonly nextPublicKey?: string;
}

export const standardWebhooksSettings: SenderSettings = {
  schema,
  keySettings: ['secret', 'nextSecret', 'publicKey', 'nextPublicKey'],

  mistakes: ({ secret, nextSecret, publicKey, nextPublicKey }) =>
    [secret, nextSecret, publicKey, nextPublicKey].some((given) => given !== undefined)
      ? []
      : [{ setting: 'secret', what: 'is missing, and so is publicKey: what it sends could not be proven' }],

  secretMistake: (text) =>
    sharedSecret(text) !== undefined
      ? undefined
      : 'must lead to whsec_ and the base64 of 24 to 64 random bytes; this makes one: printf whsec_%s "$(openssl rand -base64 32)"',

  toConfig(given: z.infer<typeof schema>, { name, secret }: SettingsContext): StandardWebhooksConfig {
    const read = (setting: 'secret' | 'nextSecret') => (given[setting] === undefined ? undefined : secret(setting));
    return defined({ ...given, name, secret: read('secret'), nextSecret: read('nextSecret') });
  },
};
