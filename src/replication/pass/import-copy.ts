import { createHash } from 'node:crypto';
import { metadataDigestOf } from '../../certificate/fingerprint.ts';
import type { Operation } from '../../records/replication-record.ts';
import { formatMark } from '../../store/mark.ts';
import type { DescriptiveMetadata, WriteAnswer } from '../../store/store.ts';
import { descriptiveReplacement } from '../copy-name.ts';
import { type Attempt, Waiting } from './attempt.ts';
import { Running } from './operations.ts';
import { orNameTaken } from './taken-name.ts';
import { believeAnswer, givenNow } from './write-copy.ts';

/**
 * Makes a copy: the only one, one instead of another (`replaces`), or one in a place of ours that
 * holds no content (`into`). Throws `Waiting` while there is doubt: a copy that nobody remembers
 * may be on its way.
 */
export async function importCopy(
  attempt: Attempt,
  action: 'imported' | 'replaced' | 'brought-back',
  replaces?: string,
  into?: string,
): Promise<void> {
  const { mark, naming, sound } = attempt.task;
  const { known, state } = attempt.look;
  if (attempt.look.markedError !== undefined) throw attempt.look.markedError;
  if (known?.state === 'absent' && attempt.wasEqual(state.id ?? '')) attempt.changedByOthers = true;
  const doubt = attempt.look.marked === undefined ? attempt.task.doubt : attempt.openDoubt;
  if (doubt !== undefined) throw new Waiting(doubt);
  const replacement = replaces === undefined ? '' : replacementOf(attempt, replaces);
  const { store, certificate } = mark;
  const token = sha256(`${formatMark({ store, certificate })}${replacement}`);
  const metadata = replaces === undefined ? attempt.given : givenInsteadOf(attempt, replaces);
  const exactName = naming === 'exact' && replaces === undefined;
  const place = into === undefined ? { token, ...(exactName && { exactName }) } : { into };
  const entry = { content: sound.content, metadata, mark, ...place };
  const about = { kind: 'import', ...(into !== undefined && { id: into }), ...givenNow(attempt) } as const;
  const answer = await orNameTaken(attempt, () =>
    beginImport(attempt, about, replaces, (signal) => attempt.store.import(entry, { signal })),
  );
  // Known from here on, whatever comes of the rest: a copy that nobody remembers would be made
  // twice.
  attempt.id = answer.id;
  attempt.noteHeld(answer.id, sound.content, sound.fingerprint);
  attempt.noteWritten(answer.id, answer.metadata, metadataDigestOf(answer.metadata ?? metadata));
  attempt.replaced = true;
  await believeAnswer(attempt, answer);
  attempt.actions.push(action);
}

/**
 * An import with which the service goes on has an id already, if it says one. What it replaces is
 * left behind either way.
 */
async function beginImport(
  attempt: Attempt,
  about: Omit<Operation, 'at' | 'handle' | 'until'>,
  replaces: string | undefined,
  write: (signal: AbortSignal) => Promise<WriteAnswer>,
): Promise<WriteAnswer> {
  const isReplacement = replaces !== undefined;
  try {
    const answer = await attempt.calls.begin(about, write);
    if (isReplacement) attempt.leftBehind = true;
    return answer;
  } catch (thrown) {
    if (thrown instanceof Running) {
      attempt.id = thrown.operation.id;
      if (isReplacement) attempt.leftBehind = true;
    }
    throw thrown;
  }
}

/**
 * Tells a replacement from others: it is made once for each content, and once more for each copy
 * of ours that an earlier attempt left and that could not be taken over, so that neither is in
 * its way.
 */
function replacementOf(attempt: Attempt, replaced: string): string {
  const left = (attempt.look.marked ?? []).map(({ id }) => id).filter((id) => id !== replaced);
  return ` instead of ${[replaced, ...left.toSorted()].join(' and ')} as ${attempt.task.sound.fingerprint}`;
}

/**
 * What a replacement is given. Where names are unique the copy to be replaced still has its name;
 * a later look gives the name over.
 */
export function givenInsteadOf(attempt: Attempt, replaced: string): DescriptiveMetadata {
  return descriptiveReplacement(attempt.given, replacementOf(attempt, replaced), attempt.task.mark, attempt.store);
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
