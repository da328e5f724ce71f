import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type CommandEnd, runCommand, testHost } from '../support/command.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';
import { backupCrn, primaryCrn } from './program.ts';

let primary: TestInstance;
let backup: TestInstance;
let folder: string;
beforeAll(async () => {
  [primary, backup] = await Promise.all([
    startTestInstance({ crn: primaryCrn }),
    startTestInstance({ crn: backupCrn }),
  ]);
});
afterAll(() => Promise.all([primary.close(), backup.close()]));
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-doctor-'));
  writeFileSync(join(folder, 'london.key'), apiKeyOf('manager'), { mode: 0o600 });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Setting {
  readonly args?: readonly string[];
  readonly key?: string;
  readonly receiver?: string;
  readonly backupUrl?: string;
  readonly link?: string;
}

/** Runs `doctor` on a configuration of two stores and a link. */
function doctor({ args = [], key, receiver = '127.0.0.1', backupUrl = backup.url, link = '' }: Setting = {}) {
  const store = (crn: string, url: string, apiKey: string) =>
    `{ kind: certificate-manager, instance: "${crn}", apiKey: ${apiKey}, endpoint: "${url}", iam: "${url}" }`;
  const config = join(folder, 'certstandby.yaml');
  writeFileSync(
    config,
    `version: 1
receiver: { host: "${receiver}" }
stores:
  frankfurt: ${store(primaryCrn, primary.url, 'env:FRANKFURT')}
  london: ${store(backupCrn, backupUrl, 'file:london.key')}
links: { shop: { primary: frankfurt, backups: [london]${link} } }
`,
  );
  const host = testHost({ env: { FRANKFURT: key ?? apiKeyOf('manager') } });
  return runCommand(['doctor', '--config', config, ...args], host);
}

/** The findings of `--json` that are not good, as [about, code, remedy]. */
const problemsOf = ({ output }: CommandEnd) =>
  output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>)
    .filter(({ outcome }) => outcome === 'problem')
    .map(({ about, code, message, remedy }) => ({ about, code, message, remedy }));

test('it names the missing channel with the line that registers it; registered once, all is well', async () => {
  const without = await doctor();
  expect(without.code).toBe(4);
  expect(without.output).toContain('ok       frankfurt: its clock and ours agree\n');
  expect(without.output).toContain('ok       london: may import\n');
  expect(without.output).toContain('problem  link shop: the primary has no channel to …/callback/shop');
  expect(without.output).toContain(`--register https://PUBLIC-ADDRESS\n`);
  expect(without.output).toContain('1 problem and 2 warnings');

  const url = 'http://127.0.0.1:8480';
  const registered = await doctor({ args: ['--register', `${url}/`] });
  expect(registered.output).toContain(`link shop: registered: the primary now notifies ${url}/callback/shop`);
  expect(registered.code).toBe(0);

  const again = await doctor({ args: ['--register', url] });
  expect(again.output).toContain(`link shop: the primary notifies ${url}/callback/shop`);
  const token = await primary.token();
  const channels = await fetch(
    `${primary.url}/api/v1/instances/${encodeURIComponent(primaryCrn)}/notifications/channels`,
    { headers: { authorization: `Bearer ${token}` } },
  );
  expect(await channels.json()).toHaveLength(1);
  expect((await doctor({ args: ['--quiet'] })).output).not.toContain('ok ');
});

test('credentials that are not accepted, or of too low a role, are told apart, each with what mends it', async () => {
  const unknown = await doctor({ key: 'no-such-key-of-anybody', args: ['--json'] });
  expect(problemsOf(unknown)).toEqual([
    expect.objectContaining({
      about: 'frankfurt',
      code: 'store_unauthorized',
      remedy:
        'Put a valid API key behind stores.frankfurt.apiKey; its owner needs the service role Writer on this instance.',
    }),
  ]);
  expect(unknown.code).toBe(4);

  writeFileSync(join(folder, 'london.key'), apiKeyOf('writer'));
  const writer = await doctor({ args: ['--json'] });
  expect(problemsOf(writer)).toContainEqual({
    about: 'london',
    code: 'store_unauthorized',
    message: 'the credentials may not import',
    remedy: 'Give the owner of stores.london.apiKey the service role Manager (or above) on this instance.',
  });
  expect(writer.output).not.toContain(apiKeyOf('writer'));
});

test('what is wrong here decides the exit code before what is wrong there; the rest is checked all the same', async () => {
  chmodSync(join(folder, 'london.key'), 0o644);
  const { code, output } = await doctor({ receiver: '0.0.0.0', backupUrl: 'http://127.0.0.1:9' });
  expect(code).toBe(3);
  expect(output).toContain('problem  receiver: the receiver would speak plain HTTP on 0.0.0.0 [receiver_not_private]');
  expect(output).toContain('Write serve: { tls:');
  expect(output).toContain(`warning  configuration: ${folder}/london.key holds a secret and is open to everybody`);
  expect(output).toContain(`chmod 600 ${folder}/london.key`);
  expect(output).toContain('problem  london: reach at ');
  expect(output).toContain('Try it: curl -sv http://127.0.0.1:9');
  expect(output).toContain('ok       frankfurt: ');
});

test('a pinned key that is not the primary’s is found', async () => {
  const { generateKeyPairSync } = await import('node:crypto');
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(join(folder, 'pinned.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
  const end = await doctor({ link: ', verificationKey: file:pinned.pem', args: ['--json'] });
  expect(problemsOf(end)).toContainEqual({
    about: 'link shop',
    code: 'configuration_invalid',
    message: 'the pinned verification key is not the primary’s: its notifications are refused',
    remedy: "Put the primary's key into the file of links.shop.verificationKey, or remove that line.",
  });
  expect(end.code).toBe(3);
});

test('a configuration with mistakes is told as every command tells it', async () => {
  const { code, errors } = await doctor({ link: ', colour: red' });
  expect(code).toBe(3);
  expect(errors).toContain('links.shop.colour (line 6): is not a known key');
});

test('a table that cannot be read is told, and nothing is made up about what it would say', async () => {
  mkdirSync(join(folder, 'certstandby-data'));
  writeFileSync(join(folder, 'certstandby-data', 'data.mdb'), 'not a table');
  const { code, output } = await doctor();
  expect(code).toBe(5);
  expect(output).toContain(
    `problem  table: cannot open the embedded table in ${folder}/certstandby-data [table_unavailable]`,
  );
  expect(output).not.toContain('reconcile has succeeded');
  expect(output).toContain('ok       london: may import');
});
