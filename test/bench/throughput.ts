import { readMarkedDescription, wholeMark } from '../../src/store/mark.ts';
import { type Bench, eventBody, holds, inParallel, makeSubjects, plainCopy, post, type Subject } from './bench.ts';
import { clockMs, seededRandom, shuffled } from './statistics.ts';

const certificates = 500;
const notificationsEach = 10;
/** When a certificate is renewed, counted in its notifications. */
const renewedAt = 6;
/** Posts, and requests of the floor, under way at one time. */
const concurrency = 16;

/** Many certificates at once: a flood of notifications, and then the pace of one worker process. */
export async function measureThroughput(bench: Bench): Promise<void> {
  const { report } = bench;
  const subjects = await makeSubjects(bench.primary, 'many', certificates);
  report.heading(
    `${certificates * notificationsEach} notifications for ${certificates} certificates, shuffled: two events each, delivered five times`,
  );
  await flood(bench, subjects);
  report.heading(`${certificates} certificates renewed, ${certificates} events at once, one worker process`);
  await pace(bench, subjects);
}

/**
 * Each certificate is told of ten times: two events, its import and its renewal, each delivered
 * five times.
 */
async function flood(bench: Bench, subjects: readonly Subject[]): Promise<void> {
  const { report, signer, primary, product } = bench;
  const told = new Map<Subject, { readonly number: number; readonly body: string }>();
  const everyone = subjects.flatMap((subject) => Array.from({ length: notificationsEach }, () => subject));
  const notifications = shuffled(everyone, seededRandom(1)).map((subject) => {
    const { number: before, body: last = '' } = told.get(subject) ?? { number: 0, body: undefined };
    const number = before + 1;
    const type = number < renewedAt ? 'cert_imported' : 'cert_reimported';
    const body = number === 1 || number === renewedAt ? eventBody(signer, type, subject) : last;
    told.set(subject, { number, body });
    return { subject, number, body };
  });
  const memoryBefore = await product.call('memoryKiB');
  await product.call('takeCounts');

  const started = clockMs();
  await inParallel(notifications, concurrency, async ({ subject, number, body }) => {
    if (number === renewedAt) await primary.reimport(subject.id, subject.versions[1]);
    await post(product.url, body);
  });
  const postedMs = clockMs() - started;
  await product.call('idle');
  const doneMs = clockMs() - started;
  const memoryAfter = await product.call('memoryKiB');
  const { passes } = await product.call('takeCounts');
  await product.call('sweep');
  const sweptPasses = (await product.call('takeCounts')).passes;

  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  const perSecond = ((certificates * notificationsEach) / postedMs) * 1000;
  report.line('all answered', `after ${seconds(postedMs)} s, ${perSecond.toFixed(0)} a second`);
  report.line('all replicated', `after ${seconds(doneMs)} s, ${passes} passes (then ${sweptPasses} by a sweep)`);
  report.line('RssAnon of the product, before and after', `${mebibytes(memoryBefore)}, ${mebibytes(memoryAfter)}`);
  await check(bench, subjects, 1);
}

/**
 * Events per second until the last copy is equal; the same by the straightforward function; and
 * what the two servers allow.
 */
async function pace(bench: Bench, subjects: readonly Subject[]): Promise<void> {
  const { report, signer, primary, product, straightforward } = bench;
  await inParallel(subjects, 4, (subject) => primary.reimport(subject.id, subject.versions[0]));
  const bodies = subjects.map((subject) => eventBody(signer, 'cert_reimported', subject));
  const perSecond = (started: number, ended: number) => (certificates / (ended - started)) * 1000;

  const written = product.call('written', certificates);
  const oursStarted = clockMs();
  await inParallel(bodies, concurrency, (body) => post(product.url, body));
  const ours = perSecond(oursStarted, await written);
  await product.call('idle');
  const copies = await check(bench, subjects, 0);

  await straightforward.call('know', [...copies]);
  const theirsStarted = clockMs();
  await inParallel(bodies, concurrency, (body) => post(straightforward.url, body));
  const theirs = perSecond(theirsStarted, clockMs());

  const copy = await plainCopy(bench.pair, copies);
  const floorStarted = clockMs();
  await inParallel(subjects, concurrency, ({ id }) => copy(id));
  const floor = perSecond(floorStarted, clockMs());

  const line = (name: string, rate: number) =>
    report.line(name, `${rate.toFixed(0)} a second`, { value: rate / floor });
  line('floor: one download, one reimport each', floor);
  line('certstandby', ours);
  line('straightforward function', theirs);
  report.line('RssAnon of the product then', mebibytes(await product.call('memoryKiB')));
}

const mebibytes = (kibibytes: number) => `${(kibibytes / 1024).toFixed(1)} MiB`;

/** Exactly one copy of each certificate, and of this version. Answers the copies by certificate. */
async function check({ report, backup }: Bench, subjects: readonly Subject[], version: 0 | 1) {
  const copies = new Map<string, string>();
  const doubled: string[] = [];
  for (const { id, description } of await backup.list()) {
    const certificate = wholeMark(readMarkedDescription(description).mark)?.certificate;
    if (certificate === undefined) continue;
    if (copies.has(certificate)) doubled.push(certificate);
    copies.set(certificate, id);
  }
  const wrong: string[] = [];
  await inParallel(subjects, 8, async ({ id, name, versions }) => {
    const copy = copies.get(id);
    if (copy === undefined || !(await holds(backup, copy, versions[version]))) wrong.push(name);
  });
  const found = subjects.length - wrong.length;
  const result = `${found} of ${subjects.length} equal in the backup, ${doubled.length} there twice`;
  report.line('read back from the backup', result);
  if (wrong.length > 0 || doubled.length > 0) report.wrong(result);
  return copies;
}
