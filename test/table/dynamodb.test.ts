import { randomUUID } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { asCodedError } from '../../src/errors.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
import { directDynamodbTable } from '../../src/table/dynamodb-direct.ts';
import type { DynamodbOptions } from '../../src/table/dynamodb-sdk.ts';
import type { Table } from '../../src/table/table.ts';
import { type Dynalite, startDynalite } from '../support/dynalite.ts';
import { tableContract } from './contract.ts';

let server: Dynalite;

beforeAll(async () => {
  server = await startDynalite();
});
afterAll(() => server.close());

const credentials = { accessKeyId: 'local', secretAccessKey: new Secret('local') };

/** The machine may be busy: these tests are not about time. */
const patient = { region: 'eu-central-1', credentials, connectTimeoutMs: 30_000, answerTimeoutMs: 30_000 };

/** The two ways to DynamoDB: by the SDK, and directly, as deployed functions do. */
const ways = {
  'dynamodb (dynalite)': dynamodbTable,
  'dynamodb, directly (dynalite)': (options: DynamodbOptions) =>
    directDynamodbTable({ ...options, runtime: systemRuntime, credentials: () => options.credentials ?? credentials }),
};

for (const [name, open] of Object.entries(ways))
  tableContract(
    name,
    async () => {
      const options = { ...patient, tableName: `t-${randomUUID()}`, endpoint: server.endpoint };
      await createDynamodbTable(options);
      return { table: open(options) };
    },
    {
      runs: 30,
      differs: {
        textOrder: {
          order: (a, b) => (a < b ? -1 : Number(a > b)),
          reason: 'dynalite compares texts in conditions by UTF-16, DynamoDB by UTF-8',
        },
      },
    },
  );

it('says that a table is not there', async () => {
  const table = dynamodbTable({ ...patient, tableName: 'nowhere', endpoint: server.endpoint });
  await expect(table.get({ partition: 'p', sort: 's' })).rejects.toMatchObject({
    code: 'table_unavailable',
    fields: { table: 'nowhere', engineCode: 'ResourceNotFoundException', status: 400 },
  });
  await table.close();
});

describe.each(Object.entries(ways))('what the service answers to %s', (_way, open) => {
  interface Asked {
    readonly operation: string;
    readonly headers: IncomingHttpHeaders;
    readonly body: Readonly<Record<string, unknown>>;
  }

  const key = { partition: 'p', sort: 's' };
  const item = { partition: { S: 'p' }, sort: { S: 's' } };
  let scripted: Server;
  let table: Table;
  let asked: Asked[];
  /** Answers each request; the last one also those that come after. */
  let script: ((response: ServerResponse) => void)[];

  const json = (status: number, body: unknown) => (response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(body));
  };
  const failure = (status: number, name: string, more: object = {}) =>
    json(status, { __type: `com.amazonaws.dynamodb.v20120810#${name}`, message: 'no', ...more });
  const hangUp = (response: ServerResponse) => void response.destroy();
  const silence = () => undefined;
  const options = () => ({
    tableName: 'records',
    region: 'eu-central-1',
    endpoint: `http://127.0.0.1:${(scripted.address() as AddressInfo).port}`,
    credentials: {
      accessKeyId: 'AKID',
      secretAccessKey: new Secret('long-secret'),
      sessionToken: new Secret('session-1'),
    },
    connectTimeoutMs: 10_000,
    answerTimeoutMs: 10_000,
  });
  const impatient = () => open({ ...options(), answerTimeoutMs: 50 });

  beforeEach(async () => {
    asked = [];
    scripted = createServer(async (request, response) => {
      const operation = String(request.headers['x-amz-target']).split('.')[1] ?? '';
      asked.push({ operation, headers: request.headers, body: JSON.parse(await text(request)) });
      script[Math.min(asked.length, script.length) - 1]?.(response);
    });
    await new Promise<void>((resolve) => {
      scripted.listen(0, '127.0.0.1', resolve);
    });
    table = open(options());
  });
  afterEach(async () => {
    await table.close();
    scripted.closeAllConnections();
    await new Promise((resolve) => scripted.close(resolve));
  });

  const writes = [
    ['an update', () => table.update(key, { add: { requested: 1 } })],
    ['a put', () => table.putIfAbsent(key, { a: 1 })],
    ['a delete', () => table.delete(key, { exists: 'a' })],
  ] as const;

  it.each(writes)('asks once for %s, whatever becomes of the answer', async (_, write) => {
    for (const answer of [hangUp, failure(500, 'InternalServerError'), failure(400, 'ThrottlingException')]) {
      asked = [];
      script = [answer];
      await expect(write()).rejects.toMatchObject({ code: 'table_unavailable' });
      expect(asked).toHaveLength(1);
    }
  });

  it.each(writes)('gives up on %s that is not answered in time', async (_, write) => {
    await table.close();
    table = impatient();
    const stalled = (response: ServerResponse) => void response.writeHead(200).write('{');
    const trickle = ({ socket }: ServerResponse) => {
      socket?.write('HTTP/1.1 200 OK\r\n');
      const more = setInterval(() => socket?.write('x-more: 1\r\n'), 10);
      socket?.on('close', () => clearInterval(more));
    };
    asked = [];
    script = [silence, stalled, trickle];
    for (const _ of script) await expect(write()).rejects.toMatchObject({ code: 'table_unavailable' });
    // Each is asked once; on a busy machine its time may be over before that has arrived.
    expect(asked.length).toBeLessThanOrEqual(script.length);
  });

  it('asks up to three times for a read', async () => {
    script = [hangUp, failure(500, 'InternalServerError'), json(200, { Item: item })];
    expect(await table.get(key)).toEqual(key);
    asked = [];
    script = [failure(500, 'InternalServerError')];
    await expect(table.query({ partition: 'p', limit: 1 })).rejects.toMatchObject({
      code: 'table_unavailable',
      fields: { engineCode: 'InternalServerError', status: 500 },
    });
    expect(asked).toHaveLength(3);
  });

  it('takes the refusing row from the refusal where it is there, and else reads it', async () => {
    script = [failure(400, 'ConditionalCheckFailedException', { Item: { ...item, a: { N: '7' } } })];
    expect(await table.update(key, {}, { absent: 'a' })).toEqual({ applied: false, row: { ...key, a: 7 } });
    expect(asked.map(({ operation }) => operation)).toEqual(['UpdateItem']);
    expect(asked[0]?.body.ReturnValuesOnConditionCheckFailure).toBe('ALL_OLD');
    asked = [];
    script = [failure(400, 'ConditionalCheckFailedException'), json(200, { Item: { ...item, a: { N: '8' } } })];
    expect(await table.delete(key, { absent: 'a' })).toEqual({ applied: false, row: { ...key, a: 8 } });
    expect(asked.map(({ operation }) => operation)).toEqual(['DeleteItem', 'GetItem']);
    expect(asked[1]?.body.ConsistentRead).toBe(true);
  });

  it('reads consistently, the index excepted', async () => {
    script = [json(200, {})];
    await table.get(key);
    await table.query({ partition: 'p', limit: 7 });
    await table.queryIndex({ partition: 'p', until: 5, limit: 7 });
    expect(asked.map(({ operation, body }) => [operation, body.ConsistentRead, body.IndexName, body.Limit])).toEqual([
      ['GetItem', true, undefined, undefined],
      ['Query', true, undefined, 7],
      ['Query', undefined, 'wake', 7],
    ]);
  });

  it.each([
    ['a set', { SS: ['x'] }, 'SS'],
    ['bytes', { B: 'AAAA' }, 'B'],
    ['a set within a list', { L: [{ NS: ['1'] }] }, 'NS'],
  ])('cannot understand a row that holds %s', async (_, attribute, kind) => {
    script = [json(200, { Item: { ...item, odd: attribute }, Items: [{ ...item, odd: attribute }] })];
    const unreadable = { code: 'table_row_unreadable', fields: { field: 'odd', kind, sort: 's' } };
    await expect(table.get(key)).rejects.toMatchObject(unreadable);
    await expect(table.query({ partition: 'p', limit: 1 })).rejects.toMatchObject(unreadable);
    script = [failure(400, 'ConditionalCheckFailedException', { Item: { ...item, odd: attribute } })];
    await expect(table.putIfAbsent(key, {})).rejects.toMatchObject(unreadable);
  });

  it('goes on from a page that is empty', async () => {
    script = [
      json(200, { Items: [], LastEvaluatedKey: { partition: { S: 'p' }, sort: { S: 'm' } } }),
      json(200, { Items: [item] }),
    ];
    const first = await table.query({ partition: 'p', limit: 5 });
    expect(first).toEqual({ rows: [], cursor: expect.any(String) });
    expect(await table.query({ partition: 'p', limit: 5, cursor: first.cursor ?? '' })).toEqual({ rows: [key] });
    expect(asked[1]?.body.ExclusiveStartKey).toEqual({ partition: { S: 'p' }, sort: { S: 'm' } });
  });

  it('signs with the credentials it was given, and lets no error show them', async () => {
    script = [failure(403, 'AccessDeniedException')];
    const error = asCodedError(
      await table.update(key, { set: { a: 'row-content' } }).catch((thrown: unknown) => thrown),
    );
    expect(asked[0]?.headers).toMatchObject({
      authorization: expect.stringContaining('Credential=AKID/'),
      'x-amz-security-token': 'session-1',
    });
    expect(error).toMatchObject({ code: 'table_unavailable', cause: { name: 'AccessDeniedException', message: 'no' } });
    expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(/session-1|long-secret|Signature|row-content/);
  });

  it('waits a minute at most for a new table', async () => {
    const waits: number[] = [];
    const runtime = { wait: async (milliseconds: number) => void waits.push(milliseconds) };
    script = [
      json(200, {}),
      failure(400, 'ResourceNotFoundException'),
      json(200, { Table: { TableStatus: 'CREATING' } }),
    ];
    await expect(createDynamodbTable({ ...options(), runtime })).rejects.toMatchObject({ code: 'table_unavailable' });
    expect(waits.reduce((sum, each) => sum + each, 0)).toBe(60_000);
  });
});
