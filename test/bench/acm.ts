import { parseContent } from '../../src/certificate/pem.ts';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { replicate } from '../../src/replication/pass/replicate.ts';
import { reconcile } from '../../src/replication/reconcile/reconcile.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { acmStore } from '../../src/services/aws-acm/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { startFakeAcm } from '../support/fake-acm.ts';
import { described, setup } from '../support/replication.ts';
import type { Report } from './report.ts';

/** As many as ACM takes into an account if nobody asked for more. */
const estate = 2_500;
const changed = 20;
/** Calls that ACM takes in a second ("Quotas"); of what is not here it takes more. */
const perSecond: Readonly<Record<string, number>> = {
  ListCertificates: 8,
  ListTagsForCertificate: 10,
  DescribeCertificate: 10,
  GetCertificate: 10,
  ImportCertificate: 1,
};

/**
 * A reconcile of all that an account of ACM may hold, of which some changed without a word:
 * requests counted at a strict fake, and how long they take at ACM's own rates. Time is virtual.
 */
export async function measureAcm(report: Report): Promise<void> {
  const world = await setup({ backups: [] });
  const fake = await startFakeAcm({ now: world.time.now });
  try {
    const store = acmStore({
      ...{ region: 'eu-west-1', account: '123456789012', endpoint: fake.url },
      key: { accessKeyId: 'bench', secretAccessKey: new Secret('bench') },
      runtime: { ...systemRuntime, now: world.time.now, wait: async () => {} },
    });
    await world.linkRecords.noteReconciled('main', [store.id], world.time.now() - 1);
    const link = { ...world.link, backups: [store] };
    // Who has which of them is told by marks: a few contents serve for all.
    const contents = await Promise.all(Array.from({ length: 20 }, async () => parseContent(await testCertificate())));
    const contentOf = (index: number) => contents[index % contents.length] as (typeof contents)[number];
    const put = (index: number, content = contentOf(index)) =>
      world.primary.store.put({ content, metadata: described(`name ${index}`) }, `c${index}`);
    const work = async () => {
      for (let rounds = 0; rounds < 100; rounds += 1) {
        const due = await world.records.due('main', world.time.now(), 1_000);
        for (const certificate of due) await replicate(world.worker, link, certificate);
        if ((await world.records.due('main', Number.MAX_SAFE_INTEGER, 1)).length === 0) return;
        await world.later(10 * 60_000);
      }
      throw new Error('it does not come to rest');
    };
    const woken: Wake[] = [];
    const dispatch = { dispatch: async (wakes: readonly Wake[]) => void woken.push(...wakes) };
    for (let index = 0; index < estate; index += 1) put(index);
    await reconcile({ ...world.worker, dispatch }, link, {});
    await work();
    if (fake.arns().length !== estate) report.wrong(`${fake.arns().length} copies of ${estate}`);

    report.heading(`AWS Certificate Manager: a reconcile of ${estate}, of which ${changed} changed without a word`);
    for (let index = 0; index < changed; index += 1) put(index, contentOf(index + 1));
    const before = fake.calls.length;
    woken.length = 0;
    await reconcile({ ...world.worker, dispatch }, link, {});
    const listing = countBy(fake.calls.slice(before));
    const passesFrom = fake.calls.length;
    await work();
    const passes = countBy(fake.calls.slice(passesFrom));
    if (woken.length !== changed) report.wrong(`${woken.length} certificates were asked for, and not ${changed}`);
    if (passes.ImportCertificate !== changed) report.wrong(`${passes.ImportCertificate} imports of ${changed}`);
    for (const [name, counts] of Object.entries({ listing, [`passes of ${changed}`]: passes }))
      report.line(name, `${words(counts)}; at the rates of ACM ${secondsOf(counts)} s`);
  } finally {
    await fake.close();
  }
}

const countBy = (calls: readonly string[]): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const call of calls) counts[call] = (counts[call] ?? 0) + 1;
  return counts;
};

const words = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');

/** How long they take at least, for each kind of call has a rate of its own. */
const secondsOf = (counts: Readonly<Record<string, number>>) =>
  Math.ceil(
    Math.max(...Object.entries(counts).map(([name, count]) => count / (perSecond[name] ?? Number.POSITIVE_INFINITY))),
  );
