import type { Row } from '../table/table.ts';

/** The number in a field of a row; `undefined` if there is none. */
export function numberIn(row: Row | undefined, field: string): number | undefined {
  const value = row?.[field];
  return typeof value === 'number' ? value : undefined;
}
