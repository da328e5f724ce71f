import type { Runtime } from '../../src/runtime.ts';

/**
 * Numbers in [0, 1) from a seed: mulberry32, a small public-domain generator. The same seed gives
 * the same numbers for ever.
 */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
  /** Called off: nobody waits for it. */
  off: boolean;
}

/**
 * A clock that moves only when nothing else can happen: the world's own, from which every worker's
 * clock is derived.
 */
export interface VirtualTime extends Runtime {
  /** Calls back at a moment of this clock. Returns how to call that off. */
  at(moment: number, fire: () => void): () => void;
  /** Lets time run until this moment. Throws if more than `mostSteps` timers fire: a livelock. */
  runUntil(moment: number, mostSteps: number): Promise<void>;
  /** Timers fired so far. */
  readonly steps: number;
}

export function virtualTime(startMs: number, random: () => number): VirtualTime {
  const heap: Timer[] = [];
  let now = startMs;
  let order = 0;
  let ids = 0;
  let steps = 0;

  function push(timer: Timer): void {
    heap.push(timer);
    let index = heap.length - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!swapIfBefore(index, parent)) break;
      index = parent;
    }
  }

  function pop(): Timer | undefined {
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    heap[0] = last;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const child = left + 1 < heap.length && isBefore(left + 1, left) ? left + 1 : left;
      if (child >= heap.length || !swapIfBefore(child, index)) return first;
      index = child;
    }
  }

  function isBefore(a: number, b: number): boolean {
    const [x, y] = [heap[a], heap[b]];
    return x !== undefined && y !== undefined && (x.at < y.at || (x.at === y.at && x.order < y.order));
  }

  function swapIfBefore(a: number, b: number): boolean {
    if (!isBefore(a, b)) return false;
    [heap[a], heap[b]] = [heap[b] as Timer, heap[a] as Timer];
    return true;
  }

  const time: VirtualTime = {
    now: () => now,
    random,
    newId: () => {
      ids += 1;
      return `id-${String(ids).padStart(6, '0')}`;
    },
    at(moment, fire) {
      order += 1;
      const timer = { at: Math.max(now, moment), order, fire, off: false };
      push(timer);
      return () => {
        timer.off = true;
      };
    },
    wait: (milliseconds, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const onAbort = () => {
          cancel();
          reject(signal?.reason);
        };
        const cancel = time.at(now + milliseconds, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
        signal?.addEventListener('abort', onAbort, { once: true });
      }),
    runUntil: (moment, mostSteps) =>
      settled(() => {
        let count = 0;
        for (let timer = heap[0]; timer !== undefined && timer.at <= moment; timer = heap[0]) {
          pop();
          now = Math.max(now, timer.at);
          if (timer.off) continue;
          count += 1;
          if (count > mostSteps) throw new Error(`livelock: more than ${mostSteps} steps`);
          steps += 1;
          timer.fire();
          settle();
        }
        now = Math.max(now, moment);
      }),
    get steps() {
      return steps;
    },
  };
  return time;
}

/**
 * Runs this when every promise that can go on has gone on: a macrotask runs only when no microtask
 * is left.
 */
function settled(run: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    setImmediate(() => {
      try {
        run();
        resolve();
      } catch (thrown) {
        reject(thrown);
      }
    });
  });
}

/**
 * Lets every promise that can go on go on, without a turn of the event loop: that asks the
 * operating system whether something has come, which took a fifth of a run where each step had one.
 * `_tickCallback` is what Node itself calls between two macrotasks; it is not documented.
 */
function settle(): void {
  (process as unknown as { readonly _tickCallback: () => void })._tickCallback();
}
