import type { Key } from '../../table/table.ts';
import { partitionOf } from '../rows/partitions.ts';
import { type CertificateRow, expiryPosition } from './certificate-row.ts';

/**
 * Where the rows of one instance lie. Each partition begins with its CRN: no key of one instance is
 * a key of another.
 */
export function certificateRowKeys(instanceCrn: string) {
  const partition = (name: 'certificate' | 'content' | 'expiry' | 'counter') => partitionOf(instanceCrn, name);
  return {
    partition,
    certificate: (id: string): Key => ({ partition: partition('certificate'), sort: id }),
    content: (id: string, content: string): Key => ({ partition: partition('content'), sort: `${id}/${content}` }),
    entry: (row: Pick<CertificateRow, 'id' | 'expiresOn' | 'content'>): Key => ({
      partition: partition('expiry'),
      sort: `${expiryPosition(row.expiresOn, row.id)}/${row.content}`,
    }),
    counter: { partition: partition('counter'), sort: 'certificates' } satisfies Key,
  };
}

/** The certificate and the name of the content in the sort key of a content's row. */
export function contentOfSort(sort: string): { readonly id: string; readonly content: string } {
  const slash = sort.indexOf('/');
  return { id: sort.slice(0, slash), content: sort.slice(slash + 1) };
}
