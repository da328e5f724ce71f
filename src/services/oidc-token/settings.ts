import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { addressMistakes, ofKind, required, text } from '../../settings.ts';
import type { SenderConfig, SenderSettings, SettingsContext } from '../service.ts';

const address = text(/^https?:\/\/[^\s?#]+$/, 'an address such as https://issuer.example.com');

const schema = ofKind('oidc-token', 'jobs and services that bear a token of OpenID Connect', {
  store: required(z.string(), 'the store whose certificates it tells of: the primary of one link or more'),
  issuer: required(address, 'who issues its tokens, exactly as their claim iss says'),
  jwks: required(address, 'where the issuer serves the keys of its tokens (jwks_uri of its openid-configuration)'),
  audience: required(
    z.string().check(z.minLength(1)),
    'for whom its tokens are, as their claim aud says: choose one for this receiver',
  ),
  bearer: z
    .record(
      z.string(),
      required(
        z.string(),
        'the value, exactly, of a claim that says who bears the token: { repository: example/site, ref: refs/heads/main }',
      ),
    )
    .check(z.refine((claims) => Object.keys(claims).length > 0, 'a mapping of one claim or more to its value')),
});

export interface OidcTokenConfig extends SenderConfig {
  readonly kind: 'oidc-token';
  readonly issuer: string;
  readonly jwks: string;
  readonly audience: string;
  readonly bearer: Readonly<Record<string, string>>;
}

export const oidcTokenSettings: SenderSettings = {
  schema,
  mistakes: ({ jwks }) => addressMistakes({ jwks }),
  toConfig: (given: z.infer<typeof schema>, { name }: SettingsContext): OidcTokenConfig => defined({ ...given, name }),
};
