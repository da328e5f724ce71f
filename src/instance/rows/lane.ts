/** Lets so many pieces of work of one key go on at once; the others wait in the order they came. */
export function lanes(atOnce: number) {
  const byKey = new Map<string, { active: number; readonly waiting: (() => void)[] }>();

  return {
    async run<T>(key: string, work: () => Promise<T>): Promise<T> {
      const lane = byKey.get(key) ?? { active: 0, waiting: [] };
      byKey.set(key, lane);
      // One that leaves hands its place to the next, so `active` counts places, not comings and
      // goings.
      if (lane.active < atOnce) lane.active++;
      else await new Promise<void>((resolve) => lane.waiting.push(resolve));
      try {
        return await work();
      } finally {
        const next = lane.waiting.shift();
        if (next !== undefined) next();
        else if (--lane.active === 0) byKey.delete(key);
      }
    },
  };
}
