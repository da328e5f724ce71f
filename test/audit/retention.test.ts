import { beforeEach, describe, expect, it } from 'vitest';
import { signBase, signHorizon } from '../../src/audit/checkpoint.ts';
import { digestOf, readLine } from '../../src/audit/line.ts';
import { keepCheckpoint, removeOld } from '../../src/audit/upkeep.ts';
import { limits } from '../../src/limits.ts';
import type { Row, Value } from '../../src/table/table.ts';
import { checkpointOf, dayMs, inShort, passOf, rowsOf, signingPair, startMs, trail, writersOf } from './trail.ts';

/**
 * A trail of ten days: `serve` with a row of two lines each day (the first has three), a person's
 * command of the first day, and a checkpoint each day. Whoever may change the table may change
 * every field of every row.
 */
let world: ReturnType<typeof trail>;
let serve: string;
let person: string;
const keepMs = 31 * dayMs;
beforeEach(async () => {
  world = trail();
  const writer = world.writer();
  const command = world.writer('adopt');
  command.add({ kind: 'act', command: 'adopt', options: {} }, { user: 'sam' });
  for (let day = 0; day < 10; day += 1) {
    writer.add(passOf(2 * day));
    writer.add(passOf(2 * day + 1));
    await writer.flush(1);
    if (day === 0) await command.flush(1);
    await keepCheckpoint(world.upkeep, 0);
    world.clock.now += dayMs;
  }
  [serve = '', person = ''] = await writersOf(world.table);
});

const blocks = (writer = serve) => rowsOf(world.table, `audit.1/${writer}`);
const set = (partition: string, sort: string, fields: Readonly<Record<string, Value>>) =>
  world.table.update({ partition, sort }, { set: fields });
const lines = (row: Row | undefined) => (row?.lines ?? []) as readonly string[];
const short = async (...given: Parameters<typeof world.examine>) => inShort(await world.examine(...given));
const logged = () => world.log.map(({ event }) => event);
/** A month later, so that the first days are old. */
const later = (days: number) => {
  world.clock.now = startMs + keepMs + days * dayMs;
};

describe('retention', () => {
  it('removes what checkpoints tell of as old, and proves that nothing else went', async () => {
    const early = await checkpointOf(world);
    later(1.5);
    expect(await removeOld(world.upkeep, keepMs)).toBe(3);
    expect(await writersOf(world.table)).toEqual([serve]);
    expect(await world.examine(early)).toMatchObject({ flaws: [], chains: [{ first: 6, last: 21 }] });
    expect(await rowsOf(world.table, 'audit-people.1')).toEqual([]);
    expect(await rowsOf(world.table, 'audit-checkpoints.1')).toHaveLength(8);
  });

  it('takes no field that anybody may change for the age of a line', async () => {
    const kept = await checkpointOf(world);
    const all = await blocks();
    for (const { partition, sort } of all) await set(partition, sort, { at: 0 });
    await set('audit-chains.1', serve, { lastAt: 0, begunAt: 0 });
    world.clock.now = startMs + keepMs - dayMs;
    expect(await removeOld(world.upkeep, keepMs)).toBe(0);
    later(1.5);
    await removeOld(world.upkeep, keepMs);
    expect(await blocks()).toHaveLength(all.length - 2);
    expect(await short(kept)).toEqual([]);
  });

  it('removes no chain for the sake of a last line that somebody has put there', async () => {
    const line = { format: 1, writer: serve, number: 900, before: '0', at: new Date(0).toISOString(), kind: 'pass' };
    await world.rows.append(serve, { first: 900, at: 0, lines: [JSON.stringify(line)] });
    await set('audit-chains.1', serve, { lastAt: 0 });
    later(30);
    for (let run = 0; run < 20; run += 1) await removeOld(world.upkeep, keepMs);
    expect(await short()).toContain(`removed ${serve.slice(-5)} 22-899`);
  });

  it('covers no beginning up that was written anew, and keeps the checkpoints that tell of it', async () => {
    let before: string | undefined;
    for (const row of await blocks()) {
      const fresh = lines(row).map((text) => {
        const line = readLine(text);
        const made =
          line?.number === 2
            ? JSON.stringify({ ...line, certificate: 'another' })
            : JSON.stringify({ ...line, ...(before !== undefined && { before }) });
        before = digestOf(made);
        return made;
      });
      await set(row.partition, row.sort, { lines: fresh });
    }
    await set('audit-chains.1', serve, { digest: before ?? '' });
    later(3.5);
    for (let run = 0; run < 5; run += 1) await removeOld(world.upkeep, keepMs);
    expect(await blocks()).toHaveLength(10);
    expect(logged()).toContain('audit_old_not_removed');
    expect(await short()).toEqual([`forged ${serve.slice(-5)} 1-3`]);
    expect(await writersOf(world.table)).toEqual([serve]);
  });

  it('covers no end up that was cut', async () => {
    const all = await blocks();
    for (const { partition, sort } of all.slice(1)) await world.table.delete({ partition, sort });
    later(20);
    for (let run = 0; run < 20; run += 1) await removeOld(world.upkeep, keepMs);
    expect(await short()).toEqual([`cut ${serve.slice(-5)} 4-21`]);
  });

  it('goes forward by two days a run: a clock that is ahead takes no more than that', async () => {
    world.clock.now = Date.UTC(2030, 0, 1);
    await keepCheckpoint(world.upkeep, 0);
    expect(await removeOld(world.upkeep, keepMs)).toBe(3);
    expect((await blocks())[0]?.sort).toBe('000000000006');
    world.clock.now = startMs + 10 * dayMs;
    expect(await removeOld(world.upkeep, keepMs)).toBe(0);
    expect(await world.examine()).toMatchObject({ flaws: [], before: startMs + 2 * dayMs });
  });

  it('leaves what another key has begun to remove to that key', async () => {
    const other = signHorizon({ at: startMs, before: startMs }, signingPair().privateKeyPem);
    await world.rows.saveBase(undefined, other, startMs);
    later(5);
    expect(await removeOld(world.upkeep, keepMs)).toBe(0);
    expect(await blocks()).toHaveLength(10);
  });

  it('never goes back', async () => {
    later(1.5);
    await removeOld(world.upkeep, keepMs);
    const stale = signBase({ at: 0, before: 0, writer: serve, number: 3, digest: 'x' }, world.key.privateKeyPem);
    expect(await world.rows.saveBase(serve, stale, 3)).toBe(false);
    expect(await world.rows.saveBase(undefined, signHorizon({ at: 0, before: 1 }, world.key.privateKeyPem), 1)).toBe(
      false,
    );
    expect(await short()).toEqual([]);
  });

  it('removes a chain that has no line, of a process that died', async () => {
    const empty = { writer: '20260101T000000Z-empty', program: 'x', begunAt: startMs, last: 0, digest: '0', lastAt: 0 };
    await world.rows.saveChain(empty);
    later(1.5);
    await removeOld(world.upkeep, keepMs);
    expect(await writersOf(world.table)).toEqual([serve]);
  });

  it('is no reason to miss a chain from which another one went on', async () => {
    const writer = world.writer('second');
    writer.add(passOf(1));
    await writer.flush(1);
    await keepCheckpoint(world.upkeep, 0);
    const ended = (await writersOf(world.table)).at(-1) ?? '';
    world.clock.now += 20 * dayMs;
    writer.add(passOf(2));
    await writer.flush(1);
    await keepCheckpoint(world.upkeep, 0);
    later(12);
    for (let run = 0; run < 8; run += 1) await removeOld(world.upkeep, keepMs);
    expect(await writersOf(world.table)).not.toContain(ended);
    expect(await short()).toEqual([]);
    expect(person).not.toBe(ended);
  });
});

describe('a checkpoint', () => {
  it('tells of no line that does not go on from what it told of before', async () => {
    const line = { format: 1, writer: serve, number: 9e15, before: '0', at: new Date(0).toISOString(), kind: 'pass' };
    await world.rows.append(serve, { first: 999_999_999_999, at: 0, lines: [JSON.stringify(line)] });
    const writer = world.writer('second');
    writer.add(passOf(1));
    await writer.flush(1);
    expect(await keepCheckpoint(world.upkeep, 0)).toBe(true);
    expect(logged()).toEqual(['audit_chain_not_signed']);
    await world.table.delete({ partition: `audit.1/${serve}`, sort: '999999999999' });
    expect(await short()).toEqual([]);
  });

  it('tells of lines of which a crash kept the row of the chain from telling', async () => {
    const row = await world.table.get({ partition: 'audit-chains.1', sort: serve });
    const ended = String((await blocks()).at(-1)?.sort);
    const { last, digest, lastAt } = row as Row;
    expect(last).toBe(21);
    world = trail(world.table);
    const before = { last: 19, digest: 'x', lastAt: startMs, begunAt: startMs, program: 'serve', writer: serve };
    await world.rows.saveChain(before);
    world.clock.now = startMs + 300 * dayMs;
    await keepCheckpoint(world.upkeep, 0);
    await world.rows.saveChain({ ...before, last: 21, digest: String(digest), lastAt: Number(lastAt) });
    expect((await world.examine()).unwitnessed).toBe(0);
    expect(ended).toBe('000000000020');
  });

  it('that was signed under a clock that is ahead holds up no other, and hides nothing', async () => {
    world.clock.now = Date.UTC(2030, 0, 1);
    const writer = world.writer('second');
    writer.add(passOf(1));
    await writer.flush(1);
    await keepCheckpoint(world.upkeep, 0);
    world.clock.now = startMs + 11 * dayMs;
    expect(await keepCheckpoint(world.upkeep, dayMs)).toBe(true);
    expect(await world.examine()).toMatchObject({ flaws: [], ahead: 1, checkpointAt: world.clock.now });
    const future = signHorizon({ at: startMs, before: Date.UTC(2029, 0, 1) }, world.key.privateKeyPem);
    await world.rows.saveBase(undefined, future, Date.UTC(2029, 0, 1));
    for (const { partition, sort } of await blocks(person)) await world.table.delete({ partition, sort });
    expect(await short()).toEqual(['untrusted', `cut ${person.slice(-5)} 1-2`]);
  });
});

describe('under a clock that was ahead', () => {
  it('a turn that was taken or ended then is free and due', async () => {
    const { rows } = world;
    const ahead = Date.UTC(2030, 0, 1);
    await rows.takeRound('*', { now: ahead, until: ahead + 1_000, notSince: ahead });
    const turn = { now: startMs, until: startMs + 1_000, notSince: startMs - dayMs };
    expect(await rows.takeRound('*', turn)).toEqual({ upTo: undefined });
    await rows.endRound('*', ahead);
    expect(await rows.takeRound('*', turn)).toEqual({ upTo: undefined });
  });

  it('a chain ends, and another one begins in which moments are right', async () => {
    world.clock.now = Date.UTC(2030, 0, 1);
    const writer = world.writer('second');
    writer.add(passOf(1));
    await writer.flush(1);
    world.clock.now = startMs + limits.auditChainIdleMs;
    writer.add(passOf(2));
    await writer.flush(1);
    const rows = await rowsOf(world.table, 'audit-chains.1');
    expect(rows.some(({ program, lastAt }) => program === 'second' && lastAt === world.clock.now)).toBe(true);
    expect(await short()).toEqual([]);
  });
});
