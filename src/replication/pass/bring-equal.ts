import { defined } from '../../defined.ts';
import { asCodedError, type CodedError } from '../../errors.ts';
import { type BackupState, type Refusal, recordedError } from '../../records/replication-record.ts';
import { isOwnLimit } from '../../store/own-limit.ts';
import { listedFacts } from '../link.ts';
import { countedOn, factsOfRefusal, nextLookAtRefusal } from '../refusal.ts';
import { backoffMs, shownAfterMs } from '../timing.ts';
import { Attempt, Unfit, Waiting } from './attempt.ts';
import type { BackupOutcome, BackupTask } from './backup-outcome.ts';
import { bringBack } from './bring-back.ts';
import { chooseCopies } from './choose-copy.ts';
import { importCopy } from './import-copy.ts';
import type { Sound } from './judge.ts';
import { makeOneEqual } from './keep-one.ts';
import type { BackupLook } from './look.ts';
import { nextAsk, Running, seenOperation } from './operations.ts';
import { isCaught } from './over-copy.ts';
import { noteStaying, removeSurplus } from './surplus-copies.ts';
import { nameNotFree, surplusMayHaveName } from './taken-name.ts';
import { describeCopy, refuseOver, refuseUnfit, reimportCopy, sendDescription } from './write-copy.ts';

/**
 * Makes one backup equal to what the primary holds: the write step of the protocol. Never throws:
 * what fails is in the outcome, with its own attempts and backoff, so that one backup neither holds
 * up nor repeats another.
 */
export async function bringEqual(task: BackupTask, look: BackupLook): Promise<BackupOutcome> {
  const { runtime, timing, sound } = task;
  const attempt = new Attempt(task, look);
  try {
    await bringCopiesEqual(attempt);
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

/** One attempt from its beginning to its end. Throws what stands in the way. */
async function bringCopiesEqual(attempt: Attempt): Promise<void> {
  await awaitOperation(attempt);
  if (await writtenOver(attempt)) return;
  const { order, unread } = await chooseCopies(attempt);
  if (order.length === 0 && unread === undefined) {
    const brought = await bringBack(attempt);
    if (brought !== undefined) return;
    attempt.id = undefined;
    refuseUnfit(attempt);
    await importCopy(attempt, 'imported');
    return;
  }
  if (order.length === 0) throw unread;
  const made = await makeOneEqual(attempt, order);
  if (made === 'replaced') return;
  noteStaying(attempt, made);
  await removeSurplus(attempt, made.holding.id, { ...made, unread });
  attempt.replacing = undefined;
  const described = made.metadata ?? made.holding.metadata ?? (await attempt.calls.readMetadata(made.holding.id));
  const staying = attempt.unremovable.length > 0 || made.refusedIds.length > made.replacedIds.length;
  await describeCopy(attempt, described, made.holding.id).catch((thrown: unknown) => {
    if (asCodedError(thrown).code !== 'store_conflict') throw thrown;
    // Where names are unique, a copy of ours that stays beside this one may have the name, and
    // keeps it.
    if (staying) return;
    throw surplusMayHaveName(attempt, made.holding.id) ?? nameNotFree(attempt, made.holding.id, thrown) ?? thrown;
  });
  // The copy is equal, but whether it is the only one was to be found out and could not be.
  if (attempt.look.markedError !== undefined) throw attempt.look.markedError;
  if (unread !== undefined) throw unread;
  // Another copy has the content, but the one that everyone keeps does not: a person has to know
  // of it.
  if (made.braked !== undefined) throw made.braked;
  if (made.rewritten !== true) return;
  throw new Unfit('store_rewrites_content', `${made.holding.id} does not give back what was written to it, twice`, {
    fields: { store: attempt.store.id, copy: made.holding.id },
  });
}

/**
 * While an operation of ours goes on there, nothing else is written. Its end counts as an
 * answered write of what was given. One that was seen is looked at anew: this look may have begun
 * before it.
 */
async function awaitOperation(attempt: Attempt): Promise<void> {
  const { operation } = attempt.calls;
  if (operation === undefined) return;
  const { runtime, timing } = attempt.task;
  const seen = await seenOperation(attempt.task, attempt.store, operation);
  if (seen.state === 'running') {
    attempt.calls.operation = seen.operation;
    throw new Waiting(seen.again);
  }
  const isOver = seen.state === 'over';
  // It stays written down until there is a search that began after its end: an older one does not
  // show what it has made.
  if (isOver && attempt.look.markedError !== undefined) throw attempt.look.markedError;
  attempt.calls.operation = undefined;
  const now = runtime.now();
  const { fingerprint, metadataDigest = '' } = operation;
  const id = (isOver ? undefined : seen.id) ?? operation.id;
  // One that was not answered, and of which nobody can be asked, may not have been begun.
  const wasBegun = !isOver || operation.handle !== undefined;
  if (operation.kind !== 'delete' && id !== undefined && fingerprint !== undefined && wasBegun) {
    attempt.id = id;
    attempt.noteAnswered({ id, at: isOver ? seen.at : now, fingerprint, metadataDigest });
  }
  // It has long been settled when this look began.
  if (isOver) return;
  // A copy that was made, and of which nobody knows the id, is found when listings show it.
  if (operation.kind === 'import' && id === undefined) attempt.leftBehind = true;
  const { listingLagMs, readSettlesMs } = attempt.store.abilities;
  throw new Waiting(now + shownAfterMs(Math.max(listingLagMs, readSettlesMs), timing));
}

/**
 * Until the reads of this store have settled after a write that was answered, only an answer that
 * shows this write proves anything: what else a read shows may be from before it. Then nothing is
 * imported, forgotten, judged or written once more. But what the primary holds otherwise since
 * then is written at once to the copy. Answers whether that was all there is to do now.
 */
async function writtenOver(attempt: Attempt): Promise<boolean> {
  const { written } = attempt;
  const until = attempt.provenFrom();
  if (written === undefined || until === undefined) return false;
  const { known } = attempt.look;
  const shown = known?.state === 'present' ? known.value.revision : undefined;
  if (shown !== undefined && shown === written.revision) return false;
  const { sound } = attempt.task;
  // A leaf alone may not replace a chain, and which of them is there cannot be read now.
  if (written.fingerprint !== sound.fingerprint && sound.content.chain.length > 0) {
    refuseUnfit(attempt);
    const { id, fingerprint, validFrom, selfSigned } = written;
    // What is there cannot be read now: what was written tells whether this may take its place.
    if (validFrom === undefined || selfSigned === undefined) throw new Waiting(until);
    await refuseOver(attempt, { id, unreadable: true }, { id, fingerprint, validFrom, selfSigned });
    const metadata = await reimportCopy(attempt, { id });
    await describeCopy(attempt, metadata, written.id);
    return true;
  }
  const isDescribed = [attempt.wantedDigest, attempt.formerDigest].includes(written.metadataDigest);
  if (written.fingerprint === sound.fingerprint && !isDescribed) {
    await sendDescription(attempt, written.id);
    return true;
  }
  throw new Waiting(until);
}
