import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import type { Signer } from '../support/notifications.ts';
import { inParallel, signIn } from './bench.ts';
import { startChild } from './child.ts';
import type { reconcilerHandlers } from './reconciler.ts';
import type { Report } from './report.ts';
import { asContent, type Content, type RestClient } from './rest.ts';
import type { RequestCounts, serverHandlers } from './servers.ts';
import { startSyntheticServer } from './synthetic.ts';

const certificates = 10_000;
const changed = 100;
const largest = 100_000;
const smallest = 1_000;
const concurrency = 8;

/**
 * What a reconcile costs: requests, against downloading and importing everything again, and memory,
 * against a small estate.
 */
export async function measureReconcile(options: {
  readonly report: Report;
  readonly signer: Signer;
  readonly folder: string;
}): Promise<void> {
  mkdirSync(options.folder);
  await measureRequests(options);
  await measureMemory(options);
}

async function measureRequests({ report, signer, folder }: Parameters<typeof measureReconcile>[0]): Promise<void> {
  report.heading(
    `Reconcile of ${certificates} certificates of which ${changed} changed, requests counted at the servers`,
  );
  const servers = startChild<ReturnType<typeof serverHandlers>>('servers');
  const reconciler = startChild<ReturnType<typeof reconcilerHandlers>>('reconciler');
  try {
    const signingKey = signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const { near } = await servers.call('start', { signingKey, oneWayMs: 0 });
    const [primary, backup] = [await signIn(near.primary), await signIn(near.backup)];
    const [first, second] = await twoVersions();
    const ids: string[] = [];
    const numbers = Array.from({ length: certificates }, (_, index) => index);
    await inParallel(numbers, concurrency, async (number) => ids.push(await primary.import(`name ${number}`, first)));
    await reconciler.call('start', { pair: near, folder: join(folder, 'requests') });
    const begun = await reconciler.call('reconcile');
    report.line('first copy of everything', `${(begun.ms / 1_000).toFixed(1)} s`);

    await inParallel(ids.slice(0, changed), concurrency, (id) => primary.reimport(id, second));
    await servers.call('takeCounts');
    const again = await reconciler.call('reconcile');
    const ours = totalOf(await servers.call('takeCounts'));
    if (again.asked.different !== changed) report.wrong(`reconcile asked for ${JSON.stringify(again.asked)}`);
    const pages = 2 * Math.ceil(certificates / 200);
    report.line(
      `certstandby: ${pages} pages, ${changed} changed, no full looks due`,
      `${ours} requests, ${(again.ms / 1_000).toFixed(1)} s`,
      { value: ours / (pages + 5 * changed), atMost: 1 },
    );

    const theirs = totalOf(await everything(servers, primary, backup));
    report.line('a script that downloads and imports everything', `${theirs} requests`, {
      value: theirs / ours,
      atLeast: 50,
    });
    await reconciler.call('stop');
  } finally {
    await Promise.all([reconciler.stop(), servers.stop()]);
  }
}

/**
 * Two versions of one certificate. What a listing tells apart is the id, and all that is measured
 * here are requests.
 */
async function twoVersions(): Promise<readonly [Content, Content]> {
  const ca = await createDevelopmentCa({ name: 'Bench', now: Date.now });
  const issue = async () => asContent(await ca.issue({ domains: ['name.example.test'] }));
  return [await issue(), await issue()];
}

/**
 * The script that people run by night: for every certificate of the primary one download and one
 * reimport of its copy.
 */
async function everything(
  servers: { call(name: 'takeCounts'): Promise<RequestCounts> },
  primary: RestClient,
  backup: RestClient,
): Promise<RequestCounts> {
  await servers.call('takeCounts');
  const copies = new Map<string, string>();
  for (const { id, description } of await backup.list()) copies.set(description.split(' ').at(-1) ?? '', id);
  const originals = await primary.list();
  await inParallel(originals, concurrency, async ({ id }) => {
    const { data } = await primary.download(id);
    await backup.reimport(copies.get(id) ?? '', data);
  });
  return servers.call('takeCounts');
}

const totalOf = (counts: RequestCounts) => Object.values(counts).reduce((sum, count) => sum + count, 0);

async function measureMemory({ report, folder }: Parameters<typeof measureReconcile>[0]): Promise<void> {
  report.heading('Anonymous memory of a process that reconciles, the most that was seen');
  const most: number[] = [];
  for (const size of [smallest, largest]) {
    const estate = { size };
    const server = await startSyntheticServer(estate);
    const place = join(folder, `memory-${size}`);
    const filler = startChild<ReturnType<typeof reconcilerHandlers>>('reconciler');
    await filler.call('fillRecords', { folder: place, estate });
    await filler.stop();
    const reconciler = startChild<ReturnType<typeof reconcilerHandlers>>('reconciler', ['--expose-gc']);
    try {
      await reconciler.call('start', { pair: server.pair, folder: place });
      const { listed, asked, ms, beforeKiB, mostKiB } = await reconciler.call('reconcile');
      most.push(mostKiB);
      const found = Object.keys(asked).length;
      if (listed !== size || found > 0) report.wrong(`${listed} of ${size} listed, asked for ${JSON.stringify(asked)}`);
      const figures = `${mebibytes(beforeKiB)} before, ${mebibytes(mostKiB)} at most, ${(ms / 1_000).toFixed(1)} s`;
      report.line(`${size} certificates, ${server.pages()} pages`, figures);
      await reconciler.call('stop');
    } finally {
      await reconciler.stop();
      await server.close();
    }
  }
  const grownMiB = ((most[1] ?? 0) - (most[0] ?? 0)) / 1_024;
  report.line(`${largest} against ${smallest}`, `${grownMiB.toFixed(1)} MiB more, of 60 allowed`, {
    value: grownMiB / 60,
    atMost: 1,
  });
}

const mebibytes = (kibibytes: number) => `${(kibibytes / 1_024).toFixed(1)} MiB`;
