import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { Secret } from '../secret.ts';
import { awsSecretError, regionOfArn, requireRegion } from './aws-failure.ts';
import type { SecretSource } from './secret-source.ts';

const where = 'AWS Secrets Manager';

/**
 * Secrets of AWS Secrets Manager, by name or ARN: the whole text, or with `name#key` one member of
 * the JSON object that it is. Where it is and whose credentials it uses is for the environment to
 * say, as for all AWS programs. API: `GetSecretValue`.
 */
export function awsSecretsManager(): SecretSource {
  return {
    async read(name) {
      const [id = '', key] = name.split('#');
      const region = regionOfArn(id);
      const client = new SecretsManagerClient({ maxAttempts: 3, ...defined({ region }) });
      try {
        await requireRegion(client, id);
        const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: id }));
        const value = key === undefined ? SecretString?.trim() : memberOf(SecretString, key);
        if (value) return new Secret(value);
        const what = key === undefined ? 'is not text, or empty' : `has no text under the key ${key}`;
        throw new CodedError('secret_unreadable', `the secret ${id} in ${where} ${what}`, { fields: { secret: name } });
      } catch (thrown) {
        throw awsSecretError(where, name, thrown);
      } finally {
        client.destroy();
      }
    },
  };
}

/** A member of a JSON object. What else the text is does not matter, and must not be seen. */
function memberOf(text: string | undefined, key: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '');
    const member = typeof value === 'object' && value !== null ? new Map(Object.entries(value)).get(key) : undefined;
    return typeof member === 'string' ? member.trim() : undefined;
  } catch {
    return undefined;
  }
}
