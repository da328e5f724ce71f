import type { CertificateContent } from '../certificate/certificate.ts';
import { isSelfSigned } from '../certificate/chain.ts';
import { factsOf } from '../certificate/facts.ts';
import { fingerprintOf } from '../certificate/fingerprint.ts';
import { publicProblem } from '../certificate/judgement.ts';
import { serveInCommon } from '../certificate/serving.ts';
import { defined } from '../defined.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { patiently } from '../replication/patient-read.ts';
import { readInTime } from '../replication/read-in-time.ts';
import { listAll } from '../replication/shared-listing.ts';
import { type EndWaiter, type GoingOn, writtenToEnd } from '../replication/write-to-end.ts';
import { type Runtime, unlessAborted } from '../runtime.ts';
import type { Store, UnreadableElement } from '../store/store.ts';
import {
  type ArchiveEntry,
  type ArchiveItem,
  entryDamaged,
  type PassedOverFile,
  type RefusedEntry,
} from './archive.ts';

/** What an import does, or would do, with one certificate of the archive. */
export interface ImportLine {
  readonly entry: string;
  readonly name: string;
  readonly fingerprint: string;
  /**
   * `present`: the store holds the same already. `conflict`: it holds another one of this name,
   * which stays.
   */
  readonly action: 'import' | 'replace' | 'present' | 'conflict';
  /** Of the certificate in the store; absent before an import. */
  readonly id?: string;
  /**
   * Said of a conflict with one that was to be replaced, and serves no domain that this one does.
   */
  readonly otherDomains?: true;
  /**
   * Said of a conflict with one that was to be replaced: an authority issued it, and this one is
   * self-signed.
   */
  readonly selfSigned?: true;
  /** Said of a conflict with one that was to be replaced, and serves: why this one would not. */
  readonly wouldNotServe?: CodedError;
}

export interface ImportOptions {
  /** Replace what the store holds under the same name, where both serve a name in common. */
  readonly replace?: boolean;
  /** Replace it whatever names it serves. */
  readonly replaceOthers?: boolean;
  /** Replace what an authority issued by a self-signed one too. */
  readonly replaceIssued?: boolean;
  readonly wanted: (name: string) => boolean;
  readonly signal?: AbortSignal;
  readonly done?: (line: ImportLine) => void;
  /** Called where the store goes on with a write after it has answered: its end is waited for. */
  readonly goesOn?: (about: GoingOn) => void;
  /** The store did not take this one; the others go on. */
  readonly failed?: (line: ImportLine, error: CodedError) => void;
}

/** What an import found to do. */
export interface ImportPlan {
  readonly lines: readonly ImportLine[];
  /** What cannot be taken, and why. */
  readonly refused: readonly RefusedEntry[];
  /** What belongs to no certificate. */
  readonly passedOver: readonly PassedOverFile[];
  /**
   * Does it, one certificate after the other; what fails is told, and the others go on. Throws what
   * the archive as a whole fails with, what the store fails with several times in a row, and the
   * signal's reason.
   */
  apply(): Promise<void>;
}

/**
 * So many certificates in a row that a store did not answer for: then it is the store, and not the
 * certificates.
 */
const failuresInARow = 3;

/**
 * Reads the whole archive, and compares it with what the store holds under the same names. Nothing
 * is imported from an archive that was cut, or whose seal does not hold: the first reading goes to
 * its end. In one that is whole, each certificate is judged for itself: what is wrong with one
 * keeps no other out. Doing it again imports only what is not there, so that one that was stopped
 * goes on. Throws what `entries` throws, and, where that is all that there is, what the one
 * certificate was refused for.
 */
export async function planImport(
  runtime: Runtime,
  store: Store,
  entries: () => AsyncIterable<ArchiveItem>,
  options: ImportOptions,
): Promise<ImportPlan> {
  const { signal } = options;
  const archived = new Map<string, Archived>();
  const refused: RefusedEntry[] = [];
  const passedOver: PassedOverFile[] = [];
  for await (const each of wantedOf(entries(), options)) {
    if ('file' in each) passedOver.push(each);
    else if ('error' in each) refused.push(each);
    else {
      const { entry, content } = each;
      const name = store.asKept(each, undefined).name;
      archived.set(entry, { entry, name, ...judged(content, runtime) });
    }
  }
  for (const { entry } of refused) archived.delete(entry);
  if (archived.size === 0) refuseAsOne(refused);
  const names = new Set([...archived.values()].map(({ name }) => name));
  const { held, unreadable } = await heldUnder(runtime, store, names, signal);
  for (const { entry, name } of [...archived.values()]) {
    const error = unreadable.get(name);
    if (error === undefined) continue;
    archived.delete(entry);
    refused.push({ entry, name, error });
  }
  const lines = new Map(compare([...archived.values()], held, options).map((line) => [line.entry, line]));
  return {
    lines: [...lines.values()],
    refused,
    passedOver,
    apply: () => applyAll({ runtime, store, signal, goesOn: options.goesOn }, entries, lines, options),
  };
}

/** What two certificates of one name are told apart by. */
interface Judged {
  readonly fingerprint: string;
  readonly serves: readonly string[];
  readonly selfSigned: boolean;
  /** Why it would not serve, now. */
  readonly problem: CodedError | undefined;
}

interface Held extends Judged {
  readonly id: string;
}

interface Archived extends Judged {
  readonly entry: string;
  readonly name: string;
}

function judged(content: CertificateContent, runtime: Runtime): Judged {
  const problem = publicProblem(content, { nowMs: runtime.now(), requireChain: false });
  return {
    fingerprint: fingerprintOf(content),
    serves: servedBy(content),
    selfSigned: isSelfSigned(content.leaf),
    problem,
  };
}

/** What a certificate is for: its domains, else its subject. */
function servedBy(content: CertificateContent): readonly string[] {
  const { domains, subject } = factsOf(content);
  return domains.length > 0 ? domains : [subject];
}

/** Where nothing can be taken for one reason, that reason is what the import ends with. */
function refuseAsOne(refused: readonly RefusedEntry[]): void {
  const [first, ...others] = refused;
  if (first === undefined) return;
  const one =
    first.error.code === 'archive_passphrase_wrong' || first.error.code === 'archive_passphrase_missing'
      ? others.every(({ error }) => error.code === first.error.code)
      : others.length === 0;
  if (one) throw first.error;
}

/** The second reading. What it does not show as the first did is not imported. */
async function applyAll(
  waiter: EndWaiter,
  entries: () => AsyncIterable<ArchiveItem>,
  lines: ReadonlyMap<string, ImportLine>,
  options: ImportOptions,
): Promise<void> {
  const { signal, done, failed } = options;
  const left = new Map(lines);
  let inARow = 0;
  for await (const each of wantedOf(entries(), options)) {
    const line = 'content' in each ? left.get(each.entry) : undefined;
    if (line === undefined || !('content' in each) || line.fingerprint !== fingerprintOf(each.content)) continue;
    left.delete(line.entry);
    if (line.action === 'conflict') continue;
    signal?.throwIfAborted();
    try {
      const applied = await unlessAborted(signal, applyOne(waiter, each, line));
      inARow = 0;
      done?.(applied);
    } catch (thrown) {
      signal?.throwIfAborted();
      const error = asCodedError(thrown);
      inARow = isOfTheStore(error) ? inARow + 1 : 0;
      if (inARow >= failuresInARow) throw error;
      failed?.(line, error);
    }
  }
  for (const line of left.values()) failed?.(line, entryDamaged(line.entry, 'it was changed while it was imported'));
}

/**
 * The service could not be asked, or will not hear us: the next certificate will fare no better.
 */
const isOfTheStore = ({ code }: CodedError) =>
  code === 'store_unavailable' ||
  code === 'store_unanswered' ||
  code === 'store_unauthorized' ||
  code === 'store_nonsense';

/**
 * Those that are wanted; the key of each is overwritten when the next is asked for. What has no
 * name that is known is told.
 */
async function* wantedOf(entries: AsyncIterable<ArchiveItem>, { wanted, signal }: ImportOptions) {
  for await (const each of entries) {
    signal?.throwIfAborted();
    if (!('content' in each)) {
      if ('file' in each || each.name === undefined || wanted(each.name)) yield each;
      continue;
    }
    try {
      if (wanted(each.name)) yield each;
    } finally {
      each.content.privateKey?.pem.wipe();
    }
  }
}

/**
 * What the store holds under these names, in full: fingerprints by name, and names under which
 * something cannot be read.
 */
async function heldUnder(runtime: Runtime, store: Store, names: ReadonlySet<string>, signal: AbortSignal | undefined) {
  const held = new Map<string, Held[]>();
  const unreadable = new Map<string, CodedError>();
  // Whether what stands there under one of these names is the same cannot be said; under another it
  // is nobody's concern here.
  const note = ({ name, error }: UnreadableElement) => {
    if (name !== undefined && names.has(name)) unreadable.set(name, error);
  };
  for await (const { id, name } of listAll(store, { runtime, signal, unreadable: note })) {
    if (!names.has(name)) continue;
    const reading = await patiently({ runtime, signal }, () => readInTime(runtime, store, id, signal));
    if (reading.state === 'unreadable') unreadable.set(name, heldUnreadable(store, id, reading.error));
    if (reading.state !== 'present') continue;
    const { content } = reading.value;
    held.set(name, [...(held.get(name) ?? []), { id, ...judged(content, runtime) }]);
    reading.value.content.privateKey?.pem.wipe();
  }
  return { held, unreadable };
}

function heldUnreadable(store: Store, id: string, { code, message, fields, cause }: CodedError): CodedError {
  return new CodedError(code, `${store.id} holds ${id} under its name, which cannot be read: ${message}`, {
    cause,
    fields,
  });
}

/**
 * Names need not be unique on either side: what is equal goes together first, and only one against
 * one can be replaced.
 */
function compare(
  archived: readonly Archived[],
  held: ReadonlyMap<string, readonly Held[]>,
  { replace = false, replaceOthers = false, replaceIssued = false }: ImportOptions,
): readonly ImportLine[] {
  const left = new Map([...held].map(([name, those]) => [name, [...those]]));
  const lines: ImportLine[] = [];
  const open: (typeof archived)[number][] = [];
  for (const each of archived) {
    const those = left.get(each.name) ?? [];
    const at = those.findIndex(({ fingerprint }) => fingerprint === each.fingerprint);
    const [same] = at < 0 ? [] : those.splice(at, 1);
    if (same === undefined) open.push(each);
    else lines.push(lineOf(each, 'present', same.id));
  }
  for (const each of open) {
    const [other, ...others] = left.get(each.name) ?? [];
    const oneToOne = others.length === 0 && open.filter(({ name }) => name === each.name).length === 1;
    if (other === undefined) lines.push(lineOf(each, 'import'));
    else if (!replace || !oneToOne) lines.push(lineOf(each, 'conflict', other.id));
    else if (each.problem !== undefined && other.problem === undefined)
      lines.push({ ...lineOf(each, 'conflict', other.id), wouldNotServe: each.problem });
    else if (each.selfSigned && !other.selfSigned && !replaceIssued)
      lines.push({ ...lineOf(each, 'conflict', other.id), selfSigned: true });
    else if (replaceOthers || serveInCommon(each.serves, other.serves)) lines.push(lineOf(each, 'replace', other.id));
    else lines.push({ ...lineOf(each, 'conflict', other.id), otherDomains: true });
  }
  return lines;
}

const lineOf = ({ entry, name, fingerprint }: Archived, action: ImportLine['action'], id?: string): ImportLine => ({
  entry,
  name,
  fingerprint,
  action,
  ...defined({ id }),
});

async function applyOne(waiter: EndWaiter, each: ArchiveEntry, line: ImportLine): Promise<ImportLine> {
  const { name, description, tags, content } = each;
  const { store, signal } = waiter;
  const options = defined({ signal });
  try {
    if (line.action === 'import') {
      const answer = await store.import({ content, metadata: { name, description, tags } }, options);
      return { ...line, id: await writtenToEnd(waiter, { kind: 'import', content }, answer) };
    }
    if (line.action === 'replace' && line.id !== undefined) {
      const answer = await store.reimport(line.id, content, options);
      await writtenToEnd(waiter, { kind: 'reimport', content }, answer);
    }
    return line;
  } catch (thrown) {
    const { code, message, fields } = asCodedError(thrown);
    throw new CodedError(code, `${line.entry}: ${message}`, { cause: thrown, fields });
  }
}
