import { type CertificateRow, type ExpiryEntry, expiryPosition } from './certificate-row.ts';
import type { CertificateRows } from './certificate-rows.ts';

/** One page of certificates in order of expiry, and where the next one begins; no `next` on the last page. */
export interface CertificatePage {
  readonly certificates: readonly CertificateRow[];
  readonly next?: { readonly id: string; readonly expiresOn: number } | undefined;
}

/**
 * The certificates from a position on, read page by page through the index by expiry; memory holds one page.
 *
 * A certificate that is there throughout is listed, also while a renewal moves it to a later place: it counts at its old place
 * too as long as that is in the index, and may so be on two pages. One that is reimported with an earlier expiry, behind the page
 * that is being read, may be missed.
 */
export async function listCertificates(
  rows: CertificateRows,
  request: {
    /** Where the page before said that this one begins; absent: at the beginning. */
    readonly from: { readonly id: string; readonly expiresOn: number } | undefined;
    /** How many certificates to pass over first. */
    readonly skip: number;
    readonly size: number;
  },
): Promise<CertificatePage> {
  const from = request.from && expiryPosition(request.from.expiresOn, request.from.id);
  const found: CertificateRow[] = [];
  const seen = new Set<string>();
  let toSkip = request.skip;
  let cursor: string | undefined;
  do {
    // One more than the page, so that the page knows whether it is the last.
    const page = await rows.entries({ from, limit: Math.min(1000, request.size + 1), cursor });
    const current = await Promise.all(page.entries.map((entry) => currentRow(rows, entry)));
    for (const [index, row] of current.entries()) {
      const entry = page.entries[index];
      if (row === undefined || entry === undefined || seen.has(row.id)) continue;
      if (found.length === request.size) {
        return { certificates: found, next: { id: entry.id, expiresOn: entry.expiresOn } };
      }
      seen.add(row.id);
      if (toSkip > 0) toSkip--;
      else found.push(row);
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  return { certificates: found };
}

/** The certificate behind an entry, if it is to be listed at this place. */
async function currentRow(rows: CertificateRows, entry: ExpiryEntry): Promise<CertificateRow | undefined> {
  const row = await rows.getAnyState(entry.id);
  // No row: an import that has not come to its end yet, or never will.
  if (row === undefined) return undefined;
  if (row.state === 'live' && row.content === entry.content) return row;
  await rows.repair(entry, row);
  // A lower version: the reimport that wrote this entry has not changed the row, so the certificate stands where it stood.
  return row.state === 'removed' || row.version < entry.version ? undefined : row;
}
