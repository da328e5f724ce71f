import type { Secret } from '../secret.ts';

/** Credentials of AWS, as they are now. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken?: Secret;
}

/** The same in the clear, as signing a request takes them. */
export function revealed({ accessKeyId, secretAccessKey, sessionToken }: AwsCredentials) {
  const keys = { accessKeyId, secretAccessKey: secretAccessKey.reveal() };
  return sessionToken === undefined ? keys : { ...keys, sessionToken: sessionToken.reveal() };
}
