import { expect, test } from 'vitest';
import type { Delivery } from '../../src/compose/callbacks.ts';
import { composeCallback, composeDeliveries } from '../../src/compose/function-callback.ts';
import { parseConfig } from '../../src/config.ts';
import { deploymentOf } from '../../src/deployment.ts';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { CodedError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';

const account = '123456789012';
const secret = `arn:aws:secretsmanager:eu-west-1:${account}:secret:certs/shop-Ab12Cd`;
const envelope = (given: object = {}) => ({
  ...{ version: '0', id: 'event-1', 'detail-type': 'Secret Label Updated', source: 'aws.secretsmanager', account },
  ...{ time: '2026-11-29T10:00:00Z', region: 'eu-west-1', resources: [secret] },
  detail: { labelUpdated: 'AWSCURRENT' },
  ...given,
});

async function composed(table: Table = memoryTable()) {
  const text = `version: 1
stores:
  ireland: { kind: aws-secrets-manager, region: eu-west-1, account: "${account}", namePrefix: certs/ }
  serving: { kind: aws-acm, region: eu-west-1, account: "${account}" }
links: { shop: { primary: ireland, backups: [serving], policy: { restorable: false } } }
senders:
  aws: { kind: eventbridge, delivery: queue, store: ireland, of: secretsmanager, region: eu-west-1, account: "${account}" }
table: { kind: dynamodb, name: certstandby-dev, region: eu-west-1 }
`;
  const read = parseConfig(text, { path: '/etc/c.yaml', env: {}, readFile: () => '', platform: 'aws' });
  const woken: Wake[] = [];
  const dispatch = { dispatch: async (wakes: readonly Wake[]) => void woken.push(...wakes) };
  const parts = { config: deploymentOf(read, 'aws').config, table, dispatch, runtime, log: silentLog };
  const take = await composeDeliveries(parts);
  const send = (body: unknown): Promise<Delivery> =>
    take(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));
  return { send, woken, receive: await composeCallback(parts) };
}

test('an event that a rule has put into the queue is made durable once, and wakes a worker', async () => {
  const { send, woken } = await composed();
  expect(await send(envelope())).toBe('new');
  expect(woken).toMatchObject([{ link: 'shop', certificate: secret }]);
  expect(await send(envelope())).toBe('repeat');
  expect(await send(envelope({ id: 'event-2' }))).toBe('new');
});

test('what is of elsewhere, failed or no event is done with, and wakes nobody', async () => {
  const { send, woken } = await composed();
  expect(await send(envelope({ account: '999999999999' }))).toBe('foreign');
  expect(await send(envelope({ source: 'aws.s3' }))).toBe('foreign');
  const call = {
    'detail-type': 'AWS API Call via CloudTrail',
    detail: { eventName: 'DeleteSecret', errorCode: 'Denied' },
  };
  expect(await send(envelope(call))).toBe('foreign');
  for (const body of ['', '{}', '[]']) expect(await send(body)).toBe('malformed');
  expect(woken).toEqual([]);
});

test('what cannot be made durable comes again', async () => {
  const failing = async () => {
    throw new CodedError('table_unavailable', 'the table is away');
  };
  const { send } = await composed({ ...memoryTable(), update: failing, putIfAbsent: failing });
  await expect(send(envelope())).rejects.toMatchObject({ code: 'table_unavailable' });
});

test('the same envelope by HTTP is never taken on the word of the queue', async () => {
  const { receive, woken } = await composed();
  for (const name of ['aws', 'shop']) {
    const answer = await receive({
      ...{ method: 'POST', path: `/callback/${name}`, body: Buffer.from(JSON.stringify(envelope())) },
      header: (header) => (header.toLowerCase() === 'content-type' ? 'application/json' : undefined),
    });
    expect([name, answer.status]).toEqual([name, 404]);
  }
  expect(woken).toEqual([]);
});
