import { createHash, randomBytes } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { Secret } from '../../secret.ts';

/** What an API key may do: each role also what the one before it may. */
export type Role = 'reader' | 'writer' | 'manager';

export const roles: readonly Role[] = ['reader', 'writer', 'manager'];

/** An API key as it is known here: its hash tells it, and cannot be turned back. */
export interface KnownApiKey {
  /** For logs. */
  readonly name: string;
  readonly role: Role;
  /** As `apiKeyHash` makes it. */
  readonly hash: string;
}

/** A new API key: 256 random bits. */
export function newApiKey(): Secret {
  return new Secret(randomBytes(32).toString('base64url'));
}

/**
 * The hash under which an API key is kept: SHA-256, with a prefix that no other hash here has. A
 * slow hash such as scrypt protects what people think up; a key of 256 random bits cannot be
 * guessed from its hash at any speed, and a token has to be had fast. That is why `checkApiKey`
 * refuses short keys.
 */
export function apiKeyHash(key: Secret): string {
  return createHash('sha256').update('certstandby api key 1\0').update(key.reveal()).digest('hex');
}

/**
 * Throws `configuration_invalid` for a key that somebody chose and others may guess. `what` names
 * it.
 */
export function checkApiKey(key: Secret, what: string): void {
  const { length } = key.reveal();
  if (length >= limits.apiKeyCharacters) return;
  const found = length === 0 ? 'is empty' : `has ${length} characters`;
  throw new CodedError('configuration_invalid', `${what} ${found}; at least ${limits.apiKeyCharacters} are taken`);
}
