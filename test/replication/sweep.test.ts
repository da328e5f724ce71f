import { describe, expect, it } from 'vitest';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { CodedError } from '../../src/errors.ts';
import { type Sweeper, sweep } from '../../src/replication/sweep.ts';
import type { Store } from '../../src/store/store.ts';
import { setup, startMs } from '../support/replication.ts';

async function sweeperOf(more: Partial<Sweeper> = {}) {
  const world = await setup();
  const woken: string[] = [];
  const sweeper: Sweeper = {
    records: world.records,
    links: world.links,
    runtime: world.time,
    log: world.log,
    dispatch: {
      dispatch: async (wakes: readonly Wake[]) => {
        woken.push(...wakes.map(({ link, certificate }) => `${link}/${certificate}`));
      },
    },
    ...more,
  };
  const askOf = (link: string, certificate: string, now: number) => world.records.ask({ link, certificate, now });
  return { ...world, woken, sweeper, askOf };
}

const withKey = (store: Store, notificationKey: () => Promise<string>): Store => ({ ...store, notificationKey });

describe('waking what is due', () => {
  it('hands over what is due, earliest first, and leaves the rest', async () => {
    const { sweeper, link, woken, askOf } = await sweeperOf();
    await askOf('main', 'later', startMs - 5);
    await askOf('main', 'sooner', startMs - 9);
    await askOf('main', 'future', startMs + 1);
    expect(await sweep(sweeper, [link])).toMatchObject({ woken: 2 });
    expect(woken).toEqual(['main/sooner', 'main/later']);
  });

  it('wakes nobody when nothing is due', async () => {
    const { sweeper, link, woken } = await sweeperOf();
    expect(await sweep(sweeper, [link])).toMatchObject({ woken: 0 });
    expect(woken).toEqual([]);
  });

  it('hands over no more than its share; the next one goes on', async () => {
    const { sweeper, link, woken, askOf, pass } = await sweeperOf({ most: 2 });
    for (const [index, name] of ['a', 'b', 'c'].entries()) await askOf('main', name, startMs - 10 + index);
    expect(await sweep(sweeper, [link])).toMatchObject({ woken: 2 });
    for (const name of ['a', 'b']) await pass(name);
    await sweep(sweeper, [link]);
    expect(woken).toEqual(['main/a', 'main/b', 'main/c']);
  });

  it('wakes again what was woken in vain', async () => {
    const { sweeper, link, woken, askOf } = await sweeperOf();
    await askOf('main', 'a', startMs);
    await sweep(sweeper, [link]);
    await sweep(sweeper, [link]);
    expect(woken).toEqual(['main/a', 'main/a']);
  });

  it('lets no link hold up another', async () => {
    const { sweeper, link, woken, askOf, table, lines } = await sweeperOf();
    await askOf('main', 'a', startMs);
    await askOf('other', 'b', startMs);
    table.hooks.queryIndex = (proceed, query) => {
      if (query.partition.endsWith('main')) throw new CodedError('table_unavailable', 'not reached');
      return proceed(query);
    };
    expect(await sweep(sweeper, [link, { ...link, name: 'other' }])).toMatchObject({ woken: 1 });
    expect(woken).toEqual(['other/b']);
    expect(lines).toMatchObject([
      { level: 'error', event: 'sweep_failed', fields: { link: 'main', code: 'table_unavailable' } },
    ]);
  });

  it('does not throw when nobody can be woken', async () => {
    const dispatch = { dispatch: () => Promise.reject(new CodedError('store_unavailable', 'no queue')) };
    const { sweeper, link, askOf, lines } = await sweeperOf({ dispatch });
    await askOf('main', 'a', startMs);
    expect(await sweep(sweeper, [link])).toMatchObject({ woken: 0 });
    expect(lines).toMatchObject([{ event: 'sweep_failed' }]);
  });
});

describe('refreshing the verification key', () => {
  it('keeps the key of each link, and writes it only when it is another one', async () => {
    const { sweeper, link, links, table } = await sweeperOf();
    let writes = 0;
    table.hooks.update = (proceed, ...args) => {
      writes += 1;
      return proceed(...args);
    };
    let pem = 'one';
    const keyed = { ...link, primary: withKey(link.primary, async () => pem) };
    await sweep(sweeper, [keyed]);
    await sweep(sweeper, [keyed]);
    expect([await links.verificationKey('main'), writes]).toEqual(['one', 1]);
    pem = 'two';
    await sweep(sweeper, [keyed]);
    expect([await links.verificationKey('main'), writes]).toEqual(['two', 2]);
  });

  it('keeps the last key when it cannot be had, wakes all the same, and says so', async () => {
    const { sweeper, link, links, woken, askOf, lines } = await sweeperOf();
    await links.saveVerificationKey('main', 'one', startMs);
    await askOf('main', 'a', startMs);
    const failing = withKey(link.primary, () => Promise.reject(new CodedError('store_unavailable', 'not reached')));
    await sweep(sweeper, [{ ...link, primary: failing }]);
    expect(await links.verificationKey('main')).toBe('one');
    expect(woken).toEqual(['main/a']);
    expect(lines).toMatchObject([
      { level: 'warn', event: 'verification_key_not_refreshed', fields: { link: 'main', code: 'store_unavailable' } },
    ]);
  });

  it('asks nothing of a primary that sends no notifications', async () => {
    const { sweeper, link, links } = await sweeperOf();
    await sweep(sweeper, [link]);
    expect(await links.verificationKey('main')).toBeUndefined();
  });
});
