import type { Runtime } from '../../src/runtime.ts';

/** A runtime of which the time passes only when the test says so. */
export interface Clock extends Runtime {
  /** Lets this much time pass; who waits for a moment within it is woken at that moment. */
  pass(milliseconds: number): Promise<void>;
  /** Moves the clock while nobody is woken, like a machine that slept. */
  jump(milliseconds: number): void;
}

export function manualClock(): Clock {
  let now = 1_000_000;
  const waiting: { readonly at: number; readonly wake: () => void }[] = [];
  /** Whatever can go on without time goes on. */
  const settle = () => new Promise((resolve) => setImmediate(resolve));

  return {
    now: () => now,
    random: () => 0.5,
    newId: () => 'id',
    wait: (milliseconds, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) reject(signal.reason);
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
        waiting.push({ at: now + milliseconds, wake: resolve });
      }),
    jump(milliseconds) {
      now += milliseconds;
    },
    async pass(milliseconds) {
      const end = now + milliseconds;
      for (;;) {
        await settle();
        const [next] = waiting.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        waiting.splice(waiting.indexOf(next), 1);
        now = Math.max(now, next.at);
        next.wake();
      }
      now = end;
    },
  };
}
