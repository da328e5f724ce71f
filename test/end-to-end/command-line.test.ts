import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BundledScript, bundleScript } from '../support/child.ts';

let script: BundledScript;
let folder: string;
beforeAll(async () => {
  script = await bundleScript('src/cli/main.ts');
  folder = mkdtempSync(join(tmpdir(), 'certstandby-cli-'));
});
afterAll(async () => {
  await script.dispose();
  rmSync(folder, { recursive: true, force: true });
});

function start(args: readonly string[]): {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly errors: () => string;
} {
  const child = spawn(process.execPath, [script.file, ...args], { cwd: folder, env: { PATH: process.env.PATH } });
  let output = '';
  let errors = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  return { child, output: () => output, errors: () => errors };
}

async function run(...args: string[]) {
  const { child, output, errors } = start(args);
  const [code] = await once(child, 'close');
  return { code, output: output(), errors: errors() };
}

/** The rows of the live table, as [event, certificate, fingerprints]. */
const rowsOf = (output: string) =>
  [...output.matchAll(/^(imported|reimported|issued|renewed) +(.+?) {2,}\S+ +\S+ +\d+ ms +(\S+)$/gm)].map(
    ([, event, name, outcome]) => [event, name, outcome],
  );

test('up --once copies what is imported, reimported, ordered and renewed, and says so; records and keys are its own to read', async () => {
  const { code, output, errors } = await run('up', '--once', '--port', '0');
  expect(errors).toBe('');
  expect(rowsOf(output).sort()).toEqual([
    ['imported', 'api', 'equal'],
    ['imported', 'apps wildcard', 'equal'],
    ['imported', 'shop', 'equal'],
    ['issued', 'checkout', 'equal'],
    ['reimported', 'shop', 'equal'],
    ['renewed', 'checkout', 'equal'],
  ]);
  expect(output).toContain('Every certificate read back from the backup equals the primary, private key included.');
  expect(code).toBe(0);
  for (const name of ['credentials.env', 'certstandby.yaml', 'primary.apikey', 'backup.apikey', 'certstandby.log']) {
    expect([name, statSync(join(folder, '.certstandby', name)).mode & 0o777]).toEqual([name, 0o600]);
  }
  const key = readFileSync(join(folder, '.certstandby', 'primary.apikey'), 'utf8').trim();
  const log = readFileSync(join(folder, '.certstandby', 'certstandby.log'), 'utf8');
  expect(log).not.toContain(key);
  expect(log).not.toContain('PRIVATE KEY');
});

test('started again it keeps its records and credentials; beside a running one it takes another folder; it stops on a signal', async () => {
  const kept = readFileSync(join(folder, '.certstandby', 'primary.apikey'), 'utf8');
  const first = start(['up', '--port', '0']);
  await expect.poll(() => first.output()).toContain('Ctrl-C stops');
  expect(readFileSync(join(folder, '.certstandby', 'primary.apikey'), 'utf8')).toBe(kept);
  // The certificates of the run before are there, and so they are reimported and renewed.
  expect(rowsOf(first.output()).sort()).toEqual([
    ['reimported', 'api', 'equal'],
    ['reimported', 'apps wildcard', 'equal'],
    ['reimported', 'shop', 'equal'],
    ['reimported', 'shop', 'equal'],
    ['renewed', 'checkout', 'equal'],
    ['renewed', 'checkout', 'equal'],
  ]);

  const second = await run('up', '--once', '--port', '0');
  expect(second.code).toBe(0);
  expect(second.output).toContain('are in .certstandby-2');

  const config = join('.certstandby', 'certstandby.yaml');
  const compared = await run('reconcile', '--config', config);
  expect(compared.output).toContain('main: 4 certificates in the primary, 4 included; nothing to look at');
  expect(compared.output).toContain('every included certificate is equal in the backup');
  expect(compared.code).toBe(0);
  const drilled = await run('drill', '--config', config);
  expect(drilled.output).toMatch(/^main: 4 of 4 copies served, of 4 kept, in /);
  expect(drilled.code).toBe(0);

  // The console of the pair: the link that it printed, and one that the command prints.
  const [link = ''] = /http:\/\/127\.0\.0\.1:\d+\/enter\/\S+/.exec(first.output()) ?? [];
  expect((await fetch(link)).status).toBe(200);
  const another = (await run('console', '--config', config, '--quiet')).output.trim();
  expect(new URL(another).origin).toBe(new URL(link).origin);
  const { origin } = new URL(another);
  const entered = await fetch(`${origin}/enter`, {
    method: 'POST',
    redirect: 'manual',
    headers: { origin },
    body: new URLSearchParams({ token: another.split('/').at(-1) ?? '' }),
  });
  const cookie = entered.headers.get('set-cookie')?.split(';')[0] ?? '';
  const page = await (await fetch(origin, { headers: { cookie } })).text();
  expect(page).toMatch(/<ol id="events".*✓<\/span> same.*checkout.*renewed in main/s);

  first.child.kill('SIGTERM');
  const [code] = await once(first.child, 'close');
  expect(code).toBe(0);
  expect(first.errors()).toBe('');

  const alone = await run('reconcile', '--config', config, '--wait', '0');
  expect(alone.code).toBe(4);
  expect(alone.errors).toContain('[store_unavailable]');
});

test('mistakes in the command line and in the configuration have exit codes of their own', async () => {
  expect(await run('reconcile')).toMatchObject({
    code: 3,
    errors: expect.stringContaining('certstandby.yaml cannot be read (ENOENT)'),
  });
  expect((await run('fly')).code).toBe(2);
  expect((await run('up', '--port', 'many')).code).toBe(2);
  expect((await run('--help')).code).toBe(0);

  writeFileSync(
    join(folder, 'bad.yaml'),
    `version: 1
colour: red
stores:
  one:
    kind: certificate-manager
    instance: "crn:v1:bluemix:public:cloudcerts:eu-de:a/00000000000000000000000000000001:11111111-2222-4333-8444-555555555555::"
    apiKey: env:NOT_SET_HERE
    endpoint: http://203.0.113.7
links:
  main: { primary: one, backups: [one], policy: { regions: [eu-gb] } }
`,
  );
  const { code, errors } = await run('reconcile', '--config', 'bad.yaml');
  expect(code).toBe(3);
  expect(errors).toContain('colour (line 2): is not a known key');
  expect(errors).toContain('the environment variable NOT_SET_HERE is not set');
  expect(errors).toContain('plain http:// is allowed on loopback only');
  expect(errors).toContain('the primary one is also a backup of this link');
  expect(errors).toContain('has 4 mistakes');
});

test('serve starts while no service answers, says that it is not ready and why, and ends with 0 on SIGTERM', async () => {
  const crn = (region: string, digit: string) =>
    `crn:v1:bluemix:public:cloudcerts:${region}:a/00000000000000000000000000000001:${digit.repeat(8)}-2222-4333-8444-555555555555::`;
  const store = (instance: string) =>
    `{ kind: certificate-manager, instance: "${instance}", apiKey: file:key, endpoint: http://127.0.0.1:9, iam: http://127.0.0.1:9 }`;
  writeFileSync(join(folder, 'key'), 'an-api-key', { mode: 0o600 });
  writeFileSync(
    join(folder, 'serve.yaml'),
    `version: 1
receiver: { port: 0 }
serve: { metrics: { port: 0 } }
stores: { one: ${store(crn('eu-de', '1'))}, two: ${store(crn('eu-gb', '2'))} }
links: { main: { primary: one, backups: [two] } }
`,
  );
  const { child, output, errors } = start(['serve', '--config', 'serve.yaml']);
  const logged = (event: string) =>
    errors()
      .split('\n')
      .find((line) => line.includes(`"event":"${event}"`));
  await expect.poll(() => logged('serving')).toBeDefined();
  await expect.poll(() => logged('reconcile_failed')).toContain('"code":"store_unavailable"');
  const { monitor } = JSON.parse(logged('serving') ?? '') as { monitor: string };
  const ready = await fetch(`${monitor}/readyz`);
  expect([ready.status, await ready.json()]).toMatchObject([503, { problems: [{ code: 'notification_key_missing' }] }]);
  expect((await fetch(`${monitor}/healthz`)).status).toBe(200);

  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  expect({ code, output: output() }).toEqual({ code: 0, output: '' });
  expect(logged('stopped')).toBeDefined();
});
