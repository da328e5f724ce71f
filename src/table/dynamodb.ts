import { type DynamodbOptions, dynamodbSdk } from './dynamodb-sdk.ts';
import { dynamodbTableOn } from './dynamodb-table.ts';
import type { Table } from './table.ts';

/** A table in DynamoDB, by the AWS SDK. See `dynamodbTableOn`. */
export const dynamodbTable = (options: DynamodbOptions): Table =>
  dynamodbTableOn(dynamodbSdk(options), options.tableName);
