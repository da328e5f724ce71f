import { asCodedError } from '../../errors.ts';
import { type BackupState, type ReplicationRecord, recordedError } from '../../records/replication-record.ts';
import { sameMark } from '../../store/mark.ts';
import { isOwnLimit } from '../../store/own-limit.ts';
import type { CertificateMetadata, Store } from '../../store/store.ts';
import type { Link } from '../link.ts';
import { countedOn, heldAgain, heldCodes } from '../refusal.ts';
import { absenceConfirmedMs, backoffMs, settledMs, type Timing } from '../timing.ts';
import { type BackupCalls, backupCalls } from './backup-calls.ts';
import type { BackupAction, BackupOutcome, BackupTask } from './backup-outcome.ts';
import { type BackupLook, searchBeganAt } from './look.ts';
import { nextAsk, Running, seenOperation, withEnd } from './operations.ts';

/**
 * Whether a look that began at this moment and found the certificate absent confirms that it is
 * gone: a second look, a while after the first.
 */
export function isGone(link: Link, record: ReplicationRecord, beganAt: number, timing: Timing): boolean {
  const { absentSince } = record;
  const wait = absenceConfirmedMs(link, timing);
  return absentSince !== undefined && beganAt >= absentSince + wait;
}

/**
 * Whether the copies of a certificate that is gone may be removed now: the policy says so, and a
 * reconcile has counted it in.
 */
export function mayRemove({ policy }: Link, record: ReplicationRecord, now: number): boolean {
  const { absentSince, removalAskedAt } = record;
  if (policy.removal === undefined || absentSince === undefined || removalAskedAt === undefined) return false;
  return now - absentSince >= policy.removal.afterMs;
}

const said = /^Retained since \d{4}-\d\d-\d\d: /;

/** A copy's description without the line which says that its original is gone. */
export function withoutRetained(description: string): string {
  if (!said.test(description)) return description;
  const end = description.indexOf('\n');
  return end < 0 ? '' : description.slice(end + 1);
}

/**
 * What becomes of the copy of a certificate that is gone from the primary: its description says so,
 * in a line of its own before everything else, or it is removed. Only what carries our mark, by a
 * direct read of this pass, is touched. Never throws.
 */
export async function retire(
  task: Omit<BackupTask, 'sound' | 'doubt' | 'mayReplace' | 'over'>,
  look: BackupLook,
  gone: { readonly since: number; readonly remove: boolean },
): Promise<BackupOutcome> {
  const { runtime, timing, mark } = task;
  const { store, state, known } = look;
  const recorded = { id: state.id ?? '' };
  const calls = backupCalls(runtime, store, { ...task, operation: state.operation });
  const { operation: _operation, ...others } = state;
  /** The state as it was, with an operation that may go on. */
  const asItWas = (): BackupState => {
    const { operation } = calls;
    return operation ? { ...others, operation: withEnd(store, operation, { from: runtime.now(), timing }) } : others;
  };
  const actions: BackupAction[] = [];
  const summary = () => {
    const { wrote, doubtful } = calls;
    const searched = look.marked && { searchedAt: searchBeganAt(look, task.beganAt) };
    return { actions, equal: false, ...searched, wrote, doubtful };
  };
  const { id: _id, retainedAt: _retainedAt, notBefore: _notBefore, lastError: _lastError, ...rest } = others;
  // What was refused was content, or this very change: neither is wanted any more when it is done.
  const { refusal: _refusal, ...kept } = rest;
  try {
    if (calls.operation !== undefined) {
      const seen = await seenOperation(task, store, calls.operation);
      calls.operation = seen.state === 'running' ? seen.operation : undefined;
      // What is there after its end the next look finds.
      const again = seen.state === 'running' ? seen.again : runtime.now() + settledMs(store, timing);
      if (seen.state !== 'over') return { ...summary(), state: asItWas(), again };
    }
    const copies = ours(task, look);
    if (gone.remove) {
      const { removed, refused } = await calls.removeMarked(copies, mark);
      const places = await calls.removeVacant(
        [...(look.vacant ?? []), ...(known?.state === 'vacant' ? [recorded] : [])],
        mark,
      );
      if (removed + places.removed > 0) actions.push('removed');
      const [stays] = [...refused, ...places.refused];
      if (stays !== undefined) throw stays.error;
      return { ...summary(), state: { store: store.id, attempts: 0 } };
    }
    const [copy] = copies;
    // It is not there any more, or not ours any more: neither is anything of ours to do.
    if (copy === undefined) return { ...summary(), state: { ...kept, attempts: 0 } };
    const revision = said.test(copy.description)
      ? copy.revision
      : await sayRetained(task, store, calls, copy, gone.since);
    if (calls.wrote) actions.push('retained');
    const { revision: _revision, ...lasting } = kept;
    const retained: BackupState = { ...lasting, id: copy.id, attempts: 0, retainedAt: runtime.now() };
    return { ...summary(), state: revision === undefined ? retained : { ...retained, revision } };
  } catch (thrown) {
    const now = runtime.now();
    if (thrown instanceof Running) return { ...summary(), state: asItWas(), again: nextAsk(thrown.operation, now) };
    const error = asCodedError(thrown);
    if (error.code === 'store_search_running')
      return { ...summary(), state: asItWas(), again: now + (error.retryAfterMs ?? timing.lookMs) };
    if (isOwnLimit(error)) {
      // Nothing was tried: there is room when the wait is over.
      const notBefore = now + (error.retryAfterMs ?? 0);
      return { ...summary(), state: { ...asItWas(), notBefore }, again: notBefore };
    }
    const lastError = recordedError(error, now);
    if (calls.answeredWrite(error) && heldCodes.has(error.code)) {
      // No failure: somebody there holds the copy, which is told, and it stays as it is until they
      // let go of it.
      const refusal = countedOn(state.refusal, { code: error.code, facts: `${error.code} gone` }, now);
      const { notBefore: _before, ...found } = asItWas();
      const after: BackupState = { ...found, attempts: 0, refusal, lastError };
      const again = heldAgain(refusal.since, task.beganAt, timing);
      return { ...summary(), state: after, again, error, refused: true };
    }
    const attempts = state.attempts + 1;
    const notBefore = now + backoffMs(attempts, runtime.random, timing, error.retryAfterMs);
    return { ...summary(), state: { ...asItWas(), attempts, notBefore, lastError }, again: notBefore, error };
  }
}

/**
 * The copies that carry our mark, the recorded one first. Throws if the recorded one, or the
 * others, could not be looked for.
 */
function ours({ mark }: Pick<BackupTask, 'mark'>, look: BackupLook): readonly CertificateMetadata[] {
  const { known, marked = [], markedError } = look;
  if (known?.state === 'unreadable') throw known.error;
  if (markedError !== undefined) throw markedError;
  const recorded = known?.state === 'present' ? [known.value] : [];
  const others = marked.filter(({ id }) => id !== recorded[0]?.id).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return [...recorded, ...others].filter((copy) => sameMark(copy.mark, mark));
}

/** Puts the line before the description. Answers the copy's revision then. */
async function sayRetained(
  { mark }: Pick<BackupTask, 'mark'>,
  store: Store,
  calls: BackupCalls,
  copy: CertificateMetadata,
  since: number,
): Promise<string | undefined> {
  const { id, name, tags } = copy;
  const day = new Date(since).toISOString().slice(0, 10);
  const line = `Retained since ${day}: the original is gone from the primary.`;
  const description = copy.description === '' ? line : `${line}\n${copy.description}`;
  const { origins } = copy.mark ?? {};
  const kept = { ...mark, ...(origins && { origins }) };
  const answer = await calls.send((signal) => store.updateMetadata(id, { name, description, tags }, kept, { signal }));
  return answer.metadata?.revision;
}
