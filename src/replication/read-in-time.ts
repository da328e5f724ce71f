import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import type { Reading, Store, StoredCertificate } from '../store/store.ts';
import { withDeadline } from './deadline.ts';

/**
 * Reads one of many certificates in full. One that does not come within `limits.readMs` is `unreadable` (`store_unavailable`), so that
 * it holds up no other, whatever its store waits for; what a store throws although it should answer is `unreadable` too. Throws only the
 * reason of the signal.
 */
export async function readInTime(
  runtime: Runtime,
  store: Store,
  id: string,
  signal?: AbortSignal,
): Promise<Reading<StoredCertificate>> {
  signal?.throwIfAborted();
  const fields = { store: store.id, certificate: id };
  const unreadable = (code: 'store_unavailable' | 'internal', message: string, cause?: unknown) => {
    const error = new CodedError(code, `${store.id} ${id}: ${message}`, { cause, fields });
    return { state: 'unreadable', error } as const;
  };
  let stop = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(signal?.reason);
    signal?.addEventListener('abort', stop, { once: true });
  });
  const read = withDeadline<Reading<StoredCertificate>>(
    runtime,
    runtime.now() + limits.readMs,
    (late) => store.read(id, { signal: signal === undefined ? late : AbortSignal.any([signal, late]) }),
    () => unreadable('store_unavailable', `it did not come within ${limits.readMs / 1000} s`),
  );
  try {
    return await Promise.race([read, stopped]);
  } catch (thrown) {
    signal?.throwIfAborted();
    if (thrown instanceof CodedError) return { state: 'unreadable', error: thrown };
    return unreadable(
      'internal',
      `unexpected failure: ${thrown instanceof Error ? thrown.message : typeof thrown}`,
      thrown,
    );
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}
