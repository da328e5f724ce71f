import { beforeEach, describe, expect, it } from 'vitest';
import { completeTrail } from '../../src/audit/completion.ts';
import { eventBook } from '../../src/audit/facts.ts';
import { type Fact, readLine } from '../../src/audit/line.ts';
import { limits } from '../../src/limits.ts';
import type { ReplicationRecord } from '../../src/records/replication-record.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import { dayMs, inShort, linesOf, passOf, trail, writersOf } from './trail.ts';

const minuteMs = 60_000;
let world: ReturnType<typeof trail>;
beforeEach(() => {
  world = trail();
});

/** A record of which a test says what matters. */
const record = (certificate: string, more: Partial<ReplicationRecord> = {}): ReplicationRecord => ({
  link: 'shop',
  certificate,
  requested: 1,
  replicated: 1,
  leaseToken: 1,
  attempts: 0,
  backups: [],
  ...more,
});
const written = (at: number, fingerprint: string) => ({
  backups: [{ store: 'two', attempts: 0, written: { id: 'copy', at, fingerprint, metadataDigest: 'd' } }],
});

/** One round, by a process of its own. Answers how much it added. */
async function round(records: readonly ReplicationRecord[], flushes = true): Promise<number | undefined> {
  const writer = world.writer('serve');
  return completeTrail(world.rows, {
    link: 'shop',
    primary: 'one',
    records: (async function* () {
      yield* records;
    })(),
    now: world.clock.now,
    add: (fact) => writer.add(fact),
    flush: async () => (flushes ? writer.flush(1) : false),
  });
}

/** All lines but those that begin a chain. */
async function told(): Promise<readonly string[]> {
  const all: string[] = [];
  for (const writer of await writersOf(world.table))
    for (const text of await linesOf(world.table, writer)) {
      const line = readLine(text);
      if (line === undefined || line.kind === 'begin') continue;
      const { kind, certificate, sender, certificates, code, addedLater } = line;
      all.push([kind, certificate, sender, certificates, code, addedLater && 'later'].filter(Boolean).join(' '));
    }
  return all;
}

describe('what nobody told', () => {
  it('is added from the records: events, writes and refusals, each once, and marked as such', async () => {
    const at = world.clock.now;
    const refusal = { code: 'certificate_expired', facts: 'x', since: at + 2, looks: 1 } as const;
    const records = [
      record('a', { eventAt: at, toldBy: 'kit', ...written(at + 1, 'f-a') }),
      record('b', { toldAt: at + 1, toldBy: 'ops', refusal }),
      record('c', { eventAt: at - dayMs, toldBy: 'kit' }),
    ];
    world.clock.now += 3 * minuteMs;
    expect(await round(records)).toBe(4);
    expect(await told()).toEqual([
      'event a kit a later',
      'pass a later',
      'event b ops b later',
      'refusal b certificate_expired later',
    ]);
    expect(await round(records)).toBeUndefined();
    world.clock.now += 6 * minuteMs;
    expect(await round(records)).toBe(0);
    expect(inShort(await world.examine())).toEqual([]);
  });

  it('is not what some process has told, in whatever chain', async () => {
    const at = world.clock.now;
    const other = world.writer('serve');
    // A long chain, in which the moment has to be found.
    world.clock.now -= dayMs;
    for (let number = 0; number < 350; number += 1) {
      other.add(passOf(number));
      if (number % 50 === 49) await other.flush(1);
      world.clock.now += minuteMs;
    }
    world.clock.now = at;
    other.add({ kind: 'event', link: 'shop', sender: 'kit', certificates: ['a', 'z'] });
    other.add({
      kind: 'pass',
      link: 'shop',
      certificate: 'a',
      backups: [{ backup: 'two', actions: ['imported'], copy: 'copy', fingerprint: 'f-a' }],
    });
    await other.flush(1);
    world.clock.now += 3 * minuteMs;
    const known = { eventAt: at, toldBy: 'kit' };
    expect(await round([record('a', { ...known, ...written(at, 'f-a') }), record('b', known)])).toBe(1);
    expect((await told()).slice(-1)).toEqual(['event b kit b later']);
  });

  it('is added by the next round where the table did not take it', async () => {
    const records = [record('a', { eventAt: world.clock.now, toldBy: 'kit' })];
    world.clock.now += 3 * minuteMs;
    expect(await round(records, false)).toBe(1);
    world.clock.now += minuteMs;
    // The first writer was never asked to write: its process died.
    expect(await round(records)).toBeDefined();
    expect((await told()).every((line) => line === 'event a kit a later')).toBe(true);
    expect((await told()).length).toBeGreaterThan(0);
  });

  it('is looked for by one process at a time; the turn of one that died ends', async () => {
    const turn = { now: world.clock.now, until: world.clock.now + minuteMs, notSince: world.clock.now };
    expect(await world.rows.takeRound('shop', turn)).toEqual({ upTo: undefined });
    expect(await round([])).toBeUndefined();
    world.clock.now += minuteMs + 1;
    expect(await round([])).toBe(0);
  });
});

describe('events', () => {
  const event = (digest: string): LifecycleEvent => ({
    kind: 'renewed',
    changes: true,
    type: 'cert_renewed',
    version: 5,
    store: 'one',
    certificates: [{ id: 'c-1', name: 'not told' }],
    digest,
  });

  it('are told one by one, repeats and what is more than a sender tells as numbers', () => {
    const added: Fact[] = [];
    const clock = { now: 0 };
    const book = eventBook({ add: (fact) => void added.push(fact), now: () => clock.now });
    const most = limits.auditEventsPerMinute;
    for (let number = 0; number < most + 5; number += 1) book.acknowledged('shop', event(`d-${number}`), 'new', 'kit');
    for (let number = 0; number < 7; number += 1) book.acknowledged('shop', event('d-1'), 'repeat', 'kit');
    book.acknowledged('shop', event('other'), 'new', 'ops');
    expect(added).toHaveLength(most + 1);
    expect(added[0]).toEqual({
      kind: 'event',
      link: 'shop',
      sender: 'kit',
      event: 'renewed',
      type: 'cert_renewed',
      certificates: ['c-1'],
      digest: 'd-0',
    });
    book.settle();
    expect(added).toHaveLength(most + 1);
    clock.now = minuteMs;
    book.settle();
    expect(added.slice(most + 1)).toEqual([
      { kind: 'events', link: 'shop', sender: 'kit', since: 0, until: minuteMs, fresh: 5, repeats: 7 },
    ]);
    // What is over is forgotten, and nothing is told of a sender who told nothing more.
    book.acknowledged('shop', event('d-1'), 'repeat', 'kit');
    book.settle(true);
    expect(added.at(-1)).toMatchObject({ kind: 'events', repeats: 1, fresh: 0 });
    expect(added).toHaveLength(most + 3);
  });
});
