import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseContent } from '../../src/certificate/pem.ts';
import { createDevelopmentCa } from '../../src/instance/development-ca.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { primaryCrn } from '../end-to-end/program.ts';
import { type AwsStack, startAwsStack } from '../functions/aws-stack.ts';
import { httpApiEvent } from '../functions/http-events.ts';
import { type LambdaProcess, lambdaProcess } from '../functions/lambda-process.ts';
import { makeSigner, payloadV5, type Signer } from '../support/notifications.ts';
import type { Report } from './report.ts';
import { quantile } from './statistics.ts';

const rounds = 25;
const warmEvents = 400;

/** The least that a function can be: it answers, and does nothing. */
const bareHandler = 'export const handler = async () => ({ statusCode: 202 });\n';

/**
 * From a new process to the answer of its first event, for every function, beside a function that only answers. Table, queue and
 * stores are servers on this machine, and their answers are part of what is measured.
 */
export async function measureCold(report: Report): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-cold-'));
  const bareFile = join(folder, 'bare.mjs');
  await writeFile(bareFile, bareHandler);
  const signer = makeSigner();
  const stack = await startAwsStack({ signingKey: signer.privateKey });
  try {
    const { env } = stack.deployed('callback');
    const bare = lambdaProcess({ file: bareFile, env });
    const events = await prepareEvents(stack, signer);
    const { callback, replicate, sweep, reconcile } = stack.functions;
    const contenders: readonly Contender[] = [
      { name: 'bare handler', process: bare, event: async () => ({}) },
      { name: 'callback', process: callback, event: events.notification },
      { name: 'replicate, one certificate changed', process: replicate, event: events.message },
      { name: 'sweep', process: sweep, event: async () => ({}) },
      { name: 'reconcile, two certificates', process: reconcile, event: async () => ({}) },
    ];
    const cold = new Map<Contender, number[]>(contenders.map((contender) => [contender, []]));
    // Side by side: what else the machine does meets all of them alike.
    for (let round = 0; round < rounds; round += 1)
      for (const contender of contenders) cold.get(contender)?.push(await firstAnswer(contender));

    report.heading(`Cold start on AWS: new process to the first answer, median of ${rounds}`);
    const [floor = Number.NaN] = contenders.map((contender) => quantile(cold.get(contender) ?? [], 0.5));
    for (const contender of contenders) {
      const ms = quantile(cold.get(contender) ?? [], 0.5);
      const ratio = { value: ms / floor, ...(contender.process === callback ? { atMost: 3 } : {}) };
      report.line(contender.name, `${ms.toFixed(0)} ms`, contender.process === bare ? undefined : ratio);
    }

    report.heading(`Warm: ${warmEvents} events, one after the other`);
    for (const contender of contenders.slice(0, 3)) {
      const { cpuMs, rssMib } = await warm(contender);
      report.line(contender.name, `${cpuMs.toFixed(2)} ms of CPU an event, ${rssMib.toFixed(0)} MiB resident`);
    }
    await bare.close();
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Contender {
  readonly name: string;
  readonly process: LambdaProcess;
  /** A new event, made before the clock starts. */
  readonly event: () => Promise<unknown>;
}

async function firstAnswer({ process, event }: Contender): Promise<number> {
  const given = await event();
  await process.kill();
  const started = performance.now();
  await process.invoke(given);
  return performance.now() - started;
}

async function warm({ process, event }: Contender): Promise<{ readonly cpuMs: number; readonly rssMib: number }> {
  for (let index = 0; index < 50; index += 1) await process.invoke(await event());
  const before = await process.usage();
  for (let index = 0; index < warmEvents; index += 1) await process.invoke(await event());
  const after = await process.usage();
  return { cpuMs: (after.cpuMs - before.cpuMs) / warmEvents, rssMib: after.rssBytes / 2 ** 20 };
}

/** A notification that is another one each time, and a message for a certificate that has changed each time. */
async function prepareEvents({ sides, aws, functions, table, drain }: AwsStack, signer: Signer) {
  const ca = await createDevelopmentCa({ name: 'Bench', now: Date.now });
  const issue = async () => parseContent(await ca.issue({ domains: ['shop.example.test'] }));
  const versions = [await issue(), await issue()] as const;
  const metadata = { name: 'shop', description: '', tags: [] };
  await functions.sweep.invoke({});
  const { id } = await sides.primary.store.import({ content: versions[0], metadata });
  await sides.primary.store.import({ content: versions[1], metadata });
  await functions.reconcile.invoke({});
  await drain();
  const records = replicationRecords(table);
  let version = 0;
  return {
    async notification() {
      aws.take();
      const claims = { instance: primaryCrn, type: 'cert_reimported', ids: [id] };
      const body = signer.body(payloadV5({ ...claims, eventId: randomUUID(), eventTime: Date.now() }));
      return httpApiEvent({
        method: 'POST',
        path: '/callback/main',
        headers: [['content-type', 'application/json']],
        body,
      });
    },
    async message() {
      version = 1 - version;
      await sides.primary.store.reimport(id, versions[version as 0 | 1]);
      await records.ask({ link: 'main', certificate: id, now: Date.now() });
      return { Records: [{ messageId: 'one', body: JSON.stringify({ link: 'main', certificate: id }) }] };
    },
  };
}
