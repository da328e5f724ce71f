import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DescribeStacksCommand } from '@aws-sdk/client-cloudformation';
import { DescribeAlarmsCommand, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch';
import { DescribeLogGroupsCommand } from '@aws-sdk/client-cloudwatch-logs';
import { DescribeTableCommand } from '@aws-sdk/client-dynamodb';
import {
  ListRulesCommand,
  ListTargetsByRuleCommand,
  PutRuleCommand,
  PutTargetsCommand,
  TestEventPatternCommand,
} from '@aws-sdk/client-eventbridge';
import { DescribeKeyCommand } from '@aws-sdk/client-kms';
import { ListFunctionsCommand, UpdateFunctionConfigurationCommand } from '@aws-sdk/client-lambda';
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  ListSecretsCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { ListTopicsCommand, SubscribeCommand } from '@aws-sdk/client-sns';
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ListQueuesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { PutParameterCommand } from '@aws-sdk/client-ssm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { backupCrn, primaryCrn } from '../end-to-end/program.ts';
import { type Sides, startSides } from '../end-to-end/sides.ts';
import { brokenChain, testCertificate } from '../support/certificates.ts';
import { type FakeAcm, startFakeAcm } from '../support/fake-acm.ts';
import { makeSigner, payloadV5 } from '../support/notifications.ts';
import { root } from '../support/root.ts';
import { type Deployment, deploymentTo, ministackAccount } from './aws-deployment.ts';
import { type Ministack, region, startMinistack } from './ministack.ts';
import { requireLibrary } from './pypi.ts';

const withLibrary = requireLibrary('ministack', '1.5.33');
const withCli = requireLibrary('awscli', '1.46.3');

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
  let deployed: Deployment;
  let clients: Deployment['clients'];
  let callbackUrl = '';

  beforeAll(async () => {
    if (withLibrary === undefined) return;
    [aws, sides] = await Promise.all([startMinistack(withLibrary), startSides({ signingKey: signer.privateKey })]);
    deployed = deploymentTo(aws, { stack, home: folder });
    clients = deployed.clients;
    const { ssm, secrets } = clients;
    await ssm.send(
      new PutParameterCommand({ Name: '/certstandby/primary', Type: 'SecureString', Value: sides.apiKey }),
    );
    const SecretString = JSON.stringify({ apiKey: sides.apiKey });
    await secrets.send(new CreateSecretCommand({ Name: 'certstandby/backup', SecretString }));
    writeFileSync(config, configText(sides));
  });
  afterAll(async () => {
    deployed?.close();
    await sides?.close();
    await aws?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  afterEach(async ({ task }) => {
    if (task.result?.state !== 'fail') return;
    console.info(await deployed.said('callback', 'replicate', 'sweep', 'reconcile'));
  });

  const npm = (...args: string[]) => deployed.npm(...args);
  const invoke = (name: string) => deployed.invoke(name);
  const logged = (name: string) => deployed.logged(name);
  const waiting = (queue: string) => deployed.waiting(queue);
  const records = () => deployed.records();
  const where = ['--stage', stage, '--config', config, `--param=visibilitySeconds=${visibilitySeconds}`];

  const post = (body: Buffer, path = '') =>
    fetch(callbackUrl + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
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
    const resources = await deployed.resources();
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
    // Without its right to send, as the emulator sees it, the callback reaches the table and not
    // the queue, as it should.
    await invoke('sweep');
    const named = signer.body(payloadV5({ instance: primaryCrn, type: 'cert_imported', ids: ['1'.repeat(32)] }));
    expect((await post(named)).status).toBe(202);
    await expect
      .poll(() => logged('callback'))
      .toContainEqual(expect.objectContaining({ event: 'dispatch_failed', reason: 'AccessDeniedException' }));
    await deployed.letSendMany('CallbackRole', 'SweepRole', 'ReconcileRole');
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
    const resources = await deployed.resources();
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

describe.skipIf(withLibrary === undefined)('events of AWS, deployed to ministack', () => {
  const home = mkdtempSync(join(tmpdir(), 'certstandby-events-'));
  const config = join(home, 'certstandby.yaml');
  const where = ['--stage', 'events', '--config', config];
  const stack = 'certstandby-events';
  const queue = `${stack}-events`;
  const elsewhere = 'eu-central-1';
  let aws: Ministack;
  let deployed: Deployment;
  let acm: FakeAcm;
  let remote: SecretsManagerClient;
  let url = '';

  beforeAll(async () => {
    if (withLibrary === undefined) return;
    const here = { region: elsewhere, account: ministackAccount };
    [aws, acm] = await Promise.all([startMinistack(withLibrary), startFakeAcm(here)]);
    deployed = deploymentTo(aws, { stack, home });
    remote = new SecretsManagerClient({
      ...{ region: elsewhere, endpoint: aws.url, credentials: { accessKeyId: 'test', secretAccessKey: 'test' } },
    });
    writeFileSync(config, eventsConfig(aws.url, acm.url));
  });
  afterAll(async () => {
    remote?.destroy();
    deployed?.close();
    await acm?.close();
    await aws?.close();
    rmSync(home, { recursive: true, force: true });
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') console.info(await deployed.said('events', 'replicate', 'reconcile', 'sweep'));
  });

  const secretValue = (pem: CertificatePem) => {
    const { certificate, intermediate = '', privateKey } = toPem(parseContent(pem));
    return JSON.stringify({ 'tls.crt': certificate + intermediate, 'tls.key': privateKey?.reveal() });
  };
  /** Somebody writes a certificate in region A. */
  const put = async (SecretId: string, pem: CertificatePem) => {
    const SecretString = secretValue(pem);
    await deployed.clients.secrets.send(new PutSecretValueCommand({ SecretId, SecretString }));
  };
  const create = async (Name: string, pem: CertificatePem) => {
    const made = await deployed.clients.secrets.send(new CreateSecretCommand({ Name, SecretString: secretValue(pem) }));
    return made.ARN ?? '';
  };
  /** Fingerprints of all copies in region B's Secrets Manager, in order. */
  async function inSecrets(): Promise<readonly string[]> {
    const { SecretList = [] } = await remote.send(new ListSecretsCommand({}));
    const values = await Promise.all(
      SecretList.map(({ ARN: SecretId }) => remote.send(new GetSecretValueCommand({ SecretId }))),
    );
    const leaves = values.map(({ SecretString = '{}' }) => {
      const certificate: string = JSON.parse(SecretString)['tls.crt'];
      return parseContent({ certificate }).leaf.fingerprint256;
    });
    return leaves.sort();
  }
  const inAcm = () =>
    acm
      .leaves()
      .map(({ fingerprint256 }) => fingerprint256)
      .sort();
  const copies = async () => ({ secrets: await inSecrets(), acm: inAcm() });
  const wanted = (...pems: readonly CertificatePem[]) => {
    const leaves = pems.map((pem) => parseContent(pem).leaf.fingerprint256).sort();
    return { secrets: leaves, acm: leaves };
  };
  /** An event as AWS would tell it. */
  const envelope = (about: string, given: object = {}) => ({
    ...{ version: '0', id: randomUUID(), 'detail-type': 'Secret Label Updated', source: 'aws.secretsmanager' },
    ...{ account: ministackAccount, time: new Date().toISOString(), region, resources: [about] },
    detail: { name: 'certs/shop', labelUpdated: 'AWSCURRENT', versionId: randomUUID() },
    ...given,
  });
  const call = (about: string, detail: object, given: object = {}) =>
    envelope(about, {
      ...{ 'detail-type': 'AWS API Call via CloudTrail', resources: [] },
      detail: {
        ...{ eventSource: 'secretsmanager.amazonaws.com', eventName: 'DeleteSecret', awsRegion: region },
        ...{ recipientAccountId: ministackAccount, responseElements: { arn: about } },
        ...detail,
      },
      ...given,
    });
  /**
   * What the emulator lacks is brought to the function as Lambda brings messages of the queue,
   * which nobody else may put anything into: an event that comes twice, and what a trail tells.
   */
  const bring = (...bodies: readonly object[]) => {
    const message = (body: object) => ({ messageId: randomUUID(), eventSource: 'aws:sqs', body: JSON.stringify(body) });
    return deployed.invoke('events', { Records: bodies.map(message) });
  };
  const run = (file: string, args: readonly string[]) =>
    promisify(execFile)(file, [...args], { env: { PATH: process.env.PATH, HOME: home, ...aws.env } });
  /**
   * How events were taken, of all so far. The emulator may bring a line that a function has written
   * only with its next invocation.
   */
  const outcomes = async () => {
    await bring();
    return (await deployed.logged('events')).filter(({ event }) => event === 'delivery').map(({ outcome }) => outcome);
  };
  const taken = (since: number) => expect.poll(async () => (await outcomes()).slice(since).sort(), { interval: 500 });
  const atRest = async () => {
    for (const name of [queue, `${stack}.fifo`])
      await expect.poll(async () => (await deployed.waiting(name)).messages).toBe(0);
  };
  let arn = '';
  let renewed: CertificatePem;

  test(
    'one command deploys the rules, their queue and the function that takes events out of it',
    async () => {
      const first = await testCertificate();
      arn = await create('certs/shop', first);
      const { code, output } = await deployed.npm('deploy', '--', ...where);
      expect(code, output).toBe(0);
      const [, api = ''] = /main {2}https:\/\/([0-9a-f]+)\.execute-api/.exec(output) ?? [];
      url = `${aws.url}/_aws/execute-api/${api}/$default/callback`;
      await deployed.letSendMany('CallbackRole', 'SweepRole', 'ReconcileRole', 'EventsRole');
      // The first reconcile may have tried to wake somebody before it could.
      await deployed.invoke('sweep');
      await expect.poll(copies, { interval: 500 }).toEqual(wanted(first));
    },
    10 * minutes,
  );

  test('a value that is put in one region ends as a copy in Secrets Manager and in ACM of another one', async () => {
    renewed = await testCertificate();
    const before = (await outcomes()).length;
    const began = Date.now();
    await put('certs/shop', renewed);
    await expect.poll(copies, { interval: 100 }).toEqual(wanted(renewed));
    console.info(`PutSecretValue to both copies: ${Date.now() - began} ms, a cold start included`);
    await taken(before).toEqual(['new']);

    // No secret of ours lies between the bus and the function: its role reads none.
    const { PolicyDocument = '' } = await deployed.rolePolicy('EventsRole', 'events');
    expect(decodeURIComponent(PolicyDocument)).not.toMatch(/ssm:|secretsmanager:|acm:/);
  });

  test('an event that comes twice, in one batch or later, is one', async () => {
    await atRest();
    const [before, imports] = [(await outcomes()).length, acm.calls.length];
    const twice = envelope(arn);
    expect(await bring(twice, twice)).toEqual({ batchItemFailures: [] });
    await taken(before).toEqual(['new', 'repeat']);
    await bring(twice);
    await taken(before).toEqual(['new', 'repeat', 'repeat']);
    await atRest();
    expect(acm.calls.slice(imports).filter((name) => name === 'ImportCertificate')).toEqual([]);
    expect(await copies()).toEqual(wanted(renewed));
  });

  test('the rules pass what tells of this store alone, and no call that failed', async () => {
    const passes = async (body: object) => {
      const names = (await deployed.clients.events.send(new ListRulesCommand({ NamePrefix: `${stack}-aws-` }))).Rules;
      expect(names).toHaveLength(2);
      const answers = (names ?? []).map(({ EventPattern }) =>
        deployed.clients.events.send(new TestEventPatternCommand({ EventPattern, Event: JSON.stringify(body) })),
      );
      return (await Promise.all(answers)).filter(({ Result }) => Result).length;
    };
    expect(await passes(envelope(arn))).toBe(1);
    expect(await passes(call(arn, {}))).toBe(1);
    for (const foreign of [
      envelope(arn, { account: '999999999999' }),
      envelope(arn, { region: elsewhere }),
      envelope(arn, { source: 'aws.acm' }),
      envelope(arn, { detail: { name: 'certs/shop', labelUpdated: 'MINE' } }),
      call(arn, { errorCode: 'AccessDenied' }),
      call(arn, { eventName: 'PutSecretValue' }),
      call(arn, { eventName: 'CreateSecret' }),
    ])
      expect([foreign, await passes(foreign)]).toEqual([foreign, 0]);
  });

  test('what is of another account or region, or failed, is nothing even where it comes through', async () => {
    await atRest();
    const [before, calls] = [(await outcomes()).length, acm.calls.length];
    await bring(
      envelope(arn, { account: '999999999999' }),
      envelope(arn.replace(ministackAccount, '999999999999')),
      envelope(arn, { region: elsewhere }),
      call(arn, { errorCode: 'AccessDenied' }),
      call(arn, { recipientAccountId: '999999999999' }),
      call(arn, { eventName: 'PutSecretValue', requestParameters: { secretString: 'not to be read' } }),
    );
    await taken(before).toEqual(Array(6).fill('foreign'));
    await atRest();
    expect(acm.calls.slice(calls)).toEqual([]);
    expect(JSON.stringify(await deployed.logged('events'))).not.toContain('not to be read');
  });

  test('an envelope over HTTP is nothing, whatever address it is posted to', async () => {
    const before = (await outcomes()).length;
    const body = JSON.stringify(envelope(arn));
    const post = (path: string, text: string) =>
      fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: text });
    expect((await post('/aws', body)).status).toBe(404);
    expect((await post('/main', body)).status).toBe(404);
    // Shaped as Lambda brings messages of a queue.
    const records = JSON.stringify({ Records: [{ messageId: 'm', eventSource: 'aws:sqs', body }] });
    expect((await post('/aws', records)).status).toBe(404);
    expect((await deployed.waiting(`${stack}.fifo`)).messages).toBe(0);
    expect((await outcomes()).length).toBe(before);
  });

  test('nobody but the rules puts anything into the queue, though they may send to every queue', async () => {
    const { QueueUrl } = await deployed.waiting(queue);
    const key = await deployed.userWith({ Effect: 'Allow', Action: 'sqs:*', Resource: '*' });
    const sqs = new SQSClient({ region, endpoint: aws.url, credentials: key, maxAttempts: 1 });
    try {
      const MessageBody = JSON.stringify(envelope(arn));
      await expect(sqs.send(new SendMessageCommand({ QueueUrl, MessageBody }))).rejects.toThrow(/den/i);
      await expect(sqs.send(new GetQueueAttributesCommand({ QueueUrl }))).resolves.toBeDefined();
    } finally {
      sqs.destroy();
    }
  });

  test('a deletion that a trail tells is looked at, and a name is a hint that a worker resolves', async () => {
    await atRest();
    const before = (await outcomes()).length;
    const second = await testCertificate({ domains: ['second.example.test'] });
    await create('certs/second', second);
    // Its creation sent nothing; the trail tells of its restoration, by its name alone.
    const restored = { eventName: 'RestoreSecret', responseElements: null };
    await bring(call(arn, { ...restored, requestParameters: { secretId: 'certs/second' } }));
    await expect.poll(copies, { interval: 500 }).toEqual(wanted(renewed, second));
    await taken(before).toEqual(['new']);
  });

  test.skipIf(withCli === undefined)(
    'doctor finds what is not as it was deployed, and each line that it prints mends what it is for',
    async () => {
      /** What doctor says of the sender that has a line, by what it says. */
      const toMend = async () => {
        const program = join(root, 'dist/certstandby.js');
        const { stdout } = await run(process.execPath, [program, 'doctor', '--json', '--config', config]);
        const found: Record<string, string>[] = stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line));
        const ofSender = found.filter(({ about }) => about === 'sender aws');
        expect(ofSender.length).toBeGreaterThan(2);
        return ofSender
          .filter(({ outcome }) => outcome !== 'good')
          .map(({ message = '', remedy = '' }) => ({ message, remedy }));
      };
      const [program = '', ...args] = withCli?.('python3', '-m', 'awscli', '--endpoint-url', aws.url) ?? [];
      const type = (line: string) => run('bash', ['-euc', `aws() { ${[program, ...args].join(' ')} "$@"; }; ${line}`]);
      const { events } = deployed.clients;
      const Name = `${stack}-aws-own`;
      const { Targets = [] } = await events.send(new ListTargetsByRuleCommand({ Rule: Name }));
      const bare = Targets.map(({ Id, Arn }) => ({ Id, Arn }));
      await events.send(new PutTargetsCommand({ Rule: Name, Targets: bare }));
      const EventPattern = '{"source":["aws.secretsmanager"]}';
      await events.send(new PutRuleCommand({ Name, EventPattern, State: 'DISABLED' }));
      await type('aws s3api create-bucket --bucket trail --region us-east-1');

      const broken = await toMend();
      expect(broken.map(({ message }) => message)).toEqual([
        expect.stringMatching(/passes calls whose parameters can hold content/),
        expect.stringMatching(/is switched off/),
        expect.stringMatching(/has no dead letters/),
        expect.stringMatching(/^no trail logs writes in eu-west-1/),
      ]);
      for (const { remedy } of broken) await type(remedy.replace('<a bucket that CloudTrail may write to>', 'trail'));
      expect(await toMend()).toEqual([]);
    },
    10 * minutes,
  );

  test(
    'removal takes rules, queue and function away',
    async () => {
      const { code, output } = await deployed.npm('remove', '--', ...where);
      expect(code, output).toBe(0);
      expect((await deployed.clients.events.send(new ListRulesCommand({ NamePrefix: stack }))).Rules).toEqual([]);
      expect(
        (await deployed.clients.sqs.send(new ListQueuesCommand({ QueueNamePrefix: queue }))).QueueUrls ?? [],
      ).toEqual([]);
    },
    10 * minutes,
  );
});

/** The primary in the region of the functions, the copies in another one, and nobody's key. */
const eventsConfig = (ministack: string, acm: string): string => `version: 1
stores:
  ireland:
    { kind: aws-secrets-manager, region: ${region}, account: "${ministackAccount}", namePrefix: certs/,
      endpoint: "${ministack}", listingLag: 0s, readSettles: 0s }
  frankfurt:
    { kind: aws-secrets-manager, region: eu-central-1, account: "${ministackAccount}", namePrefix: copies/,
      endpoint: "${ministack}", settles: 2s, listingLag: 0s, readSettles: 0s, writesPerCertificatePerMinute: unlimited }
  serving:
    { kind: aws-acm, region: eu-central-1, account: "${ministackAccount}", endpoint: "${acm}",
      settles: 2s, listingLag: 0s, readSettles: 0s }
links:
  main: { primary: ireland, backups: [frankfurt, serving] }
senders:
  aws:
    { kind: eventbridge, delivery: queue, store: ireland, of: secretsmanager, region: ${region},
      account: "${ministackAccount}", namePrefix: certs/, endpoint: "${ministack}" }
`;

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
