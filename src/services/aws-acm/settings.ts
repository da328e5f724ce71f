import * as z from 'zod/mini';
import { arnStem } from '../../aws/arn.ts';
import { type AwsStoreConfig, awsMistakes, awsSettings } from '../../aws/settings.ts';
import { defined } from '../../defined.ts';
import { duration, durationText, lagSettings, lagsOf, ofKind, optional } from '../../settings.ts';
import type { ServiceSettings, SettingsContext, StoreConfig } from '../service.ts';
import { acmDefaults as defaults } from './defaults.ts';

const schema = ofKind('aws-acm', 'AWS Certificate Manager, of one account and region', {
  ...awsSettings,
  exports: optional(
    z.boolean(),
    'as primary: export the keys of certificates that it issued as exportable; of all others it never gives them',
    { default: false },
  ),
  importsPerYear: optional(
    z.int().check(z.minimum(1)),
    'imports that the account may make in 365 days, reimports among them; a tenth is kept for copies that are there',
    { default: defaults.importsPerYear },
  ),
  ...lagSettings(defaults),
  listingLag: optional(duration, 'how long a listing or a search by tags may lag behind writes', {
    default: durationText(defaults.listingLagMs),
  }),
  requestsPerSecond: optional(z.number().check(z.positive()), 'looks and listings in a second to stay under', {
    default: defaults.requestsPerSecond,
  }),
});

export interface AcmConfig extends StoreConfig, AwsStoreConfig {
  readonly kind: 'aws-acm';
  readonly region: string;
  readonly exports?: boolean;
  readonly importsPerYear?: number;
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
}

export const acmSettings: ServiceSettings = {
  schema,

  identities: (raw) => [{ is: arnStem('acm', raw), same: 'is the same account and region' }],

  region: ({ region }) => (typeof region === 'string' ? region : undefined),

  mistakes: awsMistakes,

  toConfig(given: z.infer<typeof schema>, { name, secret }: SettingsContext): AcmConfig {
    const { settles, listingLag, readSettles, secretAccessKey, requestsPerSecond, ...plain } = given;
    return defined({
      ...plain,
      name,
      requestsPerSecond: requestsPerSecond ?? defaults.requestsPerSecond,
      secretAccessKey: secretAccessKey === undefined ? undefined : secret('secretAccessKey'),
      ...lagsOf({ settles, listingLag, readSettles }),
    });
  },
};
