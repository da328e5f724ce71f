import { limits } from '../../limits.ts';
import { parseCertificateCrn } from './crn.ts';
import { invalid } from './fields.ts';

/** What a listing asks for. */
export interface ListQuery {
  /** Where it begins: the cursor pair of the page before. */
  readonly from?: { readonly id: string; readonly expiresOn: number } | undefined;
  /** Pages to pass over when there is no cursor. */
  readonly pageNumber: number;
  readonly pageSize: number;
}

const largestPage = 200;
const lastPageNumber = 10_000;

/**
 * The query of a listing. Lenient as clients need it: empty parts (`&&`), CRNs encoded or not, and
 * a page number beside a cursor, which then counts for nothing. Throws `instance_request_invalid`.
 */
export function parseListQuery(query: string, instanceCrn: string): ListQuery {
  const parts = parseQuery(query);
  const order = parts.get('order') ?? '';
  if (order !== '' && order !== 'expires_on') throw invalid('order can only be expires_on');
  const pageSize = wholeNumber(parts, 'page_size', largestPage);
  if (pageSize < 1 || pageSize > largestPage) throw invalid(`page_size is not between 1 and ${largestPage}`);
  const pageNumber = wholeNumber(parts, 'page_number', 0);
  if (pageNumber > lastPageNumber) throw invalid(`page_number is larger than ${lastPageNumber}`);

  const document = parts.get('start_from_document_id') ?? '';
  const value = parts.get('start_from_orderby_value') ?? '';
  if (document === '' && value === '') return { pageNumber, pageSize };
  const crn = parseCertificateCrn(document);
  if (crn?.instanceCrn !== instanceCrn || !/^\d{1,15}$/.test(value)) {
    throw invalid('start_from_document_id and start_from_orderby_value are not a cursor of this instance');
  }
  return { from: { id: crn.id, expiresOn: Number(value) }, pageNumber: 0, pageSize };
}

/** What a search asks for. */
export interface SearchQuery extends Omit<ListQuery, 'pageNumber'> {
  readonly matches: (certificate: {
    readonly name: string;
    readonly domains: readonly string[];
    readonly issuer: string;
  }) => boolean;
}

/**
 * The query of a search: that of a listing, and `q`. A term finds what contains it in its name, a
 * domain or its issuer; in double quotes, what is exactly that. Upper and lower case are alike.
 * Throws `instance_request_invalid`.
 */
export function parseSearchQuery(query: string, instanceCrn: string): SearchQuery {
  const { from, pageNumber, pageSize } = parseListQuery(query, instanceCrn);
  if (pageNumber > 0) throw invalid('page_number: a search goes on from a cursor alone');
  const given = parseQuery(query).get('q') ?? '';
  const quoted = /^"(.*)"$/s.exec(given);
  const term = folded(quoted?.[1] ?? given);
  if (term === '') throw invalid('q, the term to search for, is missing');
  if ([...term].length > limits.searchCharacters)
    throw invalid(`q is longer than ${limits.searchCharacters} characters`);
  const fits =
    quoted === null ? (text: string) => folded(text).includes(term) : (text: string) => folded(text) === term;
  return { from, pageSize, matches: ({ name, domains, issuer }) => [name, ...domains, issuer].some(fits) };
}

/** One spelling of what people take for the same text. */
function folded(text: string): string {
  return text.normalize('NFC').toLowerCase();
}

/**
 * The parts of a raw query string. The last of several counts. Throws `instance_request_invalid`
 * for a broken percent escape.
 */
export function parseQuery(query: string): ReadonlyMap<string, string> {
  const parts = new Map<string, string>();
  for (const part of query.split('&')) {
    const [name = '', ...value] = part.split('=');
    try {
      if (name !== '') parts.set(decodeURIComponent(name), decodeURIComponent(value.join('=')));
    } catch {
      throw invalid('the query has a percent sign that begins no escape');
    }
  }
  return parts;
}

/** A query part that is a whole number. Throws `instance_request_invalid`. */
export function wholeNumber(parts: ReadonlyMap<string, string>, name: string, otherwise: number): number {
  const text = parts.get(name) ?? '';
  if (text === '') return otherwise;
  if (!/^\d{1,9}$/.test(text)) throw invalid(`${name} is not a whole number`);
  return Number(text);
}
