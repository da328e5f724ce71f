import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { freePort } from '../support/free-port.ts';

// Every command, as a process, while it waits for something that never comes: a signal ends it, and
// nothing of it is left.

/** Far more than a command takes. One that ends by itself has another exit code. */
const boundMs = 60_000;
const crn = (guid: string) =>
  `crn:v1:bluemix:public:cloudcerts:eu-de:a/00000000000000000000000000000001:${guid.repeat(8)}-2222-4333-8444-555555555555::`;

let folder: string;
let program: BundledScript;
let deaf: Server;
const connections = new Set<Socket>();
let asked: (() => void)[] = [];
const inFolder = (name: string) => join(folder, name);

/** Accepts, and never answers: a service behind a broken load balancer. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-signals-'));
  program = await bundleScript('src/cli/main.ts');
  deaf = createServer((socket) => {
    connections.add(socket.on('error', () => undefined).on('close', () => connections.delete(socket)));
    for (const tell of asked) tell();
  });
  deaf.listen(0, '127.0.0.1');
  await once(deaf, 'listening');
  await makeFolders(`http://127.0.0.1:${(deaf.address() as { port: number }).port}`);
});
afterAll(async () => {
  for (const socket of connections) socket.destroy();
  deaf.close();
  await program.dispose();
  rmSync(folder, { recursive: true, force: true });
});

async function makeFolders(url: string): Promise<void> {
  const deafStore = (guid: string) =>
    `{ kind: certificate-manager, instance: "${crn(guid)}", apiKey: env:KEY, endpoint: "${url}", iam: "${url}" }`;
  const config = (table: string, port: number) => `version: 1
table: ${table}
receiver: { host: 127.0.0.1, port: ${port} }
serve: { metrics: { port: 0 }, stopWithin: 2s }
stores:
  deaf: ${deafStore('1')}
  deaf2: ${deafStore('2')}
  here: { kind: directory, path: here, id: here, quiet: 0ms }
links: { shop: { primary: deaf, backups: [deaf2] } }
`;
  mkdirSync(inFolder('here'));
  writeFileSync(inFolder('stores.yaml'), config('{ kind: lmdb, path: records }', await freePort()));
  const dynamodb = `{ kind: dynamodb, name: certstandby, region: eu-west-1, endpoint: "${url}" }`;
  writeFileSync(inFolder('table.yaml'), config(dynamodb, await freePort()));
  const { certificate, intermediate = '', privateKey } = await testCertificate();
  mkdirSync(inFolder('archive/shop'), { recursive: true });
  writeFileSync(inFolder('archive/shop/fullchain.pem'), certificate + intermediate);
  writeFileSync(inFolder('archive/shop/privkey.pem'), privateKey.reveal());
}

/** What a command waits for when the signal comes. */
type Waits = 'for an answer' | 'for input' | 'until it is told to stop';

const stores = ['--config', 'stores.yaml'];
const table = ['--config', 'table.yaml'];
const commands: readonly (readonly [Waits, ...string[]])[] = [
  ['for an answer', 'verify', ...stores],
  ['for an answer', 'reconcile', ...stores],
  ['for an answer', 'reconcile', '--plan', ...stores],
  ['for an answer', 'restore', '--from', 'deaf2', ...stores],
  ['for an answer', 'drill', ...stores],
  ['for an answer', 'doctor', ...stores],
  ['for an answer', 'download', '--from', 'deaf', '--to', 'out', '--as', 'pem', '--unencrypted-keys', ...stores],
  ['for an answer', 'import', 'archive', '--into', 'deaf', ...stores],
  ['for an answer', 'adopt', 'some-copy', ...stores],
  ['for an answer', 'serve', ...stores],
  ['for an answer', 'up', ...stores],
  ['for an answer', 'status', ...table],
  ['for an answer', 'events', ...table],
  ['for an answer', 'verify', ...table],
  ['for an answer', 'serve', ...table],
  ['for an answer', 'table', 'create', ...table],
  ['for input', 'download', '--from', 'here', '--to', 'out', '--passphrase-file', '-', ...stores],
  ['for input', 'import', 'archive', '--into', 'here', '--identity', '-', ...stores],
  ['for input', 'instance', 'check', '--recovery', '-', '--folder', 'instances'],
  ['for input', 'instance', 'recover-root-key', '--recovery', '-', '--folder', 'instances'],
  ['until it is told to stop', 'up', '--folder', 'embedded'],
  ['until it is told to stop', 'instance', 'run', '--folder', 'instances', '--port', '0'],
];

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s ends every command, whatever it waits for',
  async (signal) => {
    const made = start(['instance', 'create', '--folder', 'instances', '--region', 'eu-de']);
    await once(made.child, 'close');
    for (const [waits, ...args] of commands) {
      const what = `${args.join(' ')}, ${waits}`;
      const run = start(args);
      await run.waiting(waits, what);
      run.child.kill(signal);
      const [code, by] = await bounded(once(run.child, 'close'), what, run);
      const good = args[0] === 'serve' || args[0] === 'up' || args.slice(0, 2).join(' ') === 'instance run';
      expect({ code, by, errors: run.errors() }, what).toMatchObject({ code: good ? 0 : 130, by: null });
    }
  },
  600_000,
);

interface Run {
  readonly child: ChildProcess;
  errors(): string;
  waiting(waits: Waits, what: string): Promise<void>;
}

function start(args: readonly string[]): Run {
  const asks = new Promise<void>((resolve) => {
    asked.push(resolve);
  });
  const env = { ...process.env, KEY: 'k'.repeat(44), AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
  const child = spawn(process.execPath, [program.file, ...args], { cwd: folder, env, stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stdin.on('error', () => undefined);
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  return {
    child,
    errors: () => said,
    async waiting(waits, what) {
      const ended = once(child, 'close').then(() => Promise.reject(new Error(`${what} ended by itself: ${said}`)));
      const ready = {
        'for an answer': () => asks,
        // More than a pipe holds: it is gone when the command has begun to read.
        'for input': () => new Promise((resolve) => child.stdin.write(Buffer.alloc(256 * 1024, 'x'), resolve)),
        'until it is told to stop': () => once(child.stdout, 'data'),
      }[waits];
      await Promise.race([ready(), ended]);
      ended.catch(() => undefined);
      asked = [];
    },
  };
}

async function bounded<T>(end: Promise<T>, what: string, { child, errors }: Run): Promise<T> {
  const late = setTimeout(() => child.kill('SIGKILL'), boundMs);
  const ended = await end;
  clearTimeout(late);
  if (child.signalCode === 'SIGKILL') throw new Error(`${what} did not end: ${errors()}`);
  return ended;
}
