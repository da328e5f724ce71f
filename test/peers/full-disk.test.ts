import { expect, test } from 'vitest';
import { makeEstate } from '../kills/estate.ts';
import { fullDiskRound } from '../kills/full-disk.ts';
import { bundleScript } from '../support/child.ts';

test('a program whose disk is full turns notifications away, and keeps its promises when there is room again', async () => {
  const script = await bundleScript('test/kills/main.ts');
  const seed = Date.now() % 1_000_000;
  const setup = { table: 'lmdb', workers: 1, kills: 2, slowness: 0.3 } as const;
  const estate = await makeEstate(6, 2);
  const warnings: string[] = [];
  const warn = (text: string) => {
    warnings.push(text);
    process.stderr.write(text);
  };
  const round = fullDiskRound({ ...setup, program: script.file, seed, estate }, warn);
  const result = await round.finally(script.dispose);
  expect(result, `seed ${seed}`).toMatchObject({ kills: 2, lost: 0, doubled: 0, unreadable: 0, broken: [] });
  // Where everything is checked, it is checked on a disk.
  if (process.env.CI === 'true' && process.getuid?.() === 0) expect(warnings).toEqual([]);
});
