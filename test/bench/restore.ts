import { mkdirSync } from 'node:fs';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import type { Signer } from '../support/notifications.ts';
import { inParallel, signIn } from './bench.ts';
import { startChild } from './child.ts';
import type { reconcilerHandlers } from './reconciler.ts';
import type { Report } from './report.ts';
import { asContent, type RestClient } from './rest.ts';
import type { serverHandlers } from './servers.ts';
import { quantile } from './statistics.ts';

const certificates = 1_000;
/** As many as a restore moves at once. */
const concurrency = 16;
const rounds = 3;

/**
 * What it costs to be able to stop anywhere, and to keep the copies copies: a restore, against a
 * loop of downloads and imports.
 */
export async function measureRestore({
  report,
  signer,
  folder,
}: {
  readonly report: Report;
  readonly signer: Signer;
  readonly folder: string;
}): Promise<void> {
  mkdirSync(folder);
  report.heading(`Restore of ${certificates} certificates, ${concurrency} at once, no limits, median of ${rounds}`);
  const servers = startChild<ReturnType<typeof serverHandlers>>('servers');
  const reconciler = startChild<ReturnType<typeof reconcilerHandlers>>('reconciler');
  try {
    const signingKey = signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const { near } = await servers.call('start', { signingKey, oneWayMs: 0 });
    const [primary, backup] = [await signIn(near.primary), await signIn(near.backup)];
    const ca = await createDevelopmentCa({ name: 'Bench', now: Date.now });
    const content = asContent(await ca.issue({ domains: ['name.example.test'] }));
    const numbers = Array.from({ length: certificates }, (_, index) => index);
    await inParallel(numbers, concurrency, async (number) => void (await primary.import(`name ${number}`, content)));
    await reconciler.call('start', { pair: near, folder });
    await reconciler.call('reconcile');

    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await empty(primary);
      theirs.push(await loop(backup, primary));
      await empty(primary);
      const { moved, ms } = await reconciler.call('restore');
      if (moved !== certificates) report.wrong(`${moved} of ${certificates} were restored`);
      ours.push(ms);
    }
    const seconds = (all: readonly number[]) => (quantile(all, 0.5) / 1_000).toFixed(2);
    const ratio = quantile(
      ours.map((ms, round) => ms / (theirs[round] ?? Number.NaN)),
      0.5,
    );
    report.line('certstandby restore, against the loop', `${seconds(ours)} s against ${seconds(theirs)} s`, {
      value: ratio,
      atMost: 2,
    });
    await reconciler.call('stop');
  } finally {
    await Promise.all([reconciler.stop(), servers.stop()]);
  }
}

async function empty(store: RestClient): Promise<void> {
  await inParallel(await store.list(), concurrency, async ({ id }) => void (await store.remove(id)));
}

/** Milliseconds of a loop that downloads and imports, and keeps nothing in mind. */
async function loop(from: RestClient, into: RestClient): Promise<number> {
  const started = performance.now();
  await inParallel(await from.list(), concurrency, async ({ id }) => {
    const { name, data } = await from.download(id);
    await into.import(name, data);
  });
  return performance.now() - started;
}
