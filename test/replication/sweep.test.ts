import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { CodedError } from '../../src/errors.ts';
import { type Sweeper, sweep } from '../../src/replication/sweep.ts';
import { setup, startMs } from '../support/replication.ts';

async function sweeperOf(more: Partial<Sweeper> = {}) {
  const world = await setup();
  const woken: string[] = [];
  const sweeper: Sweeper = {
    records: world.records,
    linkRecords: world.linkRecords,
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
      if (query.partition === 'replication.1/main') throw new CodedError('table_unavailable', 'not reached');
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

describe('waking for hints', () => {
  it('wakes one worker for all hints of a link that are due, and none where none is', async () => {
    const { sweeper, link, linkRecords, woken } = await sweeperOf();
    await linkRecords.keepHint('main', { by: 'name', text: 'later' }, { now: startMs, wakeAt: startMs + 1 });
    await sweep(sweeper, [link]);
    expect(woken).toEqual([]);
    await linkRecords.keepHint('main', { by: 'name', text: 'a' }, { now: startMs });
    await linkRecords.keepHint('main', { by: 'name', text: 'b' }, { now: startMs });
    await sweep(sweeper, [link]);
    expect(woken).toEqual(['main/hints']);
  });
});

it('the verification key of a primary that has one is fetched with each sweep', async () => {
  const { sweeper, link, linkRecords } = await sweeperOf();
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  await sweep(sweeper, [{ ...link, primary: { ...link.primary, notificationKey: async () => pem } }]);
  expect(await linkRecords.verificationKey('main')).toBe(pem);
});
