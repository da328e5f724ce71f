import type { Secret } from '../secret.ts';

/**
 * The contract of a place where secrets are kept. `read` answers the secret of this name as it is
 * now, and keeps nothing. Throws `secret_unreadable` when there is none, it is not text, or these
 * credentials may not read it: a person must mend that; and `secret_unavailable` when nothing
 * answered.
 */
export interface SecretSource {
  read(name: string): Promise<Secret>;
}
