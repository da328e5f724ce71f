import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CloudFormationClient, DescribeStacksCommand, ListStackResourcesCommand } from '@aws-sdk/client-cloudformation';
import { CloudWatchClient, DescribeAlarmsCommand, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch';
import {
  CloudWatchLogsClient,
  DescribeLogGroupsCommand,
  FilterLogEventsCommand,
} from '@aws-sdk/client-cloudwatch-logs';
import { DescribeTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { IAMClient, PutRolePolicyCommand } from '@aws-sdk/client-iam';
import { DescribeKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import {
  InvokeCommand,
  LambdaClient,
  ListFunctionsCommand,
  UpdateFunctionConfigurationCommand,
} from '@aws-sdk/client-lambda';
import { CreateSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { ListTopicsCommand, SNSClient, SubscribeCommand } from '@aws-sdk/client-sns';
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ListQueuesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { backupCrn, primaryCrn } from '../end-to-end/program.ts';
import { type Sides, startSides } from '../end-to-end/sides.ts';
import { brokenChain, testCertificate } from '../support/certificates.ts';
import { makeSigner, payloadV5 } from '../support/notifications.ts';
import { root } from '../support/root.ts';
import { type Ministack, region, startMinistack } from './ministack.ts';
import { requireLibrary } from './pypi.ts';

const withLibrary = requireLibrary('ministack', '1.5.33');

/** The stage is none that has values of its own: what it is told holds for production. */
const stage = 'rehearsal';
const stack = `certstandby-${stage}`;
/**
 * One that the emulator hands a message out again after; in AWS it would be twice what a function
 * may take.
 */
const visibilitySeconds = 6;
const minutes = 60_000;

describe.skipIf(withLibrary === undefined)('deployed to AWS, played by ministack', () => {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-deploy-'));
  const config = join(folder, 'certstandby.yaml');
  const signer = makeSigner();
  let aws: Ministack;
  let sides: Sides;
  let clients: ReturnType<typeof clientsOf>;
  let callbackUrl = '';

  beforeAll(async () => {
    if (withLibrary === undefined) return;
    [aws, sides] = await Promise.all([startMinistack(withLibrary), startSides({ signingKey: signer.privateKey })]);
    clients = clientsOf(aws.url);
    const { ssm, secrets } = clients;
    await ssm.send(
      new PutParameterCommand({ Name: '/certstandby/primary', Type: 'SecureString', Value: sides.apiKey }),
    );
    const SecretString = JSON.stringify({ apiKey: sides.apiKey });
    await secrets.send(new CreateSecretCommand({ Name: 'certstandby/backup', SecretString }));
    writeFileSync(config, configText(sides));
  });
  afterAll(async () => {
    for (const client of Object.values(clients ?? {})) client.destroy();
    await sides?.close();
    await aws?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  afterEach(async ({ task }) => {
    if (task.result?.state !== 'fail') return;
    for (const name of ['callback', 'replicate', 'sweep', 'reconcile'])
      console.info(
        name,
        (await logged(name).catch(() => []))
          .slice(-5)
          .map((line) => JSON.stringify(line))
          .join('\n'),
      );
    console.info(aws.said());
  });

  /** An npm command of ours, with the emulator for AWS. */
  function npm(...args: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
    const env = { PATH: process.env.PATH, HOME: folder, ...aws.env };
    const child = spawn('npm', ['run', '--silent', ...args], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, output }));
    });
  }
  const where = ['--stage', stage, '--config', config, `--param=visibilitySeconds=${visibilitySeconds}`];

  const invoke = async (name: string, payload: object = {}) => {
    const FunctionName = `${stack}-${name}`;
    const answer = await clients.lambda.send(
      new InvokeCommand({ FunctionName, Payload: Buffer.from(JSON.stringify(payload)) }),
    );
    const text = Buffer.from(answer.Payload ?? []).toString();
    if (answer.FunctionError !== undefined) throw new Error(`${name} failed: ${text}`);
    return JSON.parse(text);
  };
  const post = (body: Buffer, path = '') =>
    fetch(callbackUrl + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const records = () =>
    replicationRecords(
      dynamodbTable({
        tableName: stack,
        region,
        endpoint: aws.url,
        credentials: { accessKeyId: 'test', secretAccessKey: new Secret('test') },
      }),
    );
  const import_ = async (name: string, pem: CertificatePem) =>
    (await sides.primary.store.import({ content: parseContent(pem), metadata: { name, description: '', tags: [] } }))
      .id;
  const writes = () => sides.backup.proxy.requests.filter((request) => /^(POST .*import|PUT |DELETE )/.test(request));

  /** Fingerprints of what the backup holds under a name. */
  async function copiesOf(name: string): Promise<readonly string[]> {
    const { certificates } = await sides.backup.store.list({});
    const copies = certificates.filter((certificate) => certificate.name === name);
    const readings = await Promise.all(copies.map(({ id }) => sides.backup.store.read(id)));
    return readings.map((reading) =>
      reading.state === 'present' ? fingerprintOf(reading.value.content) : reading.state,
    );
  }
  const copied = (name: string, pem: CertificatePem) =>
    expect.poll(() => copiesOf(name), { interval: 200 }).toEqual([fingerprintOf(parseContent(pem))]);

  /** Lines that a function has logged. */
  async function logged(name: string): Promise<readonly Record<string, unknown>[]> {
    const logGroupName = `/aws/lambda/${stack}-${name}`;
    const lines: Record<string, unknown>[] = [];
    let nextToken: string | undefined;
    do {
      const page = await clients.logs.send(
        new FilterLogEventsCommand({ logGroupName, ...(nextToken !== undefined && { nextToken }) }),
      );
      for (const { message = '' } of page.events ?? []) if (message.startsWith('{')) lines.push(JSON.parse(message));
      nextToken = page.nextToken;
    } while (nextToken !== undefined);
    return lines;
  }
  const waiting = async (queue: string) => {
    const { QueueUrls = [] } = await clients.sqs.send(new ListQueuesCommand({ QueueNamePrefix: queue }));
    const QueueUrl = QueueUrls.find((url) => url.endsWith(`/${queue}`)) ?? '';
    const AttributeNames = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'] as const;
    const { Attributes = {} } = await clients.sqs.send(
      new GetQueueAttributesCommand({ QueueUrl, AttributeNames: [...AttributeNames] }),
    );
    return { QueueUrl, messages: AttributeNames.reduce((sum, name) => sum + Number(Attributes[name]), 0) };
  };

  test('a wrong configuration fails before anything is sent, every mistake named', async () => {
    const wrong = join(folder, 'wrong.yaml');
    writeFileSync(wrong, configText(sides).replace('ssm:/certstandby/primary', 'env:KEY').replace('backups', 'backup'));
    const { code, output } = await npm('deploy', '--', '--stage', stage, '--config', wrong);
    expect(output).toContain('stores.primary.apiKey: functions on aws cannot read env: here');
    expect(output).toMatch(/links\.main\.backup .*is not a known key/);
    expect(code).toBe(3);
    const parameter = await npm('deploy', '--', ...where, '--param=lookers=many');
    expect(parameter.output).toContain('the parameter lookers must be a whole number of at least 2, not many');
    expect(parameter.code).toBe(3);
    expect((await clients.lambda.send(new ListFunctionsCommand({}))).Functions).toEqual([]);
  });

  test('one command deploys it, begins the first reconcile, and says where the callback is', async () => {
    const { code, output } = await npm('deploy', '--', ...where);
    expect(output).toContain(`doctor --config ${config} --register https://`);
    const [, api = ''] = /main {2}https:\/\/([0-9a-f]+)\.execute-api\S+\/callback\/main/.exec(output) ?? [];
    expect(api, output).not.toBe('');
    expect(code).toBe(0);
    // What stands in the name of the host in AWS stands in the path here.
    callbackUrl = `${aws.url}/_aws/execute-api/${api}/$default/callback/main`;
    const { StackResourceSummaries: resources = [] } = await clients.stacks.send(
      new ListStackResourcesCommand({ StackName: stack }),
    );
    expect(resources.filter(({ ResourceStatus }) => !ResourceStatus?.endsWith('_COMPLETE'))).toEqual([]);
    await expect
      .poll(() => logged('reconcile'))
      .toContainEqual(expect.objectContaining({ Link: 'main', PendingCount: 0 }));
    console.info(`deployed ${resources.length} resources to ministack`);
  });

  test('deployed again, it stays where it is', async () => {
    const { code, output } = await npm('deploy', '--', ...where);
    expect(output).toContain(new URL(callbackUrl).pathname.split('/')[3]);
    expect(code).toBe(0);
  });

  test('functions may do what their roles say, and nothing else', async () => {
    // Without its right to send, the callback reaches the table and not the queue, as it should:
    // the emulator takes the right to send many for one of its own, and in AWS it is the right to
    // send ("Amazon SQS API permissions").
    await invoke('sweep');
    const named = signer.body(payloadV5({ instance: primaryCrn, type: 'cert_imported', ids: ['1'.repeat(32)] }));
    expect((await post(named)).status).toBe(202);
    await expect
      .poll(() => logged('callback'))
      .toContainEqual(expect.objectContaining({ event: 'dispatch_failed', reason: 'AccessDeniedException' }));
    const { StackResourceSummaries: resources = [] } = await clients.stacks.send(
      new ListStackResourcesCommand({ StackName: stack }),
    );
    const senders = resources.filter(({ LogicalResourceId }) =>
      /^(Callback|Sweep|Reconcile)Role$/.test(`${LogicalResourceId}`),
    );
    expect(senders).toHaveLength(3);
    const Resource = `arn:aws:sqs:${region}:000000000000:${stack}.fifo`;
    const Statement = [{ Effect: 'Allow', Action: 'sqs:SendMessageBatch', Resource }];
    for (const { PhysicalResourceId: RoleName } of senders) {
      const PolicyDocument = JSON.stringify({ Version: '2012-10-17', Statement });
      await clients.roles.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'emulator', PolicyDocument }));
    }
  });

  test('a signed event that is posted to the URL ends as a copy in the backup', async () => {
    await sides.addChannel(callbackUrl);
    const pem = await testCertificate();
    const began = Date.now();
    const id = await import_('shop', pem);
    await copied('shop', pem);
    console.info(`event to copy: ${Date.now() - began} ms, cold starts included`);
    await expect.poll(async () => (await records().get('main', id))?.lastError).toBeUndefined();

    const renewed = await testCertificate();
    const again = Date.now();
    await sides.primary.store.reimport(id, parseContent(renewed));
    await copied('shop', renewed);
    console.info(`renewal to copy: ${Date.now() - again} ms, warm`);
    // What a function writes is there some time after it has answered.
    const lags = async () => (await logged('replicate')).filter((line) => 'LagSeconds' in line).length;
    await expect.poll(lags).toBeGreaterThanOrEqual(2);
  });

  test('a duplicate is answered 200, and writes nothing', async () => {
    const pem = await testCertificate({ domains: ['twice.example.test'] });
    const id = await import_('twice', pem);
    await copied('twice', pem);
    const body = signer.body(payloadV5({ instance: primaryCrn, type: 'cert_reimported', ids: [id] }));
    expect((await post(body)).status).toBe(202);
    const before = writes().length;
    expect([(await post(body)).status, (await post(body)).status]).toEqual([200, 200]);
    await invoke('sweep');
    await expect.poll(async () => (await waiting(`${stack}.fifo`)).messages).toBe(0);
    await copied('twice', pem);
    expect(writes().length).toBe(before);
  });

  test('what is not genuine, or not for us, is answered as everywhere, and costs no message', async () => {
    const stranger = makeSigner().body(payloadV5({ instance: primaryCrn }));
    expect((await post(stranger)).status).toBe(401);
    expect((await post(Buffer.from('{}'))).status).toBe(400);
    expect((await post(stranger, 'x')).status).toBe(404);
    const wrongMethod = await fetch(callbackUrl);
    expect([wrongMethod.status, wrongMethod.headers.get('allow')]).toEqual([405, 'POST']);
    expect((await waiting(`${stack}.fifo`)).messages).toBe(0);
  });

  test('a certificate that would not serve ends in a record and in an alarm, not in a loop', async () => {
    const Endpoint = `arn:aws:sqs:${region}:000000000000:on-call`;
    const delivery = { Effect: 'Allow', Principal: '*', Action: 'sqs:SendMessage', Resource: Endpoint };
    const Attributes = { Policy: JSON.stringify({ Version: '2012-10-17', Statement: [delivery] }) };
    const { QueueUrl: inbox } = await clients.sqs.send(new CreateQueueCommand({ QueueName: 'on-call', Attributes }));
    const { Topics = [] } = await clients.sns.send(new ListTopicsCommand({}));
    const TopicArn = Topics.find((topic) => topic.TopicArn?.endsWith(`${stack}-alarms`))?.TopicArn;
    await clients.sns.send(new SubscribeCommand({ TopicArn, Protocol: 'sqs', Endpoint }));

    const good = await testCertificate({ domains: ['poison.example.test'] });
    const id = await import_('poison', good);
    await copied('poison', good);
    await sides.primary.store.reimport(id, parseContent(await brokenChain({ domains: ['poison.example.test'] })));
    await expect.poll(async () => (await records().get('main', id))?.lastError?.code).toBe('certificate_chain_broken');
    await copied('poison', good);

    // It is handed out once for each time that it is due, and then rests: no message goes round.
    await expect.poll(async () => (await waiting(`${stack}.fifo`)).messages).toBe(0);
    expect((await waiting(`${stack}-dead-letters.fifo`)).messages).toBe(0);
    const looks = async () => (await logged('replicate')).filter((line) => 'FailingCount' in line).length;
    await expect.poll(looks).toBeGreaterThan(0);
    const before = await looks();
    await sleep(3_000);
    expect((await looks()) - before).toBeLessThanOrEqual(1);

    // CloudWatch makes metrics of these lines; the emulator does not, so they are carried over as
    // the format says.
    const AlarmNames = [`${stack}-failing`];
    await expect
      .poll(async () => {
        await clients.metrics.send(new PutMetricDataCommand(metricsIn(await logged('replicate'))));
        const { MetricAlarms } = await clients.metrics.send(new DescribeAlarmsCommand({ AlarmNames }));
        return MetricAlarms?.[0]?.StateValue;
      })
      .toBe('ALARM');
    const told: string[] = [];
    const read = async () => {
      const batch = { QueueUrl: inbox, MaxNumberOfMessages: 10 };
      told.push(
        ...((await clients.sqs.send(new ReceiveMessageCommand(batch))).Messages ?? []).map(({ Body }) => `${Body}`),
      );
      return told.join('\n');
    };
    await expect.poll(read).toContain(`${stack}-failing`);
  });

  test('a message that nobody understands ends in the dead letter queue', async () => {
    const { QueueUrl } = await waiting(`${stack}.fifo`);
    const MessageBody = '{"certificate":17}';
    await clients.sqs.send(
      new SendMessageCommand({ QueueUrl, MessageBody, MessageGroupId: 'g', MessageDeduplicationId: 'd' }),
    );
    const dead = () => waiting(`${stack}-dead-letters.fifo`);
    await expect.poll(async () => (await dead()).messages, { interval: 500 }).toBe(1);
    const { Messages = [] } = await clients.sqs.send(new ReceiveMessageCommand({ QueueUrl: (await dead()).QueueUrl }));
    expect(Messages.map(({ Body }) => Body)).toEqual([MessageBody]);
    expect((await waiting(`${stack}.fifo`)).messages).toBe(0);
  });

  test(
    'functions that are killed in the middle of a write, or run out of time before it: one copy each in the end',
    async () => {
      /**
       * Holds up answers of a side for so long, and resolves when such a request is there. The
       * request itself takes effect.
       */
      const held = ({ proxy }: Sides['primary'], of: (request: { method: string; path: string }) => boolean) =>
        new Promise<void>((resolve) => {
          proxy.behave = (request) => {
            if (!of(request)) return 'pass';
            resolve();
            return { delayMs: 20_000 };
          };
        });
      const FunctionName = `${stack}-replicate`;
      const killed = await testCertificate({ domains: ['killed.example.test'] });
      const writing = held(sides.backup, ({ method, path }) => method === 'POST' && path.endsWith('/import'));
      const killedId = await import_('killed', killed);
      await writing;
      expect(aws.kill(FunctionName)).toBeGreaterThanOrEqual(1);
      sides.backup.proxy.behave = () => 'pass';

      await clients.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName, Timeout: 3 }));
      const late = await testCertificate({ domains: ['late.example.test'] });
      const reading = held(sides.primary, ({ method, path }) => method === 'GET' && path.includes('/certificate/'));
      const lateId = await import_('late', late);
      await reading;
      await sleep(5_000);
      expect(aws.said()).toMatch(/timed out after 3/i);
      expect(await copiesOf('late')).toEqual([]);
      await clients.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName, Timeout: 90 }));
      sides.primary.proxy.behave = () => 'pass';

      // Their leases end after a minute; from then on the sweep, which its schedule calls, has them
      // looked at again.
      const rests = async (id: string) => {
        const { requested = 1, replicated = 0, wakeAt, leaseUntil } = (await records().get('main', id)) ?? {};
        return replicated >= requested && wakeAt === undefined && leaseUntil === undefined;
      };
      for (const id of [killedId, lateId])
        await expect.poll(() => rests(id), { timeout: 4 * minutes, interval: 1_000 }).toBe(true);
      await copied('killed', killed);
      await copied('late', late);
      await expect.poll(async () => (await waiting(`${stack}.fifo`)).messages).toBe(0);
    },
    10 * minutes,
  );

  test('removal leaves nothing but the table and its key, which stay on purpose', async () => {
    const { Table } = await clients.tables.send(new DescribeTableCommand({ TableName: stack }));
    expect(Table).toMatchObject({ DeletionProtectionEnabled: true });
    const { StackResourceSummaries: resources = [] } = await clients.stacks.send(
      new ListStackResourcesCommand({ StackName: stack }),
    );
    const KeyId = resources.find(({ LogicalResourceId }) => LogicalResourceId === 'Key')?.PhysicalResourceId;
    const { code, output } = await npm('remove', '--', ...where);
    expect(output).toContain('So do the table of records and its key');
    expect(code).toBe(0);

    await expect(clients.stacks.send(new DescribeStacksCommand({ StackName: stack }))).rejects.toThrow(
      'does not exist',
    );
    const { lambda, sqs, logs, sns, metrics, tables, keys } = clients;
    expect((await lambda.send(new ListFunctionsCommand({}))).Functions).toEqual([]);
    expect((await sqs.send(new ListQueuesCommand({ QueueNamePrefix: stack }))).QueueUrls ?? []).toEqual([]);
    expect((await logs.send(new DescribeLogGroupsCommand({}))).logGroups).toEqual([]);
    expect((await sns.send(new ListTopicsCommand({}))).Topics).toEqual([]);
    expect((await metrics.send(new DescribeAlarmsCommand({}))).MetricAlarms).toEqual([]);
    expect((await fetch(callbackUrl, { method: 'POST' })).status).toBe(404);
    const kept = (await tables.send(new DescribeTableCommand({ TableName: stack }))).Table;
    expect(kept).toMatchObject({ TableStatus: 'ACTIVE' });
    expect((await keys.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata).toMatchObject({ KeyState: 'Enabled' });
  });
});

function clientsOf(endpoint: string) {
  const at = { region, endpoint, credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
  return {
    stacks: new CloudFormationClient(at),
    metrics: new CloudWatchClient(at),
    logs: new CloudWatchLogsClient(at),
    tables: new DynamoDBClient(at),
    keys: new KMSClient(at),
    roles: new IAMClient(at),
    lambda: new LambdaClient(at),
    secrets: new SecretsManagerClient(at),
    sns: new SNSClient(at),
    sqs: new SQSClient(at),
    ssm: new SSMClient(at),
  };
}

const configText = ({ primary, backup }: Sides): string => `version: 1
stores:
  primary:
    { kind: certificate-manager, instance: "${primaryCrn}", apiKey: "ssm:/certstandby/primary",
      endpoint: "${primary.proxy.url}", iam: "${primary.proxy.url}" }
  backup:
    { kind: certificate-manager, instance: "${backupCrn}", apiKey: "secretsmanager:certstandby/backup#apiKey",
      endpoint: "${backup.proxy.url}", iam: "${backup.proxy.url}", settles: 2s, listingLag: 0s,
      writesPerCertificatePerMinute: unlimited }
links:
  main: { primary: primary, backups: [backup] }
`;

/**
 * The metrics in lines of the embedded metric format (Amazon CloudWatch, "Specification: Embedded
 * metric format"), for one namespace.
 */
function metricsIn(lines: readonly Record<string, unknown>[]) {
  const MetricData = lines.flatMap((line) => {
    const { _aws: head } = line as {
      _aws?: { CloudWatchMetrics: { Dimensions: string[][]; Metrics: { Name: string }[] }[] };
    };
    return (head?.CloudWatchMetrics ?? []).flatMap(({ Dimensions, Metrics }) =>
      Dimensions.flatMap((names) =>
        Metrics.map(({ Name }) => ({
          MetricName: Name,
          Value: Number(line[Name]),
          Dimensions: names.map((name) => ({ Name: name, Value: String(line[name]) })),
        })),
      ),
    );
  });
  return { Namespace: 'certstandby', MetricData: MetricData.slice(-100) };
}
