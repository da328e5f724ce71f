import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { unzipSync } from 'fflate';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startDynalite } from '../support/dynalite.ts';
import { requirePeer } from './peer.ts';

// `npm run deploy:openwhisk` and `remove:openwhisk` as a person runs them, the Serverless Framework
// and its plugin included. The platform is a server of ours that answers as the API of Apache
// OpenWhisk does, and writes down what the `openwhisk` client in the plugin sends.

const root = fileURLToPath(new URL('../..', import.meta.url));
const frameworkFolder = 'infra/openwhisk/node_modules';
const versions = ['serverless', 'serverless-openwhisk', 'openwhisk']
  .map((name) => `'${name} ' + require('./${frameworkFolder}/${name}/package.json').version`)
  .join(" + ', ' + ");
process.chdir(root);
spawnSync(process.execPath, ['infra/install.mjs', 'infra/openwhisk'], { stdio: 'inherit' });
const peer = requirePeer(
  'Serverless Framework for OpenWhisk',
  [process.execPath, '-p', versions],
  'node infra/install.mjs infra/openwhisk, which asks the npm registry',
);

const auth = 'user-of-the-namespace:key-of-the-namespace';
/**
 * No two alike, and found nowhere by chance. What looks like a variable of the framework must
 * arrive as it is.
 */
const secrets = {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the point.
  FRANKFURT_API_KEY: 'frankfurt-${env:HOME}-c0ffee',
  LONDON_API_KEY: 'london-5ecret=with=signs',
  AWS_SECRET_ACCESS_KEY: 'aws-5ecret/with+signs',
};
/** A block of the page for OpenWhisk, as it stands there. */
function readme(name: string): string {
  const found = new RegExp(`<!-- readme-test: ${name} -->\n\`\`\`\\w+\n([^]*?)\`\`\``).exec(
    readFileSync('docs/openwhisk.md', 'utf8'),
  )?.[1];
  if (found === undefined) throw new Error(`docs/openwhisk.md has no block ${name}`);
  return found;
}
const config = `${readme('openwhisk-config')}worker: { reconcileEvery: 90m }\n`;

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever was sent.
  readonly body: any;
}

let folder: string;
let server: Server;
let apiHost: string;
let asked: Asked[] = [];
/** Paths below a namespace that are there. */
const present = new Set<string>();
/** Paths that the platform refuses. */
const refused = new Set<string>();
let commandLines = '';

/** What the API answers, as the documents of Apache OpenWhisk and its client have it. */
function answer({ method, path, query, body }: Asked): [status: number, body: unknown] {
  if (path === 'namespaces') return [200, ['team']];
  // What the plugin lists when all is done.
  if (/^namespaces\/team\/\w+$/.test(path) || path.startsWith('web/whisk.system/apimgmt/')) return [200, []];
  if (refused.has(path))
    return [403, { error: 'The supplied authentication is not authorized to access this resource.', code: 'x' }];
  const missing: [number, unknown] = [404, { error: 'The requested resource does not exist.', code: 'x' }];
  const feed = path.startsWith('namespaces/whisk.system/actions/alarms/');
  if (feed && method === 'POST') {
    const name = `alarm of ${body.triggerName}`;
    const isKnown = body.lifecycleEvent === 'DELETE' ? present.delete(name) : present.add(name).has(name);
    const result = isKnown ? {} : { error: 'no such trigger' };
    return [isKnown ? 200 : 502, { activationId: 'a', response: { success: isKnown, result } }];
  }
  if (method === 'POST' && path.includes('/actions/'))
    return present.has(path) ? [202, { activationId: 'b' }] : missing;
  if (method === 'POST') return present.has(path) ? [200, {}] : missing;
  if (method === 'GET') return present.has(path) ? [200, {}] : missing;
  if (method === 'DELETE') return present.delete(path) ? [200, {}] : missing;
  if (present.has(path) && query !== 'overwrite=true') return [409, { error: 'resource already exists', code: 'x' }];
  present.add(path);
  return [200, { name: path }];
}

/** The command lines of every process, where the system shows them. */
function running(): string {
  const pids = process.platform === 'linux' ? readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : [];
  return pids
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return ''; // It has ended.
      }
    })
    .join('\n');
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-openwhisk-'));
  writeFileSync(join(folder, 'certstandby.yaml'), config);
  server = createServer(async (request, response) => {
    const { pathname, search } = new URL(request.url ?? '', 'http://platform');
    const given = await text(request);
    const body = given === '' ? undefined : JSON.parse(given);
    const one = { method: request.method ?? '', path: pathname.replace('/api/v1/', ''), query: search.slice(1), body };
    asked.push(one);
    commandLines += running();
    const isKnown = request.headers.authorization === `Basic ${Buffer.from(auth).toString('base64')}`;
    const [status, value] = isKnown
      ? answer(one)
      : [401, { error: 'The supplied authentication is invalid', code: 'x' }];
    // It says that it keeps connections, and not for how long.
    const headers = { 'content-type': 'application/json', connection: 'keep-alive' };
    response.writeHead(status, headers).end(JSON.stringify(value));
  });
  // Shorter than anything takes that is done here between two questions.
  server.keepAliveTimeout = 1;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  apiHost = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => {
  asked = [];
  present.clear();
  refused.clear();
});

/** Runs an npm script with what it is told, and nothing else of our own environment. */
async function npm(script: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
  const { PATH = '', TMPDIR = tmpdir() } = process.env;
  const npmSettings = Object.fromEntries(Object.entries(process.env).filter(([name]) => /^npm_config_/i.test(name)));
  const child = spawn('npm', ['run', '--silent', script, '--', ...args], {
    cwd: root,
    env: { ...npmSettings, PATH, TMPDIR, HOME: folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { stdout, stderr, code };
}

const whole = () => ({ OW_APIHOST: apiHost, OW_AUTH: auth, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', ...secrets });
const withAlarms = () => present.add('namespaces/whisk.system/packages/alarms');
const deploy = (...args: string[]) =>
  npm('deploy:openwhisk', ['--config', join(folder, 'certstandby.yaml'), ...args], whole());
const of = (method: string, part: string) => asked.filter((each) => each.method === method && each.path.includes(part));
const pairs = (list: readonly { key: string; value: unknown }[]) =>
  Object.fromEntries(list.map(({ key, value }) => [key, value]));

/** Every file below a folder, packages of others left out. */
function filesBelow(at: string): string[] {
  return readdirSync(at, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules') return [];
    return entry.isDirectory() ? filesBelow(join(at, entry.name)) : entry.isFile() ? [join(at, entry.name)] : [];
  });
}

describe.skipIf(peer === undefined)('deployment to OpenWhisk', () => {
  test('sends the package, the actions with what each may know, and the alarms; and leaves no secret behind', async () => {
    withAlarms();
    const { code, stdout, stderr } = await deploy();
    expect(stderr).not.toMatch(/error/i);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(`  shop  ${apiHost}/api/v1/web/team/certstandby/callback.http/callback/shop\n`);
    expect(stdout).toContain(`--register ${apiHost}/api/v1/web/team/certstandby/callback.http\n`);

    expect(of('PUT', '/packages/')).toEqual([
      {
        method: 'PUT',
        path: 'namespaces/team/packages/certstandby',
        query: 'overwrite=true',
        body: { publish: false },
      },
    ]);

    const exported = JSON.parse(
      spawnSync(
        process.execPath,
        [
          'dist/certstandby.js',
          'config',
          'export',
          '--platform',
          'openwhisk',
          '--config',
          join(folder, 'certstandby.yaml'),
        ],
        { encoding: 'utf8' },
      ).stdout,
    );
    const { FRANKFURT_API_KEY, LONDON_API_KEY, AWS_SECRET_ACCESS_KEY } = secrets;
    const table = { config: exported, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY };
    const stores = { ...table, FRANKFURT_API_KEY, LONDON_API_KEY };
    const worker = { final: true, 'provide-api-key': true };
    const web = {
      ...worker,
      'web-export': true,
      'web-custom-options': true,
      'raw-http': true,
      'require-whisk-auth': false,
    };
    const actions = [
      ['callback', 10_000, table, web],
      ['replicate', 300_000, stores, worker],
      ['sweep', 60_000, table, worker],
      ['reconcile', 300_000, stores, worker],
    ] as const;
    expect(of('PUT', '/actions/')).toHaveLength(actions.length);
    for (const [name, timeout, parameters, annotations] of actions) {
      const [sent] = asked.filter(
        ({ method, path }) => method === 'PUT' && path.endsWith(`/actions/certstandby/${name}`),
      );
      expect(sent).toMatchObject({ path: `namespaces/team/actions/certstandby/${name}`, query: 'overwrite=true' });
      expect(sent?.body.limits).toEqual({ timeout, memory: 256, concurrency: 1 });
      expect(sent?.body.exec).toMatchObject({ kind: 'nodejs:20', main: 'main' });
      expect(pairs(sent?.body.parameters), name).toEqual(parameters);
      expect(pairs(sent?.body.annotations), name).toEqual(annotations);
      const files = unzipSync(Buffer.from(sent?.body.exec.code, 'base64'));
      const { main, ...others } = JSON.parse(Buffer.from(files['package.json'] ?? []).toString());
      expect(others).toEqual({}); // no "type": what it holds is CommonJS
      expect(
        Object.keys(files)
          .filter((file) => !file.endsWith('/'))
          .sort(),
      ).toEqual([main, 'package.json'].sort());
      expect(Buffer.from(files[main] ?? []).equals(readFileSync(`dist/openwhisk/${name}.cjs`))).toBe(true);
      // As the platform loads it: the folder of the zip, and what its package.json says.
      const unzipped = join(folder, 'unzipped', name);
      for (const [file, bytes] of Object.entries(files).filter(([each]) => !each.endsWith('/'))) {
        mkdirSync(dirname(join(unzipped, file)), { recursive: true });
        writeFileSync(join(unzipped, file), bytes);
      }
      expect(typeof createRequire(import.meta.url)(unzipped)[sent?.body.exec.main]).toBe('function');
    }

    for (const [name, minutes] of [
      ['sweep', 1],
      ['reconcile', 90],
    ] as const) {
      const [trigger] = of('PUT', `/triggers/certstandby-${name}`);
      expect(trigger?.body).toEqual({ annotations: [{ key: 'feed', value: '/whisk.system/alarms/interval' }] });
      const feeds = of('POST', '/whisk.system/actions/alarms/interval').filter(({ body }) =>
        body.triggerName.endsWith(name),
      );
      const said = { authKey: auth, triggerName: `/team/certstandby-${name}`, minutes };
      expect(feeds.map(({ body }) => body)).toEqual([
        { lifecycleEvent: 'DELETE', authKey: auth, triggerName: said.triggerName, minutes },
        { lifecycleEvent: 'CREATE', ...said },
      ]);
      const [rule] = of('PUT', `/rules/certstandby-${name}`);
      expect(rule?.body).toEqual({ action: `/team/certstandby/${name}`, trigger: `/team/certstandby-${name}` });
      expect(of('POST', `/rules/certstandby-${name}`).map(({ body }) => body)).toEqual([{ status: 'active' }]);
    }
    expect(asked.at(-1)).toMatchObject({
      method: 'POST',
      path: 'namespaces/team/actions/certstandby/reconcile',
      query: 'blocking=false',
    });

    // The second time everything is there already.
    asked = [];
    const again = await deploy();
    expect(again.code, again.stderr).toBe(0);
    expect(of('PUT', '/actions/')).toHaveLength(4);

    const kept = [...filesBelow('dist'), ...filesBelow('infra'), ...filesBelow(folder)];
    const leaks = (held: string) => [...Object.values(secrets), auth].filter((secret) => held.includes(secret));
    expect(kept.filter((file) => leaks(readFileSync(file, 'latin1')).length > 0)).toEqual([]);
    expect(leaks(stdout + stderr)).toEqual([]);
    if (process.platform === 'linux') expect(commandLines).toContain('serverless.js');
    expect(leaks(commandLines)).toEqual([]);
  });

  test('another kind of Node, and a platform without alarms', async () => {
    const { code, stderr } = await deploy('--kind', 'nodejs:22');
    expect(code).toBe(4);
    expect(stderr).toContain('/whisk.system/alarms');
    expect(asked.every(({ method }) => method === 'GET')).toBe(true);

    const bare = await deploy('--kind', 'nodejs:22', '--without-alarms');
    expect(bare.code, bare.stderr).toBe(0);
    expect(bare.stdout).toContain('certstandby/sweep invoked each minute');
    expect(of('PUT', '/actions/').map(({ body }) => body.exec.kind)).toEqual(Array(4).fill('nodejs:22'));
    expect([...of('PUT', '/triggers/'), ...of('PUT', '/rules/'), ...of('POST', 'whisk.system')]).toEqual([]);
  });

  test('makes the table first, where it is asked to; what keeps it from that ends before anything is deployed', async () => {
    withAlarms();
    const dynamodb = await startDynalite();
    const made = join(folder, 'made.yaml');
    const at = (endpoint: string) =>
      writeFileSync(made, config.replace('region: eu-west-1 }', `region: eu-west-1, endpoint: "${endpoint}" }`));
    const run = () => npm('deploy:openwhisk', ['--config', made, '--create-table'], whole());
    at(dynamodb.endpoint);
    const first = await run();
    expect(first.code, first.stderr).toBe(0);
    expect(first.stdout).toContain('table certstandby in eu-west-1 is made\n');
    expect((await run()).stdout).toContain('table certstandby in eu-west-1 is there already, and stays as it is\n');
    await dynamodb.close();
    asked = [];
    const away = await run();
    expect(away.code, away.stderr).toBe(5);
    expect(away.stderr).toContain('cannot create table certstandby in DynamoDB');
    expect(of('PUT', '')).toEqual([]);
    rmSync(made);
  });

  test('the key and the address that wsk keeps serve too', async () => {
    withAlarms();
    const { OW_APIHOST, OW_AUTH, ...rest } = whole();
    const file = join(folder, 'wskprops');
    writeFileSync(file, `APIHOST=${OW_APIHOST}\nAUTH=${OW_AUTH}\nNAMESPACE=_\n`);
    const args = ['--config', join(folder, 'certstandby.yaml')];
    const { code, stderr } = await npm('deploy:openwhisk', args, { ...rest, WSK_CONFIG_FILE: file });
    expect(code, stderr).toBe(0);
    rmSync(file);
    expect(of('PUT', '/actions/')).toHaveLength(4);
  });

  test('every mistake of file and environment is named at once, and nothing is sent', async () => {
    const bad = join(folder, 'bad.yaml');
    writeFileSync(bad, config.replace('backups: [london]', 'backups: [paris]').replace(/^table.*$/m, ''));
    const file = await npm('deploy:openwhisk', ['--config', bad]);
    expect(file.code).toBe(3);
    for (const word of ['paris', 'table', 'OW_APIHOST', 'OW_AUTH', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'])
      expect(file.stderr).toContain(word);

    const environment = {
      OW_APIHOST: apiHost.replace('127.0.0.1', 'platform.example'),
      OW_AUTH: 'half',
      LONDON_API_KEY: '',
    };
    const args = ['--config', join(folder, 'certstandby.yaml')];
    const { code, stderr } = await npm('deploy:openwhisk', args, environment);
    expect(code).toBe(3);
    for (const word of [
      'plain http://',
      'OW_AUTH is not of the form',
      'FRANKFURT_API_KEY',
      'LONDON_API_KEY',
      'AWS_ACCESS_KEY_ID',
    ])
      expect(stderr).toContain(word);
    expect(stderr).not.toContain('half');
    expect(asked).toEqual([]);
  });

  test('a key that is not accepted, and what the platform refuses, end with 4 and say so', async () => {
    const args = ['--config', join(folder, 'certstandby.yaml')];
    const stranger = await npm('deploy:openwhisk', args, { ...whole(), OW_AUTH: 'some:one' });
    expect(stranger).toMatchObject({ code: 4 });
    expect(stranger.stderr).toContain('OW_AUTH is not accepted');
    expect(asked.map(({ method }) => method)).toEqual(['GET']);

    withAlarms();
    refused.add('namespaces/team/actions/certstandby/sweep');
    const { code, stdout, stderr } = await deploy();
    expect(code).toBe(4);
    expect(stderr).toContain('certstandby/sweep');
    expect(stderr).toContain('403');
    expect(stdout).not.toContain('Callback URLs');

    // The alarms: the plugin alone would say that all went well.
    refused.clear();
    refused.add('namespaces/whisk.system/actions/alarms/interval');
    const silent = await deploy();
    expect(silent.code).toBe(4);
    expect(silent.stderr).toContain('alarms/interval');
    const said = stdout + stderr + silent.stdout + silent.stderr;
    expect([...Object.values(secrets), auth].filter((secret) => said.includes(secret))).toEqual([]);
  });

  test('removal takes away all of it, and says what stayed', async () => {
    withAlarms();
    const before = [...present];
    const deployed = await deploy();
    expect(deployed.code, deployed.stderr).toBe(0);
    const keys = { OW_APIHOST: apiHost, OW_AUTH: auth };
    refused.add('namespaces/team/triggers/certstandby-sweep');
    expect(await npm('remove:openwhisk', [], keys)).toMatchObject({ code: 4 });
    refused.clear();

    asked = [];
    const { code, stdout, stderr } = await npm('remove:openwhisk', [], keys);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('Removed');
    expect([...present]).toEqual(before);
    for (const thing of [
      'packages/certstandby',
      'actions/certstandby/callback',
      'rules/certstandby-sweep',
      'triggers/certstandby-sweep',
    ])
      expect(of('DELETE', thing)).toHaveLength(1);
    const feeds = of('POST', '/alarms/interval').map(({ body }) => [body.lifecycleEvent, body.triggerName]);
    expect(feeds).toContainEqual(['DELETE', '/team/certstandby-sweep']);
  });

  test('wsk, as docs/openwhisk.md has it, gives each action the same', () => {
    const bin = mkdtempSync(join(folder, 'bin-'));
    const calls = join(bin, 'calls');
    // A stand-in for wsk: writes down what it is told, and what is in the file that it is given.
    const fake = `#!${process.execPath}
const { appendFileSync, readFileSync } = require('node:fs');
const at = process.argv.indexOf('--param-file');
const parameters = at < 0 ? undefined : JSON.parse(readFileSync(process.argv[at + 1], 'utf8'));
appendFileSync(${JSON.stringify(calls)}, JSON.stringify({ args: process.argv.slice(2), parameters }) + '\\n');
`;
    writeFileSync(join(bin, 'wsk'), fake, { mode: 0o755 });
    const script = readme('openwhisk-wsk').replace('--config certstandby.yaml', `--config ${folder}/certstandby.yaml`);
    const env = { ...process.env, ...whole(), PATH: `${bin}:${process.env.PATH}`, TMPDIR: bin };
    const { status, stderr } = spawnSync('bash', ['-euc', script], { env, encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    expect(readdirSync(bin).sort()).toEqual(['calls', 'wsk']);

    const said: { args: string[]; parameters?: Record<string, unknown> }[] = readFileSync(calls, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const leaks = Object.values(secrets).filter((secret) => said.some(({ args }) => args.join(' ').includes(secret)));
    expect(leaks).toEqual([]);
    const actions = said.filter(({ args }) => args.slice(0, 2).join(' ') === 'action update');
    const names = (each: (typeof said)[number]) => [each.args[2], Object.keys(each.parameters ?? {}).sort()];
    const table = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'config'];
    const stores = [...table.slice(0, 2), 'FRANKFURT_API_KEY', 'LONDON_API_KEY', 'config'];
    expect(actions.map(names)).toEqual([
      ['certstandby/callback', table],
      ['certstandby/replicate', stores],
      ['certstandby/sweep', table],
      ['certstandby/reconcile', stores],
    ]);
    expect(actions[1]?.parameters).toMatchObject({ ...secrets, config: { platform: 'openwhisk' } });
    for (const { args } of actions) {
      expect(args.join(' ')).toContain(
        '--kind nodejs:20 --memory 256 -a final true -a provide-api-key true --timeout ',
      );
      expect(existsSync(args[3] ?? '')).toBe(true);
    }
    expect(said.filter(({ args }) => args[0] === 'rule').map(({ args }) => args.at(-1))).toEqual([
      'certstandby/sweep',
      'certstandby/reconcile',
    ]);
  });
});
