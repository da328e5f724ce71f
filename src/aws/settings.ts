import { visible } from '../foreign-text.ts';
import type { Secret, SecretReference } from '../secret.ts';
import { addressMistakes, optional, required, type SettingMistake, secretReference, text, url } from '../settings.ts';

/** Settings that every store in AWS has: where it is, and as whom it is asked. */
export const awsSettings = {
  region: required(text(/^[a-z]{2}(-[a-z]+)+-\d$/, 'a region of AWS, such as eu-west-1'), 'region of AWS'),
  account: required(text(/^\d{12}$/, 'an account of AWS: 12 digits, in quotes'), 'account of AWS that it is in'),
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

/** A statement of a policy of AWS: which actions are allowed on what. */
export interface PolicyStatement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: string;
}

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

/** The partition of a region, as ARNs have it. */
function partitionOf(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn';
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
}

/** How ARNs of a service begin, in a region and an account; `undefined` if these are none. */
export function arnStem(service: string, { region, account }: Raw): string | undefined {
  if (typeof region !== 'string' || typeof account !== 'string') return undefined;
  return `arn:${partitionOf(region)}:${service}:${region}:${account}`;
}

/** What an answer names that cannot be of the store that was asked, in words after "answered". */
export const ofElsewhere = (arn: string): string =>
  `${visible(arn)}, which is of another account, region or partition than this store`;
