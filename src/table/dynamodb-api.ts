import type {
  AttributeValue,
  DeleteItemCommandInput,
  GetItemCommandInput,
  QueryCommandInput,
  UpdateItemCommandInput,
} from '@aws-sdk/client-dynamodb';

/** A row as DynamoDB has it. */
export type Item = Record<string, AttributeValue>;

/**
 * The four operations of DynamoDB that a table needs, with inputs and outputs as the API has them.
 * Reads may be sent again when nobody answers; a write is sent once, because its repetition could
 * not be told from another one. They throw errors whose `name` is the API's word for it
 * (`ConditionalCheckFailedException`, with the row that refused in `Item`), and anything else where
 * nobody answered.
 */
export interface DynamodbApi {
  getItem(input: GetItemCommandInput): Promise<{ readonly Item?: Item | undefined }>;
  query(
    input: QueryCommandInput,
  ): Promise<{ readonly Items?: Item[] | undefined; readonly LastEvaluatedKey?: Item | undefined }>;
  updateItem(input: UpdateItemCommandInput): Promise<{ readonly Attributes?: Item | undefined }>;
  deleteItem(input: DeleteItemCommandInput): Promise<{ readonly Attributes?: Item | undefined }>;
  /** Gives up its connections. */
  close(): void;
}

/**
 * The row that refused a write, if this is such a refusal; `undefined` for one of which no row came
 * along.
 */
export function refusalIn(thrown: unknown): { readonly item: Item | undefined } | undefined {
  if (!(thrown instanceof Error) || thrown.name !== 'ConditionalCheckFailedException') return undefined;
  return { item: (thrown as { Item?: Item }).Item };
}
