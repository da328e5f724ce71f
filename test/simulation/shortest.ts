import { defaultTroubleMs, type SimulationOptions, type SimulationResult, simulate } from './simulate.ts';

/** A run that breaks the promise of another one, and how to play it again. */
export interface ShorterRun {
  readonly result: SimulationResult;
  readonly changes: number;
  readonly minutes: number;
}

const shares = [0.1, 0.25, 0.5, 1] as const;
const mostChanges = 6;
const seedsAround = 25;

/**
 * The run with the shortest trace that breaks the same promise or bound as the given one, among
 * those of this seed and of the next few with fewer changes and less time. Undefined if none of
 * them breaks it.
 */
export async function shortestRun(
  seed: number,
  broken: string,
  options: SimulationOptions,
): Promise<ShorterRun | undefined> {
  const kind = kindOf(broken);
  let shortest: ShorterRun | undefined;
  for (let changes = 1; changes <= mostChanges; changes += 1) {
    for (const share of shares) {
      for (let near = seed; near < seed + seedsAround; near += 1) {
        const minutes = (share * defaultTroubleMs) / 60_000;
        const result = await simulate(near, { ...options, changes, troubleMs: minutes * 60_000, keepTrace: true });
        const length = shortest?.result.trace.length ?? Number.POSITIVE_INFINITY;
        if (result.broken.some((text) => kindOf(text) === kind) && result.trace.length < length) {
          shortest = { result, changes, minutes };
        }
      }
    }
  }
  return shortest;
}

/** `promise 2` or `bound`. */
function kindOf(broken: string): string {
  return broken.slice(0, broken.indexOf(':'));
}
