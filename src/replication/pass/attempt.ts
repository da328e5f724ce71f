import { isSelfSigned } from '../../certificate/chain.ts';
import { factsOf } from '../../certificate/facts.ts';
import { metadataDigestOf } from '../../certificate/fingerprint.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import type {
  AnsweredWrite,
  BackupState,
  HeldContent,
  RecordedError,
  Replacing,
  Unremovable,
  VacantCopy,
} from '../../records/replication-record.ts';
import type {
  CertificateMetadata,
  DescriptiveMetadata,
  Store,
  StoredCertificate,
  VacantElement,
} from '../../store/store.ts';
import { descriptive, descriptiveBefore } from '../copy-name.ts';
import { listedFacts } from '../link.ts';
import { heldCodes } from '../refusal.ts';
import { type BackupCalls, backupCalls } from './backup-calls.ts';
import type { BackupAction, BackupOutcome, BackupTask } from './backup-outcome.ts';
import { type BackupLook, endOfCopy, searchBeganAt } from './look.ts';
import { Running, withEnd } from './operations.ts';
import { noteOverwritten } from './overwritten.ts';

/** A copy that stays beside the kept one as it is, and what the service said of it. */
export type StayingCopy = Pick<Unremovable, 'id' | 'code' | 'message' | 'remedy'>;

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

/** Nothing failed, but an import has to wait until doubt has passed. */
export class Waiting extends Error {
  readonly until: number;
  constructor(until: number) {
    super('waiting for doubt to pass');
    this.until = until;
  }
}

/** The content may not replace what this backup holds. */
export class Unfit extends CodedError {}

/** What a record notes of a copy that was refused. */
export const noteOf = (id: string, { code, message, remedy }: RecordedError): StayingCopy => ({
  id,
  code,
  message,
  ...defined({ remedy }),
});

/**
 * One attempt at one backup: what has been learnt and sent so far, so that a failure in the middle
 * loses none of it.
 */
export class Attempt {
  readonly actions: BackupAction[] = [];
  /** Of the name and description that the copy is to have, or keeps until it is next written. */
  wantedDigest: string;
  /** Of those that a version before gave it. */
  readonly formerDigest: string | undefined;
  readonly given: DescriptiveMetadata;
  readonly task: BackupTask;
  readonly look: BackupLook;
  readonly store: Store;
  readonly calls: BackupCalls;
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
  vacant: readonly VacantElement[] = [];
  /** The one of them that is to be brought back, as long as it has not been. */
  bringingBack: VacantElement | undefined;
  /**
   * The kept copy has a key that its service does not give back, as far as a full read has shown.
   */
  keyWithheld: boolean | undefined;
  /** The copy was equal, nobody here has written to it since, and now it is another. */
  changedByOthers = false;

  constructor(task: BackupTask, look: BackupLook) {
    this.task = task;
    this.look = look;
    this.store = look.store;
    this.calls = backupCalls(task.runtime, look.store, { ...task, operation: look.state.operation });
    this.id = look.state.id;
    this.written = look.state.written;
    this.unremovable = look.state.unremovable ?? [];
    this.held = look.state.held;
    const { mark, naming, sound } = task;
    const { replacing } = look.state;
    this.replacing = replacing?.fingerprint === sound.fingerprint ? replacing : undefined;
    this.given = descriptive(sound.metadata, mark, look.store, naming);
    this.wantedDigest = metadataDigestOf(look.store.asKept(this.given, mark));
    const before = descriptiveBefore(sound.metadata, mark, look.store, naming);
    this.formerDigest = before && metadataDigestOf(look.store.asKept(before, mark));
  }

  /**
   * Serial and dates of our copy as this look saw it, by its store's word; `undefined`: it saw
   * none.
   */
  get seenFacts(): string | undefined {
    const { known, marked = [] } = this.look;
    const seen = known?.state === 'present' ? [known.value, ...marked] : marked;
    const copy = seen.find(({ id }) => id === this.id);
    return copy && listedFacts(copy);
  }

  /** When the search for copies began. */
  get searchedAt(): number {
    return searchBeganAt(this.look, this.task.beganAt);
  }

  /**
   * The doubt that had not passed when the search for copies began: what that has found does not
   * settle it.
   */
  get openDoubt(): number | undefined {
    const { doubt } = this.task;
    return doubt !== undefined && doubt > this.searchedAt ? doubt : undefined;
  }

  /** What the pass did here, for its outcome. */
  summary(): Pick<BackupOutcome, 'actions' | 'searchedAt' | 'wrote' | 'doubtful'> {
    const { wrote, doubtful } = this.calls;
    const searched = this.look.marked === undefined ? {} : { searchedAt: this.searchedAt };
    return { actions: this.actions, wrote, doubtful: doubtful || this.leftBehind, ...searched };
  }

  /** What the record keeps for this backup in fields of its own, whatever came of the pass. */
  kept(): KeptFields {
    const { written, unremovable, id, replacing } = this;
    const { runtime, timing } = this.task;
    const now = runtime.now();
    const keyWithheld = this.keyWithheld ?? (!this.store.abilities.givesKeys || this.look.state.keyWithheld === true);
    const { operation } = this.calls;
    return {
      written,
      unremovable: unremovable.length > 0 ? unremovable : undefined,
      keyWithheld: keyWithheld || undefined,
      held: this.held?.id === id ? this.held : undefined,
      overwritten: noteOverwritten(this.look.state.overwritten, this.changedByOthers, now),
      replacing,
      operation: operation && withEnd(this.store, operation, { from: now, timing }),
      vacant: this.bringingBack && this.#vacantCopy(this.bringingBack),
    };
  }

  #vacantCopy({ id, why }: VacantElement): VacantCopy {
    const before = this.look.state.vacant;
    return { id, why, since: before?.id === id && before.why === why ? before.since : this.task.beganAt };
  }

  /**
   * Whether the record says that this copy held just this content, and no write that nobody heard
   * the end of may have changed it.
   */
  wasEqual(id: string): boolean {
    const { state } = this.look;
    const { lastError, refusal, retainedAt } = state;
    const isSettled = [lastError, refusal, retainedAt, this.task.doubt].every((each) => each === undefined);
    return isSettled && id === state.id && state.fingerprint === this.task.sound.fingerprint;
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
    return this.calls.answeredWrite(thrown) && (code === 'store_content_refused' || heldCodes.has(code));
  }

  /**
   * Whether a copy that was refused may be replaced by one under another id: only because of the
   * content, and where nobody refers to ids.
   */
  mayReplace({ code }: CodedError): boolean {
    return code === 'store_content_refused' && this.task.mayReplace && !this.store.abilities.idsAreReferredTo;
  }

  /**
   * What is known of the backup after a failure: its copy's id as it is now, the rest as it was.
   */
  stateAfterFailure(): BackupState {
    const { id: _id, notBefore: _not, lastError: _last, refusal: _refusal, ...known } = this.look.state;
    const { aside: _aside, notAfter: _end, ...before } = known;
    const copy = this.id === undefined ? {} : { id: this.id, ...endOfCopy(this.look) };
    return defined({ ...before, ...copy, ...this.kept() });
  }

  /**
   * From when on a read of the copy that was written last proves what is there; `undefined`: it
   * does now.
   */
  provenFrom(): number | undefined {
    const { written } = this;
    const { readSettlesMs } = this.store.abilities;
    if (written === undefined || written.id !== this.id || readSettlesMs === 0) return undefined;
    const from = written.at + readSettlesMs + this.task.timing.skewMs;
    return from > this.task.beganAt ? from : undefined;
  }

  /**
   * From when on reads of this copy prove anything, if it was just written to at a store whose
   * reads lag.
   */
  provenFromNow(id: string): number | undefined {
    const { readSettlesMs } = this.store.abilities;
    if (readSettlesMs === 0 || this.written?.id !== id || this.written.at < this.task.beganAt) return undefined;
    return this.written.at + readSettlesMs + this.task.timing.skewMs;
  }

  /**
   * Notes a write that was answered, or an operation that has ended: one more of those that may be
   * read back otherwise.
   */
  noteAnswered(answered: AnsweredWrite): void {
    const { written: before } = this;
    const unlike = before?.fingerprint === answered.fingerprint ? before.unlike : undefined;
    this.written = { ...answered, ...defined({ unlike }) };
  }

  /** Notes a write of now: what was given, and what the answer says of the copy. */
  noteWritten(id: string, metadata: CertificateMetadata | undefined, digest: string): void {
    const { sound } = this.task;
    this.noteAnswered({
      id,
      at: this.task.runtime.now(),
      fingerprint: sound.fingerprint,
      metadataDigest: digest,
      validFrom: factsOf(sound.content).notBefore,
      selfSigned: isSelfSigned(sound.content.leaf),
      ...(metadata?.revision === undefined ? {} : { revision: metadata.revision }),
    });
  }

  /** Notes what a copy holds, as it was given or read. */
  noteHeld(id: string, content: StoredCertificate['content'], fingerprint: string): void {
    this.held = {
      id,
      fingerprint,
      validFrom: factsOf(content).notBefore,
      selfSigned: isSelfSigned(content.leaf),
    };
  }

  /**
   * Notes a copy that is to give way. Where writes are scarce, the one that was refused took the
   * turn, and passes that each began with it would never have one for what comes after it.
   */
  noteReplacing(copy: string, error: CodedError): void {
    if (!this.mayReplace(error)) return;
    const copies = new Set([...(this.replacing?.copies ?? []), copy]);
    this.replacing = { fingerprint: this.task.sound.fingerprint, copies: [...copies] };
  }

  /** What the record keeps of a copy that stays beside the kept one; it is looked at again. */
  noteUnremovable(copy: StayingCopy): Unremovable {
    const { runtime, timing } = this.task;
    const now = runtime.now();
    const again = now + timing.heldLooksMs;
    this.lookAgain(again);
    return { ...copy, since: this.unremovable.find(({ id }) => id === copy.id)?.since ?? now, again };
  }

  /** Has this backup looked at again at a moment (epoch milliseconds), or sooner. */
  lookAgain(at: number): void {
    this.again = Math.min(this.again ?? at, at);
  }
}
