import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { runCommand, testHost } from '../support/command.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';
import { type LaggingProxy, startLaggingProxy } from '../support/lagging-proxy.ts';
import { backupCrn } from './program.ts';

let london: TestInstance;
let lagging: LaggingProxy;
let proxy: FaultyProxy;
let folder: string;
beforeAll(async () => {
  london = await startTestInstance({ crn: backupCrn });
  lagging = await startLaggingProxy(london.url);
  proxy = await startFaultyProxy(lagging.url);
});
afterAll(() => Promise.all([london.close(), lagging.close(), proxy.close()]));
beforeEach(() => {
  proxy.behave = () => 'pass';
  lagging.lagMs = () => 0;
  folder = mkdtempSync(join(tmpdir(), 'certstandby-prove-'));
  mkdirSync(join(folder, 'copies'), { mode: 0o700 });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Line {
  readonly about?: string;
  readonly outcome?: string;
  readonly stated?: number;
  readonly measured?: number;
  readonly exit?: number;
}

/** Runs `doctor --prove` at one of the two stores of a configuration. */
async function prove(store: string, args: readonly string[] = ['--yes', '--json'], settings = '') {
  const config = join(folder, 'certstandby.yaml');
  writeFileSync(
    config,
    `version: 1
stores:
  london: { kind: certificate-manager, instance: "${backupCrn}", apiKey: env:KEY, endpoint: "${proxy.url}", iam: "${proxy.url}", writesPerCertificatePerMinute: 60${settings} }
  nas: { kind: directory, id: nas, path: copies, region: here }
links: { shop: { primary: london, backups: [nas] } }
`,
  );
  const host = testHost({ env: { KEY: apiKeyOf('manager') } });
  const end = await runCommand(['doctor', '--config', config, '--prove', store, ...args], host);
  const lines = end.output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line);
  return { ...end, lines, of: (about: string) => lines.find((line) => line.about === about) };
}

async function heldInLondon(): Promise<number> {
  const path = `/api/v3/${encodeURIComponent(backupCrn)}/certificates/`;
  const answer = await fetch(london.url + path, { headers: { authorization: `Bearer ${await london.token()}` } });
  return ((await answer.json()) as { readonly certificates: readonly unknown[] }).certificates.length;
}

test('a folder keeps what it states, and nothing stays there', async () => {
  const { code, output, errors } = await prove('nas', ['--yes']);
  expect(errors).not.toContain('certstandby:');
  expect(output).toContain('nas keeps what it states');
  expect(code).toBe(0);
  expect(readdirSync(join(folder, 'copies'))).toEqual([]);
});

test('behind a proxy that delays, loses and reorders, it measures what the proxy did', async () => {
  const isMetadata = (path: string) => path.endsWith('/metadata');
  const isListing = (path: string) => path.includes('/certificates');
  lagging.lagMs = (path) => (isMetadata(path) ? 1_500 : isListing(path) ? 3_000 : 0);
  let writes = 0;
  proxy.behave = ({ method }) => {
    if (method === 'PUT') {
      writes += 1;
      if (writes === 1) return { lateMs: 1_000 };
    }
    return 'pass';
  };
  const end = await prove('london', ['--yes', '--json'], ', settles: 4s, listingLag: 1s, readSettles: 0s');
  const [reads, listings, settles] = ['readSettles', 'listingLag', 'settles'].map(end.of);
  expect(reads).toMatchObject({ outcome: 'exceeded', stated: 0 });
  expect(reads?.measured).toBeGreaterThan(500);
  expect(listings).toMatchObject({ outcome: 'exceeded', stated: 1_000 });
  expect(listings?.measured).toBeGreaterThan(1_000);
  expect(settles).toMatchObject({ outcome: 'holds', stated: 4_000 });
  expect(settles?.measured).toBeGreaterThan(900);
  expect(end.lines.filter(({ outcome }) => outcome === 'differs')).toEqual([]);
  expect(end.of('other names')).toBeDefined();
  expect(end.code).toBe(4);
  expect(await heldInLondon()).toBe(0);
}, 120_000);

test('it says what it sends before it asks, and sends nothing without a yes', async () => {
  const before = proxy.requests.length;
  const { code, errors, output } = await prove('london', []);
  expect(output).toContain('1 import, 3 reimports, 1 change of description, 2 deletions');
  expect(errors).toContain('say --yes');
  expect(code).toBe(2);
  expect(proxy.requests.length).toBe(before);
});

test('a store that is not in the configuration is answered with what there is', async () => {
  const { code, errors } = await prove('paris');
  expect(errors).toContain('there is no store paris in');
  expect(errors).toContain('london, nas');
  expect(code).toBe(2);
});
