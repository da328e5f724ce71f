import * as z from 'zod/mini';
import { CodedError } from '../errors.ts';
import type { Row } from '../table/table.ts';

/** PEM exactly as it was given. */
export interface ContentPem {
  readonly content: string;
  readonly intermediate?: string | undefined;
  readonly priv_key?: string | undefined;
}

/** What a certificate says of itself, as kept in its row. Moments are epoch milliseconds. */
export interface KeptFacts {
  readonly domains: readonly string[];
  readonly issuer: string;
  readonly serialNumber: string;
  readonly beginsOn: number;
  readonly expiresOn: number;
  readonly algorithm: string;
  readonly keyAlgorithm: string;
}

/** One certificate of the instance, without its content. */
export interface CertificateRow extends KeptFacts {
  readonly id: string;
  readonly state: 'live' | 'removed';
  readonly name: string;
  readonly description: string;
  /** Goes up with each change: what a change is conditional on. */
  readonly version: number;
  /** Goes up with each change, also when the clock does not. */
  readonly lastModified: number;
  /** Which content row is in force, and which was before. */
  readonly content: string;
  readonly previous?: string | undefined;
}

const certificateSchema = z.object({
  state: z.enum(['live', 'removed']),
  name: z.string(),
  description: z.string(),
  version: z.number(),
  lastModified: z.number(),
  content: z.string(),
  previous: z.optional(z.string()),
  domains: z.array(z.string()),
  issuer: z.string(),
  serialNumber: z.string(),
  beginsOn: z.number(),
  expiresOn: z.number(),
  algorithm: z.string(),
  keyAlgorithm: z.string(),
});

const contentSchema = z.object({
  content: z.string(),
  intermediate: z.optional(z.string()),
  priv_key: z.optional(z.string()),
});

const entrySchema = z.object({ id: z.string(), content: z.string(), version: z.number(), expiresOn: z.number() });

/** A row of the index by expiry: one for each content that was ever written, until it is superseded. */
export interface ExpiryEntry extends z.infer<typeof entrySchema> {
  /** Its place in the index. */
  readonly sort: string;
}

/** Where a certificate stands in the order of expiry: text that sorts as its moment, then its id. */
export function expiryPosition(expiresOn: number, id: string): string {
  return `${String(expiresOn).padStart(15, '0')}/${id}`;
}

/** The row of a certificate as read. Throws `table_row_unreadable`. */
export function decodeCertificate(row: Row): CertificateRow {
  return { id: row.sort, ...decode(certificateSchema, row) };
}

/** The row of a content as read. Throws `table_row_unreadable`. */
export function decodeContent(row: Row): ContentPem {
  return decode(contentSchema, row);
}

/** A row of the index as read. Throws `table_row_unreadable`. */
export function decodeEntry(row: Row): ExpiryEntry {
  return { ...decode(entrySchema, row), sort: row.sort };
}

function decode<T>(schema: z.ZodMiniType<T>, row: Row): T {
  const parsed = schema.safeParse(row);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues.map((issue) => issue.path.join('.')).join(', ');
  throw new CodedError('table_row_unreadable', `the row ${row.partition} ${row.sort} cannot be understood: ${where}`);
}
