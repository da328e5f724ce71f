import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { timeLimit } from '../src/time-limit.ts';

const ended = (signal: AbortSignal) =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason), { once: true }));

test('a time limit comes, however often memory is collected before', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const end = ended(timeLimit(50));
  for (let times = 0; times < 5; times += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    collect();
  }
  // The limit alone keeps no process alive: here something else does.
  const alive = setInterval(() => {}, 1_000);
  expect(await end).toMatchObject({ name: 'TimeoutError' });
  clearInterval(alive);
});

test('it ends before its time with the reason of another signal, one that had ended before too', async () => {
  const stop = new AbortController();
  const end = ended(timeLimit(3_600_000, new AbortController().signal, stop.signal));
  stop.abort('stopped');
  expect(await end).toBe('stopped');
  const late = timeLimit(3_600_000, stop.signal);
  expect([late.aborted, late.reason]).toEqual([true, 'stopped']);
});
