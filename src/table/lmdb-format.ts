import { CodedError } from '../errors.ts';
import { rowJson } from './check.ts';
import type { Key, Row } from './table.ts';

/**
 * How rows and their keys lie in LMDB, which orders keys by their bytes.
 *
 * A partition comes first and brings its own length, so that no byte in it can be taken for the end
 * of it; the sort key comes last, as plain UTF-8, so that its order is the order of the bytes. A
 * row is one byte that names the format, then JSON: it keeps every field as it is, any tool can
 * read it, and V8 parses it faster than anything written in JavaScript.
 */
const formatVersion = 1;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** What every key of this partition begins with, in the rows and in the index. */
export function partitionBytes(partition: string): Buffer {
  const bytes = Buffer.from(partition);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

export function rowKey({ partition, sort }: Key): Buffer {
  return Buffer.concat([partitionBytes(partition), Buffer.from(sort)]);
}

/** Eight bytes whose order is the order of the numbers: big-endian, negatives turned over. */
export function numberBytes(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  if (value < 0) for (let at = 0; at < 8; at += 1) bytes[at] = ~(bytes[at] as number);
  else bytes[0] = (bytes[0] as number) | 0x80;
  return bytes;
}

/** The least key that is greater than this one. */
export function justAfter(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)]);
}

/** Entry of the index: partition, wakeAt, sort. `undefined` for a row that is not in it. */
export function wakeKey(row: Row | undefined): Buffer | undefined {
  if (typeof row?.wakeAt !== 'number') return undefined;
  return Buffer.concat([partitionBytes(row.partition), numberBytes(row.wakeAt), Buffer.from(row.sort)]);
}

/** Entry of the list of what expires: expiresAt, then the key of the row. */
export function expiryKey(row: Row | undefined): Buffer | undefined {
  return typeof row?.expiresAt === 'number' ? Buffer.concat([numberBytes(row.expiresAt), rowKey(row)]) : undefined;
}

export function encodeRow(row: Row): Buffer {
  return Buffer.concat([Buffer.of(formatVersion), Buffer.from(rowJson(row))]);
}

/**
 * The row in these bytes. Throws `table_row_unreadable` for another format, and for what is not the
 * row of this key, with the key's sort in the field `sort`.
 */
export function decodeRow(key: Buffer, bytes: Buffer | undefined): Row {
  const version = bytes?.[0];
  const where = { sort: key.subarray(2 + key.readUInt16BE(0)).toString() };
  if (bytes === undefined || version === undefined) throw unreadable('holds nothing', where);
  if (version !== formatVersion)
    throw unreadable(`is in format ${version}, this program reads format ${formatVersion}`, { version, ...where });
  let row: unknown;
  try {
    row = JSON.parse(utf8.decode(bytes.subarray(1)));
  } catch (cause) {
    throw unreadable(`in format ${version} is not whole`, { version, ...where }, cause);
  }
  const { partition, sort } = (row ?? {}) as Partial<Row>;
  if (typeof partition !== 'string' || typeof sort !== 'string' || !rowKey({ partition, sort }).equals(key))
    throw unreadable(`in format ${version} belongs to another key`, { version, ...where });
  return row as Row;
}

function unreadable(
  what: string,
  fields: { readonly version?: number; readonly sort: string },
  cause?: unknown,
): CodedError {
  return new CodedError('table_row_unreadable', `a row of the embedded table ${what}`, { cause, fields });
}
