import {
  DeleteItemCommand,
  DynamoDBClient,
  type DynamoDBClientConfig,
  GetItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { type AwsCredentials, revealed } from '../aws/credentials.ts';
import { keptConnections } from '../aws/kept-connections.ts';
import { defined } from '../defined.ts';
import type { DynamodbApi } from './dynamodb-api.ts';

export interface DynamodbOptions {
  readonly tableName: string;
  readonly region: string;
  /** Where the service answers, if it is not the region's own: `http://127.0.0.1:8000`. */
  readonly endpoint?: string;
  /** Absent: whatever the platform gives (environment, role, profile), by the SDK's own chain. */
  readonly credentials?: AwsCredentials;
  /** Milliseconds for a connection, default 1,000. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds for one request until its answer, default 3,000. A read is tried three times. */
  readonly answerTimeoutMs?: number;
}

interface Clients {
  readonly reads: DynamoDBClient;
  /**
   * Asks once. When an answer is lost, a second attempt would add twice, or be refused by the very
   * write that it repeats: both are lies about what happened, so the caller is told that nobody
   * knows.
   */
  readonly writes: DynamoDBClient;
}

export function dynamodbClients(options: DynamodbOptions): Clients {
  const { region, endpoint, credentials, connectTimeoutMs = 1000, answerTimeoutMs = 3000 } = options;
  const common: DynamoDBClientConfig = {
    region,
    retryMode: 'standard',
    requestHandler: {
      connectionTimeout: connectTimeoutMs,
      requestTimeout: answerTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: answerTimeoutMs,
      httpAgent: keptConnections,
      httpsAgent: keptConnections,
    },
    ...defined({ endpoint }),
    ...(credentials && { credentials: async () => revealed(credentials) }),
  };
  const reads = new DynamoDBClient({ ...common, maxAttempts: 3 });
  // Credentials once fetched, and connections once made, serve both.
  const shared = { credentials: reads.config.credentials, requestHandler: reads.config.requestHandler };
  return { reads, writes: new DynamoDBClient({ ...common, ...shared, maxAttempts: 1 }) };
}

/** DynamoDB by the AWS SDK: for machines, where credentials may come from anywhere. */
export function dynamodbSdk(options: DynamodbOptions): DynamodbApi {
  const { reads, writes } = dynamodbClients(options);
  return {
    getItem: (input) => reads.send(new GetItemCommand(input)),
    query: (input) => reads.send(new QueryCommand(input)),
    updateItem: (input) => writes.send(new UpdateItemCommand(input)),
    deleteItem: (input) => writes.send(new DeleteItemCommand(input)),
    close() {
      reads.destroy();
      writes.destroy();
    },
  };
}
