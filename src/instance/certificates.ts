import { factsOf } from '../certificate/facts.ts';
import { expiryProblem, keyProblem } from '../certificate/judgement.ts';
import { parseContent } from '../certificate/pem.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { Secret } from '../secret.ts';
import { listCertificates } from './certificate-listing.ts';
import type { CertificateRow, ContentPem, KeptFacts } from './certificate-row.ts';
import type { CertificateRows } from './certificate-rows.ts';
import { certificateCrn } from './crn.ts';
import type { Announce } from './events.ts';
import { type Fields, invalid, memberOf, objectOf, optionalText, requiredText } from './fields.ts';
import type { Instance } from './instance.ts';
import { parseListQuery } from './list-query.ts';

const nameCharacters = 256;
const descriptionCharacters = 1024;
/** A row of the table, less room for its key. */
const contentRowBytes = limits.tableRowBytes - 4096;

/** A certificate as the REST API shows it. Moments are epoch milliseconds. */
interface CertificateObject {
  readonly _id: string;
  readonly name: string;
  readonly description: string;
  readonly domains: readonly string[];
  readonly issuer: string;
  readonly begins_on: number;
  readonly expires_on: number;
  readonly algorithm: string;
  readonly key_algorithm: string;
  readonly serial_number: string;
  readonly imported: boolean;
  readonly status: 'valid' | 'expired';
  readonly has_previous: boolean;
  readonly last_modified: number;
}

/**
 * The operations on the certificates of one instance, from request bodies to answer bodies. They throw `instance_not_found`,
 * `instance_limited`, `instance_request_invalid` and the codes of certificates; nothing is stored then.
 */
export function certificates(context: {
  instance: Instance;
  rows: CertificateRows;
  now: () => number;
  announce: Announce;
}) {
  const { instance, rows, now, announce } = context;

  function objectFor(row: CertificateRow): CertificateObject {
    return {
      _id: certificateCrn(instance.crn, row.id),
      name: row.name,
      description: row.description,
      domains: row.domains,
      issuer: row.issuer,
      begins_on: row.beginsOn,
      expires_on: row.expiresOn,
      algorithm: row.algorithm,
      key_algorithm: row.keyAlgorithm,
      serial_number: row.serialNumber,
      imported: true,
      status: row.expiresOn < now() ? 'expired' : 'valid',
      has_previous: row.previous !== undefined,
      last_modified: row.lastModified,
    };
  }

  return {
    /** Body: `{name, description?, data: {content, priv_key?, intermediate?}}`. */
    async import(body: unknown): Promise<CertificateObject> {
      const fields = objectOf(body);
      const name = requiredText(fields, 'name', nameCharacters);
      const description = optionalText(fields, 'description', descriptionCharacters) ?? '';
      const { pem, facts } = accept(objectOf(memberOf(fields, 'data'), 'data'), now());
      const row = await rows.add({ name, description, ...facts }, pem, instance.limits.certificates);
      announce('cert_imported', row);
      return objectFor(row);
    },

    /** Body: `{content, priv_key?, intermediate?}`. What the body leaves out, the certificate no longer has. */
    async reimport(id: string, body: unknown): Promise<CertificateObject> {
      const { pem, facts } = accept(objectOf(body), now());
      const judge = (row: CertificateRow) => requireSameDomains(row.domains, facts.domains);
      const current = await found(rows.get(id), id);
      judge(current);
      instance.rates.reimport(id);
      const row = await found(rows.replaceContent(id, facts, pem, judge), id);
      announce('cert_reimported', row);
      return objectFor(row);
    },

    async download(id: string): Promise<CertificateObject & { readonly data: ContentPem }> {
      const { row, pem } = await found(rows.read(id), id);
      return { ...objectFor(row), data: pem };
    },

    async metadata(id: string): Promise<CertificateObject> {
      return objectFor(await found(rows.get(id), id));
    },

    /** Body: `{name?, description?}`, one of them at least. */
    async update(id: string, body: unknown): Promise<CertificateObject> {
      const fields = objectOf(body);
      const name = optionalText(fields, 'name', nameCharacters);
      const description = optionalText(fields, 'description', descriptionCharacters);
      if (name === '') throw invalid('name is empty');
      if (name === undefined && description === undefined) throw invalid('neither name nor description is given');
      await found(rows.get(id), id);
      instance.rates.update(id);
      const texts = { ...(name !== undefined && { name }), ...(description !== undefined && { description }) };
      return objectFor(await found(rows.describe(id, texts), id));
    },

    async delete(id: string): Promise<{ readonly message: string }> {
      announce('cert_deleted', await found(rows.remove(id), id));
      return { message: 'The certificate was deleted.' };
    },

    /** One page, as Certificate Manager's clients read it: the cursor is two strings, both empty on the last page. */
    async list(query: string) {
      const { from, pageNumber, pageSize } = parseListQuery(query, instance.crn);
      const page = await listCertificates(rows, { from, skip: pageNumber * pageSize, size: pageSize });
      return {
        totalScannedDocs: page.certificates.length,
        certificates: page.certificates.map(objectFor),
        nextPageInfo: {
          startWithDocId: page.next ? certificateCrn(instance.crn, page.next.id) : '',
          startWithOrderByValue: page.next ? String(page.next.expiresOn) : '',
        },
      };
    },
  };
}

export type Certificates = ReturnType<typeof certificates>;

async function found<T>(asked: Promise<T | undefined>, id: string): Promise<T> {
  const answer = await asked;
  if (answer === undefined)
    throw new CodedError('instance_not_found', `there is no certificate ${id} in this instance`);
  return answer;
}

/** The PEM of a request and what it says, judged as at import: it parses, the key belongs to it, it has not expired. */
function accept(fields: Fields, nowMs: number): { readonly pem: ContentPem; readonly facts: KeptFacts } {
  // How long each may be is for the parser to say.
  const content = requiredText(fields, 'content', limits.instanceBodyBytes);
  const key = optionalText(fields, 'priv_key', limits.instanceBodyBytes) ?? '';
  const intermediate = optionalText(fields, 'intermediate', limits.instanceBodyBytes) ?? '';
  const parsed = parseContent({
    certificate: content,
    ...(intermediate !== '' && { intermediate }),
    ...(key !== '' && { privateKey: new Secret(key) }),
  });
  // A key may be left out, and a chain that does not hold is kept as it is: Certificate Manager looks at neither.
  const problem = (parsed.privateKey && keyProblem(parsed)) ?? expiryProblem({ leaf: parsed.leaf, chain: [] }, nowMs);
  if (problem !== undefined) throw problem;
  const { domains, issuer, serial, notBefore, notAfter, signatureAlgorithm, keyAlgorithm } = factsOf(parsed);
  const pem: ContentPem = {
    content,
    ...(intermediate !== '' && { intermediate }),
    ...(key !== '' && { priv_key: key }),
  };
  // Text between the PEM blocks is kept too, and may grow when it is written as JSON.
  if (Buffer.byteLength(JSON.stringify(pem)) > contentRowBytes) {
    throw new CodedError(
      'certificate_too_large',
      `certificate, chain and key together take more than ${contentRowBytes} bytes`,
    );
  }
  return {
    pem,
    facts: {
      domains,
      issuer,
      serialNumber: serial,
      beginsOn: notBefore,
      expiresOn: notAfter,
      algorithm: signatureAlgorithm,
      keyAlgorithm,
    },
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
