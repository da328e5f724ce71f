import type { TableConfig } from '../config.ts';
import { defined } from '../defined.ts';
import type { Table } from '../table/table.ts';

/**
 * Opens the configured table. Each kind is loaded only when it is the configured one: a cold start
 * pays for one engine.
 */
export async function openTable(config: TableConfig): Promise<Table> {
  if (config.kind === 'lmdb') {
    const { openLmdbTable } = await import('../table/lmdb.ts');
    return openLmdbTable({ path: config.path });
  }
  const { dynamodbTable } = await import('../table/dynamodb.ts');
  const { name: tableName, region, endpoint } = config;
  return dynamodbTable({ tableName, region, ...defined({ endpoint }) });
}

/**
 * Makes the configured table in DynamoDB, if it is not there. Answers whether it was made. Throws
 * `table_unavailable`.
 */
export async function createTable(config: Extract<TableConfig, { readonly kind: 'dynamodb' }>): Promise<boolean> {
  const { createDynamodbTable } = await import('../table/dynamodb-create.ts');
  const { name: tableName, region, endpoint } = config;
  return createDynamodbTable({ tableName, region, ...defined({ endpoint }) });
}
