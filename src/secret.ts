import { inspect } from 'node:util';

const placeholder = '[secret]';

/**
 * Text that must not be seen: a private key, an API key, an access token. Printing, logging and serialising it give a
 * placeholder; only `reveal` gives the text, so that each place that needs it can be found by that word.
 */
export class Secret {
  readonly #bytes: Uint8Array;

  constructor(text: string | Uint8Array) {
    this.#bytes = typeof text === 'string' ? new TextEncoder().encode(text) : Uint8Array.from(text);
  }

  /** The secret text (UTF-8). Throws after `wipe`, so that a wiped key is never sent as zeros. */
  reveal(): string {
    if (this.wiped) throw new TypeError('this secret has been wiped');
    return new TextDecoder().decode(this.#bytes);
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
