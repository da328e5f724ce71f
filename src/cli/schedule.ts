import { asCodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';

/**
 * Does a task every so often until stopped; never twice at one time. What it throws is logged, and
 * it is done again the next time.
 */
export function every(
  options: { readonly name: string; readonly periodMs: number; readonly runtime: Runtime; readonly log: Log },
  task: () => Promise<unknown>,
): { stop(): Promise<void> } {
  const { name, periodMs, runtime, log } = options;
  const stopping = new AbortController();
  const loop = async () => {
    while (!stopping.signal.aborted) {
      await runtime.wait(periodMs, stopping.signal).catch(() => undefined);
      if (stopping.signal.aborted) return;
      await task().catch((thrown: unknown) => log('error', `${name}_failed`, errorFields(asCodedError(thrown))));
    }
  };
  const ended = loop();
  return {
    stop() {
      stopping.abort();
      return ended;
    },
  };
}
