import type { Runtime } from '../runtime.ts';

/**
 * Runs work that must end at a moment (epoch milliseconds). When the moment comes first, the work's
 * signal is aborted and `late` answers or throws in its place; what the work does after that is
 * nobody's.
 */
export async function withDeadline<T>(
  runtime: Runtime,
  at: number,
  work: (signal: AbortSignal) => Promise<T>,
  late: () => T,
): Promise<T> {
  const call = new AbortController();
  const timer = new AbortController();
  const expired = runtime.wait(Math.max(0, at - runtime.now()), timer.signal).then(
    () => 'expired' as const,
    () => 'ended' as const,
  );
  const result = work(call.signal).then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  const first = await Promise.race([result, expired]);
  // With a reason: the default one is an error with a stack, made anew each time and read by
  // nobody.
  timer.abort('ended');
  if (typeof first === 'string') {
    call.abort();
    return late();
  }
  if ('error' in first) throw first.error;
  return first.value;
}
