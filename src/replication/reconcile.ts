import type { Dispatch } from '../dispatch/dispatch.ts';
import { asCodedError, type CodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type { ReplicationRecord } from '../records/replication-record.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import type { CertificateMetadata, Store } from '../store/store.ts';
import { regionProblem } from './judge.ts';
import { includes, type Link, listedFacts } from './link.ts';
import { listAll } from './shared-listing.ts';
import { settledMs, type Timing } from './timing.ts';

export interface Reconciler {
  readonly records: ReplicationRecords;
  readonly links: LinkRecords;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly timing: Timing;
  readonly log: Log;
}

/** Why a certificate was asked for. */
export type Reason =
  | 'unknown'
  | 'missing'
  | 'different'
  | 'not-the-recorded-copy'
  | 'doubled'
  | 'gone-from-primary'
  | 'due-for-a-full-look';

export interface ReconcileReport {
  readonly link: string;
  /** Certificates listed in the primary, and how many of them the filter includes. */
  readonly listed: number;
  readonly included: number;
  readonly asked: Readonly<Partial<Record<Reason, number>>>;
  /** Copies without our mark in the backups: not ours, not touched. */
  readonly unmarked: number;
  /** Backups that could not be listed: nothing is known of them, and the others were compared all the same. */
  readonly notListed: readonly { readonly store: string; readonly error: CodedError }[];
}

/** A copy as a listing shows it, in few bytes: listings of a hundred thousand are held for the length of a reconcile. */
interface ListedCopy {
  readonly id: string;
  readonly revision: string;
  readonly facts: string;
  readonly doubled: boolean;
}

/**
 * Compares both sides of a link by their listings, without keys, and asks for what differs: catches what no event told. Nothing
 * is written to a store here; what is asked for is looked at by the same passes as everything else.
 * A backup that cannot be listed is reported and does not hold up the others. Throws what the primary's listing, the last backup's, or the
 * table throws; then nothing is noted as reconciled, and the next one does it all again.
 */
export async function reconcile(reconciler: Reconciler, link: Link): Promise<ReconcileReport> {
  const { links, runtime, timing, log } = reconciler;
  const startedAt = runtime.now();
  await links.bind(link.name, link.primary.id);
  const listings = await Promise.allSettled(link.backups.map((store) => listCopies(link, store)));
  const backups = listings.flatMap((listing) => (listing.status === 'fulfilled' ? [listing.value] : []));
  const notListed = listings.flatMap((listing, index) =>
    listing.status === 'rejected'
      ? [{ store: link.backups[index]?.id ?? '', error: asCodedError(listing.reason) }]
      : [],
  );
  const [nobody] = notListed;
  if (backups.length === 0 && nobody !== undefined) throw nobody.error;
  for (const { store, error } of notListed)
    log('error', 'backup_not_listed', { link: link.name, backup: store, ...errorFields(error) });
  const doubtMs = settledMs(link.backups, timing);
  const asked: Partial<Record<Reason, number>> = {};
  const seen = new Set<string>();
  let listed = 0;
  let included = 0;

  const ask = async (certificate: string, reason: Reason) => {
    asked[reason] = (asked[reason] ?? 0) + 1;
    const now = runtime.now();
    const inDoubt = reason === 'doubled' || reason === 'not-the-recorded-copy';
    await reconciler.records.ask({ link: link.name, certificate, now, ...(inDoubt ? { doubt: now + doubtMs } : {}) });
    await wake(reconciler, link, certificate);
  };

  for await (const batch of batches(listAll(link.primary), concurrency)) {
    await Promise.all(
      batch.map(async (metadata) => {
        listed += 1;
        seen.add(metadata.id);
        if (!includes(link.filter, metadata)) return;
        included += 1;
        const record = await reconciler.records.get(link.name, metadata.id);
        const reason = reasonToAsk(link, metadata, record, backups, { now: startedAt, timing });
        if (reason !== undefined) await ask(metadata.id, reason);
      }),
    );
  }
  for await (const record of reconciler.records.all(link.name)) {
    if (!seen.has(record.certificate) && record.absentSince === undefined)
      await ask(record.certificate, 'gone-from-primary');
  }
  await links.noteReconciled(
    link.name,
    backups.map(({ store }) => store),
    startedAt,
  );
  const unmarked = backups.reduce((sum, backup) => sum + backup.unmarked, 0);
  return { link: link.name, listed, included, asked, unmarked, notListed };
}

const concurrency = 32;

async function wake({ dispatch, log }: Reconciler, link: Link, certificate: string): Promise<void> {
  try {
    await dispatch.dispatch([{ link: link.name, certificate }]);
  } catch (thrown) {
    log('warn', 'dispatch_failed', { link: link.name, certificate, ...errorFields(asCodedError(thrown)) });
  }
}

async function listCopies(link: Link, store: Store) {
  const copies = new Map<string, ListedCopy>();
  let unmarked = 0;
  for await (const metadata of listAll(store)) {
    const { mark, id } = metadata;
    if (mark === undefined) unmarked += 1;
    if (mark?.store !== link.primary.id) continue;
    const other = copies.get(mark.certificate);
    // A listing that moves while it is paged may show one copy twice.
    const doubled = other !== undefined && (other.doubled || other.id !== id);
    copies.set(mark.certificate, { id, revision: metadata.revision ?? '', facts: listedFacts(metadata), doubled });
  }
  return { store: store.id, copies, unmarked };
}

/** Why this certificate must be looked at; `undefined` if both listings and the record agree. */
function reasonToAsk(
  link: Link,
  listed: CertificateMetadata,
  record: ReplicationRecord | undefined,
  backups: readonly { readonly store: string; readonly copies: ReadonlyMap<string, ListedCopy> }[],
  { now, timing }: { readonly now: number; readonly timing: Timing },
): Reason | undefined {
  // What rests by judgement of the primary alone, and has not changed, is not asked for again: nothing would be done.
  if (record !== undefined && rests(link, record, listed))
    return isDueForFullLook(listed.id, record, now, timing) ? 'due-for-a-full-look' : undefined;
  const copies = backups.map(({ store, copies }) => ({
    listed: copies.get(listed.id),
    recorded: record?.backups.find((state) => state.store === store),
  }));
  if (copies.some((copy) => copy.listed?.doubled)) return 'doubled';
  if (copies.some((copy) => copy.listed !== undefined && copy.listed.id !== copy.recorded?.id))
    return 'not-the-recorded-copy';
  if (record === undefined) return 'unknown';

  const isAside = record.aside !== undefined || record.refusal?.byPolicy === true;
  if (isAside || record.absentSince !== undefined || changedHere(record, listed)) return 'different';
  const changedThere = copies.some(
    (copy) => copy.listed !== undefined && (copy.recorded?.revision ?? '') !== copy.listed.revision,
  );
  // A backup that keeps its copy against the primary's differs from it, and is to.
  const serves =
    record.refusal !== undefined ||
    copies.every((copy) => copy.listed === undefined || sameFacts(copy.listed.facts, listedFacts(listed)));
  if (copies.some((copy) => copy.listed === undefined)) return 'missing';
  if (changedThere || !serves) return 'different';
  return isDueForFullLook(listed.id, record, now, timing) ? 'due-for-a-full-look' : undefined;
}

/** Whether a certificate is not copied, for a reason that lies in the primary alone and still holds. */
function rests(link: Link, record: ReplicationRecord, listed: CertificateMetadata): boolean {
  const isAside = record.aside !== undefined || record.refusal?.byPolicy === true;
  return isAside && record.absentSince === undefined && !restEnded(link, record) && !changedHere(record, listed);
}

/** Whether the primary lists another version than the last look saw. */
function changedHere({ primary, refusal }: ReplicationRecord, listed: CertificateMetadata): boolean {
  // A refusal may be of content that could not be read, and then the last version that could be is an older one.
  const seen = refusal?.byPolicy === true ? refusal : primary;
  const facts = listedFacts(listed);
  return seen?.revision !== listed.revision || (seen?.listedFacts ?? facts) !== facts;
}

/** Whether a certificate rests for a reason that the configuration no longer gives. (Excluded ones are never asked about here.) */
function restEnded({ policy, backups }: Link, { aside, refusal }: ReplicationRecord): boolean {
  if (aside === 'excluded' || (aside === 'marked' && policy.onward)) return true;
  if (refusal?.code === 'certificate_region_forbidden') return regionProblem({ policy, backups }) === undefined;
  return refusal?.code === 'certificate_chain_missing' && refusal.byPolicy === true && !policy.requireChain;
}

/** Equal in each fact that both sides say. */
function sameFacts(a: string, b: string): boolean {
  const other = b.split('|');
  return a.split('|').every((fact, index) => fact === '' || other[index] === '' || fact === other[index]);
}

/**
 * Spread over the last seventh but one of the period by the id, so that an estate imported in one hour is not looked at in one
 * hour; the last seventh is for a reconcile that comes late.
 */
function isDueForFullLook(id: string, record: ReplicationRecord, now: number, timing: Timing): boolean {
  const { primary, refusal, lastError } = record;
  const lookedAt = (refusal === undefined ? undefined : lastError?.at) ?? primary?.lookedAt;
  if (lookedAt === undefined) return true;
  const spread = [...id].reduce((sum, character) => (sum * 31 + (character.codePointAt(0) ?? 0)) % 997, 7) / 997;
  return now - lookedAt >= (timing.fullLookMs * (6 - spread)) / 7;
}

async function* batches<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}
