import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { primaryCrn } from '../end-to-end/program.ts';
import { testCertificate } from '../support/certificates.ts';
import { makeSigner, payloadV5 } from '../support/notifications.ts';
import { type AwsStack, startAwsStack } from './aws-stack.ts';
import { httpApiEvent } from './http-events.ts';

/**
 * What one thing costs in requests, counted where they arrive. The README computes from these
 * numbers what it costs in money.
 */

const signer = makeSigner();
let stack: AwsStack;
let id: string;
const renew = async () =>
  stack.sides.primary.store.reimport(id, parseContent(await testCertificate({ domains: ['shop.example.test'] })));

beforeAll(async () => {
  stack = await startAwsStack({ signingKey: signer.privateKey });
  await stack.functions.sweep.invoke({});
  const content = parseContent(await testCertificate({ domains: ['shop.example.test'] }));
  ({ id } = await stack.sides.primary.store.import({ content, metadata: { name: 'shop', description: '', tags: [] } }));
  await stack.functions.reconcile.invoke({});
  await stack.drain();
});
afterAll(() => stack.close());

/** Counts the requests of what an invocation does, once everything before has ended. */
async function counted(work: () => Promise<unknown>) {
  stack.tableRequests.take();
  stack.sides.primary.proxy.requests.length = 0;
  stack.sides.backup.proxy.requests.length = 0;
  await work();
  const { primary, backup } = stack.sides;
  const asked = ({ requests }: { readonly requests: readonly string[] }) =>
    requests.filter((request) => !request.includes('/identity/token')).length;
  return { table: stack.tableRequests.take(), primary: asked(primary.proxy), backup: asked(backup.proxy) };
}

let events = 0;
const notification = () => {
  events += 1;
  const claims = { instance: primaryCrn, type: 'cert_reimported', ids: [id], eventId: `event-${events}` };
  const body = signer.body(payloadV5({ ...claims, eventTime: Date.now() }));
  return httpApiEvent({
    method: 'POST',
    path: '/callback/main',
    headers: [['content-type', 'application/json']],
    body,
  });
};

it('an event: the callback', async () => {
  await stack.functions.callback.invoke(notification());
  stack.aws.take();
  // The verification key is read once in fifteen seconds.
  expect(await counted(() => stack.functions.callback.invoke(notification()))).toEqual({
    table: { UpdateItem: 2 },
    primary: 0,
    backup: 0,
  });
  expect(stack.aws.messages).toHaveLength(1);
});

it('an event: the pass that copies', async () => {
  await renew();
  expect(await counted(() => stack.drain())).toEqual({
    // Two of the writes are for the audit trail, after the commit.
    table: { GetItem: 1, UpdateItem: 4 },
    primary: 1,
    backup: 2,
  });
});

it('a replication record of one backup takes two write units at the most, long names included', async () => {
  const row = await stack.table.get({ partition: 'replication.1/main', sort: id });
  // DynamoDB counts names and values; JSON, with its quotes and braces, is somewhat more.
  expect(JSON.stringify(row).length).toBeLessThan(2_048);
});

it('a repeat: the callback, and later the pass that finds everything equal', async () => {
  const event = notification();
  await stack.functions.callback.invoke(event);
  await stack.drain();
  expect(await counted(() => stack.functions.callback.invoke(event))).toMatchObject({
    table: { UpdateItem: 2, GetItem: expect.any(Number) },
  });
  expect(stack.aws.messages).toHaveLength(0);
});

it('a sweep of one link, with nothing to do', async () => {
  await stack.functions.sweep.invoke({});
  await stack.drain();
  expect(await counted(() => stack.functions.sweep.invoke({}))).toEqual({
    // One of the queries is for names that came in the place of ids.
    table: { Query: 3, GetItem: 3 },
    primary: 1,
    backup: 0,
  });
});

it('a reconcile of one link with one certificate, with nothing to do', async () => {
  expect(await counted(() => stack.functions.reconcile.invoke({}))).toEqual({
    // Three of the reads are for the two brakes and for a reconcile that was asked for; one, and
    // one of the writes, find that it is not time to add to the audit trail.
    table: { UpdateItem: 6, GetItem: 7, Query: 2 },
    primary: 1,
    backup: 1,
  });
});
