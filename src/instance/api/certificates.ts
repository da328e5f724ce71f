import { apiPartNames } from '../../certificate/pem.ts';
import { defined } from '../../defined.ts';
import { CodedError, type ErrorCode } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { type CertificatePage, listCertificates } from '../certificates/certificate-listing.ts';
import {
  type CertificateRow,
  type ContentPem,
  descriptionCharacters,
  type Issuance,
  isIssued,
  nameCharacters,
  type OrderedFields,
  reimportedAuthority,
} from '../certificates/certificate-row.ts';
import type { CertificateRows } from '../certificates/certificate-rows.ts';
import type { Announce } from '../notifications/delivery.ts';
import { certificateCrn } from '../rows/crn.ts';
import { invalid, memberOf, objectOf, optionalText, requiredText } from '../rows/fields.ts';
import { parseListQuery, parseSearchQuery } from '../rows/list-query.ts';
import type { Instance } from '../tenants/instance.ts';
import { acceptContent, factsIn } from './accepted-content.ts';

/** A certificate as the REST API shows it. Moments are epoch milliseconds. */
interface CertificateObject {
  readonly _id: string;
  readonly name: string;
  readonly description: string;
  readonly domains: readonly string[];
  readonly key_algorithm: string;
  readonly imported: boolean;
  readonly status: 'valid' | 'expired' | 'pending' | 'failed';
  readonly has_previous: boolean;
  readonly last_modified: number;
  // Once it was issued.
  readonly issuer?: string;
  readonly begins_on?: number;
  readonly expires_on?: number;
  readonly algorithm?: string;
  readonly serial_number?: string;
  // Of ordered ones.
  readonly rotate_keys?: boolean;
  readonly issuance_info?: {
    readonly status: Issuance['status'];
    readonly code: string;
    readonly additional_info: string;
    readonly auto: boolean;
    readonly ordered_on: number;
  };
  readonly order_policy?: { readonly auto_renew_enabled: boolean };
  readonly downloaded?: boolean;
}

/**
 * A version that is no longer in force: nobody says when it was changed, and nothing is kept from
 * before it.
 */
type PreviousObject = Omit<CertificateObject, 'last_modified'> & { readonly data: ContentPem };

/** One page of certificates, as Certificate Manager answers it. */
interface PageObject {
  totalScannedDocs: number;
  certificates: CertificateObject[];
  nextPageInfo: {
    startWithDocId: string;
    startWithOrderByValue: string;
  };
}

export interface Certificates {
  /** The certificate of a row. */
  readonly show: (row: CertificateRow) => CertificateObject;
  /** Body: `{name, description?, data: {content, priv_key?, intermediate?}}`. */
  import(body: unknown): Promise<CertificateObject>;
  /**
   * Body: `{content, priv_key?, intermediate?}`. What the body leaves out, the certificate no
   * longer has. It ends a renewal that is under way: a reimport is meant to be in force, perhaps
   * because the key before it is in wrong hands.
   */
  reimport(id: string, body: unknown): Promise<CertificateObject>;
  download(id: string): Promise<
    CertificateObject & {
      readonly data: ContentPem;
    }
  >;
  /**
   * The content before the one in force, and what that says of itself. Throws `instance_not_found`
   * if there is none.
   */
  downloadPrevious(id: string): Promise<PreviousObject>;
  metadata(id: string): Promise<CertificateObject>;
  /** Body: `{name?, description?}`, one of them at least. */
  update(id: string, body: unknown): Promise<CertificateObject>;
  delete(id: string): Promise<{
    readonly message: string;
  }>;
  /**
   * One page, as Certificate Manager's clients read it: the cursor is two strings, both empty on
   * the last page.
   */
  list(query: string): Promise<PageObject>;
  /**
   * One page of what a search finds, in the form and order of a list. One request examines a
   * bounded number of certificates, so a page may hold less than asked for, or nothing, and still
   * name the next one.
   */
  search(query: string): Promise<PageObject>;
}

/**
 * The operations on the certificates of one instance, from request bodies to answer bodies. They
 * throw `instance_not_found`, `instance_limited`, `instance_request_invalid` and the codes of
 * certificates; nothing is stored then.
 */
export function certificates(context: {
  instance: Instance;
  rows: CertificateRows;
  now: () => number;
  announce: Announce;
  /** Whether an authority issues here that clients may trust. */
  renewsForReal: boolean;
}): Certificates {
  const { instance, rows, now, announce, renewsForReal } = context;

  function objectFor(row: CertificateRow): CertificateObject {
    return {
      _id: certificateCrn(instance.crn, row.id),
      name: row.name,
      description: row.description,
      domains: row.domains,
      ...(isIssued(row) && {
        issuer: row.issuer,
        begins_on: row.beginsOn,
        expires_on: row.expiresOn,
        algorithm: row.algorithm,
      }),
      key_algorithm: row.keyAlgorithm,
      ...(isIssued(row) && { serial_number: row.serialNumber }),
      imported: row.imported ?? true,
      status: statusOf(row),
      has_previous: row.previous !== undefined,
      last_modified: row.lastModified,
      ...(row.imported === false && orderedMembers(row)),
    };
  }

  /** A certificate that is there stays valid while it is renewed, and when that fails. */
  function statusOf(row: CertificateRow): CertificateObject['status'] {
    if (isIssued(row)) return row.expiresOn < now() ? 'expired' : 'valid';
    return row.issuance?.status === 'failed' ? 'failed' : 'pending';
  }

  function pageFor({ certificates, next }: CertificatePage) {
    return {
      totalScannedDocs: certificates.length,
      certificates: certificates.map(objectFor),
      nextPageInfo: {
        startWithDocId: next ? certificateCrn(instance.crn, next.id) : '',
        startWithOrderByValue: next ? String(next.expiresOn) : '',
      },
    };
  }

  return {
    show: objectFor,

    async import(body: unknown): Promise<CertificateObject> {
      const fields = objectOf(body);
      const name = requiredText(fields, 'name', nameCharacters);
      const description = optionalText(fields, 'description', descriptionCharacters) ?? '';
      const { pem, facts } = acceptContent(objectOf(memberOf(fields, 'data'), 'data'), apiPartNames, now());
      const row = await announce('cert_imported', (writeBefore) =>
        rows.add({ name, description, ...facts }, pem, instance.limits.certificates, writeBefore),
      );
      return objectFor(row);
    },

    async reimport(id: string, body: unknown): Promise<CertificateObject> {
      const { pem, facts } = acceptContent(objectOf(body), apiPartNames, now());
      const judge = (row: CertificateRow) => requireSameDomains(row.domains, facts.domains);
      const current = await found(rows.get(id), id);
      judge(current);
      await instance.rates.reimport(id);
      const further = (row: CertificateRow) => afterReimport(row, renewsForReal);
      const change = announce('cert_reimported', (writeBefore) =>
        rows.replaceContent(id, facts, pem, judge, writeBefore, further),
      );
      return objectFor(await found(change, id));
    },

    async download(id: string): Promise<CertificateObject & { readonly data: ContentPem }> {
      const { row, pem } = await found(rows.read(id), id);
      await rows.noteDownload(row);
      return { ...objectFor(row), ...(row.imported === false && { downloaded: true }), data: pem };
    },

    async downloadPrevious(id: string): Promise<PreviousObject> {
      const { row, pem } = await found(rows.readPrevious(id), id);
      if (pem === undefined) throw new CodedError('instance_not_found', `certificate ${id} has no previous version`);
      const { last_modified: _, ...previous } = objectFor({ ...row, ...factsIn(pem), previous: undefined });
      return { ...previous, data: pem };
    },

    async metadata(id: string): Promise<CertificateObject> {
      return objectFor(await found(rows.get(id), id));
    },

    async update(id: string, body: unknown): Promise<CertificateObject> {
      const fields = objectOf(body);
      const name = optionalText(fields, 'name', nameCharacters);
      const description = optionalText(fields, 'description', descriptionCharacters);
      if (name === '') throw invalid('name is empty');
      if (name === undefined && description === undefined) throw invalid('neither name nor description is given');
      await found(rows.get(id), id);
      await instance.rates.update(id);
      const texts = defined({ name, description });
      return objectFor(await found(rows.describe(id, texts), id));
    },

    async delete(id: string): Promise<{ readonly message: string }> {
      await found(
        announce('cert_deleted', (writeBefore) => rows.remove(id, writeBefore)),
        id,
      );
      return { message: 'The certificate was deleted.' };
    },

    async list(query: string) {
      const { from, pageNumber, pageSize } = parseListQuery(query, instance.crn);
      return pageFor(await listCertificates(rows, { from, skip: pageNumber * pageSize, size: pageSize }));
    },

    async search(query: string) {
      const { from, pageSize, matches } = parseSearchQuery(query, instance.crn);
      return pageFor(
        await listCertificates(rows, { from, skip: 0, size: pageSize, matches, examine: limits.searchedCertificates }),
      );
    },
  };
}

/** What Certificate Manager says of ordered certificates alone. */
function orderedMembers({ rotateKeys = false, issuance, autoRenew = false, downloaded = false }: CertificateRow) {
  return {
    rotate_keys: rotateKeys,
    ...(issuance !== undefined && {
      issuance_info: {
        status: issuance.status,
        code: issuance.code,
        additional_info: issuance.info,
        auto: issuance.auto,
        ordered_on: issuance.orderedOn,
      },
    }),
    order_policy: { auto_renew_enabled: autoRenew },
    downloaded,
  };
}

async function found<T>(asked: Promise<T | undefined>, id: string): Promise<T> {
  const answer = await asked;
  if (answer === undefined)
    throw new CodedError('instance_not_found', `there is no certificate ${id} in this instance`);
  return answer;
}

/** What a reimport changes of an ordered certificate beside its content. */
export function afterReimport({ imported, issuance }: CertificateRow, renewsForReal: boolean): OrderedFields {
  if (imported !== false) return {};
  const info = 'it was reimported while this was under way, and what was reimported stays';
  return {
    authority: reimportedAuthority,
    // It may be one that clients trust.
    ...(!renewsForReal && { autoRenew: false }),
    ...(issuance?.status === 'pending' && {
      issuance: { ...issuance, status: 'failed', code: 'instance_reimported' satisfies ErrorCode, info },
    }),
  };
}

function requireSameDomains(before: readonly string[], after: readonly string[]): void {
  const was = new Set(before.map((domain) => domain.toLowerCase()));
  const is = new Set(after.map((domain) => domain.toLowerCase()));
  if (was.size === is.size && [...was].every((domain) => is.has(domain))) return;
  throw new CodedError(
    'instance_domains_differ',
    `the certificate is for ${[...is].join(', ')}, the one before was for ${[...was].join(', ')}`,
  );
}
