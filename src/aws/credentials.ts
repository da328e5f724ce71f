import type { Secret } from '../secret.ts';

/** Credentials of AWS, as they are now. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken?: Secret;
}
