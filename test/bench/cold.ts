import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseContent } from '../../src/certificate/pem.ts';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { primaryCrn } from '../end-to-end/program.ts';
import { type AwsStack, startAwsStack } from '../functions/aws-stack.ts';
import { httpApiEvent } from '../functions/http-events.ts';
import { type LambdaProcess, lambdaProcess } from '../functions/lambda-process.ts';
import { actionProcess } from '../functions/openwhisk-process.ts';
import { startOpenwhiskStack, webActionParameters } from '../functions/openwhisk-stack.ts';
import { makeSigner, payloadV5, type Signer } from '../support/notifications.ts';
import type { Report } from './report.ts';
import { quantile } from './statistics.ts';

const rounds = 25;
const warmEvents = 400;

/** The least that a function can be: it answers, and does nothing. */
const bare = {
  aws: 'export const handler = async () => ({ statusCode: 202 });\n',
  openwhisk: 'const main = async () => ({ statusCode: 202 });\n',
};

const account = '123456789012';
const eventsOfAws = `senders:
  aws: { kind: eventbridge, delivery: queue, store: primary, of: secretsmanager, region: eu-west-1, account: "${account}" }`;

/** Another event each time, of a secret that changed. */
const eventOfAws = () => ({
  ...{ version: '0', id: randomUUID(), 'detail-type': 'Secret Label Updated', source: 'aws.secretsmanager', account },
  ...{ time: new Date().toISOString(), region: 'eu-west-1' },
  resources: [`arn:aws:secretsmanager:eu-west-1:${account}:secret:certs/shop-Ab12Cd`],
  detail: { name: 'certs/shop', labelUpdated: 'AWSCURRENT', versionId: randomUUID() },
});

/** A function, and what it is asked. */
interface Contender {
  readonly name: string;
  /** A new event, made before the clock starts. */
  readonly event: () => Promise<object>;
  readonly kill: () => Promise<void>;
  readonly invoke: (event: object) => Promise<unknown>;
  /** How many times the time of the bare function it may take when cold. */
  readonly atMost?: number;
}

/**
 * From a new process to the answer of its first event, for every function of each platform, beside
 * one that only answers. Table, queue, platform and stores are servers on this machine, and their
 * answers are part of what is measured.
 */
export async function measureCold(report: Report): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-cold-'));
  try {
    await measureAws(report, folder);
    await measureOpenwhisk(report, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureAws(report: Report, folder: string): Promise<void> {
  const file = join(folder, 'bare.mjs');
  await writeFile(file, bare.aws);
  const signer = makeSigner();
  // The same beside it, with events of AWS by a queue.
  const [stack, queued] = await Promise.all([
    startAwsStack({ signingKey: signer.privateKey }),
    startAwsStack({ signingKey: signer.privateKey, senders: eventsOfAws }),
  ]);
  const bareFunction = lambdaProcess({ file, env: stack.deployed('callback').env });
  try {
    await queued.functions.sweep.invoke({});
    const { sweep, reconcile, callback, replicate } = stack.functions;
    await sweep.invoke({});
    const changes = await prepareChanges(stack, signer, async () => {
      await reconcile.invoke({});
      await stack.drain();
    });
    const headers = [['content-type', 'application/json']] as const;
    const contender = (
      name: string,
      { kill, invoke }: LambdaProcess,
      event: Contender['event'] = async () => ({}),
    ) => ({
      name,
      event,
      kill,
      invoke: (given: object) => invoke(given),
    });
    const contenders: readonly Contender[] = [
      contender('bare handler', bareFunction),
      {
        ...contender('callback', callback, async () => {
          stack.aws.take();
          return httpApiEvent({ method: 'POST', path: '/callback/main', headers, body: changes.notification() });
        }),
        atMost: 3,
      },
      {
        ...contender('callback, where events of AWS come by a queue too', queued.functions.callback, async () => {
          queued.aws.take();
          return httpApiEvent({ method: 'POST', path: '/callback/main', headers, body: changes.notification() });
        }),
        atMost: 3,
      },
      contender('events, one event of AWS', queued.functions.events, async () => {
        queued.aws.take();
        return { Records: [{ messageId: 'one', body: JSON.stringify(eventOfAws()) }] };
      }),
      contender('replicate, one certificate changed', replicate, async () => ({
        Records: [{ messageId: 'one', body: JSON.stringify(await changes.wake()) }],
      })),
      contender('sweep', sweep),
      contender('reconcile, two certificates', reconcile),
    ];
    const [, plain = 0, withEvents = 0] = await race(report, 'AWS Lambda', contenders);
    const ratio = { value: withEvents / plain, atMost: 1.05 };
    report.line('callback with events of AWS, against the one without', `${(withEvents - plain).toFixed(0)} ms`, ratio);
    report.heading(`Warm on AWS Lambda: ${warmEvents} events, one after the other`);
    for (const process of [bareFunction, callback, replicate])
      await measureWarm(
        report,
        contenders.find(({ kill }) => kill === process.kill),
        process,
      );
  } finally {
    await bareFunction.close();
    await Promise.all([stack.close(), queued.close()]);
  }
}

async function measureOpenwhisk(report: Report, folder: string): Promise<void> {
  const file = join(folder, 'bare.cjs');
  await writeFile(file, bare.openwhisk);
  const signer = makeSigner();
  const stack = await startOpenwhiskStack({ signingKey: signer.privateKey });
  const bareAction = actionProcess({ file, name: '/guest/bare', apiHost: stack.api.host, apiKey: 'none' });
  try {
    await stack.activate('sweep');
    const changes = await prepareChanges(stack, signer, async () => {
      await stack.activate('reconcile');
      await stack.drain();
    });
    const headers = [['content-type', 'application/json']] as const;
    const contender = (
      name: string,
      action: keyof typeof stack.actions,
      event: Contender['event'] = async () => ({}),
    ): Contender => ({
      name,
      event,
      kill: stack.actions[action].kill,
      invoke: (given) => stack.activate(action, given),
    });
    await race(report, 'Apache OpenWhisk (/init and /run)', [
      { name: 'bare action', event: async () => ({}), kill: bareAction.kill, invoke: (given) => bareAction.run(given) },
      {
        ...contender('callback', 'callback', async () =>
          webActionParameters({ method: 'POST', path: '/callback/main', headers, body: changes.notification() }),
        ),
        atMost: 3,
      },
      contender('replicate, one certificate changed', 'replicate', async () => ({ wakes: [await changes.wake()] })),
      contender('sweep', 'sweep'),
      contender('reconcile, two certificates', 'reconcile'),
    ]);
  } finally {
    await bareAction.kill();
    await stack.close();
  }
}

/**
 * Side by side, round after round: what else the machine does meets all of them alike. The first is
 * the one that does nothing. Answers their medians.
 */
async function race(report: Report, platform: string, contenders: readonly Contender[]): Promise<readonly number[]> {
  const times = contenders.map((): number[] => []);
  for (let round = 0; round < rounds; round += 1)
    for (const [index, contender] of contenders.entries()) times[index]?.push(await firstAnswer(contender));
  report.heading(`Cold start on ${platform}: new process to the first answer, median of ${rounds}`);
  const floor = quantile(times[0] ?? [], 0.5);
  for (const [index, { name, atMost }] of contenders.entries()) {
    const ms = quantile(times[index] ?? [], 0.5);
    const ratio = { value: ms / floor, ...(atMost === undefined ? {} : { atMost }) };
    report.line(name, `${ms.toFixed(0)} ms`, index === 0 ? undefined : ratio);
  }
  return times.map((own) => quantile(own, 0.5));
}

async function firstAnswer({ name, kill, invoke, event }: Contender): Promise<number> {
  const given = await event();
  await kill();
  const started = performance.now();
  const answer = await invoke(given);
  const tookMs = performance.now() - started;
  // What is refused is answered sooner.
  const { statusCode = 202, batchItemFailures = [] } = (answer ?? {}) as {
    readonly statusCode?: number;
    readonly batchItemFailures?: readonly unknown[];
  };
  if (statusCode !== 202 || batchItemFailures.length > 0) throw new Error(`${name} answered ${JSON.stringify(answer)}`);
  return tookMs;
}

async function measureWarm(report: Report, contender: Contender | undefined, process: LambdaProcess): Promise<void> {
  if (contender === undefined) return;
  const { name, event, invoke } = contender;
  for (let index = 0; index < 50; index += 1) await invoke(await event());
  const before = await process.usage();
  for (let index = 0; index < warmEvents; index += 1) await invoke(await event());
  const after = await process.usage();
  const cpuMs = (after.cpuMs - before.cpuMs) / warmEvents;
  report.line(name, `${cpuMs.toFixed(2)} ms of CPU an event, ${(after.rssBytes / 2 ** 20).toFixed(0)} MiB resident`);
}

/**
 * Two certificates that are copied already; then a notification that is another one each time, and
 * one of them changed each time.
 */
async function prepareChanges(
  { sides, table }: Pick<AwsStack, 'sides' | 'table'>,
  signer: Signer,
  copyAll: () => Promise<void>,
) {
  const ca = await createDevelopmentCa({ name: 'Bench', now: Date.now });
  const issue = async () => parseContent(await ca.issue({ domains: ['shop.example.test'] }));
  const versions = [await issue(), await issue()] as const;
  const metadata = { name: 'shop', description: '', tags: [] };
  const { id } = await sides.primary.store.import({ content: versions[0], metadata });
  await sides.primary.store.import({ content: versions[1], metadata });
  await copyAll();
  const records = replicationRecords(table);
  let version = 0;
  return {
    notification(): Buffer {
      const claims = { instance: primaryCrn, type: 'cert_reimported', ids: [id] };
      return signer.body(payloadV5({ ...claims, eventId: randomUUID(), eventTime: Date.now() }));
    },
    async wake() {
      version = 1 - version;
      await sides.primary.store.reimport(id, versions[version as 0 | 1]);
      await records.ask({ link: 'main', certificate: id, now: Date.now() });
      return { link: 'main', certificate: id };
    },
  };
}
