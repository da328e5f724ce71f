import { randomUUID } from 'node:crypto';
import { DescribeTimeToLiveCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
import { directDynamodbTable } from '../../src/table/dynamodb-direct.ts';
import { tableContract } from '../table/contract.ts';
import { requireDynamodbLocal, startDynamodbLocal } from './dynamodb-local.ts';

const engine = requireDynamodbLocal();

describe.skipIf(engine === undefined)('DynamoDB Local', () => {
  let server: Awaited<ReturnType<typeof startDynamodbLocal>>;
  let endpoint: string;

  beforeAll(async () => {
    server = await startDynamodbLocal();
    endpoint = server.endpoint;
  });
  afterAll(() => server.close());

  /** Each access key has tables of its own; the engine takes letters and digits only. */
  const options = () => ({
    tableName: `t-${randomUUID()}`,
    region: 'eu-central-1',
    endpoint,
    credentials: { accessKeyId: 'local', secretAccessKey: new Secret('local') },
    connectTimeoutMs: 30_000,
    answerTimeoutMs: 30_000,
  });

  const ways = {
    'DynamoDB Local': dynamodbTable,
    'DynamoDB Local, directly': (chosen: ReturnType<typeof options>) =>
      directDynamodbTable({ ...chosen, runtime: systemRuntime, credentials: () => chosen.credentials }),
  };
  for (const [name, open] of Object.entries(ways))
    tableContract(
      name,
      async () => {
        const chosen = options();
        await createDynamodbTable(chosen);
        return { table: open(chosen) };
      },
      { runs: 50 },
    );

  it('lets rows expire by expiresAt', async () => {
    const { tableName, region, credentials, ...rest } = options();
    await createDynamodbTable({ tableName, region, credentials, ...rest });
    const secretAccessKey = credentials.secretAccessKey.reveal();
    const client = new DynamoDBClient({ region, endpoint, credentials: { ...credentials, secretAccessKey } });
    const { TimeToLiveDescription } = await client.send(new DescribeTimeToLiveCommand({ TableName: tableName }));
    client.destroy();
    expect(TimeToLiveDescription).toMatchObject({ AttributeName: 'expiresAt', TimeToLiveStatus: 'ENABLED' });
  });

  it('leaves a table that is there as it is', async () => {
    const chosen = options();
    await createDynamodbTable(chosen);
    const table = dynamodbTable(chosen);
    await table.putIfAbsent({ partition: 'p', sort: 's' }, { a: 1 });
    await createDynamodbTable(chosen);
    expect(await table.get({ partition: 'p', sort: 's' })).toEqual({ partition: 'p', sort: 's', a: 1 });
    await table.close();
  });
});
