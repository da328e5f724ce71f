import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, eventBody, holds, makeSubjects, plainCopy, post, type Subject } from './bench.ts';
import type { Report } from './report.ts';
import type { Content } from './rest.ts';
import { clockMs, quantile } from './statistics.ts';

const subjectsEach = 4;

/** How often each contender is measured, and how often before that. */
interface Rounds {
  readonly warmUp: number;
  readonly measured: number;
}

/** One way of getting a changed certificate into the backup, and its own certificates. */
interface Contender {
  readonly name: string;
  readonly subjects: readonly Subject[];
  /**
   * Called when the primary has a new version. Answers when the event was posted, and when the
   * contender was through.
   */
  replicate(subject: Subject): Promise<{ readonly startedAt: number; readonly endedAt: number }>;
  copyOf(subject: Subject): Promise<string | undefined>;
  /**
   * Processor time that its process has taken since the last call, in milliseconds. Absent where
   * that process measures too.
   */
  takeProcessorMs?(): Promise<number>;
}

interface Times {
  /**
   * Milliseconds from posting the event until the backup had answered the write: it serves the new
   * version.
   */
  readonly served: number[];
  /** Until the contender was through with it. */
  readonly ended: number[];
}

/**
 * From the moment a signed event is posted until the backup serves the new certificate: one at a
 * time, the contenders in turn. Beside them what the disk takes for one flush, since an event that
 * was answered must survive a crash, and the others' do not.
 */
export async function measureLatency(bench: Bench, network: string, { warmUp, measured }: Rounds): Promise<void> {
  const contenders = [await floor(bench), await product(bench), await straightforward(bench)];
  const times = contenders.map((): Times => ({ served: [], ended: [] }));
  const flushes: number[] = [];
  const last = new Map<Subject, Content>();
  const disk = flusher(bench.folder);
  for (let round = 0; round < warmUp + measured; round += 1) {
    if (round === warmUp) for (const { takeProcessorMs } of contenders) await takeProcessorMs?.();
    const turn = Math.floor(round / subjectsEach);
    for (let offset = 0; offset < contenders.length; offset += 1) {
      // Whoever comes first pays for what the others left behind, so that comes round too.
      const index = (offset + turn) % contenders.length;
      const contender = contenders[index] as Contender;
      const subject = contender.subjects[round % subjectsEach] as Subject;
      const version = subject.versions[(turn + 1) % 2] as Content;
      await bench.primary.reimport(subject.id, version);
      last.set(subject, version);
      const { startedAt, endedAt } = await contender.replicate(subject);
      const servedAt = await bench.servers.call('backupWroteAt');
      if (servedAt < startedAt) bench.report.wrong(`${contender.name}: nothing was written to the backup`);
      if (round < warmUp) continue;
      times[index]?.served.push(servedAt - startedAt);
      times[index]?.ended.push(endedAt - startedAt);
    }
    flushes.push(disk.flush());
  }
  disk.close();
  bench.report.heading(`Event to backup, ${network}: one changed certificate at a time, ms, of ${measured}`);
  print(bench.report, contenders, times, flushes);
  for (const { name, takeProcessorMs } of contenders) {
    if (takeProcessorMs === undefined) continue;
    const each = (await takeProcessorMs()) / measured;
    bench.report.line(`${name}: processor time for each`, `    ${each.toFixed(2).padStart(7)}`);
  }
  await check(bench, contenders, last);
}

function print(report: Report, contenders: readonly Contender[], times: readonly Times[], flushes: readonly number[]) {
  const [floorMs, ownMs, otherMs] = times.map(({ served }) => quantile(served, 0.5)) as [number, number, number];
  const ratios = [undefined, { value: ownMs / floorMs, atMost: 2 }, { value: otherMs / ownMs, atLeast: 2 }];
  for (const [index, { name }] of contenders.entries()) {
    report.line(name, percentiles(times[index]?.served ?? []), ratios[index]);
  }
  report.line('certstandby: until its commit is on disk too', percentiles(times[1]?.ended ?? []));
  report.line('one flush to this disk; certstandby waits for three commits', percentiles(flushes));
}

function percentiles(times: readonly number[]): string {
  const [p50, p99] = [0.5, 0.99].map((share) => quantile(times, share).toFixed(2).padStart(7));
  return `p50 ${p50}   p99 ${p99}`;
}

/** Writes 8 KiB to a file and waits until the disk has them. */
function flusher(folder: string) {
  const file = openSync(join(folder, 'flushed'), 'w', 0o600);
  const bytes = Buffer.alloc(8192);
  return {
    flush(): number {
      const started = clockMs();
      writeSync(file, bytes);
      fdatasyncSync(file);
      return clockMs() - started;
    },
    close: () => closeSync(file),
  };
}

/** Every copy must be the version that the primary got last. */
async function check(
  { report, backup }: Bench,
  contenders: readonly Contender[],
  last: ReadonlyMap<Subject, Content>,
): Promise<void> {
  for (const { name, subjects, copyOf } of contenders) {
    for (const subject of subjects) {
      const copy = await copyOf(subject);
      const wanted = last.get(subject);
      if (copy === undefined || wanted === undefined || !(await holds(backup, copy, wanted)))
        report.wrong(`${name}: the copy of ${subject.name} is not the last version`);
    }
  }
}

/**
 * The least that any way has to do: one download and one reimport, over connections and with tokens
 * that are there.
 */
async function floor({ pair, primary, backup }: Bench): Promise<Contender> {
  const subjects = await makeSubjects(primary, 'floor', subjectsEach);
  const copies = new Map<string, string>();
  for (const { id, name, versions } of subjects) copies.set(id, await backup.import(name, versions[0]));
  const replicate = await plainCopy(pair, copies);
  return {
    name: 'floor: one download, one reimport',
    subjects,
    async replicate({ id }) {
      const startedAt = clockMs();
      await replicate(id);
      return { startedAt, endedAt: clockMs() };
    },
    copyOf: async ({ id }) => copies.get(id),
  };
}

async function product({ report, signer, primary, backup, product }: Bench): Promise<Contender> {
  const subjects = await makeSubjects(primary, 'product', subjectsEach);
  const replicate = async (subject: Subject, type: string, action: string) => {
    const passed = product.call('pass', subject.id);
    const body = eventBody(signer, type, subject);
    const startedAt = clockMs();
    await post(product.url, body);
    const { at: endedAt, equal, actions } = await passed;
    if (!equal || !actions.includes(action)) report.wrong(`${subject.name} was not ${action}: ${actions.join()}`);
    return { startedAt, endedAt };
  };
  for (const subject of subjects) await replicate(subject, 'cert_imported', 'imported');
  return {
    name: 'certstandby',
    subjects,
    replicate: (subject) => replicate(subject, 'cert_reimported', 'reimported'),
    async copyOf({ id }) {
      return (await backup.list()).find(({ description }) => description.endsWith(` ${id}`))?.id;
    },
    takeProcessorMs: () => product.call('takeProcessorMs'),
  };
}

async function straightforward({ signer, primary, straightforward }: Bench): Promise<Contender> {
  const subjects = await makeSubjects(primary, 'straightforward', subjectsEach);
  const replicate = async (subject: Subject, type: string) => {
    const body = eventBody(signer, type, subject);
    const startedAt = clockMs();
    const { at: endedAt } = (await post(straightforward.url, body)) as { readonly at: number };
    return { startedAt, endedAt };
  };
  for (const subject of subjects) await replicate(subject, 'cert_imported');
  return {
    name: 'straightforward function',
    subjects,
    replicate: (subject) => replicate(subject, 'cert_reimported'),
    copyOf: ({ id }) => straightforward.call('copyOf', id),
    takeProcessorMs: () => straightforward.call('takeProcessorMs'),
  };
}
