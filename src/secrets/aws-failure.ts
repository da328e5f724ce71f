import { CodedError } from '../errors.ts';

/** What answers of the AWS services that keep secrets mean: those that only a person can mend. */
const refusals = new Set([
  'AccessDeniedException',
  'InvalidKeyId',
  'ParameterNotFound',
  'ParameterVersionNotFound',
  'ResourceNotFoundException',
  'InvalidParameterException',
  'InvalidRequestException',
  'ValidationException',
  'DecryptionFailure',
]);

/**
 * A failure of a service that keeps secrets, with its name and without its request: that may hold
 * credentials.
 */
export function awsSecretError(where: string, name: string, thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const reason = thrown instanceof Error ? thrown.name : typeof thrown;
  const fields = { secret: name, reason };
  if (reason === 'CredentialsProviderError')
    return new CodedError(
      'secret_unreadable',
      `there are no AWS credentials here with which to read the secret ${name} in ${where}`,
      { fields },
    );
  return refusals.has(reason)
    ? new CodedError('secret_unreadable', `${where} does not give the secret ${name}: ${reason}`, { fields })
    : new CodedError('secret_unavailable', `${where} did not answer for the secret ${name}: ${reason}`, { fields });
}

/**
 * Makes sure that a client knows its region, from an ARN or from the environment. Throws
 * `secret_unreadable` with what to do.
 */
export async function requireRegion(
  client: { readonly config: { region(): Promise<string> } },
  name: string,
): Promise<void> {
  try {
    await client.config.region();
  } catch {
    throw new CodedError(
      'secret_unreadable',
      `no AWS region is named for the secret ${name}: set AWS_REGION, or write its ARN into the configuration`,
      { fields: { secret: name } },
    );
  }
}

/**
 * The region of an ARN; `undefined` for a plain name, which is one of the region that the process
 * is in.
 */
export function regionOfArn(name: string): string | undefined {
  return name.startsWith('arn:') ? name.split(':')[3] || undefined : undefined;
}
