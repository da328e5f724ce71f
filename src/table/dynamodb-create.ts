import {
  CreateTableCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  ResourceInUseException,
  ResourceNotFoundException,
  type TableDescription,
  UpdateTimeToLiveCommand,
} from '@aws-sdk/client-dynamodb';
import { CodedError } from '../errors.ts';
import { type Runtime, systemRuntime } from '../runtime.ts';
import { dynamodbError } from './dynamodb-error.ts';
import { type DynamodbOptions, dynamodbClients } from './dynamodb-sdk.ts';
import { wakeIndex } from './dynamodb-table.ts';

const pollMs = 250;
const polls = 240;

/**
 * Makes the table that `dynamodbTable` works on, with its index and its time to live, and waits
 * until it can be used (a minute at most). A table of that name that is already there is left as it
 * is. Answers whether it was made. Deployments to AWS bring their own.
 */
export async function createDynamodbTable(
  options: DynamodbOptions & { readonly runtime?: Pick<Runtime, 'wait'> },
): Promise<boolean> {
  const { tableName, runtime = systemRuntime } = options;
  const { reads, writes } = dynamodbClients(options);
  try {
    const isNew = await create(writes, tableName);
    await waitUntilActive(reads, tableName, runtime);
    if (isNew) await expireRows(writes, tableName);
    return isNew;
  } catch (thrown) {
    throw dynamodbError('create', tableName, thrown);
  } finally {
    reads.destroy();
    writes.destroy();
  }
}

/** False when there is one already. */
async function create(client: DynamoDBClient, tableName: string): Promise<boolean> {
  const command = new CreateTableCommand({
    TableName: tableName,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: [
      { AttributeName: 'partition', AttributeType: 'S' },
      { AttributeName: 'sort', AttributeType: 'S' },
      { AttributeName: 'wakeAt', AttributeType: 'N' },
    ],
    KeySchema: [
      { AttributeName: 'partition', KeyType: 'HASH' },
      { AttributeName: 'sort', KeyType: 'RANGE' },
    ],
    GlobalSecondaryIndexes: [
      {
        IndexName: wakeIndex,
        KeySchema: [
          { AttributeName: 'partition', KeyType: 'HASH' },
          { AttributeName: 'wakeAt', KeyType: 'RANGE' },
        ],
        Projection: { ProjectionType: 'ALL' },
      },
    ],
  });
  try {
    await client.send(command);
    return true;
  } catch (thrown) {
    if (thrown instanceof ResourceInUseException) return false;
    throw thrown;
  }
}

async function waitUntilActive(
  client: DynamoDBClient,
  tableName: string,
  runtime: Pick<Runtime, 'wait'>,
): Promise<void> {
  for (let poll = 0; poll < polls; poll += 1) {
    const table = await describe(client, tableName);
    const index = table?.GlobalSecondaryIndexes?.find((each) => each.IndexName === wakeIndex);
    if (table?.TableStatus === 'ACTIVE' && index?.IndexStatus === 'ACTIVE') return;
    await runtime.wait(pollMs);
  }
  const seconds = (polls * pollMs) / 1000;
  throw new CodedError('table_unavailable', `table ${tableName} in DynamoDB is not active after ${seconds} seconds`);
}

/** A table that has just been asked for may not be known yet. */
async function describe(client: DynamoDBClient, tableName: string): Promise<TableDescription | undefined> {
  try {
    return (await client.send(new DescribeTableCommand({ TableName: tableName }))).Table;
  } catch (thrown) {
    if (thrown instanceof ResourceNotFoundException) return undefined;
    throw thrown;
  }
}

async function expireRows(client: DynamoDBClient, tableName: string): Promise<void> {
  const specification = { Enabled: true, AttributeName: 'expiresAt' };
  try {
    await client.send(new UpdateTimeToLiveCommand({ TableName: tableName, TimeToLiveSpecification: specification }));
  } catch (thrown) {
    // Engines for local use may not know it; expired rows then stay, which the contract allows.
    if (!(thrown instanceof Error && thrown.name === 'UnknownOperationException')) throw thrown;
  }
}
