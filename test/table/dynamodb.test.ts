import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
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

tableContract(
  'dynamodb (dynalite)',
  async () => {
    const options = { ...patient, tableName: `t-${randomUUID()}`, endpoint: server.endpoint };
    await createDynamodbTable(options);
    return { table: dynamodbTable(options) };
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
