import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { runCommand, testHost } from '../support/command.ts';
import { freePort } from '../support/free-port.ts';
import { type Pebble, startPebble } from './pebble.ts';
import { requirePeer } from './peer.ts';
import { requireLibrary } from './pypi.ts';

// The recipes of docs/hooks.md, as they stand there, run by the tools that they are for, which get
// their certificates from an authority. Only what stands below /etc and /srv lies elsewhere.

const page = readFileSync('docs/hooks.md', 'utf8');
const install = 'apt-get install pebble';
const pebblePeers = [
  requirePeer('pebble', ['sh', '-c', 'pebble -h 2>&1'], install),
  requirePeer('pebble-challtestsrv', ['sh', '-c', 'pebble-challtestsrv -h 2>&1'], install),
];
const noAuthority = pebblePeers.includes(undefined);
const certbot = requireLibrary('certbot', '5.8.0');
const lego = requirePeer('lego', ['lego', '--version'], 'apt-get install lego');

/** The block of the page behind the comment of this name. */
function recipe(name: string): string {
  const text = new RegExp(`<!-- hooks-test: ${name} -->\n\`\`\`\\w+\n([^]*?)\`\`\``).exec(page)?.[1];
  if (text === undefined) throw new Error(`docs/hooks.md has no block "${name}"`);
  return text;
}

let script: BundledScript;
let pebble: Pebble;
beforeAll(async () => {
  if (noAuthority) return;
  // Certbot asks again once only: two refusals in a row would end it, and are not looked at here.
  [script, pebble] = await Promise.all([bundleScript('src/cli/main.ts'), startPebble({ refusedNonces: 0 })]);
});
afterAll(async () => {
  await pebble?.close();
  await script?.dispose();
});

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A machine on which everything of the page has been done, with its folders in one place. */
async function machine(liveFolder: string) {
  const root = mkdtempSync(join(tmpdir(), 'certstandby-hooks-'));
  cleanUps.push(() => rmSync(root, { recursive: true, force: true }));
  const here = (text: string) => text.replaceAll(/(?<![\w.])\/(etc|srv)\//g, `${root}/$1/`);
  const write = (path: string, text: string, mode = 0o600): string => {
    const file = path.startsWith('/') ? here(path) : join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    chmodSync(file, mode);
    return file;
  };
  const bin = dirname(write('bin/certstandby', `#!/bin/sh\nexec "${process.execPath}" "${script.file}" "$@"\n`, 0o700));
  mkdirSync(here('/etc/certstandby/'), { recursive: true });
  mkdirSync(join(root, liveFolder), { recursive: true });
  mkdirSync(here('/srv/copies'), { recursive: true, mode: 0o700 });
  const port = await freePort();
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}`, HOME: root };

  /** Runs a program to its end; everything that it said. */
  const run = (program: string, args: readonly string[], more: Readonly<Record<string, string>> = {}) =>
    new Promise<{ readonly code: number | null; readonly said: string }>((resolve) => {
      let said = '';
      const child = spawn(program, args, { cwd: root, env: { ...env, ...more } });
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text) => (said += text));
      child.once('close', (code) => resolve({ code, said }));
    });

  const address = `http://127.0.0.1:${port}`;
  const made = await run('sh', ['-ec', here(recipe('key')).replace('https://standby.example.com', address)]);
  expect(made, made.said).toMatchObject({ code: 0 });
  const publicKey = /whpk_[A-Za-z0-9+/=]+/.exec(made.said)?.[0] ?? '';
  const config = here(recipe('config'))
    .replace(/whpk_[A-Za-z0-9+/=]+/, publicKey)
    .replace(/path: \S*live,/, `path: ${join(root, liveFolder)},`);
  const rest = `receiver: { port: ${port} }\nworker: { sweepEvery: 1s }\nserve: { metrics: { port: 0 } }\n`;
  const file = write('etc/certstandby.yaml', `version: 1\ntable: { kind: lmdb, path: records }\n${rest}${config}`);
  const serve = () => {
    const host = testHost();
    const ended = runCommand(['serve', '--config', file], host);
    let stopped = false;
    const stop = () => {
      // A second signal would end it at once, and loudly.
      if (!stopped) host.signal('SIGTERM');
      stopped = true;
      return ended;
    };
    cleanUps.push(stop);
    return { host, stop };
  };
  const copies = () =>
    readdirSync(here('/srv/copies'))
      .filter((id) => !id.startsWith('.'))
      .map((id) => join(here('/srv/copies'), id, 'current', 'fullchain.pem'))
      .filter((path) => existsSync(path))
      .map((path) => readFileSync(path, 'utf8'));
  return { root, here, write, run, serve, copies };
}

/** What the log says of a message that a hook has sent. */
const taken = /"sender":"hook".*"outcome":"acknowledged"/;

describe.skipIf(noAuthority || certbot === undefined)('certbot', () => {
  test('tells of a renewal by its deploy hook, also where the receiver comes later than the hook', async () => {
    const { root, here, write, run, serve, copies } = await machine('etc/letsencrypt/live');
    write('/etc/letsencrypt/renewal-hooks/deploy/certstandby', here(recipe('certbot')), 0o700);
    const publish = write(
      'bin/publish',
      `#!/bin/sh\nexec ${pebble.hook} add "_acme-challenge.$CERTBOT_DOMAIN" "$CERTBOT_VALIDATION"\n`,
      0o700,
    );
    const withdraw = write('bin/withdraw', readFileSync(publish, 'utf8').replace(' add ', ' remove '), 0o700);
    const trust = write('etc/authority.pem', pebble.trust);
    const start = ['python3', '-c', 'import sys; from certbot.main import main; sys.exit(main())'];
    const [program, ...args] = certbot?.(...start) ?? [''];
    const folders = [
      '--config-dir',
      here('/etc/letsencrypt'),
      '--work-dir',
      join(root, 'w'),
      '--logs-dir',
      join(root, 'l'),
    ];
    const call = (...more: readonly string[]) =>
      run(program, [...args, ...more, ...folders], { REQUESTS_CA_BUNDLE: trust });
    const manual = [
      '--manual',
      '--preferred-challenges',
      'dns',
      '--manual-auth-hook',
      publish,
      '--manual-cleanup-hook',
      withdraw,
    ];
    const agreed = ['--non-interactive', '--agree-tos', '--email', 'tls@example.com', '--server', pebble.directory];
    const first = await call('certonly', ...manual, ...agreed, '-d', 'www.example.com', '--no-directory-hooks');
    expect(first, first.said).toMatchObject({ code: 0 });

    const fullchain = join(here('/etc/letsencrypt/live'), 'www.example.com', 'fullchain.pem');
    const before = readFileSync(fullchain, 'utf8');
    const one = serve();
    await expect.poll(copies, { timeout: 60_000 }).toEqual([before]);
    await one.stop();

    const renewing = call('renew', '--force-renewal', '--no-random-sleep-on-renew');
    await expect.poll(() => readFileSync(fullchain, 'utf8'), { timeout: 60_000 }).not.toBe(before);
    const { host } = serve();
    const renewed = await renewing;
    expect(renewed, renewed.said).toMatchObject({ code: 0 });
    // Certbot calls all that a hook writes to stderr its error output: also that it tries again.
    expect(renewed.said).not.toMatch(/reported error code/);
    expect(host.errors()).toMatch(taken);
    await expect.poll(copies, { timeout: 60_000 }).toEqual([readFileSync(fullchain, 'utf8')]);
    expect(host.errors()).not.toContain('hints_match_nothing');
  });
});

describe.skipIf(noAuthority || lego === undefined)('lego', () => {
  let publisher = '';
  beforeAll(() => {
    publisher = `#!/bin/sh
action=remove
[ "$1" = present ] && action=add
exec ${pebble.hook} $action "\${2%.}" "$3"
`;
  });

  test('tells of a renewal by a hook that is a file', async () => {
    const { root, here, write, run, serve, copies } = await machine('.lego/certificates');
    write('/etc/certstandby/lego-hook', here(recipe('lego-hook')), 0o700);
    const publish = write('bin/publish', publisher, 0o700);
    const env = { EXEC_PATH: publish, LEGO_CA_CERTIFICATES: write('etc/authority.pem', pebble.trust) };
    const dns = `--dns exec --dns.resolvers ${pebble.dnsServer} --dns.disable-cp`;
    const line = here(recipe('lego'))
      .trim()
      .replace('lego --domains', `lego --server ${pebble.directory} --accept-tos --domains`)
      .replace(' --http ', ` ${dns} `);
    const first = await run('sh', ['-c', line.replace(/ renew .*$/, ' run')], env);
    expect(first, first.said).toMatchObject({ code: 0 });
    const crt = join(root, '.lego/certificates/www.example.com.crt');
    const before = readFileSync(crt, 'utf8');
    const { host } = serve();
    await expect.poll(() => copies().length, { timeout: 60_000 }).toBe(1);

    const renewed = await run('sh', ['-c', `${line} --days 100 --no-random-sleep`], env);
    expect(renewed, renewed.said).toMatchObject({ code: 0 });
    expect(readFileSync(crt, 'utf8')).not.toBe(before);
    expect(host.errors()).toMatch(taken);
    const leafOf = (pem: string) => pem.slice(0, pem.indexOf('-----END CERTIFICATE-----'));
    await expect.poll(() => copies().map(leafOf), { timeout: 60_000 }).toEqual([leafOf(readFileSync(crt, 'utf8'))]);
    expect(host.errors()).not.toContain('hints_match_nothing');
  });

  test('takes no line with variables for a hook, as the page says', async () => {
    const { write, run } = await machine('.lego/certificates');
    const publish = write('bin/publish', publisher, 0o700);
    const env = { EXEC_PATH: publish, LEGO_CA_CERTIFICATES: write('etc/authority.pem', pebble.trust) };
    const always = [
      '--server',
      pebble.directory,
      '--accept-tos',
      '--domains',
      'www.example.com',
      '--email',
      'tls@example.com',
    ];
    const dns = ['--dns', 'exec', '--dns.resolvers', pebble.dnsServer, '--dns.disable-cp'];
    const { said } = await run(
      'lego',
      [...always, ...dns, 'run', '--run-hook', 'echo told of "$LEGO_CERT_DOMAIN"'],
      env,
    );
    expect(said).toContain('told of "$LEGO_CERT_DOMAIN"');
  });
});

describe.skipIf(noAuthority)('cron', () => {
  test('says that something has changed, by a line that a shell takes', async () => {
    const { here, write, run, serve } = await machine('etc/letsencrypt/live');
    write('bin/renew-everything', '#!/bin/sh\n', 0o700);
    const { host } = serve();
    await expect.poll(() => host.errors()).toContain('"event":"serving"');
    const [, line = ''] = /^(?:\S+ ){5}(.*)\n$/.exec(here(recipe('cron'))) ?? [];
    const ended = await run('sh', ['-c', line]);
    expect(ended, ended.said).toMatchObject({ code: 0, said: expect.stringContaining('says acknowledged: a change') });
    expect(host.errors()).toMatch(taken);
  });
});
