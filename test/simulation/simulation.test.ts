import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { safeguards } from './safeguards.ts';
import { simulate } from './simulate.ts';
import { firstBroken, simulationWithout } from './without.ts';

/** Of each kind: thousands are played by `.ci/run`. */
const seeds = 25;
/**
 * Other seeds each day, the same ones all day: a failure names its seed, and
 * `npm run simulate -- --seed N` replays it.
 */
const firstSeed = Math.floor(Date.now() / 86_400_000) * 100_000;

async function brokenSeeds(from: number, count: number, withReconcile: boolean): Promise<string[]> {
  const broken: string[] = [];
  for (let seed = from; seed < from + count; seed += 1) {
    // Stores as those that are delivered. What others are like is simulated by `npm run simulate`,
    // each switch and mixtures.
    for (const promise of (await simulate(seed, { withReconcile, switches: [] })).broken)
      broken.push(`seed ${seed}: ${promise}`);
  }
  return broken;
}

describe(`the promises hold under faults, from seed ${firstSeed}`, () => {
  test('with reconcile, whatever is lost', async () => {
    expect(await brokenSeeds(firstSeed, seeds, true)).toEqual([]);
  }, 900_000);

  test('by events alone, when each is acknowledged in the end', async () => {
    expect(await brokenSeeds(firstSeed, seeds, false)).toEqual([]);
  }, 900_000);
});

test('a seed replays exactly', async () => {
  const replay = async () => {
    const traces: string[] = [];
    for (let seed = 1; seed <= 5; seed += 1) traces.push(...(await simulate(seed, { keepTrace: true })).trace);
    return traces;
  };
  const traces = await replay();
  expect(traces.length).toBeGreaterThan(100);
  expect(await replay()).toEqual(traces);
});

describe('the simulation bites', () => {
  test('each protective step is where the list of them says', () => {
    const missing = safeguards.filter(({ file, find }) => readFileSync(file, 'utf8').split(find).length !== 2);
    expect(missing.map(({ step }) => step)).toEqual([]);
  });

  for (const step of ['surplus copies are removed', 'what would not serve is refused', 'the sweep wakes what is due']) {
    test(`it misses this one: ${step}`, async () => {
      const safeguard = safeguards.find((candidate) => candidate.step === step);
      if (safeguard === undefined) throw new Error(`there is no step "${step}"`);
      expect(
        await firstBroken(await simulationWithout(safeguard), { ...safeguard, seeds: 400, whole: simulate }),
      ).toBeDefined();
    }, 300_000);
  }
});
