import { metadataDigestOf } from '../../certificate/fingerprint.ts';
import { asCodedError } from '../../errors.ts';
import type { Operation } from '../../records/replication-record.ts';
import { sameMark, sameOrigins } from '../../store/mark.ts';
import type { CertificateMetadata, WriteAnswer } from '../../store/store.ts';
import { type Attempt, Unfit, Waiting } from './attempt.ts';
import { type CopyInTheWay, problemOver } from './over-copy.ts';
import { compareCopy, factsDiffer, type Holding, holdsOther, isAsGiven, readOrUnreadable } from './read-copy.ts';
import { orNameTaken } from './taken-name.ts';

/** A copy whose content is equal by now. */
export interface ContentMadeEqual {
  /** A full read of this pass has shown it equal, or what the service makes of it. */
  readonly proven: boolean;
  readonly rewritten?: boolean;
  readonly metadata: CertificateMetadata | undefined;
}

/**
 * Writes the content if it differs. Answers what was said of the copy last, which the recorded
 * revision goes with, and whether a full read of this pass has shown it equal.
 */
export async function makeContentEqual(attempt: Attempt, holding: Holding): Promise<ContentMadeEqual> {
  const seen = await compareCopy(attempt, holding);
  if (seen.differs) {
    refuseUnfit(attempt);
    await refuseOver(attempt, { ...holding, full: seen.full, unreadable: seen.unreadable ?? false });
    refuseReplaced(attempt, holding.id);
    return { proven: false, metadata: await reimportCopy(attempt, holding) };
  }
  const metadata = seen.full?.metadata ?? holding.metadata;
  attempt.revision = metadata?.revision;
  const { content, fingerprint } = attempt.task.sound;
  attempt.noteHeld(holding.id, content, fingerprint);
  return { proven: seen.full !== undefined, metadata, ...(seen.rewritten && { rewritten: true }) };
}

/** Throws why this store would not take the content, if it says so beforehand. */
export function refuseUnfit(attempt: Attempt): void {
  const why = attempt.store.refuses?.(attempt.task.sound.content, attempt.task.runtime.now());
  if (why !== undefined) throw new Unfit(why.code, why.message, { cause: why, fields: why.fields });
}

/** Throws why what the primary holds may not take the place of what is there. */
export async function refuseOver(attempt: Attempt, copy: CopyInTheWay, held = attempt.held): Promise<void> {
  const { over, sound } = attempt.task;
  const read = async (id: string) => {
    const full = await readOrUnreadable(attempt, id);
    return full === 'unreadable' || full === 'vacant' ? undefined : full;
  };
  const why = await problemOver(over, sound, copy, { held, read });
  if (why === undefined) return;
  throw new Unfit(why.code, why.message, { fields: { store: attempt.store.id, copy: copy.id } });
}

/**
 * Throws what the service said of this content for this copy, where another one is about to take
 * its place.
 */
function refuseReplaced(attempt: Attempt, copy: string): void {
  if (attempt.replacing?.copies.includes(copy) !== true) return;
  const fields = { store: attempt.store.id, copy };
  const refused = new Unfit('store_content_refused', `${copy} was refused this content, and is replaced`, { fields });
  // The word of the link may be another one since then.
  if (attempt.mayReplace(refused)) throw refused;
}

/** Replaces the content in place. Answers what is said of the copy then. */
export async function reimportCopy(
  attempt: Attempt,
  holding: Pick<Holding, 'id' | 'metadata'>,
): Promise<CertificateMetadata> {
  const { content } = attempt.task.sound;
  const { id } = holding;
  if (!attempt.store.abilities.reimportsInPlace)
    throw new Unfit('store_content_refused', `${attempt.store.id} does not replace content under the same id`, {
      fields: { store: attempt.store.id, copy: id },
    });
  try {
    // From here on nobody knows what is there, until there is an answer.
    if (attempt.held?.id === id) attempt.held = undefined;
    const answer = await sendReimport(attempt, id);
    attempt.noteHeld(id, content, attempt.task.sound.fingerprint);
    const described = answer.metadata ?? holding.metadata;
    const digest = described === undefined ? attempt.look.state.metadataDigest : metadataDigestOf(described);
    attempt.noteWritten(id, answer.metadata, digest ?? '');
    const metadata = await believeAnswer(attempt, answer);
    attempt.actions.push('reimported');
    return metadata;
  } catch (thrown) {
    if (asCodedError(thrown).code === 'store_gone' && id === attempt.id) attempt.id = undefined;
    throw thrown;
  }
}

/**
 * The turn that this certificate waited for is good for whichever copy of it the look has found.
 */
export function sendReimport(attempt: Attempt, id: string): Promise<WriteAnswer> {
  const { mark, sound } = attempt.task;
  attempt.store.slots?.extend({ original: mark.certificate, copy: id });
  const about = { kind: 'reimport', id, ...givenNow(attempt) } as const;
  return attempt.calls.begin(about, (signal) => attempt.store.reimport(id, sound.content, { signal }));
}

/** What a write gives, as an operation says it. */
export function givenNow(attempt: Attempt): Pick<Operation, 'fingerprint' | 'metadataDigest'> {
  return { fingerprint: attempt.task.sound.fingerprint, metadataDigest: attempt.wantedDigest };
}

/**
 * Compares what the service says it now holds, from its answer, or from a read where the answer
 * says too little. Answers that.
 */
export async function believeAnswer(attempt: Attempt, answer: WriteAnswer): Promise<CertificateMetadata> {
  const { sound } = attempt.task;
  const { metadata } = answer;
  attempt.revision = metadata?.revision;
  if (metadata !== undefined && (metadata.serial !== undefined || metadata.notAfter !== undefined)) {
    if (factsDiffer(metadata, sound)) throw holdsOther(attempt, answer.id);
    return metadata;
  }
  const { readSettlesMs } = attempt.store.abilities;
  if (readSettlesMs > 0) throw new Waiting(attempt.task.runtime.now() + readSettlesMs + attempt.task.timing.skewMs);
  const full = await attempt.calls.read(answer.id);
  if (full === undefined || !isAsGiven(attempt, full)) throw holdsOther(attempt, answer.id);
  attempt.revision = full.metadata.revision;
  return full.metadata;
}

/**
 * Writes name, description, tags and mark if they differ. A name or a mark as versions before
 * wrote them is renewed when the copy is written anyway, and not for itself: else an estate would
 * be written to as a whole. But where a mark lacks what the original came through, that is added:
 * circles are known by it.
 */
export async function describeCopy(
  attempt: Attempt,
  described: CertificateMetadata | undefined,
  id: string,
): Promise<void> {
  if (described === undefined) return;
  const { mark } = attempt.task;
  const digest = metadataDigestOf(described);
  const isMarked = sameMark(described.mark, mark) && sameOrigins(described.mark, mark);
  const isWritten = attempt.actions.includes('reimported');
  const isOutdated = described.mark !== undefined && 'outdated' in described.mark;
  if (isMarked && digest === attempt.wantedDigest && !(isWritten && isOutdated)) return;
  if (isMarked && digest === attempt.formerDigest && !isWritten) {
    attempt.wantedDigest = digest;
    return;
  }
  await sendDescription(attempt, id);
  if (attempt.wasEqual(id) && attempt.look.state.metadataDigest === attempt.wantedDigest)
    attempt.changedByOthers = true;
}

/** Gives a copy its name, description, tags and mark. */
export async function sendDescription(attempt: Attempt, id: string): Promise<void> {
  const { sound, mark } = attempt.task;
  const answer = await orNameTaken(attempt, () =>
    attempt.calls.send((signal) => attempt.store.updateMetadata(id, attempt.given, mark, { signal })),
  );
  attempt.revision = answer.metadata?.revision;
  attempt.noteWritten(id, answer.metadata, attempt.wantedDigest);
  attempt.actions.push('described');
  if (answer.metadata !== undefined && factsDiffer(answer.metadata, sound)) throw holdsOther(attempt, id);
}
