import type { KeyObject } from 'node:crypto';
import type { Runtime } from '../runtime.ts';
import { pinVerificationKey } from './jws.ts';

/** How long a key is used before it is loaded again, and how long an absent one is believed absent. */
const presentMs = 15_000;
const absentMs = 1_000;

/**
 * The pinned key of one link, from the table or the configuration: never from a service, never by what a notification says. However
 * many notifications arrive, it is loaded once in a while. A key that cannot be loaded anew goes on being used.
 */
export function verificationKeyCache(options: {
  readonly runtime: Runtime;
  /** PEM of the public key, or `undefined` while it has not been fetched. */
  readonly load: () => Promise<string | undefined>;
}): () => Promise<KeyObject | undefined> {
  const { runtime, load } = options;
  let key: KeyObject | undefined;
  let pinnedPem: string | undefined;
  let loadAt = Number.NEGATIVE_INFINITY;
  let loading: Promise<void> | undefined;

  async function reload(): Promise<void> {
    try {
      const pem = await load();
      if (pem !== undefined && pem !== pinnedPem) {
        key = pinVerificationKey(pem);
        pinnedPem = pem;
      }
    } catch (thrown) {
      if (key === undefined) throw thrown;
    } finally {
      loadAt = runtime.now() + (key === undefined ? absentMs : presentMs);
      loading = undefined;
    }
  }

  return async () => {
    if (runtime.now() >= loadAt) {
      loading ??= reload();
      await loading;
    }
    return key;
  };
}
