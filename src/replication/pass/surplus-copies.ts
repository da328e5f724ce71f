import { asCodedError } from '../../errors.ts';
import { recordedError } from '../../records/replication-record.ts';
import { isOwnLimit } from '../../store/own-limit.ts';
import type { CertificateMetadata } from '../../store/store.ts';
import { settledMs } from '../timing.ts';
import { type Attempt, noteOf, Unfit } from './attempt.ts';
import { type MadeEqual, turnTakenBy } from './keep-one.ts';
import { chainMissing, holdsEqual, isSameLeafWithKey, losesChain, proveKept, readOrUnreadable } from './read-copy.ts';
import { refuseOver, sendReimport } from './write-copy.ts';

/**
 * Writes down which copies stay beside the kept one though they come before it. A look that knows
 * of none does not search for any: it would take the kept one for the only one, and replace it
 * where it does not take the next content, beside one that somebody holds.
 */
export function noteStaying(attempt: Attempt, { holding: { id: kept }, staying }: MadeEqual): void {
  const others = attempt.unremovable.filter(({ id }) => id !== kept && !staying.some((copy) => copy.id === id));
  attempt.unremovable = [...others, ...staying.map((copy) => attempt.noteUnremovable(copy))];
}

/**
 * Removes the copies that come after the kept one, and those that it replaces, after the kept one
 * is proven by a full read of this pass. Not while there is doubt: a removal of the kept one may
 * be on its way, from when another one was kept. The look that ends the doubt does it. And not
 * while something that is listed is not there by a read: it may be the one that others keep.
 */
export async function removeSurplus(
  attempt: Attempt,
  kept: string,
  found: Pick<MadeEqual, 'proven' | 'refusedIds' | 'replacedIds' | 'tried'> & { readonly unread: unknown },
): Promise<void> {
  const { beganAt, timing, mark, runtime } = attempt.task;
  const listed = (attempt.look.marked ?? []).filter(({ id }) => id > kept || found.replacedIds.includes(id));
  const surplus = listed.filter(({ id }) => id !== kept);
  const halfMade = attempt.vacant.filter(({ id, why }) => id !== kept && why !== 'deleted');
  const others = new Set([...(attempt.look.marked ?? []), ...halfMade].map(({ id }) => id));
  if (attempt.look.marked !== undefined) attempt.unremovable = attempt.unremovable.filter(({ id }) => others.has(id));
  if (surplus.length + halfMade.length === 0 || found.unread !== undefined || attempt.openDoubt !== undefined) return;
  if (!found.proven) await proveKept(attempt, kept);
  const { givesWay, whyNot } = await givingWay(attempt, surplus);
  const stay = new Set(attempt.unremovable.filter(({ again }) => again > beganAt).map(({ id }) => id));
  const goes = ({ id }: { readonly id: string }) => !stay.has(id);
  const copies = await attempt.calls.removeMarked(givesWay.filter(goes), mark);
  const places = await attempt.calls.removeVacant(halfMade.filter(goes), mark);
  const removed = copies.removed + places.removed;
  const refused = [...copies.refused, ...places.refused];
  if (removed > 0) attempt.actions.push('surplus-removed');
  // A removal that was answered may still be heard of late, where others keep copies here too.
  if (removed > 0) attempt.lookAgain(runtime.now() + settledMs(attempt.store, timing));
  const told = refused.map(({ id, error }) => attempt.noteUnremovable(noteOf(id, recordedError(error, beganAt))));
  attempt.unremovable = [...attempt.unremovable.filter(({ id }) => stay.has(id)), ...told];
  let failure: unknown;
  const { fingerprint } = attempt.task.sound;
  // Those that somebody holds come last: where writes are scarce the attempt takes the turn of
  // one that could be written.
  const writableFirst = attempt.unremovable.toSorted(
    (a, b) => Number(a.code === 'store_held') - Number(b.code === 'store_held'),
  );
  for (const { id, again: next, notTaken } of writableFirst) {
    attempt.lookAgain(next);
    // Asked just now, or about this very content before: passes that each began with it would
    // never have a turn for what comes after it.
    if (found.refusedIds.includes(id) || notTaken === fingerprint) continue;
    // One that cannot be kept equal now keeps no other from it.
    await keepEqual(attempt, id).catch((thrown: unknown) => {
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
async function givingWay(
  attempt: Attempt,
  surplus: readonly CertificateMetadata[],
): Promise<{ readonly givesWay: readonly CertificateMetadata[]; readonly whyNot: Unfit | undefined }> {
  const givesWay: CertificateMetadata[] = [];
  let whyNot: Unfit | undefined;
  for (const metadata of surplus) {
    try {
      const { id } = metadata;
      // Only a full read tells whether it has a chain.
      const full = attempt.task.sound.content.chain.length === 0 ? await readOrUnreadable(attempt, id) : undefined;
      if (typeof full === 'object' && losesChain(attempt, full.content)) throw chainMissing(attempt, id);
      await refuseOver(attempt, { id, metadata, removed: true });
      givesWay.push(metadata);
    } catch (thrown) {
      if (!(thrown instanceof Unfit)) throw thrown;
      whyNot ??= thrown;
    }
  }
  return { givesWay, whyNot };
}

/**
 * A copy that cannot be removed serves somebody: it gets what the kept one has. That it does not
 * take it is noted: its removal tells of it already.
 */
async function keepEqual(attempt: Attempt, id: string): Promise<void> {
  if (!attempt.store.abilities.reimportsInPlace) return;
  try {
    const full = await readOrUnreadable(attempt, id);
    if (full === undefined || full === 'vacant') return;
    // The same leaf in another shape: what the service makes of content is counted at the kept
    // copy.
    const isEqual = full !== 'unreadable' && (holdsEqual(attempt, full) || isSameLeafWithKey(attempt, full));
    if (isEqual) return;
    // The kept copy may have a leaf alone, where somebody had damaged it: this one serves with
    // its chain.
    if (full !== 'unreadable' && losesChain(attempt, full.content)) return;
    await refuseOver(attempt, full === 'unreadable' ? { id, unreadable: true } : { id, full });
    await sendReimport(attempt, id);
  } catch (thrown) {
    if (!attempt.isFinding(thrown)) throw thrown;
    if (!attempt.calls.answeredWrite(thrown)) return;
    const notTaken = attempt.task.sound.fingerprint;
    attempt.unremovable = attempt.unremovable.map((copy) => (copy.id === id ? { ...copy, notTaken } : copy));
  }
}
