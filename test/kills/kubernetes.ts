import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { accessOf } from '../../src/services/kubernetes/access.ts';
import { apiOf } from '../../src/services/kubernetes/api.ts';
import { kubernetesStore } from '../../src/services/kubernetes/store.ts';
import { wholeMark } from '../../src/store/mark.ts';
import type { Store } from '../../src/store/store.ts';
import { type Cluster, requireKubernetes, startKubernetes } from '../peers/kube-apiserver.ts';
import { seededRandom } from '../simulation/virtual-time.ts';
import { testCertificate } from '../support/certificates.ts';
import { root } from '../support/root.ts';
import { listedFully } from './listed.ts';

/** Certificates that come, change and go while the killing lasts. */
const subjects = 12;
const versionsEach = 4;
/** How long a victim lives, at most, before the next one is chosen. Milliseconds. */
const lifeMs = 1_500;

interface Result {
  readonly deaths: ReadonlyMap<string, number>;
  readonly changes: number;
  readonly copies: number;
  /** Every promise that does not hold, in words. */
  readonly broken: readonly string[];
}

/**
 * The program as it is shipped (`serve`, in a process of its own), the API server and etcd are
 * killed at random moments while secrets come, change and go; then it becomes quiet, and what is
 * left is held against the promises: each original has one copy, equal to it, and nothing else was
 * touched. Needs what `npm run build` makes.
 */
export async function killInCluster({
  kills,
  seed,
}: {
  readonly kills: number;
  readonly seed: number;
}): Promise<Result> {
  const programs = requireKubernetes();
  if (programs === undefined) throw new Error('there is no kube-apiserver to kill');
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-kills-kubernetes-'));
  const cluster = await startKubernetes(programs);
  const random = seededRandom(seed);
  const deaths = new Map<string, number>();
  let worker: ChildProcess | undefined;
  try {
    for (const namespace of ['from', 'to']) await cluster.namespace(namespace);
    const config = writeConfig(folder, cluster);
    const strangers = await addStrangers(cluster);
    const load = await startLoad(cluster, seededRandom(seed + 1));
    const startWorker = () => {
      worker = spawn(process.execPath, [join(root, 'dist/certstandby.js'), 'serve', '--config', config], {
        stdio: 'ignore',
      });
    };
    startWorker();
    for (let kill = 0; kill < kills; kill += 1) {
      await wait(random() * lifeMs);
      const victim = victimOf(random());
      deaths.set(victim, (deaths.get(victim) ?? 0) + 1);
      if (victim === 'worker') {
        await end(worker);
        startWorker();
        // Often enough it is far enough to do harm.
        if (random() < 0.7) await wait(1_000);
        continue;
      }
      await cluster.kill(victim);
      await wait(random() * 500);
      if (victim === 'etcd') {
        await cluster.start('etcd');
        // Without its store it ends by itself now and then.
        await cluster.kill('kube-apiserver');
        await cluster.start('kube-apiserver');
      } else await cluster.start(victim);
    }
    const changes = await load.stop();
    // Until what is doubtful has settled, and everything that is due was looked at.
    await wait(15_000);
    await end(worker);
    const broken = [
      ...(await commandFails(config, 'reconcile')),
      ...(await commandFails(config, 'verify')),
      ...(await compare(cluster)),
    ];
    if ((await addStrangers(cluster)) !== strangers) broken.push('a secret of somebody else was touched');
    const copies = (await listedFully(storeAt(cluster, 'to'))).certificates.length;
    return { deaths, changes, copies, broken };
  } finally {
    await end(worker);
    await cluster.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function victimOf(chance: number): 'worker' | 'kube-apiserver' | 'etcd' {
  if (chance < 0.7) return 'worker';
  return chance < 0.85 ? 'kube-apiserver' : 'etcd';
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function writeConfig(folder: string, cluster: Cluster): string {
  writeFileSync(join(folder, 'token'), cluster.tokens.admin, { mode: 0o600 });
  const reach = `server: "${cluster.url}", ca: ${cluster.trustFile}, tokenFile: token, settles: 3s`;
  const path = join(folder, 'certstandby.yaml');
  writeFileSync(
    path,
    `version: 1
receiver: { port: 0 }
serve: { metrics: { port: 0 } }
worker: { sweepEvery: 1s, reconcileEvery: 5s }
stores:
  from: { kind: kubernetes, id: from, namespaces: [from], ${reach} }
  to: { kind: kubernetes, id: to, namespaces: [to], ${reach} }
links:
  main: { primary: from, backups: [to], policy: { brakeShare: 1, onDelete: retain } }
`,
    { mode: 0o600 },
  );
  return path;
}

const path = (namespace: string, name = '') => `/api/v1/namespaces/${namespace}/secrets${name && `/${name}`}`;

/** Secrets of others in the backup. Answers what they are, to the last byte. */
async function addStrangers(cluster: Cluster): Promise<string> {
  const { data } = secretOf('stranger', await testCertificate());
  const body = { metadata: { name: 'stranger' }, type: 'kubernetes.io/tls', data };
  if ((await cluster.status('GET', path('to', 'stranger'))) === 404) await cluster.ask('POST', path('to'), body);
  return JSON.stringify(await cluster.ask('GET', path('to', 'stranger')));
}

function secretOf(name: string, { certificate, intermediate = '', privateKey }: CertificatePem) {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': base64(certificate + intermediate), 'tls.key': base64(privateKey?.reveal() ?? '') },
  };
}

/**
 * Makes, changes and deletes originals without end; what fails while servers are dead is nothing.
 */
async function startLoad(cluster: Cluster, random: () => number) {
  const versions = await Promise.all(
    Array.from({ length: subjects }, (_, subject) =>
      Promise.all(
        Array.from({ length: versionsEach }, () => testCertificate({ domains: [`n${subject}.example.test`] })),
      ),
    ),
  );
  const stopping = new AbortController();
  let changes = 0;
  const apply = { contentType: 'application/apply-patch+yaml' };
  const put = async (subject: number, version: number) => {
    const pem = versions[subject]?.[version];
    if (pem === undefined) return;
    const name = `n${subject}`;
    await cluster.ask('PATCH', `${path('from', name)}?fieldManager=load&force=true`, secretOf(name, pem), apply);
  };
  const step = async () => {
    const subject = Math.floor(random() * subjects);
    const kind = random();
    if (kind < 0.9) await put(subject, Math.floor(random() * versionsEach));
    else await cluster.status('DELETE', path('from', `n${subject}`));
    changes += 1;
  };
  const running = (async () => {
    while (!stopping.signal.aborted) {
      await step().catch(() => {});
      await wait(random() * 40);
    }
  })();
  return {
    async stop(): Promise<number> {
      stopping.abort();
      await running;
      for (let subject = 0; subject < subjects; subject += 1) await put(subject, 0);
      return changes;
    },
  };
}

async function commandFails(config: string, command: string): Promise<readonly string[]> {
  const child = spawn(process.execPath, [join(root, 'dist/certstandby.js'), command, '--config', config], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
  const [code] = await once(child, 'exit');
  return code === 0 ? [] : [`certstandby ${command} ended with ${code}: ${said}`];
}

function storeAt(cluster: Cluster, namespace: string): Store {
  const token = new Secret(cluster.tokens.admin);
  const by = { by: 'token', server: cluster.url, ca: cluster.trustFile, token } as const;
  const api = apiOf(accessOf(by, { runtime, secret: () => token }), runtime);
  return kubernetesStore({ id: namespace, region: 'cluster', api, runtime, namespaces: [namespace] });
}

/** What is lost, doubled or unreadable: by reading both sides, trusting no record. */
async function compare(cluster: Cluster): Promise<readonly string[]> {
  const [from, to] = [storeAt(cluster, 'from'), storeAt(cluster, 'to')];
  const broken: string[] = [];
  const fingerprintAt = async (store: Store, id: string): Promise<string> => {
    const found = await store.read(id);
    if (found.state === 'present') return fingerprintOf(found.value.content);
    broken.push(`${id} is ${found.state}`);
    return found.state;
  };
  const copies = new Map<string, string[]>();
  for (const { id, mark } of (await listedFully(to)).certificates) {
    const original = wholeMark(mark)?.certificate;
    if (original !== undefined) copies.set(original, [...(copies.get(original) ?? []), id]);
  }
  for (const { id } of (await listedFully(from)).certificates) {
    const [copy, ...others] = copies.get(id) ?? [];
    if (copy === undefined) broken.push(`${id} has no copy`);
    else if ((await fingerprintAt(from, id)) !== (await fingerprintAt(to, copy))) broken.push(`${copy} is not equal`);
    if (others.length > 0) broken.push(`${id} has ${others.length + 1} copies`);
  }
  return broken;
}
