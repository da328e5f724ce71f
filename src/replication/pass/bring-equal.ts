import { createHash } from 'node:crypto';
import { isSelfSigned } from '../../certificate/chain.ts';
import { factsOf } from '../../certificate/facts.ts';
import { fingerprintOf, metadataDigestOf } from '../../certificate/fingerprint.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { visible } from '../../foreign-text.ts';
import {
  type AnsweredWrite,
  type BackupState,
  type HeldContent,
  type Operation,
  type RecordedError,
  type Refusal,
  type Replacing,
  recordedError,
  type Unremovable,
  type VacantCopy,
} from '../../records/replication-record.ts';
import type { Runtime } from '../../runtime.ts';
import { type FoundMark, formatMark, isWhole, type Mark, sameMark, sameOrigins } from '../../store/mark.ts';
import { isOwnLimit } from '../../store/own-limit.ts';
import {
  type CertificateMetadata,
  type DescriptiveMetadata,
  keyAnswerOf,
  type Store,
  type StoredCertificate,
  type VacantElement,
  type WriteAnswer,
} from '../../store/store.ts';
import { descriptive, descriptiveBefore, descriptiveReplacement } from '../copy-name.ts';
import type { KeysRead } from '../keys-read.ts';
import { listedFacts, type Naming } from '../link.ts';
import { countedOn, factsOfRefusal, heldCodes, nextLookAtRefusal, tookTurn } from '../refusal.ts';
import { backoffMs, settledMs, shownAfterMs, type Timing } from '../timing.ts';
import { holdsSame } from '../verify-copy.ts';
import { type BackupCalls, backupCalls } from './backup-calls.ts';
import type { Sound } from './judge.ts';
import { type BackupLook, endOfCopy, searchBeganAt } from './look.ts';
import { type NoteOperation, nextAsk, Running, seenOperation, withEnd } from './operations.ts';
import { type CopyInTheWay, isBrakeCode, isCaught, type OverCopy, problemOver } from './over-copy.ts';
import { noteOverwritten } from './overwritten.ts';

/** What a pass did at one backup, in the order in which it did it. */
export type BackupAction =
  | 'adopted'
  | 'imported'
  | 'brought-back'
  | 'reimported'
  | 'replaced'
  | 'described'
  | 'surplus-removed'
  | 'retained'
  | 'removed';

/** How one backup stands after a pass. */
export interface BackupOutcome {
  readonly state: BackupState;
  readonly actions: readonly BackupAction[];
  /** Found or made equal to the primary. */
  readonly equal: boolean;
  /**
   * All copies with our mark were looked for, and found, as they were at this moment. Absent: they
   * were not.
   */
  readonly searchedAt?: number;
  /** A write was sent (a delete is one), whatever came of it. */
  readonly wrote: boolean;
  /** A write got no answer, or left an old copy behind: look again by mark when it is settled. */
  readonly doubtful: boolean;
  /** When to look again; absent if there is nothing more to do. */
  readonly again?: number;
  /** What failed, in this pass. */
  readonly error?: CodedError;
  /**
   * Set if that is no failure but a finding, which rests: what the primary holds may not or cannot
   * be copied here. The state has it.
   */
  readonly refused?: boolean;
}

/** What a pass brings to each backup. */
export interface BackupTask {
  readonly runtime: Runtime;
  readonly timing: Timing;
  /** When this look began. */
  readonly beganAt: number;
  /** No write is sent or waited for after this moment. */
  readonly writeBy: number;
  /** The doubt of this backup, as the claim saw it. */
  readonly doubt: number | undefined;
  readonly mark: Mark;
  readonly sound: Sound;
  readonly keys: KeysRead;
  readonly noteOperation: NoteOperation;
  /**
   * A copy whose service refuses the content may be replaced by a new one, if this store's ids are
   * nobody's business: the link's word.
   */
  readonly mayReplace: boolean;
  /** What may take the place of what a copy holds. */
  readonly over: OverCopy;
  /** Absent: `derived`. */
  readonly naming?: Naming | undefined;
}

/** The copy that a backup holds, as far as this pass has seen it. */
interface Holding {
  readonly id: string;
  /** Absent if not even that could be read. */
  readonly metadata?: CertificateMetadata;
  /** Read in full in this pass. */
  readonly full?: StoredCertificate;
  /** Something is there that cannot be read as a certificate. */
  readonly unreadable?: boolean;
}

/** A copy that may be the kept one; `holding` once it has been seen. */
interface Candidate {
  readonly id: string;
  readonly holding?: Holding;
}

/** How a copy compares with what the primary holds. */
interface Comparison {
  readonly differs: boolean;
  /** It is the same leaf in the shape that the service makes of it, whatever is written. */
  readonly rewritten?: boolean;
  /** It cannot be read in full. */
  readonly unreadable?: boolean;
  readonly full?: StoredCertificate;
}

interface ContentMadeEqual {
  /** A full read of this pass has shown it equal, or what the service makes of it. */
  readonly proven: boolean;
  readonly rewritten?: boolean;
  readonly metadata: CertificateMetadata | undefined;
}

/**
 * What the record keeps for a backup whatever comes of a pass; `undefined`: what was kept before is
 * forgotten.
 */
type KeptField =
  | 'written'
  | 'unremovable'
  | 'keyWithheld'
  | 'held'
  | 'overwritten'
  | 'vacant'
  | 'operation'
  | 'replacing';
type KeptFields = { readonly [Field in KeptField]: BackupState[Field] | undefined };

/** A copy that stays beside the kept one as it is, and what the service said of it. */
type StayingCopy = Pick<Unremovable, 'id' | 'code' | 'message' | 'remedy'>;

/** The copy that is kept, and is equal. */
interface MadeEqual extends ContentMadeEqual {
  readonly holding: Holding;
  /** Copies before it in the order that the service does not let us write. */
  readonly refusedIds: readonly string[];
  /** Of these the ones whose content it refuses, and whose place this one takes. */
  readonly replacedIds: readonly string[];
  /** Of these the ones that stay, and why. */
  readonly staying: readonly StayingCopy[];
  /** Why the brake keeps one of them as it is. */
  readonly braked: CodedError | undefined;
  /** What the service said of one of them that was tried in this pass. */
  readonly tried: CodedError | undefined;
}

/**
 * So many answered writes of one content, each read back in another shape, and no more are sent.
 */
const writesReadBackOtherwise = 2;

/** After so many failed attempts to read a copy in full, it is written anew. */
const unreadableAfterAttempts = 3;

/**
 * Makes one backup equal to what the primary holds: the write step of the protocol. Never throws:
 * what fails is in the outcome, with its own attempts and backoff, so that one backup neither holds
 * up nor repeats another.
 */
export async function bringEqual(task: BackupTask, look: BackupLook): Promise<BackupOutcome> {
  const { runtime, timing, sound } = task;
  const attempt = new Attempt(task, look);
  try {
    await attempt.run();
    const { id, revision } = attempt;
    const changed =
      look.state.fingerprint !== sound.fingerprint ||
      look.state.metadataDigest !== attempt.wantedDigest ||
      attempt.replaced;
    const replicatedAt = changed ? runtime.now() : look.state.replicatedAt;
    const state: BackupState = defined({
      store: look.store.id,
      attempts: 0,
      fingerprint: sound.fingerprint,
      metadataDigest: attempt.wantedDigest,
      ...{ id, revision, replicatedAt },
      ...attempt.kept(),
    });
    return { ...attempt.summary(), state, equal: true, ...defined({ again: attempt.again }) };
  } catch (thrown) {
    const error = asCodedError(thrown);
    const state = attempt.stateAfterFailure();
    if (thrown instanceof Waiting) return { ...attempt.summary(), state, equal: false, again: thrown.until };
    const now = runtime.now();
    if (thrown instanceof Running)
      return { ...attempt.summary(), state, equal: false, again: nextAsk(thrown.operation, now) };
    // Nothing failed either: the search goes on without this look, and what was found before stands
    // until it ends.
    if (error.code === 'store_search_running') {
      const { refusal, lastError } = look.state;
      const found = { ...state, ...(refusal && { refusal, ...(lastError && { lastError }) }) };
      return { ...attempt.summary(), state: found, equal: false, again: now + (error.retryAfterMs ?? timing.lookMs) };
    }
    const lastError = recordedError(error, now);
    if (attempt.isFinding(thrown)) {
      // The copy was read, and stays: reconcile asks again when it is no longer this one.
      const { revision } = attempt;
      const refusal = refusalAt(look.state.refusal, sound, { error, copyFacts: attempt.seenFacts }, now);
      const again = nextLookAtRefusal(refusal, task.beganAt, timing);
      const kept = { ...state, refusal, lastError, ...defined({ revision }) };
      const next = again === undefined ? {} : { again };
      return { ...attempt.summary(), state: kept, equal: false, error, refused: true, ...next };
    }
    if (isOwnLimit(error)) {
      // Nothing was tried: there is room when the wait is over, and what was found before stands.
      const again = now + (error.retryAfterMs ?? 0);
      const { refusal, lastError: before } = look.state;
      const kept = { ...state, notBefore: again, ...(refusal && { refusal }), ...(before && { lastError: before }) };
      return { ...attempt.summary(), state: kept, equal: false, again };
    }
    const { refusal: before } = look.state;
    const attempts = look.state.attempts + 1;
    const notBefore = now + backoffMs(attempts, runtime.random, timing, error.retryAfterMs);
    const doubtful = attempt.summary().doubtful || error.code === 'store_conflict';
    return {
      ...attempt.summary(),
      // What the brake keeps of this very content stays caught: a store that does not answer takes
      // nothing from that.
      state: {
        ...state,
        ...(isCaught(before, sound.fingerprint) && { refusal: before }),
        attempts,
        notBefore,
        lastError,
      },
      equal: false,
      doubtful,
      again: notBefore,
      error,
    };
  }
}

/** The finding as the record keeps it, counted on if it is the same as before. */
function refusalAt(
  before: Refusal | undefined,
  sound: Sound,
  { error, copyFacts }: { readonly error: CodedError; readonly copyFacts: string | undefined },
  now: number,
): Refusal {
  const { metadata, fingerprint } = sound;
  const { code } = error;
  const { until } = error.fields;
  return {
    ...countedOn(before, { code, facts: factsOfRefusal(code, fingerprint, error.fields.tookTurn === true) }, now),
    listedFacts: listedFacts(metadata),
    ...defined({ revision: metadata.revision, copyFacts }),
    ...(typeof until === 'number' ? { until } : {}),
  };
}

/** Nothing failed, but an import has to wait until doubt has passed. */
class Waiting extends Error {
  readonly until: number;
  constructor(until: number) {
    super('waiting for doubt to pass');
    this.until = until;
  }
}

/** The content may not replace what this backup holds. */
class Unfit extends CodedError {}

/**
 * One attempt at one backup: what has been learnt and sent so far, so that a failure in the middle
 * loses none of it.
 */
class Attempt {
  readonly actions: BackupAction[] = [];
  /** Of the name and description that the copy is to have, or keeps until it is next written. */
  wantedDigest: string;
  /** Of those that a version before gave it. */
  readonly #formerDigest: string | undefined;
  readonly #given: DescriptiveMetadata;
  readonly #task: BackupTask;
  readonly #look: BackupLook;
  readonly #store: Store;
  readonly #calls: BackupCalls;
  /** Id of our copy, as soon as it is known. */
  id: string | undefined;
  revision: string | undefined;
  /** An old copy was left behind by a replacement. */
  leftBehind = false;
  replaced = false;
  /** The last write here that was answered, in this pass or an earlier one. */
  written: AnsweredWrite | undefined;
  /** Copies that stay beside the kept one: the service refuses their removal, or the content. */
  unremovable: readonly Unremovable[];
  /** What the copy holds, as far as it is known for certain. */
  held: HeldContent | undefined;
  /** The copies whose service refuses this content, as long as not all others have it. */
  replacing: Replacing | undefined;
  /** When to look again, though all is equal. */
  again: number | undefined;
  /** Places with our mark that hold no content: the recorded one first, the others by id. */
  #vacant: readonly VacantElement[] = [];
  /** The one of them that is to be brought back, as long as it has not been. */
  #bringingBack: VacantElement | undefined;
  /**
   * The kept copy has a key that its service does not give back, as far as a full read has shown.
   */
  #keyWithheld: boolean | undefined;
  /** The copy was equal, nobody here has written to it since, and now it is another. */
  #changedByOthers = false;

  constructor(task: BackupTask, look: BackupLook) {
    this.#task = task;
    this.#look = look;
    this.#store = look.store;
    this.#calls = backupCalls(task.runtime, look.store, { ...task, operation: look.state.operation });
    this.id = look.state.id;
    this.written = look.state.written;
    this.unremovable = look.state.unremovable ?? [];
    this.held = look.state.held;
    const { mark, naming, sound } = task;
    const { replacing } = look.state;
    this.replacing = replacing?.fingerprint === sound.fingerprint ? replacing : undefined;
    this.#given = descriptive(sound.metadata, mark, look.store, naming);
    this.wantedDigest = metadataDigestOf(look.store.asKept(this.#given, mark));
    const before = descriptiveBefore(sound.metadata, mark, look.store, naming);
    this.#formerDigest = before && metadataDigestOf(look.store.asKept(before, mark));
  }

  /**
   * Serial and dates of our copy as this look saw it, by its store's word; `undefined`: it saw
   * none.
   */
  get seenFacts(): string | undefined {
    const { known, marked = [] } = this.#look;
    const seen = known?.state === 'present' ? [known.value, ...marked] : marked;
    const copy = seen.find(({ id }) => id === this.id);
    return copy && listedFacts(copy);
  }

  get #searchedAt(): number {
    return searchBeganAt(this.#look, this.#task.beganAt);
  }

  /**
   * The doubt that had not passed when the search for copies began: what that has found does not
   * settle it.
   */
  get #openDoubt(): number | undefined {
    const { doubt } = this.#task;
    return doubt !== undefined && doubt > this.#searchedAt ? doubt : undefined;
  }

  summary(): Pick<BackupOutcome, 'actions' | 'searchedAt' | 'wrote' | 'doubtful'> {
    const { wrote, doubtful } = this.#calls;
    const searched = this.#look.marked === undefined ? {} : { searchedAt: this.#searchedAt };
    return { actions: this.actions, wrote, doubtful: doubtful || this.leftBehind, ...searched };
  }

  /** What the record keeps for this backup in fields of its own, whatever came of the pass. */
  kept(): KeptFields {
    const { written, unremovable, id, replacing } = this;
    const { runtime, timing } = this.#task;
    const now = runtime.now();
    const keyWithheld =
      this.#keyWithheld ?? (!this.#store.abilities.givesKeys || this.#look.state.keyWithheld === true);
    const { operation } = this.#calls;
    return {
      written,
      unremovable: unremovable.length > 0 ? unremovable : undefined,
      keyWithheld: keyWithheld || undefined,
      held: this.held?.id === id ? this.held : undefined,
      overwritten: noteOverwritten(this.#look.state.overwritten, this.#changedByOthers, now),
      replacing,
      operation: operation && withEnd(this.#store, operation, { from: now, timing }),
      vacant: this.#bringingBack && this.#vacantCopy(this.#bringingBack),
    };
  }

  #vacantCopy({ id, why }: VacantElement): VacantCopy {
    const before = this.#look.state.vacant;
    return { id, why, since: before?.id === id && before.why === why ? before.since : this.#task.beganAt };
  }

  /**
   * Whether the record says that this copy held just this content, and no write that nobody heard
   * the end of may have changed it.
   */
  #wasEqual(id: string): boolean {
    const { state } = this.#look;
    const { lastError, refusal, retainedAt } = state;
    const isSettled = [lastError, refusal, retainedAt, this.#task.doubt].every((each) => each === undefined);
    return isSettled && id === state.id && state.fingerprint === this.#task.sound.fingerprint;
  }

  /**
   * Whether what was thrown is no failure but a finding, which rests: what is there may not be
   * replaced by this, or the service refused a write. It is looked at again when something has
   * changed, and not by backoff.
   */
  isFinding(thrown: unknown): boolean {
    if (thrown instanceof Unfit) return true;
    if (thrown instanceof Running || thrown instanceof Waiting) return false;
    const { code } = asCodedError(thrown);
    return this.#calls.answeredWrite(thrown) && (code === 'store_content_refused' || heldCodes.has(code));
  }

  async run(): Promise<void> {
    await this.#awaitOperation();
    if (await this.#writtenOver()) return;
    const { order, unread } = await this.#choose();
    if (order.length === 0 && unread === undefined) {
      const brought = await this.#bringBack();
      if (brought !== undefined) return;
      this.id = undefined;
      this.#refuseUnfit();
      await this.#import('imported');
      return;
    }
    if (order.length === 0) throw unread;
    const made = await this.#makeOneEqual(order);
    if (made === 'replaced') return;
    this.#noteStaying(made);
    await this.#removeSurplus(made.holding.id, { ...made, unread });
    this.replacing = undefined;
    const described = made.metadata ?? made.holding.metadata ?? (await this.#calls.readMetadata(made.holding.id));
    const staying = this.unremovable.length > 0 || made.refusedIds.length > made.replacedIds.length;
    await this.#describe(described, made.holding.id).catch((thrown: unknown) => {
      if (asCodedError(thrown).code !== 'store_conflict') throw thrown;
      // Where names are unique, a copy of ours that stays beside this one may have the name, and
      // keeps it.
      if (staying) return;
      throw this.#surplusMayHaveName(made.holding.id) ?? this.#nameNotFree(made.holding.id, thrown) ?? thrown;
    });
    // The copy is equal, but whether it is the only one was to be found out and could not be.
    if (this.#look.markedError !== undefined) throw this.#look.markedError;
    if (unread !== undefined) throw unread;
    // Another copy has the content, but the one that everyone keeps does not: a person has to know
    // of it.
    if (made.braked !== undefined) throw made.braked;
    if (made.rewritten !== true) return;
    throw new Unfit('store_rewrites_content', `${made.holding.id} does not give back what was written to it, twice`, {
      fields: { store: this.#store.id, copy: made.holding.id },
    });
  }

  /**
   * While an operation of ours goes on there, nothing else is written. Its end counts as an
   * answered write of what was given. One that was seen is looked at anew: this look may have begun
   * before it.
   */
  async #awaitOperation(): Promise<void> {
    const { operation } = this.#calls;
    if (operation === undefined) return;
    const { runtime, timing } = this.#task;
    const seen = await seenOperation(this.#task, this.#store, operation);
    if (seen.state === 'running') {
      this.#calls.operation = seen.operation;
      throw new Waiting(seen.again);
    }
    const isOver = seen.state === 'over';
    // It stays written down until there is a search that began after its end: an older one does not
    // show what it has made.
    if (isOver && this.#look.markedError !== undefined) throw this.#look.markedError;
    this.#calls.operation = undefined;
    const now = runtime.now();
    const { fingerprint, metadataDigest = '' } = operation;
    const id = (isOver ? undefined : seen.id) ?? operation.id;
    // One that was not answered, and of which nobody can be asked, may not have been begun.
    const wasBegun = !isOver || operation.handle !== undefined;
    if (operation.kind !== 'delete' && id !== undefined && fingerprint !== undefined && wasBegun) {
      this.id = id;
      this.#noteAnswered({ id, at: isOver ? seen.at : now, fingerprint, metadataDigest });
    }
    // It has long been settled when this look began.
    if (isOver) return;
    // A copy that was made, and of which nobody knows the id, is found when listings show it.
    if (operation.kind === 'import' && id === undefined) this.leftBehind = true;
    const { listingLagMs, readSettlesMs } = this.#store.abilities;
    throw new Waiting(now + shownAfterMs(Math.max(listingLagMs, readSettlesMs), timing));
  }

  /**
   * What is known of the backup after a failure: its copy's id as it is now, the rest as it was.
   */
  stateAfterFailure(): BackupState {
    const { id: _id, notBefore: _not, lastError: _last, refusal: _refusal, ...known } = this.#look.state;
    const { aside: _aside, notAfter: _end, ...before } = known;
    const copy = this.id === undefined ? {} : { id: this.id, ...endOfCopy(this.#look) };
    return defined({ ...before, ...copy, ...this.kept() });
  }

  /**
   * Until the reads of this store have settled after a write that was answered, only an answer that
   * shows this write proves anything: what else a read shows may be from before it. Then nothing is
   * imported, forgotten, judged or written once more. But what the primary holds otherwise since
   * then is written at once to the copy. Answers whether that was all there is to do now.
   */
  async #writtenOver(): Promise<boolean> {
    const { written } = this;
    const until = this.#provenFrom();
    if (written === undefined || until === undefined) return false;
    const { known } = this.#look;
    const shown = known?.state === 'present' ? known.value.revision : undefined;
    if (shown !== undefined && shown === written.revision) return false;
    const { sound } = this.#task;
    // A leaf alone may not replace a chain, and which of them is there cannot be read now.
    if (written.fingerprint !== sound.fingerprint && sound.content.chain.length > 0) {
      this.#refuseUnfit();
      const { id, fingerprint, validFrom, selfSigned } = written;
      // What is there cannot be read now: what was written tells whether this may take its place.
      if (validFrom === undefined || selfSigned === undefined) throw new Waiting(until);
      await this.#refuseOver({ id, unreadable: true }, { id, fingerprint, validFrom, selfSigned });
      const metadata = await this.#reimport({ id });
      await this.#describe(metadata, written.id);
      return true;
    }
    const isDescribed = [this.wantedDigest, this.#formerDigest].includes(written.metadataDigest);
    if (written.fingerprint === sound.fingerprint && !isDescribed) {
      await this.#sendDescription(written.id);
      return true;
    }
    throw new Waiting(until);
  }

  /**
   * From when on a read of the copy that was written last proves what is there; `undefined`: it
   * does now.
   */
  #provenFrom(): number | undefined {
    const { written } = this;
    const { readSettlesMs } = this.#store.abilities;
    if (written === undefined || written.id !== this.id || readSettlesMs === 0) return undefined;
    const from = written.at + readSettlesMs + this.#task.timing.skewMs;
    return from > this.#task.beganAt ? from : undefined;
  }

  /**
   * Notes a write that was answered, or an operation that has ended: one more of those that may be
   * read back otherwise.
   */
  #noteAnswered(answered: AnsweredWrite): void {
    const { written: before } = this;
    const unlike = before?.fingerprint === answered.fingerprint ? before.unlike : undefined;
    this.written = { ...answered, ...defined({ unlike }) };
  }

  /** Notes a write of now: what was given, and what the answer says of the copy. */
  #noteWritten(id: string, metadata: CertificateMetadata | undefined, digest: string): void {
    const { sound } = this.#task;
    this.#noteAnswered({
      id,
      at: this.#task.runtime.now(),
      fingerprint: sound.fingerprint,
      metadataDigest: digest,
      validFrom: factsOf(sound.content).notBefore,
      selfSigned: isSelfSigned(sound.content.leaf),
      ...(metadata?.revision === undefined ? {} : { revision: metadata.revision }),
    });
  }

  /** Notes what a copy holds, as it was given or read. */
  #noteHeld(id: string, content: StoredCertificate['content'], fingerprint: string): void {
    this.held = {
      id,
      fingerprint,
      validFrom: factsOf(content).notBefore,
      selfSigned: isSelfSigned(content.leaf),
    };
  }

  /** Throws why what the primary holds may not take the place of what is there. */
  async #refuseOver(copy: CopyInTheWay, held = this.held): Promise<void> {
    const { over, sound } = this.#task;
    const read = async (id: string) => {
      const full = await this.#readOrUnreadable(id);
      return full === 'unreadable' || full === 'vacant' ? undefined : full;
    };
    const why = await problemOver(over, sound, copy, { held, read });
    if (why === undefined) return;
    throw new Unfit(why.code, why.message, { fields: { store: this.#store.id, copy: copy.id } });
  }

  /**
   * Notes a copy that is to give way. Where writes are scarce, the one that was refused took the
   * turn, and passes that each began with it would never have one for what comes after it.
   */
  #noteReplacing(copy: string, error: CodedError): void {
    if (!this.#mayReplace(error)) return;
    const copies = new Set([...(this.replacing?.copies ?? []), copy]);
    this.replacing = { fingerprint: this.#task.sound.fingerprint, copies: [...copies] };
  }

  /**
   * Throws what the service said of this content for this copy, where another one is about to take
   * its place.
   */
  #refuseReplaced(copy: string): void {
    if (this.replacing?.copies.includes(copy) !== true) return;
    const fields = { store: this.#store.id, copy };
    const refused = new Unfit('store_content_refused', `${copy} was refused this content, and is replaced`, { fields });
    // The word of the link may be another one since then.
    if (this.#mayReplace(refused)) throw refused;
  }

  /** Throws why this store would not take the content, if it says so beforehand. */
  #refuseUnfit(): void {
    const why = this.#store.refuses?.(this.#task.sound.content, this.#task.runtime.now());
    if (why !== undefined) throw new Unfit(why.code, why.message, { cause: why, fields: why.fields });
  }

  /**
   * The copies that are ours and live, in the order in which everyone keeps them: the smallest id
   * first. The order is by id alone: by use or by equality it would change between two looks, and
   * two deployments on one pair would remove each other's copies until none is left. Of what the
   * search shows the first that a read confirms is read here; `unread`: something that it shows is
   * not there by a read.
   */
  async #choose(): Promise<{ readonly order: readonly Candidate[]; readonly unread: CodedError | undefined }> {
    const { known, state, marked = [] } = this.#look;
    const { mark } = this.#task;
    const candidates: Candidate[] = marked.filter(({ id }) => id !== state.id).map(({ id }) => ({ id }));
    if (known?.state === 'present') {
      const metadata = known.value;
      if (metadata.mark !== undefined && !sameMark(metadata.mark, mark))
        throw this.#notOurs(metadata.id, metadata.mark);
      candidates.push({ id: metadata.id, holding: { id: metadata.id, metadata } });
    }
    if (known?.state === 'vacant' && known.mark !== undefined && !sameMark(known.mark, mark))
      throw this.#notOurs(state.id ?? '', known.mark);
    this.#vacant = this.#placesOfOurs();
    if (known?.state === 'unreadable') {
      if (known.error.code !== 'store_content_unreadable' || state.id === undefined) throw known.error;
      candidates.push({ id: state.id, holding: { id: state.id, unreadable: true } });
    }
    candidates.sort((a, b) => (a.id < b.id ? -1 : 1));
    const order: Candidate[] = [];
    let unread: CodedError | undefined;
    for (const { id, holding } of candidates) {
      // One that lives is enough; the others are read when they are needed.
      if (holding !== undefined || order.length > 0) {
        order.push({ id, ...(holding && { holding }) });
        continue;
      }
      try {
        const found = await this.#confirm(id);
        if (found !== undefined) order.push({ id, holding: found });
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code !== 'store_listed_unread') throw thrown;
        unread ??= error;
      }
    }
    const unclear = order.length === 0 && unread === undefined ? this.#ofUnclearMark() : undefined;
    return { order: unclear === undefined ? order : [{ id: unclear.id, holding: unclear }], unread };
  }

  #notOurs(copy: string, mark: FoundMark): CodedError {
    return new CodedError('store_copy_not_ours', `the copy ${copy} carries the mark of another certificate`, {
      fields: { store: this.#store.id, copy, mark: formatMark(mark) },
    });
  }

  /** What is vacant and ours, by its mark: the recorded one first. */
  #placesOfOurs(): readonly VacantElement[] {
    const { known, state, vacant = [] } = this.#look;
    const { mark } = this.#task;
    const recorded =
      known?.state === 'vacant' && state.id !== undefined && sameMark(known.mark, mark)
        ? [{ id: state.id, ...known }]
        : [];
    const others = vacant.filter((place) => place.id !== state.id && sameMark(place.mark, mark));
    return [...recorded, ...others.toSorted((a, b) => (a.id < b.id ? -1 : 1))];
  }

  /**
   * Brings back a place of ours that holds no content, and writes over it, where no copy lives; by
   * one import that may be repeated. Answers its id; `undefined` if there is none. A listing may be
   * older than a read: one that lives by now is looked at once more.
   */
  async #bringBack(): Promise<string | undefined> {
    const { state } = this.#look;
    for (const place of this.#vacant) {
      const now = place.id === state.id ? place : await this.#calls.vacancyOf(place.id);
      if (now === 'living') throw this.#listedUnread(place.id);
      if (now === undefined || !sameMark(now.mark, this.#task.mark)) continue;
      this.id = place.id;
      this.#bringingBack = { ...now, id: place.id };
      this.#refuseUnfit();
      // What was deleted could be had back as it was, and would be written over.
      if (now.why === 'deleted' && this.held?.id === place.id)
        await this.#refuseOver({ id: place.id, unreadable: true });
      await this.#import('brought-back', undefined, place.id);
      this.#bringingBack = undefined;
      return place.id;
    }
    return undefined;
  }

  /**
   * A place of ours that a replacement of this copy fills: one that has the very name that it is to
   * have, which nothing else could have then, though it was deleted; or one that is half made.
   * `undefined` if there is none.
   */
  async #placeOfReplacement(replaced: string): Promise<string | undefined> {
    const { mark } = this.#task;
    const { name } = this.#store.asKept(this.#givenInsteadOf(replaced), mark);
    const hasName = (place: VacantElement) => this.#store.abilities.uniqueNames && place.name === name;
    const halfMade = this.#vacant.filter(({ why }) => why === 'half-made');
    for (const { id, why } of new Set([...this.#vacant.filter(hasName), ...halfMade])) {
      const now = await this.#calls.vacancyOf(id);
      if (now === 'living') throw this.#listedUnread(id);
      if (now?.why === why && sameMark(now.mark, mark)) return id;
    }
    return undefined;
  }

  /**
   * A copy whose mark cannot be read may be ours, as the record of it may be lost. It is if it
   * holds this very leaf: then it is written anew, and described. One for the same domains with
   * another leaf may be, and only a person can say so: a second copy is not made beside it. Any
   * other is not ours to wait for.
   */
  #ofUnclearMark(): Holding | undefined {
    const facts = factsOf(this.#task.sound.content);
    const alike = (this.#look.unreadable ?? []).filter(
      ({ id, facts: theirs }) =>
        id !== this.#look.state.id && theirs?.domains.some((domain) => facts.domains.includes(domain)),
    );
    const [first] = alike;
    if (first === undefined) return undefined;
    const ours = alike.find((copy) => copy.facts?.serial === facts.serial && copy.facts?.issuer === facts.issuer);
    if (ours?.id === undefined) {
      const fields = { store: this.#store.id, copy: first.id, place: first.place };
      throw new CodedError(
        'store_copy_unclear',
        `a copy for the same domains may be of this certificate, and its mark cannot be read: ${first.error.message}`,
        { cause: first.error, fields },
      );
    }
    return { id: ours.id, unreadable: true };
  }

  #listedUnread(copy: string): CodedError {
    const { listingLagMs, readSettlesMs } = this.#store.abilities;
    const retryAfterMs = Math.max(listingLagMs, readSettlesMs) + this.#task.timing.skewMs;
    return new CodedError('store_listed_unread', `the copy ${copy} is listed, and a read does not find it`, {
      fields: { store: this.#store.id, copy, retryAfterMs },
    });
  }

  /**
   * Makes the first copy of the order equal that can be, and keeps that. One that the service does
   * not let us write stays as it is, beside the next one. Where that is because of the content a
   * new copy takes its place, if the ids there are nobody's business.
   */
  async #makeOneEqual(order: readonly Candidate[]): Promise<MadeEqual | 'replaced'> {
    const refused: { readonly id: string; readonly error: CodedError }[] = [];
    const start = this.#startOf(order);
    const passedOver = order.slice(0, start);
    for (const { id, holding: seen } of [...order.slice(start), ...passedOver]) {
      const holding = seen ?? (await this.#confirm(id));
      if (holding === undefined) continue;
      this.id ??= id;
      try {
        const content = await this.#makeContentEqual(holding);
        if (id !== this.#look.state.id) this.actions.unshift('adopted');
        this.id = id;
        const replacedIds = refused.filter(({ error }) => this.#mayReplace(error)).map((copy) => copy.id);
        const braked = refused.find(({ error }) => isBrakeCode(error.code))?.error;
        const tried = this.#triedOf(refused);
        const refusedIds = [...new Set([...refused, ...passedOver].map((copy) => copy.id))].filter(
          (each) => each !== id,
        );
        const staying = this.#stayingBeside(id, { refused, passedOver });
        return { holding, ...content, refusedIds, replacedIds, staying, braked, tried };
      } catch (thrown) {
        if (thrown instanceof Running) throw thrown;
        const tried = this.#triedOf(refused);
        if (tried !== undefined && isOwnLimit(asCodedError(thrown))) throw turnTakenBy(tried);
        if (!this.isFinding(thrown)) throw thrown;
        refused.push({ id, error: thrown as CodedError });
        this.#noteReplacing(id, thrown as CodedError);
      }
    }
    const [first] = refused as [{ readonly id: string; readonly error: CodedError }];
    try {
      if (!this.#mayReplace(first.error)) throw first.error;
      // The old copy is removed as surplus by a later look.
      await this.#import('replaced', first.id, await this.#placeOfReplacement(first.id));
      this.replacing = undefined;
    } catch (thrown) {
      // A finding rests, and is looked at anew as a whole.
      if (this.isFinding(thrown)) this.replacing = undefined;
      throw thrown;
    }
    return 'replaced';
  }

  /**
   * What the service said of the first of these copies that it was asked about: one that is to be
   * replaced is not asked about again.
   */
  #triedOf(refused: readonly { readonly error: CodedError }[]): CodedError | undefined {
    const isTried = (error: CodedError) => this.#calls.answeredWrite(error) && !this.#mayReplace(error);
    return refused.find(({ error }) => isTried(error))?.error;
  }

  /**
   * The copies before the kept one in the order that are neither equal nor replaced. What the brake
   * keeps is told by itself. One that was passed over was refused what the finding says, by a look
   * before.
   */
  #stayingBeside(
    kept: string,
    others: {
      readonly refused: readonly { readonly id: string; readonly error: CodedError }[];
      readonly passedOver: readonly Candidate[];
    },
  ): readonly StayingCopy[] {
    const { lastError } = this.#look.state;
    const now = others.refused
      .filter(({ error }) => !this.#mayReplace(error) && !isBrakeCode(error.code))
      .map(({ id, error }) => noteOf(id, recordedError(error, this.#task.beganAt)));
    const tried = new Set(others.refused.map(({ id }) => id));
    const before = others.passedOver.filter(({ id }) => lastError !== undefined && !tried.has(id));
    return [...now, ...before.map(({ id }) => noteOf(id, lastError as RecordedError))].filter(({ id }) => id < kept);
  }

  /**
   * With which copy of the order to begin: the first. Where the attempt at one that does not take
   * the content took the turn of the next one, with another at each look: else none would get the
   * content for as long as that lasts.
   */
  #startOf(order: readonly Candidate[]): number {
    const { refusal } = this.#look.state;
    return refusal !== undefined && tookTurn(refusal) ? refusal.looks % order.length : 0;
  }

  /**
   * Whether a copy that was refused may be replaced by one under another id: only because of the
   * content, and where nobody refers to ids.
   */
  #mayReplace({ code }: CodedError): boolean {
    return code === 'store_content_refused' && this.#task.mayReplace && !this.#store.abilities.idsAreReferredTo;
  }

  /**
   * What a direct read shows of a copy that the search has shown: a listing may lag. `undefined`
   * where it is not ours, or no longer. Throws where a read does not find it at all: then one of
   * the two is older than the other.
   */
  async #confirm(id: string): Promise<Holding | undefined> {
    const { mark } = this.#task;
    const full = await this.#readOrUnreadable(id);
    if (full === undefined) throw this.#listedUnread(id);
    if (full === 'vacant') return undefined;
    if (full !== 'unreadable')
      return sameMark(full.metadata.mark, mark) ? { id, metadata: full.metadata, full } : undefined;
    const metadata = await this.#calls.readMetadata(id);
    return sameMark(metadata?.mark, mark) ? { id, unreadable: true, ...(metadata && { metadata }) } : undefined;
  }

  /**
   * Writes the content if it differs. Answers what was said of the copy last, which the recorded
   * revision goes with, and whether a full read of this pass has shown it equal.
   */
  async #makeContentEqual(holding: Holding): Promise<ContentMadeEqual> {
    const seen = await this.#compare(holding);
    if (seen.differs) {
      this.#refuseUnfit();
      await this.#refuseOver({ ...holding, full: seen.full, unreadable: seen.unreadable ?? false });
      this.#refuseReplaced(holding.id);
      return { proven: false, metadata: await this.#reimport(holding) };
    }
    const metadata = seen.full?.metadata ?? holding.metadata;
    this.revision = metadata?.revision;
    const { content, fingerprint } = this.#task.sound;
    this.#noteHeld(holding.id, content, fingerprint);
    return { proven: seen.full !== undefined, metadata, ...(seen.rewritten && { rewritten: true }) };
  }

  /**
   * Writes name, description, tags and mark if they differ. A name or a mark as versions before
   * wrote them is renewed when the copy is written anyway, and not for itself: else an estate would
   * be written to as a whole. But where a mark lacks what the original came through, that is added:
   * circles are known by it.
   */
  async #describe(described: CertificateMetadata | undefined, id: string): Promise<void> {
    if (described === undefined) return;
    const { mark } = this.#task;
    const digest = metadataDigestOf(described);
    const isMarked = sameMark(described.mark, mark) && sameOrigins(described.mark, mark);
    const isWritten = this.actions.includes('reimported');
    const isOutdated = described.mark !== undefined && 'outdated' in described.mark;
    if (isMarked && digest === this.wantedDigest && !(isWritten && isOutdated)) return;
    if (isMarked && digest === this.#formerDigest && !isWritten) {
      this.wantedDigest = digest;
      return;
    }
    await this.#sendDescription(id);
    if (this.#wasEqual(id) && this.#look.state.metadataDigest === this.wantedDigest) this.#changedByOthers = true;
  }

  async #sendDescription(id: string): Promise<void> {
    const { sound, mark } = this.#task;
    const answer = await this.#orNameTaken(() =>
      this.#calls.send((signal) => this.#store.updateMetadata(id, this.#given, mark, { signal })),
    );
    this.revision = answer.metadata?.revision;
    this.#noteWritten(id, answer.metadata, this.wantedDigest);
    this.actions.push('described');
    if (answer.metadata !== undefined && factsDiffer(answer.metadata, sound)) throw this.#holdsOther(id);
  }

  /**
   * Whether the content differs. Metadata is enough where it already differs; only what looks equal
   * is read in full.
   */
  async #compare(holding: Holding): Promise<Comparison> {
    const { sound } = this.#task;
    if (holding.unreadable === true) return { differs: true, unreadable: true };
    const differs =
      holding.full === undefined && holding.metadata !== undefined && factsDiffer(holding.metadata, sound);
    if (differs && this.#wasEqual(holding.id)) this.#changedByOthers = true;
    // A leaf alone must not replace a copy that has a chain, and only a full read tells whether it
    // has one.
    if (differs && sound.content.chain.length > 0) return { differs };
    const reading = await this.#tryRead(holding);
    if (reading === 'unreadable') return { differs: true, unreadable: true };
    const { content } = reading;
    if (this.#equals(reading)) {
      this.#keyWithheld = keyAnswerOf(reading) === 'withheld';
      return { differs: false, full: reading };
    }
    if (this.#isRewritten(reading)) return { differs: false, rewritten: true, full: reading };
    this.#noteHeld(holding.id, content, fingerprintOf(content));
    // The same leaf in another shape may be the service's own doing.
    if (!content.leaf.raw.equals(sound.content.leaf.raw) && this.#wasEqual(holding.id)) this.#changedByOthers = true;
    if (this.#losesChain(content)) {
      this.revision = reading.metadata.revision;
      throw this.#chainMissing(holding.id);
    }
    return { differs: true, full: reading };
  }

  /** Whether this content has a chain, and would give way to a leaf alone of the same issuer. */
  #losesChain(there: StoredCertificate['content']): boolean {
    const { chain, leaf } = this.#task.sound.content;
    return chain.length === 0 && there.chain.length > 0 && there.leaf.issuer === leaf.issuer;
  }

  #chainMissing(copy: string): Unfit {
    return new Unfit(
      'certificate_chain_missing',
      'the primary holds a leaf without its chain, and the copy of the same issuer has one: the copy stays as it is',
      { fields: { store: this.#store.id, copy } },
    );
  }

  /**
   * Counts an answered write of this content that is read back as the same leaf in another shape.
   * Answers whether there were as many as are sent: the service makes something else of it, and
   * would be written to for ever, by each deployment that keeps copies here and under one id after
   * the other. Another leaf is no such thing, and is always mended.
   */
  #isRewritten(full: StoredCertificate): boolean {
    const { content, metadata } = full;
    const { sound } = this.#task;
    // A key that is lost is no shape of a chain, and is always mended.
    if (keyAnswerOf(full) === 'none') return false;
    if (!content.leaf.raw.equals(sound.content.leaf.raw)) return false;
    if (this.#isOfUnheardImport(full)) {
      const { id } = metadata;
      const given = { fingerprint: sound.fingerprint, metadataDigest: metadataDigestOf(metadata) };
      this.#noteAnswered({ id, at: this.#task.beganAt, ...given });
    }
    const { written } = this;
    if (written?.fingerprint !== sound.fingerprint) return false;
    const { unlike = 0 } = written;
    // Each write counts once, however often it is read.
    const times = written.counted === true ? unlike : unlike + 1;
    this.written = { ...written, unlike: times, counted: true };
    // Where each write makes a new copy, one says enough.
    if (times < (this.#store.abilities.reimportsInPlace ? writesReadBackOtherwise : 1)) return false;
    this.revision = metadata.revision;
    return true;
  }

  /**
   * Whether a copy was most likely made of this content by an import that nobody heard the end of:
   * a look in doubt has found it, and it has all of the chain and more. Where each write makes a
   * new copy, the next one would be of no other shape.
   */
  #isOfUnheardImport({ content, metadata }: StoredCertificate): boolean {
    const { doubt, sound } = this.#task;
    if (this.#store.abilities.reimportsInPlace || doubt === undefined) return false;
    if (metadata.id === this.#look.state.id || this.written?.fingerprint === sound.fingerprint) return false;
    return sound.content.chain.every(({ raw }) => content.chain.some((there) => there.raw.equals(raw)));
  }

  /** Replaces the content in place. Answers what is said of the copy then. */
  async #reimport(holding: Pick<Holding, 'id' | 'metadata'>): Promise<CertificateMetadata> {
    const { content } = this.#task.sound;
    const { id } = holding;
    if (!this.#store.abilities.reimportsInPlace)
      throw new Unfit('store_content_refused', `${this.#store.id} does not replace content under the same id`, {
        fields: { store: this.#store.id, copy: id },
      });
    try {
      // From here on nobody knows what is there, until there is an answer.
      if (this.held?.id === id) this.held = undefined;
      const answer = await this.#sendReimport(id);
      this.#noteHeld(id, content, this.#task.sound.fingerprint);
      const described = answer.metadata ?? holding.metadata;
      const digest = described === undefined ? this.#look.state.metadataDigest : metadataDigestOf(described);
      this.#noteWritten(id, answer.metadata, digest ?? '');
      const metadata = await this.#believe(answer);
      this.actions.push('reimported');
      return metadata;
    } catch (thrown) {
      if (asCodedError(thrown).code === 'store_gone' && id === this.id) this.id = undefined;
      throw thrown;
    }
  }

  /**
   * The turn that this certificate waited for is good for whichever copy of it the look has found.
   */
  #sendReimport(id: string): Promise<WriteAnswer> {
    const { mark, sound } = this.#task;
    this.#store.slots?.extend({ original: mark.certificate, copy: id });
    const about = { kind: 'reimport', id, ...this.#givenNow() } as const;
    return this.#calls.begin(about, (signal) => this.#store.reimport(id, sound.content, { signal }));
  }

  async #import(action: 'imported' | 'replaced' | 'brought-back', replaces?: string, into?: string): Promise<void> {
    const { mark, naming, sound } = this.#task;
    const { known, state } = this.#look;
    if (this.#look.markedError !== undefined) throw this.#look.markedError;
    if (known?.state === 'absent' && this.#wasEqual(state.id ?? '')) this.#changedByOthers = true;
    const doubt = this.#look.marked === undefined ? this.#task.doubt : this.#openDoubt;
    if (doubt !== undefined) throw new Waiting(doubt);
    const replacement = replaces === undefined ? '' : this.#replacementOf(replaces);
    const { store, certificate } = mark;
    const token = sha256(`${formatMark({ store, certificate })}${replacement}`);
    const metadata = replaces === undefined ? this.#given : this.#givenInsteadOf(replaces);
    const exactName = naming === 'exact' && replaces === undefined;
    const place = into === undefined ? { token, ...(exactName && { exactName }) } : { into };
    const entry = { content: sound.content, metadata, mark, ...place };
    const about = { kind: 'import', ...(into !== undefined && { id: into }), ...this.#givenNow() } as const;
    const answer = await this.#orNameTaken(() =>
      this.#beginImport(about, replaces, (signal) => this.#store.import(entry, { signal })),
    );
    // Known from here on, whatever comes of the rest: a copy that nobody remembers would be made
    // twice.
    this.id = answer.id;
    this.#noteHeld(answer.id, sound.content, sound.fingerprint);
    this.#noteWritten(answer.id, answer.metadata, metadataDigestOf(answer.metadata ?? metadata));
    this.replaced = true;
    await this.#believe(answer);
    this.actions.push(action);
  }

  /** What a write gives, as an operation says it. */
  #givenNow(): Pick<Operation, 'fingerprint' | 'metadataDigest'> {
    return { fingerprint: this.#task.sound.fingerprint, metadataDigest: this.wantedDigest };
  }

  /**
   * An import with which the service goes on has an id already, if it says one. What it replaces is
   * left behind either way.
   */
  async #beginImport(
    about: Omit<Operation, 'at' | 'handle' | 'until'>,
    replaces: string | undefined,
    write: (signal: AbortSignal) => Promise<WriteAnswer>,
  ): Promise<WriteAnswer> {
    const isReplacement = replaces !== undefined;
    try {
      const answer = await this.#calls.begin(about, write);
      if (isReplacement) this.leftBehind = true;
      return answer;
    } catch (thrown) {
      if (thrown instanceof Running) {
        this.id = thrown.operation.id;
        if (isReplacement) this.leftBehind = true;
      }
      throw thrown;
    }
  }

  /**
   * That a copy which has the content waits for its name. No living copy of ours has that: most
   * likely one that was removed, whose place the service keeps for days. To ask again and again,
   * and in doubt each time, would free nothing. `undefined`: there may be a living one, as not all
   * were looked for in this pass, or there is doubt.
   */
  #nameNotFree(copy: string, cause: unknown): Unfit | undefined {
    if (this.#look.marked === undefined || this.#openDoubt !== undefined) return undefined;
    const { name } = this.#given;
    const message = `${copy} has the content, and keeps another name: ${name} is taken in ${this.#store.id}, by nothing of ours that lives`;
    const remedy =
      'Wait until the service gives up the place of what was deleted, or purge that there: the name follows.';
    return new Unfit('store_name_taken', message, { cause, fields: { store: this.#store.id, name, copy, remedy } });
  }

  /**
   * Sends a write that gives a copy its name. Where readers look for that name (`exact`) and
   * something else has it, that is a finding for a person, and never a reason to take the name:
   * what has it is not ours, or is kept by another link or another deployment.
   */
  async #orNameTaken<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (this.#task.naming !== 'exact' || error.code !== 'store_conflict') throw thrown;
      const { certificate } = error.fields;
      const holder = typeof certificate === 'string' ? await this.#calls.readMetadata(certificate) : undefined;
      // One of ours from a write that nobody heard the end of is adopted by the look that doubt
      // brings.
      const isClear = holder !== undefined || this.#look.marked !== undefined;
      if (!isClear || sameMark(holder?.mark, this.#task.mark)) throw thrown;
      const { name } = this.#given;
      const whose = holder === undefined ? 'something else' : wordsOfHolder(holder);
      const remedy =
        holder?.mark === undefined
          ? 'Rename or remove it there, or take naming: exact off the link.'
          : 'Only one of the two may name copies exactly there: take the certificate out of the filter of one link, or naming: exact off it.';
      const fields = { store: this.#store.id, name, ...(holder && { holder: holder.id }), remedy };
      throw new Unfit('store_name_taken', `the name ${name} is taken in ${this.#store.id}, by ${whose}`, {
        cause: thrown,
        fields,
      });
    }
  }

  /**
   * Tells a replacement from others: it is made once for each content, and once more for each copy
   * of ours that an earlier attempt left and that could not be taken over, so that neither is in
   * its way.
   */
  #replacementOf(replaced: string): string {
    const left = (this.#look.marked ?? []).map(({ id }) => id).filter((id) => id !== replaced);
    return ` instead of ${[replaced, ...left.toSorted()].join(' and ')} as ${this.#task.sound.fingerprint}`;
  }

  /**
   * What a replacement is given. Where names are unique the copy to be replaced still has its name;
   * a later look gives the name over.
   */
  #givenInsteadOf(replaced: string): DescriptiveMetadata {
    return descriptiveReplacement(this.#given, this.#replacementOf(replaced), this.#task.mark, this.#store);
  }

  /**
   * Compares what the service says it now holds, from its answer, or from a read where the answer
   * says too little. Answers that.
   */
  async #believe(answer: WriteAnswer): Promise<CertificateMetadata> {
    const { sound } = this.#task;
    const { metadata } = answer;
    this.revision = metadata?.revision;
    if (metadata !== undefined && (metadata.serial !== undefined || metadata.notAfter !== undefined)) {
      if (factsDiffer(metadata, sound)) throw this.#holdsOther(answer.id);
      return metadata;
    }
    const { readSettlesMs } = this.#store.abilities;
    if (readSettlesMs > 0) throw new Waiting(this.#task.runtime.now() + readSettlesMs + this.#task.timing.skewMs);
    const full = await this.#calls.read(answer.id);
    if (full === undefined || !this.#isAsGiven(full)) throw this.#holdsOther(answer.id);
    this.revision = full.metadata.revision;
    return full.metadata;
  }

  /**
   * Writes down which copies stay beside the kept one though they come before it. A look that knows
   * of none does not search for any: it would take the kept one for the only one, and replace it
   * where it does not take the next content, beside one that somebody holds.
   */
  #noteStaying({ holding: { id: kept }, staying }: MadeEqual): void {
    const others = this.unremovable.filter(({ id }) => id !== kept && !staying.some((copy) => copy.id === id));
    this.unremovable = [...others, ...staying.map((copy) => this.#noteUnremovable(copy))];
  }

  /** What the record keeps of a copy that stays beside the kept one; it is looked at again. */
  #noteUnremovable(copy: StayingCopy): Unremovable {
    const { runtime, timing } = this.#task;
    const now = runtime.now();
    const again = now + timing.heldLooksMs;
    this.#lookAgain(again);
    return { ...copy, since: this.unremovable.find(({ id }) => id === copy.id)?.since ?? now, again };
  }

  /**
   * Removes the copies that come after the kept one, and those that it replaces, after the kept one
   * is proven by a full read of this pass. Not while there is doubt: a removal of the kept one may
   * be on its way, from when another one was kept. The look that ends the doubt does it. And not
   * while something that is listed is not there by a read: it may be the one that others keep.
   */
  async #removeSurplus(
    kept: string,
    found: Pick<MadeEqual, 'proven' | 'refusedIds' | 'replacedIds' | 'tried'> & { readonly unread: unknown },
  ): Promise<void> {
    const { beganAt, timing, mark, runtime } = this.#task;
    const listed = (this.#look.marked ?? []).filter(({ id }) => id > kept || found.replacedIds.includes(id));
    const surplus = listed.filter(({ id }) => id !== kept);
    const halfMade = this.#vacant.filter(({ id, why }) => id !== kept && why !== 'deleted');
    const others = new Set([...(this.#look.marked ?? []), ...halfMade].map(({ id }) => id));
    if (this.#look.marked !== undefined) this.unremovable = this.unremovable.filter(({ id }) => others.has(id));
    if (surplus.length + halfMade.length === 0 || found.unread !== undefined || this.#openDoubt !== undefined) return;
    if (!found.proven) await this.#prove(kept);
    const { givesWay, whyNot } = await this.#givingWay(surplus);
    const stay = new Set(this.unremovable.filter(({ again }) => again > beganAt).map(({ id }) => id));
    const goes = ({ id }: { readonly id: string }) => !stay.has(id);
    const copies = await this.#calls.removeMarked(givesWay.filter(goes), mark);
    const places = await this.#calls.removeVacant(halfMade.filter(goes), mark);
    const removed = copies.removed + places.removed;
    const refused = [...copies.refused, ...places.refused];
    if (removed > 0) this.actions.push('surplus-removed');
    // A removal that was answered may still be heard of late, where others keep copies here too.
    if (removed > 0) this.#lookAgain(runtime.now() + settledMs(this.#store, timing));
    const told = refused.map(({ id, error }) => this.#noteUnremovable(noteOf(id, recordedError(error, beganAt))));
    this.unremovable = [...this.unremovable.filter(({ id }) => stay.has(id)), ...told];
    let failure: unknown;
    const { fingerprint } = this.#task.sound;
    // Those that somebody holds come last: where writes are scarce the attempt takes the turn of
    // one that could be written.
    const writableFirst = this.unremovable.toSorted(
      (a, b) => Number(a.code === 'store_held') - Number(b.code === 'store_held'),
    );
    for (const { id, again: next, notTaken } of writableFirst) {
      this.#lookAgain(next);
      // Asked just now, or about this very content before: passes that each began with it would
      // never have a turn for what comes after it.
      if (found.refusedIds.includes(id) || notTaken === fingerprint) continue;
      // One that cannot be kept equal now keeps no other from it.
      await this.#keepEqual(id).catch((thrown: unknown) => {
        // The attempt at a copy before it in the order took its turn.
        const isLeft = found.tried !== undefined && isOwnLimit(asCodedError(thrown));
        failure ??= isLeft ? turnTakenBy(found.tried) : thrown;
      });
    }
    if (failure !== undefined) throw failure;
    if (whyNot !== undefined) throw whyNot;
  }

  /**
   * Those of the surplus copies whose place what the primary holds may take: to remove one is to
   * replace it. `whyNot`: why the first of the others does not give way.
   */
  async #givingWay(
    surplus: readonly CertificateMetadata[],
  ): Promise<{ readonly givesWay: readonly CertificateMetadata[]; readonly whyNot: Unfit | undefined }> {
    const givesWay: CertificateMetadata[] = [];
    let whyNot: Unfit | undefined;
    for (const metadata of surplus) {
      try {
        const { id } = metadata;
        // Only a full read tells whether it has a chain.
        const full = this.#task.sound.content.chain.length === 0 ? await this.#readOrUnreadable(id) : undefined;
        if (typeof full === 'object' && this.#losesChain(full.content)) throw this.#chainMissing(id);
        await this.#refuseOver({ id, metadata, removed: true });
        givesWay.push(metadata);
      } catch (thrown) {
        if (!(thrown instanceof Unfit)) throw thrown;
        whyNot ??= thrown;
      }
    }
    return { givesWay, whyNot };
  }

  /**
   * What has to come first, where a name is taken that a surplus copy of ours may have: the end of
   * the search for such copies, or of the doubt until which none is removed. That is no news of a
   * conflict, and must not begin doubt anew: it would be younger than each search that outlasts a
   * look, and nothing would be removed ever. `undefined`: it is news.
   */
  #surplusMayHaveName(kept: string): unknown {
    if (this.#task.doubt === undefined) return undefined;
    const { marked, markedError } = this.#look;
    if (markedError !== undefined) return markedError;
    const isThere = marked?.some(({ id }) => id !== kept) === true;
    const doubt = this.#openDoubt;
    return isThere && doubt !== undefined ? new Waiting(doubt) : undefined;
  }

  #lookAgain(at: number): void {
    this.again = Math.min(this.again ?? at, at);
  }

  /**
   * A copy that cannot be removed serves somebody: it gets what the kept one has. That it does not
   * take it is noted: its removal tells of it already.
   */
  async #keepEqual(id: string): Promise<void> {
    if (!this.#store.abilities.reimportsInPlace) return;
    try {
      const full = await this.#readOrUnreadable(id);
      if (full === undefined || full === 'vacant') return;
      // The same leaf in another shape: what the service makes of content is counted at the kept
      // copy.
      const isEqual = full !== 'unreadable' && (this.#equals(full) || this.#isSameLeafWithKey(full));
      if (isEqual) return;
      // The kept copy may have a leaf alone, where somebody had damaged it: this one serves with
      // its chain.
      if (full !== 'unreadable' && this.#losesChain(full.content)) return;
      await this.#refuseOver(full === 'unreadable' ? { id, unreadable: true } : { id, full });
      await this.#sendReimport(id);
    } catch (thrown) {
      if (!this.isFinding(thrown)) throw thrown;
      if (!this.#calls.answeredWrite(thrown)) return;
      const notTaken = this.#task.sound.fingerprint;
      this.unremovable = this.unremovable.map((copy) => (copy.id === id ? { ...copy, notTaken } : copy));
    }
  }

  /**
   * A full read; `unreadable` where something is there that is no certificate, and is written anew.
   */
  async #readOrUnreadable(id: string): Promise<StoredCertificate | 'unreadable' | 'vacant' | undefined> {
    try {
      return await this.#calls.read(id);
    } catch (thrown) {
      if (asCodedError(thrown).code === 'store_copy_vacant') return 'vacant';
      if (asCodedError(thrown).code === 'store_content_unreadable') return 'unreadable';
      throw thrown;
    }
  }

  /** Throws unless a full read shows the kept copy equal, or could not yet. */
  async #prove(kept: string): Promise<void> {
    const settled = this.#provenFromNow(kept);
    if (settled !== undefined) throw new Waiting(settled);
    const full = await this.#calls.read(kept);
    if (full === undefined || !this.#isAsGiven(full)) throw this.#holdsOther(kept);
  }

  /**
   * Whether a full read shows the primary's content, or what the service has been seen to make of
   * it.
   */
  #isAsGiven(full: StoredCertificate): boolean {
    return this.#equals(full) || this.#isRewritten(full);
  }

  /**
   * From when on reads of this copy prove anything, if it was just written to at a store whose
   * reads lag.
   */
  #provenFromNow(id: string): number | undefined {
    const { readSettlesMs } = this.#store.abilities;
    if (readSettlesMs === 0 || this.written?.id !== id || this.written.at < this.#task.beganAt) return undefined;
    return this.written.at + readSettlesMs + this.#task.timing.skewMs;
  }

  async #tryRead(holding: Holding): Promise<StoredCertificate | 'unreadable'> {
    if (holding.full !== undefined) return holding.full;
    const unproven = holding.id === this.id ? this.#provenFrom() : undefined;
    try {
      const full = await this.#calls.read(holding.id);
      // One read may lag behind another.
      if (unproven !== undefined && full?.metadata.revision !== this.written?.revision) throw new Waiting(unproven);
      if (full !== undefined) return full;
    } catch (thrown) {
      const { code } = asCodedError(thrown);
      // Metadata can be read and content cannot, again and again: to write it anew is harmless, and
      // the only way out. But not by a leaf alone: what cannot be read may have a chain.
      const hopeless =
        code === 'store_unavailable' &&
        this.#look.state.attempts >= unreadableAfterAttempts &&
        this.#store.abilities.reimportsInPlace &&
        this.#task.sound.content.chain.length > 0;
      if (code === 'store_content_unreadable' || hopeless) return 'unreadable';
      throw thrown;
    }
    if (holding.id === this.id) this.id = undefined;
    throw new CodedError('store_gone', `the copy ${holding.id} vanished while it was looked at`, {
      fields: { store: this.#store.id, copy: holding.id },
    });
  }

  /**
   * Whether what was read in full equals what the primary holds. No key equals none: what the
   * primary holds has one.
   */
  #equals(full: StoredCertificate): boolean {
    return holdsSame(this.#store, this.#task.sound.content, full);
  }

  #isSameLeafWithKey(full: StoredCertificate): boolean {
    return keyAnswerOf(full) !== 'none' && full.content.leaf.raw.equals(this.#task.sound.content.leaf.raw);
  }

  #holdsOther(id: string): CodedError {
    return new CodedError('store_holds_other', `the copy ${id} is not what was written to it`, {
      fields: { store: this.#store.id, copy: id },
    });
  }
}

/**
 * The finding of a copy that does not take the content, where the attempt at it took the turn of
 * the next one: that is told, and the next look begins with another. Else each turn would be
 * another look for ever, and nobody would hear why.
 */
function turnTakenBy({ code, message, cause, fields }: CodedError): Unfit {
  return new Unfit(code, message, { cause, fields: { ...fields, tookTurn: true } });
}

const noteOf = (id: string, { code, message, remedy }: RecordedError): StayingCopy => ({
  id,
  code,
  message,
  ...defined({ remedy }),
});

/** Who keeps a certificate that has a name which a copy is to have. */
function wordsOfHolder({ id, mark, keptBy }: CertificateMetadata): string {
  if (mark === undefined) return `${id}, which ${keptBy === undefined ? 'is not ours' : `${visible(keptBy)} keeps`}`;
  const of = isWhole(mark) ? `${mark.certificate} of ${mark.store}` : 'another certificate';
  return `${id}, the copy of ${of}: another link, or another deployment, copies into it too`;
}

/**
 * Whether a store's metadata contradicts the primary's content. What the store does not say does
 * not differ.
 */
function factsDiffer(metadata: CertificateMetadata, sound: Sound): boolean {
  const facts = factsOf(sound.content);
  return (
    (metadata.serial !== undefined && metadata.serial !== facts.serial) ||
    (metadata.notBefore !== undefined && metadata.notBefore !== facts.notBefore) ||
    (metadata.notAfter !== undefined && metadata.notAfter !== facts.notAfter)
  );
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
