import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import type { Secret, SecretReference } from '../../secret.ts';
import {
  addressMistakes,
  durationText,
  lagSettings,
  lagsOf,
  milliseconds,
  ofKind,
  optional,
  ownRegion,
  period,
  requestRate,
  required,
  type SettingMistake,
  secretReference,
  text,
  url,
} from '../../settings.ts';
import type { Raw, ServiceSettings, SettingsContext, StoreConfig } from '../service.ts';
import { vaultDefaults as defaults } from './defaults.ts';

const place = text(
  /^(?!(?:.*\/)?\.{1,2}(?:\/|$))[^\s/?#%]+(?:\/[^\s/?#%]+)*$/,
  'a path such as certs or team/certs, without a slash at its ends',
);
const storeName = text(/^[\w.@-]{1,100}$/, 'a name of letters, digits and .@_-, at most 100');
const field = text(/^[^\s]{1,256}$/, 'the name of a field');

const layouts = ['pki', 'tls', 'cert-key', 'traefik-enterprise'] as const;
export type Layout = (typeof layouts)[number];
const logins = ['token', 'approle', 'kubernetes', 'jwt', 'cert'] as const;
export type LoginKind = (typeof logins)[number];

const schema = ofKind('vault', 'a key/value engine of HashiCorp Vault or OpenBao', {
  address: required(url, 'address of the server, or of what stands before its nodes'),
  mount: optional(place, 'path at which the key/value engine is mounted', { default: defaults.mount }),
  prefix: optional(place, 'folder in it; nothing outside of it is read or written', { otherwise: 'all of the mount' }),
  namespace: optional(place, 'namespace that the mount is in (Vault Enterprise; OpenBao 2.3 and later)', {
    otherwise: 'the root namespace',
  }),
  id: optional(storeName, 'names it for ever, whatever its address will be; stands in the marks on copies', {
    otherwise: 'made of address, namespace, mount and prefix',
  }),
  region: ownRegion(defaults.region),
  version: optional(z.literal([1, 2]), 'version of the key/value engine', {
    otherwise: 'as the mount says',
  }),
  layout: optional(
    z.enum(layouts),
    'fields of a copy: pki (certificate, private_key, ca_chain), tls (tls.crt, tls.key), cert-key (cert, key), traefik-enterprise (cert, key in base64)',
    { default: defaults.layout },
  ),
  certificateField: optional(field, 'field that holds the certificate', { otherwise: 'found by its usual names' }),
  keyField: optional(field, 'field that holds the private key', { otherwise: 'found by its usual names' }),
  chainField: optional(field, 'field that holds the chain', { otherwise: 'found by its usual names' }),
  login: optional(z.enum(logins), 'how it logs in: token, approle, kubernetes, jwt, cert', { default: defaults.login }),
  loginMount: optional(place, 'path at which that login is mounted', { otherwise: 'its own name' }),
  loginNamespace: optional(place, 'namespace of that login', { otherwise: 'that of the mount' }),
  token: optional(secretReference, 'the token (login: token)', { secret: true, otherwise: 'none' }),
  tokenFile: optional(z.string(), 'file with the token, read again when that is refused: what an agent writes', {
    otherwise: 'none',
  }),
  role: optional(z.string(), 'role to log in as (kubernetes, jwt, cert)', { otherwise: 'none' }),
  roleId: optional(z.string(), 'role id (approle)', { otherwise: 'none' }),
  secretId: optional(secretReference, 'secret id (approle)', { secret: true, otherwise: 'none' }),
  secretIdWrapped: optional(
    z.boolean(),
    'whether that is a token in which the secret id is wrapped, to be unwrapped once',
    {
      default: false,
    },
  ),
  jwt: optional(secretReference, 'token of an issuer that the role trusts (jwt)', { secret: true, otherwise: 'none' }),
  jwtFile: optional(z.string(), 'file with such a token, read at each login (jwt, kubernetes)', {
    otherwise: `for kubernetes ${defaults.serviceAccountToken}`,
  }),
  ca: optional(z.string(), 'file with the authorities that the server’s certificate is checked against, in PEM', {
    otherwise: 'those of the platform',
  }),
  clientCertificate: optional(z.string(), 'file with the certificate that is shown to the server, in PEM (cert)', {
    otherwise: 'none',
  }),
  clientKey: optional(z.string(), 'file with its private key', { otherwise: 'none' }),
  poll: optional(period, 'how often a primary is listed to see what has changed', {
    otherwise: `${durationText(defaults.pollMs.openbao)} on OpenBao, ${durationText(defaults.pollMs.vault)} on Vault`,
  }),
  ...lagSettings(defaults, '; 0s where there is one node'),
  requestsPerSecond: requestRate({ otherwise: 'no limit' }),
});

export interface VaultConfig extends StoreConfig {
  readonly kind: 'vault';
  readonly address: string;
  readonly id?: string;
  readonly mount?: string;
  readonly prefix?: string;
  readonly namespace?: string;
  readonly version?: 1 | 2;
  readonly layout?: Layout;
  readonly certificateField?: string;
  readonly keyField?: string;
  readonly chainField?: string;
  readonly login?: LoginKind;
  readonly loginMount?: string;
  readonly loginNamespace?: string;
  readonly token?: Secret | SecretReference;
  readonly tokenFile?: string;
  readonly role?: string;
  readonly roleId?: string;
  readonly secretId?: Secret | SecretReference;
  readonly secretIdWrapped?: boolean;
  readonly jwt?: Secret | SecretReference;
  readonly jwtFile?: string;
  readonly ca?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  readonly pollMs?: number;
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
}

/** Settings of a login, and of which logins they are. */
const ofLogins: Readonly<Record<string, readonly LoginKind[]>> = {
  token: ['token'],
  tokenFile: ['token'],
  role: ['kubernetes', 'jwt', 'cert'],
  roleId: ['approle'],
  secretId: ['approle'],
  secretIdWrapped: ['approle'],
  jwt: ['jwt'],
  jwtFile: ['jwt', 'kubernetes'],
  loginMount: ['approle', 'kubernetes', 'jwt', 'cert'],
  loginNamespace: ['approle', 'kubernetes', 'jwt', 'cert'],
};

/** What a login cannot do without: one of each of these. */
const needs: Readonly<Record<LoginKind, readonly (readonly string[])[]>> = {
  token: [['token', 'tokenFile']],
  approle: [['roleId'], ['secretId']],
  kubernetes: [['role']],
  jwt: [['role'], ['jwt', 'jwtFile']],
  cert: [['clientCertificate'], ['clientKey']],
};

function loginMistakes(raw: Raw): readonly SettingMistake[] {
  const login = raw.login ?? defaults.login;
  const isLogin = (given: unknown): given is LoginKind => logins.some((known) => known === given);
  if (!isLogin(login)) return [];
  const given = (setting: string) => raw[setting] !== undefined;
  const missing = needs[login].flatMap((any) => {
    const [setting = ''] = any;
    if (any.some(given)) {
      const twice = any.filter(given).length > 1;
      return twice ? [{ setting, what: `only one of ${any.join(' and ')} can hold it` }] : [];
    }
    return [{ setting, what: `is missing: login ${login} needs ${any.join(' or ')}` }];
  });
  const useless = Object.entries(ofLogins).flatMap(([setting, kinds]) =>
    given(setting) && !kinds.includes(login)
      ? [{ setting, what: `is for login ${kinds.join(' or ')}, and login is ${login}` }]
      : [],
  );
  const halves = ['clientCertificate', 'clientKey'];
  const half = halves.filter(given).length === 1 && login !== 'cert';
  const other = halves.find((setting) => !given(setting)) ?? '';
  const pair = half ? [{ setting: other, what: 'is missing: a certificate is shown with its key' }] : [];
  return [...missing, ...useless, ...pair];
}

/** Where it is; `undefined` if the settings do not say it. */
function treeOf({ address, namespace = '', mount = defaults.mount, prefix = '' }: Raw): string | undefined {
  if (typeof address !== 'string' || !URL.canParse(address)) return undefined;
  const { hostname, port, protocol } = new URL(address);
  const portOf = port === '' ? (protocol === 'https:' ? '443' : '80') : port;
  return `${hostname}:${portOf}/${[namespace, mount, prefix].join('/')}`;
}

/** The id of a store without `vault:` before it; `undefined` if the settings do not make one. */
const idOf = (raw: Raw): string | undefined => (typeof raw.id === 'string' ? raw.id : treeOf(raw));

export const vaultSettings: ServiceSettings = {
  schema,

  identities: (raw) => {
    const is = idOf(raw);
    return [{ is: is === undefined ? undefined : `vault:${is}`, same: 'has the same id' }];
  },

  tree: treeOf,

  region: ({ region = defaults.region }) => (typeof region === 'string' ? region : undefined),

  mistakes: (raw) => {
    const fieldsAlone = raw.certificateField === undefined && (raw.keyField ?? raw.chainField) !== undefined;
    return [
      ...addressMistakes({ address: raw.address }),
      ...loginMistakes(raw),
      ...(fieldsAlone
        ? [
            {
              setting: 'certificateField',
              what: 'is missing: the other fields are named beside that of the certificate',
            },
          ]
        : []),
    ];
  },

  toConfig(given: z.infer<typeof schema>, { name, path, secret }: SettingsContext): VaultConfig {
    const { settles, listingLag, readSettles, poll, token, secretId, jwt, ...plain } = given;
    const pathOf = (file: string | undefined) => (file === undefined ? undefined : path(file));
    return defined({
      ...plain,
      name,
      region: given.region ?? defaults.region,
      id: idOf(given),
      tokenFile: pathOf(given.tokenFile),
      jwtFile: pathOf(given.jwtFile),
      ca: pathOf(given.ca),
      clientCertificate: pathOf(given.clientCertificate),
      clientKey: pathOf(given.clientKey),
      token: token === undefined ? undefined : secret('token'),
      secretId: secretId === undefined ? undefined : secret('secretId'),
      jwt: jwt === undefined ? undefined : secret('jwt'),
      pollMs: milliseconds(poll),
      ...lagsOf({ settles, listingLag, readSettles }),
    }) as VaultConfig;
  },
};
