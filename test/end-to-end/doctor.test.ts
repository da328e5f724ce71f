import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { receiver, webhookKey } from '../alerts/world.ts';
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
  readonly alerts?: string;
}

/** Runs `doctor` on a configuration of two stores and a link. */
function doctor({
  args = [],
  key,
  receiver = '127.0.0.1',
  backupUrl = backup.url,
  link = '',
  alerts = '',
}: Setting = {}) {
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
${alerts}`,
  );
  const host = testHost({ env: { FRANKFURT: key ?? apiKeyOf('manager'), ...channelUrls } });
  return runCommand(['doctor', '--config', config, ...args], host);
}

const channelUrls: Record<string, string> = {};

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

test('the channels of alerts are looked at, each by itself; none gets a message, and the line that sends one is named', async () => {
  const took = await receiver();
  const { port, close } = await silentServer();
  try {
    const secret = '/hook/very-secret-path';
    Object.assign(channelUrls, {
      GOOD: `${took.url}${secret}`,
      GONE: `http://127.0.0.1:9${secret}`,
      NO_TLS: `https://127.0.0.1:${port}${secret}`,
      PLAIN: `http://hooks.example.test${secret}`,
      KEY: webhookKey,
    });
    const hook = (url: string) => `{ kind: webhook, url: env:${url}, key: env:KEY }`;
    const alerts = `alerts:
  heartbeat: { url: env:GOOD }
  channels:
    good: ${hook('GOOD')}
    gone: ${hook('GONE')}
    no-tls: ${hook('NO_TLS')}
    plain: ${hook('PLAIN')}
    unset: ${hook('UNSET')}
    mail: { kind: email, host: 127.0.0.1, port: 9, security: none, from: a@example.test, to: [b@example.test] }
`;
    const end = await doctor({ alerts, args: ['--json'] });
    expect(end.output).toContain(
      `"about":"alerts good","outcome":"good","message":"webhook can be reached; a message proves it: certstandby alerts test good --config ${folder}/certstandby.yaml"`,
    );
    expect(end.output).toContain('"about":"alerts heartbeat","outcome":"good","message":"a watcher can be reached;');
    const found = problemsOf(end).filter(({ about = '' }) => about.startsWith('alerts'));
    expect(found).toEqual([
      {
        about: 'alerts gone',
        code: 'alert_unavailable',
        message: 'the channel gone (webhook) was not reached: ECONNREFUSED',
        remedy: `Nothing listens at that address and port. Start what should, or correct the address and the port. Then: certstandby alerts test gone --config ${folder}/certstandby.yaml`,
      },
      {
        about: 'alerts no-tls',
        code: 'alert_unavailable',
        message: expect.stringMatching(/^the channel no-tls \(webhook\) was not reached: E[A-Z]+$/),
        remedy: expect.stringContaining('Then: certstandby alerts test no-tls'),
      },
      {
        about: 'alerts plain',
        code: 'configuration_invalid',
        message:
          'alerts.channels.plain.url: must lead to a URL that begins with https://; plain http:// is allowed on loopback only',
        remedy: expect.any(String),
      },
      {
        about: 'alerts unset',
        code: 'configuration_invalid',
        message: 'alerts.channels.unset.url: the environment variable UNSET is not set',
        remedy: expect.any(String),
      },
      {
        about: 'alerts mail',
        code: 'alert_unavailable',
        message: 'the channel mail (email, 127.0.0.1) was not reached: ECONNREFUSED',
        remedy: expect.any(String),
      },
    ]);
    expect(end.code).toBe(3);
    expect(end.output).toContain('"about":"london","outcome":"good","message":"may import"');
    expect(end.output + end.errors).not.toMatch(/very-secret-path|hooks\.example\.test/);
    expect(took.got).toEqual([]);
  } finally {
    await Promise.all([took.close(), close()]);
  }
});

/** Takes connections, and ends each as soon as something is said that is not understood: all. */
async function silentServer() {
  const server = createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { port, close: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}

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
