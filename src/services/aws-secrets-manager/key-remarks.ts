import * as z from 'zod/mini';
import { type AwsStoreService, awsStoreService, readCall } from '../../aws/store-service.ts';
import { markIn } from '../../aws/tags.ts';
import { defined } from '../../defined.ts';
import { asCodedError } from '../../errors.ts';
import { visible } from '../../foreign-text.ts';
import { otherwise } from '../../lenient.ts';
import type { StoreRemark } from '../../store/store.ts';
import { readSecrets } from './answers.ts';
import { reached, type SecretsManagerOptions } from './store.ts';

const text = otherwise(z.optional(z.string().check(z.minLength(1))), undefined);
const keySchema = z.object({
  KeyMetadata: z.object({ Arn: text, KeyState: text, Origin: text, CustomKeyStoreId: text }),
});

/** Pages of a listing that are looked through, of a hundred secrets each. */
const mostPages = 100;
/** Keys that are asked for. */
const mostKeys = 20;
/** Copies that are named where their key is gone. */
const mostNamed = 5;

/** What a key that nobody may use now is, and what a person does about it. */
const states: Readonly<Record<string, readonly [is: string, mends: (where: string) => string]>> = {
  Disabled: ['is disabled', (where) => `aws kms enable-key ${where}`],
  PendingDeletion: [
    'is to be deleted: from then on nobody can ever read them',
    (where) => `aws kms cancel-key-deletion ${where} && aws kms enable-key ${where}`,
  ],
  PendingReplicaDeletion: [
    'is to be deleted once its replicas are: from then on nobody can ever read them',
    (where) => `aws kms cancel-key-deletion ${where} && aws kms enable-key ${where}`,
  ],
  PendingImport: ['has no key material', () => 'Import the material of the key again.'],
  Unavailable: ['cannot be reached in its own store', () => 'Connect the custom key store of the key again.'],
};

/** What lies under one key. */
interface Under {
  readonly secrets: number;
  /** Names of those among them that carry our mark: copies. The others may be originals. */
  readonly copies: readonly string[];
}

/**
 * Whether the KMS keys under which secrets of a store lie can be used, and would be where another
 * region has failed: a copy under a key that cannot is no backup. The key of new copies is among
 * them. Beside what is called for copies this takes `kms:DescribeKey` on the keys. Never throws:
 * what keeps it from looking is told, or will be by the check that follows.
 *
 * API: AWS Key Management Service, version 2014-11-01.
 *
 * @param limit of one question, each page and each key being one
 */
export async function keyRemarks(
  options: SecretsManagerOptions,
  limit?: () => AbortSignal,
): Promise<readonly StoreRemark[]> {
  const service = reached(options);
  const { store, caller } = service;
  const kms = awsStoreService({
    ...{ ...options, store, caller, service: 'kms', target: 'TrentService' },
    meaningOf: (name) => (name === 'NotFoundException' ? { code: 'store_gone' } : undefined),
  });
  const { under, unseen } = await secretsByKey(service, options, limit);
  const asked = [...under].slice(0, mostKeys);
  const remarks: StoreRemark[] = [];
  for (const [key, found] of asked) remarks.push(await remarkOn(key, found, options, kms, limit));
  const left = under.size - asked.length;
  const more = { message: `${left} more KMS keys were not looked at` };
  return [...remarks, ...(left > 0 ? [more] : []), ...(unseen === undefined ? [] : [unseen])];
}

/** What lies under each key, as far as listings tell. The key of AWS is always there. */
async function secretsByKey(
  service: AwsStoreService,
  { kmsKey, region, namePrefix = '' }: SecretsManagerOptions,
  limit: (() => AbortSignal) | undefined,
): Promise<{ readonly under: ReadonlyMap<string, Under>; readonly unseen?: StoreRemark }> {
  const under = new Map<string, { secrets: number; copies: string[] }>();
  if (kmsKey !== undefined) under.set(kmsKey, { secrets: 0, copies: [] });
  const Filters = namePrefix === '' ? {} : { Filters: [{ Key: 'name', Values: [namePrefix] }] };
  let cursor: string | undefined;
  let seen = 0;
  let error: ReturnType<typeof asCodedError> | undefined;
  try {
    for (let page = 1; page === 1 || (cursor !== undefined && page <= mostPages); page += 1) {
      const next = cursor === undefined ? {} : { NextToken: cursor };
      const about = readCall('list', defined({ signal: limit?.() }));
      const listed = readSecrets(await service.call('ListSecrets', { MaxResults: 100, ...Filters, ...next }, about));
      if (listed === undefined) throw service.failure('store_nonsense', 'it answered something that is no page', about);
      for (const { kmsKey: key, name, tags } of listed.secrets) {
        if (!name.startsWith(namePrefix)) continue;
        seen += 1;
        if (key === undefined) continue;
        const found = under.get(key) ?? { secrets: 0, copies: [] };
        under.set(key, found);
        found.secrets += 1;
        if (markIn(tags) !== undefined) found.copies.push(name);
      }
      cursor = listed.cursor;
    }
  } catch (thrown) {
    error = asCodedError(thrown);
  }
  under.delete(ownKey);
  // Of a listing whose first page fails the check that lists says why, with what mends it.
  if (cursor === undefined) return { under };
  const message = `not all secrets were looked through for their KMS keys, but ${seen} of them`;
  if (error !== undefined) return { under, unseen: { message: `${message}: ${error.message}`, remedy: error.remedy } };
  const remedy = `See the keys of the others: aws secretsmanager list-secrets --region ${region} --query 'SecretList[].KmsKeyId'`;
  return { under, unseen: { message, remedy } };
}

/** The key of the account that AWS itself looks after. */
const ownKey = 'alias/aws/secretsmanager';

async function remarkOn(
  key: string,
  { secrets, copies }: Under,
  options: SecretsManagerOptions,
  kms: AwsStoreService,
  limit: (() => AbortSignal) | undefined,
): Promise<StoreRemark> {
  const { region, kmsKey } = options;
  const isOfCopies = key === kmsKey;
  const lie = secrets === 1 ? '1 secret lies' : `${secrets} secrets lie`;
  const whose = secrets === 0 ? 'new copies lie' : isOfCopies ? `${lie}, and new copies will,` : lie;
  const about = `${whose} under the KMS key ${visible(key)}`;
  // Of originals nobody expects that they are one.
  const noBackup = isOfCopies || copies.length > 0 ? '; a copy that nobody can read is no backup' : '';
  const [, , , ofKey = region] = key.split(':');
  if (key.startsWith('arn:') && ofKey !== region)
    return {
      message: `${about}, which is in ${ofKey}: where that region fails nobody can read them${noBackup}`,
      remedy: `Give the store a kmsKey of ${region} for new copies, and in Secrets Manager each secret under this key another one of ${region}.`,
    };
  try {
    const { arn, state, isOutside } = await describeKey(key, kms, limit);
    // These commands take an id or an ARN, and no alias.
    const id = arn ?? (isAlias(key) ? undefined : key);
    const where = `--region ${region} --key-id ${id !== undefined && /^[\w:/-]+$/.test(id) ? id : '<ARN of the key>'}`;
    const known = Object.hasOwn(states, state) ? states[state] : undefined;
    if (known !== undefined) return { message: `${about}, which ${known[0]}${noBackup}`, remedy: known[1](where) };
    if (isOutside)
      return {
        message: `${about}, whose material is in a key store of its own: they can be read only while that is reached`,
      };
    return { message: `${about}, which is ${state === 'Enabled' ? 'enabled' : visible(state)}` };
  } catch (thrown) {
    const error = asCodedError(thrown);
    if (error.code === 'store_gone' && isAlias(key))
      return {
        message: `${about}: no key has this alias now`,
        remedy: `Give the alias to its key again: aws kms create-alias --region ${region} --alias-name <alias> --target-key-id <key>. The key itself may still be there: remove nothing.`,
      };
    if (error.code === 'store_gone')
      return {
        message: `${about}, which is not there any more: nobody can read them${noBackup}`,
        remedy: whereGone(region, secrets, copies),
      };
    const right = `Allow kms:DescribeKey on the key to whoever runs doctor.`;
    return {
      message: `${about}; whether that can be used was not seen: ${error.message}`,
      remedy: error.fields.right === undefined ? error.remedy : right,
    };
  }
}

/**
 * What a person does about secrets whose key is gone. An original that is removed makes each of its
 * copies the copy of something that is gone: nothing here says to remove one.
 */
function whereGone(region: string, secrets: number, copies: readonly string[]): string {
  const anew = `New copies: give the store another kmsKey of ${region}.`;
  const left = copies.length - mostNamed;
  const names = [...copies.slice(0, mostNamed).map(visible), ...(left > 0 ? [`${left} more`] : [])].join(', ');
  const ours = `Copies of ours under this key: ${names}. Each can be made anew (certstandby reconcile) once it is removed, and only where its original can still be read.`;
  const others = `Originals: bring them back from a backup, and never remove them first.`;
  return [anew, ...(copies.length > 0 ? [ours] : []), ...(secrets > copies.length ? [others] : [])].join(' ');
}

const isAlias = (key: string) => /^(arn:[^/]*:)?alias\//.test(key);

async function describeKey(key: string, kms: AwsStoreService, limit: (() => AbortSignal) | undefined) {
  const about = readCall('look at a KMS key', defined({ signal: limit?.() }));
  const answer = z.safeParse(keySchema, await kms.call('DescribeKey', { KeyId: key }, about));
  if (!answer.success) throw kms.failure('store_nonsense', 'it answered something that is no key', about);
  const { Arn: arn, KeyState = 'of a state that it does not say', Origin, CustomKeyStoreId } = answer.data.KeyMetadata;
  const isOutside = Origin === 'EXTERNAL_KEY_STORE' || CustomKeyStoreId !== undefined;
  return { arn, state: KeyState, isOutside };
}
