import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditRows } from '../../src/audit/audit-rows.ts';
import { examineTrail } from '../../src/audit/examine.ts';
import { readTrail } from '../../src/audit/read.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { testCertificate } from '../support/certificates.ts';
import { type AwsStack, startAwsStack } from './aws-stack.ts';
import { startFakeAws } from './fake-aws.ts';
import { lambdaProcess } from './lambda-process.ts';

/**
 * The functions as they are deployed to AWS: the real bundles, in processes of their own, against
 * real instances over HTTP.
 */

let stack: AwsStack;
beforeAll(async () => {
  stack = await startAwsStack();
});
afterAll(() => stack.close());

const post = (body: string) =>
  fetch(stack.callbackUrl, { method: 'POST', headers: { 'content-type': 'application/json' }, body });

const metadata = (name: string) => ({ name, description: '', tags: [] });

async function importAtPrimary(name: string, options: Parameters<typeof testCertificate>[0] = {}) {
  const pem = await testCertificate(options);
  const content = parseContent(pem);
  const { id } = await stack.sides.primary.store.import({ content, metadata: metadata(name) });
  return { id, fingerprint: fingerprintOf(content) };
}

/** Fingerprints of what the backup holds under a name. */
async function copiesOf(name: string): Promise<readonly string[]> {
  const { store } = stack.sides.backup;
  const { certificates } = await store.list({});
  const readings = await Promise.all(certificates.filter((each) => each.name === name).map(({ id }) => store.read(id)));
  return readings.map((reading) =>
    reading.state === 'present' ? fingerprintOf(reading.value.content) : reading.state,
  );
}

/** Waits until the callback has sent so many messages to the queue, or more. */
async function queued(count: number): Promise<void> {
  await expect
    .poll(() => stack.aws.messages.length, {
      message: `messages in the queue; ${JSON.stringify(stack.functions.callback.lines.at(-1))}`,
    })
    .toBeGreaterThanOrEqual(count);
}

const metricsOf = (lines: readonly Readonly<Record<string, unknown>>[], name: string) =>
  lines.filter((line) => line._aws !== undefined && line[name] !== undefined);

describe('from an event to the copy', () => {
  it('waits for the verification key with 503, gets it by the sweep, and reconciles', async () => {
    const early = await post('{}');
    expect([early.status, ((await early.json()) as { code: string }).code]).toEqual([503, 'notification_key_missing']);
    await stack.functions.sweep.invoke({});
    expect(await stack.functions.reconcile.invoke({ 'detail-type': 'Scheduled Event' })).toMatchObject({
      reconciled: ['main'],
      failed: [],
      goesOn: [],
    });
    expect(metricsOf(stack.functions.sweep.lines, 'ReconcileAgeSeconds')).toMatchObject([
      { Stage: 'test', Link: 'main', PendingCount: 0, OldestPendingSeconds: 0 },
    ]);
    await stack.functions.callback.kill(); // an absent key is believed absent for a second
    await stack.sides.addChannel(stack.callbackUrl);
  });

  it('acknowledges, queues, copies; nothing else is in the message than names', async () => {
    const { id, fingerprint } = await importAtPrimary('shop');
    await queued(1);
    expect(stack.aws.messages).toMatchObject([{ body: JSON.stringify({ link: 'main', certificate: id }) }]);
    expect(await stack.drain()).toEqual([]);
    expect(await copiesOf('shop')).toEqual([fingerprint]);
    expect(metricsOf(stack.functions.replicate.lines, 'LagSeconds')).toHaveLength(1);
  });

  it('tells the audit trail which event it answered and what it wrote, in a chain that can be proven', async () => {
    const rows = auditRows(stack.table);
    // The function waits a moment for what it tells; what takes longer is written all the same.
    const told = async () => {
      const found: string[] = [];
      for await (const { line } of readTrail(rows, { link: 'main' }, () => found.push('unreadable'))) {
        const { kind, sender, backups } = line;
        const actions = (backups as readonly { readonly actions: readonly string[] }[] | undefined)?.flatMap(
          (each) => each.actions,
        );
        found.push([kind, sender, actions].filter(Boolean).join(' '));
      }
      return found;
    };
    await expect.poll(told).toEqual(['event certificate-manager', 'pass imported']);
    expect(await examineTrail(rows, { trusted: [], now: Date.now() })).toMatchObject({ flaws: [], lines: 3 });
    // What a reconcile finds told is not told again; what nobody told, because its process died,
    // is.
    const long = Date.now() - 600_000;
    const asked = { link: 'main', certificate: 'not-told', now: long, eventAt: long, toldBy: 'nobody-else' };
    await replicationRecords(stack.table).ask(asked);
    await stack.table.delete({ partition: 'audit-rounds.1', sort: 'main' });
    await stack.functions.reconcile.invoke({});
    // Chains that began in the same second stand in any order.
    const events = async () => (await told()).filter((line) => line.startsWith('event')).toSorted();
    await expect.poll(events).toEqual(['event certificate-manager', 'event nobody-else']);
    stack.aws.take();
    await stack.table.delete({ partition: 'replication.1/main', sort: 'not-told' });
  });

  it('does nothing twice: the same message again, and the same again in one batch, write nothing', async () => {
    const { id } = await importAtPrimary('twice');
    await queued(1);
    const [message] = stack.aws.take().Records;
    const { requests } = stack.sides.backup.proxy;
    const event = {
      Records: [
        { ...message, messageId: 'a' },
        { ...message, messageId: 'b' },
      ],
    };
    expect(await stack.functions.replicate.invoke(event)).toEqual({ batchItemFailures: [] });
    expect(await copiesOf('twice')).toHaveLength(1);
    const before = requests.length;
    expect(await stack.functions.replicate.invoke({ Records: [message] })).toEqual({ batchItemFailures: [] });
    expect(requests.length).toBe(before);
    expect((await replicationRecords(stack.table).get('main', id))?.replicated).toBe(1);
  });

  it('answers 200 to a notification that it has seen, and queues nothing', async () => {
    const bodies: string[] = [];
    const invoke = stack.functions.callback.invoke;
    Object.assign(stack.functions.callback, {
      invoke: (event: { body: string }) => {
        bodies.push(Buffer.from(event.body, 'base64').toString());
        return invoke(event);
      },
    });
    await importAtPrimary('seen');
    await queued(1);
    Object.assign(stack.functions.callback, { invoke });
    await stack.drain();
    const [body = ''] = bodies;
    const again = await post(body);
    expect([again.status, await again.json()]).toEqual([200, { status: 'repeat', sender: 'certificate-manager' }]);
    expect(stack.aws.messages).toEqual([]);
  });
});

describe('what goes wrong', () => {
  it('a certificate that would not serve ends in a record and a metric, and its message is done', async () => {
    const { id } = await importAtPrimary('poisoned', { intermediates: 0 });
    await queued(1);
    expect(await stack.drain()).toEqual([]);
    expect(await copiesOf('poisoned')).toEqual([]);
    const record = await replicationRecords(stack.table).get('main', id);
    expect(record?.refusal?.code).toBe('certificate_chain_missing');
    const failing = metricsOf(stack.functions.replicate.lines, 'FailingCount').length;
    expect(failing).toBe(1);
    // Woken again at once it is not looked at: the record says when.
    await stack.functions.replicate.invoke({
      Records: [{ messageId: 'x', body: JSON.stringify({ link: 'main', certificate: id }) }],
    });
    expect(metricsOf(stack.functions.replicate.lines, 'FailingCount').length).toBe(failing);
  });

  it.each(['', 'hello', '{}', '{"link":"main"}', '{"link":"main","certificate":7}', '[]'])(
    'the message %j is given back alone, for the dead letters',
    async (body) => {
      const { id } = await importAtPrimary('beside');
      await queued(1);
      const records = [...stack.aws.take().Records, { messageId: 'bad', body }];
      expect(await stack.functions.replicate.invoke({ Records: records })).toEqual({
        batchItemFailures: [{ itemIdentifier: 'bad' }],
      });
      expect((await replicationRecords(stack.table).get('main', id))?.replicated).toBe(1);
    },
  );

  it('a message for a link that is no longer configured is nothing', async () => {
    const body = JSON.stringify({ link: 'former', certificate: 'a' });
    expect(await stack.functions.replicate.invoke({ Records: [{ messageId: 'm', body }] })).toEqual({
      batchItemFailures: [],
    });
  });

  it('a queue that is down loses nothing: acknowledged all the same, and woken by the sweep', async () => {
    stack.aws.down = true;
    const { id, fingerprint } = await importAtPrimary('queue-down');
    await expect.poll(() => replicationRecords(stack.table).due('main', Date.now(), 10)).toContain(id);
    stack.aws.down = false;
    await stack.functions.sweep.invoke({});
    await stack.drain();
    expect(await copiesOf('queue-down')).toEqual([fingerprint]);
  });

  it('a function that is killed between a write and its commit leaves one copy, and the next one goes on', async () => {
    const { proxy } = stack.sides.backup;
    const { replicate, sweep } = stack.functions;
    const { id, fingerprint } = await importAtPrimary('killed');
    await queued(1);
    // The import takes effect, and its answer does not come before the process is gone.
    const never = new Promise(() => {});
    proxy.behave = ({ path }) => (path.endsWith('/certificates/import') ? { until: never } : 'pass');
    const cut = replicate.invoke(stack.aws.take()).catch((thrown: Error) => thrown.message);
    await expect.poll(() => copiesOf('killed')).toHaveLength(1);
    await replicate.kill();
    expect(await cut).toBe('killed');
    proxy.behave = () => 'pass';
    expect((await replicationRecords(stack.table).get('main', id))?.leaseUntil).toBeDefined();

    // Nobody takes over before the lease has ended; then a look by the mark finds the copy.
    for (const aheadMs of [70_000, 90_000, 110_000]) {
      await Promise.all([replicate.setClock(aheadMs), sweep.setClock(aheadMs)]);
      await sweep.invoke({});
      await stack.drain();
    }
    expect(await copiesOf('killed')).toEqual([fingerprint]);
    const record = await replicationRecords(stack.table).get('main', id);
    expect(record).toMatchObject({ replicated: record?.requested });
    expect([record?.leaseUntil, record?.doubt, record?.wakeAt]).toEqual([undefined, undefined, undefined]);
    await Promise.all([replicate.setClock(0), sweep.setClock(0)]);
  });

  it('a reconcile whose time runs out has the rest done by another invocation, and ends where that would go on for ever', async () => {
    const { reconcile } = stack.functions;
    const { proxy } = stack.sides.primary;
    proxy.behave = ({ method }) => (method === 'GET' ? { delayMs: 1_500 } : 'pass');
    const shortMs = 45_500;
    expect(await reconcile.invoke({}, shortMs)).toMatchObject({ reconciled: [], goesOn: ['main'] });
    expect(stack.aws.invoked).toEqual([{ links: ['main'], continuation: 1 }]);
    await expect(reconcile.invoke(stack.aws.invoked[0], shortMs)).rejects.toThrow('does not end in its time');
    expect(stack.aws.invoked).toHaveLength(1);
    proxy.behave = () => 'pass';
    expect(await reconcile.invoke({})).toMatchObject({ reconciled: ['main'], goesOn: [] });
  });

  it('a function whose environment lacks something says all that it lacks', async () => {
    const { file, env } = stack.deployed('sweep');
    const { CERTSTANDBY_TABLE: _table, CERTSTANDBY_QUEUE_URL: _queue, ...rest } = env;
    const bare = lambdaProcess({ file, env: rest });
    await expect(bare.invoke({})).rejects.toThrow(
      'the environment of this function lacks CERTSTANDBY_TABLE, CERTSTANDBY_QUEUE_URL',
    );
    await bare.close();
  });

  it('an API key that cannot be read fails its own store alone, and is read again by the next look', async () => {
    const { file, env } = stack.deployed('replicate');
    const other = await startFakeAws({ 'ssm:/certstandby/primary': stack.sides.apiKey });
    const early = lambdaProcess({ file, env: { ...env, AWS_ENDPOINT_URL: other.endpoint } });
    const { id, fingerprint } = await importAtPrimary('secret');
    await queued(1);
    const message = stack.aws.take();
    expect(await early.invoke(message)).toEqual({ batchItemFailures: [] });
    const record = () => replicationRecords(stack.table).get('main', id);
    const failed = await record();
    expect(failed?.primary?.name).toBe('secret');
    expect(failed?.backups[0]?.lastError).toMatchObject({
      code: 'secret_unreadable',
      message: expect.stringContaining('does not give the secret /certstandby/backup: ParameterNotFound'),
    });
    other.secrets['ssm:/certstandby/backup'] = stack.sides.apiKey;
    await early.setClock(60_000);
    expect(await early.invoke(message)).toEqual({ batchItemFailures: [] });
    expect(await copiesOf('secret')).toEqual([fingerprint]);
    expect(JSON.stringify(early.lines)).not.toContain(stack.sides.apiKey);
    await Promise.all([early.close(), other.close()]);
  });

  it('a sweep reads no API key', async () => {
    const { file, env } = stack.deployed('sweep');
    const other = await startFakeAws({});
    const sweep = lambdaProcess({ file, env: { ...env, AWS_ENDPOINT_URL: other.endpoint } });
    expect(await sweep.invoke({})).toMatchObject({ woken: expect.any(Number) });
    await Promise.all([sweep.close(), other.close()]);
  });

  it('a reconcile that somebody asked for is begun by the sweep once it is due, is done once, and is asked for no more', async () => {
    const { reconcile, sweep } = stack.functions;
    const links = linkRecords(stack.table);
    stack.aws.invoked.length = 0;
    stack.aws.invokedFunctions.length = 0;
    await links.askReconcile('main', Date.now());
    await sweep.invoke({});
    expect(stack.aws.invoked).toEqual([]);
    await Promise.all([sweep.setClock(3_600_000), reconcile.setClock(3_600_000)]);
    // A platform that does not take it loses nothing, and holds up nothing else.
    stack.aws.down = true;
    expect(await sweep.invoke({})).toMatchObject({ woken: expect.any(Number) });
    expect(sweep.lines).toContainEqual(expect.objectContaining({ event: 'asked_reconcile_failed' }));
    stack.aws.down = false;
    await sweep.invoke({});
    expect(stack.aws.invoked).toContainEqual({ asked: true });
    expect(stack.aws.invokedFunctions.at(-1)).toBe('certstandby-test-reconcile');
    expect(await reconcile.invoke(stack.aws.invoked.at(-1))).toMatchObject({ reconciled: ['main'], failed: [] });
    expect(await links.askedReconcile('main')).toBeUndefined();
    expect(await reconcile.invoke({ asked: true })).toMatchObject({ reconciled: [], failed: [], goesOn: [] });
    await Promise.all([sweep.setClock(0), reconcile.setClock(0)]);
  });
});
