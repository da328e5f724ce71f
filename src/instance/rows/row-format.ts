import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import type { Row, Value } from '../../table/table.ts';

/**
 * The format of the rows that this program writes. Each row says its own, so that an older program
 * refuses a newer row by name.
 */
const currentFormat = 1;

/** The fields of a row to be written, with the format that they are in. */
export function formatted(fields: Readonly<Record<string, Value>>): Readonly<Record<string, Value>> {
  return { ...fields, format: currentFormat };
}

/**
 * A row as read. Throws `table_row_unreadable`, naming the row, for another format and for what
 * does not fit the schema.
 */
export function decodeRow<T>(schema: z.ZodMiniType<T>, row: Row): T {
  const where = `the row ${row.partition} ${row.sort}`;
  const { format } = row;
  if (format !== currentFormat) {
    const found = typeof format === 'number' || typeof format === 'string' ? `is in format ${format}` : 'has no format';
    throw new CodedError('table_row_unreadable', `${where} ${found}; this program reads format ${currentFormat}`, {
      fields: { version: typeof format === 'number' || typeof format === 'string' ? format : undefined },
    });
  }
  const parsed = z.safeParse(schema, row);
  if (parsed.success) return parsed.data;
  const places = parsed.error.issues.map((issue) => issue.path.join('.')).join(', ');
  throw new CodedError('table_row_unreadable', `${where} cannot be understood: ${places}`);
}
