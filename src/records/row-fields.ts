import { limits } from '../limits.ts';
import type { Key, Row } from '../table/table.ts';

/** The number in a field of a row; `undefined` if there is none. */
export function numberIn(row: Row | undefined, field: string): number | undefined {
  const value = row?.[field];
  return typeof value === 'number' ? value : undefined;
}

/** Whether a row can have this key: ids of certificates are others' and may be of any length. */
export function fitsTable({ partition, sort }: Key): boolean {
  const bytes = Buffer.byteLength(partition) + Buffer.byteLength(sort);
  return sort !== '' && sort.isWellFormed() && bytes <= limits.tableKeyBytes;
}

/** What the row of a replication record keeps for each backup in a field of its own. */
export type BackupField =
  | 'written'
  | 'refusal'
  | 'unremovable'
  | 'keyWithheld'
  | 'held'
  | 'overwritten'
  | 'replacing'
  | 'operation'
  | 'vacant';

/** The field of a row that keeps something for one backup: `<name>/<store>`. */
export function fieldOf(name: BackupField | 'doubt', store: string): string {
  return `${name}/${store}`;
}

/** The latest of these moments; `undefined` if there is none. */
export function latest(moments: readonly (number | undefined)[]): number | undefined {
  const present = moments.filter((moment) => moment !== undefined);
  return present.length === 0 ? undefined : Math.max(...present);
}
