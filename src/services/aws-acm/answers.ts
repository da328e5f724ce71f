import * as z from 'zod/mini';
import { otherwise } from '../../lenient.ts';

// What ACM answers, read leniently: a member that is missing or of another type is as if the
// service had not said it.

const text = otherwise(z.optional(z.string().check(z.minLength(1))), undefined);
/** Seconds since 1970, with a fraction or without. */
const moment = otherwise(z.optional(z.number()), undefined);
const texts = otherwise(z.array(z.string()), []);

const certificateSchema = z.object({
  CertificateArn: z.string(),
  DomainName: text,
  Status: text,
  Type: text,
  Serial: text,
  NotBefore: moment,
  NotAfter: moment,
  CreatedAt: moment,
  IssuedAt: moment,
  ImportedAt: moment,
  InUseBy: texts,
  ManagedBy: text,
  CertificateKeyPairOrigin: text,
  ExportOption: text,
  Options: otherwise(z.optional(z.object({ Export: text })), undefined),
});

/** What a listing or a description says of a certificate. */
export interface AcmCertificate {
  readonly arn: string;
  readonly domain?: string;
  readonly status: string;
  readonly type: string;
  /** As certificates are known by it here; only a description has it. */
  readonly serial?: string;
  /** Tells versions apart, as far as a listing and a description both say it. */
  readonly revision: string;
  /** Epoch milliseconds. */
  readonly lastModified?: number;
  /** ARNs; only a description has them. */
  readonly inUseBy: readonly string[];
  /** The service of AWS that it belongs to. */
  readonly managedBy?: string;
  /** ACM never has its key: an ACME client does. */
  readonly isOfAcmeClient: boolean;
  readonly isExportable: boolean;
}

export function readCertificateEntry(value: unknown): AcmCertificate | undefined {
  const parsed = z.safeParse(certificateSchema, value);
  if (!parsed.success) return undefined;
  const { CertificateArn: arn, DomainName: domain, Status, Type, Serial, InUseBy, ManagedBy } = parsed.data;
  const { NotBefore, NotAfter, CreatedAt, IssuedAt, ImportedAt, Options, ExportOption } = parsed.data;
  const changed = ImportedAt ?? IssuedAt;
  const serial = Serial?.toLowerCase()
    .replace(/[^0-9a-f]/g, '')
    .replace(/^(?:00)+(?=..)/, '');
  return {
    arn,
    ...(domain !== undefined && { domain }),
    status: Status ?? '',
    type: Type ?? '',
    ...(serial !== undefined && /:/.test(Serial ?? '') && { serial }),
    revision: [NotBefore, NotAfter, changed, CreatedAt].map((one) => one ?? '').join('/'),
    ...(changed !== undefined && { lastModified: Math.round(changed * 1_000) }),
    inUseBy: InUseBy,
    ...(ManagedBy !== undefined && { managedBy: ManagedBy }),
    isOfAcmeClient: parsed.data.CertificateKeyPairOrigin === 'ACME',
    isExportable: Type === 'PRIVATE' || Options?.Export === 'ENABLED' || ExportOption === 'ENABLED',
  };
}

const pageSchema = z.object({ CertificateSummaryList: z.array(z.unknown()), NextToken: text });

export function readCertificatePage(
  value: unknown,
): { readonly certificates: readonly AcmCertificate[]; readonly cursor?: string } | undefined {
  const parsed = z.safeParse(pageSchema, value);
  if (!parsed.success) return undefined;
  const certificates = parsed.data.CertificateSummaryList.map(readCertificateEntry);
  if (certificates.includes(undefined)) return undefined;
  const { NextToken: cursor } = parsed.data;
  return { certificates: certificates as readonly AcmCertificate[], ...(cursor !== undefined && { cursor }) };
}

const tagsSchema = z.object({ Tags: otherwise(z.array(z.object({ Key: z.string(), Value: text })), []) });

export function readTags(value: unknown): ReadonlyMap<string, string> | undefined {
  const parsed = z.safeParse(tagsSchema, value);
  return parsed.success ? new Map(parsed.data.Tags.map(({ Key, Value = '' }) => [Key, Value])) : undefined;
}

const contentSchema = z.object({ Certificate: z.string(), CertificateChain: text, PrivateKey: text });

/** PEM; the key is there in an export alone, encrypted. */
export function readPem(value: unknown) {
  const parsed = z.safeParse(contentSchema, value);
  if (!parsed.success) return undefined;
  const { Certificate: certificate, CertificateChain: chain, PrivateKey: encryptedKey } = parsed.data;
  return { certificate, chain, encryptedKey };
}

const foundSchema = z.object({
  ResourceTagMappingList: z.array(z.object({ ResourceARN: z.string() })),
  PaginationToken: text,
});

/** What the tagging API has found. */
export function readFound(value: unknown) {
  const parsed = z.safeParse(foundSchema, value);
  if (!parsed.success) return undefined;
  const { ResourceTagMappingList: found, PaginationToken: cursor } = parsed.data;
  return { arns: found.map(({ ResourceARN }) => ResourceARN), cursor };
}
