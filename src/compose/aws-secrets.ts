import { CodedError } from '../errors.ts';
import type { SecretOf } from './services.ts';

/** Secrets in AWS. Each service is loaded only when a reference leads there. */
export const awsSecretOf: SecretOf = async ({ from, name }) => {
  if (from === 'ssm') {
    const { awsParameterStore } = await import('../secrets/aws-parameter-store.ts');
    return awsParameterStore().read(name);
  }
  if (from === 'secretsmanager') {
    const { awsSecretsManager } = await import('../secrets/aws-secrets-manager.ts');
    return awsSecretsManager().read(name);
  }
  throw new CodedError('secret_unreadable', `the secret ${from}:${name} is not one of AWS`);
};
