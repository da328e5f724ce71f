import type { Secret, SecretReference } from '../secret.ts';
import { addressMistakes, optional, required, type SettingMistake, secretReference, text, url } from '../settings.ts';
import { accountNumber, regionName } from './arn.ts';

/** Settings that every store in AWS has: where it is, and as whom it is asked. */
export const awsSettings = {
  region: required(regionName, 'region of AWS'),
  account: required(accountNumber, 'account of AWS that it is in'),
  accessKeyId: optional(text(/^\w{4,128}$/, 'the id of an access key'), 'id of an access key', {
    otherwise: 'the credentials of the environment, as all programs of AWS find them',
  }),
  secretAccessKey: optional(secretReference, 'where the secret of that access key stands', {
    otherwise: 'the credentials of the environment',
    secret: true,
  }),
  role: optional(
    text(/^arn:[a-z-]+:iam::\d{12}:role\/[\w+=,.@/-]+$/, 'the ARN of a role: arn:aws:iam::<account>:role/<name>'),
    'a role that these credentials take on, in another account for one',
    { otherwise: 'none' },
  ),
  externalId: optional(text(/^[\w+=,.@:/-]{2,1224}$/, 'an external id'), 'external id that the role asks for', {
    otherwise: 'none',
  }),
  endpoint: optional(url, 'address of the service, and of the token service (sts)', {
    otherwise: 'the public one of the region',
  }),
};

/** What they come to. */
export interface AwsStoreConfig {
  readonly region: string;
  readonly account: string;
  readonly accessKeyId?: string;
  /** A reference where it is read only when the store is opened. */
  readonly secretAccessKey?: Secret | SecretReference;
  readonly role?: string;
  readonly externalId?: string;
  readonly endpoint?: string;
}

type Raw = Readonly<Record<string, unknown>>;

/** Mistakes in them that no schema can see. */
export function awsMistakes(raw: Raw): readonly SettingMistake[] {
  const { endpoint, accessKeyId, secretAccessKey, role, externalId } = raw;
  return [
    ...addressMistakes({ endpoint }),
    ...(accessKeyId !== undefined && secretAccessKey === undefined
      ? [{ setting: 'secretAccessKey', what: 'is missing: accessKeyId stands there without it' }]
      : []),
    ...(accessKeyId === undefined && secretAccessKey !== undefined
      ? [{ setting: 'accessKeyId', what: 'is missing: secretAccessKey stands there without it' }]
      : []),
    ...(externalId !== undefined && role === undefined
      ? [{ setting: 'role', what: 'is missing: externalId is what a role asks for' }]
      : []),
  ];
}
