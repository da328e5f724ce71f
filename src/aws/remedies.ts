import type { RemediesByReason } from '../remedies-by-cause.ts';

const awsCredentials =
  'AWS does not take these credentials: see which they are (aws sts get-caller-identity), renew them, and see that the clock is right.';

/** By the codes of AWS that mean the same in all of its services ("Common Errors"). */
export const awsRemedies: RemediesByReason = {
  AccessDeniedException: 'These credentials lack the right: the README and infra/aws/ROLES.md say which one it takes.',
  AccessDenied: 'These credentials lack the right: the README and infra/aws/ROLES.md say which one it takes.',
  CredentialsProviderError: 'There are no AWS credentials here: give this machine a role, or set AWS_PROFILE.',
  UnrecognizedClientException: awsCredentials,
  InvalidClientTokenId: awsCredentials,
  InvalidSignatureException: awsCredentials,
  SignatureDoesNotMatch: awsCredentials,
  ExpiredTokenException: awsCredentials,
  ExpiredToken: awsCredentials,
  ThrottlingException: 'AWS limits requests. It is tried again; raise the quota of the service if it stays.',
};
