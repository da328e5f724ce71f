import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { createInterface } from 'node:readline';
import { compose, type Program } from '../../src/compose/program.ts';
import type { Config } from '../../src/config.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { type Cluster, requireKubernetes, startKubernetes } from '../peers/kube-apiserver.ts';
import { testCertificate } from '../support/certificates.ts';
import type { Report } from './report.ts';
import { quantile } from './statistics.ts';

const estate = 5_000;
const changed = 50;
const rounds = 60;
const events = 10_000;
/** Requests that one changed certificate may take, beside the pages of the listings. */
const requestsEach = 5;

/**
 * Two real clusters: from a write in one to the copy in the other, beside a bare watch that puts
 * each secret as it comes; a reconcile of a whole estate; memory over many events.
 */
export async function measureKubernetes(report: Report): Promise<void> {
  const programs = requireKubernetes();
  if (programs === undefined) return report.wrong('there is no kube-apiserver to measure with');
  const [from, to] = await Promise.all([startKubernetes(programs), startKubernetes(programs)]);
  try {
    for (const cluster of [from, to]) for (const name of ['ours', 'bare', 'estate']) await cluster.namespace(name);
    await measureLag(report, from, to);
    await measureEstate(report, from, to);
    await measureMemory(report, from);
  } finally {
    await Promise.all([from.close(), to.close()]);
  }
}

/** The program on two namespaces of the same name. */
function openProgram(from: Cluster, to: Cluster, namespace: string): Promise<Program> {
  const store = (name: string, cluster: Cluster) => {
    const token = new Secret(cluster.tokens.admin);
    const access = { by: 'token', server: cluster.url, ca: cluster.trustFile, token } as const;
    return { name, kind: 'kubernetes', region: name, id: `${name}-${namespace}`, namespaces: [namespace], access };
  };
  const config: Config = {
    table: { kind: 'lmdb', path: '' },
    receiver: { host: '127.0.0.1', port: 0 },
    worker: { concurrency: 16, sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 },
    stores: [store('from', from), store('to', to)],
    links: [
      {
        name: 'bench',
        primary: 'from',
        backups: ['to'],
        filter: { names: [], domains: [] },
        policy: { requireChain: false, onward: false },
        naming: 'exact',
      },
    ],
  };
  return compose(config, { runtime, log: silentLog, table: memoryTable() });
}

const base64 = (text: string) => Buffer.from(text).toString('base64');
const collection = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`;

/** Data of a secret that nothing else has. */
async function newData(): Promise<Readonly<Record<string, string>>> {
  const { certificate, intermediate = '', privateKey } = await testCertificate();
  return { 'tls.crt': base64(certificate + intermediate), 'tls.key': base64(privateKey.reveal()) };
}

const secretOf = (name: string, data: object) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name },
  type: 'kubernetes.io/tls',
  data,
});

/** Full objects of a namespace as they change, until it is closed. */
async function watchBare(cluster: Cluster, namespace: string, seen: (type: string, object: Changed) => void) {
  const { metadata } = await cluster.ask('GET', collection(namespace));
  const path = `${collection(namespace)}?watch=1&resourceVersion=${metadata.resourceVersion}`;
  const headers = { authorization: `Bearer ${cluster.tokens.admin}` };
  const sent = request(`${cluster.url}${path}`, { headers, ca: cluster.trust }, (answer: IncomingMessage) => {
    const lines = createInterface({ input: answer });
    // It is ended from here.
    lines.on('error', () => {});
    lines.on('line', (line) => {
      const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: Changed };
      seen(type, object);
    });
  });
  sent.on('error', () => {});
  sent.end();
  return { close: () => sent.destroy() };
}

interface Changed {
  readonly metadata: { readonly name: string };
  readonly data: Readonly<Record<string, string>>;
}

/** From the write of a secret in one cluster to its copy in the other; both take turns. */
async function measureLag(report: Report, from: Cluster, to: Cluster): Promise<void> {
  report.heading(
    'Kubernetes: from a write in one cluster to the copy in the other, ms, against a bare watch and a PUT',
  );
  const arrived = new Map<string, () => void>();
  const seen = (_type: string, { data }: Changed) => arrived.get(data['tls.crt'] ?? '')?.();
  const watches = await Promise.all(['ours', 'bare'].map((namespace) => watchBare(to, namespace, seen)));
  const first = secretOf('shop', await newData());
  for (const namespace of ['ours', 'bare']) await from.ask('POST', collection(namespace), first);
  await to.ask('POST', collection('bare'), first);
  const bare = await watchBare(from, 'bare', (_type, { data }) => {
    void to.ask('PUT', `${collection('bare')}/shop`, secretOf('shop', data));
  });
  const program = await openProgram(from, to, 'ours');
  const [link] = program.links;
  if (link === undefined) throw new Error('there is no link');
  await program.reconcile(link);
  await program.dispatch.idle();
  const watching = program.watch();
  await runtime.wait(1_000);
  const times: Record<string, number[]> = { ours: [], bare: [] };
  for (let round = -10; round < rounds; round += 1)
    for (const namespace of ['ours', 'bare']) {
      const data = await newData();
      const copied = new Promise<void>((resolve) => void arrived.set(data['tls.crt'] ?? '', resolve));
      const started = performance.now();
      await from.ask('PUT', `${collection(namespace)}/shop`, secretOf('shop', data));
      await copied;
      if (round >= 0) times[namespace]?.push(performance.now() - started);
      await program.dispatch.idle();
    }
  const [ours, bares] = [times.ours ?? [], times.bare ?? []];
  for (const share of [0.5, 0.95])
    report.line(
      share === 0.5 ? 'median' : '95 %',
      `${quantile(ours, share).toFixed(1)} against ${quantile(bares, share).toFixed(1)}`,
      { value: quantile(ours, share) / quantile(bares, share), ...(share === 0.5 && { atMost: 2 }) },
    );
  watching.close();
  bare.close();
  for (const watch of watches) watch.close();
  await program.close();
}

/** Counts what is sent over HTTP by this process, while nothing but the program sends. */
function countRequests(): () => number {
  let count = 0;
  const counting = () => {
    count += 1;
  };
  subscribe('http.client.request.start', counting);
  return () => {
    unsubscribe('http.client.request.start', counting);
    return count;
  };
}

async function inParallel(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const one = async () => {
    while (next < count) {
      next += 1;
      await work(next - 1);
    }
  };
  await Promise.all(Array.from({ length: 16 }, one));
}

async function measureEstate(report: Report, from: Cluster, to: Cluster): Promise<void> {
  report.heading(`Kubernetes: a reconcile of ${estate} secrets of which ${changed} changed`);
  const data = await newData();
  await inParallel(estate, (index) => from.ask('POST', collection('estate'), secretOf(`n-${index}`, data)));
  const program = await openProgram(from, to, 'estate');
  const [link] = program.links;
  if (link === undefined) throw new Error('there is no link');
  const settle = async () => {
    const started = performance.now();
    await program.reconcile(link);
    do await program.dispatch.idle();
    while ((await program.wakeDue(link)) > 0);
    return performance.now() - started;
  };
  const firstMs = await settle();
  report.line('the first one, which copies all', `${(firstMs / 1000).toFixed(1)} s`);
  const copies = (await to.ask('GET', `${collection('estate')}?limit=1`)).metadata.remainingItemCount + 1;
  if (copies !== estate) report.wrong(`${copies} copies of ${estate}`);
  await settle();
  for (let index = 0; index < changed; index += 1)
    await from.ask('PUT', `${collection('estate')}/n-${index}`, secretOf(`n-${index}`, await newData()));
  const counted = countRequests();
  const ms = await settle();
  const requests = counted();
  const pages = 2 * Math.ceil(estate / 500);
  report.line('the next one', `${(ms / 1000).toFixed(1)} s, ${requests} requests, ${pages} of them pages`);
  report.line('requests for each that changed', `of at most ${requestsEach}`, {
    value: (requests - pages) / changed,
    atMost: requestsEach,
  });
  await program.close();
}

/** Memory of a watch over many events, each seen by the program and by nobody else. */
async function measureMemory(report: Report, from: Cluster): Promise<void> {
  report.heading(`Kubernetes: memory of a watch over ${events} events`);
  const program = await openProgram(from, from, 'bare');
  const store = program.stores.get('from');
  let told = 0;
  const watching = store?.watch?.(() => {
    told += 1;
  });
  await runtime.wait(1_000);
  const patch = { contentType: 'application/merge-patch+json' };
  const path = `${collection('bare')}/shop`;
  const change = (index: number) => from.ask('PATCH', path, { metadata: { annotations: { n: String(index) } } }, patch);
  const heapMiB = () => {
    globalThis.gc?.();
    return process.memoryUsage().heapUsed / 2 ** 20;
  };
  await inParallel(events / 10, change);
  const before = heapMiB();
  await inParallel(events, change);
  await runtime.wait(1_000);
  const after = heapMiB();
  report.line('heap before and after', `${before.toFixed(1)} and ${after.toFixed(1)} MiB, ${told} told`, {
    value: after / before,
    atMost: 1.2,
  });
  watching?.close();
  await program.close();
}
