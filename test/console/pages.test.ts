import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { CodedError } from '../../src/errors.ts';
import { keyCanary, pemCanary, searchFor, summaryOf } from '../support/canaries.ts';
import { testCertificate } from '../support/certificates.ts';
import { content, described, replicated, type Setup, setup } from '../support/replication.ts';
import { consoleOf, eachState, evilNames, type TestConsole } from './world.ts';

let world: Setup;
let made: TestConsole;
let cookie: string;
beforeAll(async () => {
  world = await eachState();
  made = await consoleOf(world);
  cookie = await made.signIn();
});
afterAll(() => made.server.close());

const page = async (path: string) => (await made.page(path, cookie)).body;
/** What a person reads of a page. */
const textOf = (body: string) =>
  body
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replaceAll(/\s+/g, ' ');
/** The rows of the list of certificates, as text. */
const rowsOf = (body: string) =>
  [...body.matchAll(/<tr role="row"><th role="rowheader".*?<\/tr>/gs)].map(([row]) => textOf(row).trim());

test('the first page has each state of a certificate in words, primary and backups side by side, the worst first', async () => {
  const body = await page('/link/main');
  const firsts = rowsOf(body).map((row) => row.replace(/ (valid until|copied|seen gone).*/, ''));
  expect(firsts.slice(0, 6)).toEqual([
    'c-unreadable ? unreadable its record cannot be read ? unreadable its record cannot be read ? unreadable its record cannot be read',
    'keyless.example ✕ refused it has no private key [certificate_key_missing] Without its private key it cannot serve: import the certificate together with its key.',
    'behind.example ● there',
    'c-waiting → on its way not looked at yet → on its way no copy yet → on its way no copy yet',
    'gone.example ○ gone',
    'shop.example ● there',
  ]);
  const [, , behind = ''] = rowsOf(body);
  expect(behind).toContain('✓ same copied');
  expect(behind).toContain('▲ behind import at madrid: it answered 503 [store_unavailable]');
  expect(body).toMatch(/frankfurt \(primary\).*london \(backup\).*madrid \(backup\)/);
});

test('what waits for a person stands with what mends it, as status says it', async () => {
  const text = textOf(await page('/'));
  expect(text).toContain('Not good');
  expect(text).toMatch(/london backup \d certificates the same when last looked at, \d not, 1 unknown/);
  expect(text).toContain('1 certificate stuck at madrid (behind.example)');
  expect(text).toContain('1 certificate of the primary expires soon (shop.example)');
  expect(text).toContain('Last verify never: certstandby verify --link main');
  expect(text).toContain('7 certificates to expire in the coming 100 days');
});

test('a name is text, whatever it holds: no markup, nothing unseen, not without end', async () => {
  for (const path of ['/', '/link/main', '/certificate/main?id=c-markup', '/certificate/main?id=c-terminal']) {
    const body = await page(path);
    expect(body).not.toMatch(/<img|onerror=alert\(1\)>/);
    expect([...body.matchAll(/<script[^>]*>/g)].map(([tag]) => tag)).toEqual(['<script src="/console.js" defer>']);
    expect(body.replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u);
  }
  const list = await page('/link/main');
  expect(list).toContain('&#60;script src=//evil.example&#62;');
  expect(textOf(list)).toContain('shop\\u{1b}[2J\\u{9b}31m\\u{202e}gnp.exe');
  expect(list).toContain(`${evilNames.long.slice(0, 120)}…`);
  expect(list).not.toContain(evilNames.long);
  // Of one alone everything is shown.
  expect(await page('/certificate/main?id=c-long')).toContain(evilNames.long.slice(0, 200));
});

test('what somebody searches for comes back as text, and finds parts of names and ids in any case', async () => {
  const evil = await page(`/link/main?q=${encodeURIComponent('"><script>alert(1)</script>')}`);
  expect(evil).not.toContain('<script>');
  expect(textOf(evil)).toContain('No certificate of main fits');
  expect(rowsOf(await page('/link/main?q=SHOP.EX')).map((row) => row.split(' ')[0])).toEqual(['shop.example']);
  // What nobody sees is searched for as it is shown.
  const spelled = encodeURIComponent('\\u{202e}GNP');
  expect(rowsOf(await page(`/link/main?q=${spelled}`)).map((row) => row.slice(0, 4))).toEqual(['shop']);
  expect(rowsOf(await page('/link/main?q=c-other')).map((row) => row.split(' ')[0])).toEqual(['blog.example']);
  expect(rowsOf(await page('/link/main?state=gone')).map((row) => row.split(' ')[0])).toEqual(['gone.example']);
  expect(rowsOf(await page('/link/main?expires=2026-01-10')).map((row) => row.split(' ')[0])).toEqual(['shop.example']);
});

test.each(['state=none', 'page=0', 'page=-1', 'page=1e9', 'expires=never', 'q=%00', 'state=constructor'])(
  'what cannot be understood of a search is passed over: %s',
  async (query) => {
    const got = await made.page(`/link/main?${query}`, cookie);
    expect(got.status).toBe(200);
  },
);

test('no private key, and no piece of one, is in any page', async () => {
  const issued = await testCertificate();
  const pem = issued.privateKey.reveal();
  const search = searchFor([keyCanary('key', pem), pemCanary('key', pem)]);
  const mine = await replicated(parseContent(issued));
  const small = await consoleOf(mine);
  try {
    const signedIn = await small.signIn();
    for (const path of ['/', '/link/main', '/certificate/main?id=c1']) {
      const { status, body } = await small.page(path, signedIn);
      expect([status, summaryOf(search(Buffer.from(body)))]).toEqual([200, []]);
    }
  } finally {
    await small.server.close();
  }
  expect(search(Buffer.from(pem))).not.toEqual([]);
});

test('one certificate has a page with what is known of it; one whose record is damaged says so', async () => {
  const text = textOf(await page('/certificate/main?id=c-same'));
  expect(text).toContain('Id in the primary c-same');
  expect(text).toMatch(/Copy in london backup-\d/);
  const damaged = await made.page('/certificate/main?id=c-unreadable', cookie);
  expect(damaged.status).toBe(500);
  expect(textOf(damaged.body)).toContain('the replication record of c-unreadable of link main is damaged');
});

test('while the primary does not answer no copy is called the same as what it holds now', async () => {
  const told = await replicated(await content(), { primary: { id: 'store-of-frankfurt' } });
  told.primary.hooks.read = async () => {
    throw new CodedError('store_unavailable', 'it answered 503');
  };
  await told.ask('c1', { eventAt: told.time.now() });
  await told.pass('c1');
  const small = await consoleOf(told);
  try {
    const { body } = await small.page('/link/main', await small.signIn());
    const [row = ''] = rowsOf(body);
    expect(row).toContain('▲ behind it could not be looked at');
    expect(row).toContain('▲ behind the same as when the primary was last read the primary was read 2026-01-01');
    expect(row).not.toContain('✓');
  } finally {
    await small.server.close();
  }
});

test('a record with what no page can say is shown as far as it can be said, and hides nothing beside it', async () => {
  const odd = await replicated(await content());
  odd.primary.store.put({ content: await content(), metadata: described('far') }, 'c2');
  await odd.ask('c2');
  await odd.pass('c2');
  await odd.tamper('c2', { absentSince: 1e20 });
  const small = await consoleOf(odd);
  try {
    const mine = await small.signIn();
    for (const path of ['/', '/link/main']) {
      const { status, body } = await small.page(path, mine);
      expect([status, rowsOf(body).length]).toEqual([200, 2]);
      expect(textOf(body)).toMatch(/shop ● there.*✓ same/);
      expect(textOf(body)).toContain('seen gone no date');
    }
    expect((await small.page('/certificate/main?id=c2', mine)).status).toBe(200);
  } finally {
    await small.server.close();
  }
});

test('of many certificates a page holds fifty, and leads to the next', async () => {
  const many = await setup();
  const held = await content();
  for (let at = 1; at <= 120; at += 1) {
    many.primary.store.put({ content: held, metadata: described(`name ${at}`) }, `c${at}`);
    await many.ask(`c${at}`);
  }
  const large = await consoleOf(many);
  try {
    const mine = await large.signIn();
    const get = async (path: string) => (await large.page(path, mine)).body;
    const first = await get('/link/main');
    expect(rowsOf(first)).toHaveLength(50);
    expect(first).toContain('1 to 50 of 120 certificates');
    const [, next = ''] = /rel="next" href="([^"]+)"/.exec(first) ?? [];
    expect(next).toBe('/link/main?page=2');
    const last = await get('/link/main?page=3');
    expect(rowsOf(last)).toHaveLength(20);
    expect(last).not.toContain('rel="next"');
    const beyond = await get('/link/main?page=99');
    expect(beyond).toContain('101 to 120 of 120 certificates');
    expect(rowsOf(await get('/'))).toHaveLength(8);
    expect(new Set([...rowsOf(first), ...rowsOf(await get(next)), ...rowsOf(last)]).size).toBe(120);
  } finally {
    await large.server.close();
  }
});

test('a table that goes away while one looks is told as that, with what to do; when it is back the page is', async () => {
  const away = new CodedError('table_unavailable', 'the table does not answer');
  world.table.hooks.query = async () => {
    throw away;
  };
  await world.later(5_000);
  try {
    const first = await made.page('/', cookie);
    expect(first.status).toBe(200);
    expect(textOf(first.body)).toContain('the table does not answer [table_unavailable]');
    expect((await made.page('/link/main', cookie)).status).toBe(503);
  } finally {
    delete world.table.hooks.query;
  }
  await world.later(1_000);
  expect(textOf(await page('/'))).toContain('shop.example');
});
