import * as z from 'zod/mini';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { factsOf } from '../../certificate/facts.ts';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Row } from '../../table/table.ts';
import { decodeRow } from '../rows/row-format.ts';
import { contentPlace, type Sealer } from '../rows/sealed-places.ts';

export const nameCharacters = 256;
export const descriptionCharacters = 1024;

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

/** What goes into the row of a certificate of what its content says of itself. */
export function keptFacts(content: CertificateContent): KeptFacts {
  const { domains, issuer, serial, notBefore, notAfter, signatureAlgorithm, keyAlgorithm } = factsOf(content);
  return {
    domains,
    issuer,
    serialNumber: serial,
    beginsOn: notBefore,
    expiresOn: notAfter,
    algorithm: signatureAlgorithm,
    keyAlgorithm,
  };
}

/** How the last order or renewal of a certificate goes, or went. */
export interface Issuance {
  /** The order, told from every other. */
  readonly order: string;
  readonly status: 'pending' | 'valid' | 'failed';
  /** Why it failed: a code of the registry, and the reason in words. Empty otherwise. */
  readonly code: string;
  readonly info: string;
  /** Whether the instance itself began it. */
  readonly auto: boolean;
  /** Epoch milliseconds. */
  readonly orderedOn: number;
}

/**
 * What is kept of a certificate that was ordered here, and of no other. Moments are epoch
 * milliseconds.
 */
export interface OrderedFields {
  /** False for an ordered certificate, absent for others. */
  readonly imported?: boolean | undefined;
  readonly issuance?: Issuance | undefined;
  readonly autoRenew?: boolean | undefined;
  /** Whether the last renewal made a new key. */
  readonly rotateKeys?: boolean | undefined;
  /**
   * The authority that issued what is in force; `reimportedAuthority` for what was reimported
   * since.
   */
  readonly authority?: string | undefined;
  /** Whether somebody has downloaded what is in force. */
  readonly downloaded?: boolean | undefined;
  readonly issuedAt?: number | undefined;
  /** Since a renewal: when the version before expires. */
  readonly previousExpiresOn?: number | undefined;
  /** Automatic renewals that failed in a row, and when the next one may be. */
  readonly renewal?: { readonly failures: number; readonly retryAt: number } | undefined;
}

/** Who made a version of a certificate, and what was said of that version alone. */
export interface Made {
  /** Epoch milliseconds. */
  readonly at: number;
  /** The name of an API key; empty where nobody noted it. */
  readonly by: string;
  /** A JSON object as text. */
  readonly metadata?: string | undefined;
}

/** What is kept of the version before beside its content. Moments are epoch milliseconds. */
export interface VersionBefore extends Pick<KeptFacts, 'serialNumber' | 'beginsOn' | 'expiresOn'> {
  readonly made?: Made | undefined;
}

/** A name that holds a version fast: while there is one, it is neither lost nor deleted. */
export interface Lock {
  readonly name: string;
  readonly description: string;
  /** A JSON object as text. */
  readonly attributes: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly createdBy: string;
  /** The content that it holds. */
  readonly content: string;
}

/** What Secrets Manager's API knows of a certificate and Certificate Manager's does not. */
export interface SecretFields {
  readonly labels?: readonly string[] | undefined;
  /** A JSON object as text. */
  readonly customMetadata?: string | undefined;
  /** Id of its group; absent: it is in `default`. */
  readonly group?: string | undefined;
  readonly created?: Pick<Made, 'at' | 'by'> | undefined;
  /** Of the version in force. */
  readonly made?: Made | undefined;
  readonly locks?: readonly Lock[] | undefined;
  /** What the version in force has beside its leaf. */
  readonly included?: readonly ('key' | 'chain')[] | undefined;
}

/**
 * Stands for the authority of an ordered certificate that was reimported: nobody here knows who
 * issued that.
 */
export const reimportedAuthority = 'reimported';

/** One certificate of the instance, without its content. */
export interface CertificateRow extends KeptFacts, OrderedFields, SecretFields {
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
  /** Absent where an older program wrote the row last. */
  readonly before?: VersionBefore | undefined;
}

const madeSchema = z.object({ at: z.number(), by: z.string(), metadata: z.optional(z.string()) });

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
  imported: z.optional(z.boolean()),
  issuance: z.optional(
    z.object({
      order: z.string(),
      status: z.enum(['pending', 'valid', 'failed']),
      code: z.string(),
      info: z.string(),
      auto: z.boolean(),
      orderedOn: z.number(),
    }),
  ),
  autoRenew: z.optional(z.boolean()),
  rotateKeys: z.optional(z.boolean()),
  authority: z.optional(z.string()),
  downloaded: z.optional(z.boolean()),
  issuedAt: z.optional(z.number()),
  previousExpiresOn: z.optional(z.number()),
  renewal: z.optional(z.object({ failures: z.number(), retryAt: z.number() })),
  labels: z.optional(z.array(z.string())),
  customMetadata: z.optional(z.string()),
  group: z.optional(z.string()),
  created: z.optional(z.object({ at: z.number(), by: z.string() })),
  made: z.optional(madeSchema),
  before: z.optional(
    z.object({
      serialNumber: z.string(),
      beginsOn: z.number(),
      expiresOn: z.number(),
      made: z.optional(madeSchema),
    }),
  ),
  included: z.optional(z.array(z.enum(['key', 'chain']))),
  locks: z.optional(
    z.array(
      z.object({
        name: z.string(),
        description: z.string(),
        attributes: z.string(),
        createdAt: z.number(),
        updatedAt: z.number(),
        createdBy: z.string(),
        content: z.string(),
      }),
    ),
  ),
});

/** When a certificate expires that has been ordered and not issued yet: after every other. */
export const notIssuedYet = 999_999_999_999_999;

/** Whether there is a certificate, and not only an order for one. */
export const isIssued = ({ expiresOn }: Pick<CertificateRow, 'expiresOn'>): boolean => expiresOn !== notIssuedYet;

const sealedSchema = z.object({ sealed: z.string() });

const contentSchema = z.object({
  content: z.string(),
  intermediate: z.optional(z.string()),
  priv_key: z.optional(z.string()),
});

const entrySchema = z.object({
  id: z.string(),
  content: z.string(),
  version: z.number(),
  expiresOn: z.number(),
  preparedAt: z.number(),
});

/**
 * A row of the index by expiry: one for each content that was ever written, until it is superseded.
 */
export interface ExpiryEntry extends z.infer<typeof entrySchema> {
  /** Its place in the index. */
  readonly sort: string;
}

/**
 * Where a certificate stands in the order of expiry: text that sorts as its moment, then its id.
 */
export function expiryPosition(expiresOn: number, id: string): string {
  return `${String(expiresOn).padStart(15, '0')}/${id}`;
}

/** The row of a certificate as read. Throws `table_row_unreadable`. */
export function decodeCertificate(row: Row): CertificateRow {
  return { id: row.sort, ...decodeRow(certificateSchema, row) };
}

/** A row of the index as read. Throws `table_row_unreadable`. */
export function decodeEntry(row: Row): ExpiryEntry {
  return { ...decodeRow(entrySchema, row), sort: row.sort };
}

/** The sealed text in the row of a content. Throws `table_row_unreadable`. */
export function sealedOf(row: Row): string {
  return decodeRow(sealedSchema, row).sealed;
}

/** The header, the IV and the tag of a sealed text, and the other fields of its row. */
const sealedOverheadBytes = 4096;

/**
 * Bytes of a content as JSON at the most: sealed it is longer by a third, and has to fit into a row
 * of the table. Text between the PEM blocks is kept too, and what JSON escapes counts as it is
 * written.
 */
const contentJsonBytes = Math.floor(((limits.tableRowBytes - limits.tableKeyBytes - sealedOverheadBytes) * 3) / 4);

/** Throws `certificate_too_large` for a content that no row can hold. */
export function checkContentSize(pem: ContentPem): void {
  const bytes = Buffer.byteLength(JSON.stringify(pem));
  if (bytes <= contentJsonBytes) return;
  throw new CodedError(
    'certificate_too_large',
    `certificate, chain and key together take ${bytes} bytes as JSON, more than the ${contentJsonBytes} that can be kept`,
  );
}

/** Certificate, chain and private key as one sealed value. */
export async function sealContent(sealer: Sealer, id: string, content: string, pem: ContentPem): Promise<string> {
  const bytes = Buffer.from(JSON.stringify(pem));
  try {
    return await sealer.seal(contentPlace(id, content), bytes);
  } finally {
    bytes.fill(0);
  }
}

/**
 * What was sealed there. Throws `instance_content_unreadable` for what does not open or is no
 * content, and what the root key throws.
 */
export async function openContent(sealer: Sealer, id: string, content: string, sealed: string): Promise<ContentPem> {
  const bytes = await openFor(sealer, id, content, sealed);
  try {
    const parsed = z.safeParse(
      contentSchema,
      JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()),
    );
    if (parsed.success) return parsed.data;
  } catch {
    // The message of the syntax error quotes what it read: perhaps a private key.
  } finally {
    bytes.fill(0);
  }
  throw contentUnreadable(id);
}

/** The bytes that were sealed there; the caller wipes them. Throws as `openContent` does. */
export async function openFor(sealer: Sealer, id: string, content: string, sealed: string): Promise<Uint8Array> {
  try {
    return await sealer.open(contentPlace(id, content), sealed);
  } catch (thrown) {
    throw thrown instanceof CodedError && thrown.code === 'sealed_unreadable' ? contentUnreadable(id, thrown) : thrown;
  }
}

function contentUnreadable(id: string, cause?: unknown): CodedError {
  const message = `certificate ${id} is there, but what is kept of its content cannot be opened`;
  return new CodedError('instance_content_unreadable', message, { cause, fields: { certificate: id } });
}
