import type * as z from 'zod/mini';
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
  writeRate,
} from '../../settings.ts';
import type { Raw, ServiceSettings, SettingsContext, StoreConfig } from '../service.ts';
import { certificateManagerDefaults as defaults } from './defaults.ts';

const instanceCrn = text(
  /^crn:v1:[a-z]+:[a-z]+:cloudcerts:[a-z0-9-]+:a\/[0-9a-f]+:[0-9a-f-]+::$/,
  'the CRN of a Certificate Manager instance: crn:v1:bluemix:public:cloudcerts:<region>:a/<account>:<guid>::',
);

const schema = ofKind('certificate-manager', 'an instance of IBM Cloud Certificate Manager, or of one’s own', {
  instance: required(instanceCrn, 'CRN of the instance'),
  apiKey: required(
    secretReference,
    'where the API key stands: env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET',
    { secret: true },
  ),
  endpoint: optional(url, 'address of the service', { otherwise: 'the public one of the region' }),
  iam: optional(url, 'where API keys are exchanged for tokens', {
    otherwise: 'https://iam.cloud.ibm.com for IBM Cloud, else the endpoint',
  }),
  ...lagSettings(defaults),
  writesPerCertificatePerMinute: writeRate(defaults.writesPerCertificatePerMinute),
  requestsPerSecond: requestRate({ otherwise: 'no limit' }),
});

export interface CertificateManagerConfig extends StoreConfig {
  readonly kind: 'certificate-manager';
  readonly instance: string;
  /** A reference where it is read only when the store is opened. */
  readonly apiKey: Secret | SecretReference;
  readonly endpoint?: string;
  readonly iam?: string;
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
}

/** Segment 5 of a CRN. */
const regionOf = ({ instance }: Raw) => (typeof instance === 'string' ? instance.split(':')[5] : undefined);

export const certificateManagerSettings: ServiceSettings = {
  schema,

  identities: ({ instance }) => [
    { is: typeof instance === 'string' ? instance : undefined, same: 'is the same instance' },
  ],

  region: regionOf,

  mistakes: ({ endpoint, iam }) => addressMistakes({ endpoint, iam }),

  toConfig(given: z.infer<typeof schema>, { name, secret }: SettingsContext): CertificateManagerConfig {
    const { settles, listingLag, readSettles, apiKey: _reference, ...plain } = given;
    return defined({
      ...plain,
      name,
      region: regionOf(given) ?? '',
      apiKey: secret('apiKey'),
      ...lagsOf({ settles, listingLag, readSettles }),
    });
  },
};
