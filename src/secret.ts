import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';

const placeholder = '[secret]';

/**
 * Text that must not be seen: a private key, an API key, an access token. Printing, logging and
 * serialising it give a placeholder; only `reveal` gives the text, so that each place that needs it
 * can be found by that word.
 */
export class Secret {
  readonly #bytes: Uint8Array;

  constructor(text: string | Uint8Array) {
    this.#bytes = typeof text === 'string' ? new TextEncoder().encode(text) : new Uint8Array(text);
  }

  /** The secret text (UTF-8). Throws after `wipe`, so that a wiped key is never sent as zeros. */
  reveal(): string {
    if (this.wiped) throw new TypeError('this secret has been wiped');
    return new TextDecoder().decode(this.#bytes);
  }

  /**
   * The same as bytes, for callers that overwrite them after use: a text stays in memory until that
   * is used again. Throws after `wipe`.
   */
  revealBytes(): Buffer {
    if (this.wiped) throw new TypeError('this secret has been wiped');
    // Memory of its own: small buffers otherwise share theirs.
    const bytes = Buffer.alloc(this.#bytes.length);
    bytes.set(this.#bytes);
    return bytes;
  }

  /** The same secret, to be wiped on its own. Throws after `wipe`. */
  copy(): Secret {
    if (this.wiped) throw new TypeError('this secret has been wiped');
    return new Secret(this.#bytes);
  }

  /** Whether it was overwritten. No secret is all zeros. */
  get wiped(): boolean {
    return this.#bytes.length > 0 && this.#bytes.every((byte) => byte === 0);
  }

  /** Overwrites the bytes held here. Copies that `reveal` gave out are the garbage collector's. */
  wipe(): void {
    this.#bytes.fill(0);
  }

  toString(): string {
    return placeholder;
  }

  toJSON(): string {
    return placeholder;
  }

  [inspect.custom](): string {
    return placeholder;
  }
}

/**
 * From now on memory that the garbage collector gets back is overwritten with zeros. A private key
 * that has been a text (JSON can be had in no other way) is then gone with the next collection, and
 * not when its place happens to be used again. For the beginning of a process: the setting is of
 * the whole of it.
 */
export function overwriteFreedMemory(): void {
  setFlagsFromString('--clear-free-memory');
}

/**
 * Where a secret is that is read only when it is needed: in the environment, AWS Parameter Store or
 * AWS Secrets Manager.
 */
export interface SecretReference {
  readonly from: 'env' | 'ssm' | 'secretsmanager';
  readonly name: string;
}
