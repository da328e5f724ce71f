import { sameMark } from '../../store/mark.ts';
import type { VacantElement } from '../../store/store.ts';
import type { Attempt } from './attempt.ts';
import { givenInsteadOf, importCopy } from './import-copy.ts';
import { listedUnread } from './read-copy.ts';
import { refuseOver, refuseUnfit } from './write-copy.ts';

/**
 * Brings back a place of ours that holds no content, and writes over it, where no copy lives; by
 * one import that may be repeated. Answers its id; `undefined` if there is none. A listing may be
 * older than a read: one that lives by now is looked at once more.
 */
export async function bringBack(attempt: Attempt): Promise<string | undefined> {
  const { state } = attempt.look;
  for (const place of attempt.vacant) {
    const now = place.id === state.id ? place : await attempt.calls.vacancyOf(place.id);
    if (now === 'living') throw listedUnread(attempt, place.id);
    if (now === undefined || !sameMark(now.mark, attempt.task.mark)) continue;
    attempt.id = place.id;
    attempt.bringingBack = { ...now, id: place.id };
    refuseUnfit(attempt);
    // What was deleted could be had back as it was, and would be written over.
    if (now.why === 'deleted' && attempt.held?.id === place.id)
      await refuseOver(attempt, { id: place.id, unreadable: true });
    await importCopy(attempt, 'brought-back', undefined, place.id);
    attempt.bringingBack = undefined;
    return place.id;
  }
  return undefined;
}

/**
 * A place of ours that a replacement of this copy fills: one that has the very name that it is to
 * have, which nothing else could have then, though it was deleted; or one that is half made.
 * `undefined` if there is none.
 */
export async function placeOfReplacement(attempt: Attempt, replaced: string): Promise<string | undefined> {
  const { mark } = attempt.task;
  const { name } = attempt.store.asKept(givenInsteadOf(attempt, replaced), mark);
  const hasName = (place: VacantElement) => attempt.store.abilities.uniqueNames && place.name === name;
  const halfMade = attempt.vacant.filter(({ why }) => why === 'half-made');
  for (const { id, why } of new Set([...attempt.vacant.filter(hasName), ...halfMade])) {
    const now = await attempt.calls.vacancyOf(id);
    if (now === 'living') throw listedUnread(attempt, id);
    if (now?.why === why && sameMark(now.mark, mark)) return id;
  }
  return undefined;
}
