import fc from 'fast-check';
import { expect, test } from 'vitest';
import { completeTrail } from '../../src/audit/completion.ts';
import { ecsEvent } from '../../src/audit/ecs.ts';
import { factKinds } from '../../src/audit/line.ts';
import { newestOf, readTrail } from '../../src/audit/read.ts';
import { lineWords } from '../../src/audit/words.ts';
import { passOf, startMs, trail, writersOf } from './trail.ts';

/** A line with a place of its own, and whatever somebody wrote into its fields. */
const head = { format: 1, writer: 'planted', number: 1, before: '0', at: new Date(startMs).toISOString() };

/** A trail with one sound chain of two lines, and a planted one with these lines. */
async function planted(texts: readonly string[]) {
  const world = trail();
  const writer = world.writer();
  writer.add(passOf(1));
  await writer.flush(1);
  await world.table.update(
    { partition: 'audit-chains.1', sort: 'planted' },
    { set: { program: 'x', begunAt: 0, last: texts.length, digest: '', lastAt: startMs } },
  );
  await world.rows.append('planted', { first: 1, at: startMs, lines: texts });
  return world;
}

/** Everything that reads lines does so. Answers how many it could read. */
async function readAll(texts: readonly string[]): Promise<number> {
  const world = await planted(texts);
  let unreadable = 0;
  const lines = await newestOf(
    readTrail(world.rows, {}, () => {
      unreadable += 1;
    }),
    1_000,
  );
  for (const read of lines) {
    lineWords(read.line);
    JSON.stringify(ecsEvent(read));
  }
  expect(lines.length + unreadable).toBe(texts.length + 2);
  const { flaws } = await world.examine();
  expect(flaws.filter(({ words }) => words === 'the line cannot be read')).toHaveLength(unreadable);
  const round = { link: 'shop', primary: 'one', now: world.clock.now, add: () => {}, flush: async () => true };
  await completeTrail(world.rows, { ...round, records: (async function* () {})() });
  return lines.length;
}

test('lines that hold anything at all stop nobody who reads the trail', async () => {
  const names = ['at', 'happenedAt', 'backups', 'certificates', 'erased', 'fresh', 'failed', 'link', 'after', 'taken'];
  const value = fc.oneof(
    fc.constantFrom<unknown>(1e300, -1e300, 'x', [null], { toString: 1, valueOf: 1 }, [{ toString: 1, valueOf: 1 }]),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const line = fc.record({
    kind: fc.constantFrom<string>(...factKinds),
    more: fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 20 }), async (lines) => {
      await readAll(lines.map(({ kind, more }, at) => JSON.stringify({ ...head, number: at + 1, kind, ...more })));
    }),
    { numRuns: 20 },
  );
});

test.each([
  ['a moment that is none', { kind: 'pass', at: 'x' }],
  ['a moment that no clock shows', { kind: 'pass', happenedAt: 1e300 }],
  ['backups that are none', { kind: 'pass', link: 'shop', backups: [null] }],
  ['a list of what has no text', { kind: 'act', erased: [{ toString: 1, valueOf: 1 }] }],
  ['a number that is none', { kind: 'events', fresh: { toString: 1, valueOf: 1 } }],
  [
    'more levels than can be written again',
    { kind: 'act', options: JSON.parse(`${'['.repeat(900)}${']'.repeat(900)}`) },
  ],
])('a line with %s is unreadable, and named', async (_, fields) => {
  expect(await readAll([JSON.stringify({ ...head, ...fields })])).toBe(2);
});

test('a planted chain is not in the way of the sound one', async () => {
  const world = await planted(['{"kind":"pass"}', 'nothing']);
  const [sound = ''] = await writersOf(world.table);
  const { flaws, lines } = await world.examine();
  expect(lines).toBe(4);
  expect(flaws.every(({ writer }) => writer === 'planted' && writer !== sound)).toBe(true);
});
