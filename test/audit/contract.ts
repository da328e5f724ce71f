import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readLine } from '../../src/audit/line.ts';
import { newestOf, readTrail } from '../../src/audit/read.ts';
import { keepCheckpoint, removeOld } from '../../src/audit/upkeep.ts';
import { CodedError } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';
import { checkpointOf, dayMs, inShort, linesOf, passOf, rowsOf, trail, writersOf } from './trail.ts';

export const factsOf = async (table: Table, writer: string) =>
  (await linesOf(table, writer)).map((text) => {
    const { number, kind, certificate } = readLine(text) ?? {};
    return `${number} ${kind}${certificate === undefined ? '' : ` ${certificate}`}`;
  });

const unavailable = () => new CodedError('table_unavailable', 'no disk');

/**
 * What an audit trail promises, on one kind of table: `open` gives one of its own to each test.
 */
export function auditContract(
  name: string,
  open: () => Promise<{ readonly table: Table; dispose?(): Promise<void> }>,
): void {
  describe(`an audit trail on a table (${name})`, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    let table: Table;
    beforeEach(async () => {
      opened = await open();
      table = opened.table;
    });
    afterEach(async () => {
      await table.close();
      await opened.dispose?.();
    });

    /** A table that does to one write what a test says. */
    const withPut = (put: Table['putIfAbsent']): Table => ({
      get: (key) => table.get(key),
      update: (key, change, condition) => table.update(key, change, condition),
      putIfAbsent: put,
      delete: (key, condition) => table.delete(key, condition),
      query: (query) => table.query(query),
      queryIndex: (query) => table.queryIndex(query),
      close: () => table.close(),
    });
    it('has each fact once, in the order in which it was told, in a chain for each writer', async () => {
      const world = trail(table);
      const [one, two] = [world.writer('serve'), world.writer('reconcile')];
      for (let number = 1; number <= 250; number += 1) one.add(passOf(number));
      two.add(passOf(1_000));
      expect(await one.flush(1)).toBe(true);
      expect(await two.flush(1)).toBe(true);
      const [first = '', second = ''] = await writersOf(table);
      expect(await factsOf(table, first)).toEqual([
        '1 begin',
        ...Array.from({ length: 250 }, (_each, at) => `${at + 2} pass c-${at + 1}`),
      ]);
      expect(await factsOf(table, second)).toEqual(['1 begin', '2 pass c-1000']);
      expect((await rowsOf(table, `audit.1/${first}`)).map(({ sort }) => Number(sort))).toEqual([1, 101, 201]);
      expect(await world.examine()).toMatchObject({ lines: 253, flaws: [], unwitnessed: 253 });
    });

    it('is known of from its beginning on, also where the first lines were the last thing that was done', async () => {
      const world = trail(table);
      const writer = world.writer('serve', {
        ...withPut((key, fields) => table.putIfAbsent(key, fields)),
        // The row of the chain is written once, before the lines, and not after them.
        update: async (key, change, condition) =>
          change.set?.last === 0 ? table.update(key, change, condition) : Promise.reject(unavailable()),
      });
      writer.add(passOf(1));
      await expect.poll(() => writer.state().failingSince).toBe(world.clock.now);
      writer.stop();
      expect(await world.examine()).toMatchObject({ lines: 2, flaws: [] });
    });

    it('has a fact once whose write was made and never answered', async () => {
      const world = trail(table);
      let answers = false;
      const writer = world.writer(
        'serve',
        withPut(async (key, fields) => {
          const outcome = await table.putIfAbsent(key, fields);
          if (answers) return outcome;
          answers = true;
          throw unavailable();
        }),
      );
      writer.add(passOf(1));
      const flushed = writer.flush(1);
      await expect.poll(() => writer.state().failingSince).toBe(world.clock.now);
      world.passTime();
      await flushed;
      expect(await writer.flush(1)).toBe(true);
      const [name = ''] = await writersOf(table);
      expect(await factsOf(table, name)).toEqual(['1 begin', '2 pass c-1']);
      expect(inShort(await world.examine())).toEqual([]);
      expect(world.log.map(({ event }) => event)).toEqual(['audit_not_written']);
    });

    it('goes on in a new chain where somebody has written under its number, and verify says so', async () => {
      const world = trail(table);
      const writer = world.writer();
      writer.add(passOf(1));
      await writer.flush(1);
      const [name = ''] = await writersOf(table);
      await world.rows.append(name, { first: 3, at: world.clock.now, lines: ['{"invented":true}'] });
      writer.add({ kind: 'act', command: 'adopt', options: {} }, { user: 'sam' });
      await writer.flush(1);
      const [, next = ''] = await writersOf(table);
      expect(await factsOf(table, next)).toEqual(['1 begin', '2 taken', '3 act']);
      expect(inShort(await world.examine())).toEqual(['changed 00001 3', 'forged 00001 3']);
      expect(world.log).toEqual([{ event: 'audit_chain_taken', fields: { writer: name, number: 3 } }]);
      const people = [];
      for await (const { writer: of, number } of world.rows.people()) people.push(`${of === next} ${number}`);
      expect(people).toContain('true 3');
    });

    it('begins a new chain after a week without a word, which says after which', async () => {
      const world = trail(table);
      const writer = world.writer();
      writer.add(passOf(1));
      await writer.flush(1);
      world.clock.now += limits.auditChainIdleMs;
      writer.add(passOf(2));
      await writer.flush(1);
      const [first = '', second = ''] = await writersOf(table);
      expect(readLine((await linesOf(table, second))[0] ?? '')).toMatchObject({ kind: 'begin', after: first });
      expect(inShort(await world.examine())).toEqual([]);
      await table.delete({ partition: 'audit-chains.1', sort: first });
      expect(inShort(await world.examine())).toEqual(['removed 00001']);
    });

    it('is signed for as far as it has gone, once for each line, when that is due', async () => {
      const world = trail(table);
      const writer = world.writer();
      writer.add(passOf(1));
      await writer.flush(1);
      expect(await keepCheckpoint(world.upkeep, dayMs)).toBe(true);
      expect(await world.examine()).toMatchObject({ checkpoints: 1, checkpointAt: world.clock.now, unwitnessed: 0 });
      writer.add(passOf(2));
      await writer.flush(1);
      expect(await keepCheckpoint(world.upkeep, dayMs)).toBe(false);
      expect(await world.examine()).toMatchObject({ unwitnessed: 1, flaws: [] });
      world.clock.now += dayMs;
      expect(await keepCheckpoint(world.upkeep, dayMs)).toBe(true);
      world.clock.now += dayMs;
      expect(await keepCheckpoint(world.upkeep, dayMs)).toBe(false);
      expect(await world.examine()).toMatchObject({ checkpoints: 2, unwitnessed: 0, flaws: [] });
    });

    it('grows no further than retention lets it, and stays provable', async () => {
      const world = trail(table);
      const keepMs = 5 * dayMs;
      const long = world.writer('serve');
      const sizes: number[] = [];
      let early: Awaited<ReturnType<typeof checkpointOf>> | undefined;
      for (let day = 0; day < 18; day += 1) {
        const short = world.writer('reconcile');
        short.add({ kind: 'act', command: 'reconcile', options: {} }, { user: 'sam' });
        for (let number = 0; number < 3; number += 1) long.add(passOf(3 * day + number));
        await Promise.all([short.flush(1), long.flush(1)]);
        await keepCheckpoint(world.upkeep, 0);
        if (day === 3) early = await checkpointOf(world);
        world.clock.now += dayMs;
        await removeOld(world.upkeep, keepMs);
        let rows = 0;
        for (const writer of await writersOf(table)) rows += (await rowsOf(table, `audit.1/${writer}`)).length;
        for (const partition of ['chains', 'people', 'checkpoints', 'bases'])
          rows += (await rowsOf(table, `audit-${partition}.1`)).length;
        sizes.push(rows);
      }
      expect(Math.max(...sizes.slice(12))).toBe(Math.max(...sizes.slice(7, 12)));
      const found = await world.examine();
      expect(found).toMatchObject({ flaws: [], before: world.clock.now - keepMs });
      // What a checkpoint of long ago tells of is past, and no flaw.
      expect(inShort(await world.examine(early))).toEqual([]);
      const serve = found.chains.find(({ program }) => program === 'serve');
      expect(serve?.first).toBeGreaterThan(30);
      // What is kept is still proven.
      const [row] = await rowsOf(table, `audit.1/${serve?.writer}`);
      await table.delete({ partition: `audit.1/${serve?.writer}`, sort: row?.sort ?? '' });
      expect(inShort(await world.examine())).toEqual([
        `removed ${serve?.writer.slice(-5)} ${serve?.first}-${Number(serve?.first) + 2}`,
      ]);
    }, 300_000);

    it('is removed by retention in an order in which no death leaves a flaw', async () => {
      for (let deaths = 1; deaths < 60; deaths += 1) {
        const inner = memoryTable();
        const world = trail(inner);
        const [long, short] = [world.writer('serve'), world.writer('reconcile')];
        short.add({ kind: 'act', command: 'adopt', options: {} }, { user: 'sam' });
        await short.flush(1);
        for (const day of [0, 1, 2, 3]) {
          long.add(
            day === 1 ? { kind: 'act', command: 'x', options: {} } : passOf(day),
            day === 1 ? { user: 'kim' } : undefined,
          );
          await long.flush(1);
          await keepCheckpoint(world.upkeep, 0);
          world.clock.now += dayMs;
        }
        let writes = 0;
        const dying = new Proxy(inner, {
          get(target, name: keyof Table) {
            const member = target[name];
            if (name !== 'delete' && name !== 'update') return member;
            return (...args: unknown[]) => {
              writes += 1;
              if (writes > deaths) throw unavailable();
              return (member as (...given: unknown[]) => unknown).apply(target, args);
            };
          },
        });
        const died = await removeOld({ ...world.upkeep, rows: trail(dying).rows }, 1.5 * dayMs).then(
          () => false,
          () => true,
        );
        expect(inShort(await world.examine()), `died after ${deaths} writes`).toEqual([]);
        await removeOld(world.upkeep, 1.5 * dayMs);
        expect(inShort(await world.examine()), `went on after ${deaths} writes`).toEqual([]);
        expect(await rowsOf(inner, 'audit-people.1')).toEqual([]);
        expect((await writersOf(inner)).length).toBe(1);
        if (!died) return;
      }
      throw new Error('retention did not end');
    });

    it('is listed by moment across chains, with who did it', async () => {
      const world = trail(table);
      const [one, two] = [world.writer('serve'), world.writer('adopt')];
      one.add(passOf(1));
      await one.flush(1);
      world.clock.now += 1_000;
      two.add({ kind: 'act', command: 'adopt', options: {} }, { user: 'sam', host: 'bastion' });
      await two.flush(1);
      world.clock.now += 1_000;
      one.add(passOf(2));
      await one.flush(1);
      const all = await newestOf(
        readTrail(world.rows, {}, () => {}),
        3,
      );
      expect(all.map(({ line, person }) => `${line.kind} ${line.certificate ?? person?.user}`)).toEqual([
        'begin undefined',
        'act sam',
        'pass c-2',
      ]);
    });
  });
}
