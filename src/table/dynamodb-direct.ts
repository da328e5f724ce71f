import type { AwsCredentials } from '../aws/credentials.ts';
import { AwsServiceError, type SignedService, signedService } from '../aws/signed-service.ts';
import type { Runtime } from '../runtime.ts';
import type { DynamodbApi } from './dynamodb-api.ts';
import { dynamodbTableOn } from './dynamodb-table.ts';
import type { Table } from './table.ts';

export interface DirectOptions {
  readonly tableName: string;
  readonly region: string;
  readonly endpoint?: string;
  readonly credentials: () => AwsCredentials;
  readonly runtime: Runtime;
  /** Milliseconds for one request until its answer, default 3,000. A read is tried three times. */
  readonly answerTimeoutMs?: number;
}

/**
 * The same table without the AWS SDK, for deployed functions: its JSON is the API's own, since rows
 * hold neither bytes nor sets. API reference: DynamoDB, `GetItem`, `Query`, `UpdateItem`,
 * `DeleteItem`.
 */
export function directDynamodbTable(options: DirectOptions): Table {
  const { tableName, answerTimeoutMs = 3_000, ...rest } = options;
  const service = signedService({ ...rest, service: 'dynamodb', target: 'DynamoDB_20120810', answerTimeoutMs });
  return dynamodbTableOn(apiOf(service), tableName);
}

function apiOf(service: SignedService): DynamodbApi {
  const read = (operation: string) => (input: unknown) => service.call(operation, input, { attempts: 3 });
  const write = (operation: string) => (input: unknown) =>
    service.call(operation, input, { attempts: 1 }).catch((thrown: unknown) => {
      // The row that refused stands in the answer.
      if (thrown instanceof AwsServiceError) Object.assign(thrown, { Item: thrown.body.Item });
      throw thrown;
    });
  return {
    getItem: read('GetItem'),
    query: read('Query'),
    updateItem: write('UpdateItem'),
    deleteItem: write('DeleteItem'),
    close: service.close,
  };
}
