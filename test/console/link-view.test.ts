import { expect, test } from 'vitest';
import { type Estate, linkViews } from '../../src/console/link-view.ts';
import { CodedError } from '../../src/errors.ts';
import { statusOf } from '../../src/replication/status.ts';
import { content, replicated, startMs } from '../support/replication.ts';

/** An estate of one certificate that counts how often all its records are read. */
async function counting() {
  const world = await replicated(await content());
  const reads = { count: 0, ms: 0 };
  const clock = { now: startMs };
  const estate: Estate = {
    links: [world.link],
    nameOf: (store) => store,
    wording: (text) => text,
    reconcileEveryMs: 3_600_000,
    async status(link, begin) {
      reads.count += 1;
      const collector = begin();
      for await (const record of world.records.all(link.name)) collector.add(record);
      clock.now += reads.ms;
      return statusOf(world.worker, link);
    },
    record: (link, certificate) => world.records.get(link.name, certificate),
    firstReconciledAt: async () => startMs,
  };
  return { world, reads, clock, estate, now: () => clock.now };
}

test('many who look at once read the records once; a moment later they are read anew', async () => {
  const { world, reads, clock, estate, now } = await counting();
  const views = linkViews(estate, now);
  const seen = await Promise.all([views.get(world.link), views.get(world.link), views.get(world.link)]);
  expect(seen.map(({ counts }) => counts.same)).toEqual([1, 1, 1]);
  await views.get(world.link);
  expect(reads.count).toBe(1);
  clock.now += 1_000;
  await views.get(world.link);
  expect(reads.count).toBe(2);
});

test('what takes long to read is read in a tenth of the time, and nobody waits for it again', async () => {
  const { world, reads, clock, estate, now } = await counting();
  reads.ms = 5_000;
  const views = linkViews(estate, now);
  const first = await views.get(world.link);
  expect(first.tookMs).toBe(5_000);
  clock.now = first.at + 49_999;
  expect(await views.get(world.link)).toBe(first);
  expect(reads.count).toBe(1);
  clock.now = first.at + 50_000;
  // The view before is shown, with its time, while the next one is made.
  expect(await views.get(world.link)).toBe(first);
  await expect.poll(async () => (await views.get(world.link)).at).toBe(first.at + 50_000);
  expect(reads.count).toBe(2);
  // None is shown that is as old as that, however long it takes to make.
  reads.ms = 100_000;
  clock.now += 600_001;
  expect((await views.get(world.link)).at).toBe(clock.now - 100_000);
  clock.now += 600_001;
  expect((await views.get(world.link)).at).toBe(clock.now - 100_000);
});

test('a table that fails is read anew after ten times as long as it took to fail, and not by each who looks', async () => {
  const { world, reads, clock, estate, now } = await counting();
  const state = { fails: true };
  const failing: Estate = {
    ...estate,
    async status(link, begin) {
      if (!state.fails) return estate.status(link, begin);
      reads.count += 1;
      clock.now += 5_000;
      throw new CodedError('table_unavailable', 'the table does not answer');
    },
  };
  const views = linkViews(failing, now);
  await expect(views.get(world.link)).rejects.toThrow('the table does not answer');
  clock.now += 49_999;
  await expect(views.get(world.link)).rejects.toThrow('the table does not answer');
  expect(reads.count).toBe(1);
  clock.now += 1;
  state.fails = false;
  expect((await views.get(world.link)).counts.same).toBe(1);
});

test('what nobody looks at is forgotten, and a clock that is set back shows nothing from the future', async () => {
  const { world, reads, clock, estate, now } = await counting();
  const views = linkViews(estate, now, 1);
  await views.get(world.link);
  await expect
    .poll(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await views.get(world.link);
      return reads.count;
    })
    .toBeGreaterThan(1);
  const kept = linkViews(estate, now);
  await kept.get(world.link);
  const before = reads.count;
  clock.now -= 60_000;
  expect((await kept.get(world.link)).at).toBe(clock.now);
  expect(reads.count).toBe(before + 1);
});
