import { arnStem } from '../../aws/arn.ts';
import type { PolicyStatement } from '../../aws/policy.ts';
import type { StoreUse } from '../service.ts';
import type { SecretsManagerConfig } from './settings.ts';

/** The least that it takes: all that is called, and of the account what the prefix says. */
export function rightsOf(config: SecretsManagerConfig, use: StoreUse): readonly PolicyStatement[] {
  const { namePrefix = '', kmsKey } = config;
  const secrets = `${arnStem('secretsmanager', { ...config })}:secret:${namePrefix}*`;
  const on = (actions: readonly string[]): PolicyStatement => ({
    Effect: 'Allow',
    Action: actions.map((action) => `secretsmanager:${action}`),
    Resource: secrets,
  });
  // A listing has no resources to name.
  const lists: PolicyStatement = { Effect: 'Allow', Action: ['secretsmanager:ListSecrets'], Resource: '*' };
  if (use === 'list') return [lists, on(['DescribeSecret'])];
  const reads = on(['DescribeSecret', 'GetSecretValue']);
  const opens = keyed(kmsKey, ['kms:Decrypt']);
  if (use === 'primary') return [lists, reads, ...opens];
  const writes = on([
    'CreateSecret',
    'PutSecretValue',
    'UpdateSecret',
    'UpdateSecretVersionStage',
    'TagResource',
    'UntagResource',
    'DeleteSecret',
    'RestoreSecret',
  ]);
  return [lists, reads, writes, ...keyed(kmsKey, ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:Encrypt'])];
}

/** A key that is named by its ARN: an id or an alias says nothing that a policy could name. */
function keyed(kmsKey: string | undefined, actions: readonly string[]): readonly PolicyStatement[] {
  return kmsKey?.startsWith('arn:') ? [{ Effect: 'Allow', Action: actions, Resource: kmsKey }] : [];
}
