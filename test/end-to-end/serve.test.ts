import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { linesOf, receiver, webhookKey } from '../alerts/world.ts';
import { testCertificate } from '../support/certificates.ts';
import { type CommandEnd, runCommand, type TestHost, testHost } from '../support/command.ts';
import { freePort } from '../support/free-port.ts';
import { backupCrn, primaryCrn } from './program.ts';
import { type Sides, startSides } from './sides.ts';

let sides: Sides;
let folder: string;
let host: TestHost;
let ended: Promise<CommandEnd> | undefined;
beforeAll(async () => {
  sides = await startSides();
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});
afterAll(() => sides.close());

/**
 * Runs `serve` in this process, on free ports. Resolves when it serves, with the addresses that its
 * log names.
 */
async function serve(
  more = '',
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly callback: string; readonly monitor: string }> {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-serve-'));
  const store = (crn: string, url: string) =>
    `{ kind: certificate-manager, instance: "${crn}", apiKey: env:KEY, endpoint: "${url}", iam: "${url}",` +
    ' settles: 300ms, listingLag: 0s, writesPerCertificatePerMinute: unlimited }';
  const config = join(folder, 'certstandby.yaml');
  writeFileSync(
    config,
    `version: 1
table: { kind: lmdb, path: records }
receiver: { host: 127.0.0.1, port: 0 }
worker: { sweepEvery: 1s }
serve: { metrics: { port: 0 }, stopWithin: 5s${more} }
stores:
  frankfurt: ${store(primaryCrn, sides.primary.proxy.url)}
  london: ${store(backupCrn, sides.backup.proxy.url)}
links: { shop: { primary: frankfurt, backups: [london] } }
`,
  );
  host = testHost({ env: { ...env, KEY: sides.apiKey } });
  ended = runCommand(['serve', '--config', config], host);
  await expect.poll(() => logged('serving')).toHaveLength(1);
  const [{ callbacks, monitor }] = logged('serving') as [{ callbacks: [string]; monitor: string }];
  return { callback: callbacks[0], monitor };
}

async function stop(): Promise<CommandEnd | undefined> {
  if (ended) host.signal('SIGTERM');
  const end = await ended;
  ended = undefined;
  return end;
}

const logged = (event: string): readonly Record<string, unknown>[] =>
  host
    .errors()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line.event === event);

async function importCertificate(name: string): Promise<string> {
  const content = parseContent(await testCertificate());
  return (await sides.primary.store.import({ content, metadata: { name, description: '', tags: [] } })).id;
}

/** The value of each series of a metric, by its labels as they are written. */
async function series(monitor: string, metric: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${monitor}/metrics`)).text();
  const found = [...text.matchAll(/^certstandby_(\w+?)(?:\{(.*)\})? (\S+)$/gm)].filter(([, name]) => name === metric);
  return Object.fromEntries(found.map(([, , labels = '', value]) => [labels, Number(value)]));
}

const status = async (url: string) => (await fetch(url)).status;

test('a change moves the lag; a backup that is down shows as pending and failing, by its code, while the receiver stays ready; SIGTERM ends it with 0', async () => {
  const { callback, monitor } = await serve();
  await sides.addChannel(callback);
  await expect.poll(() => status(`${monitor}/readyz`)).toBe(200);
  expect(await status(`${new URL(callback).origin}/readyz`)).toBe(200);
  expect(await status(`${monitor}/healthz`)).toBe(200);
  const lagCount = async () => (await series(monitor, 'lag_seconds_count'))['link="shop"'];
  expect(await lagCount()).toBeUndefined();

  await importCertificate('shop');
  await expect.poll(lagCount).toBe(1);
  expect(await series(monitor, 'notifications_total')).toEqual({
    'link="shop",kind="imported",answer="new",sender="certificate-manager"': 1,
  });
  expect(await series(monitor, 'callback_answers_total')).toEqual({ 'status="202",sender="certificate-manager"': 1 });
  expect(await series(monitor, 'copy_actions_total')).toEqual({ 'link="shop",backup="london",action="imported"': 1 });
  await expect
    .poll(() => series(monitor, 'certificates'))
    .toMatchObject({ 'link="shop",state="equal"': 1, 'link="shop",state="behind"': 0 });
  const [age] = Object.values(await series(monitor, 'last_reconcile_age_seconds'));
  expect(age).toBeGreaterThanOrEqual(0);
  expect(age).toBeLessThan(60);

  sides.backup.proxy.behave = () => ({ status: 503 });
  await importCertificate('billing');
  await expect.poll(() => series(monitor, 'pending')).toEqual({ 'link="shop"': 1 });
  const failing = 'link="shop",store="london",code="store_unavailable"';
  await expect.poll(() => series(monitor, 'failing')).toEqual({ [failing]: 1 });
  expect((await series(monitor, 'failures_total'))[failing]).toBeGreaterThanOrEqual(1);
  expect(await status(`${monitor}/readyz`)).toBe(200);

  sides.backup.proxy.behave = () => 'pass';
  await expect.poll(() => series(monitor, 'pending')).toEqual({ 'link="shop"': 0 });
  expect(await series(monitor, 'failing')).toEqual({});
  expect(await lagCount()).toBe(2);

  expect(await stop()).toMatchObject({ code: 0, output: '' });
  expect(logged('stopped')).toHaveLength(1);
  await expect(fetch(`${monitor}/healthz`)).rejects.toThrow('fetch failed');
});

test('what was acknowledged and written stands in the audit trail once it has stopped, and can be proven', async () => {
  const { callback } = await serve();
  await sides.addChannel(callback);
  const id = await importCertificate('proven');
  const copies = async () => (await sides.backup.store.list({})).certificates.map(({ name }) => name);
  await expect.poll(copies).toContain('proven');
  await expect.poll(() => logged('copy_written').some((line) => line.certificate === id)).toBe(true);
  expect(await stop()).toMatchObject({ code: 0 });
  const audit = (...args: readonly string[]) =>
    runCommand(
      ['audit', ...args, '--config', join(folder, 'certstandby.yaml')],
      testHost({ env: { KEY: sides.apiKey } }),
    );
  const lines = (await audit('list', '--json')).output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const about = (kind: string) => lines.filter((line) => line.kind === kind);
  expect(lines[0]).toMatchObject({ kind: 'begin', program: 'serve', number: 1 });
  expect(about('settings')).toMatchObject([{ first: true }]);
  expect(about('event')).toContainEqual(
    expect.objectContaining({ sender: 'certificate-manager', event: 'imported', certificates: [id] }),
  );
  expect(about('pass').filter((line) => line.certificate === id)).toMatchObject([
    { primary: primaryCrn, backups: [{ backup: backupCrn, actions: ['imported'] }] },
  ]);
  expect(await audit('verify')).toMatchObject({ code: 0, errors: '' });
});

test('what is wrong is told to a channel; without one the start says that nobody will be told', async () => {
  const { got, url, close } = await receiver();
  try {
    const channel = '{ kind: webhook, url: env:OPS_URL, key: env:OPS_KEY }';
    sides.backup.proxy.behave = () => ({ status: 503 });
    const { callback } = await serve(` }\nalerts: { every: 1s, after: 1s, channels: { ops: ${channel} }`, {
      OPS_URL: url,
      OPS_KEY: webhookKey,
    });
    await sides.addChannel(callback);
    await importCertificate('told');
    const isTold = () => got.flatMap(linesOf).includes('began shop/stuck/london/store_unavailable critical');
    await expect.poll(isTold).toBe(true);
    expect(logged('nobody_is_told')).toEqual([]);
    const count = got.flatMap(linesOf).length;
    expect(new Set(got.flatMap(linesOf)).size).toBe(count);
    expect(await stop()).toMatchObject({ code: 0 });
  } finally {
    sides.backup.proxy.behave = () => 'pass';
    await close();
  }
  rmSync(folder, { recursive: true, force: true });
  await serve();
  expect(logged('nobody_is_told')).toMatchObject([
    { level: 'warn', message: expect.stringContaining('docs/alerts.md') },
  ]);
});

test('the console shows what is copied to whoever opens the link that the command prints, once', async () => {
  const port = await freePort();
  const { callback } = await serve(` }\nconsole: { port: ${port}`);
  await sides.addChannel(callback);
  expect(logged('serving')).toMatchObject([{ console: `http://127.0.0.1:${port}` }]);
  await importCertificate('looked-at');

  const config = join(folder, 'certstandby.yaml');
  const printed = await runCommand(
    ['console', '--config', config, '--quiet'],
    testHost({ env: { KEY: sides.apiKey } }),
  );
  expect(printed.code).toBe(0);
  const link = printed.output.trim();
  expect(link).toMatch(new RegExp(`^http://127\\.0\\.0\\.1:${port}/enter/[0-9a-f]{16}\\.[\\w-]{43}$`));
  expect((await fetch(link)).status).toBe(200);
  const origin = `http://127.0.0.1:${port}`;
  const enter = () =>
    fetch(`${origin}/enter`, {
      method: 'POST',
      redirect: 'manual',
      headers: { origin },
      body: new URLSearchParams({ token: link.split('/').at(-1) ?? '' }),
    });
  const entered = await enter();
  expect(entered.status).toBe(303);
  expect((await enter()).status).toBe(403);
  const cookie = entered.headers.get('set-cookie')?.split(';')[0] ?? '';
  const page = async () => (await fetch(`${origin}/link/shop`, { headers: { cookie } })).text();
  await expect.poll(page).toMatch(/looked-at<\/a>.*✓<\/span> same/s);
  expect(host.errors()).not.toContain(link.split('.').at(-1));

  expect(await stop()).toMatchObject({ code: 0 });
  await expect(fetch(origin)).rejects.toThrow('fetch failed');
});

test('somebody else on the port of the console keeps nothing from being copied, and is handed no link', async () => {
  const other = createServer((_request, response) => response.end());
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = other.address() as AddressInfo;
    const { callback, monitor } = await serve(` }\nconsole: { port: ${port}`);
    expect(logged('console_not_served')).toMatchObject([{ level: 'error', port, remedy: expect.any(String) }]);
    expect(logged('serving')[0]).not.toHaveProperty('console');
    await sides.addChannel(callback);
    await importCertificate('copied-all-the-same');
    await expect
      .poll(() => series(monitor, 'copy_actions_total'))
      .toMatchObject({ 'link="shop",backup="london",action="imported"': 1 });
    const config = join(folder, 'certstandby.yaml');
    const asked = await runCommand(['console', '--config', config], testHost({ env: { KEY: sides.apiKey } }));
    expect(asked.output).not.toContain('/enter/');
    expect([asked.code, asked.errors]).toEqual([3, expect.stringContaining('[console_not_served]')]);
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});

test('a configuration without a console is told how to have one', async () => {
  await serve();
  const config = join(folder, 'certstandby.yaml');
  const { code, errors } = await runCommand(['console', '--config', config], testHost({ env: { KEY: sides.apiKey } }));
  expect(code).toBe(3);
  expect(errors).toContain('has no console');
  expect(errors).toContain('[console_off]');
});
