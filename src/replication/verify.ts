import type { CertificateContent } from '../certificate/certificate.ts';
import { factsOf } from '../certificate/facts.ts';
import { chainRemarks } from '../certificate/remarks.ts';
import { defined } from '../defined.ts';
import { asCodedError, type CodedError, type ErrorCode, remedyOf } from '../errors.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type { Vanished, VerifySummary } from '../records/reconcile-records.ts';
import {
  type BackupState,
  isLeftAside,
  type UnreadableRecord,
  type Unremovable,
} from '../records/replication-record.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import { type Mark, sameMark } from '../store/mark.ts';
import type { CertificateMetadata, Reading, Store, StoredCertificate, UnreadableElement } from '../store/store.ts';
import { type CompactMap, compactMap } from './compact-map.ts';
import { type KeysRead, keysRead } from './keys-read.ts';
import { includes, includesName, type Link } from './link.ts';
import {
  copiesIn,
  type ListedCopies,
  listCopies,
  noListedCopies,
  ofUnknownMark,
  placesIn,
  tickCopies,
} from './listed-copies.ts';
import { isCircle, judge, type Verdict } from './pass/judge.ts';
import { patiently } from './patient-read.ts';
import { readInTime } from './read-in-time.ts';
import { refusesRemoval } from './refusal.ts';
import { listAll } from './shared-listing.ts';
import { keyProblems } from './standing.ts';
import { vacancyWords } from './vacancy.ts';
import { type VanishedTally, vanishedSummary, vanishedTally } from './vanished.ts';
import { type CopyState, compareCopy, servingProblem } from './verify-copy.ts';

export interface Verifier {
  readonly records: ReplicationRecords;
  readonly linkRecords: LinkRecords;
  readonly runtime: Runtime;
}

/** What is to be said about one certificate at one store. */
export interface VerifyFinding {
  readonly state: CopyState;
  /** In words; of what is the same, in which shape its service keeps it, else empty. */
  readonly how: string;
  /**
   * It is the same, as its service keeps it: chains that it completes, or puts in another order.
   */
  readonly reshaped?: true;
  /**
   * Why the copy is as it is, as the record of it says: the backup does not take what the primary
   * holds.
   */
  readonly refused?: RefusedCopy;
  /**
   * When the copy stops serving, epoch milliseconds, where it stays though the primary holds
   * another certificate.
   */
  readonly stops?: number;
  /** Why a second copy stays: the service does not let it go. */
  readonly unremovable?: Pick<Unremovable, 'code' | 'message' | 'since'>;
  /** The certificate's id in the primary; absent for what is not ours. */
  readonly certificate?: string;
  readonly name: string;
  readonly store: string;
  /** The copy's id there. */
  readonly copy?: string;
  /** Whether something is wrong. What is not ours, or is kept on purpose, is not. */
  readonly problem: boolean;
  /**
   * What is to be told of the original's chain and is no reason to refuse it, such as an expired
   * cross certificate. At one finding of a certificate, however many backups there are.
   */
  readonly remarks?: readonly string[];
  /** The service does not give the copy's private key back: nothing is proven of it. */
  readonly keyNotProven?: true;
}

/**
 * A refusal of a backup, beside what a copy there was found to be. All moments are epoch
 * milliseconds.
 */
export interface RefusedCopy {
  readonly code: ErrorCode;
  readonly message: string;
  readonly since: number;
  /** When it ends by itself. */
  readonly until?: number;
}

export interface VerifyReport extends VerifySummary {
  readonly link: string;
  /**
   * What is gone from the primary, more than is lost on an ordinary day, and nobody has said that
   * it is meant.
   */
  readonly vanished?: Vanished;
  /** Backups that could not be listed: nothing is proven of them. */
  readonly notListed: readonly { readonly store: string; readonly error: CodedError }[];
  /** Elements of the primary that are no certificates. */
  readonly passedOver: number;
}

export interface VerifyOptions {
  /** Gets each finding as it is made, those that are the same too. */
  readonly finding?: (finding: VerifyFinding) => void;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: (certificates: number) => void;
}

const concurrency = 8;
const examplesKept = 5;

/**
 * Proves by reading that each backup equals the primary: both sides in full, private keys too where
 * the service gives them. The records are never believed: they only say where else a copy might be.
 * What is found to differ is read once more before it is said. The summary is kept for status.
 * Throws what the primary's listing throws, and the reason of the signal.
 */
export async function verify(verifier: Verifier, link: Link, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { runtime, linkRecords } = verifier;
  const { signal } = options;
  const startedAt = runtime.now();
  const tally = tallied(link, options);
  const sides = await Promise.all(link.backups.map((store) => listSide(verifier, link, store, signal)));
  signal?.throwIfAborted();
  const listed = compactMap();
  const { vanished: standing } = await linkRecords.reconcileState(link.name);
  const lost = vanishedTally(link, startedAt, standing);
  const thereAfterAll = new Set<string>();
  const one = (certificate: string, metadata?: CertificateMetadata) =>
    verifyOne(
      {
        ...{ verifier, link, sides, signal, withoutKey: tally.withoutKey, reshaped: tally.reshaped },
        present: () => void (metadata ?? thereAfterAll.add(certificate)),
      },
      certificate,
      metadata,
    );

  let batch: Promise<readonly VerifyFinding[]>[] = [];
  const done = async () => {
    for (const findings of await Promise.all(batch)) tally.add(findings);
    signal?.throwIfAborted();
    options.progress?.(listed.size);
    batch = [];
  };
  const notRead: UnreadableElement[] = [];
  let passedOver = 0;
  const beside = {
    unreadable: (element: UnreadableElement) => void notRead.push(element),
    passedOver: () => {
      passedOver += 1;
    },
  };
  const { domains } = link.filter;
  const versionsOf = ({ name }: CertificateMetadata) => domains.length > 0 && includesName(link.filter, name);
  for await (const metadata of listAll(link.primary, { runtime, signal, versionsOf, ...beside })) {
    if (listed.tick(metadata.id)) continue;
    listed.set(metadata.id, inPrimary);
    for (const side of sides) tickCopies(side.listed, metadata.id);
    const included = includes(link.filter, metadata);
    if (included) lost.present();
    batch.push(included ? one(metadata.id, metadata) : Promise.resolve(excluded(sides, metadata)));
    if (batch.length >= concurrency) await done();
  }
  await done();
  // What the listing could not read is read once more, by itself; what has no id is told of by its
  // place.
  for (const { id, name, place, error } of notRead) {
    if (id !== undefined && (listed.tick(id) || !verifier.records.canHold(link.name, id))) continue;
    if (id !== undefined) listed.set(id, inPrimary);
    for (const side of sides) if (id !== undefined) tickCopies(side.listed, id);
    if (name !== undefined && !includesName(link.filter, name)) continue;
    // It is there.
    lost.present();
    if (id !== undefined) batch.push(one(id));
    else tally.add([{ state: 'unreadable', how: error.message, name: place, store: link.primary.id, problem: true }]);
    if (batch.length >= concurrency) await done();
  }
  await done();
  await nameDigested(verifier, link, sides);
  // Copies of what the listing did not show: gone, or moved while it was paged. A direct read
  // tells.
  for (const side of sides) {
    for (const certificate of side.listed.copies.unticked()) {
      if (listed.tick(certificate)) continue;
      listed.set(certificate, '');
      batch.push(one(certificate));
      if (batch.length >= concurrency) await done();
    }
  }
  await done();
  await countLost(verifier, link, { lost, listed, thereAfterAll });
  const vanished = lost.result();
  for (const { store, foreign, damaged } of sides) {
    for (const { id, place, error } of damaged.values()) {
      const copy = id === undefined ? {} : { copy: id };
      tally.add([{ state: 'unreadable', how: error.message, name: place, store: store.id, ...copy, problem: true }]);
    }
    for (const copy of foreign.unticked()) {
      const name = foreign.get(copy) ?? '';
      tally.add([{ state: 'extra', how: 'not ours: it carries no mark', name, store: store.id, copy, problem: false }]);
    }
  }
  const notListed = sides.flatMap(({ store, error }) => (error === undefined ? [] : [{ store: store.id, error }]));
  const summary: VerifySummary = { startedAt, completedAt: runtime.now(), ...tally.result() };
  await linkRecords.saveVerify(link.name, summary);
  return {
    ...{ link: link.name, ...summary, notListed, passedOver },
    ...(vanished === undefined ? {} : { vanished: vanishedSummary(vanished) }),
  };
}

/**
 * What the records, or copies, tell of and the primary does not hold. Its listing ticked what it
 * showed; direct reads found the rest.
 */
async function countLost(
  { records }: Verifier,
  { name }: Link,
  found: {
    readonly lost: VanishedTally;
    readonly listed: CompactMap;
    readonly thereAfterAll: ReadonlySet<string>;
  },
): Promise<void> {
  const { lost, listed, thereAfterAll } = found;
  for (const certificate of thereAfterAll) if (listed.get(certificate) !== inPrimary) lost.present();
  const told = compactMap();
  const unreadable = ({ certificate }: UnreadableRecord) => told.set(certificate, '');
  for await (const record of records.all(name, unreadable)) {
    const { certificate } = record;
    told.set(certificate, '');
    const isThere = listed.get(certificate) === inPrimary || thereAfterAll.has(certificate);
    if (!isThere) lost.gone(record);
  }
  for (const certificate of listed.keys())
    if (listed.get(certificate) !== inPrimary && !thereAfterAll.has(certificate) && told.get(certificate) === undefined)
      lost.orphan(certificate);
}

/** Of a certificate that the primary's listing showed; others are known by their copies alone. */
const inPrimary = 'primary';

/** One backup, as its listing shows it. */
interface Side {
  readonly store: Store;
  readonly listed: ListedCopies;
  /** Names of what carries no mark, by id. */
  readonly foreign: CompactMap;
  /** Copies whose mark cannot be read, by id or place, as far as no record knew them. */
  readonly damaged: Map<string, UnreadableElement>;
  readonly error?: CodedError;
}

async function listSide(
  { runtime }: Verifier,
  link: Link,
  store: Store,
  signal: AbortSignal | undefined,
): Promise<Side> {
  const foreign = compactMap();
  try {
    const note = (id: string, name: string) => foreign.set(id, name);
    const listed = await listCopies(link.primary.id, store, { runtime, signal, foreign: note });
    const damaged = new Map(listed.unreadable.map((element) => [element.id ?? element.place, element]));
    return { store, listed, foreign, damaged };
  } catch (thrown) {
    const listed = noListedCopies(link.primary.id, store.id);
    return { store, listed, foreign: compactMap(), damaged: new Map(), error: asCodedError(thrown) };
  }
}

/**
 * Where a backup keeps digests of marks, the records tell which certificates they may be of; what
 * stays unknown is told.
 */
async function nameDigested({ records }: Verifier, link: Link, sides: readonly Side[]): Promise<void> {
  const digested = sides.filter(({ listed }) => listed.digested.size > 0);
  if (digested.length === 0) return;
  for await (const { certificate } of records.all(link.name, () => undefined))
    for (const { listed } of digested) copiesIn(listed, certificate);
  for (const { listed, damaged } of digested)
    for (const element of ofUnknownMark(listed)) damaged.set(element.id, element);
}

interface Run {
  readonly verifier: Verifier;
  readonly link: Link;
  readonly sides: readonly Side[];
  readonly signal: AbortSignal | undefined;
  /** Called for each copy that was compared without its key. */
  readonly withoutKey: () => void;
  /** Called for each copy that is the same as its service keeps it. */
  readonly reshaped: () => void;
  /** Called when the certificate was found in the primary by a direct read. */
  readonly present: () => void;
}

async function verifyOne(
  run: Run,
  certificate: string,
  listed?: CertificateMetadata,
): Promise<readonly VerifyFinding[]> {
  const { link, sides, verifier } = run;
  let findings: readonly VerifyFinding[] = [];
  // A change while it is read looks like a difference; the second time it does not.
  for (let look = 1; look <= 2; look += 1) {
    const keys = keysRead();
    try {
      const reading = keys.keep(await readFully(run, link.primary, certificate));
      // What cannot be read is not gone.
      if (reading.state !== 'absent') run.present();
      const record = await readableRecord(verifier, link, certificate);
      const answers = await Promise.all(
        sides.map((side) => {
          const recorded = record?.backups.find(({ store }) => store === side.store.id);
          return verifySide(run, side, { certificate, name: listed?.name, reading, keys, recorded });
        }),
      );
      // What is wrong with the original is said once, however many backups there are.
      findings = remarkedOnce(answers.flat()).filter(({ store }, index, all) => {
        return store !== link.primary.id || all.findIndex((other) => other.store === store) === index;
      });
    } finally {
      keys.wipe();
    }
    if (findings.every(({ problem }) => !problem)) break;
  }
  return findings;
}

/** No record is believed here: one that cannot be understood is as good as none. */
async function readableRecord({ records }: Verifier, link: Link, certificate: string) {
  if (!records.canHold(link.name, certificate)) return undefined;
  try {
    return await records.get(link.name, certificate);
  } catch (thrown) {
    if (asCodedError(thrown).code === 'table_row_unreadable') return undefined;
    throw thrown;
  }
}

/** Remarks are of the original: they are the same at every backup. */
function remarkedOnce(findings: readonly VerifyFinding[]): readonly VerifyFinding[] {
  const first = findings.find(({ remarks }) => remarks !== undefined);
  return findings.map((finding) => {
    const { remarks: _remarks, ...rest } = finding;
    return finding === first ? finding : rest;
  });
}

/** What one backup holds of one certificate. */
async function verifySide(
  run: Run,
  side: Side,
  of: {
    readonly certificate: string;
    readonly name: string | undefined;
    readonly reading: Reading<StoredCertificate>;
    readonly keys: KeysRead;
    /**
     * What the records say of the copy: where it is, and why it may be as it is. That it is equal
     * is not believed.
     */
    readonly recorded: BackupState | undefined;
  },
): Promise<readonly VerifyFinding[]> {
  const { link, verifier } = run;
  const { certificate, reading, keys, recorded } = of;
  const { store } = side;
  const known = recorded?.id;
  const name = reading.state === 'present' ? reading.value.metadata.name : (of.name ?? certificate);
  const about = { certificate, name, store: store.id, problem: true };
  if (side.error !== undefined) return [{ ...about, state: 'unreadable', how: side.error.message }];
  const listed = [...copiesIn(side.listed, certificate), ...placesIn(side.listed, certificate)].map(({ id }) => id);
  const ids = known === undefined || listed.includes(known) ? listed : [known, ...listed];
  if (known !== undefined) side.damaged.delete(known);
  const copies = await readCopies(run, side, ids, { mark: { store: link.primary.id, certificate }, keys });

  const now = verifier.runtime.now();
  const verdict = judge(link, reading, now);
  // An authority that was never copied does not concern a verify; the copy of one is reported,
  // because nobody keeps it equal.
  const isTold = verdict.kind === 'aside' && verdict.why === 'authority' && copies.length > 0;
  if (verdict.kind === 'aside' && isLeftAside(verdict.why) && !isTold) return [];
  if (verdict.kind === 'unreadable') {
    return [{ ...about, store: link.primary.id, state: 'unreadable', how: `in the primary: ${verdict.error.message}` }];
  }
  if (verdict.kind === 'absent') {
    const how = 'its original is gone from the primary; the copy is kept';
    return copies.map(({ id, reading: copy }) =>
      copy.state === 'vacant'
        ? { ...about, copy: id, state: 'vacant', how: vacancyWords(copy), problem: false }
        : { ...about, copy: id, state: 'extra', how, problem: false },
    );
  }
  if (verdict.kind !== 'sound') {
    return [
      { ...about, store: link.primary.id, state: 'would-not-serve', how: `in the primary: ${whyNotCopied(verdict)}` },
      ...copies.map((copy) => ({ ...about, copy: copy.id, ...keptInstead(copy, now) })),
    ];
  }
  if (isCircle(verdict.metadata.mark, store)) return [];
  const remarks = chainRemarks(verdict.content, now).map(({ message }) => message);
  const remarked = remarks.length === 0 ? {} : { remarks };
  if (copies.length === 0)
    return [{ ...about, state: 'missing', how: 'the backup holds no copy', ...refusedBy(recorded), ...remarked }];
  const mark: Mark = { store: link.primary.id, certificate };
  const compared = copies.map(({ id, reading: copy }): VerifyFinding => {
    if (copy.state === 'vacant') return { ...about, copy: id, state: 'vacant', how: vacancyWords(copy) };
    if (copy.state !== 'present')
      return { ...about, copy: id, state: 'unreadable', how: wordsOf(copy), ...refusedBy(recorded) };
    const found = compareCopy(verdict, copy.value, { store, mark, now, naming: link.naming });
    if (found.keyNotProven === true) run.withoutKey();
    if (found.reshaped === true) run.reshaped();
    if (found.state === 'same') return { ...about, copy: id, ...found, problem: false };
    return { ...about, copy: id, ...found, ...refusedBy(recorded, verdict.content, copy.value.content) };
  });
  const best =
    compared.find(({ state }) => state === 'same') ?? compared.find(({ state }) => state !== 'vacant') ?? compared[0];
  return compared.map((finding, index) => {
    if (finding === best) return { ...finding, ...remarked };
    const { reading: copy } = copies[index] as ReadCopy;
    // What was deleted beside a copy that lives goes by itself.
    if (copy.state === 'vacant') return { ...finding, problem: copy.why !== 'deleted' };
    return { ...finding, ...besideKept(finding, recorded) };
  });
}

/** Why the record says that what the primary holds is not there: nothing, if it does not. */
function refusedBy(
  recorded: BackupState | undefined,
  original?: CertificateContent,
  copy?: CertificateContent,
): Pick<VerifyFinding, 'refused' | 'stops'> {
  if (recorded?.refusal === undefined) return {};
  const { code, since, until } = recorded.refusal;
  const message = recorded.lastError?.message ?? remedyOf(code);
  const isOther = original !== undefined && copy !== undefined && !original.leaf.raw.equals(copy.leaf.raw);
  return {
    refused: { code, message, since, ...defined({ until }) },
    ...(isOther && { stops: factsOf(copy).notAfter }),
  };
}

/**
 * A copy beside the kept one. One that is named as not removable, and has what the kept one has, is
 * no problem.
 */
function besideKept(
  { copy, state, how }: VerifyFinding,
  recorded: BackupState | undefined,
): Pick<VerifyFinding, 'state' | 'how' | 'problem' | 'unremovable'> {
  const named = recorded?.unremovable?.find(({ id }) => id === copy);
  if (named === undefined) return { state: 'extra', how: 'a second copy of the same certificate', problem: true };
  const { code, message, since } = named;
  const why = refusesRemoval.has(code) ? 'which the service does not let go' : 'which stays as it is';
  const words = `a second copy, ${why}: ${message} [${code}]`;
  const unequal = state === 'same' ? '' : `; it is not equal either: ${how}`;
  return { state: 'extra', how: words + unequal, problem: unequal !== '', unremovable: { code, message, since } };
}

interface ReadCopy {
  readonly id: string;
  readonly reading: Reading<StoredCertificate>;
}

/**
 * Reads what may be copies in full. What is not there any more, or carries another mark by now, is
 * no copy.
 */
async function readCopies(
  run: Run,
  { store, foreign }: Side,
  ids: readonly string[],
  { mark, keys }: { readonly mark: Mark; readonly keys: KeysRead },
): Promise<readonly ReadCopy[]> {
  const read = await Promise.all(
    ids.map(async (id): Promise<ReadCopy> => ({ id, reading: keys.keep(await readFully(run, store, id)) })),
  );
  return read.filter(({ id, reading }) => {
    if (reading.state === 'absent') return false;
    if (reading.state === 'unreadable') return true;
    if (reading.state === 'vacant') return sameMark(reading.mark, mark);
    const { mark: found } = reading.value.metadata;
    if (found !== undefined) return sameMark(found, mark);
    // The records name it, and its mark is gone: it is told as a copy without one, not as a
    // stranger.
    foreign.tick(id);
    return true;
  });
}

function whyNotCopied(verdict: Extract<Verdict, { kind: 'refused' | 'aside' }>): string {
  if (verdict.kind === 'refused') return verdict.error.message;
  const { why } = verdict;
  return keyProblems[why === 'authority' || why === 'withheld' ? why : 'keyless'].message;
}

/** A copy beside an original that would not serve: the last good one stays. */
function keptInstead({ reading }: ReadCopy, now: number): Pick<VerifyFinding, 'state' | 'how' | 'problem' | 'stops'> {
  if (reading.state === 'vacant') return { state: 'vacant', how: vacancyWords(reading), problem: true };
  if (reading.state !== 'present') return { state: 'unreadable', how: wordsOf(reading), problem: true };
  const problem = servingProblem(reading.value, now);
  return problem === undefined
    ? {
        ...{ state: 'older', how: 'the last good copy; it would serve', problem: false },
        stops: factsOf(reading.value.content).notAfter,
      }
    : { state: 'would-not-serve', how: problem.message, problem: true };
}

function excluded(sides: readonly Side[], { id: certificate, name }: CertificateMetadata): readonly VerifyFinding[] {
  const how = 'the filter of the link does not include it any more; the copy is kept';
  return sides.flatMap(({ store, listed }) =>
    copiesIn(listed, certificate).map(
      ({ id }): VerifyFinding => ({
        state: 'extra',
        how,
        certificate,
        name,
        store: store.id,
        copy: id,
        problem: false,
      }),
    ),
  );
}

const wordsOf = (reading: Reading<unknown>) => (reading.state === 'unreadable' ? reading.error.message : 'it is gone');

/** A full read, which waits for what the store says is over soon. */
function readFully({ verifier: { runtime }, signal }: Run, store: Store, id: string) {
  return patiently({ runtime, signal }, () => readInTime(runtime, store, id, signal));
}

function tallied(link: Link, options: VerifyOptions) {
  const counts: Record<string, number> = {};
  const examples: string[] = [];
  const result = { certificates: 0, withoutKeys: 0, problems: 0 };
  let reshaped = 0;
  return {
    /**
     * Takes all findings of one certificate. Those that only tell of what is kept, or not ours, are
     * of none.
     */
    add(findings: readonly VerifyFinding[]): void {
      if (findings.some(({ state, problem }) => problem || state !== 'extra')) result.certificates += 1;
      for (const finding of findings) {
        const { state, name, store, how } = finding;
        counts[state] = (counts[state] ?? 0) + 1;
        if (finding.problem) {
          result.problems += 1;
          const where = link.backups.length > 1 ? ` in ${store}` : '';
          if (examples.length < examplesKept) examples.push(`${name}${where}: ${state}, ${how}`);
        }
        options.finding?.(finding);
      }
    },
    withoutKey: () => {
      result.withoutKeys += 1;
    },
    reshaped: () => {
      reshaped += 1;
    },
    result: () => ({ ...result, counts, examples, ...(reshaped > 0 && { reshaped }) }),
  };
}
