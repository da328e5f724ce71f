import { expect, test } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { judgeStatus } from '../../src/findings/status-words.ts';
import { replicate } from '../../src/replication/pass/replicate.ts';
import { reconcile } from '../../src/replication/reconcile/reconcile.ts';
import { statusOf } from '../../src/replication/status.ts';
import { sweep } from '../../src/replication/sweep.ts';
import { fill, verified } from '../support/estate.ts';
import { content, described, type Setup, setup } from '../support/replication.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/**
 * The program as it runs by itself: a sweep each minute, a reconcile each hour; what they wake is
 * looked at.
 */
async function run(world: Setup, minutes: number): Promise<void> {
  const dispatch = {
    dispatch: async (wakes: readonly { certificate: string }[]) => {
      for (const { certificate } of wakes) await replicate(world.worker, world.link, certificate);
    },
  };
  for (let minute = 0; minute < minutes; minute += 1) {
    if (world.time.now() % hourMs === 0) await reconcile({ ...world.worker, dispatch }, world.link).catch(() => {});
    await sweep({ ...world.worker, dispatch }, [world.link]);
    await world.later(minuteMs);
  }
}

test('a backup that is away for an hour: status says so at once and in plain words; when it is back, all is same without a person', async () => {
  const contents = await Promise.all(Array.from({ length: 12 }, () => content()));
  const renewed = await content();
  const world = await setup({ reconciled: false, random: () => 0.5 });
  fill(world, contents);
  await run(world, 2);
  const judged = async () => judgeStatus(await statusOf(world.worker, world.link), hourMs, (store) => store);
  expect((await judged()).wrong).toEqual([]);
  expect((await judged()).good).toBe(
    '12 certificates equal in every backup, compared 2 min ago; not proven yet: certstandby verify reads every copy back',
  );

  const down = () =>
    Promise.reject(new CodedError('store_unavailable', 'backup cannot be reached: connection refused'));
  const gone = async () => ({
    state: 'unreadable' as const,
    error: new CodedError('store_unavailable', 'backup cannot be reached: connection refused'),
  });
  const { hooks } = world.backup;
  Object.assign(hooks, {
    list: down,
    import: down,
    reimport: down,
    updateMetadata: down,
    read: gone,
    readMetadata: gone,
  });
  await world.primary.store.reimport('c1', renewed);
  await world.ask('c1', { eventAt: world.time.now() });
  await replicate(world.worker, world.link, 'c1');
  const atOnce = await judged();
  expect(atOnce.wrong.map(({ exit }) => exit)).toEqual([4]);
  expect(atOnce.wrong[0]?.words).toMatch(
    /^1 certificate stuck at backup \(name 1\), last 0 ms ago: backup cannot be reached: connection refused \[store_unavailable\]; tried again in 500 ms\n {2}Check that the store can be reached from here\.$/,
  );

  // Changes go on, with and without events.
  await world.primary.store.reimport('c2', renewed);
  await world.ask('c2', { eventAt: world.time.now() });
  await world.primary.store.updateMetadata('c3', described('renamed'), undefined);
  world.primary.store.put({ content: renewed, metadata: described('new') }, 'c13');
  await run(world, 60);
  const anHourLater = await judged();
  expect(Math.max(...anHourLater.wrong.map(({ exit }) => exit))).toBe(4);
  expect(anHourLater.wrong.map(({ words }) => words).join('\n')).toMatch(
    /the last reconcile failed .*\[store_unavailable\]/,
  );
  expect(anHourLater.wrong.map(({ words }) => words).join('\n')).toMatch(
    /2 certificates stuck at backup \(name 1, name 2\)/,
  );

  for (const name of Object.keys(hooks)) delete hooks[name as keyof typeof hooks];
  await run(world, 61);
  expect((await judged()).wrong).toEqual([]);
  expect(await verified(world)).toMatchObject({ counts: { same: 13 }, problems: 0, findings: [] });
  expect((await judged()).good).toMatch(
    /^13 certificates equal in every backup, compared .* ago; proven by reading everything back 0 ms ago$/,
  );
});
