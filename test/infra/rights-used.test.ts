import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditRows } from '../../src/audit/audit-rows.ts';
import { readTrail } from '../../src/audit/read.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { listen } from '../../src/http/listen.ts';
import { limits } from '../../src/limits.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { changedType, changeMessage, type Named } from '../../src/sender/change-message.ts';
import { newKeyPair, signingKey } from '../../src/sender/standard-webhook-keys.ts';
import { messageHeaders } from '../../src/sender/standard-webhook-message.ts';
import { primaryCrn } from '../end-to-end/program.ts';
import { type AwsStack, startAwsStack } from '../functions/aws-stack.ts';
import { httpApiEvent } from '../functions/http-events.ts';
import { type LambdaProcess, lambdaProcess } from '../functions/lambda-process.ts';
import { testCertificate, validFrom } from '../support/certificates.ts';
import { makeSigner, payloadV5 } from '../support/notifications.ts';
import { rightsInTable } from './rights.ts';

/**
 * The rights of ROLES.md, compared with what the functions ask of the table when everything that
 * they do is done once: each request is allowed, and each right is needed.
 */

const functionNames = ['callback', 'replicate', 'sweep', 'reconcile'] as const;
type Name = (typeof functionNames)[number];

/** A request to the table: by which function, what, where. */
interface Asked {
  readonly who: Name;
  readonly action: string;
  readonly on: string;
  readonly partition: string;
}

interface Watch {
  readonly endpoint: string;
  /** Whether a request is refused, as if the table could not be asked. */
  refuse: (asked: Asked) => boolean;
  close(): Promise<unknown>;
}

const signer = makeSigner();
const hook = newKeyPair();
const secret = 'a-secret-of-thirty-two-letters-1';
const seen: Asked[] = [];
const watches = {} as Record<Name, Watch>;
const functions = {} as Record<Name, LambdaProcess>;
let stack: AwsStack;

beforeAll(async () => {
  stack = await startAwsStack({
    signingKey: signer.privateKey,
    readSettles: '1s',
    senders: `senders:
  hook: { kind: standard-webhooks, store: primary, publicKey: ${hook.publicKey} }
  renewals: { kind: shared-secret, store: primary, digest: ${hash('sha256', secret)} }`,
  });
  for (const name of functionNames) {
    const { file, env } = stack.deployed(name);
    watches[name] = await watch(name, String(env.AWS_ENDPOINT_URL_DYNAMODB));
    const watched = { ...env, AWS_ENDPOINT_URL_DYNAMODB: watches[name].endpoint };
    functions[name] = lambdaProcess({ file, env: watched });
  }
});
afterAll(async () => {
  for (const name of functionNames) {
    await functions[name]?.close();
    await watches[name]?.close();
  }
  await stack?.close();
});

/** Stands before the table, and notes what a function asks of it. */
async function watch(who: Name, target: string): Promise<Watch> {
  const server = createServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const asked = askedIn(who, String(request.headers['x-amz-target']), JSON.parse(body.toString()));
    seen.push(asked);
    if (watching.refuse(asked)) return void response.writeHead(500).end('{}');
    const { host: _host, connection: _connection, ...headers } = request.headers;
    const answer = await fetch(target, { method: 'POST', headers: headers as Record<string, string>, body });
    const type = answer.headers.get('content-type') ?? 'application/x-amz-json-1.0';
    response.writeHead(answer.status, { 'content-type': type }).end(Buffer.from(await answer.arrayBuffer()));
  });
  const { url } = await listen(server, '127.0.0.1', 0, { nextFree: false });
  const close = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  const watching: Watch = { endpoint: url, refuse: () => false, close };
  return watching;
}

interface TableRequest {
  readonly Key?: { readonly partition: { readonly S: string } };
  readonly IndexName?: string;
  readonly KeyConditionExpression?: string;
  readonly ExpressionAttributeValues?: Readonly<Record<string, { readonly S?: string }>>;
}

function askedIn(who: Name, target: string, request: TableRequest): Asked {
  const [, placeholder = ''] = /^\S+ = (:\w+)/.exec(request.KeyConditionExpression ?? '') ?? [];
  const partition = request.Key?.partition.S ?? request.ExpressionAttributeValues?.[placeholder]?.S;
  if (partition === undefined) throw new Error(`${target} says no partition`);
  const index = request.IndexName === undefined ? '' : `/index/${request.IndexName}`;
  const action = target.replace('DynamoDB_20120810.', 'dynamodb:');
  return { who, action, on: `dynamodb table/certstandby-<stage>${index}`, partition };
}

/** The rights to the table, one for each action and pattern of partitions. */
const rights = rightsInTable(readFileSync(new URL('../../infra/aws/ROLES.md', import.meta.url), 'utf8'))
  .filter(({ may }) => may.startsWith('dynamodb:'))
  .flatMap(({ who, may, on, if: condition }) => {
    const [, patterns = ''] = /^ForAllValues:StringLike dynamodb:LeadingKeys = (.+)$/.exec(condition) ?? [];
    return may.split(', ').flatMap((action) => patterns.split(' or ').map((pattern) => ({ who, action, on, pattern })));
  });
type TableRight = (typeof rights)[number];
const allows = ({ who, action, on, pattern }: TableRight, asked: Asked): boolean =>
  who === asked.who &&
  action === asked.action &&
  on === asked.on &&
  (pattern.endsWith('*') ? asked.partition.startsWith(pattern.slice(0, -1)) : asked.partition === pattern);

const post = (body: Buffer) =>
  functions.callback.invoke<{ readonly statusCode: number }>(
    httpApiEvent({ method: 'POST', path: '/callback/main', headers: [['content-type', 'application/json']], body }),
  );
/** A message of a sender about these certificates, or that something has changed. */
async function tell(sender: 'hook' | 'renewals', certificates?: readonly Named[]) {
  const body = changeMessage({ type: changedType, at: Date.now(), ...(certificates && { certificates }) });
  const key = signingKey(hook.privateKey);
  if (key === undefined) throw new Error('a new key is none');
  const now = Date.now();
  const proof =
    sender === 'hook'
      ? messageHeaders(key, { id: `msg_${seen.length}`, body, now })
      : { authorization: `Bearer ${secret}` };
  const headers = Object.entries({ 'content-type': 'application/json', ...proof });
  const event = httpApiEvent({ method: 'POST', path: `/callback/${sender}`, headers, body: Buffer.from(body) });
  return (await functions.callback.invoke<{ readonly statusCode: number }>(event)).statusCode;
}
const replicateAll = async () => {
  while (stack.aws.messages.length > 0) await functions.replicate.invoke(stack.aws.take());
};

test('every request that functions send to the table is allowed, and every right to it is needed', async () => {
  await functions.sweep.invoke({});
  await functions.reconcile.invoke({});
  await functions.sweep.invoke({});
  const metadata = { name: 'shop', description: '', tags: [] };
  const { id } = await stack.sides.primary.store.import({ content: parseContent(await testCertificate()), metadata });
  const event = signer.body(payloadV5({ instance: primaryCrn, type: 'cert_imported', ids: [id] }));
  expect((await post(event)).statusCode).toBe(202);
  await replicateAll();
  // Seen before, and due: a row refuses, and the sweep wakes.
  expect((await post(event)).statusCode).toBe(200);
  await functions.sweep.invoke({});
  await replicateAll();
  // A write that fails: that the notification was seen is taken back.
  watches.callback.refuse = ({ action, partition }) =>
    action === 'dynamodb:UpdateItem' && partition.startsWith('replication.1/');
  const other = signer.body(payloadV5({ instance: primaryCrn, type: 'cert_reimported', ids: [id] }));
  expect((await post(other)).statusCode).toBe(503);
  watches.callback.refuse = () => false;
  expect((await post(other)).statusCode).toBe(202);
  // A wake-up for what somebody else holds, and for what nobody asked for.
  await Promise.all([replicateAll(), functions.replicate.invoke(stack.aws.take())]);
  const nobody = { messageId: 'm', body: JSON.stringify({ link: 'main', certificate: 'nobody' }) };
  await functions.replicate.invoke({ Records: [nobody] });
  // Something that no event told of, and two that want the turn at once.
  const untold = { content: parseContent(await testCertificate()), metadata: { ...metadata, name: 'untold' } };
  await stack.sides.primary.store.import(untold);
  await Promise.allSettled([functions.reconcile.invoke({}), functions.reconcile.invoke({})]);
  // A reconcile that is asked for: one that began too early to answer that leaves it asked for.
  await linkRecords(stack.table).askReconcile('main', Date.now());
  // The brake held something, which nobody wants to write any more.
  const counted = { link: 'main', kind: 'going-back', certificate: 'gone', fingerprint: 'f' } as const;
  await linkRecords(stack.table).countChange({ ...counted, now: Date.now() - 7_200_000, allowed: 0 });
  await functions.reconcile.invoke({ asked: true });
  await functions.reconcile.invoke({});
  // Many go back in time within an hour, and one more makes the brake hold.
  const now = Date.now();
  for (let other = 0; other < limits.brakeLeast; other += 1)
    await linkRecords(stack.table).countChange({ ...counted, certificate: `back-${other}`, now, allowed: 100 });
  await stack.table.putIfAbsent({ partition: 'brake.1/going-back/main', sort: 'long-ago' }, { at: now - 7_200_000 });
  const older = await testCertificate({ notBefore: validFrom - 7 * 24 * 3_600_000 });
  await stack.sides.primary.store.reimport(id, parseContent(older));
  expect(
    (await post(signer.body(payloadV5({ instance: primaryCrn, type: 'cert_renewed', ids: [id] })))).statusCode,
  ).toBeLessThan(300);
  await functions.sweep.invoke({});
  await replicateAll();
  expect(await linkRecords(stack.table).brakeHeldSince('main', 'going-back')).toBeDefined();

  // Senders: by a name that is there and one that is not, without a name, and what nobody signed,
  // of an id that is known, twice, and of one that is made up.
  expect(await tell('hook', [{ name: 'shop' }, { name: 'nobody' }])).toBe(202);
  expect(await tell('hook')).toBe(202);
  await replicateAll();
  expect(await tell('renewals', [{ id }])).toBeLessThan(300);
  expect(await tell('renewals', [{ id }])).toBe(200);
  expect(await tell('renewals', [{ id: 'made-up' }, { name: 'made up' }])).toBe(202);
  await replicateAll();
  const long = Date.now() - 60_000;
  const madeUp = { partition: 'replication.1/main', sort: 'made-up' };
  await stack.table.update(madeUp, { set: { toldAt: long, wakeAt: long } });
  await linkRecords(stack.table).keepHint('main', { by: 'id', text: id }, { now: long });
  await stack.table.update({ partition: 'intake.1/main', sort: 'reconcile' }, { set: { since: long, lastAt: long } });
  await functions.sweep.invoke({});
  await replicateAll();
  expect(await stack.table.get(madeUp)).toBeUndefined();

  // What nobody told is added to the audit trail, and a number of a chain is somebody else's.
  const tenMinutes = Date.now() - 600_000;
  const addEvent = async (certificate: string) => {
    const asked = { link: 'main', certificate, now: tenMinutes, eventAt: tenMinutes, toldBy: 'hook' };
    await replicationRecords(stack.table).ask(asked);
    const round = { partition: 'audit-rounds.1', sort: 'main' };
    await stack.table.update(round, { set: { upTo: tenMinutes - 1 }, remove: ['until'] });
    await functions.reconcile.invoke({});
  };
  await addEvent('not-told');
  const rows = auditRows(stack.table);
  const isTold = async () => {
    for await (const { line } of readTrail(rows, { kind: 'event' }, () => {}))
      if (line.certificate === 'not-told') return true;
    return false;
  };
  await expect.poll(isTold).toBe(true);
  for await (const chain of rows.chains()) {
    if ('unreadable' in chain) throw new Error('a chain is unreadable');
    await rows.append(chain.writer, { first: chain.last + 1, at: Date.now(), lines: ['invented'] });
  }
  await addEvent('not-told-either');
  await stack.sides.primary.store.reimport(id, parseContent(await testCertificate()));
  await post(signer.body(payloadV5({ instance: primaryCrn, type: 'cert_reimported', ids: [id] })));
  await replicateAll();

  expect(seen.filter((asked) => !rights.some((right) => allows(right, asked)))).toEqual([]);
  expect(rights.filter((right) => !seen.some((asked) => allows(right, asked)))).toEqual([]);
});
