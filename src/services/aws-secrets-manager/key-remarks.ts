import * as z from 'zod/mini';
import { callerCredentials } from '../../aws/caller.ts';
import { awsStoreService, readCall } from '../../aws/store-service.ts';
import { asCodedError } from '../../errors.ts';
import { visible } from '../../foreign-text.ts';
import { otherwise } from '../../lenient.ts';
import type { StoreRemark } from '../../store/store.ts';
import { readSecrets } from './answers.ts';
import { reached, type SecretsManagerOptions } from './store.ts';

const text = otherwise(z.optional(z.string().check(z.minLength(1))), undefined);
const keySchema = z.object({ KeyMetadata: z.object({ KeyState: text, Origin: text, CustomKeyStoreId: text }) });

/** Pages of a listing that are looked through, of a hundred secrets each. */
const mostPages = 100;
/** Keys that are asked for. */
const mostKeys = 20;

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

/**
 * Whether the KMS keys under which secrets of a store lie can be used, and would be where another
 * region has failed: a backup under a key that cannot is no backup. The key of new copies is among
 * them. Beside what is called for copies this takes `kms:DescribeKey` on the keys. Never throws:
 * what keeps it from looking is told, or will be by the check that follows.
 *
 * API: AWS Key Management Service, version 2014-11-01.
 */
export async function keyRemarks(
  options: SecretsManagerOptions,
  signal?: AbortSignal,
): Promise<readonly StoreRemark[]> {
  const under = await secretsByKey(options, signal);
  const asked = [...under].slice(0, mostKeys);
  const remarks: StoreRemark[] = [];
  for (const [key, secrets] of asked) remarks.push(await remarkOn(key, secrets, options, signal));
  const left = under.size - asked.length;
  const more = { message: `${left} more KMS keys were not looked at` };
  return [...remarks, ...(left > 0 ? [more] : [])];
}

/** How many secrets lie under each key, as far as listings tell. The key of AWS is always there. */
async function secretsByKey(
  options: SecretsManagerOptions,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const { kmsKey, namePrefix = '' } = options;
  const { call } = reached(options);
  const found = new Map<string, number>(kmsKey === undefined ? [] : [[kmsKey, 0]]);
  const Filters = namePrefix === '' ? {} : { Filters: [{ Key: 'name', Values: [namePrefix] }] };
  let cursor: string | undefined;
  try {
    for (let page = 1; page === 1 || (cursor !== undefined && page <= mostPages); page += 1) {
      const next = cursor === undefined ? {} : { NextToken: cursor };
      const answer = await call(
        'ListSecrets',
        { MaxResults: 100, ...Filters, ...next },
        readCall('list', { ...(signal && { signal }) }),
      );
      const listed = readSecrets(answer);
      for (const { kmsKey: key, name } of listed?.secrets ?? [])
        if (key !== undefined && name.startsWith(namePrefix)) found.set(key, (found.get(key) ?? 0) + 1);
      cursor = listed?.cursor;
    }
  } catch {
    // The check that lists says why, with what mends it.
  }
  found.delete(ownKey);
  return found;
}

/** The key of the account that AWS itself looks after. */
const ownKey = 'alias/aws/secretsmanager';

async function remarkOn(
  key: string,
  secrets: number,
  options: SecretsManagerOptions,
  signal: AbortSignal | undefined,
): Promise<StoreRemark> {
  const { region, kmsKey } = options;
  const isOfCopies = key === kmsKey;
  const lie = secrets === 1 ? '1 secret lies' : `${secrets} secrets lie`;
  const whose = secrets === 0 ? 'new copies lie' : isOfCopies ? `${lie}, and new copies will,` : lie;
  const about = `${whose} under the KMS key ${visible(key)}`;
  const [, , , ofKey = region] = key.split(':');
  if (key.startsWith('arn:') && ofKey !== region)
    return {
      message: `${about}, which is in ${ofKey}: where that region fails they cannot be read, and are no backup`,
      remedy: `Give the store a kmsKey of ${region}, and let the copies be made anew: certstandby reconcile`,
    };
  try {
    const { state, isOutside } = await describeKey(key, options, signal);
    const where = `--region ${region} --key-id ${/^[\w:/-]+$/.test(key) ? key : '<key>'}`;
    const known = Object.hasOwn(states, state) ? states[state] : undefined;
    if (known !== undefined)
      return { message: `${about}, which ${known[0]}; what nobody can read is no backup`, remedy: known[1](where) };
    if (isOutside)
      return {
        message: `${about}, whose material is in a key store of its own: they can be read only while that is reached`,
      };
    return { message: `${about}, which is ${state === 'Enabled' ? 'enabled' : visible(state)}` };
  } catch (thrown) {
    const error = asCodedError(thrown);
    if (error.code === 'store_gone')
      return {
        message: `${about}, which is not there any more; what nobody can read is no backup`,
        remedy: `Give the store another kmsKey of ${region}, remove these secrets, and let the copies be made anew: certstandby reconcile`,
      };
    const right = `Allow kms:DescribeKey on the key to whoever runs doctor.`;
    return {
      message: `${about}; whether that can be used was not seen: ${error.message}`,
      remedy: error.fields.right === undefined ? error.remedy : right,
    };
  }
}

async function describeKey(key: string, options: SecretsManagerOptions, signal: AbortSignal | undefined) {
  const { store } = reached(options);
  const kms = awsStoreService({
    ...{ ...options, store, service: 'kms', target: 'TrentService', caller: callerCredentials(options) },
    meaningOf: (name) => (name === 'NotFoundException' ? { code: 'store_gone' } : undefined),
  });
  const about = readCall('look at a KMS key', { ...(signal && { signal }) });
  const answer = z.safeParse(keySchema, await kms.call('DescribeKey', { KeyId: key }, about));
  if (!answer.success) throw kms.failure('store_nonsense', 'it answered something that is no key', about);
  const { KeyState = 'of a state that it does not say', Origin, CustomKeyStoreId } = answer.data.KeyMetadata;
  return { state: KeyState, isOutside: Origin === 'EXTERNAL_KEY_STORE' || CustomKeyStoreId !== undefined };
}
