import { describe, expect, it } from 'vitest';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { type InProcessOptions, inProcessDispatch } from '../../src/dispatch/in-process.ts';
import { virtualTime } from '../simulation/virtual-time.ts';

const start = 1_000_000;
const shop = (certificate: string): Wake => ({ link: 'shop', certificate });

/** A dispatch whose looks go on until the test ends them. */
function dispatchOf(options: Partial<InProcessOptions> = {}) {
  const time = virtualTime(start, () => 0);
  const begun: string[] = [];
  const failures: string[] = [];
  const running: { readonly name: string; readonly end: (again?: number) => void; readonly fail: () => void }[] = [];
  const dispatch = inProcessDispatch({
    work: ({ link, certificate }) =>
      new Promise((resolve, reject) => {
        const name = link === 'shop' ? certificate : `${link}/${certificate}`;
        begun.push(name);
        running.push({
          name,
          end: (again) => resolve(again === undefined ? {} : { again }),
          fail: () => reject(new Error(`${name} broke`)),
        });
      }),
    failed: (wake, thrown) => void failures.push(`${wake.certificate}: ${(thrown as Error).message}`),
    concurrency: 2,
    most: 4,
    runtime: time,
    ...options,
  });
  /** Ends the first look under way of this name. */
  const take = (name: string) => {
    const at = running.findIndex((each) => each.name === name);
    const [taken] = running.splice(at, 1);
    if (at < 0 || taken === undefined) throw new Error(`${name} is not under way`);
    return taken;
  };
  return {
    time,
    begun,
    failures,
    dispatch,
    running: () => running.map(({ name }) => name),
    wake: (...names: string[]) => dispatch.dispatch(names.map(shop)),
    wakeLater: (delayMs: number, ...names: string[]) => dispatch.dispatch(names.map(shop), { delayMs }),
    async end(name: string, again?: number) {
      take(name).end(again);
      await time.runUntil(time.now(), 10);
    },
    async fail(name: string) {
      take(name).fail();
      await time.runUntil(time.now(), 10);
    },
    later: (milliseconds: number) => time.runUntil(time.now() + milliseconds, 100),
  };
}

describe('looks at one time', () => {
  it('are no more than the bound, and the next begins when one ends', async () => {
    const { wake, running, end, later } = dispatchOf();
    await wake('a', 'b', 'c');
    await later(0);
    expect(running()).toEqual(['a', 'b']);
    await end('b');
    expect(running()).toEqual(['a', 'c']);
  });

  it('are never two of the same certificate, and a wake-up meanwhile counts once', async () => {
    const { wake, begun, running, end, later } = dispatchOf();
    await wake('a');
    await later(0);
    await wake('a');
    await wake('a', 'a');
    expect(running()).toEqual(['a']);
    await end('a');
    expect(running()).toEqual(['a']);
    await end('a');
    expect(running()).toEqual([]);
    expect(begun).toEqual(['a', 'a']);
  });

  it('are of one certificate in each of two links', async () => {
    const { dispatch, running, later } = dispatchOf();
    await dispatch.dispatch([shop('a'), { link: 'other', certificate: 'a' }]);
    await later(0);
    expect(running()).toEqual(['a', 'other/a']);
  });

  it('are not held up by one that has to wait for itself', async () => {
    const { wake, running, later } = dispatchOf();
    await wake('a');
    await later(0);
    await wake('a', 'b');
    await later(0);
    expect(running()).toEqual(['a', 'b']);
  });

  it('are not two of the same certificate even if the look itself asks for one at once', async () => {
    let most = 0;
    let under = 0;
    let rounds = 0;
    const { dispatch, time } = dispatchOf({
      async work(wake) {
        under += 1;
        rounds += 1;
        most = Math.max(most, under);
        if (rounds < 3) await dispatch.dispatch([wake]);
        under -= 1;
        return {};
      },
    });
    await dispatch.dispatch([shop('a')]);
    await time.runUntil(time.now(), 10);
    expect({ most, rounds }).toEqual({ most: 1, rounds: 3 });
  });
});

describe('a look that fails', () => {
  it('is told, and makes room', async () => {
    const { wake, running, fail, failures, later } = dispatchOf({ concurrency: 1 });
    await wake('a', 'b');
    await later(0);
    await fail('a');
    expect(failures).toEqual(['a: a broke']);
    expect(running()).toEqual(['b']);
  });

  it('may throw at once', async () => {
    const { dispatch, failures, later } = dispatchOf({
      work: () => {
        throw new Error('broke at once');
      },
    });
    await dispatch.dispatch([shop('a')]);
    await later(0);
    await dispatch.dispatch([shop('a')]);
    await later(0);
    expect(failures).toEqual(['a: broke at once', 'a: broke at once']);
    await dispatch.idle();
  });
});

describe('a delayed wake-up', () => {
  it('comes when asked for, not before', async () => {
    const { wakeLater, begun, later } = dispatchOf();
    await wakeLater(500, 'a');
    await later(499);
    expect(begun).toEqual([]);
    await later(1);
    expect(begun).toEqual(['a']);
  });

  it('comes at the earliest of several, once', async () => {
    const { wakeLater, begun, end, later } = dispatchOf();
    await wakeLater(500, 'a');
    await wakeLater(200, 'a');
    await wakeLater(900, 'a');
    await later(199);
    expect(begun).toEqual([]);
    await later(1);
    await end('a');
    await later(5_000);
    expect(begun).toEqual(['a']);
  });

  it('comes when the look itself says when the next is due', async () => {
    const { wake, begun, end, later } = dispatchOf();
    await wake('a');
    await later(0);
    await end('a', start + 300);
    await later(299);
    expect(begun).toEqual(['a']);
    await later(1);
    expect(begun).toEqual(['a', 'a']);
  });

  it('comes soon if its moment has passed', async () => {
    const { wake, begun, end, later } = dispatchOf();
    await wake('a');
    await later(0);
    await end('a', start - 300);
    await later(1);
    expect(begun).toEqual(['a', 'a']);
  });

  it('does not come before its moment by the clock, even if the timer is early', async () => {
    const time = virtualTime(start, () => 0);
    const begunAt: number[] = [];
    const dispatch = inProcessDispatch({
      work: async () => {
        begunAt.push(time.now() - start);
        return {};
      },
      failed: () => {},
      concurrency: 1,
      most: 1,
      runtime: { ...time, now: time.now, wait: (ms, signal) => time.wait(ms > 1 ? ms - 1 : ms, signal) },
    });
    await dispatch.dispatch([shop('a')], { delayMs: 300 });
    await time.runUntil(start + 1_000, 10);
    expect(begunAt).toEqual([300]);
  });

  it('leaves a wake-up without delay alone', async () => {
    const { wake, wakeLater, running, later } = dispatchOf();
    await wakeLater(500, 'a');
    await wake('a');
    await later(0);
    expect(running()).toEqual(['a']);
  });
});

describe('the bound on what waits', () => {
  it('drops what is beyond, and nothing that waits already', async () => {
    const { wake, begun, end, later } = dispatchOf({ concurrency: 1, most: 2 });
    await wake('a');
    await later(0);
    await wake('b', 'c', 'd', 'c');
    for (const name of ['a', 'b', 'c']) await end(name);
    expect(begun).toEqual(['a', 'b', 'c']);
  });

  it('drops delayed ones beyond it, and takes an earlier moment for one it keeps', async () => {
    const { wakeLater, begun, later } = dispatchOf({ most: 2, concurrency: 9 });
    await wakeLater(100, 'a', 'b', 'c');
    await wakeLater(50, 'a');
    await later(50);
    expect(begun).toEqual(['a']);
    await later(1_000);
    expect(begun).toEqual(['a', 'b']);
  });
});

describe('being idle', () => {
  it('is at once when there is nothing to do; what is delayed does not count', async () => {
    const { dispatch, wakeLater } = dispatchOf();
    await wakeLater(500, 'a');
    await dispatch.idle();
  });

  it('is when nothing runs and nothing waits', async () => {
    const { dispatch, wake, end, later } = dispatchOf({ concurrency: 1 });
    await wake('a', 'b');
    let idle = false;
    const told = [dispatch.idle(), dispatch.idle()].map((each) =>
      each.then(() => {
        idle = true;
      }),
    );
    await later(0);
    await end('a');
    expect(idle).toBe(false);
    await end('b');
    expect(idle).toBe(true);
    await Promise.all(told);
  });
});

describe('stopping', () => {
  it('waits for what runs, forgets what waits or is delayed, and takes no more', async () => {
    const { dispatch, wake, wakeLater, begun, end, later } = dispatchOf({ concurrency: 1 });
    await wake('a', 'b');
    await wakeLater(100, 'c');
    await later(0);
    let stopped = false;
    const stopping = dispatch.stop().then(() => {
      stopped = true;
    });
    const idle = dispatch.idle();
    await wake('d');
    await wakeLater(100, 'e');
    await later(200);
    expect(stopped).toBe(false);
    await end('a', start + 300);
    await stopping;
    await idle;
    await later(1_000);
    expect(begun).toEqual(['a']);
  });
});
