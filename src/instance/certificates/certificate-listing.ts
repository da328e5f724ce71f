import { limits } from '../../limits.ts';
import { type CertificateRow, type ExpiryEntry, expiryPosition } from './certificate-row.ts';
import type { CertificateRows } from './certificate-rows.ts';

/**
 * One page of certificates in order of expiry, and where the next one begins; no `next` on the last
 * page.
 */
export interface CertificatePage {
  readonly certificates: readonly CertificateRow[];
  readonly next?: { readonly id: string; readonly expiresOn: number } | undefined;
}

/**
 * The certificates from a position on, read page by page through the index by expiry; memory holds
 * one page.
 *
 * A certificate that is there throughout is listed, also while a renewal moves it to a later place:
 * it counts at its old place too as long as that is in the index, and may so be on two pages. One
 * that is reimported with an earlier expiry, behind the page that is being read, may be missed.
 */
export async function listCertificates(
  rows: CertificateRows,
  request: {
    /** Where the page before said that this one begins; absent: at the beginning. */
    readonly from: { readonly id: string; readonly expiresOn: number } | undefined;
    /** How many certificates to pass over first. */
    readonly skip: number;
    readonly size: number;
    /** Which certificates count; absent: all. */
    readonly matches?: (row: CertificateRow) => boolean;
    /**
     * How many certificates are looked at, at the most; the page ends there if it is not full
     * before.
     */
    readonly examine?: number;
  },
): Promise<CertificatePage> {
  const from = request.from && expiryPosition(request.from.expiresOn, request.from.id);
  const { matches = () => true, examine = Number.POSITIVE_INFINITY } = request;
  const found: CertificateRow[] = [];
  const seen = new Set<string>();
  let toSkip = request.skip;
  let cursor: string | undefined;
  do {
    // One more than the page, so that the page knows whether it is the last.
    const page = await rows.entries({ from, limit: Math.min(limits.tablePageRows, request.size + 1), cursor });
    const current = await Promise.all(page.entries.map((entry) => currentRow(rows, entry)));
    for (const [index, row] of current.entries()) {
      const entry = page.entries[index];
      if (row === undefined || entry === undefined || seen.has(row.id)) continue;
      if (found.length === request.size || seen.size === examine) {
        return { certificates: found, next: { id: entry.id, expiresOn: entry.expiresOn } };
      }
      seen.add(row.id);
      if (!matches(row)) continue;
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
  // A lower version: the reimport that wrote this entry has not changed the row, so the certificate
  // stands where it stood.
  return row.state === 'removed' || row.version < entry.version ? undefined : row;
}

/**
 * The certificates that expire in a stretch of time, read through the index by expiry, page by
 * page. Moments are epoch milliseconds.
 */
export async function* certificatesExpiring(
  rows: CertificateRows,
  stretch: { readonly from: number; readonly before: number },
): AsyncGenerator<CertificateRow> {
  const seen = new Set<string>();
  let cursor: string | undefined;
  do {
    // No id sorts before the empty one.
    const page = await rows.entries({ from: expiryPosition(stretch.from, ''), limit: limits.tablePageRows, cursor });
    const within = page.entries.filter(({ expiresOn }) => expiresOn < stretch.before);
    const current = await Promise.all(within.map((entry) => currentRow(rows, entry)));
    for (const row of current) {
      if (row === undefined || seen.has(row.id)) continue;
      // A reimport may be moving it: it counts where it is now.
      if (row.expiresOn < stretch.from || row.expiresOn >= stretch.before) continue;
      seen.add(row.id);
      yield row;
    }
    cursor = within.length < page.entries.length ? undefined : page.cursor;
  } while (cursor !== undefined);
}
