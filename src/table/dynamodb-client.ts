import { DynamoDBClient, type DynamoDBClientConfig, DynamoDBServiceException } from '@aws-sdk/client-dynamodb';
import { CodedError } from '../errors.ts';
import type { Secret } from '../secret.ts';

export interface DynamodbOptions {
  readonly tableName: string;
  readonly region: string;
  /** Where the service answers, if it is not the region's own: `http://127.0.0.1:8000`. */
  readonly endpoint?: string;
  /** Absent: whatever the platform gives (environment, role, profile), by the SDK's own chain. */
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: Secret;
    readonly sessionToken?: Secret;
  };
  /** Milliseconds for a connection, default 1,000. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds for one request until its answer, default 3,000. A read is tried three times. */
  readonly answerTimeoutMs?: number;
}

export interface Clients {
  readonly reads: DynamoDBClient;
  /**
   * Asks once. When an answer is lost, a second attempt would add twice, or be refused by the very write that it repeats: both
   * are lies about what happened, so the caller is told that nobody knows.
   */
  readonly writes: DynamoDBClient;
}

/**
 * An idle connection is given up soon. A function that the platform froze would find it dead, and a write that is sent into a dead one is
 * lost, for it is sent once. (A connection that is made anew in the service's own region costs some milliseconds.)
 */
const keptConnections = { keepAlive: true, maxSockets: 50, timeout: 4_000 } as const;

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
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials && {
      credentials: async () => ({
        accessKeyId: credentials.accessKeyId,
        secretAccessKey: credentials.secretAccessKey.reveal(),
        ...(credentials.sessionToken && { sessionToken: credentials.sessionToken.reveal() }),
      }),
    }),
  };
  const reads = new DynamoDBClient({ ...common, maxAttempts: 3 });
  // Credentials once fetched, and connections once made, serve both.
  const shared = { credentials: reads.config.credentials, requestHandler: reads.config.requestHandler };
  return { reads, writes: new DynamoDBClient({ ...common, ...shared, maxAttempts: 1 }) };
}

/** What an answer of DynamoDB, or its absence, means: `internal` where it finds fault with the request, else `table_unavailable`. */
export function dynamodbError(action: string, tableName: string, thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const engineCode = thrown instanceof Error ? thrown.name : undefined;
  const status = thrown instanceof DynamoDBServiceException ? thrown.$metadata.httpStatusCode : undefined;
  const details = { cause: bare(thrown), fields: { table: tableName, engineCode, status } };
  if (engineCode === 'ValidationException')
    return new CodedError('internal', `DynamoDB does not accept the request to ${action} table ${tableName}`, details);
  return new CodedError('table_unavailable', `cannot ${action} table ${tableName} in DynamoDB`, details);
}

/** The SDK hangs the whole request on its errors, session token and row included: that must not reach a log. */
function bare(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const { name, message, stack } = thrown;
  const code: unknown = 'code' in thrown ? thrown.code : undefined;
  return Object.assign(new Error(message), { name, stack }, typeof code === 'string' ? { code } : {});
}
