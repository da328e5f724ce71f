import { beforeEach, describe, expect, it } from 'vitest';
import { CodedError } from '../../../src/errors.ts';
import type { ReplicationRecord } from '../../../src/records/replication-record.ts';
import { commitSurely } from '../../../src/replication/pass/commit.ts';
import { type Setup, setup, startMs } from '../../support/replication.ts';

const settled = 135_000;
const lost = () => new CodedError('table_unavailable', 'no answer came');

let world: Setup;
let record: ReplicationRecord;

beforeEach(async () => {
  world = await setup();
  await world.ask('c1');
  record = await claim();
});

async function claim(): Promise<ReplicationRecord> {
  const { record: claimed } = await world.records.claim({
    link: 'main',
    certificate: 'c1',
    owner: 'someone',
    now: world.time.now(),
    leaseUntil: world.time.now() + 60_000,
    skewMs: 5_000,
    doubt: world.time.now() + settled,
  });
  if (claimed === undefined) throw new Error('there is nothing to claim');
  return claimed;
}

const commit = (wrote: boolean, more: { wakeAt?: number } = {}) =>
  world.finish(
    commitSurely(world.worker, world.link, record, {
      fields: { attempts: 0, backups: [] },
      doubts: {},
      wakeAt: undefined,
      wroteTo: wrote ? world.link.backups : [],
      ...more,
    }),
  );

/** Another worker takes the abandoned lease over. */
async function takeOver(): Promise<void> {
  await world.later(65_001);
  await claim();
}

it('commits once', async () => {
  world.calls.length = 0;
  expect(await commit(true)).toBe('committed');
  expect(world.calls).toEqual(['0 table update']);
});

describe('someone else took over', () => {
  it('and a write was sent: one more look is asked for, in doubt', async () => {
    await takeOver();
    const before = await world.record('c1');
    expect(await commit(true)).toBe('refused');
    const now = startMs + 65_001;
    expect(await world.record('c1')).toEqual({
      ...before,
      requested: 2,
      wakeAt: now,
      // The takeover doubts every backup for longer; what this pass may have left under way is at
      // one of them.
      doubts: { backup: now + 5_000 },
    });
  });

  it('and nothing was sent: nothing more is asked for', async () => {
    await takeOver();
    const before = await world.record('c1');
    expect(await commit(false)).toBe('refused');
    expect(await world.record('c1')).toEqual(before);
  });

  it('and is in longer doubt: that is not lowered', async () => {
    await takeOver();
    await world.ask('c1', { doubt: startMs + 900_000 });
    await commit(true);
    expect((await world.record('c1')).doubt).toBe(startMs + 900_000);
  });
});

describe('the answer of a commit is lost', () => {
  /** The write is applied, its answer lost, so many times. */
  function loseAnswers(times: number, applied: boolean): void {
    let left = times;
    world.table.hooks.update = async (proceed, ...args) => {
      if (left === 0) return proceed(...args);
      left -= 1;
      if (applied) await proceed(...args);
      throw lost();
    };
  }

  it('though it was done: the row says so, and nothing is asked for', async () => {
    loseAnswers(1, true);
    expect(await commit(true, { wakeAt: startMs + 7 })).toBe('committed');
    expect(await world.record('c1')).toMatchObject({ requested: 1, replicated: 1, leaseToken: 1, wakeAt: startMs + 7 });
    expect((await world.record('c1')).leaseUntil).toBeUndefined();
  });

  it('though it was done, and more was asked for then: the pass begins again', async () => {
    let first = true;
    world.table.hooks.update = async (proceed, ...args) => {
      const outcome = await proceed(...args);
      if (!first) return outcome;
      first = false;
      await world.ask('c1');
      throw lost();
    };
    expect(await commit(true)).toBe('moved');
  });

  it('and it was not done: it is sent again', async () => {
    loseAnswers(3, false);
    expect(await commit(true)).toBe('committed');
    expect(await world.record('c1')).toMatchObject({ replicated: 1 });
  });

  it('again and again: the pass fails, and the lease is left to be taken over', async () => {
    loseAnswers(100, false);
    await expect(commit(true)).rejects.toMatchObject({ code: 'table_unavailable' });
    expect(world.calls.filter((call) => call.endsWith('table update'))).toHaveLength(2 + 4);
    expect(await world.record('c1')).toMatchObject({ leaseUntil: startMs + 60_000, replicated: 0 });
  });

  it('and someone took over meanwhile: one more look is asked for', async () => {
    let first = true;
    world.table.hooks.update = async (proceed, ...args) => {
      if (!first) return proceed(...args);
      first = false;
      await takeOver();
      throw lost();
    };
    expect(await commit(true)).toBe('refused');
    expect(await world.record('c1')).toMatchObject({ requested: 2, leaseToken: 2 });
  });
});

it('fails with a coded error when it is refused for no reason that the row shows', async () => {
  world.table.hooks.update = async (_proceed, key) => ({ applied: false, row: await world.table.tap.get(key) });
  await expect(commit(true)).rejects.toMatchObject({ code: 'internal' });
});
