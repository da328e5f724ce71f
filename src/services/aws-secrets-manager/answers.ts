import * as z from 'zod/mini';
import type { Tags } from '../../aws/tags.ts';
import { otherwise } from '../../lenient.ts';

// What Secrets Manager answers, read leniently: a member that is missing or of another type is as
// if the service had not said it. Emulators send null and "" where the service leaves members out.

const text = otherwise(z.optional(z.string().check(z.minLength(1))), undefined);
const stages = otherwise(z.record(z.string(), otherwise(z.array(z.string()), [])), {});
const tagList = otherwise(
  z.array(otherwise(z.object({ Key: z.string(), Value: text }), { Key: '', Value: undefined })),
  [],
);

const secretSchema = z.object({
  ARN: z.string(),
  Name: z.string(),
  Description: text,
  Tags: tagList,
  /** In listings. */
  SecretVersionsToStages: stages,
  /** In a description. */
  VersionIdsToStages: stages,
  DeletedDate: otherwise(z.optional(z.union([z.number(), z.string()])), undefined),
  OwningService: text,
  PrimaryRegion: text,
  RotationEnabled: otherwise(z.optional(z.boolean()), undefined),
  KmsKeyId: text,
});

/** What a listing or a description says of a secret. */
export interface SecretEntry {
  readonly arn: string;
  readonly name: string;
  readonly description: string;
  readonly tags: Tags;
  /** The version that readers get; absent if there is none. */
  readonly version?: string;
  /** It is scheduled for deletion. */
  readonly isDeleted: boolean;
  /** The service of AWS that it belongs to. */
  readonly owner?: string;
  /** The region of which it is a replica, or its own. */
  readonly primaryRegion?: string;
  readonly rotates: boolean;
  /** The KMS key that it lies under: an ARN, id or alias. Absent: the one of AWS. */
  readonly kmsKey?: string;
}

export function readSecret(value: unknown): SecretEntry | undefined {
  const parsed = z.safeParse(secretSchema, value);
  if (!parsed.success) return undefined;
  const { ARN: arn, Name: name, Description = '', Tags, OwningService: owner, PrimaryRegion } = parsed.data;
  const all = { ...parsed.data.SecretVersionsToStages, ...parsed.data.VersionIdsToStages };
  const version = Object.entries(all).find(([, labels]) => labels.includes('AWSCURRENT'))?.[0];
  const { DeletedDate, RotationEnabled, KmsKeyId: kmsKey } = parsed.data;
  return {
    arn,
    name,
    description: Description,
    tags: new Map(Tags.filter(({ Key }) => Key !== '').map(({ Key, Value = '' }) => [Key, Value])),
    ...(version !== undefined && { version }),
    isDeleted: DeletedDate !== undefined && DeletedDate !== '',
    ...(owner !== undefined && { owner }),
    ...(PrimaryRegion !== undefined && { primaryRegion: PrimaryRegion }),
    rotates: RotationEnabled === true,
    ...(kmsKey !== undefined && { kmsKey }),
  };
}

const pageSchema = z.object({ SecretList: z.array(z.unknown()), NextToken: text });

/** A page of a listing; `undefined` if it is none. */
export function readSecrets(
  value: unknown,
): { readonly secrets: readonly SecretEntry[]; readonly cursor?: string } | undefined {
  const parsed = z.safeParse(pageSchema, value);
  if (!parsed.success) return undefined;
  const secrets = parsed.data.SecretList.map(readSecret);
  const { NextToken: cursor } = parsed.data;
  if (secrets.includes(undefined)) return undefined;
  return { secrets: secrets as readonly SecretEntry[], ...(cursor !== undefined && { cursor }) };
}

const valueSchema = z.object({ ARN: z.string(), VersionId: z.string(), SecretString: text, SecretBinary: text });

/** The value of a version; `undefined` if it is none. */
export function readVersion(value: unknown) {
  const parsed = z.safeParse(valueSchema, value);
  if (!parsed.success) return undefined;
  const { ARN: arn, VersionId: version, SecretString, SecretBinary } = parsed.data;
  return {
    arn,
    version,
    ...(SecretString !== undefined && { text: SecretString }),
    ...(SecretBinary !== undefined && { binary: Buffer.from(SecretBinary, 'base64') }),
  };
}

const writtenSchema = z.object({
  ARN: z.string(),
  VersionId: text,
  VersionStages: otherwise(z.optional(z.array(z.string())), undefined),
});

/** What a write answers; `undefined` if it is nothing of a secret. */
export function readWritten(value: unknown) {
  const parsed = z.safeParse(writtenSchema, value);
  if (!parsed.success) return undefined;
  const { ARN: arn, VersionId: version, VersionStages: labels } = parsed.data;
  return { arn, version, labels };
}
