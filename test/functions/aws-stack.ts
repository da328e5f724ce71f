import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfig } from '../../src/config.ts';
import { deploymentOf } from '../../src/deployment.ts';
import { silentLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
import type { Table } from '../../src/table/table.ts';
import { backupCrn, primaryCrn } from '../end-to-end/program.ts';
import { type Sides, type SidesOptions, startSides } from '../end-to-end/sides.ts';
import { startDynalite } from '../support/dynalite.ts';
import { root } from '../support/root.ts';
import { bundleFunctions } from './bundles.ts';
import { type CountingProxy, startCountingProxy } from './counting-proxy.ts';
import { type FakeAws, startFakeAws } from './fake-aws.ts';
import { httpApiEvent } from './http-events.ts';
import { type LambdaProcess, lambdaProcess } from './lambda-process.ts';

const functionNames = ['callback', 'events', 'replicate', 'sweep', 'reconcile'] as const;
type FunctionName = (typeof functionNames)[number];

/** What functions answer to a batch of messages. */
interface BatchAnswer {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

/**
 * The stack as it is deployed: the real bundles of its configuration, each in a process of its
 * own, with a table, a queue, and an HTTP API in front.
 */
export interface AwsStack {
  readonly sides: Sides;
  readonly aws: FakeAws;
  /** As somebody sees it who is not one of the functions. */
  readonly table: Table;
  /** What the functions ask of the table. */
  readonly tableRequests: CountingProxy;
  readonly functions: Readonly<Record<FunctionName, LambdaProcess>>;
  /** The bundle of a function, and the environment in which it runs. */
  deployed(name: FunctionName): { readonly file: string; readonly env: Readonly<Record<string, string>> };
  /** `http://127.0.0.1:<port>/callback/main` */
  readonly callbackUrl: string;
  /**
   * Hands what lies in the queue to `replicate`, until nothing lies there. Answers the messages
   * that it gave back.
   */
  drain(): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** What differs from one deployment to the next. */
interface StackSettings {
  readonly policy?: string;
  /** As the file says them: `senders: { … }`. */
  readonly senders?: string;
  readonly readSettles?: string;
}

/**
 * The configuration that is deployed: one link `main` from one side to the other, the API key by
 * reference.
 */
function stackConfig(
  sides: Sides,
  { policy = '{ requireChain: true }', senders = '', readSettles = '0s' }: StackSettings,
): string {
  const store = (instance: string, url: string, name: string) =>
    `{ kind: certificate-manager, instance: "${instance}", apiKey: "ssm:/certstandby/${name}", endpoint: "${url}", iam: "${url}", ` +
    `settles: 1s, listingLag: 0s, readSettles: ${readSettles}, writesPerCertificatePerMinute: unlimited }`;
  return [
    'version: 1',
    'stores:',
    `  primary: ${store(primaryCrn, sides.primary.proxy.url, 'primary')}`,
    `  backup: ${store(backupCrn, sides.backup.proxy.url, 'backup')}`,
    `links: { main: { primary: primary, backups: [backup], policy: ${policy} } }`,
    senders,
  ].join('\n');
}

export async function startAwsStack(options: Pick<SidesOptions, 'signingKey'> & StackSettings = {}): Promise<AwsStack> {
  const [dynalite, sides] = await Promise.all([startDynalite(), startSides(options)]);
  const sources = { path: join(root, 'certstandby.yaml'), env: {}, readFile: () => '' };
  const config = parseConfig(stackConfig(sides, options), { ...sources, platform: 'aws' });
  const bundles = await bundleFunctions('aws', deploymentOf(config, 'aws'));
  const tableRequests = await startCountingProxy(dynalite.endpoint);
  const aws = await startFakeAws({ 'ssm:/certstandby/primary': sides.apiKey, 'ssm:/certstandby/backup': sides.apiKey });
  const given = { tableName: 'certstandby-test', region: 'eu-west-1', endpoint: dynalite.endpoint };
  const access = { ...given, credentials: { accessKeyId: 'test', secretAccessKey: new Secret('test') } };
  await createDynamodbTable(access);
  const table = dynamodbTable({ ...access, connectTimeoutMs: 10_000, answerTimeoutMs: 10_000 });

  const env = {
    AWS_REGION: given.region,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL: aws.endpoint,
    AWS_ENDPOINT_URL_DYNAMODB: tableRequests.endpoint,
    CERTSTANDBY_TABLE: given.tableName,
    CERTSTANDBY_QUEUE_URL: aws.queueUrl,
    CERTSTANDBY_STAGE: 'test',
  };
  const deployed = (name: FunctionName) => ({
    file: join(bundles.folder, 'aws', name, 'index.mjs'),
    env: { ...env, AWS_LAMBDA_FUNCTION_NAME: `certstandby-test-${name}` },
  });
  const started = functionNames.map(async (name) => {
    const folder = join(bundles.folder, 'aws', name);
    await copyFile(join(bundles.folder, 'certstandby.json'), join(folder, 'certstandby.json'));
    return [name, lambdaProcess(deployed(name))] as const;
  });
  const functions = Object.fromEntries(await Promise.all(started)) as Record<FunctionName, LambdaProcess>;

  // In front stands what API Gateway does: a request becomes an event, and the answer a response.
  const gateway = await startReceiverServer({
    async receiver({ method, path, header, body }) {
      const type = header('content-type');
      const headers: [string, string][] = type === undefined ? [] : [['content-type', type]];
      const event = httpApiEvent({ method, path, headers, body: Buffer.from(body) });
      const { statusCode, ...answer } = await functions.callback.invoke<{
        statusCode: number;
        headers: Record<string, string>;
        body: string;
      }>(event);
      return { status: statusCode, ...answer };
    },
    host: '127.0.0.1',
    port: 0,
    log: silentLog,
  });

  return {
    sides,
    aws,
    table,
    tableRequests,
    functions,
    deployed,
    callbackUrl: `${gateway.url}/callback/main`,
    async drain() {
      const givenBack: string[] = [];
      for (let batches = 0; aws.messages.length > 0 && batches < 100; batches += 1) {
        const { batchItemFailures } = await functions.replicate.invoke<BatchAnswer>(aws.take());
        givenBack.push(...batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
      }
      return givenBack;
    },
    async close() {
      await gateway.close();
      await Promise.all(Object.values(functions).map((each) => each.close()));
      await Promise.all([table.close(), aws.close(), sides.close()]);
      await tableRequests.close();
      await Promise.all([dynalite.close(), bundles.dispose()]);
    },
  };
}
