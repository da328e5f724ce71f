import { createPrivateKey, type KeyObject } from 'node:crypto';

/**
 * What `createPrivateKey` of `node:crypto` answers, which is the only one to be asked here. What
 * OpenSSL says of a TLS connection that has just failed may stay in its queue of errors (seen with
 * Node 24, after a handshake with an untrue signature), where it is taken for what is wrong with
 * the next key, however good. To ask empties the queue, so a second answer is about this key.
 * Throws what `createPrivateKey` throws.
 */
export function privateKeyObject(key: Parameters<typeof createPrivateKey>[0]): KeyObject {
  try {
    return createPrivateKey(key);
  } catch {
    return createPrivateKey(key);
  }
}
