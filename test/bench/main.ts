import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { exchangeToken } from '../support/instance.ts';
import { makeSigner } from '../support/notifications.ts';
import { answerCalls, startChild } from './child.ts';
import { measureLatency } from './latency.ts';
import { productHandlers } from './product.ts';
import { createReport, type Report } from './report.ts';
import { measureRequests } from './requests.ts';
import { restClient } from './rest.ts';
import { serverHandlers } from './servers.ts';
import { straightforwardHandlers } from './straightforward.ts';
import { measureThroughput } from './throughput.ts';
import { measureVerify } from './verify.ts';

/** Each runs in a process of its own; the one who measures runs in this one. */
const roles = {
  servers: serverHandlers,
  product: productHandlers,
  straightforward: straightforwardHandlers,
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
      'The machine may be busy: look at the ratios.\n',
  );
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-bench-'));
  try {
    await measureAll(report, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`\n${((performance.now() - started) / 1000).toFixed(0)} s in all\n`);
  if (report.failures.length > 0) {
    process.stderr.write(`bench: ${report.failures.length} results were wrong\n`);
    process.exitCode = 1;
  }
}

async function measureAll(report: Report, folder: string): Promise<void> {
  const signer = makeSigner();
  measureVerify(report, signer);

  const servers = startChild<ReturnType<typeof serverHandlers>>('servers');
  const product = startChild<ReturnType<typeof productHandlers>>('product', ['--expose-gc']);
  const straightforward = startChild<ReturnType<typeof straightforwardHandlers>>('straightforward');
  try {
    const pair = await servers.call('start', signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    const client = async (side: (typeof pair)['primary']) =>
      restClient(side, await exchangeToken(side.url, side.apiKey));
    const bench = {
      report,
      signer,
      pair,
      primary: await client(pair.primary),
      backup: await client(pair.backup),
      servers,
      product: { ...product, url: await product.call('start', { pair, folder }) },
      straightforward: { ...straightforward, url: await straightforward.call('start', pair) },
    };
    await measureLatency(bench);
    await measureRequests(bench);
    await measureThroughput(bench);
  } finally {
    await Promise.all([product.stop(), straightforward.stop(), servers.stop()]);
  }
}
