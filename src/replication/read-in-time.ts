import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import type { CertificateMetadata, Reading, Store, StoredCertificate } from '../store/store.ts';
import { withDeadline } from './deadline.ts';

/**
 * Reads one of many certificates in full. One that does not come within `limits.readMs` is
 * `unreadable` (`store_unavailable`), so that it holds up no other, whatever its store waits for;
 * what a store throws although it should answer is `unreadable` too. Throws only the reason of the
 * signal.
 */
export function readInTime(
  runtime: Runtime,
  store: Store,
  id: string,
  signal?: AbortSignal,
): Promise<Reading<StoredCertificate>> {
  return inTime(runtime, (late) => store.read(id, { signal: late }), { store, id, signal });
}

/** The same of metadata, by a read that stands in for a listing. */
export function readMetadataInTime(
  runtime: Runtime,
  store: Store,
  id: string,
  signal?: AbortSignal,
): Promise<Reading<CertificateMetadata>> {
  return inTime(runtime, (late) => store.readMetadata(id, { signal: late, lists: true }), { store, id, signal });
}

async function inTime<T>(
  runtime: Runtime,
  send: (signal: AbortSignal) => Promise<Reading<T>>,
  { store, id, signal }: { readonly store: Store; readonly id: string; readonly signal: AbortSignal | undefined },
): Promise<Reading<T>> {
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
  const read = withDeadline<Reading<T>>(
    runtime,
    runtime.now() + limits.readMs,
    (late) => send(signal === undefined ? late : AbortSignal.any([signal, late])),
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
