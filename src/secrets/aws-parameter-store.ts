import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { Secret } from '../secret.ts';
import { awsSecretError, regionOfArn, requireRegion } from './aws-failure.ts';
import type { SecretSource } from './secret-source.ts';

const where = 'AWS Systems Manager Parameter Store';

/**
 * Parameters of AWS Systems Manager, by name or ARN, decrypted where they are a SecureString. Where
 * it is and whose credentials it uses is for the environment to say, as for all AWS programs. API:
 * `GetParameter`.
 */
export function awsParameterStore(): SecretSource {
  return {
    async read(name) {
      const region = regionOfArn(name);
      const client = new SSMClient({ maxAttempts: 3, ...defined({ region }) });
      try {
        await requireRegion(client, name);
        const { Parameter } = await client.send(new GetParameterCommand({ Name: name, WithDecryption: true }));
        const value = Parameter?.Value?.trim();
        if (value) return new Secret(value);
        throw new CodedError('secret_unreadable', `the secret ${name} in ${where} is empty`, {
          fields: { secret: name },
        });
      } catch (thrown) {
        throw awsSecretError(where, name, thrown);
      } finally {
        client.destroy();
      }
    },
  };
}
