import type { Runtime } from '../runtime.ts';
import { type Dispatch, type Wake, wakeKey } from './dispatch.ts';

export interface InProcessDispatch extends Dispatch {
  /** Resolves when nothing runs or waits for a worker. Delayed wake-ups do not count. */
  idle(): Promise<void>;
  /**
   * Takes no more, forgets what waits, and resolves when what runs has ended. What is forgotten is
   * due in the records.
   */
  stop(): Promise<void>;
}

export interface InProcessOptions {
  /**
   * One look at one certificate. What it throws goes to `failed`. Answers when the next look is
   * due, if it knows.
   */
  readonly work: (wake: Wake) => Promise<{ readonly again?: number }>;
  readonly failed: (wake: Wake, thrown: unknown) => void;
  /** Looks at one time. */
  readonly concurrency: number;
  /** Wake-ups that are kept, waiting or delayed; more are dropped and left to the sweep. */
  readonly most: number;
  readonly runtime: Runtime;
}

/**
 * Workers in this process. One certificate is never looked at twice at one time here; a wake-up
 * that comes meanwhile counts once.
 */
export function inProcessDispatch(options: InProcessOptions): InProcessDispatch {
  const { work, failed, concurrency, most, runtime } = options;
  const waiting = new Map<string, Wake>();
  const running = new Map<string, Promise<void>>();
  const delayed = new Map<string, { readonly at: number; readonly timer: AbortController }>();
  const idlers = new Set<() => void>();
  let stopped = false;

  function startNext(): void {
    for (const [key, wake] of waiting) {
      if (stopped || running.size >= concurrency) return;
      if (running.has(key)) continue;
      waiting.delete(key);
      // Its place is taken before it begins, whatever the work does at once.
      running.set(
        key,
        Promise.resolve().then(() => run(key, wake)),
      );
    }
    if (running.size === 0 && waiting.size === 0) for (const resolve of idlers) resolve();
  }

  async function run(key: string, wake: Wake): Promise<void> {
    try {
      const { again } = await work(wake);
      if (again !== undefined) delay(key, wake, again);
    } catch (thrown) {
      failed(wake, thrown);
    } finally {
      running.delete(key);
      startNext();
    }
  }

  function delay(key: string, wake: Wake, at: number): void {
    const earlier = delayed.get(key);
    if (stopped || (earlier ? earlier.at <= at : delayed.size >= most)) return;
    earlier?.timer.abort();
    const timer = new AbortController();
    delayed.set(key, { at, timer });
    runtime.wait(Math.max(1, at - runtime.now()), timer.signal).then(
      () => {
        delayed.delete(key);
        // Timers may be a millisecond early, and a look before its moment finds nothing to do.
        if (runtime.now() < at) delay(key, wake, at);
        else enqueue([wake]);
      },
      () => undefined,
    );
  }

  function enqueue(wakes: readonly Wake[]): void {
    if (stopped) return;
    for (const wake of wakes) {
      const key = wakeKey(wake);
      if (waiting.size < most || waiting.has(key)) waiting.set(key, wake);
    }
    startNext();
  }

  return {
    async dispatch(wakes, { delayMs = 0 } = {}) {
      if (delayMs <= 0) enqueue(wakes);
      else for (const wake of wakes) delay(wakeKey(wake), wake, runtime.now() + delayMs);
    },
    idle: () =>
      running.size === 0 && waiting.size === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            const done = () => {
              idlers.delete(done);
              resolve();
            };
            idlers.add(done);
          }),
    async stop() {
      stopped = true;
      waiting.clear();
      for (const { timer } of delayed.values()) timer.abort();
      delayed.clear();
      await Promise.all(running.values());
      startNext();
    },
  };
}
