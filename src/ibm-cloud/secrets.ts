// What is known of secrets of Secrets Manager both by its store and by who tells of it.

/** Types of secrets whose certificates are read. Those in `arbitrary` and `kv` are not. */
export const certificateTypes: ReadonlySet<string> = new Set(['imported_cert', 'public_cert', 'private_cert']);

/**
 * The id of a secret, as UUIDs are written. Which version it is of is not looked at: that of a test
 * event is none.
 */
export const secretId = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Where an instance is. `zone` is its region, or `private.` and its region. */
export const secretsManagerAddress = (guid: string, zone: string): string =>
  `https://${guid}.${zone}.secrets-manager.appdomain.cloud`;
