import { mkdirSync } from 'node:fs';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import { exchangeToken } from '../support/instance.ts';
import { instanceCrn } from '../support/notifications.ts';
import { inParallel } from './bench.ts';
import { startChild } from './child.ts';
import type { instanceHandlers } from './instance-server.ts';
import type { Report } from './report.ts';
import { asContent, type Content, type RestClient, restClient, sameContent } from './rest.ts';
import { clockMs, quantile } from './statistics.ts';

const apiKey = 'the-api-key-of-the-bench-of-an-instance';
/** Different ones; more would only take longer to make. */
const madeContents = 50;
const imports = 1_000;
const downloads = 4_000;
/** Requests under way at one time. */
const concurrency = 32;
const many = 100_000;
const listedPages = 40;

/**
 * An instance of our own on LMDB, sealed: imports, downloads, lists, memory and calls to the root
 * key.
 */
export async function measureInstance(report: Report, folder: string): Promise<void> {
  mkdirSync(folder);
  const contents = await makeContents();
  const server = startChild<ReturnType<typeof instanceHandlers>>('instance-server', ['--expose-gc']);
  try {
    const url = await server.call('start', { folder, crn: instanceCrn, apiKey });
    const client = restClient({ url, crn: instanceCrn, apiKey }, await exchangeToken(url, apiKey));
    report.heading('An instance of our own: certificates sealed, on LMDB, each answer after its flush');
    const ids = await measureImports(report, { server, client, contents });
    await measureDownloads(report, { server, client, contents, ids });
    const fewMs = await pageMs(client);
    const calls = await server.call('rootKeyCalls');
    report.line('calls to the root key so far', `${calls.wrap} wrap, ${calls.unwrap} unwrap: for one data key`);
    const started = clockMs();
    await server.call('fill', { count: many - imports, contents });
    await server.call('memoryKiB'); // collects the garbage
    const manyMs = await pageMs(client);
    const filled = `${many.toLocaleString('en-US')} certificates, filled in ${((clockMs() - started) / 1000).toFixed(0)} s`;
    report.line(`page of 200 at ${imports.toLocaleString('en-US')} certificates`, `${fewMs.toFixed(1)} ms`);
    report.line(`page of 200 at ${filled}`, `${manyMs.toFixed(1)} ms`, { value: manyMs / fewMs, atMost: 1.5 });
    const mebibytes = (await server.call('memoryKiB')) / 1024;
    report.line(`RssAnon at ${many.toLocaleString('en-US')} certificates`, `${mebibytes.toFixed(0)} MiB of 250 MB`, {
      value: (mebibytes * 1024 * 1024) / 250e6,
      atMost: 1,
    });
  } finally {
    await server.stop();
  }
}

async function makeContents(): Promise<readonly Content[]> {
  const ca = await createDevelopmentCa({ name: 'Bench', now: Date.now });
  const made: Content[] = [];
  for (let index = 0; index < madeContents; index += 1) {
    made.push(asContent(await ca.issue({ domains: [`i${index}.example.test`] })));
  }
  return made;
}

interface Measured {
  readonly server: ReturnType<typeof startChild<ReturnType<typeof instanceHandlers>>>;
  readonly client: RestClient;
  readonly contents: readonly Content[];
}

async function measureImports(report: Report, { server, client, contents }: Measured): Promise<readonly string[]> {
  const each = Array.from({ length: imports }, (_, index) => contents[index % contents.length] as Content);
  await server.call('importFloor', each.slice(0, 200)); // warm
  await inParallel(each.slice(0, 200), concurrency, (content) => client.import('warm', content));
  const floor = await server.call('importFloor', each);
  const ids: string[] = [];
  const started = clockMs();
  await inParallel(each.entries(), concurrency, async ([index, content]) => {
    ids[index] = await client.import(`import-${index}`, content);
  });
  const ours = (imports / (clockMs() - started)) * 1000;
  report.line('floor: parse, seal, write, one after the other', `${floor.toFixed(0)} a second`, { value: 1 });
  report.line(`imports over HTTP, ${concurrency} at a time`, `${ours.toFixed(0)} a second`, {
    value: ours / floor,
    atLeast: 0.5,
  });
  return ids;
}

async function measureDownloads(
  report: Report,
  { server, client, contents, ids }: Measured & { readonly ids: readonly string[] },
): Promise<void> {
  const each = Array.from({ length: downloads }, (_, index) => index % ids.length);
  await inParallel(each.slice(0, 500), concurrency, (index) => client.download(ids[index] ?? '')); // warm
  const bare = await server.call('bareServer');
  const floor = await server.call('downloadFloor', downloads);
  const own = await server.call('downloads', { ids, count: downloads });
  const get = async (index: number) => JSON.parse(await (await fetch(`${bare}/floor-${index}`)).text());
  await inParallel(each.slice(0, 500), concurrency, get); // warm
  const bareStarted = clockMs();
  await inParallel(each, concurrency, get);
  const bareFloor = (downloads / (clockMs() - bareStarted)) * 1000;
  let wrong = 0;
  const started = clockMs();
  await inParallel(each, concurrency, async (index) => {
    const { data } = await client.download(ids[index] ?? '');
    if (!sameContent(data, contents[index % contents.length] as Content)) wrong += 1;
  });
  const ours = (downloads / (clockMs() - started)) * 1000;
  if (wrong > 0) report.wrong(`${wrong} of ${downloads} downloads were not what was imported`);
  const atLeast = 0.5;
  report.line('floor: read, open, one after the other', `${floor.toFixed(0)} a second`, { value: 1 });
  report.line('downloads without HTTP', `${own.toFixed(0)} a second`, { value: own / floor, atLeast });
  report.line('floor: read, open, behind a bare HTTP server', `${bareFloor.toFixed(0)} a second`, { value: 1 });
  const rate = `${ours.toFixed(0)} a second`;
  report.line(`downloads over HTTP, ${concurrency} at a time`, rate, { value: ours / bareFloor, atLeast });
}

/**
 * What a page of 200 takes where nobody disturbs it (the 10th percentile), pages in a row, each
 * going on where the one before ended; read once before, so that they are in memory at any size.
 */
async function pageMs(client: RestClient): Promise<number> {
  const times: number[] = [];
  for (const timed of [false, true]) {
    let from: string | undefined;
    for (let page = 0; page < listedPages; page += 1) {
      const started = clockMs();
      from = await client.page(from);
      if (timed) times.push(clockMs() - started);
    }
  }
  return quantile(times, 0.1);
}
