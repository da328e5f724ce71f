import { asCodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import type { Reading } from '../store/store.ts';

/**
 * Reads again where the store says when it will answer: as long as it limits us, as a listing does,
 * and shortly where it is being changed or away for a moment (`store_unavailable`), since a person
 * who has just put a certificate there is told nothing by that. Answers the last reading. Throws
 * what `read` throws, and the reason of the signal.
 */
export async function patiently<T>(
  { runtime, signal }: { readonly runtime: Pick<Runtime, 'wait'>; readonly signal?: AbortSignal | undefined },
  read: () => Promise<Reading<T>>,
): Promise<Reading<T>> {
  for (let tries = 1; ; tries += 1) {
    const reading = await read();
    if (reading.state !== 'unreadable') return reading;
    const { code, retryAfterMs } = asCodedError(reading.error);
    const most = mostOf[code];
    if (most === undefined || retryAfterMs === undefined || retryAfterMs > most.waitMs || tries >= most.tries)
      return reading;
    await runtime.wait(retryAfterMs, signal);
  }
}

/** What is waited for, how often, and for how long each time. */
const mostOf: Readonly<Record<string, { readonly tries: number; readonly waitMs: number }>> = {
  store_limited: { tries: limits.listingTries, waitMs: limits.listingWaitMs },
  store_unavailable: { tries: limits.changingTries, waitMs: limits.changingWaitMs },
};
