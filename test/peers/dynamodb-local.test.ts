import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DescribeTimeToLiveCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
import { directDynamodbTable } from '../../src/table/dynamodb-direct.ts';
import { tableContract } from '../table/contract.ts';
import { requirePeer } from './peer.ts';

/** Amazon's own engine for local use, from Maven Central: fetched once, kept with the other caches. */
const version = '3.3.1';
const cache = fileURLToPath(new URL(`../../node_modules/.cache/dynamodb-local/${version}`, import.meta.url));
const libraries = join(cache, 'lib');
const classPath = ['-cp', `${libraries}${delimiter}${join(libraries, '*')}`];
const launcher = fileURLToPath(new URL('DynamodbLocalOnLoopback.java', import.meta.url));

const project = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>certstandby</groupId><artifactId>dynamodb-local</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>software.amazon.dynamodb</groupId><artifactId>DynamoDBLocal</artifactId><version>${version}</version>
    </dependency>
  </dependencies>
</project>
`;

/** Complete or not at all: a run that is interrupted leaves no half a library. */
function fetchOnce(): void {
  if (existsSync(libraries)) return;
  mkdirSync(cache, { recursive: true });
  writeFileSync(join(cache, 'pom.xml'), project);
  const fresh = join(cache, `lib-${process.pid}`);
  const goal = ['-B', '-q', 'dependency:copy-dependencies', `-DoutputDirectory=${fresh}`];
  const { status } = spawnSync('mvn', goal, { cwd: cache, stdio: 'inherit' });
  if (status === 0) renameSync(fresh, libraries);
  else rmSync(fresh, { recursive: true, force: true });
}

const java = requirePeer('Java', ['javac', '--version'], 'apt-get install openjdk-17-jdk-headless');
if (java !== undefined) fetchOnce();
const engine =
  java &&
  requirePeer(
    'DynamoDB Local',
    ['java', ...classPath, 'software.amazon.dynamodb.services.local.main.ServerRunner', '-version'],
    'apt-get install maven, and let it reach a repository with software.amazon.dynamodb:DynamoDBLocal once',
  );

describe.skipIf(engine === undefined)('DynamoDB Local', () => {
  let server: ChildProcess;
  let endpoint: string;

  beforeAll(async () => {
    server = spawn('java', [`-Djava.library.path=${libraries}`, ...classPath, launcher], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    endpoint = await listening(server);
  });
  afterAll(async () => {
    const end = once(server, 'exit');
    server.kill('SIGKILL');
    await end;
  });

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

/** The address that the launcher prints once it can be asked. */
async function listening(server: ChildProcess): Promise<string> {
  if (!server.stdout) throw new Error('DynamoDB Local did not start');
  for await (const line of createInterface({ input: server.stdout })) {
    const [, host, port] = /^listening on (\S+) (\d+)$/.exec(line) ?? [];
    if (host !== undefined) return `http://${host}:${port}`;
  }
  throw new Error('DynamoDB Local ended before it could be asked');
}
