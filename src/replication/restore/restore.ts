import type { CertificateContent } from '../../certificate/certificate.ts';
import { isSelfSigned } from '../../certificate/chain.ts';
import { metadataDigestOf } from '../../certificate/fingerprint.ts';
import { serveInCommon } from '../../certificate/serving.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Binding } from '../../records/link-records.ts';
import type { UnreadableRecord } from '../../records/replication-record.ts';
import { isWhole, type Mark, markDigest, sameMark } from '../../store/mark.ts';
import {
  type CertificateMetadata,
  type DescriptiveMetadata,
  keyAnswerOf,
  type Reading,
  type Store,
  type StoredCertificate,
  type UnreadableElement,
  type VacantElement,
} from '../../store/store.ts';
import { givenName } from '../copy-name.ts';
import { keysRead } from '../keys-read.ts';
import { includes, type Link, listedFacts } from '../link.ts';
import { withoutRetained } from '../pass/retire.ts';
import { readInTime } from '../read-in-time.ts';
import { type ReconcileLock, takeLock } from '../reconcile/lock.ts';
import { copyOf, listAll } from '../shared-listing.ts';
import { settledMs } from '../timing.ts';
import { vacancyError } from '../vacancy.ts';
import type { Worker } from '../worker.ts';
import { type GoingOn, longestWriteMs, writtenToEnd } from '../write-to-end.ts';

/**
 * Restore and failback: the certificates of a link move to another primary, and the link points there from then on.
 *
 * The order, per certificate, is what lets a run be killed anywhere and begun again:
 *
 *   1. It is imported with a mark that names where it comes from: found again by that, it is never imported twice, and while it
 *      carries the mark it counts as a copy, which no pass copies on.
 *   2. Old and new id are written down, for whoever asks, and for the way home.
 *   3. Its copies get a mark that names the new original: the passes of the new direction know them as theirs.
 *   4. The mark of 1 is taken off. From now on it is the truth.
 */

/** What is to be done with one certificate. */
export interface RestoreLine {
  readonly name: string;
  /** Where it comes from: the lost original (restore), or the one that stood in for it (failback). */
  readonly origin: Mark;
  /** Its id in the store that it is read from. */
  readonly source: string;
  /** Its id in the new primary, where it is there already. */
  readonly target?: string;
  /**
   * `import`: it is not there. `finish`: it is there, and was being moved when a run was stopped. `present`: the new primary holds
   * the same, or under its old id a newer version. `replace`: it holds another version, which gives way. `held`: it holds another one of this name, which stays.
   */
  readonly action: 'import' | 'finish' | 'present' | 'replace' | 'held';
  /** With `import`: a place in the new primary that a run which was stopped, or a deletion, left without content, and that is written over. */
  readonly into?: string;
  /** Said of one held by what was to be replaced, and serves no domain that this one does. */
  readonly otherDomains?: true;
  /** Said of one held by what was to be replaced: this one has expired, and that one has not. */
  readonly expired?: true;
}

export interface RestorePlan {
  readonly link: string;
  readonly from: string;
  readonly to: string;
  readonly lines: readonly RestoreLine[];
  /** Those that had been moved before. */
  readonly there: number;
  /** Copies of certificates that were deleted from the old primary: they stay out unless asked for. */
  readonly retained: number;
  /** Requests to each store, and the seconds that they take at the least where the store says how many it takes. */
  readonly requests: ReadonlyMap<string, number>;
  readonly secondsAtLeast: number;
  /** Other backups that could not be listed: the copies there are not known as copies of the new primary. */
  readonly notListed: readonly { readonly store: string; readonly error: CodedError }[];
  /** What stands there and cannot be read, so that nobody knows whether it is a copy of this link. */
  readonly notRead: readonly { readonly store: string; readonly place: string; readonly error: CodedError }[];
}

export interface RestoreResult extends RestorePlan {
  readonly moved: readonly { readonly name: string; readonly origin: Mark; readonly id: string }[];
  readonly failed: readonly { readonly name: string; readonly origin: Mark; readonly error: CodedError }[];
}

export interface RestoreOptions {
  /** `restore`: out of copies in a backup. `failback`: out of the primary that stood in. */
  readonly kind: 'restore' | 'failback';
  /** The store that is read. */
  readonly from: Store;
  readonly wanted: (name: string) => boolean;
  /** Restore: replace what the new primary holds under the same name, where both serve a domain in common. */
  readonly replace?: boolean;
  /** Restore: replace it whatever domains it serves. */
  readonly replaceOthers?: boolean;
  /** Restore: primaries of other links, whose copies are not this link's, where only marks tell whose they are. */
  readonly others?: ReadonlySet<string>;
  /** Restore: copies of deleted certificates too. */
  readonly retained?: boolean;
  readonly signal?: AbortSignal;
  /** Called before a wait for what an earlier run, which was stopped, may have sent. */
  readonly waiting?: (milliseconds: number) => void;
  /** Called with the plan before anything is written; what it throws ends it there. */
  readonly confirm?: (plan: RestorePlan) => Promise<void>;
  readonly moved?: (line: RestoreLine, id: string) => void;
  /** Called where the new primary goes on with a write after it has answered: its end is waited for. */
  readonly goesOn?: (about: GoingOn) => void;
}

export type Restorer = Worker;

const atOnce = 16;
/** One after the other, whatever the certificate: then it is the store that takes no more. */
const failuresInARow = 20;

/** What a store lists, with a mark of which all is known. */
type Listed = Omit<CertificateMetadata, 'mark'> & { readonly mark?: Mark };

/** What was read of the stores before anything is written. */
interface Survey {
  readonly lines: readonly RestoreLine[];
  readonly there: number;
  readonly retained: number;
  /** Copies in the backups by the mark that they carry. */
  readonly copies: ReadonlyMap<string, readonly { readonly store: Store; readonly copy: Listed }[]>;
  readonly sources: ReadonlyMap<string, Listed>;
  /** What the new primary lists, by id. */
  readonly held: ReadonlyMap<string, Listed>;
  /** The lost primary, where the table does not know it and marks had to tell. */
  readonly toldByMarks: readonly string[];
  readonly notListed: RestorePlan['notListed'];
  readonly notRead: RestorePlan['notRead'];
}

/**
 * Moves the certificates of a link out of `from` into its primary, as the configuration names it now, and points the link there. A run
 * that was stopped, or in which some failed, is gone on with by the same call: what was moved is left alone.
 * Throws `reconcile_running`, `restore_refused`, `restore_source_withholds_keys`, `restore_primary_withholds_keys`, what the listings
 * throw, and the reason of the signal.
 */
export async function restore(restorer: Restorer, link: Link, options: RestoreOptions): Promise<RestoreResult> {
  const { linkRecords, runtime } = restorer;
  const lock = await takeLock(restorer, link);
  try {
    const binding = await linkRecords.bindingOf(link.name);
    refuseWhatCannotBe(link, options, binding);
    await waitUntilSettled(restorer, link, options);
    const survey = await look(restorer, link, { ...options, binding, lock });
    const plan = planOf(link, options.from, survey);
    if (plan.lines.length + plan.there === 0 && binding.primary !== link.primary.id)
      throw refused(
        `${options.from.id} holds nothing that link ${link.name} could be restored from; say with --from what does`,
      );
    await options.confirm?.(plan);
    const begun = await linkRecords.bindingOf(link.name);
    const repoints = begun.primary !== link.primary.id || survey.toldByMarks.length > 0;
    if (repoints || plan.lines.length > 0) await linkRecords.noteRestore(link.name, 'begun');
    if (repoints) {
      const former = [...begun.former, ...survey.toldByMarks];
      await linkRecords.repoint(link.name, { ...begun, former }, link.primary.id);
    }
    if (repoints || begun.repointing) await forgetOldDirection(restorer, link, lock);
    const { moved, failed } = await moveAll(restorer, link, survey, { ...options, lock });
    await linkRecords.noteRestore(link.name, failed.length === 0 ? 'done' : { stoppedAt: runtime.now() });
    await lock.release();
    return { ...plan, moved, failed };
  } catch (thrown) {
    // What went wrong is more than a note that is missing, or a lease that ends by itself.
    await linkRecords.noteRestore(link.name, { stoppedAt: runtime.now() }).catch(() => undefined);
    await lock.release().catch(() => undefined);
    throw thrown;
  }
}

/** What a run sent that was stopped may be on its way still, and no listing shows it: waits until it does. */
async function waitUntilSettled(
  { linkRecords, runtime, timing }: Restorer,
  link: Link,
  options: RestoreOptions,
): Promise<void> {
  const unfinished = await linkRecords.unfinishedRestore(link.name);
  if (unfinished === undefined) return;
  const now = runtime.now();
  const longestMs = settledMs(link.primary, timing) + longestWriteMs(link.primary, 'import', 'reimport');
  const waitMs = (unfinished.stoppedAt ?? now) + longestMs - now;
  if (waitMs <= 0) return;
  options.waiting?.(waitMs);
  await runtime.wait(waitMs, options.signal);
}

function refuseWhatCannotBe(
  { name, primary }: Link,
  { kind, from }: RestoreOptions,
  { primary: bound, former }: Binding,
): void {
  refuseWithheldKeys(primary, from);
  if (kind === 'restore') return;
  if (bound === undefined) throw refused(`link ${name} has never run here, so that nobody knows which way is home`);
  if (from.id === primary.id)
    throw refused(`${from.id} is the primary of link ${name}: point the link at the one that it goes home to`);
  const stoodIn = bound === primary.id ? former.at(-1) : bound;
  if (stoodIn !== from.id) throw refused(`link ${name} goes home from ${stoodIn ?? 'nowhere'}, not from ${from.id}`);
}

/** What gives no private keys back can neither be restored from nor be the truth. */
function refuseWithheldKeys(primary: Store, from: Store): void {
  if (!from.abilities.givesKeys) {
    const message = `${from.id} does not give private keys back, so nothing can be restored from it`;
    throw new CodedError('restore_source_withholds_keys', message, { fields: { store: from.id } });
  }
  if (primary.abilities.givesKeys) return;
  const message = `${primary.id} does not give private keys back, so it cannot be the primary`;
  throw new CodedError('restore_primary_withholds_keys', message, { fields: { store: primary.id } });
}

const refused = (message: string) => new CodedError('restore_refused', message);

/** The records of the direction before: they say of another primary what is in it. Passes and reconciles find everything again by its marks. */
async function forgetOldDirection({ records, linkRecords }: Restorer, link: Link, lock: ReconcileLock): Promise<void> {
  const certificates: string[] = [];
  const unreadable = ({ certificate }: UnreadableRecord) => void certificates.push(certificate);
  for await (const { certificate } of records.all(link.name, unreadable)) certificates.push(certificate);
  for (const [done, certificate] of certificates.entries()) {
    await records.forget(link.name, certificate);
    await lock.keep('restoring', done);
  }
  await linkRecords.repointed(link.name);
}

async function look(
  { linkRecords, records, runtime }: Restorer,
  link: Link,
  options: RestoreOptions & {
    readonly binding: Binding;
    readonly lock: ReconcileLock;
  },
): Promise<Survey> {
  const { from, binding, lock, signal, wanted } = options;
  const { primary } = link;
  let listed = 0;
  const notRead: { store: string; place: string; error: CodedError }[] = [];
  /** Ids of places without content in the new primary, by the mark that they carry. */
  const places = new Map<string, string>();
  const marks = knownMarks({ linkRecords, records }, link, binding);
  const listOf = async (store: Store): Promise<readonly Listed[]> => {
    const found: CertificateMetadata[] = [];
    const unreadable = (element: UnreadableElement) => {
      const copy = copyOf(element);
      // A read of it says what is wrong, and it is told as one that failed.
      if (copy !== undefined) found.push(copy);
      else if (element.ours || store.id === primary.id) notRead.push({ store: store.id, ...element });
    };
    const vacant = (place: VacantElement) => {
      if (place.mark === undefined) return;
      const key = markDigest(place.mark);
      if (store.id === primary.id) places.set(key, places.get(key) ?? place.id);
      else if (store.id === from.id)
        notRead.push({ store: store.id, place: place.id, error: vacancyError(store.id, place.id, place) });
    };
    for await (const metadata of listAll(store, { runtime, signal, unreadable, vacant })) {
      found.push(metadata);
      listed += 1;
      if (listed % 100 === 0) await lock.keep('restoring', listed);
    }
    const whole: Listed[] = [];
    for (const metadata of found) {
      const { mark, ...rest } = metadata;
      const known = mark === undefined || isWhole(mark) ? mark : (await marks()).get(mark.digest);
      if (mark === undefined || known !== undefined) whole.push({ ...rest, ...(known && { mark: known }) });
      else notRead.push({ store: store.id, place: metadata.id, error: unknownMark(store, metadata.id) });
    }
    return whole;
  };

  const held = await listOf(primary);
  const target = targetOf(held);
  const copies = new Map<string, { store: Store; copy: Listed }[]>();
  const notListed: { store: string; error: CodedError }[] = [];
  const listings = new Map<string, readonly Listed[]>([[primary.id, held]]);
  for (const store of new Set([from, ...link.backups])) {
    try {
      const all = listings.get(store.id) ?? (await listOf(store));
      listings.set(store.id, all);
      for (const copy of all) {
        if (copy.mark === undefined || store.id === primary.id) continue;
        const key = markDigest(copy.mark);
        copies.set(key, [...(copies.get(key) ?? []), { store, copy }]);
      }
    } catch (thrown) {
      if (store.id === from.id || signal?.aborted === true) throw thrown;
      notListed.push({ store: store.id, error: asCodedError(thrown) });
    }
  }

  const isFailback = options.kind === 'failback';
  const origins = new Set([...binding.former, ...(binding.primary === undefined ? [] : [binding.primary]), primary.id]);
  const toldByMarks = isFailback ? [] : originsByMarks(link, options, listings.get(from.id) ?? []);
  for (const store of toldByMarks) origins.add(store);
  const sources = new Map<string, Listed>();
  let there = 0;
  let retained = 0;
  for (const metadata of listings.get(from.id) ?? []) {
    const { mark } = metadata;
    if (!wanted(givenName(metadata.name, mark, from))) continue;
    const origin =
      mark ??
      (isFailback && includes(link.filter, metadata) ? { store: from.id, certificate: metadata.id } : undefined);
    // Not a copy, or a copy for somebody else.
    if (origin === undefined || !(origins.has(origin.store) || (isFailback && mark === undefined))) continue;
    const known = origin.store === primary.id ? target.byId.get(origin.certificate) : undefined;
    if (known !== undefined) {
      target.claim(known.id);
      // Its last step is to lose the mark with which it was imported.
      if (known.mark === undefined || !origins.has(known.mark.store)) there += 1;
      else sources.set(markDigest(known.mark), { ...metadata, mark: known.mark });
      continue;
    }
    // What is a copy in a primary that stood in is not its truth.
    if (isFailback && mark !== undefined) continue;
    if (withoutRetained(metadata.description) !== metadata.description && options.retained !== true) {
      retained += 1;
      continue;
    }
    // Two copies of one certificate are one.
    if (!sources.has(markDigest(origin))) sources.set(markDigest(origin), { ...metadata, mark: origin });
  }

  const lines: RestoreLine[] = [];
  const open: Listed[] = [];
  for (const source of sources.values()) {
    const origin = source.mark as Mark;
    const marked = target.byMark.get(markDigest(origin));
    const home = await linkRecords.homeOf(link.name, origin);
    const known = marked ?? (home?.store === primary.id ? target.byId.get(home.certificate) : undefined);
    if (known === undefined) {
      open.push(source);
      continue;
    }
    target.claim(known.id);
    const same = listedFacts(known) === listedFacts(source) && known.serial !== undefined;
    // What was renewed at home meanwhile is the truth there, and no older version takes its place.
    const stays = same || isNewer(known, source);
    const action = marked !== undefined ? 'finish' : stays ? 'present' : 'replace';
    lines.push({ name: source.name, origin, source: source.id, target: known.id, action });
  }
  const rest: Listed[] = [];
  for (const source of open) {
    const origin = source.mark as Mark;
    const into = places.get(markDigest(origin));
    if (into === undefined) rest.push(source);
    else lines.push({ name: source.name, origin, source: source.id, action: 'import', into });
  }
  lines.push(...linesFor(rest, { ...options, primary, target, now: runtime.now() }));
  return { lines, there, retained, copies, sources, held: target.byId, toldByMarks, notListed, notRead };
}

/**
 * The marks that copies of this link may carry, by their digest: where a store keeps no more of them, the records tell which
 * certificates there were. Read when the first is asked for.
 */
function knownMarks(
  { linkRecords, records }: Pick<Restorer, 'linkRecords' | 'records'>,
  link: Link,
  { primary: bound, former }: Binding,
): () => Promise<ReadonlyMap<string, Mark>> {
  let known: Promise<ReadonlyMap<string, Mark>> | undefined;
  const stores = new Set([link.primary.id, ...(bound === undefined ? [] : [bound]), ...former]);
  async function read(): Promise<ReadonlyMap<string, Mark>> {
    const marks = new Map<string, Mark>();
    const add = (mark: Mark) => void marks.set(markDigest(mark), mark);
    const addAll = (certificate: string) => {
      for (const store of stores) add({ store, certificate });
    };
    for await (const { certificate } of records.all(link.name, (record) => addAll(record.certificate)))
      addAll(certificate);
    for await (const { now, before } of linkRecords.homes(link.name)) for (const place of [now, before]) add(place);
    return marks;
  }
  return () => {
    known ??= read();
    return known;
  };
}

function unknownMark({ id: store }: Store, certificate: string): CodedError {
  const message = `the mark of ${certificate} is kept by its digest, and no record tells which certificate it is of`;
  return new CodedError('store_mark_unknown', message, { fields: { store, certificate } });
}

/**
 * Which primary was lost, where this table does not know it, as on another machine when the one with the table is lost too: the one that
 * the marks name. Throws `restore_refused` where they name several.
 */
function originsByMarks(
  { name, primary }: Link,
  { binding, from, others = new Set() }: { readonly binding: Binding } & Pick<RestoreOptions, 'from' | 'others'>,
  listed: readonly Listed[],
): readonly string[] {
  const { primary: bound, former, reconciled } = binding;
  const isKnown = former.length > 0 || (bound !== undefined && (bound !== primary.id || reconciled.size > 0));
  if (isKnown) return [];
  const stores = new Set(listed.flatMap(({ mark }) => (mark === undefined ? [] : [mark.store])));
  // It was built anew under its old name.
  if (stores.has(primary.id)) return [];
  const told = [...stores].filter((store) => !others.has(store));
  if (told.length <= 1) return told;
  throw refused(
    `${from.id} holds copies of ${told.join(' and of ')}, and no record here says which of them link ${name} lost: name that one as its ` +
      'primary, run certstandby status once, and name the new one again',
  );
}

/** What the new primary holds, by what it may be known by. What is claimed belongs to one certificate already. */
function targetOf(held: readonly Listed[]) {
  const byMark = new Map<string, Listed>();
  const byId = new Map<string, Listed>();
  const byName = new Map<string, Listed[]>();
  const claimed = new Set<string>();
  for (const metadata of held) {
    byId.set(metadata.id, metadata);
    if (metadata.mark !== undefined) byMark.set(markDigest(metadata.mark), metadata);
    else byName.set(metadata.name, [...(byName.get(metadata.name) ?? []), metadata]);
  }
  return {
    byMark,
    byId,
    claim: (id: string) => void claimed.add(id),
    /** Those of a name that belong to nothing yet. */
    free: (name: string) => (byName.get(name) ?? []).filter(({ id }) => !claimed.has(id)),
  };
}

/**
 * Those that nothing in the new primary is known to belong to: is the same there under its name, or another one, or none? What is equal
 * goes together first, so that none is taken for a version of another; and only one against one can be replaced.
 */
function linesFor(
  sources: readonly CertificateMetadata[],
  {
    from,
    primary,
    target,
    replace = false,
    replaceOthers = false,
    now,
  }: Pick<RestoreOptions, 'from' | 'replace' | 'replaceOthers'> & {
    readonly primary: Store;
    readonly target: ReturnType<typeof targetOf>;
    readonly now: number;
  },
): readonly RestoreLine[] {
  const lines: RestoreLine[] = [];
  const open: {
    readonly source: CertificateMetadata;
    readonly line: Omit<RestoreLine, 'action'>;
    readonly kept: string;
  }[] = [];
  for (const source of sources) {
    const wanted = describedAs(source, from);
    const line = { name: wanted.name, origin: source.mark as Mark, source: source.id };
    const kept = primary.asKept(wanted, undefined).name;
    const same = target
      .free(kept)
      .find(
        (one) => one.serial !== undefined && listedFacts(one) === listedFacts(source) && one.issuer === source.issuer,
      );
    if (same === undefined) {
      open.push({ source, line, kept });
      continue;
    }
    target.claim(same.id);
    lines.push({ ...line, target: same.id, action: 'present' });
  }
  for (const { source, line, kept } of open) {
    const [other, ...others] = target.free(kept);
    const oneToOne = others.length === 0 && open.filter((each) => each.kept === kept).length === 1;
    if (other === undefined) lines.push({ ...line, action: 'import' });
    else if (!replace || !oneToOne) lines.push({ ...line, target: other.id, action: 'held' });
    else if (hasExpired(source, now) && !hasExpired(other, now))
      lines.push({ ...line, target: other.id, action: 'held', expired: true });
    else if (replaceOthers || serveInCommon(source.domains, other.domains)) {
      target.claim(other.id);
      lines.push({ ...line, target: other.id, action: 'replace' });
    } else lines.push({ ...line, target: other.id, action: 'held', otherDomains: true });
  }
  return lines;
}

/** Whether one became valid later than another; where a listing does not say since when, nobody knows. */
const isNewer = (one: CertificateMetadata, other: CertificateMetadata): boolean =>
  one.notBefore !== undefined && other.notBefore !== undefined && one.notBefore > other.notBefore;

const hasExpired = ({ notAfter }: CertificateMetadata, now: number): boolean =>
  notAfter !== undefined && notAfter < now;

/** What people wrote on the original, as far as a copy of it tells. */
function describedAs(source: CertificateMetadata, from: Store): DescriptiveMetadata {
  const { tags, mark } = source;
  return { name: givenName(source.name, mark, from), description: withoutRetained(source.description), tags };
}

function planOf(link: Link, from: Store, { lines, there, retained, notListed, notRead, copies }: Survey): RestorePlan {
  const requests = new Map<string, number>();
  const ask = (store: Store, number: number) => requests.set(store.id, (requests.get(store.id) ?? 0) + number);
  for (const { action, origin } of lines) {
    if (action === 'held') continue;
    if (action === 'import' || action === 'replace') ask(from, 1);
    ask(link.primary, action === 'present' ? 0 : action === 'finish' ? 1 : 2);
    for (const { store } of copies.get(markDigest(origin)) ?? []) ask(store, 1);
  }
  const stores = new Map([from, link.primary, ...link.backups].map((store) => [store.id, store]));
  const seconds = [...requests].map(([store, number]) => {
    const perSecond = stores.get(store)?.abilities.requestsPerSecond;
    return perSecond === undefined ? 0 : number / perSecond;
  });
  return {
    link: link.name,
    from: from.id,
    to: link.primary.id,
    lines,
    there,
    retained,
    requests,
    secondsAtLeast: Math.ceil(Math.max(0, ...seconds)),
    notListed,
    notRead,
  };
}

async function moveAll(
  restorer: Restorer,
  link: Link,
  survey: Survey,
  options: RestoreOptions & { readonly lock: ReconcileLock },
): Promise<Pick<RestoreResult, 'moved' | 'failed'>> {
  const { signal, lock } = options;
  const moved: { name: string; origin: Mark; id: string }[] = [];
  const failed: { name: string; origin: Mark; error: CodedError }[] = [];
  const waiting = survey.lines.filter(({ action }) => action !== 'held').values();
  let inARow = 0;
  let ended: unknown;
  const lane = async () => {
    for (const line of waiting) {
      if (ended !== undefined || signal?.aborted === true) return;
      const { name, origin } = line;
      try {
        const id = await moveOne(restorer, link, survey, { line, options: { ...options, done: () => moved.length } });
        inARow = 0;
        moved.push({ name, origin, id });
        options.moved?.(line, id);
        await lock.keep('restoring', moved.length);
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (signal?.reason !== undefined) return;
        // Somebody else has the link now.
        if (error.code === 'reconcile_running' || error.code.startsWith('table_')) ended ??= thrown;
        failed.push({ name, origin, error });
        inARow += 1;
        if (inARow >= failuresInARow) ended ??= thrown;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  signal?.throwIfAborted();
  if (ended !== undefined) {
    const { code, message, fields } = asCodedError(ended);
    throw new CodedError(code, `${message}; ${moved.length} of ${survey.lines.length} certificates were moved before`, {
      cause: ended,
      fields,
    });
  }
  return { moved, failed };
}

async function moveOne(
  restorer: Restorer,
  link: Link,
  { copies, sources, held }: Survey,
  { line, options }: { readonly line: RestoreLine; readonly options: Moving },
): Promise<string> {
  const { primary } = link;
  const { from, signal } = options;
  const { origin } = line;
  const call = { ...(signal && { signal }) };
  const polite = <T>(send: () => Promise<T>) => whenAllowed(restorer, signal, send);
  const keep = () => options.lock.keep('restoring', options.done());
  const waiter = { runtime: restorer.runtime, store: primary, signal, goesOn: options.goesOn, keep };
  const listed = sources.get(markDigest(origin)) as Listed;
  const metadata = describedAs(listed, from);

  const id = await (async () => {
    if (line.action === 'present' || line.action === 'finish') return line.target as string;
    const keys = keysRead();
    try {
      const reading = keys.keep(
        await polite(() => readOrLimited(restorer, from, { id: line.source, signal: call.signal })),
      );
      if (reading.state === 'absent')
        throw new CodedError('store_gone', `${line.name} was listed in ${from.id}, and is not there`);
      if (reading.state === 'unreadable') throw reading.error;
      if (reading.state === 'vacant') throw vacancyError(from.id, line.source, reading);
      refuseWithoutKey(line.name, from, reading.value, options.kind);
      const { content } = reading.value;
      if (line.action === 'replace' && line.target !== undefined) {
        const target = line.target;
        await refuseStandIn(
          link,
          content,
          () => readOrLimited(restorer, primary, { id: target, signal: call.signal }),
          target,
        );
        const answer = await polite(() => primary.reimport(target, content, call));
        return writtenToEnd(waiter, { kind: 'reimport', mark: origin, content }, answer);
      }
      return await importOnce(
        restorer,
        primary,
        async (into = line.into) => {
          const entry = { content, metadata, mark: origin, ...(into !== undefined && { into }) };
          const answer = await polite(() => primary.import(entry, call));
          return { id: await writtenToEnd(waiter, { kind: 'import', mark: origin, content }, answer) };
        },
        origin,
      );
    } finally {
      keys.wipe();
    }
  })();

  await restorer.linkRecords.saveHome(link.name, { store: primary.id, certificate: id }, origin, metadata.name);
  const mark: Mark = { store: primary.id, certificate: id };
  const standIn = link.backups.find((store) => store.id === from.id && origin.store === from.id);
  const those = [
    ...(copies.get(markDigest(origin)) ?? []),
    ...(standIn === undefined ? [] : [{ store: standIn, copy: listed }]),
  ];
  for (const { store, copy } of those) {
    if (!link.backups.includes(store) || sameMark(origin, mark)) continue;
    const { name, description, tags } = copy;
    await polite(() =>
      store.updateMetadata(copy.id, { name, description: withoutRetained(description), tags }, mark, call),
    );
  }
  // A primary that was built anew under its old name: what its records say of the old id is no longer true.
  if (origin.store === primary.id) await restorer.records.forget(link.name, origin.certificate);
  if (line.action !== 'present' || saysOther(primary, metadata, held.get(id)))
    await polite(() => primary.updateMetadata(id, metadata, undefined, call));
  return id;
}

/**
 * A self-signed certificate takes no place of one that an authority issued unless the policy of the
 * link says so: `certificate_self_signed`. What cannot be read is taken for one of an authority.
 */
async function refuseStandIn(
  { primary, policy }: Link,
  { leaf }: CertificateContent,
  readTarget: () => Promise<Reading<StoredCertificate>>,
  target: string,
): Promise<void> {
  if (policy.standIns === true || !isSelfSigned(leaf)) return;
  const reading = await readTarget();
  if (reading.state === 'absent' || reading.state === 'vacant') return;
  const keys = keysRead();
  try {
    const there = keys.keep(reading);
    if (there.state === 'present' && isSelfSigned(there.value.content.leaf)) return;
    const what = there.state === 'present' ? 'that an authority issued' : 'that cannot be read now';
    throw new CodedError(
      'certificate_self_signed',
      `it is self-signed, and ${primary.id} holds one ${what} as ${target}, which stays`,
      { fields: { store: primary.id, certificate: target } },
    );
  } finally {
    keys.wipe();
  }
}

type Moving = RestoreOptions & { readonly lock: ReconcileLock; readonly done: () => number };

/** A copy was given with its key: without, it is damaged, or its service keeps the key to itself. A primary that stood in may hold some without. */
function refuseWithoutKey(name: string, from: Store, stored: StoredCertificate, kind: RestoreOptions['kind']): void {
  const key = keyAnswerOf(stored);
  if (key === 'given' || (key === 'none' && kind === 'failback')) return;
  const fields = { store: from.id, copy: stored.metadata.id };
  throw key === 'withheld'
    ? new CodedError('certificate_key_withheld', `${from.id} does not give the private key of ${name} back`, { fields })
    : new CodedError('certificate_key_missing', `the copy of ${name} in ${from.id} has no private key`, { fields });
}

/** Whether a store has other words for a certificate than it is to have. It is not written to for nothing: it may be somebody else's folder. */
function saysOther(store: Store, wanted: DescriptiveMetadata, found: CertificateMetadata | undefined): boolean {
  return found === undefined || metadataDigestOf(store.asKept(wanted, undefined)) !== metadataDigestOf(found);
}

/** An import that nobody heard the end of is looked for by its mark before it counts as failed. */
async function importOnce(
  { runtime, timing, listings }: Restorer,
  primary: Store,
  send: (into?: string) => Promise<{ readonly id: string }>,
  mark: Mark,
): Promise<string> {
  try {
    return (await send()).id;
  } catch (thrown) {
    const error = asCodedError(thrown);
    // Of one that goes on, all was waited for that there is.
    if (error.entry.applied !== 'unknown' || error.code === 'store_operation_unfinished') throw thrown;
    await runtime.wait(settledMs(primary, timing) + longestWriteMs(primary, 'import'));
    const places: VacantElement[] = [];
    const tell = { vacant: (place: VacantElement) => void places.push(place) };
    const patience = { patienceMs: Number.POSITIVE_INFINITY };
    const found =
      (await primary.findByMark?.(mark, tell)) ??
      (await listings.marked(primary, mark, { ...patience, ...tell })).copies;
    const [only] = found;
    if (only !== undefined) return only.id;
    // Its creation was begun, and the content did not come.
    const [place] = places;
    if (place === undefined) throw thrown;
    return (await send(place.id)).id;
  }
}

/** A reading, where a limit throws as it does for writes. */
async function readOrLimited(
  { runtime }: Restorer,
  store: Store,
  { id, signal }: { readonly id: string; readonly signal: AbortSignal | undefined },
) {
  const reading = await readInTime(runtime, store, id, signal);
  if (reading.state === 'unreadable' && reading.error.code === 'store_limited') throw reading.error;
  return reading;
}

/** Sends, and sends again when the store allows: a limit is no failure, and nothing waits behind this but the rest of the restore. */
async function whenAllowed<T>(
  { runtime }: Restorer,
  signal: AbortSignal | undefined,
  send: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await send();
    } catch (thrown) {
      const { code, retryAfterMs } = asCodedError(thrown);
      if (code !== 'store_limited' || tries >= limits.restoreTries) throw thrown;
      // Not all at the same moment again.
      await runtime.wait(Math.min(retryAfterMs ?? 1_000, limits.listingWaitMs) + runtime.random() * 200, signal);
    }
  }
}
