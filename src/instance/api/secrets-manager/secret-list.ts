import type { Row } from '../../../table/table.ts';
import type { CertificateRow } from '../../certificates/certificate-row.ts';
import type { CertificateRows } from '../../certificates/certificate-rows.ts';
import { defaultGroup } from '../../certificates/secret-groups.ts';
import { invalid } from '../../rows/fields.ts';
import { wholeNumber } from '../../rows/list-query.ts';
import { secretIdOf } from './secret-ids.ts';
import { typeOf } from './secret-objects.ts';

const pageSize = 200;
const largestPage = 1_000;

/** What each order of a list goes by. */
const orders: Readonly<Record<string, (row: CertificateRow) => string | number>> = {
  id: ({ id }) => id,
  created_at: ({ created, lastModified }) => created?.at ?? lastModified,
  updated_at: ({ lastModified }) => lastModified,
  expiration_date: ({ expiresOn }) => expiresOn,
  secret_type: typeOf,
  name: ({ name }) => name,
};

/** Where a page of a list begins, and how long it is. */
export interface PageAsked {
  readonly offset: number;
  readonly limit: number;
}

export function pageAsked(query: ReadonlyMap<string, string>): PageAsked {
  const limit = wholeNumber(query, 'limit', pageSize);
  if (limit < 1 || limit > largestPage) throw invalid(`limit is not between 1 and ${largestPage}`);
  return { offset: wholeNumber(query, 'offset', 0), limit };
}

/** A secret of a page; one whose row cannot be read by its id alone. */
type Listed = CertificateRow | { readonly damaged: string };

/**
 * One page of the secrets that a query asks for, and how many there are in all. All are looked at,
 * because the API says how many there are; memory holds a few numbers of each, and one page of them
 * whole.
 */
export async function listSecrets(
  rows: CertificateRows,
  query: ReadonlyMap<string, string>,
): Promise<{ readonly page: readonly Listed[]; readonly total: number }> {
  const { offset, limit } = pageAsked(query);
  const sort = query.get('sort') || 'created_at';
  const orderOf = orders[sort.replace(/^-/, '')];
  if (orderOf === undefined) throw invalid(`sort is none of ${Object.keys(orders).join(', ')}`);
  const matches = matching(query);
  const found: { readonly id: string; readonly by: string | number }[] = [];
  const damaged = new Set<string>();
  for await (const row of rows.all(labelled(query), (id) => damaged.add(id)))
    if (matches(row)) found.push({ id: row.id, by: orderOf(row) });
  // Whether a query means it, nobody can tell; it stands before all that can be read.
  for (const id of damaged) found.push({ id, by: Number.NEGATIVE_INFINITY });
  const sign = sort.startsWith('-') ? -1 : 1;
  found.sort((a, b) => sign * (compare(a.by, b.by) || compare(a.id, b.id)));
  const wanted = found.slice(offset, offset + limit);
  const page: Listed[] = [];
  for (const { id } of wanted) {
    const row = damaged.has(id) ? { damaged: id } : await rows.get(id);
    // One that was deleted meanwhile is no longer listed.
    if (row !== undefined) page.push(row);
  }
  return { page, total: found.length };
}

/**
 * Whether a row as it lies may have all labels that are asked for: few have, and the others need
 * not be read.
 */
function labelled(query: ReadonlyMap<string, string>): (row: Row) => boolean {
  const wanted = partsIn(query, 'match_all_labels');
  return ({ labels = [] }) => wanted.every((label) => Array.isArray(labels) && labels.includes(label));
}

/** The parts of a parameter, which commas set apart; none where it is absent. */
export const partsIn = (query: ReadonlyMap<string, string>, name: string): readonly string[] =>
  (query.get(name) ?? '').split(',').filter((part) => part !== '');

function matching(query: ReadonlyMap<string, string>): (row: CertificateRow) => boolean {
  const groups = partsIn(query, 'groups');
  const types = partsIn(query, 'secret_types');
  const term = query.get('search') ?? '';
  return (row) =>
    (groups.length === 0 || groups.includes(row.group ?? defaultGroup)) &&
    (types.length === 0 || types.includes(typeOf(row))) &&
    (term === '' ||
      [secretIdOf(row.id), row.name, row.description, ...(row.labels ?? []), typeOf(row)].some((text) =>
        text.includes(term),
      ));
}

function compare(a: string | number, b: string | number): number {
  if (a === b) return 0;
  return a === Number.NEGATIVE_INFINITY || (b !== Number.NEGATIVE_INFINITY && a < b) ? -1 : 1;
}

/** What goes around the items of a page: how many there are, and where the other pages are. */
export function pageObject<T>(
  name: string,
  items: readonly T[],
  {
    total,
    path,
    query,
  }: { readonly total: number; readonly path: string; readonly query: ReadonlyMap<string, string> },
) {
  const { offset, limit } = pageAsked(query);
  const at = (from: number) => {
    const parameters = new URLSearchParams([...query]);
    parameters.set('offset', String(from));
    parameters.set('limit', String(limit));
    return { href: `${path}?${parameters}` };
  };
  return {
    total_count: total,
    limit,
    offset,
    first: at(0),
    ...(offset + limit < total && { next: at(offset + limit) }),
    ...(offset > 0 && { previous: at(Math.max(0, offset - limit)) }),
    last: at(total === 0 ? 0 : Math.floor((total - 1) / limit) * limit),
    [name]: items,
  };
}
