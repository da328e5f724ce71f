import { limits } from '../../limits.ts';
import { certificatesExpiring } from '../certificates/certificate-listing.ts';
import type { CertificateRows } from '../certificates/certificate-rows.ts';

/** How many certificates an instance holds, as the REST API shows it. */
interface RepositoryCounts {
  readonly total: number;
  readonly expired: number;
  /** Expire within 30 days, and have not yet. */
  readonly expiring: number;
}

const soonMs = 30 * 86_400_000;
/** How old the counts may be where counting is much work. */
const oldMs = 10_000;

export interface Repository {
  counts(): Promise<RepositoryCounts>;
}

/**
 * Counts the certificates of one instance: all of them by the row that keeps count, those that have
 * expired or soon will by the index by expiry, where they stand at the beginning. Where these are
 * many, they are counted at most every few seconds, once for all who ask.
 */
export function repository(context: { readonly rows: CertificateRows; readonly now: () => number }): Repository {
  const { rows, now } = context;
  let kept: { readonly at: number; readonly counts: Promise<Omit<RepositoryCounts, 'total'>> } | undefined;

  async function countByExpiry(at: number) {
    const counts = { expired: 0, expiring: 0 };
    for await (const { expiresOn } of certificatesExpiring(rows, { from: 0, before: at + soonMs })) {
      if (expiresOn < at) counts.expired++;
      else counts.expiring++;
    }
    return counts;
  }

  /**
   * Those who ask while it is counted get a count that began after they asked, or the same one if
   * it is much work.
   */
  async function byExpiry(): Promise<Omit<RepositoryCounts, 'total'>> {
    const at = now();
    if (kept !== undefined && at - kept.at < oldMs) return kept.counts;
    const counting = { at, counts: countByExpiry(at) };
    kept = counting;
    const forget = () => {
      if (kept === counting) kept = undefined;
    };
    const counts = await counting.counts.catch((error: unknown) => {
      forget();
      throw error;
    });
    if (counts.expired + counts.expiring <= limits.countedCertificates) forget();
    return counts;
  }

  return {
    async counts(): Promise<RepositoryCounts> {
      const [total, counts] = await Promise.all([rows.count(), byExpiry()]);
      return { total, ...counts };
    },
  };
}
