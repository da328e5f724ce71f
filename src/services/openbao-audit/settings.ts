import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { ofKind, optional, required, type SettingMistake, text } from '../../settings.ts';
import type { Raw, SenderConfig, SenderSettings, SettingsContext } from '../service.ts';
import { openBaoAuditDefaults } from './defaults.ts';

const digest = text(/^[0-9a-f]{64}$/, 'SHA-256 of a secret, as 64 digits: printf %s "$SECRET" | sha256sum');
const place = text(
  /^(?!(?:.*\/)?\.{1,2}(?:\/|$))[^\s/?#%]+(?:\/[^\s/?#%]+)*$/,
  'a path such as certs or team/certs, without a slash at its ends',
);

const schema = ofKind('openbao-audit', 'the http audit device of an OpenBao', {
  store: required(z.string(), 'the store of the kind vault whose certificates it tells of'),
  digest: required(
    digest,
    'SHA-256 of the secret in the header of the device, in hex; the secret itself is not needed here',
  ),
  nextDigest: optional(digest, 'that of a second secret that is good as well, while one takes the place of the other', {
    otherwise: 'none',
  }),
  header: optional(
    text(/^[a-zA-Z][a-zA-Z0-9-]{0,63}$/, 'the name of a header'),
    'the header that holds the secret; in Authorization it follows the word Bearer',
    { default: openBaoAuditDefaults.header },
  ),
  mount: optional(place, 'the mount of that store', { default: openBaoAuditDefaults.mount }),
  prefix: optional(place, 'its prefix', { otherwise: 'none' }),
  namespace: optional(place, 'its namespace', { otherwise: 'the root namespace' }),
});

export interface OpenBaoAuditConfig extends SenderConfig {
  readonly kind: 'openbao-audit';
  readonly digest: string;
  readonly nextDigest?: string;
  readonly header?: string;
  readonly mount?: string;
  readonly prefix?: string;
  readonly namespace?: string;
}

/** It must tell of where its store is: nothing else would ever be a certificate of that. */
function placeMistakes(raw: Raw, store: Raw): readonly SettingMistake[] {
  if (store.kind !== 'vault') return [{ setting: 'store', what: 'must be a store of the kind vault' }];
  return ['mount', 'prefix', 'namespace'].flatMap((setting) => {
    const otherwise = setting === 'mount' ? openBaoAuditDefaults.mount : undefined;
    const [own = otherwise, its = otherwise] = [raw[setting], store[setting]];
    return own === its ? [] : [{ setting, what: `is not that of the store, which is ${its ?? 'none'}` }];
  });
}

export const openBaoAuditSettings: SenderSettings = {
  schema,
  keySettings: ['digest', 'nextDigest'],
  mistakes: (raw, store) => (store === undefined ? [] : placeMistakes(raw, store)),
  toConfig: (given: z.infer<typeof schema>, { name }: SettingsContext): OpenBaoAuditConfig =>
    defined({ ...given, name }),
};
