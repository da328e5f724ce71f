import { createHash } from 'node:crypto';
import { factsOf } from '../certificate/facts.ts';
import { fingerprintOf, metadataDigestOf } from '../certificate/fingerprint.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { type BackupState, recordedError } from '../records/replication-record.ts';
import type { Runtime } from '../runtime.ts';
import { formatMark, type Mark, sameMark } from '../store/mark.ts';
import type {
  CertificateMetadata,
  DescriptiveMetadata,
  Store,
  StoredCertificate,
  WriteAnswer,
} from '../store/store.ts';
import { type BackupCalls, backupCalls } from './backup-calls.ts';
import type { Sound } from './judge.ts';
import type { KeysRead } from './keys-read.ts';
import type { BackupLook } from './look.ts';
import { backoffMs, type Timing } from './timing.ts';

/** What a pass did at one backup, in the order in which it did it. */
export type BackupAction =
  | 'adopted'
  | 'imported'
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
  /** All copies with our mark were looked for, and found. */
  readonly searched: boolean;
  /** A write was sent (a delete is one), whatever came of it. */
  readonly wrote: boolean;
  /** A write got no answer, or left an old copy behind: look again by mark when it is settled. */
  readonly doubtful: boolean;
  /** When to look again; absent if there is nothing more to do. */
  readonly again?: number;
  /** What failed, in this pass. */
  readonly error?: CodedError;
  /** Set if the content itself may not replace what is there. */
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
  /** The record's doubt, as the claim saw it. */
  readonly doubt: number | undefined;
  readonly mark: Mark;
  readonly sound: Sound;
  readonly keys: KeysRead;
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

/** After so many failed attempts to read a copy in full, it is written anew. */
const unreadableAfterAttempts = 3;

/**
 * Makes one backup equal to what the primary holds: the write step of the protocol. Never throws: what fails is in the outcome,
 * with its own attempts and backoff, so that one backup neither holds up nor repeats another.
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
    const state: BackupState = {
      store: look.store.id,
      attempts: 0,
      fingerprint: sound.fingerprint,
      metadataDigest: attempt.wantedDigest,
      ...(id === undefined ? {} : { id }),
      ...(revision === undefined ? {} : { revision }),
      ...(replicatedAt === undefined ? {} : { replicatedAt }),
    };
    return { ...attempt.summary(), state, equal: true };
  } catch (thrown) {
    const error = asCodedError(thrown);
    const state = attempt.stateAfterFailure();
    if (thrown instanceof Waiting) return { ...attempt.summary(), state, equal: false, again: thrown.until };
    const now = runtime.now();
    const lastError = recordedError(error, now);
    if (thrown instanceof Unfit) {
      // The copy was read, and stays: reconcile asks again when it is no longer this one.
      const { revision } = attempt;
      const kept = { ...state, lastError, ...(revision === undefined ? {} : { revision }) };
      return { ...attempt.summary(), state: kept, equal: false, error, refused: true };
    }
    const attempts = look.state.attempts + 1;
    const notBefore = now + backoffMs(attempts, runtime.random, timing, error.retryAfterMs);
    const doubtful = attempt.summary().doubtful || error.code === 'store_conflict';
    return {
      ...attempt.summary(),
      state: { ...state, attempts, notBefore, lastError },
      equal: false,
      doubtful,
      again: notBefore,
      error,
    };
  }
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

/** One attempt at one backup: what has been learnt and sent so far, so that a failure in the middle loses none of it. */
class Attempt {
  readonly actions: BackupAction[] = [];
  readonly wantedDigest: string;
  readonly #wanted: DescriptiveMetadata;
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

  constructor(task: BackupTask, look: BackupLook) {
    this.#task = task;
    this.#look = look;
    this.#store = look.store;
    this.#calls = backupCalls(task.runtime, look.store, task.writeBy, task.keys);
    this.id = look.state.id;
    this.#given = descriptive(task.sound.metadata, task.mark, look.store);
    this.#wanted = look.store.asKept(this.#given, task.mark);
    this.wantedDigest = metadataDigestOf(this.#wanted);
  }

  summary(): Pick<BackupOutcome, 'actions' | 'searched' | 'wrote' | 'doubtful'> {
    const { wrote, doubtful } = this.#calls;
    const searched = this.#look.marked !== undefined;
    return { actions: this.actions, wrote, doubtful: doubtful || this.leftBehind, searched };
  }

  async run(): Promise<void> {
    const holding = await this.#choose();
    if (holding === undefined) {
      this.id = undefined;
      await this.#import('imported');
      return;
    }
    this.id = holding.id;
    const content = await this.#makeContentEqual(holding);
    if (content === 'replaced') return;
    await this.#removeSurplus(content.proven);
    const described = content.metadata ?? holding.metadata ?? (await this.#calls.readMetadata(holding.id));
    await this.#describe(described, holding.id);
    // The copy is equal, but whether it is the only one was to be found out and could not be.
    if (this.#look.markedError !== undefined) throw this.#look.markedError;
  }

  /** What is known of the backup after a failure: its copy's id as it is now, the rest as it was. */
  stateAfterFailure(): BackupState {
    const { id: _id, notBefore: _notBefore, lastError: _lastError, ...kept } = this.#look.state;
    return this.id === undefined ? kept : { ...kept, id: this.id };
  }

  /** Which copy is ours: the one that the record knows, else one found by our mark and proven to be there. */
  async #choose(): Promise<Holding | undefined> {
    const { known, state, marked } = this.#look;
    const { mark, sound } = this.#task;
    if (known?.state === 'present') {
      const metadata = known.value;
      if (metadata.mark !== undefined && !sameMark(metadata.mark, mark)) {
        throw new CodedError('store_copy_not_ours', `the copy ${metadata.id} carries the mark of another certificate`, {
          fields: { store: this.#store.id, copy: metadata.id, mark: formatMark(metadata.mark) },
        });
      }
      return { id: metadata.id, metadata };
    }
    if (known?.state === 'unreadable') {
      if (known.error.code !== 'store_content_unreadable' || state.id === undefined) throw known.error;
      return { id: state.id, unreadable: true };
    }
    const differs = (copy: CertificateMetadata) => (factsDiffer(copy, sound) ? 1 : 0);
    const candidates = (marked ?? [])
      .filter(({ id }) => id !== state.id)
      .sort((a, b) => differs(a) - differs(b) || (a.id < b.id ? -1 : 1));
    for (const { id } of candidates) {
      const found = await this.#confirm(id);
      if (found === undefined) continue;
      this.actions.push('adopted');
      return found;
    }
    return this.#ofUnclearMark();
  }

  /**
   * A copy whose mark cannot be read may be ours, as the record of it may be lost. It is if it holds this very leaf: then it is
   * written anew, and described. One for the same domains with another leaf may be, and only a person can say so: a second copy is
   * not made beside it. Any other is not ours to wait for.
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
    this.actions.push('adopted');
    return { id: ours.id, unreadable: true };
  }

  /** A listing may lag: a copy that it shows counts only when a direct read shows it too, still with our mark. */
  async #confirm(id: string): Promise<Holding | undefined> {
    const { mark } = this.#task;
    try {
      const full = await this.#calls.read(id);
      return full !== undefined && sameMark(full.metadata.mark, mark)
        ? { id, metadata: full.metadata, full }
        : undefined;
    } catch (thrown) {
      if (asCodedError(thrown).code !== 'store_content_unreadable') throw thrown;
    }
    const metadata = await this.#calls.readMetadata(id);
    return sameMark(metadata?.mark, mark) ? { id, unreadable: true, ...(metadata && { metadata }) } : undefined;
  }

  /**
   * Writes the content if it differs. Answers what was said of the copy last, which the recorded revision goes with, and whether a full
   * read of this pass has shown it equal.
   */
  async #makeContentEqual(
    holding: Holding,
  ): Promise<{ readonly proven: boolean; readonly metadata: CertificateMetadata | undefined } | 'replaced'> {
    const seen = await this.#compare(holding);
    if (seen.differs) {
      const metadata = await this.#reimport(holding);
      return metadata === 'replaced' ? metadata : { proven: false, metadata };
    }
    const metadata = seen.full?.metadata ?? holding.metadata;
    this.revision = metadata?.revision;
    return { proven: seen.full !== undefined, metadata };
  }

  /** Writes name, description, tags and mark if they differ. */
  async #describe(described: CertificateMetadata | undefined, id: string): Promise<void> {
    const { sound, mark } = this.#task;
    if (described === undefined) return;
    if (metadataDigestOf(described) === this.wantedDigest && sameMark(described.mark, mark)) return;
    const answer = await this.#calls.send((signal) => this.#store.updateMetadata(id, this.#given, mark, { signal }));
    this.revision = answer.metadata?.revision;
    this.actions.push('described');
    if (answer.metadata !== undefined && factsDiffer(answer.metadata, sound)) throw this.#holdsOther(id);
  }

  /** Whether the content differs. Metadata is enough where it already differs; only what looks equal is read in full. */
  async #compare(holding: Holding): Promise<{ readonly differs: boolean; readonly full?: StoredCertificate }> {
    const { sound } = this.#task;
    if (holding.unreadable === true) return { differs: true };
    const differs =
      holding.full === undefined && holding.metadata !== undefined && factsDiffer(holding.metadata, sound);
    // A leaf alone must not replace a copy that has a chain, and only a full read tells whether it has one.
    if (differs && sound.content.chain.length > 0) return { differs };
    const reading = await this.#tryRead(holding);
    if (reading === 'unreadable') return { differs: true };
    const { content } = reading;
    if (this.#equals(content)) return { differs: false, full: reading };
    if (
      sound.content.chain.length === 0 &&
      content.chain.length > 0 &&
      content.leaf.issuer === sound.content.leaf.issuer
    ) {
      this.revision = reading.metadata.revision;
      throw new Unfit(
        'certificate_chain_missing',
        'the primary holds a leaf without its chain, and the copy of the same issuer has one: the copy stays as it is',
        { fields: { store: this.#store.id, copy: holding.id } },
      );
    }
    return { differs: true, full: reading };
  }

  /** Replaces the content in place, or by a new copy where the service refuses that. Answers what is said of the copy then. */
  async #reimport(holding: Holding): Promise<CertificateMetadata | 'replaced'> {
    const { content } = this.#task.sound;
    if (this.#store.abilities.reimportsInPlace) {
      try {
        const answer = await this.#calls.send((signal) => this.#store.reimport(holding.id, content, { signal }));
        const metadata = await this.#believe(answer);
        this.actions.push('reimported');
        return metadata;
      } catch (thrown) {
        const { code } = asCodedError(thrown);
        if (code === 'store_gone') this.id = undefined;
        if (code !== 'store_refused') throw thrown;
      }
    }
    // The service takes this content only as a new certificate. The old copy is removed as surplus by a later look.
    if (!(await this.#adoptEqual(holding.id))) await this.#import('replaced', holding.id);
    return 'replaced';
  }

  /** Takes over another copy with our mark that is equal already: a replacement whose maker did not live to record it. */
  async #adoptEqual(instead: string): Promise<boolean> {
    const { sound } = this.#task;
    for (const copy of this.#look.marked ?? []) {
      if (copy.id === instead || factsDiffer(copy, sound)) continue;
      const found = await this.#confirm(copy.id);
      if (found?.full === undefined || !this.#equals(found.full.content)) continue;
      this.id = copy.id;
      this.leftBehind = true;
      this.replaced = true;
      this.revision = found.full.metadata.revision;
      this.actions.push('adopted');
      return true;
    }
    return false;
  }

  async #import(action: 'imported' | 'replaced', replaces?: string): Promise<void> {
    const { beganAt, doubt, mark, sound } = this.#task;
    if (this.#look.markedError !== undefined) throw this.#look.markedError;
    if (doubt !== undefined && (doubt > beganAt || this.#look.marked === undefined)) throw new Waiting(doubt);
    const replacement = replaces === undefined ? '' : this.#replacementOf(replaces);
    const token = sha256(`${formatMark(mark)}${replacement}`);
    // Where names are unique the copy to be replaced still has this one; a later look gives the name over.
    const metadata =
      replacement === '' || !this.#store.abilities.uniqueNames
        ? this.#given
        : { ...this.#given, name: `${this.#given.name}-${sha256(replacement).slice(0, 8)}` };
    const answer = await this.#calls.send((signal) =>
      this.#store.import({ content: sound.content, metadata, mark, token }, { signal }),
    );
    // Known from here on, whatever comes of the rest: a copy that nobody remembers would be made twice.
    this.id = answer.id;
    this.replaced = true;
    if (replaces !== undefined) this.leftBehind = true;
    await this.#believe(answer);
    this.actions.push(action);
  }

  /**
   * Tells a replacement from others: it is made once for each content, and once more for each copy of ours that an earlier attempt
   * left and that could not be taken over, so that neither is in its way.
   */
  #replacementOf(replaced: string): string {
    const left = (this.#look.marked ?? []).map(({ id }) => id).filter((id) => id !== replaced);
    return ` instead of ${[replaced, ...left.toSorted()].join(' and ')} as ${this.#task.sound.fingerprint}`;
  }

  /** Compares what the service says it now holds, from its answer, or from a read where the answer says too little. Answers that. */
  async #believe(answer: WriteAnswer): Promise<CertificateMetadata> {
    const { sound } = this.#task;
    const { metadata } = answer;
    this.revision = metadata?.revision;
    if (metadata !== undefined && (metadata.serial !== undefined || metadata.notAfter !== undefined)) {
      if (factsDiffer(metadata, sound)) throw this.#holdsOther(answer.id);
      return metadata;
    }
    const full = await this.#calls.read(answer.id);
    if (full === undefined || !this.#equals(full.content)) throw this.#holdsOther(answer.id);
    this.revision = full.metadata.revision;
    return full.metadata;
  }

  /**
   * Removes other copies with our mark, after the kept one is proven by a full read of this pass. Not while there is doubt: a removal of the
   * kept one may be on its way, from when another one was kept. The look that ends the doubt does it.
   */
  async #removeSurplus(proven: boolean): Promise<void> {
    const kept = this.id;
    const surplus = (this.#look.marked ?? []).filter(({ id }) => id !== kept);
    const { beganAt, doubt } = this.#task;
    if (surplus.length === 0 || kept === undefined || (doubt !== undefined && doubt > beganAt)) return;
    if (!proven) {
      const full = await this.#calls.read(kept);
      if (full === undefined || !this.#equals(full.content)) throw this.#holdsOther(kept);
    }
    const removed = await this.#calls.removeMarked(surplus, this.#task.mark);
    if (removed > 0) this.actions.push('surplus-removed');
  }

  async #tryRead(holding: Holding): Promise<StoredCertificate | 'unreadable'> {
    if (holding.full !== undefined) return holding.full;
    try {
      const full = await this.#calls.read(holding.id);
      if (full !== undefined) return full;
    } catch (thrown) {
      const { code } = asCodedError(thrown);
      // Metadata can be read and content cannot, again and again: to write it anew is harmless, and the only way out.
      // But not by a leaf alone: what cannot be read may have a chain.
      const hopeless =
        code === 'store_unavailable' &&
        this.#look.state.attempts >= unreadableAfterAttempts &&
        this.#store.abilities.reimportsInPlace &&
        this.#task.sound.content.chain.length > 0;
      if (code === 'store_content_unreadable' || hopeless) return 'unreadable';
      throw thrown;
    }
    this.id = undefined;
    throw new CodedError('store_gone', `the copy ${holding.id} vanished while it was looked at`, {
      fields: { store: this.#store.id, copy: holding.id },
    });
  }

  /** Whether content read from this store equals the primary's, as far as the store gives it. */
  #equals(content: StoredCertificate['content']): boolean {
    const { sound } = this.#task;
    if (this.#store.abilities.givesKeys) return fingerprintOf(content) === sound.fingerprint;
    const { leaf, chain } = sound.content;
    return fingerprintOf({ leaf: content.leaf, chain: content.chain }) === fingerprintOf({ leaf, chain });
  }

  #holdsOther(id: string): CodedError {
    return new CodedError('store_holds_other', `the copy ${id} is not what was written to it`, {
      fields: { store: this.#store.id, copy: id },
    });
  }
}

/** Whether a store's metadata contradicts the primary's content. What the store does not say does not differ. */
function factsDiffer(metadata: CertificateMetadata, sound: Sound): boolean {
  const facts = factsOf(sound.content);
  return (
    (metadata.serial !== undefined && metadata.serial !== facts.serial) ||
    (metadata.notBefore !== undefined && metadata.notBefore !== facts.notBefore) ||
    (metadata.notAfter !== undefined && metadata.notAfter !== facts.notAfter)
  );
}

/** The name and description for a copy. Where names are unique, eight hex digits of the primary's id keep copies apart, however short a name must be. */
export function descriptive(metadata: DescriptiveMetadata, mark: Mark, store: Store): DescriptiveMetadata {
  const { name, description, tags } = metadata;
  if (!store.abilities.uniqueNames) return { name, description, tags };
  const suffix = suffixOf(mark);
  const kept = store.asKept({ name: `${name}${suffix}`, description, tags }, mark).name;
  const room = kept.endsWith(suffix) ? name.length : Math.max(0, kept.length - suffix.length);
  return { name: `${name.slice(0, room)}${suffix}`, description, tags };
}

/** The name of the original, as far as a copy's name tells: without what `descriptive` put behind it. */
export function givenName(name: string, mark: Mark | undefined, store: Store): string {
  const suffix = mark === undefined || !store.abilities.uniqueNames ? '' : suffixOf(mark);
  return suffix !== '' && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

const suffixOf = (mark: Mark): string => `-${sha256(mark.certificate).slice(0, 8)}`;
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
