import { serveInCommon } from '../../certificate/serving.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import type { Binding } from '../../records/link-records.ts';
import { isWhole, type Mark, markDigest } from '../../store/mark.ts';
import type {
  CertificateMetadata,
  DescriptiveMetadata,
  Store,
  UnreadableElement,
  VacantElement,
} from '../../store/store.ts';
import { givenName } from '../copy-name.ts';
import { includes, type Link, listedFacts } from '../link.ts';
import { withoutRetained } from '../pass/retire.ts';
import type { ReconcileLock } from '../reconcile/lock.ts';
import { copyOf, listAll } from '../shared-listing.ts';
import { unkeptId } from '../unkept-id.ts';
import { vacancyError } from '../vacancy.ts';
import type { Worker } from '../worker.ts';
import type { GoingOn } from '../write-to-end.ts';

/** What is to be done with one certificate. */
export interface RestoreLine {
  readonly name: string;
  /**
   * Where it comes from: the lost original (restore), or the one that stood in for it (failback).
   */
  readonly origin: Mark;
  /** Its id in the store that it is read from. */
  readonly source: string;
  /** Its id in the new primary, where it is there already. */
  readonly target?: string;
  /**
   * `import`: it is not there. `finish`: it is there, and was being moved when a run was stopped.
   * `present`: the new primary holds the same, or under its old id a newer version. `replace`: it
   * holds another version, which gives way. `held`: it holds another one of this name, which stays.
   */
  readonly action: 'import' | 'finish' | 'present' | 'replace' | 'held';
  /**
   * With `import`: a place in the new primary that a run which was stopped, or a deletion, left
   * without content, and that is written over.
   */
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
  /**
   * Copies of certificates that were deleted from the old primary: they stay out unless asked for.
   */
  readonly retained: number;
  /**
   * Requests to each store, and the seconds that they take at the least where the store says how
   * many it takes.
   */
  readonly requests: ReadonlyMap<string, number>;
  readonly secondsAtLeast: number;
  /**
   * Other backups that could not be listed: the copies there are not known as copies of the new
   * primary.
   */
  readonly notListed: readonly { readonly store: string; readonly error: CodedError }[];
  /**
   * What stands there and cannot be read, so that nobody knows whether it is a copy of this link.
   */
  readonly notRead: readonly { readonly store: string; readonly place: string; readonly error: CodedError }[];
}

export interface RestoreOptions {
  /** `restore`: out of copies in a backup. `failback`: out of the primary that stood in. */
  readonly kind: 'restore' | 'failback';
  /** The store that is read. */
  readonly from: Store;
  readonly wanted: (name: string) => boolean;
  /**
   * Restore: replace what the new primary holds under the same name, where both serve a domain in
   * common.
   */
  readonly replace?: boolean;
  /** Restore: replace it whatever domains it serves. */
  readonly replaceOthers?: boolean;
  /**
   * Restore: primaries of other links, whose copies are not this link's, where only marks tell
   * whose they are.
   */
  readonly others?: ReadonlySet<string>;
  /** Restore: copies of deleted certificates too. */
  readonly retained?: boolean;
  readonly signal?: AbortSignal;
  /** Called before a wait for what an earlier run, which was stopped, may have sent. */
  readonly waiting?: (milliseconds: number) => void;
  /** Called with the plan before anything is written; what it throws ends it there. */
  readonly confirm?: (plan: RestorePlan) => Promise<void>;
  readonly moved?: (line: RestoreLine, id: string) => void;
  /**
   * Called where the new primary goes on with a write after it has answered: its end is waited for.
   */
  readonly goesOn?: (about: GoingOn) => void;
}

/** What a store lists, with a mark of which all is known. */
export type Listed = Omit<CertificateMetadata, 'mark'> & { readonly mark?: Mark };

/** What was read of the stores before anything is written. */
export interface Survey {
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

export const refused = (message: string) => new CodedError('restore_refused', message);

/**
 * Reads what the move rests on: what each store lists, what has been moved before, and what is to
 * be done with each certificate. Writes nothing.
 */
export async function surveyOf(
  { linkRecords, records, runtime }: Worker,
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
    // Which of two versions stays is told by what is listed here.
    const versionsOf = () => store.id === primary.id || store.id === from.id;
    for await (const metadata of listAll(store, { runtime, signal, unreadable, vacant, versionsOf })) {
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
  /** Whether it can be written down where it was, and what became of it. */
  const isKept = (origin: Mark) =>
    records.canHold(link.name, origin.certificate) && linkRecords.canKeepHome(link.name, origin);
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
    if (!isKept(origin)) {
      notRead.push({ store: from.id, place: metadata.id, error: unkeptId(origin.store, origin.certificate) });
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
 * The marks that copies of this link may carry, by their digest: where a store keeps no more of
 * them, the records tell which certificates there were. Read when the first is asked for.
 */
function knownMarks(
  { linkRecords, records }: Pick<Worker, 'linkRecords' | 'records'>,
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
 * Which primary was lost, where this table does not know it, as on another machine when the one
 * with the table is lost too: the one that the marks name. Throws `restore_refused` where they name
 * several.
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

/**
 * What the new primary holds, by what it may be known by. What is claimed belongs to one
 * certificate already.
 */
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
 * Those that nothing in the new primary is known to belong to: is the same there under its name, or
 * another one, or none? What is equal goes together first, so that none is taken for a version of
 * another; and only one against one can be replaced.
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

/**
 * Whether one became valid later than another; where a listing does not say since when, nobody
 * knows.
 */
const isNewer = (one: CertificateMetadata, other: CertificateMetadata): boolean =>
  one.notBefore !== undefined && other.notBefore !== undefined && one.notBefore > other.notBefore;

const hasExpired = ({ notAfter }: CertificateMetadata, now: number): boolean =>
  notAfter !== undefined && notAfter < now;

/** What people wrote on the original, as far as a copy of it tells. */
export function describedAs(source: CertificateMetadata, from: Store): DescriptiveMetadata {
  const { tags, mark } = source;
  return { name: givenName(source.name, mark, from), description: withoutRetained(source.description), tags };
}

export function planOf(
  link: Link,
  from: Store,
  { lines, there, retained, notListed, notRead, copies }: Survey,
): RestorePlan {
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
