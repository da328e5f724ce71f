import { describe, expect, it } from 'vitest';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { CodedError } from '../../src/errors.ts';
import { acknowledge } from '../../src/replication/acknowledge.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import { type Setup, setup, startMs } from '../support/replication.ts';

function eventOf(certificates: readonly string[], more: Partial<LifecycleEvent> = {}): LifecycleEvent {
  return {
    kind: 'reimported',
    changes: true,
    type: 'cert_reimported',
    version: 4,
    store: 'primary',
    certificates: certificates.map((id) => ({ id, name: `name of ${id}` })),
    digest: 'd1',
    ...more,
  };
}

async function intakeOf() {
  const world = await setup();
  const woken: (readonly Wake[])[] = [];
  const dispatch = {
    fail: false,
    async dispatch(wakes: readonly Wake[]) {
      world.calls.push(`${world.time.now() - startMs} dispatch`);
      if (dispatch.fail) throw new CodedError('store_unavailable', 'the queue is not reached');
      woken.push(wakes);
    },
  };
  const intake = {
    records: world.records,
    notifications: world.notifications,
    linkRecords: world.linkRecords,
    dispatch,
    runtime: world.time,
    timing: world.timing,
    log: world.log,
  };
  return {
    ...world,
    woken,
    dispatch,
    intake,
    acknowledge: (event: LifecycleEvent) => acknowledge(intake, ['main'], [event]),
  };
}

const acknowledgeWith = (intake: Parameters<typeof acknowledge>[0], event: LifecycleEvent) =>
  acknowledge(intake, ['main'], [event]);

const wakesOf = (...certificates: string[]): Wake[] =>
  certificates.map((certificate) => ({ link: 'main', certificate }));
const requested = async ({ record }: Setup, certificate: string) => (await record(certificate)).requested;

describe('a notification that does not say what has changed', () => {
  it.each([{}, { unsigned: true as const }])(
    'asks for a reconcile, durably, and wakes nobody for it: %j',
    async (more) => {
      const { acknowledge, linkRecords, woken } = await intakeOf();
      expect(await acknowledge(eventOf([], { something: true, ...more }))).toBe('new');
      expect(await linkRecords.askedReconcile('main')).toEqual({ since: startMs, lastAt: startMs });
      expect(woken.flat()).toEqual([]);
    },
  );

  it('is to come again if that could not be written', async () => {
    const { intake, acknowledge } = await intakeOf();
    const linkRecords = {
      ...intake.linkRecords,
      askReconcile: () => Promise.reject(new CodedError('table_unavailable', 'the table is away')),
    };
    const event = eventOf([], { something: true });
    const without = { ...intake, linkRecords: linkRecords as typeof intake.linkRecords };
    await expect(acknowledgeWith(without, event)).rejects.toMatchObject({ code: 'table_unavailable' });
    expect(await acknowledge(event)).toBe('new');
  });
});

describe('a new notification', () => {
  it('makes every certificate due and remembers itself, all side by side, and only then wakes and answers', async () => {
    const { acknowledge, calls, journal, finish, time } = await intakeOf();
    journal.latencyMs = 10;
    const answer = acknowledge(eventOf(['c1', 'c2']));
    expect(await finish(answer)).toBe('new');
    expect(calls).toEqual(['0 table putIfAbsent', '0 table update', '0 table update', '10 dispatch']);
    expect(time.now() - startMs).toBeGreaterThanOrEqual(10);
  });

  it('leaves records that are due, and wakes each certificate', async () => {
    const { acknowledge, record, woken } = await intakeOf();
    await acknowledge(eventOf(['c1', 'c2']));
    for (const certificate of ['c1', 'c2'])
      expect(await record(certificate)).toEqual({
        link: 'main',
        certificate,
        requested: 1,
        replicated: 0,
        leaseToken: 0,
        wakeAt: startMs,
        eventAt: startMs,
        attempts: 0,
        backups: [],
      });
    expect(woken).toEqual([wakesOf('c1', 'c2')]);
  });

  it('asks no store for anything', async () => {
    const { acknowledge, calls } = await intakeOf();
    await acknowledge(eventOf(['c1']));
    expect(calls.filter((call) => !call.includes(' table '))).toEqual(['0 dispatch']);
  });

  it('is new of other content and of another link, not of another spelling', async () => {
    const world = await intakeOf();
    expect(await world.acknowledge(eventOf(['c1']))).toBe('new');
    expect(await world.acknowledge(eventOf(['c1'], { digest: 'd2' }))).toBe('new');
    expect(await world.acknowledge(eventOf(['c1']))).toBe('repeat');
  });

  it('notes when it happened, but nothing later than now: the sender has a clock of its own', async () => {
    const { acknowledge, record } = await intakeOf();
    await acknowledge(eventOf(['c1'], { occurredAt: startMs - 500 }));
    expect((await record('c1')).occurredAt).toBe(startMs - 500);
    await acknowledge(eventOf(['c1'], { occurredAt: startMs + 500, digest: 'd2' }));
    expect((await record('c1')).occurredAt).toBe(startMs);
    await acknowledge(eventOf(['c1'], { digest: 'd3' }));
    expect((await record('c1')).occurredAt).toBeUndefined();
  });

  it('is acknowledged even if it names no certificate', async () => {
    const { acknowledge } = await intakeOf();
    expect(await acknowledge(eventOf([]))).toBe('new');
    expect(await acknowledge(eventOf([]))).toBe('repeat');
  });

  it('is acknowledged even if nobody can be woken', async () => {
    const { acknowledge, dispatch, records, lines } = await intakeOf();
    dispatch.fail = true;
    expect(await acknowledge(eventOf(['c1']))).toBe('new');
    expect(await records.due('main', startMs, 10)).toEqual(['c1']);
    expect(lines).toMatchObject([
      { level: 'warn', event: 'dispatch_failed', fields: { link: 'main', code: 'store_unavailable' } },
    ]);
  });
});

describe('a repeat', () => {
  it('is due, once whatever the number of repeats, and wakes nobody', async () => {
    const world = await intakeOf();
    await world.acknowledge(eventOf(['c1']));
    await world.pass('c1');
    await world.later(1_000);
    for (let count = 0; count < 3; count += 1) expect(await world.acknowledge(eventOf(['c1']))).toBe('repeat');
    expect(world.woken).toEqual([wakesOf('c1')]);
    expect(await world.records.due('main', startMs + 1_000, 10)).toEqual(['c1']);
    expect(await requested(world, 'c1')).toBe(4);
    await world.pass('c1');
    expect(await world.records.due('main', startMs + 1_000, 10)).toEqual([]);
  });
});

describe('a table that fails', () => {
  it('refuses the notification as a whole, and the next try counts as new', async () => {
    const world = await intakeOf();
    world.table.hooks.update = (proceed, key, ...rest) => {
      if (key.sort === 'c2') throw new CodedError('table_unavailable', 'the table is not reached');
      return proceed(key, ...rest);
    };
    await expect(world.acknowledge(eventOf(['c1', 'c2', 'c3']))).rejects.toMatchObject({ code: 'table_unavailable' });
    expect(world.woken).toEqual([]);
    expect(await requested(world, 'c1')).toBe(1);
    expect(await requested(world, 'c3')).toBe(1);

    delete world.table.hooks.update;
    expect(await world.acknowledge(eventOf(['c1', 'c2', 'c3']))).toBe('new');
    expect(world.woken).toEqual([wakesOf('c1', 'c2', 'c3')]);
    expect(await requested(world, 'c2')).toBe(1);
  });

  it('refuses the notification when it cannot be remembered', async () => {
    const world = await intakeOf();
    world.table.hooks.putIfAbsent = () => Promise.reject(new CodedError('table_unavailable', 'not reached'));
    await expect(world.acknowledge(eventOf(['c1']))).rejects.toMatchObject({ code: 'table_unavailable' });
    delete world.table.hooks.putIfAbsent;
    expect(await world.acknowledge(eventOf(['c1']))).toBe('new');
  });

  it('says why, even when nothing can be forgotten either', async () => {
    const world = await intakeOf();
    world.table.hooks.update = () => Promise.reject(new CodedError('table_unavailable', 'no write'));
    world.table.hooks.delete = () => Promise.reject(new CodedError('table_unavailable', 'no delete'));
    await expect(world.acknowledge(eventOf(['c1']))).rejects.toMatchObject({ message: 'no write' });
  });
});
