import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { consoleOf, eachState, evilNames, type TestConsole } from '../console/world.ts';
import { content, described, type Setup } from '../support/replication.ts';
import {
  type Browser,
  type BrowserContext,
  type BrowserPage,
  findingsOfAxe,
  requireBrowser,
  startBrowser,
} from './browser.ts';

// A real browser on every screen of the console. `CONSOLE_PICTURES=<folder>` keeps pictures.

const pictures = process.env.CONSOLE_PICTURES;
const sizes = { wide: { width: 1280, height: 900 }, narrow: { width: 360, height: 740 } } as const;

describe.skipIf(!requireBrowser())('the console in Chromium', () => {
  let world: Setup;
  let made: TestConsole;
  let browser: Browser;
  let context: BrowserContext;
  let page: BrowserPage;
  /** What the browser has to say of the pages, and whom it asked. */
  const said: string[] = [];
  const asked = new Set<string>();
  beforeAll(async () => {
    if (pictures !== undefined) mkdirSync(pictures, { recursive: true });
    world = await eachState();
    made = await consoleOf(world, { beatMs: 200 });
    browser = await startBrowser();
    context = await browser.newContext({ viewport: sizes.wide });
    page = await context.newPage();
    page.on('console', (message: { type(): string; text(): string }) =>
      said.push(`${message.type()}: ${message.text()}`),
    );
    page.on('pageerror', (error: Error) => said.push(`error: ${error.message}`));
    page.on('requestfailed', (request: { url(): string }) => {
      // A page that is left ends its stream.
      if (!request.url().endsWith('/events')) said.push(`failed: ${request.url()}`);
    });
    page.on('request', (request: { url(): string }) => asked.add(new URL(request.url()).origin));
  });
  afterAll(async () => {
    await browser?.close();
    await made?.server.close();
  });

  async function open(path: string): Promise<number> {
    return (await page.goto(`${made.origin}${path}`))?.status() ?? 0;
  }

  /** Looks at a screen light and dark, wide and narrow: nothing is found, nothing sticks out. */
  async function look(name: string): Promise<void> {
    for (const colorScheme of ['light', 'dark'] as const) {
      for (const [size, viewport] of Object.entries(sizes)) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize(viewport);
        expect(await findingsOfAxe(page), `${name}, ${colorScheme}, ${size}`).toEqual([]);
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth');
        expect(wide, `${name}, ${size}`).toBeLessThanOrEqual(viewport.width);
        if (pictures !== undefined)
          await page.screenshot({ path: join(pictures, `${name}-${colorScheme}-${size}.png`), fullPage: true });
      }
    }
    await page.setViewportSize(sizes.wide);
  }

  test('a person opens the link, signs in, walks every screen and signs out; axe finds nothing on any of them', async () => {
    expect(await open('/')).toBe(401);
    await look('not-signed-in');
    const { token } = await made.links.make();
    expect(await open(`/enter/${token}`)).toBe(200);
    await look('enter');
    said.length = 0;
    await page.click('main button');
    await page.waitForURL(/\/$/);
    expect(await page.textContent('h1')).toBe('Not good');
    expect(await context.cookies()).toMatchObject([{ httpOnly: true, sameSite: 'Strict' }]);
    await look('overview');
    // To a link, a search and a certificate, by the keyboard alone.
    await page.evaluate('document.querySelector("h2 a").focus()');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/link\/main$/);
    await look('link');
    await page.evaluate('document.querySelector("input[type=search]").focus()');
    await page.keyboard.type('shop.ex');
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=shop\.ex/);
    await page.click('tbody a');
    await page.waitForURL(/\/certificate\/main\?id=c-same$/);
    expect(await page.textContent('h1')).toBe('shop.example');
    await look('certificate');
    expect(said).toEqual([]);
    expect(await open('/link/main?q=nothing-of-the-kind')).toBe(200);
    await look('nothing-found');
    // What looks for findings finds one that is there.
    await page.evaluate('document.querySelector("main").append(document.createElement("input"))');
    expect(await findingsOfAxe(page)).toEqual([expect.stringContaining('label: <input>')]);
    expect(await open('/certificate/main?id=c-unreadable')).toBe(500);
    await look('unreadable');
    await open('/');
    await page.click('header button');
    await page.waitForSelector('text=certstandby console prints a link');
    expect(await context.cookies()).toEqual([]);
    expect([...asked]).toEqual([made.origin]);
  });

  test('an event appears as it is acknowledged, turns into a copy, and the lists follow; a page without a session says so', async () => {
    const { token } = await made.links.make();
    await open(`/enter/${token}`);
    said.length = 0;
    await page.click('main button');
    await page.waitForSelector('text=Live');
    const store = world.primary.store;
    store.put({ content: await content(), metadata: described('new.example') }, 'c-new');
    await world.ask('c-new', { eventAt: world.time.now() });
    const event = { kind: 'imported', changes: true, type: '', version: 4, store: store.id, digest: '' } as const;
    made.live.acknowledged('main', { ...event, certificates: [{ id: 'c-new', name: evilNames.markup }] }, 'new');
    await page.waitForSelector('#events li:first-child .on-its-way');
    expect(await page.textContent('#events li:first-child a')).toBe(evilNames.markup);
    for (const backup of world.backups) delete backup.hooks.import;
    await world.later(900);
    for (const report of (await world.pass('c-new')).passes) made.live.passed(report);
    await page.waitForSelector('#events li:first-child .same');
    expect(await page.textContent('#events li:first-child')).toContain('in every backup after 900 ms');
    await look('live');
    // The list of another page follows by itself.
    await open('/link/main?q=later.example');
    await page.waitForSelector('text=Live');
    await page.waitForSelector('text=No certificate of main fits');
    store.put({ content: await content(), metadata: described('later.example') }, 'c-later');
    await world.ask('c-later');
    await world.later(60_000);
    for (const report of (await world.pass('c-later')).passes) made.live.passed(report);
    await page.waitForSelector('tbody a >> text=later.example');
    expect(said).toEqual([]);
    // A table that is away takes the word of the page back, until it is made anew; whoever has the
    // focus in the list keeps it.
    await page.evaluate('document.querySelector("tbody a").focus()');
    const table = world.table.hooks;
    table.query = async () => {
      throw new CodedError('table_unavailable', 'the table does not answer');
    };
    await world.later(60_000);
    await page.evaluate('document.dispatchEvent(new Event("visibilitychange"))');
    await page.waitForSelector('text=UTC: the table does not answer [table_unavailable]. It is tried again.');
    expect(await page.textContent('tbody a')).toBe('later.example');
    await look('old');
    delete table.query;
    await world.later(1_000);
    await page.evaluate('document.dispatchEvent(new Event("visibilitychange"))');
    await page.waitForSelector('text=Live');
    expect(await page.evaluate<string>('document.activeElement.textContent')).toBe('later.example');
    expect(said.splice(0)).toEqual([expect.stringContaining('503')]);
    // A page that was left open for longer than its session.
    await world.later(limits.consoleSessionMs);
    await page.waitForSelector('text=The session has ended, and this page is as it was');
    await look('session-over');
  });
});
