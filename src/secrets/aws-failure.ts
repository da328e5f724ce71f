import { awsRemedies } from '../aws/remedies.ts';
import { CodedError } from '../errors.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';

const missing =
  'There is no secret of this name in this account and region. Make it, or correct the reference (or AWS_REGION).';
const remedies: RemediesByReason = {
  ...awsRemedies,
  AccessDeniedException:
    'Give these credentials ssm:GetParameter or secretsmanager:GetSecretValue on this secret, and kms:Decrypt on its key if that is one of your own.',
  ParameterNotFound: missing,
  ParameterVersionNotFound: missing,
  ResourceNotFoundException: missing,
  DecryptionFailure: 'Give these credentials kms:Decrypt on the key that the secret is encrypted with.',
  InvalidKeyId:
    'The key that the secret is encrypted with is not there, or switched off: bring it back, or write the secret anew.',
};

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
  const more = { fields: { secret: name, reason }, remedies };
  if (reason === 'CredentialsProviderError')
    return new CodedError(
      'secret_unreadable',
      `there are no AWS credentials here with which to read the secret ${name} in ${where}`,
      more,
    );
  return refusals.has(reason)
    ? new CodedError('secret_unreadable', `${where} does not give the secret ${name}: ${reason}`, more)
    : new CodedError('secret_unavailable', `${where} did not answer for the secret ${name}: ${reason}`, more);
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
