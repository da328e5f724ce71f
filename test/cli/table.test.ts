import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { runCommand, testHost } from '../support/command.ts';
import { type Dynalite, startDynalite } from '../support/dynalite.ts';

let server: Dynalite;
let folder: string;
let file: string;
beforeAll(async () => {
  server = await startDynalite();
  folder = mkdtempSync(join(tmpdir(), 'certstandby-table-'));
  file = join(folder, 'certstandby.yaml');
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await server.close();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const crn = (region: string, guid: string) =>
  `crn:v1:bluemix:public:cloudcerts:${region}:a/00000000000000000000000000000001:${guid}-2222-4333-8444-555555555555::`;
const configuration = (table: string) => `version: 1
table: ${table}
stores:
  one: { kind: certificate-manager, instance: "${crn('eu-de', '11111111')}", apiKey: env:KEY }
  two: { kind: certificate-manager, instance: "${crn('eu-gb', '66666666')}", apiKey: env:KEY }
links: { shop: { primary: one, backups: [two] } }
`;
const run = (...args: string[]) =>
  runCommand(['table', ...args, '--config', file], testHost({ env: { KEY: 'the-key-of-both' } }));

test('create makes the table once, and leaves one that is there as it is', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  writeFileSync(
    file,
    configuration(`{ kind: dynamodb, name: records, region: eu-west-1, endpoint: "${server.endpoint}" }`),
  );
  expect(await run('create')).toMatchObject({ code: 0, output: 'table records in eu-west-1 is made\n' });
  const table = dynamodbTable({
    tableName: 'records',
    region: 'eu-west-1',
    endpoint: server.endpoint,
    credentials: { accessKeyId: 'test', secretAccessKey: new Secret('test') },
    answerTimeoutMs: 10_000,
  });
  await table.putIfAbsent({ partition: 'p', sort: 's' }, { wakeAt: 1 });
  expect(await run('create')).toMatchObject({
    code: 0,
    output: 'table records in eu-west-1 is there already, and stays as it is\n',
  });
  // With its index, of which the rows can be had by the moment.
  expect((await table.queryIndex({ partition: 'p', until: 2, limit: 1 })).rows).toHaveLength(1);
  await table.close();
});

test('says that nothing has to be made for lmdb, and what the service answers otherwise', async () => {
  writeFileSync(file, configuration('{ kind: lmdb, path: records }'));
  const lmdb = await run('create');
  expect(lmdb).toMatchObject({ code: 2, output: '' });
  expect(lmdb.errors).toContain('are in lmdb, for which nothing has to be made');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  writeFileSync(
    file,
    configuration('{ kind: dynamodb, name: records, region: eu-west-1, endpoint: "http://127.0.0.1:9" }'),
  );
  const away = await run('create');
  expect(away).toMatchObject({ code: 5, output: '' });
  expect(away.errors).toContain('cannot create table records in DynamoDB');
});
