/** What is before the name of an event of Secrets Manager, in the type of its notification. */
export const typePrefix = 'com.ibm.cloud.secrets-manager.';

/** Types of the events that change a certificate. */
export const changingTypes: readonly string[] = [
  'secret_created',
  'secret_rotated',
  'secret_deleted',
  'secret_revoked',
].map((name) => typePrefix + name);

export const testType = `${typePrefix}test_event`;
