import type { KeyObject } from 'node:crypto';
import { asCodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import { pinVerificationKey } from './jws.ts';
import type { VerificationKeys } from './sender.ts';

/**
 * How long keys are used before they are loaded again, and how long absent ones are believed
 * absent.
 */
const presentMs = 15_000;
const absentMs = 1_000;

/**
 * The pinned keys of one link by their ids, from the table or the configuration: never from a
 * service, never by what a notification says. However many notifications arrive, they are loaded
 * once in a while. While none can be loaded anew those of before go on being used, for an hour; a
 * key that is not among those loaded is used no more.
 */
export function verificationKeyCache(options: {
  readonly runtime: Runtime;
  /** The public keys as PEM; none while none has been fetched. */
  readonly load: () => Promise<readonly { readonly id: string; readonly pem: string }[]>;
}): () => Promise<VerificationKeys> {
  const { runtime, load } = options;
  let keys: VerificationKeys = new Map();
  let loadedAt = Number.NEGATIVE_INFINITY;
  let loadAt = Number.NEGATIVE_INFINITY;
  let loading: Promise<void> | undefined;
  // A key that is read again is the same object: what is known of it stays known.
  let pinned: ReadonlyMap<string, KeyObject> = new Map();

  async function loadAnew(now: number): Promise<void> {
    const found = new Map<string, KeyObject>();
    const byPem = new Map<string, KeyObject>();
    let unusable: unknown;
    for (const { id, pem } of await load()) {
      try {
        const key = pinned.get(pem) ?? pinVerificationKey(pem);
        byPem.set(pem, key);
        found.set(id, key);
      } catch (thrown) {
        unusable = thrown;
      }
    }
    if (found.size > 0) {
      keys = found;
      pinned = byPem;
      loadedAt = now;
    } else if (unusable !== undefined) throw unusable;
  }

  async function reload(): Promise<void> {
    const now = runtime.now();
    try {
      await loadAnew(now);
    } catch (thrown) {
      if (keys.size === 0) throw thrown;
    } finally {
      if (now >= loadedAt + limits.goneKeyMs) keys = new Map();
      loadAt = runtime.now() + (keys.size === 0 ? absentMs : presentMs);
      loading = undefined;
    }
  }

  return async () => {
    if (runtime.now() >= loadAt) {
      loading ??= reload();
      await loading;
    }
    return keys;
  };
}

/**
 * What `verify` makes with the first of these keys that made the signature. Throws what it throws
 * with the last one if none did, and at once what has nothing to do with the key.
 */
export function withAnyKey<T>(keys: VerificationKeys, verify: (key: KeyObject) => T): T {
  let refused: unknown;
  for (const key of keys.values()) {
    try {
      return verify(key);
    } catch (thrown) {
      if (asCodedError(thrown).code !== 'notification_not_genuine') throw thrown;
      refused = thrown;
    }
  }
  throw refused;
}
