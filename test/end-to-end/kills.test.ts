import { expect, test } from 'vitest';
import { makeEstate } from '../kills/estate.ts';
import { killRound } from '../kills/round.ts';
import { bundleScript } from '../support/child.ts';

test('a program that is killed four times under load keeps its promises', async () => {
  const script = await bundleScript('test/kills/main.ts');
  const seed = Date.now() % 1_000_000;
  const setup = { table: 'lmdb', workers: 1, kills: 4, slowness: 1 } as const;
  const estate = await makeEstate(6, 2);
  const result = await killRound({ ...setup, program: script.file, seed, estate }).finally(script.dispose);
  expect(result, `seed ${seed}`).toMatchObject({ kills: 4, lost: 0, doubled: 0, unreadable: 0, broken: [] });
}, 300_000);
