import { randomUUID } from 'node:crypto';

/**
 * Time, chance and ids: everything in the program that is not a function of its inputs. Tests put
 * their own in.
 */
export interface Runtime {
  /** Milliseconds since 1970, UTC. */
  now(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /** A new id that nobody else has. */
  newId(): string;
  /** Resolves after so many milliseconds; rejects with the signal's reason if that comes first. */
  wait(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

/**
 * Who holds a lease here, and whether somebody who held one has died since, as far as that can be
 * known.
 */
export interface ProcessOwner {
  /** Stands beside a lease. */
  readonly id: string;
  /** `true` only if it is certain. A lease of one that may live ends by itself. */
  hasDied(owner: string): boolean;
}

/** The real clock, the real dice. */
export const systemRuntime: Runtime = {
  now: () => Date.now(),
  random: () => Math.random(),
  newId: () => randomUUID(),
  wait: (milliseconds, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, milliseconds);
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
};

/**
 * The same, or, if the signal comes first, a rejection with its reason. The work itself goes on,
 * and nobody hears of its end.
 */
export async function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
