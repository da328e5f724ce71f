import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import type { Secret, SecretReference } from '../../secret.ts';
import {
  addressMistakes,
  lagSettings,
  lagsOf,
  ofKind,
  optional,
  requestRate,
  required,
  secretReference,
  text,
  url,
} from '../../settings.ts';
import type { Raw, ServiceSettings, SettingsContext, StoreConfig } from '../service.ts';
import { secretsManagerDefaults as defaults } from './defaults.ts';

const instanceCrn = text(
  /^crn:v1:[a-z]+:[a-z]+:secrets-manager:[a-z0-9-]+:a\/[0-9a-f]+:[0-9a-f-]+::$/,
  'the CRN of a Secrets Manager instance: crn:v1:bluemix:public:secrets-manager:<region>:a/<account>:<guid>::',
);
const address = text(
  /^https?:\/\/[^\s/?#]+(?:\/[\w./-]*)?$/,
  'an address such as https://host, https://host:port or https://host/instances/<guid>',
);
const groupName = text(/^\S(?:.{0,62}\S)?$/, 'the name of a secret group, of at most 64 characters');

const schema = ofKind('secrets-manager', 'an instance of IBM Cloud Secrets Manager, or of one’s own', {
  instance: required(instanceCrn, 'CRN of the instance'),
  apiKey: optional(
    secretReference,
    'where the API key stands: env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET',
    { otherwise: 'none: profile says who asks', secret: true },
  ),
  profile: optional(
    text(/^\S(?:.{0,254}\S)?$/, 'the id or the name of a trusted profile'),
    'the trusted profile, by id or name, that this machine takes on by the token of its compute resource',
    { otherwise: 'none: apiKey says who asks' },
  ),
  computeToken: optional(z.string().check(z.minLength(1)), 'the file in which that token is kept current', {
    otherwise: 'where clusters and Code Engine put it',
  }),
  endpoint: optional(address, 'address of the service, without /api', {
    otherwise: 'the public one of the instance',
  }),
  private: optional(z.boolean(), 'whether the private endpoint of the instance is used', { default: false }),
  iam: optional(url, 'where credentials are exchanged for tokens', {
    otherwise: 'https://iam.cloud.ibm.com for IBM Cloud, else the endpoint',
  }),
  group: optional(groupName, 'the secret group in which new copies are made', { default: defaults.group }),
  carryGroups: optional(
    z.boolean(),
    'whether groups travel: an original tells its group as the tag secret-group:<name>, and its copy is made in the group of that name',
    { default: false },
  ),
  makeGroup: optional(z.boolean(), 'whether a group for copies is made where it is missing', { default: false }),
  ...lagSettings(defaults),
  requestsPerSecond: requestRate({ default: defaults.requestsPerSecond }),
});

export interface SecretsManagerConfig extends StoreConfig {
  readonly kind: 'secrets-manager';
  readonly instance: string;
  /** A reference where it is read only when the store is opened. Absent: there is a profile. */
  readonly apiKey?: Secret | SecretReference;
  readonly profile?: string;
  readonly computeToken?: string;
  readonly endpoint?: string;
  readonly private?: boolean;
  readonly iam?: string;
  readonly group?: string;
  readonly carryGroups?: boolean;
  readonly makeGroup?: boolean;
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
}

/** Segment 5 of a CRN. */
const regionOf = ({ instance }: Raw) => (typeof instance === 'string' ? instance.split(':')[5] : undefined);

export const secretsManagerSettings: ServiceSettings = {
  schema,

  // An instance of one's own speaks two APIs on the same certificates: it is one place by either.
  identities: ({ instance }) =>
    (typeof instance === 'string'
      ? [instance, instance.replace(':secrets-manager:', ':cloudcerts:')]
      : [undefined]
    ).map((is) => ({ is, same: 'is the same instance' })),

  region: regionOf,

  mistakes({ apiKey, profile, computeToken, endpoint, iam, private: isPrivate }) {
    return [
      ...addressMistakes({ endpoint, iam }),
      ...(apiKey === undefined && profile === undefined
        ? [{ setting: 'apiKey', what: 'is missing, and so is profile: one of them says who asks' }]
        : []),
      ...(apiKey !== undefined && profile !== undefined
        ? [{ setting: 'profile', what: 'is there beside apiKey: one of them says who asks' }]
        : []),
      ...(profile === undefined && computeToken !== undefined
        ? [{ setting: 'computeToken', what: 'has no effect without profile' }]
        : []),
      ...(endpoint !== undefined && isPrivate === true
        ? [{ setting: 'private', what: 'has no effect beside endpoint, which is the address itself' }]
        : []),
    ];
  },

  toConfig(given: z.infer<typeof schema>, { name, secret, path }: SettingsContext): SecretsManagerConfig {
    const { settles, listingLag, readSettles, apiKey, computeToken, requestsPerSecond, ...plain } = given;
    return defined({
      ...plain,
      name,
      region: regionOf(given) ?? '',
      requestsPerSecond: requestsPerSecond ?? defaults.requestsPerSecond,
      apiKey: apiKey === undefined ? undefined : secret('apiKey'),
      computeToken: computeToken === undefined ? undefined : path(computeToken),
      ...lagsOf({ settles, listingLag, readSettles }),
    });
  },
};
