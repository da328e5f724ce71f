/**
 * The contract of a root key service: it keeps one key that never leaves it, and wraps data keys
 * with that. A kind is one file beside this one, its parts named after it. `test/keys/contract.ts`
 * is the suite that every kind runs.
 */

/**
 * What a wrapped data key is bound to: printable ASCII, at most 200 characters a value. The same
 * must be given to unwrap it. Not secret.
 */
export type KeyContext = Readonly<Record<string, string>>;

export interface Unwrapped {
  /** 32 bytes in memory of their own; the caller wipes them. */
  readonly dataKey: Uint8Array;
  /**
   * A new wrapped text that must be kept instead of the old one: the root key was rotated since.
   */
  readonly renewed?: string;
}

/**
 * Every method throws
 * - `keys_unavailable`: the service was not reached, did not answer in time, or limits requests.
 *   Asking again may help.
 * - `keys_refused` (or a code that a kind has for its own files): it was reached and says no. The
 *   key is disabled, gone, or ours no longer.
 * - `keys_unreadable`, from `unwrap` and `rewrap`: this is no text that this root key wrapped in
 *   this context, or no longer.
 * Asking twice is safe. Each call ends within a bound that the kind states, whatever the service
 * does.
 */
export interface RootKey {
  /**
   * What rows say of it, `<kind>:<name>`: another key has another id, whatever becomes of aliases
   * and paths. Never secret.
   */
  readonly id: string;
  /**
   * The data key (32 bytes, left as they are) as text that only this root key opens, and only in
   * this context.
   */
  wrap(dataKey: Uint8Array, context: KeyContext): Promise<string>;
  unwrap(wrapped: string, context: KeyContext): Promise<Unwrapped>;
  /**
   * The same data key under the newest version of the root key, where the service does that without
   * giving the data key out.
   */
  rewrap?(wrapped: string, context: KeyContext): Promise<string>;
  /** Lets go of connections. */
  close(): Promise<void>;
}
