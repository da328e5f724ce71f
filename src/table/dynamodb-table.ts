import type { QueryCommandInput } from '@aws-sdk/client-dynamodb';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { checkedChange, checkedCondition, checkKey } from './check.ts';
import { asRow, compareText } from './condition.ts';
import { type DynamodbApi, type Item, refusalIn } from './dynamodb-api.ts';
import { dynamodbError } from './dynamodb-error.ts';
import {
  conditionExpression,
  keyItem,
  type Placeholders,
  placeholders,
  toRow,
  updateExpression,
} from './dynamodb-format.ts';
import { cursorOf, indexPosition, isUnreadable, sortRange } from './paging.ts';
import type { Change, Condition, Key, Page, Row, Table, WriteOutcome } from './table.ts';

/** The name of the sparse index. */
export const wakeIndex = 'wake';

/**
 * A table in DynamoDB, of the shape that `createDynamodbTable` makes: hash key `partition`, range
 * key `sort`, index `wake` (`partition`, `wakeAt`), time to live in `expiresAt`. Reads are
 * consistent, those of the index excepted. A write is asked for once and never repeated:
 * `table_unavailable` then means that nobody knows whether it was applied.
 */
export function dynamodbTableOn(api: DynamodbApi, tableName: string): Table {
  let closed = false;

  async function ask<Answer>(action: string, request: () => Promise<Answer>): Promise<Answer> {
    if (closed) throw new CodedError('table_unavailable', `table ${tableName} in DynamoDB has been closed`);
    try {
      return await request();
    } catch (thrown) {
      throw dynamodbError(action, tableName, thrown);
    }
  }

  async function read(key: Key): Promise<Row | undefined> {
    const input = { TableName: tableName, Key: keyItem(key), ConsistentRead: true };
    const { Item } = await ask('read', () => api.getItem(input));
    return Item && toRow(Item);
  }

  /**
   * What a conditional write answers. `request` resolves to the row, or throws that the condition
   * did not hold.
   */
  async function write(key: Key, request: () => Promise<Row>): Promise<WriteOutcome> {
    let refusedBy: Item | undefined;
    const row = await ask('write', async () => {
      try {
        return await request();
      } catch (thrown) {
        const refusal = refusalIn(thrown);
        if (refusal === undefined) throw thrown;
        refusedBy = refusal.item;
        return undefined;
      }
    });
    if (row !== undefined) return { applied: true, row };
    // No row comes with the refusal where there is none, and from engines that do not know how to
    // send it along.
    return { applied: false, row: refusedBy ? toRow(refusedBy) : await read(key) };
  }

  function conditional(using: Placeholders, condition: Condition | undefined) {
    const expression = condition && conditionExpression(condition, using);
    return expression === undefined
      ? {}
      : { ConditionExpression: expression, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' as const };
  }

  async function update(key: Key, change: Change, condition: Condition | undefined): Promise<WriteOutcome> {
    const at = checkKey(key);
    const using = placeholders();
    const expression = updateExpression(checkedChange(change), using);
    const input = {
      TableName: tableName,
      Key: keyItem(at),
      ...defined({ UpdateExpression: expression }),
      ...conditional(using, condition && checkedCondition(condition)),
      ...using.attributes(),
      ReturnValues: 'ALL_NEW' as const,
    };
    return write(at, async () => {
      const { Attributes } = await api.updateItem(input);
      return toRow({ ...Attributes, ...keyItem(at) });
    });
  }

  async function page(input: Omit<QueryCommandInput, 'TableName'>, cursorAfter: (row: Row) => string): Promise<Page> {
    const { Items = [], LastEvaluatedKey } = await ask('query', () => api.query({ ...input, TableName: tableName }));
    const rows: Row[] = [];
    for (const item of Items) {
      try {
        rows.push(toRow(item));
      } catch (thrown) {
        const last = rows.at(-1);
        if (last === undefined || !isUnreadable(thrown)) throw thrown;
        return { rows, cursor: cursorAfter(last) };
      }
    }
    return LastEvaluatedKey ? { rows, cursor: cursorAfter(toRow(LastEvaluatedKey)) } : { rows };
  }

  return {
    get: async (key) => read(checkKey(key)),

    update,

    putIfAbsent: (key, fields) => update(key, { set: fields }, { absent: 'partition' }),

    async delete(key, condition) {
      const at = checkKey(key);
      const using = placeholders();
      const input = {
        TableName: tableName,
        Key: keyItem(at),
        ...conditional(using, condition && checkedCondition(condition)),
        ...using.attributes(),
        ReturnValues: 'ALL_OLD' as const,
      };
      return write(at, async () => {
        const { Attributes } = await api.deleteItem(input);
        return Attributes ? toRow(Attributes) : asRow(at, {});
      });
    },

    async query(query) {
      const { prefix, after } = sortRange(query);
      const beyond = compareText(after, prefix) >= 0;
      if (beyond && !after.startsWith(prefix)) return { rows: [] };
      const using = placeholders();
      const partition = `${using.name('partition')} = ${using.value(query.partition)}`;
      const begins = prefix && ` AND begins_with(${using.name('sort')}, ${using.value(prefix)})`;
      return page(
        {
          KeyConditionExpression: `${partition}${begins}`,
          ...using.attributes(),
          ConsistentRead: true,
          Limit: query.limit,
          // It need not be the key of a row. A second condition on the sort key is not allowed
          // beside begins_with.
          ...(beyond && after !== '' && { ExclusiveStartKey: keyItem({ partition: query.partition, sort: after }) }),
        },
        (row) => cursorOf([row.partition, row.sort]),
      );
    },

    async queryIndex(query) {
      const position = indexPosition(query);
      if (position && position.wakeAt > query.until) return { rows: [] };
      const using = placeholders();
      const partition = `${using.name('partition')} = ${using.value(query.partition)}`;
      return page(
        {
          IndexName: wakeIndex,
          KeyConditionExpression: `${partition} AND ${using.name('wakeAt')} <= ${using.value(query.until)}`,
          ...using.attributes(),
          Limit: query.limit,
          ...(position && {
            ExclusiveStartKey: {
              ...keyItem({ partition: query.partition, sort: position.sort }),
              wakeAt: { N: `${position.wakeAt}` },
            },
          }),
        },
        (row) => cursorOf([row.partition, row.sort, row.wakeAt as number]),
      );
    },

    async close() {
      closed = true;
      api.close();
    },
  };
}
