import { createHash } from 'node:crypto';
import type { BrakeKind } from '../records/brake-records.ts';
import type { ReplicationRecord } from '../records/replication-record.ts';
import { brakeCodes, isCaught } from './pass/over-copy.ts';

const namesKept = 3;

/** What the brake keeps from being written until a person has spoken. */
export interface HeldByBrake {
  /**
   * Names exactly these certificates with exactly this content: a person accepts what was seen, and
   * no more.
   */
  readonly id: string;
  /** Since when the first of them has been kept, epoch milliseconds. */
  readonly since: number;
  /** How many certificates, of each kind. One may be of both, in two backups. */
  readonly kinds: Readonly<Record<BrakeKind, number>>;
  readonly certificates: number;
  /** Names of the first of them. */
  readonly names: readonly string[];
}

export interface HeldFound extends HeldByBrake {
  /**
   * All of them: the id in the primary, and the fingerprint of the content that is kept from being
   * written.
   */
  readonly contents: readonly { readonly certificate: string; readonly fingerprint: string }[];
}

/** Collects what the brake keeps over all records of a link. Memory grows with what it keeps. */
export function brakeTally() {
  const contents: { readonly certificate: string; readonly fingerprint: string }[] = [];
  const names: string[] = [];
  const kinds: Record<BrakeKind, number> = { 'going-back': 0, unannounced: 0 };
  let since = Number.POSITIVE_INFINITY;
  return {
    add({ certificate, primary, acceptedContent, backups }: ReplicationRecord): void {
      const fingerprint = primary?.fingerprint;
      if (fingerprint === undefined || fingerprint === acceptedContent) return;
      const found = backups.flatMap(({ refusal }) => (isCaught(refusal, fingerprint) ? [refusal] : []));
      if (found.length === 0) return;
      contents.push({ certificate, fingerprint });
      if (names.length < namesKept) names.push(primary?.name ?? certificate);
      for (const kind of new Set(found.map(({ code }) => brakeCodes[code]))) kinds[kind] += 1;
      since = Math.min(since, ...found.map((one) => one.since));
    },
    /** `undefined` if it keeps nothing. */
    result(): HeldFound | undefined {
      if (contents.length === 0) return undefined;
      const all = contents.map(({ certificate, fingerprint }) => `${certificate} ${fingerprint}`).toSorted();
      const id = createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 16);
      return { id, since, kinds, certificates: contents.length, names, contents };
    },
  };
}

/** The finding as it is shown. */
export function heldSummary({ id, since, kinds, certificates, names }: HeldByBrake): HeldByBrake {
  return { id, since, kinds, certificates, names: [...names] };
}
