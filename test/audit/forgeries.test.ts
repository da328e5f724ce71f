import { beforeEach, describe, expect, it } from 'vitest';
import { signBase, signCheckpoint } from '../../src/audit/checkpoint.ts';
import { digestOf, readLine } from '../../src/audit/line.ts';
import { keepCheckpoint } from '../../src/audit/upkeep.ts';
import type { Row, Value } from '../../src/table/table.ts';
import { checkpointOf, dayMs, inShort, passOf, rowsOf, signingPair, startMs, trail, writersOf } from './trail.ts';

/**
 * Forgeries of an audit trail, each by somebody who can change every row of the table and
 * has no key, and what is found of it. A trail of two chains: `serve` with ten lines in five rows,
 * and a person's command with two.
 */
let world: ReturnType<typeof trail>;
let serve: string;
let person: string;
beforeEach(async () => {
  world = trail();
  const writer = world.writer();
  for (const number of [2, 4, 6, 8, 10]) {
    if (number > 2) writer.add(passOf(number - 1));
    writer.add(passOf(number));
    await writer.flush(1);
    world.clock.now += 1_000;
  }
  const command = world.writer('reconcile');
  command.add({ kind: 'act', command: 'reconcile', options: { full: true } }, { user: 'sam', host: 'bastion' });
  await command.flush(1);
  [serve = '', person = ''] = await writersOf(world.table);
  expect(inShort(await world.examine())).toEqual([]);
});

const partition = () => `audit.1/${serve}`;
const blocks = () => rowsOf(world.table, partition());
const set = (row: Row, fields: Readonly<Record<string, Value>>) =>
  world.table.update({ partition: row.partition, sort: row.sort }, { set: fields });
const lines = (row: Row | undefined) => (row?.lines ?? []) as readonly string[];
const short = async (...given: Parameters<typeof world.examine>) => inShort(await world.examine(...given));
const edited = (text: string, change: { readonly [name: string]: unknown }) =>
  JSON.stringify({ ...readLine(text), ...change });
const name = () => serve.slice(-5);

/**
 * All lines from this one on made anew, each with the digest of the one before: a patient forger.
 */
async function writeAnew(from: number, change: { readonly certificate: string }): Promise<void> {
  let before: string | undefined;
  let last = { digest: '', number: 0 };
  for (const row of await blocks()) {
    const fresh = lines(row).map((text) => {
      const number = readLine(text)?.number ?? 0;
      let made = text;
      if (number === from) made = edited(text, change);
      else if (number > from) made = edited(text, { before });
      before = digestOf(made);
      last = { digest: before, number };
      return made;
    });
    await set(row, { lines: fresh });
  }
  await world.table.update({ partition: 'audit-chains.1', sort: serve }, { set: { digest: last.digest } });
}

/** Takes the last two rows of the chain away, and has its row tell of no more than what is left. */
async function cutCleanly(): Promise<void> {
  const rows = await blocks();
  for (const { sort } of rows.slice(-2)) await world.table.delete({ partition: partition(), sort });
  const text = lines(rows.at(-3)).at(-1) ?? '';
  const end = { last: readLine(text)?.number ?? 0, digest: digestOf(text) };
  await world.table.update({ partition: 'audit-chains.1', sort: serve }, { set: end });
}

const keptElsewhere = () => checkpointOf(world);

describe('audit verify', () => {
  it('1: finds a line that was changed, by its number', async () => {
    const row = (await blocks())[1] as Row;
    const [first = '', second = ''] = lines(row);
    await set(row, { lines: [edited(first, { certificate: 'another' }), second] });
    expect(await short()).toEqual([`changed ${name()} 3`]);
  });

  it('2: finds lines that were taken out of the middle', async () => {
    const row = (await blocks())[2] as Row;
    await world.table.delete({ partition: partition(), sort: row.sort });
    expect(await short()).toEqual([`removed ${name()} 5-6`]);
  });

  it('3: finds the first lines gone', async () => {
    const row = (await blocks())[0] as Row;
    await world.table.delete({ partition: partition(), sort: row.sort });
    expect(await short()).toEqual([`removed ${name()} 1-2`]);
  });

  it('4: finds lines that stand in another order', async () => {
    const row = (await blocks())[1] as Row;
    await set(row, { lines: lines(row).toReversed() });
    expect(await short()).toEqual([`reordered ${name()} 3`]);
  });

  it('5: finds a line that was put in, under a number that there was', async () => {
    const row = (await blocks())[1] as Row;
    const [first = '', second = ''] = lines(row);
    await set(row, { lines: [first, edited(first, { certificate: 'invented' }), second] });
    expect(await short()).toEqual([`forged ${name()} 3`]);
  });

  it('6: finds a chain that was written anew from a line on, by a checkpoint on the table', async () => {
    const text = lines((await blocks())[1])[1] ?? '';
    const then = { writer: serve, last: 4, digest: digestOf(text), lastAt: startMs };
    const early = signCheckpoint({ at: startMs, chains: [then] }, world.key.privateKeyPem);
    await world.rows.saveCheckpoint('2026-01-01T00:00:00.000Z-early', early);
    await keepCheckpoint(world.upkeep, 0);
    await writeAnew(5, { certificate: 'another' });
    expect(await short()).toEqual([`forged ${name()} 5-10`]);
  });

  it('and with it all checkpoints on the table that tell of it: only by one that was kept elsewhere', async () => {
    await keepCheckpoint(world.upkeep, 0);
    const kept = await keptElsewhere();
    await writeAnew(5, { certificate: 'another' });
    for (const { sort } of await rowsOf(world.table, 'audit-checkpoints.1'))
      await world.table.delete({ partition: 'audit-checkpoints.1', sort });
    expect(await short()).toEqual([]);
    await keepCheckpoint(world.upkeep, 0);
    expect(await short()).toEqual([]);
    expect(await short(kept)).toEqual([`forged ${name()} 1-10`]);
  });

  it('7: finds the tail cut, while the row of the chain tells of it', async () => {
    for (const { sort } of (await blocks()).slice(-2)) await world.table.delete({ partition: partition(), sort });
    expect(await short()).toEqual([`cut ${name()} 7-10`]);
  });

  it('8: finds a tail that was cut cleanly by a checkpoint that was kept elsewhere, and by nothing else', async () => {
    await keepCheckpoint(world.upkeep, 0);
    const kept = await keptElsewhere();
    await cutCleanly();
    expect(await short()).toEqual([`cut ${name()} 7-10`]);
    for (const { sort } of await rowsOf(world.table, 'audit-checkpoints.1'))
      await world.table.delete({ partition: 'audit-checkpoints.1', sort });
    expect(await short()).toEqual([]);
    expect(await short(kept)).toEqual([`cut ${name()} 7-10`]);
  });

  it('9: finds a chain gone, with its row, by a checkpoint', async () => {
    await keepCheckpoint(world.upkeep, 0);
    for (const { sort } of await blocks()) await world.table.delete({ partition: partition(), sort });
    await world.table.delete({ partition: 'audit-chains.1', sort: serve });
    expect(await short()).toEqual([`cut ${name()} 1-10`]);
  });

  it('10: finds lines of another table', async () => {
    const other = trail();
    other.clock.now += dayMs;
    const writer = other.writer('elsewhere');
    for (const number of [1, 2, 3]) writer.add(passOf(number));
    await writer.flush(1);
    const foreign = (await rowsOf(other.table, `audit.1/${(await writersOf(other.table))[0]}`)).flatMap(lines);
    const row = (await blocks())[1] as Row;
    await set(row, { lines: [lines(row)[0] ?? '', foreign[1] ?? ''] });
    expect(await short()).toEqual([`forged ${name()} 4`]);
  });

  it('11: trusts no checkpoint that was changed, or signed with another key', async () => {
    await keepCheckpoint(world.upkeep, 0);
    const [row] = await rowsOf(world.table, 'audit-checkpoints.1');
    await set(row as Row, { text: String(row?.text).replace('"last":10', '"last":9') });
    expect(await short()).toEqual(['untrusted']);
    const stranger = signingPair();
    const signed = signCheckpoint(await keptElsewhere(), stranger.privateKeyPem);
    await set(row as Row, { text: signed.text, signature: { ...signed.signature } });
    const { flaws } = await world.examine();
    expect(flaws.map(({ kind, words }) => `${kind}: ${words}`)).toEqual([
      expect.stringMatching(/^untrusted: 1 signed row of the trail is signed with a key .* SHA256:/),
    ]);
  });

  it('12: finds who did it changed, and removed without a line that tells of it', async () => {
    const key = { partition: 'audit-people.1', sort: `${person}/000000000002` };
    const row = await world.table.get(key);
    await world.table.update(key, { set: { text: String(row?.text).replace('sam', 'kim') } });
    expect(await short()).toEqual([`person ${person.slice(-5)} 2`]);
    await world.table.delete(key);
    expect(await short()).toEqual([`person ${person.slice(-5)} 2`]);
  });

  it('and more: a removal that is passed off as retention needs the key', async () => {
    const [row] = await blocks();
    await world.table.delete({ partition: partition(), sort: row?.sort ?? '' });
    const text = lines(row).at(-1) ?? '';
    const base = { at: startMs, before: startMs + dayMs, writer: serve, number: 2, digest: digestOf(text) };
    await world.rows.saveBase(serve, signBase(base, signingPair().privateKeyPem), 2);
    expect(await short()).toEqual([`removed ${name()} 1-2`, 'untrusted']);
    await world.rows.saveBase(serve, signBase(base, world.key.privateKeyPem), 3);
    expect(await short()).toEqual([]);
  });

  it('and more: the last line changed is found by the row of the chain', async () => {
    const row = (await blocks()).at(-1) as Row;
    const [first = '', last = ''] = lines(row);
    await set(row, { lines: [first, edited(last, { certificate: 'another' })] });
    expect(await short()).toEqual([`changed ${name()} 10`]);
  });

  it('and more: a line with what it says of the one before changed is the one that is named', async () => {
    const row = (await blocks())[1] as Row;
    const [first = '', second = ''] = lines(row);
    await set(row, { lines: [edited(first, { before: digestOf('another') }), second] });
    expect(await short()).toEqual([`changed ${name()} 3`]);
  });

  it('and more: a row that cannot be understood is no row that is not there', async () => {
    const row = (await blocks())[1] as Row;
    await set(row, { lines: 'nothing' });
    expect(await short()).toContain(`unreadable ${name()} 3`);
  });
});
