import { describe, expect, test } from 'vitest';
import { makeEstate } from '../kills/estate.ts';
import { versionsRound } from '../kills/versions.ts';
import { bundleScript } from '../support/child.ts';

describe('the version before and this one side by side on one table, then the one alone, then the other, killed under load', () => {
  test.each([
    ['back to the old', 0],
    ['on to the new', 1],
  ])("lose nothing, double nothing and read each other's records: %s", async (_, odd) => {
    const script = await bundleScript('test/kills/main.ts');
    const seed = Math.floor((Date.now() % 1_000_000) / 2) * 2 + odd;
    const setup = { table: 'lmdb', workers: 2, kills: 12, slowness: 1 } as const;
    const estate = await makeEstate(6, 2);
    const result = await versionsRound({ ...setup, program: script.file, seed, estate }).finally(script.dispose);
    expect(result, `seed ${seed}`).toMatchObject({ kills: 12, lost: 0, doubled: 0, unreadable: 0, broken: [] });
  });
});
