/** At most so many events of one key in any stretch of time; for each key apart, in memory. */
export interface RateLimit {
  /** Counts one event of this key and returns 0, or counts nothing and returns how many milliseconds to wait. */
  take(key: string): number;
}

/** `count` events in any `windowMs` milliseconds by the given clock; `Infinity` switches it off. */
export function rateLimit(options: { count: number; windowMs: number; now: () => number }): RateLimit {
  const { count, windowMs, now } = options;
  const taken = new Map<string, number[]>();
  let pruneAt = now() + windowMs;

  function prune(at: number): void {
    if (at < pruneAt) return;
    pruneAt = at + windowMs;
    for (const [key, times] of taken) if (times.every((time) => time <= at - windowMs)) taken.delete(key);
  }

  return {
    take(key) {
      if (count === Number.POSITIVE_INFINITY) return 0;
      const at = now();
      prune(at);
      const recent = (taken.get(key) ?? []).filter((time) => time > at - windowMs);
      const oldest = recent[recent.length - count];
      if (oldest !== undefined) return oldest + windowMs - at;
      taken.set(key, [...recent, at]);
      return 0;
    },
  };
}
