import { expect, it } from 'vitest';
import { fill, planned, reconcileAll } from '../../support/estate.ts';
import { content, setup } from '../../support/replication.ts';

it('a plan tells of what is refused since before once, however many backups refuse something', async () => {
  const refuses = () => ({ why: 'not this one' });
  const world = await setup({ reconciled: false, backups: [{ refuses }, { refuses }] });
  const { privateKey: _key, ...keyless } = await content();
  fill(world, [await content(), keyless]);
  await reconcileAll(world);
  const rests = await planned(world);
  expect(rests.lines.size).toBe(0);
  expect(rests.findings.refusals?.map(({ certificates }) => certificates)).toEqual([1, 1]);
  expect(rests.standing).toBe(1);

  const full = await planned(world, { full: true });
  expect(full.lines.get('c2')).toMatchObject({ outcome: 'refuse' });
  expect(full.findings.refusals).toHaveLength(2);
  expect(full.standing).toBe(0);
});
