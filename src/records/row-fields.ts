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
