import { expect, test } from 'vitest';
import { openSessions } from '../../src/console/sessions.ts';
import { signInLinks } from '../../src/console/sign-in-links.ts';
import { limits } from '../../src/limits.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { pagesOf } from '../../src/table/table.ts';
import { startMs } from '../support/replication.ts';

function world() {
  const table = memoryTable();
  const clock = { now: startMs };
  const links = signInLinks(table, () => clock.now);
  const rows = async () => {
    const found = [];
    for await (const page of pagesOf(table, { partition: 'console.1/links', limit: 10 })) found.push(...page);
    return found;
  };
  return { clock, links, rows };
}

test('a link signs in once; of two who come at the same moment one does', async () => {
  const { links } = world();
  const first = await links.make();
  expect([await links.use(first.token), await links.use(first.token)]).toEqual([true, false]);
  const second = await links.make();
  const both = await Promise.all([links.use(second.token), links.use(second.token)]);
  expect(both.filter(Boolean)).toHaveLength(1);
});

test('a link is good to its last moment, and not after; what is too old goes when the next one is made', async () => {
  const { clock, links, rows } = world();
  const good = await links.make();
  const old = await links.make();
  clock.now = good.until - 1;
  expect(await links.use(good.token)).toBe(true);
  clock.now = old.until;
  expect(await links.use(old.token)).toBe(false);
  expect(await rows()).toHaveLength(1);
  await links.make();
  expect(await rows()).toMatchObject([{ until: clock.now + limits.consoleLinkMs }]);
});

test('the table holds a digest, from which nobody makes the link', async () => {
  const { links, rows } = world();
  const { token } = await links.make();
  const [id = '', secret = ''] = token.split('.');
  const [row] = await rows();
  expect(JSON.stringify(row)).not.toContain(secret);
  expect(await links.use(`${id}.${String(row?.digest).slice(0, 43)}`)).toBe(false);
  expect(await links.use(token)).toBe(true);
});

test.each(['', '.', 'x', `${'0'.repeat(16)}.${'A'.repeat(43)}`, '__proto__.constructor', 'a'.repeat(10_000)])(
  'what was never made signs nobody in: %.40s',
  async (token) => {
    const { links } = world();
    await links.make();
    expect(await links.use(token)).toBe(false);
  },
);

test('a session ends by itself, when somebody signs out, and as the oldest of too many; who waits for its end is told', () => {
  let now = startMs;
  const sessions = openSessions(() => now);
  const first = sessions.open();
  expect(sessions.find(first.cookie)).toBe(first.session);
  now = first.session.until - 1;
  expect(sessions.find(first.cookie)).toBe(first.session);
  now = first.session.until;
  expect(sessions.find(first.cookie)).toBeUndefined();
  expect(first.session.ended.aborted).toBe(true);

  const many = Array.from({ length: limits.consoleSessions + 1 }, () => sessions.open());
  const stand = many.map(({ cookie }) => sessions.find(cookie) !== undefined);
  expect(stand).toEqual([false, ...Array(limits.consoleSessions).fill(true)]);
  expect(many.map(({ session }) => session.ended.aborted)).toEqual(stand.map((still) => !still));
  const last = many.at(-1) ?? first;
  sessions.close(last.session);
  expect(sessions.find(last.cookie)).toBeUndefined();
  sessions.closeAll();
  expect(many.every(({ session }) => session.ended.aborted)).toBe(true);
});
