import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import type { Place } from '../../keys/keyring.ts';

/**
 * How a snapshot lies in its file: lines of JSON. The first says what it is; then comes one for
 * each row of the instance, sealed whole, so that neither names nor addresses stand there in the
 * clear; then the data keys, wrapped by the root keys, as on the table; and last, sealed, how many
 * of all there are and the SHA-256 of every byte before that line. A file without its last line is
 * no snapshot.
 */
const formatName = 'certstandby-snapshot.1';
const formats = /^certstandby-snapshot\.\d+$/;

const headerSchema = z.object({ format: z.string(), instance: z.string(), takenAt: z.number() });
const rowSchema = z.object({ row: z.string() });
const dataKeySchema = z.object({ dataKey: z.looseObject({ partition: z.string(), sort: z.string() }) });
const endSchema = z.object({ end: z.string() });
const totalsSchema = z.object({ rows: z.number(), certificates: z.number(), sha256: z.string() });

export interface SnapshotHeader {
  /** CRN of the instance. */
  readonly instance: string;
  /**
   * When it was begun, epoch milliseconds: everything in it is from then on, or from that very
   * moment where the table can be frozen.
   */
  readonly takenAt: number;
}

/** What stands in the last line. */
export interface SnapshotTotals extends z.infer<typeof totalsSchema> {}

export const headerLine = (header: SnapshotHeader): string => `${JSON.stringify({ format: formatName, ...header })}\n`;
export const rowLine = (sealed: string): string => `${JSON.stringify({ row: sealed })}\n`;
export const dataKeyLine = (row: object): string => `${JSON.stringify({ dataKey: row })}\n`;
export const endLine = (sealed: string): string => `${JSON.stringify({ end: sealed })}\n`;

/**
 * Where the row of this number belongs: nothing opens in another snapshot, or in another place of
 * the same one.
 */
export function rowPlace({ takenAt }: SnapshotHeader, number: number): Place {
  return { certificate: '', field: 'snapshot-row', version: `${takenAt}/${number}` };
}

export function endPlace({ takenAt }: SnapshotHeader): Place {
  return { certificate: '', field: 'snapshot-end', version: `${takenAt}` };
}

/** The header in the first line of a file. Throws `snapshot_unknown`. */
export function parseHeader(line: string, path: string): SnapshotHeader {
  const { data } = z.safeParse(headerSchema, parsed(line));
  if (data?.format === formatName) return { instance: data.instance, takenAt: data.takenAt };
  const found =
    data !== undefined && formats.test(data.format)
      ? `has the format ${data.format}, and this version knows ${formatName}`
      : 'is no snapshot of an instance';
  throw new CodedError('snapshot_unknown', `${path} ${found}`, { fields: { path } });
}

type SnapshotLine =
  | { readonly kind: 'row'; readonly sealed: string }
  | { readonly kind: 'data-key'; readonly row: z.infer<typeof dataKeySchema>['dataKey'] }
  | { readonly kind: 'end'; readonly sealed: string };

/** A line after the first. Throws `snapshot_damaged`. */
export function parseLine(line: string, path: string): SnapshotLine {
  const value = parsed(line);
  const row = z.safeParse(rowSchema, value).data;
  if (row !== undefined) return { kind: 'row', sealed: row.row };
  const dataKey = z.safeParse(dataKeySchema, value).data;
  if (dataKey !== undefined) return { kind: 'data-key', row: dataKey.dataKey };
  const end = z.safeParse(endSchema, value).data;
  if (end !== undefined) return { kind: 'end', sealed: end.end };
  throw damaged(path, 'a line in it is not as one is written');
}

/** The totals as they were sealed. Throws `snapshot_damaged`. */
export function parseTotals(text: string, path: string): SnapshotTotals {
  const { data } = z.safeParse(totalsSchema, parsed(text));
  if (data === undefined) throw damaged(path, 'its last line does not say what is in it');
  return data;
}

export function damaged(path: string, found: string, cause?: unknown): CodedError {
  return new CodedError('snapshot_damaged', `the snapshot ${path} is not whole: ${found}`, { cause, fields: { path } });
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
