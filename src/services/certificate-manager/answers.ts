import * as z from 'zod/mini';
import type { CertificatePem } from '../../certificate/certificate.ts';
import { defined } from '../../defined.ts';
import { parseJson } from '../../http/service-failure.ts';
import { certificateIdOf, type InstanceCrn } from '../../ibm-cloud/crn.ts';
import { otherwise } from '../../lenient.ts';
import { Secret } from '../../secret.ts';
import { readMarkedDescription } from '../../store/mark.ts';
import type { CertificateMetadata, ListPage } from '../../store/store.ts';

// What Certificate Manager answers, read leniently: only what nothing can be done without is
// demanded; a member that is missing or of another type is as if the service had not said it, and
// members that we do not know are passed over.

const text = otherwise(z.optional(z.string()), undefined);

/** Epoch milliseconds, as a number or as its digits. */
const moment = otherwise(
  z.optional(z.union([z.int(), z.pipe(z.string().check(z.regex(/^\d{1,16}$/)), z.transform(Number))])),
  undefined,
);

const texts = otherwise(z.array(z.string()), []);

const certificateSchema = z.object({
  _id: z.string(),
  name: text,
  description: text,
  domains: texts,
  issuer: text,
  serial_number: text,
  begins_on: moment,
  expires_on: moment,
  status: text,
  last_modified: moment,
});
type CertificateObject = z.infer<typeof certificateSchema>;

const contentSchema = z.object({ data: z.object({ content: z.string(), priv_key: text, intermediate: text }) });

/**
 * One half of a cursor. The last page has an empty text, an empty list, null or nothing there;
 * other pages a text or a number.
 */
const cursorPart = otherwise(
  z.pipe(z.union([z.string(), z.number(), z.array(z.union([z.string(), z.number()]))]), z.transform(String)),
  '',
);
const pageSchema = z.object({
  certificates: z.array(certificateSchema),
  nextPageInfo: otherwise(z.object({ startWithDocId: cursorPart, startWithOrderByValue: cursorPart }), {
    startWithDocId: '',
    startWithOrderByValue: '',
  }),
});

const keySchema = z.object({ publicKey: z.string() });

/** Where a listing goes on. */
const positionSchema = z.object({ page: z.int(), document: z.string(), value: z.string() });
export type ListPosition = z.infer<typeof positionSchema>;

/** A certificate object; `undefined` if the body is none, or one of another instance. */
export function readCertificate(instance: InstanceCrn, body: string): CertificateMetadata | undefined {
  const parsed = z.safeParse(certificateSchema, parseJson(body));
  return parsed.success ? metadataOf(instance, parsed.data) : undefined;
}

/** The content in a download; `undefined` if there is none. */
export function readContent(body: string): CertificatePem | undefined {
  const parsed = z.safeParse(contentSchema, parseJson(body));
  if (!parsed.success) return undefined;
  const { content, intermediate = '', priv_key = '' } = parsed.data.data;
  return {
    certificate: content,
    ...(intermediate.trim() !== '' && { intermediate }),
    ...(priv_key.trim() !== '' && { privateKey: new Secret(priv_key) }),
  };
}

/**
 * One page of a listing that was asked for at `from`; `undefined` if the body is none. A cursor
 * that does not move ends the listing.
 */
export function readPage(instance: InstanceCrn, body: string, from: ListPosition): ListPage | undefined {
  const parsed = z.safeParse(pageSchema, parseJson(body));
  if (!parsed.success) return undefined;
  const certificates: CertificateMetadata[] = [];
  for (const item of parsed.data.certificates) {
    const metadata = metadataOf(instance, item);
    if (metadata === undefined) return undefined;
    if (!isOnlyOrdered(metadata)) certificates.push(metadata);
  }
  const { startWithDocId: document, startWithOrderByValue: value } = parsed.data.nextPageInfo;
  const ends = document === '' || value === '' || (document === from.document && value === from.value);
  const next: ListPosition = { page: from.page + 1, document, value };
  return { certificates, ...(!ends && { cursor: JSON.stringify(next) }) };
}

/**
 * An order that has come to no certificate (yet) is listed too: there is nothing to copy of it, and
 * when there is, an event says so.
 */
function isOnlyOrdered({ status, notAfter }: CertificateMetadata): boolean {
  return notAfter === undefined && (status === 'pending' || status === 'failed');
}

/**
 * The position in a cursor that `readPage` gave; the beginning if there is none; `undefined` if it
 * is something else.
 */
export function readCursor(cursor: string | undefined): ListPosition | undefined {
  if (cursor === undefined) return { page: 0, document: '', value: '' };
  return z.safeParse(positionSchema, parseJson(cursor)).data;
}

/** The PEM text in the answer of the public key call. */
export function readPublicKey(body: string): string | undefined {
  return z.safeParse(keySchema, parseJson(body)).data?.publicKey;
}

function metadataOf(instance: InstanceCrn, object: CertificateObject): CertificateMetadata | undefined {
  const id = certificateIdOf(instance, object._id);
  if (id === undefined) return undefined;
  const { issuer, status, begins_on: notBefore, expires_on: notAfter, last_modified: lastModified } = object;
  const serial = serialOf(object.serial_number);
  const revision = revisionOf(object);
  return {
    id,
    name: object.name ?? '',
    ...readMarkedDescription(object.description ?? ''),
    tags: [],
    domains: object.domains,
    ...defined({ issuer, serial, notBefore, notAfter, status, revision, lastModified }),
  };
}

/**
 * Last modified, where the service says it; else what a new version can hardly share with the one
 * before: serial and dates.
 */
function revisionOf(object: CertificateObject): string | undefined {
  const { serial_number = '', begins_on = '', expires_on = '', last_modified } = object;
  if (last_modified !== undefined) return String(last_modified);
  return serial_number === '' && expires_on === '' ? undefined : `${serial_number}/${begins_on}/${expires_on}`;
}

/**
 * A serial number as hex. How the service writes it is not documented; digits alone could as well
 * be decimal, and a wrong serial would make equal certificates differ for ever, so that these are
 * left unsaid.
 */
function serialOf(written: string | undefined): string | undefined {
  const hex = written?.toLowerCase().replace(/[\s:-]/g, '') ?? '';
  if (!/^[0-9a-f]+$/.test(hex) || /^\d+$/.test(written ?? '')) return undefined;
  return hex.padStart(hex.length + (hex.length % 2), '0').replace(/^(?:00)+(?=.)/, '');
}
