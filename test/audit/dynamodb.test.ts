import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
import { directDynamodbTable } from '../../src/table/dynamodb-direct.ts';
import { type Dynalite, startDynalite } from '../support/dynalite.ts';
import { auditContract } from './contract.ts';

let server: Dynalite;
beforeAll(async () => {
  server = await startDynalite();
});
afterAll(() => server.close());

const keys = { accessKeyId: 'local', secretAccessKey: new Secret('local') };

auditContract('dynamodb (dynalite)', async () => {
  const options = { region: 'eu-central-1', tableName: `t-${randomUUID()}`, endpoint: server.endpoint };
  await createDynamodbTable({ ...options, credentials: keys });
  const patient = { connectTimeoutMs: 30_000, answerTimeoutMs: 30_000 };
  return { table: directDynamodbTable({ ...options, ...patient, runtime: systemRuntime, credentials: () => keys }) };
});
