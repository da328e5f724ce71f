import * as z from 'zod/mini';
import { arnStem } from '../../aws/arn.ts';
import { type AwsStoreConfig, awsMistakes, awsSettings } from '../../aws/settings.ts';
import { defined } from '../../defined.ts';
import { lagSettings, lagsOf, ofKind, optional, requestRate, text, writeRate } from '../../settings.ts';
import type { Raw, ServiceSettings, SettingsContext, StoreConfig } from '../service.ts';
import { secretsManagerDefaults as defaults } from './defaults.ts';

const prefix = text(
  /^[\w/+=.@-]{1,200}$/,
  'the beginning of names of secrets, such as certs/: letters, digits and / _ + = . @ -, at most 200',
);

const schema = ofKind('aws-secrets-manager', 'secrets of AWS Secrets Manager, in one account and region', {
  ...awsSettings,
  namePrefix: optional(prefix, 'only secrets whose names begin so; copies get names that do', {
    otherwise: 'all secrets that the credentials may see',
  }),
  layout: optional(
    z.enum(['tls', 'snake-case', 'pem']),
    'how a copy is written: JSON with tls.crt and tls.key (tls), JSON with certificate, certificate_chain and private_key (snake-case), or one text of PEM (pem). All are read',
    { default: 'tls' },
  ),
  kmsKey: optional(
    text(/^(arn:[a-z-]+:kms:.+|alias\/.+|[0-9a-f-]{36})$/, 'the ARN, id or alias of a KMS key'),
    'KMS key of that region for new copies',
    { otherwise: 'aws/secretsmanager, the key of the account' },
  ),
  recoveryDays: optional(
    z.int().check(z.minimum(7), z.maximum(30)),
    'days for which a removed copy can be restored, 7 to 30',
    { default: 7 },
  ),
  ...lagSettings(defaults),
  writesPerCertificatePerMinute: writeRate(defaults.writesPerCertificatePerMinute),
  requestsPerSecond: requestRate({ otherwise: 'no limit' }),
});

export type SecretLayout = 'tls' | 'snake-case' | 'pem';

export interface SecretsManagerConfig extends StoreConfig, AwsStoreConfig {
  readonly kind: 'aws-secrets-manager';
  readonly region: string;
  readonly namePrefix?: string;
  readonly layout?: SecretLayout;
  readonly kmsKey?: string;
  readonly recoveryDays?: number;
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
}

/** What names a store of this kind among all stores; `undefined` if the file does not say it. */
export function secretsManagerId(raw: Raw): string | undefined {
  const stem = arnStem('secretsmanager', raw);
  return stem === undefined || typeof raw.namePrefix !== 'string' ? stem : `${stem}/${raw.namePrefix}`;
}

export const secretsManagerSettings: ServiceSettings = {
  schema,

  identities: (raw) => [{ is: secretsManagerId(raw), same: 'is the same account, region and namePrefix' }],

  region: ({ region }) => (typeof region === 'string' ? region : undefined),

  mistakes: (raw) => {
    const [, , , ofKey] = String(raw.kmsKey ?? '').split(':');
    return [
      ...awsMistakes(raw),
      ...(ofKey === undefined || ofKey === raw.region
        ? []
        : [{ setting: 'kmsKey', what: `is a key of ${ofKey}: a copy under it is lost with that region` }]),
    ];
  },

  toConfig(given: z.infer<typeof schema>, { name, secret }: SettingsContext): SecretsManagerConfig {
    const { settles, listingLag, readSettles, secretAccessKey, ...plain } = given;
    return defined({
      ...plain,
      name,
      secretAccessKey: secretAccessKey === undefined ? undefined : secret('secretAccessKey'),
      ...lagsOf({ settles, listingLag, readSettles }),
    });
  },
};
