import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeSigner } from '../support/notifications.ts';
import { measureAcm } from './acm.ts';
import { type Bench, signIn } from './bench.ts';
import { answerCalls, startChild } from './child.ts';
import { measureCold } from './cold.ts';
import { measureInstance } from './instance.ts';
import { instanceHandlers } from './instance-server.ts';
import { measureLatency } from './latency.ts';
import { productHandlers } from './product.ts';
import { measureProofs } from './proofs.ts';
import { measureReconcile } from './reconcile.ts';
import { reconcilerHandlers } from './reconciler.ts';
import { createReport, type Report } from './report.ts';
import { measureRequests } from './requests.ts';
import { measureRestore } from './restore.ts';
import { serverHandlers } from './servers.ts';
import { straightforwardHandlers } from './straightforward.ts';
import { measureThroughput } from './throughput.ts';
import { measureVerify } from './verify.ts';

/** Each runs in a process of its own; the one who measures runs in this one. */
const roles = {
  servers: serverHandlers,
  product: productHandlers,
  straightforward: straightforwardHandlers,
  reconciler: reconcilerHandlers,
  'instance-server': instanceHandlers,
};

const [, , role] = process.argv;
if (role !== undefined && Object.hasOwn(roles, role)) answerCalls(roles[role as keyof typeof roles]());
else await runAll();

async function runAll(): Promise<void> {
  const started = performance.now();
  const report = createReport((text) => process.stdout.write(text));
  const [cpu] = cpus();
  process.stdout.write(
    `Node ${process.versions.node}, ${availableParallelism()} cores (${cpu?.model.trim() ?? 'unknown'}). ` +
      'The machine may be busy, and the disk shared: look at the ratios.\n',
  );
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-bench-'));
  try {
    await measureAll(report, folder, role);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`\n${((performance.now() - started) / 1000).toFixed(0)} s in all\n`);
  if (report.failures.length > 0) {
    process.stderr.write(`bench: ${report.failures.length} results were wrong\n`);
    process.exitCode = 1;
  }
}

/** All of it, or the one part that is named: `npm run bench -- reconcile`. */
async function measureAll(report: Report, folder: string, part: string | undefined): Promise<void> {
  const signer = makeSigner();
  if (part === undefined || part === 'reconcile') {
    await measureReconcile({ report, signer, folder: join(folder, 'reconcile') });
  }
  if (part === undefined || part === 'restore')
    await measureRestore({ report, signer, folder: join(folder, 'restore') });
  if (part === undefined || part === 'instance') await measureInstance(report, join(folder, 'instance'));
  if (part === 'cold') await measureCold(report);
  if (part === 'acm') await measureAcm(report);
  // Two clusters are started for it, and built the first time.
  if (part === 'kubernetes') await (await import('./kubernetes.ts')).measureKubernetes(report);
  // Two servers are started for it, and fetched the first time.
  if (part === 'vault') await (await import('./vault.ts')).measureVault(report, folder);
  if (part === undefined || part === 'verify') {
    measureVerify(report, signer);
    measureProofs(report);
  }
  if (part !== undefined && part !== 'latency') return;
  await withBench({ report, signer, folder: join(folder, 'near'), oneWayMs: 0 }, async (bench) => {
    if (part === undefined) {
      await measureThroughput(bench);
      await measureRequests(bench);
    }
    await measureLatency(bench, 'no network in between', { warmUp: 60, measured: 200 });
  });
  await withBench({ report, signer, folder: join(folder, 'far'), oneWayMs: 10 }, (bench) =>
    measureLatency(bench, '20 ms of network for each request', { warmUp: 16, measured: 60 }),
  );
}

/** New servers and contenders, each in a process of its own. */
async function withBench(
  options: Pick<Bench, 'report' | 'signer' | 'folder'> & { readonly oneWayMs: number },
  measure: (bench: Bench) => Promise<void>,
): Promise<void> {
  const { report, signer, folder, oneWayMs } = options;
  mkdirSync(folder);
  const servers = startChild<ReturnType<typeof serverHandlers>>('servers');
  const product = startChild<ReturnType<typeof productHandlers>>('product', ['--expose-gc']);
  const straightforward = startChild<ReturnType<typeof straightforwardHandlers>>('straightforward');
  try {
    const signingKey = signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const { near, pair } = await servers.call('start', { signingKey, oneWayMs });
    await measure({
      report,
      signer,
      folder,
      pair,
      primary: await signIn(near.primary),
      backup: await signIn(near.backup),
      servers,
      product: { ...product, url: await product.call('start', { pair, folder }) },
      straightforward: { ...straightforward, url: await straightforward.call('start', pair) },
    });
  } finally {
    await Promise.all([product.stop(), straightforward.stop(), servers.stop()]);
  }
}
