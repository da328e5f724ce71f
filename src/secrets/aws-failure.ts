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

/** A failure of a service that keeps secrets, with its name and without its request: that may hold credentials. */
export function awsSecretError(where: string, name: string, thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const reason = thrown instanceof Error ? thrown.name : typeof thrown;
  const fields = { secret: name, reason };
  return refusals.has(reason)
    ? new CodedError('secret_unreadable', `${where} does not give the secret ${name}: ${reason}`, { fields })
    : new CodedError('secret_unavailable', `${where} did not answer for the secret ${name}: ${reason}`, { fields });
}

/** The region of an ARN; `undefined` for a plain name, which is one of the region that the process is in. */
export function regionOfArn(name: string): string | undefined {
  return name.startsWith('arn:') ? name.split(':')[3] || undefined : undefined;
}
