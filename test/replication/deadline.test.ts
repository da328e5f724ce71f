import { expect, it } from 'vitest';
import { withDeadline } from '../../src/replication/deadline.ts';
import { virtualTime } from '../simulation/virtual-time.ts';

const late = () => 'late';

it('answers what the work answers, and its failure, in time', async () => {
  const time = virtualTime(0, () => 0);
  expect(await withDeadline(time, 100, async () => 'done', late)).toBe('done');
  const broken = withDeadline(time, 100, () => Promise.reject(new Error('broke')), late);
  await expect(broken).rejects.toThrow('broke');
});

it('leaves no timer behind', async () => {
  const time = virtualTime(0, () => 0);
  let aborted = false;
  const runtime = {
    ...time,
    wait: (ms: number, signal?: AbortSignal) =>
      time.wait(ms, signal).catch((reason) => {
        aborted = true;
        throw reason;
      }),
  };
  await withDeadline(runtime, 100, async () => 'done', late);
  await time.runUntil(0, 10);
  expect(aborted).toBe(true);
});

it('answers in the place of work that is late, and tells it', async () => {
  const time = virtualTime(0, () => 0);
  let signal: AbortSignal | undefined;
  const answer = withDeadline(
    time,
    100,
    async (given) => {
      signal = given;
      await time.wait(101);
      return 'done';
    },
    late,
  );
  await time.runUntil(99, 10);
  expect(signal?.aborted).toBe(false);
  await time.runUntil(100, 10);
  expect(signal?.aborted).toBe(true);
  expect(await answer).toBe('late');
});

it('throws what `late` throws, and forgets what the work throws after that', async () => {
  const time = virtualTime(0, () => 0);
  const answer = withDeadline<string>(
    time,
    100,
    async () => {
      await time.wait(200);
      throw new Error('broke');
    },
    () => {
      throw new Error('too late');
    },
  );
  const settled = expect(answer).rejects.toThrow('too late');
  await time.runUntil(1_000, 10);
  await settled;
});

it('gives work whose moment has passed no time', async () => {
  const time = virtualTime(1_000, () => 0);
  const answer = withDeadline(time, 500, () => time.wait(1).then(() => 'done'), late);
  await time.runUntil(1_001, 10);
  expect(await answer).toBe('late');
});
