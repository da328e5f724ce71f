import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import { freePort } from '../support/free-port.ts';
import { root } from '../support/root.ts';
import { requirePeer } from './peer.ts';

/**
 * Asks for kube-apiserver and etcd, and builds them the first time; their folder, or `undefined`
 * and one loud line where they cannot be had.
 */
export function requireKubernetes(): string | undefined {
  const builder = join(root, 'test/peers/kube-apiserver/build.sh');
  const built = spawnSync(builder, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const folder = built.stdout.trim();
  const hint = `${builder}, with Go and its module proxy`;
  const version = requirePeer('kube-apiserver', [join(folder, 'kube-apiserver'), '--version'], hint);
  const etcd = requirePeer('etcd', [join(folder, 'etcd'), '--version'], hint);
  return version === undefined || etcd === undefined ? undefined : folder;
}

/** A cluster without nodes and controllers: its API server, and what that keeps. */
export interface Cluster {
  readonly url: string;
  /** PEM of the authority of its certificate, and the path of that file. */
  readonly trust: string;
  readonly trustFile: string;
  /** A folder of its own for files of a test. */
  readonly folder: string;
  /**
   * Tokens of users: everything is allowed to the first, nothing to the second as long as no one
   * says so.
   */
  readonly tokens: { readonly admin: string; readonly standby: string };
  /**
   * Asks as somebody who may do everything. Throws for what is no success, unless it may be one of
   * these.
   */
  ask<T = Answered>(method: string, path: string, body?: object, options?: AskOptions): Promise<T>;
  status(method: string, path: string, body?: object, options?: AskOptions): Promise<number>;
  /** Makes a namespace of a new name. */
  namespace(name?: string): Promise<string>;
  /**
   * Forgets all versions of objects before now, and starts the API server anew: watches find that
   * out.
   */
  compact(): Promise<void>;
  /** A kubeconfig with this as its only user; answers its path. */
  kubeconfig(user: object, name?: string): string;
  /** A certificate for a client, and its key. */
  clientCertificate(user: string, group: string): { readonly certificate: string; readonly key: string };
  /** Ends a server in the middle of everything, and starts it again on what it kept. */
  kill(which: 'etcd' | 'kube-apiserver'): Promise<void>;
  start(which: 'etcd' | 'kube-apiserver'): Promise<void>;
  close(): Promise<void>;
}

export interface AskOptions {
  readonly token?: string;
  readonly contentType?: string;
  readonly accept?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: what an API server answers is what is looked at
type Answered = any;

/** Starts both on 127.0.0.1, and waits until they can be asked. */
export async function startKubernetes(programs: string): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-kubernetes-'));
  const [clientPort, peerPort, port] = await Promise.all([1, 2, 3].map(freePort));
  const ca = await createDevelopmentCa({ name: 'Cluster', now: Date.now, intermediates: 0 });
  const tls = await ca.issue({ domains: ['127.0.0.1', 'localhost'], notAfter: Date.now() + 86_400_000 });
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const tokens = { admin: randomBytes(16).toString('hex'), standby: randomBytes(16).toString('hex') };
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signing = file('sa.key', privateKey.export({ type: 'pkcs1', format: 'pem' }).toString());
  const trustFile = file('ca.crt', ca.rootPem);
  const openssl = (...args: readonly string[]) => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  };
  const clients = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  openssl('req', ...clients, '-subj', '/CN=clients', '-keyout', 'clients.key', '-out', 'clients.crt');
  const tokenFile = file(
    'tokens.csv',
    `${tokens.admin},admin,admin,"system:masters"\n${tokens.standby},standby,standby\n`,
  );
  mkdirSync(join(folder, 'certificates'));
  const etcdUrl = `http://127.0.0.1:${clientPort}`;
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  const commands = {
    etcd: [
      ...['--data-dir', join(folder, 'etcd'), '--log-level', 'error'],
      ...['--listen-client-urls', etcdUrl, '--advertise-client-urls', etcdUrl],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', `default=${peerUrl}`],
    ],
    'kube-apiserver': [
      `--etcd-servers=${etcdUrl}`,
      ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', `--secure-port=${port}`],
      ...['--endpoint-reconciler-type=none', '--service-cluster-ip-range=10.0.0.0/24', '--authorization-mode=RBAC'],
      `--tls-cert-file=${file('server.crt', tls.certificate)}`,
      `--tls-private-key-file=${file('server.key', tls.privateKey.reveal())}`,
      `--client-ca-file=${join(folder, 'clients.crt')}`,
      `--cert-dir=${join(folder, 'certificates')}`,
      `--token-auth-file=${tokenFile}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      ...[`--service-account-key-file=${signing}`, `--service-account-signing-key-file=${signing}`],
    ],
  } as const;
  const running = new Map<keyof typeof commands, ChildProcess>();
  const url = `https://127.0.0.1:${port}`;

  const send = (method: string, path: string, body: object | undefined, options: AskOptions) =>
    new Promise<{ readonly status: number; readonly body: string }>((resolve, reject) => {
      const { token = tokens.admin, contentType = 'application/json', accept = 'application/json' } = options;
      const headers = { authorization: `Bearer ${token}`, accept, 'content-type': contentType };
      const sent = request(`${url}${path}`, { method, headers, ca: ca.rootPem }, (answer) => {
        text(answer).then((read) => resolve({ status: answer.statusCode ?? 0, body: read }), reject);
      });
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });

  async function start(which: keyof typeof commands): Promise<void> {
    const child = spawn(join(programs, which), commands[which], { stdio: ['ignore', 'ignore', 'pipe'] });
    running.set(which, child);
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-4_000);
    });
    if (which === 'etcd') return;
    for (let attempt = 0; attempt < 600; attempt += 1) {
      if (child.exitCode !== null) throw new Error(`kube-apiserver ended with ${child.exitCode}: ${said}`);
      const answer = await send('GET', '/readyz', undefined, {}).catch(() => undefined);
      if (answer?.status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`kube-apiserver does not get ready: ${said}`);
  }

  async function kill(which: keyof typeof commands): Promise<void> {
    const child = running.get(which);
    running.delete(which);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  let made = 0;
  const cluster: Cluster = {
    url,
    trust: ca.rootPem,
    trustFile,
    folder,
    tokens,
    async ask<T>(method: string, path: string, body?: object, options: AskOptions = {}): Promise<T> {
      const answer = await send(method, path, body, options);
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
      return JSON.parse(answer.body) as T;
    },
    status: async (method, path, body, options = {}) => (await send(method, path, body, options)).status,
    async namespace(name) {
      made += 1;
      const wanted = name ?? `ns-${made}`;
      await cluster.ask('POST', '/api/v1/namespaces', { metadata: { name: wanted } });
      return wanted;
    },
    async compact() {
      const post = async (path: string, body: object) =>
        (await fetch(`${etcdUrl}/v3/kv/${path}`, { method: 'POST', body: JSON.stringify(body) })).json();
      const { header } = (await post('range', { key: Buffer.from('x').toString('base64') })) as {
        header: { revision: string };
      };
      await kill('kube-apiserver');
      await post('compaction', { revision: header.revision, physical: true });
      await start('kube-apiserver');
    },
    kubeconfig(user, name = `kubeconfig-${randomBytes(4).toString('hex')}`) {
      const cluster = { server: url, 'certificate-authority': 'ca.crt' };
      return file(
        name,
        JSON.stringify({
          apiVersion: 'v1',
          kind: 'Config',
          'current-context': 'test',
          contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
          clusters: [{ name: 'test', cluster }],
          users: [{ name: 'test', user }],
        }),
      );
    },
    clientCertificate(user, group) {
      const name = `client-${randomBytes(4).toString('hex')}`;
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
      openssl('req', ...key, '-subj', `/O=${group}/CN=${user}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
      const extensions = file(`${name}.ext`, 'extendedKeyUsage=clientAuth\n');
      const by = ['-CA', 'clients.crt', '-CAkey', 'clients.key', '-CAcreateserial', '-days', '1'];
      openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-extfile', extensions, '-out', `${name}.crt`);
      return { certificate: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
    },
    kill,
    start,
    async close() {
      await kill('kube-apiserver');
      await kill('etcd');
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await start('etcd');
    await start('kube-apiserver');
  } catch (thrown) {
    await cluster.close();
    throw thrown;
  }
  return cluster;
}

/** The field manager under which cert-manager writes. */
export const certManager = 'cert-manager-certificates-issuing';

/**
 * Writes a secret as cert-manager does: by server-side apply under its own field manager, data,
 * labels and annotations in one request. The controller itself is not here.
 */
export async function issueAsCertManager(
  cluster: Cluster,
  id: string,
  { certificate, intermediate = '', privateKey }: CertificatePem,
): Promise<void> {
  const [namespace, name] = id.split('/');
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const body = {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/tls',
    metadata: {
      name,
      namespace,
      labels: { 'controller.cert-manager.io/fao': 'true' },
      annotations: {
        'cert-manager.io/certificate-name': name,
        'cert-manager.io/issuer-name': 'letsencrypt',
        'cert-manager.io/issuer-kind': 'ClusterIssuer',
        'cert-manager.io/issuer-group': 'cert-manager.io',
      },
    },
    data: { 'tls.crt': base64(certificate + intermediate), 'tls.key': base64(privateKey?.reveal() ?? '') },
  };
  const path = `/api/v1/namespaces/${namespace}/secrets/${name}?fieldManager=${certManager}&force=true`;
  await cluster.ask('PATCH', path, body, { contentType: 'application/apply-patch+yaml' });
}

/**
 * Deletes a namespace, and does what the namespace controller does, which is not here: takes
 * everything out of it, then lets it go.
 */
export async function endNamespace(cluster: Cluster, namespace: string): Promise<void> {
  await cluster.ask('DELETE', `/api/v1/namespaces/${namespace}`);
  await cluster.ask('DELETE', `/api/v1/namespaces/${namespace}/secrets`);
  const found = await cluster.ask('GET', `/api/v1/namespaces/${namespace}`);
  await cluster.ask('PUT', `/api/v1/namespaces/${namespace}/finalize`, { ...found, spec: { finalizers: [] } });
}
