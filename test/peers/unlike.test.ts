import { describe, expect, test } from 'vitest';
import { makeEstate } from '../kills/estate.ts';
import { unlikeRound } from '../kills/unlike-round.ts';
import { bundleScript } from '../support/child.ts';

describe('a laggard and a store whose imports take two requests among the backups, and workers killed under load', () => {
  test.each([
    ['are its own', 0],
    ['are unique names', 1],
  ])(
    'lose nothing, double nothing, and leave nothing half made or unreadable: ids of the latter %s',
    async (_, odd) => {
      const script = await bundleScript('test/kills/main.ts', { registry: 'test/kills/registry.ts' });
      const seed = Math.floor((Date.now() % 1_000_000) / 2) * 2 + odd;
      const setup = { table: 'lmdb', workers: 2, kills: 8, slowness: 3 } as const;
      const estate = await makeEstate(5, 2);
      const result = await unlikeRound({ ...setup, program: script.file, seed, estate }).finally(script.dispose);
      expect(result).toMatchObject({ kills: 8, lost: 0, doubled: 0, unreadable: 0, broken: [] });
    },
    600_000,
  );
});
