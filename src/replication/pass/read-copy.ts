import { factsOf } from '../../certificate/facts.ts';
import { fingerprintOf, metadataDigestOf } from '../../certificate/fingerprint.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { sameMark } from '../../store/mark.ts';
import { type CertificateMetadata, keyAnswerOf, type StoredCertificate } from '../../store/store.ts';
import { holdsSame } from '../verify-copy.ts';
import { type Attempt, Unfit, Waiting } from './attempt.ts';
import type { Sound } from './judge.ts';

/** The copy that a backup holds, as far as this pass has seen it. */
export interface Holding {
  readonly id: string;
  /** Absent if not even that could be read. */
  readonly metadata?: CertificateMetadata;
  /** Read in full in this pass. */
  readonly full?: StoredCertificate;
  /** Something is there that cannot be read as a certificate. */
  readonly unreadable?: boolean;
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

/**
 * So many answered writes of one content, each read back in another shape, and no more are sent.
 */
const writesReadBackOtherwise = 2;

/** After so many failed attempts to read a copy in full, it is written anew. */
const unreadableAfterAttempts = 3;

/**
 * What a direct read shows of a copy that the search has shown: a listing may lag. `undefined`
 * where it is not ours, or no longer. Throws where a read does not find it at all: then one of
 * the two is older than the other.
 */
export async function confirmCopy(attempt: Attempt, id: string): Promise<Holding | undefined> {
  const { mark } = attempt.task;
  const full = await readOrUnreadable(attempt, id);
  if (full === undefined) throw listedUnread(attempt, id);
  if (full === 'vacant') return undefined;
  if (full !== 'unreadable')
    return sameMark(full.metadata.mark, mark) ? { id, metadata: full.metadata, full } : undefined;
  const metadata = await attempt.calls.readMetadata(id);
  return sameMark(metadata?.mark, mark) ? { id, unreadable: true, ...(metadata && { metadata }) } : undefined;
}

/**
 * Whether the content differs. Metadata is enough where it already differs; only what looks equal
 * is read in full.
 */
export async function compareCopy(attempt: Attempt, holding: Holding): Promise<Comparison> {
  const { sound } = attempt.task;
  if (holding.unreadable === true) return { differs: true, unreadable: true };
  const differs = holding.full === undefined && holding.metadata !== undefined && factsDiffer(holding.metadata, sound);
  if (differs && attempt.wasEqual(holding.id)) attempt.changedByOthers = true;
  // A leaf alone must not replace a copy that has a chain, and only a full read tells whether it
  // has one.
  if (differs && sound.content.chain.length > 0) return { differs };
  const reading = await tryRead(attempt, holding);
  if (reading === 'unreadable') return { differs: true, unreadable: true };
  const { content } = reading;
  if (holdsEqual(attempt, reading)) {
    attempt.keyWithheld = keyAnswerOf(reading) === 'withheld';
    return { differs: false, full: reading };
  }
  if (isRewritten(attempt, reading)) return { differs: false, rewritten: true, full: reading };
  attempt.noteHeld(holding.id, content, fingerprintOf(content));
  // The same leaf in another shape may be the service's own doing.
  if (!content.leaf.raw.equals(sound.content.leaf.raw) && attempt.wasEqual(holding.id)) attempt.changedByOthers = true;
  if (losesChain(attempt, content)) {
    attempt.revision = reading.metadata.revision;
    throw chainMissing(attempt, holding.id);
  }
  return { differs: true, full: reading };
}

/**
 * Whether a full read shows the primary's content, or what the service has been seen to make of
 * it.
 */
export function isAsGiven(attempt: Attempt, full: StoredCertificate): boolean {
  return holdsEqual(attempt, full) || isRewritten(attempt, full);
}

/**
 * Whether what was read in full equals what the primary holds. No key equals none: what the
 * primary holds has one.
 */
export function holdsEqual(attempt: Attempt, full: StoredCertificate): boolean {
  return holdsSame(attempt.store, attempt.task.sound.content, full);
}

/** Whether a copy is of the same leaf, whatever its chain, and has not lost its key. */
export function isSameLeafWithKey(attempt: Attempt, full: StoredCertificate): boolean {
  return keyAnswerOf(full) !== 'none' && full.content.leaf.raw.equals(attempt.task.sound.content.leaf.raw);
}

/**
 * Counts an answered write of this content that is read back as the same leaf in another shape.
 * Answers whether there were as many as are sent: the service makes something else of it, and
 * would be written to for ever, by each deployment that keeps copies here and under one id after
 * the other. Another leaf is no such thing, and is always mended.
 */
function isRewritten(attempt: Attempt, full: StoredCertificate): boolean {
  const { content, metadata } = full;
  const { sound } = attempt.task;
  // A key that is lost is no shape of a chain, and is always mended.
  if (keyAnswerOf(full) === 'none') return false;
  if (!content.leaf.raw.equals(sound.content.leaf.raw)) return false;
  if (isOfUnheardImport(attempt, full)) {
    const { id } = metadata;
    const given = { fingerprint: sound.fingerprint, metadataDigest: metadataDigestOf(metadata) };
    attempt.noteAnswered({ id, at: attempt.task.beganAt, ...given });
  }
  const { written } = attempt;
  if (written?.fingerprint !== sound.fingerprint) return false;
  const { unlike = 0 } = written;
  // Each write counts once, however often it is read.
  const times = written.counted === true ? unlike : unlike + 1;
  attempt.written = { ...written, unlike: times, counted: true };
  // Where each write makes a new copy, one says enough.
  if (times < (attempt.store.abilities.reimportsInPlace ? writesReadBackOtherwise : 1)) return false;
  attempt.revision = metadata.revision;
  return true;
}

/**
 * Whether a copy was most likely made of this content by an import that nobody heard the end of:
 * a look in doubt has found it, and it has all of the chain and more. Where each write makes a
 * new copy, the next one would be of no other shape.
 */
function isOfUnheardImport(attempt: Attempt, { content, metadata }: StoredCertificate): boolean {
  const { doubt, sound } = attempt.task;
  if (attempt.store.abilities.reimportsInPlace || doubt === undefined) return false;
  if (metadata.id === attempt.look.state.id || attempt.written?.fingerprint === sound.fingerprint) return false;
  return sound.content.chain.every(({ raw }) => content.chain.some((there) => there.raw.equals(raw)));
}

/** Whether this content has a chain, and would give way to a leaf alone of the same issuer. */
export function losesChain(attempt: Attempt, there: StoredCertificate['content']): boolean {
  const { chain, leaf } = attempt.task.sound.content;
  return chain.length === 0 && there.chain.length > 0 && there.leaf.issuer === leaf.issuer;
}

/** That a leaf alone does not take the place of a copy which has a chain. */
export function chainMissing(attempt: Attempt, copy: string): Unfit {
  return new Unfit(
    'certificate_chain_missing',
    'the primary holds a leaf without its chain, and the copy of the same issuer has one: the copy stays as it is',
    { fields: { store: attempt.store.id, copy } },
  );
}

/**
 * A full read; `unreadable` where something is there that is no certificate, and is written anew.
 */
export async function readOrUnreadable(
  attempt: Attempt,
  id: string,
): Promise<StoredCertificate | 'unreadable' | 'vacant' | undefined> {
  try {
    return await attempt.calls.read(id);
  } catch (thrown) {
    if (asCodedError(thrown).code === 'store_copy_vacant') return 'vacant';
    if (asCodedError(thrown).code === 'store_content_unreadable') return 'unreadable';
    throw thrown;
  }
}

/**
 * A full read of a copy that has been seen. Throws `Waiting` while reads prove nothing, and
 * `store_gone` where it has vanished.
 */
async function tryRead(attempt: Attempt, holding: Holding): Promise<StoredCertificate | 'unreadable'> {
  if (holding.full !== undefined) return holding.full;
  const unproven = holding.id === attempt.id ? attempt.provenFrom() : undefined;
  try {
    const full = await attempt.calls.read(holding.id);
    // One read may lag behind another.
    if (unproven !== undefined && full?.metadata.revision !== attempt.written?.revision) throw new Waiting(unproven);
    if (full !== undefined) return full;
  } catch (thrown) {
    const { code } = asCodedError(thrown);
    // Metadata can be read and content cannot, again and again: to write it anew is harmless, and
    // the only way out. But not by a leaf alone: what cannot be read may have a chain.
    const hopeless =
      code === 'store_unavailable' &&
      attempt.look.state.attempts >= unreadableAfterAttempts &&
      attempt.store.abilities.reimportsInPlace &&
      attempt.task.sound.content.chain.length > 0;
    if (code === 'store_content_unreadable' || hopeless) return 'unreadable';
    throw thrown;
  }
  if (holding.id === attempt.id) attempt.id = undefined;
  throw new CodedError('store_gone', `the copy ${holding.id} vanished while it was looked at`, {
    fields: { store: attempt.store.id, copy: holding.id },
  });
}

/** Throws unless a full read shows the kept copy equal, or could not yet. */
export async function proveKept(attempt: Attempt, kept: string): Promise<void> {
  const settled = attempt.provenFromNow(kept);
  if (settled !== undefined) throw new Waiting(settled);
  const full = await attempt.calls.read(kept);
  if (full === undefined || !isAsGiven(attempt, full)) throw holdsOther(attempt, kept);
}

/**
 * That a listing shows a copy and a read does not: one of the two is older, and both are asked
 * again when they have settled.
 */
export function listedUnread(attempt: Attempt, copy: string): CodedError {
  const { listingLagMs, readSettlesMs } = attempt.store.abilities;
  const retryAfterMs = Math.max(listingLagMs, readSettlesMs) + attempt.task.timing.skewMs;
  return new CodedError('store_listed_unread', `the copy ${copy} is listed, and a read does not find it`, {
    fields: { store: attempt.store.id, copy, retryAfterMs },
  });
}

/** That a copy does not hold what was written to it. */
export function holdsOther(attempt: Attempt, id: string): CodedError {
  return new CodedError('store_holds_other', `the copy ${id} is not what was written to it`, {
    fields: { store: attempt.store.id, copy: id },
  });
}

/**
 * Whether a store's metadata contradicts the primary's content. What the store does not say does
 * not differ.
 */
export function factsDiffer(metadata: CertificateMetadata, sound: Sound): boolean {
  const facts = factsOf(sound.content);
  return (
    (metadata.serial !== undefined && metadata.serial !== facts.serial) ||
    (metadata.notBefore !== undefined && metadata.notBefore !== facts.notBefore) ||
    (metadata.notAfter !== undefined && metadata.notAfter !== facts.notAfter)
  );
}
