import { createHash } from 'node:crypto';
import type { Vanished } from '../records/reconcile-records.ts';
import { isLeftAside, type ReplicationRecord } from '../records/replication-record.ts';
import { allowedShare } from './brake-share.ts';
import { includes, type Link } from './link.ts';

/**
 * Losses of so long count together: what a disk, a folder or an account loses may be noticed bit by
 * bit.
 */
const windowMs = 24 * 3_600_000;
const namesKept = 3;

/**
 * Whether a person has said that a certificate is meant to be gone, and it was not seen in the
 * primary since.
 */
export function isGoneAccepted({ goneAcceptedAt, primary }: ReplicationRecord): boolean {
  return goneAcceptedAt !== undefined && goneAcceptedAt >= (primary?.lookedAt ?? 0);
}

/**
 * Whether this link copies a certificate that is gone from the primary now, as far as its record
 * tells.
 */
function wasCopied({ filter }: Pick<Link, 'filter'>, record: ReplicationRecord): boolean {
  const { aside, primary, backups } = record;
  if (isLeftAside(aside)) return false;
  // The filter may have changed since. Domains are not in a record: then it counts.
  if (primary !== undefined && !includes({ ...filter, domains: [] }, { name: primary.name, domains: [] })) return false;
  // A copy that was removed by policy leaves nothing; one that is gone itself leaves what it was.
  return backups.some(({ id, fingerprint }) => id !== undefined || fingerprint !== undefined);
}

export interface VanishedTally {
  /** Takes a certificate that is in the primary, and that the filter includes. */
  present(): void;
  /** Takes the record of one that is not. */
  gone(record: ReplicationRecord): void;
  /** Takes one that only a mark on its copy tells of. */
  orphan(certificate: string): void;
  /** What is to be said to a person; `undefined` if nothing is. */
  result(): VanishedFound | undefined;
}

export interface VanishedFound extends Vanished {
  /** How many are left in the primary. */
  readonly left: number;
  /** All that are gone, by their ids in the primary. */
  readonly certificates: readonly string[];
}

/**
 * Counts what was in the primary and is gone, over all certificates of a link at the moment `now`
 * (epoch milliseconds). It is to be said to a person when nothing is left of what was there,
 * however little that was, or when more than the brake's share went within a day; from then on
 * (`standing`) until all of it is back, or a person has said that it is meant. What a person has
 * said that of is not counted. Memory grows with what is gone.
 */
export function vanishedTally(link: Link, now: number, standing: Vanished | undefined): VanishedTally {
  const from = Math.min(now - windowMs, standing?.since ?? Number.POSITIVE_INFINITY);
  const gone: { readonly certificate: string; readonly name: string; readonly since: number }[] = [];
  let left = 0;

  function find(certificates: typeof gone): VanishedFound {
    const ids = certificates.map(({ certificate }) => certificate).toSorted();
    return {
      id: createHash('sha256').update(JSON.stringify(ids)).digest('hex').slice(0, 16),
      at: now,
      since: certificates.reduce((earliest, { since }) => Math.min(earliest, since), now),
      gone: ids.length,
      of: ids.length + left,
      names: certificates.slice(0, namesKept).map(({ name }) => name),
      left,
      certificates: ids,
    };
  }

  return {
    present() {
      left += 1;
    },
    gone(record) {
      if (!wasCopied(link, record) || isGoneAccepted(record)) return;
      const { certificate, primary, absentSince = now } = record;
      // What only a mark told of is known from when it was first looked for: that is no loss of
      // that day.
      const since = primary === undefined ? 0 : absentSince;
      gone.push({ certificate, name: primary?.name ?? certificate, since });
    },
    orphan(certificate) {
      gone.push({ certificate, name: certificate, since: 0 });
    },
    result() {
      if (left === 0) return gone.length === 0 ? undefined : find(gone);
      const recent = gone.filter(({ since }) => since >= from);
      const stands = standing !== undefined && recent.length > 0;
      return stands || recent.length > allowedShare(link, left + recent.length) ? find(recent) : undefined;
    },
  };
}

/** The finding as it is kept and shown. */
export function vanishedSummary({ id, at, since, gone, of, names }: Vanished): Vanished {
  return { id, at, since, gone, of, names: [...names] };
}

/**
 * The one of two findings of the same link by which more is gone: one may have come from the
 * records, and one from a listing.
 */
export function worseOf(a: Vanished | undefined, b: Vanished | undefined): Vanished | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.gone > a.gone ? b : a;
}
