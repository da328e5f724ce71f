import { join } from 'node:path';
import { DynamoDBClient, ScanCommand } from '@aws-sdk/client-dynamodb';
import type { TableConfig } from '../../src/config.ts';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import type { Table } from '../../src/table/table.ts';
import { startDynalite } from '../support/dynalite.ts';
import { startRole } from '../support/roles.ts';

/** A table that the workers share, and that is looked into when they are dead. */
export interface SharedTable {
  readonly config: TableConfig;
  /** What its workers need in their environment. */
  readonly env?: Readonly<Record<string, string>>;
  open(): Table;
  /** What it keeps elsewhere than in the folder of the run, as text. */
  contents(): Promise<string>;
  close(): Promise<void>;
}

export type TableKind = 'lmdb' | 'dynamodb';

/** The process of DynamoDB's stand-in: it survives, as the service does. */
export function tableHandlers() {
  return { start: async (): Promise<string> => (await startDynalite()).endpoint };
}

export function sharedTable(kind: TableKind, folder: string, program: string): Promise<SharedTable> {
  return kind === 'lmdb' ? sharedFiles(join(folder, 'records')) : sharedService(program);
}

async function sharedFiles(path: string): Promise<SharedTable> {
  return {
    config: { kind: 'lmdb', path },
    open: () => lmdbTable({ path }),
    contents: async () => '',
    close: async () => undefined,
  };
}

async function sharedService(program: string): Promise<SharedTable> {
  const process = startRole<ReturnType<typeof tableHandlers>>({ program, role: 'table' });
  const name = 'certstandby';
  const region = 'eu-central-1';
  const endpoint = await process.call('start');
  const credentials = { accessKeyId: 'local', secretAccessKey: new Secret('local') };
  const options = { tableName: name, region, endpoint, credentials, answerTimeoutMs: 30_000 };
  await createDynamodbTable(options);
  return {
    config: { kind: 'dynamodb', name, region, endpoint },
    env: { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' },
    open: () => dynamodbTable(options),
    async contents() {
      const secret = { accessKeyId: 'local', secretAccessKey: 'local' };
      const client = new DynamoDBClient({ region, endpoint, credentials: secret });
      const pages: string[] = [];
      let from: Record<string, never> | undefined;
      do {
        const page = await client.send(new ScanCommand({ TableName: name, ...(from && { ExclusiveStartKey: from }) }));
        pages.push(JSON.stringify(page.Items));
        from = page.LastEvaluatedKey as Record<string, never> | undefined;
      } while (from !== undefined);
      client.destroy();
      return pages.join('\n');
    },
    close: process.stop,
  };
}
