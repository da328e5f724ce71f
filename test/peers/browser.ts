import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from '../support/root.ts';
import { requirePeer } from './peer.ts';

/** What is used of playwright-core, which is fetched when it is needed. */
export interface Browser {
  newContext(options: object): Promise<BrowserContext>;
  close(): Promise<void>;
}
export interface BrowserContext {
  newPage(): Promise<BrowserPage>;
  close(): Promise<void>;
  cookies(): Promise<readonly { readonly name: string; readonly httpOnly: boolean; readonly sameSite: string }[]>;
}
export interface BrowserPage {
  goto(url: string): Promise<{ status(): number } | null>;
  url(): string;
  title(): Promise<string>;
  click(selector: string): Promise<void>;
  fill(selector: string, text: string): Promise<void>;
  waitForSelector(selector: string, options?: object): Promise<unknown>;
  waitForURL(url: RegExp): Promise<void>;
  evaluate<T>(what: string): Promise<T>;
  screenshot(options: object): Promise<unknown>;
  setViewportSize(size: { readonly width: number; readonly height: number }): Promise<void>;
  emulateMedia(options: object): Promise<void>;
  textContent(selector: string): Promise<string | null>;
  on(event: string, listener: (what: never) => void): unknown;
  readonly keyboard: { press(key: string): Promise<void>; type(text: string): Promise<void> };
}

const versions = { 'playwright-core': '1.65.1', 'axe-core': '4.14.1' } as const;
type Package = keyof typeof versions;

/** Where a package of npm lies, fetched once into a folder that is kept with the other caches. */
function folderOf(name: Package): string {
  return join(root, 'node_modules/.cache', name, versions[name], 'lib/node_modules', name);
}

function fetchOnce(name: Package): void {
  const cache = join(root, 'node_modules/.cache', name, versions[name]);
  if (existsSync(folderOf(name))) return;
  mkdirSync(cache, { recursive: true });
  // Complete or not at all: a run that is interrupted leaves no half a package.
  const fresh = join(cache, `lib-${process.pid}`);
  const options = ['--prefix', fresh, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'];
  const { status } = spawnSync('npm', ['install', ...options, `${name}@${versions[name]}`], { stdio: 'inherit' });
  if (status === 0) renameSync(fresh, join(cache, 'lib'));
  else rmSync(fresh, { recursive: true, force: true });
}

function requirePackage(name: Package): boolean {
  fetchOnce(name);
  const print = `console.log('${name}', require('${folderOf(name)}/package.json').version)`;
  return requirePeer(name, ['node', '-e', print], `let npm reach a registry with ${name} once`) !== undefined;
}

/** Whether there is a browser here, and what drives it and looks at its pages. */
export function requireBrowser(): boolean {
  const chromium = requirePeer('Chromium', ['chromium', '--version', '--no-sandbox'], 'apt-get install chromium');
  return chromium !== undefined && requirePackage('playwright-core') && requirePackage('axe-core');
}

/** Starts Chromium, with nothing that would ask anybody but the pages. */
export async function startBrowser(): Promise<Browser> {
  const { chromium } = createRequire(join(folderOf('playwright-core'), 'x.js'))(folderOf('playwright-core')) as {
    chromium: { launch(options: object): Promise<Browser> };
  };
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** What axe-core finds on the page as it is, each in a line. */
export async function findingsOfAxe(page: BrowserPage): Promise<readonly string[]> {
  // As an expression, and not as an element of the page: its policy lets no code in.
  await page.evaluate(readFileSync(join(folderOf('axe-core'), 'axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate<{
    violations: readonly { id: string; nodes: readonly { html: string; failureSummary: string }[] }[];
  }>('axe.run(document, { resultTypes: ["violations"] })');
  return violations.map(({ id, nodes: [first] }) => `${id}: ${first?.html.slice(0, 200)} ${first?.failureSummary}`);
}
