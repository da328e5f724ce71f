import { dataKeyPartition } from '../keys/keyring.ts';
import { limits } from '../limits.ts';
import type { FrozenTable, Row, Table } from '../table/table.ts';
import { certificateKeys } from './certificate-keys.ts';

/** What every partition of an instance begins with: no other instance has it. */
export const partitionsOf = (instanceCrn: string): string => `instance.1/${instanceCrn}/`;

/**
 * The partitions of an instance beside those of its certificates. Kept by a snapshot: what an instance is. Not kept: what is on its way
 * or did not get there, and how often who asked. Whoever adds a partition to an instance adds it here.
 */
const partitions = {
  kept: ['api-key', 'signing-key', 'acme-account', 'channel', 'order', 'order-domains', 'calendar'],
  passing: ['notification', 'dead-letter', 'rate'],
} as const;

/** The partitions that a snapshot keeps as they are. */
export function keptPartitions(instanceCrn: string): readonly string[] {
  return partitions.kept.map((name) => partitionsOf(instanceCrn) + name);
}

/** Every partition of an instance, that of its data keys first. */
export function allPartitions(instanceCrn: string): readonly string[] {
  const keys = certificateKeys(instanceCrn);
  const ofCertificates = (['content', 'certificate', 'expiry', 'counter'] as const).map(keys.partition);
  const others = [...partitions.kept, ...partitions.passing].map((name) => partitionsOf(instanceCrn) + name);
  return [dataKeyPartition(instanceCrn), ...ofCertificates, ...others];
}

/** All rows of a partition, page by page. Between two pages others get their turn. */
export async function* rowsIn(
  table: Pick<Table | FrozenTable, 'query'>,
  partition: string,
  signal?: AbortSignal,
): AsyncGenerator<Row> {
  let cursor: string | undefined;
  do {
    signal?.throwIfAborted();
    const page = await table.query({ partition, limit: limits.tablePageRows, ...(cursor !== undefined && { cursor }) });
    yield* page.rows;
    cursor = page.cursor;
    await new Promise(setImmediate);
  } while (cursor !== undefined);
}

/** Whether a partition has a row. */
export async function hasRows(table: Pick<Table, 'query'>, partition: string): Promise<boolean> {
  return (await table.query({ partition, limit: 1 })).rows.length > 0;
}
