import { asCodedError } from '../../errors.ts';
import { visible } from '../../foreign-text.ts';
import { isWhole, sameMark } from '../../store/mark.ts';
import type { CertificateMetadata } from '../../store/store.ts';
import { type Attempt, Unfit, Waiting } from './attempt.ts';

/**
 * Sends a write that gives a copy its name. Where readers look for that name (`exact`) and
 * something else has it, that is a finding for a person, and never a reason to take the name:
 * what has it is not ours, or is kept by another link or another deployment.
 */
export async function orNameTaken<T>(attempt: Attempt, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (thrown) {
    const error = asCodedError(thrown);
    if (attempt.task.naming !== 'exact' || error.code !== 'store_conflict') throw thrown;
    const { certificate } = error.fields;
    const holder = typeof certificate === 'string' ? await attempt.calls.readMetadata(certificate) : undefined;
    // One of ours from a write that nobody heard the end of is adopted by the look that doubt
    // brings.
    const isClear = holder !== undefined || attempt.look.marked !== undefined;
    if (!isClear || sameMark(holder?.mark, attempt.task.mark)) throw thrown;
    const { name } = attempt.given;
    const whose = holder === undefined ? 'something else' : wordsOfHolder(holder);
    const remedy =
      holder?.mark === undefined
        ? 'Rename or remove it there, or take naming: exact off the link.'
        : 'Only one of the two may name copies exactly there: take the certificate out of the filter of one link, or naming: exact off it.';
    const fields = { store: attempt.store.id, name, ...(holder && { holder: holder.id }), remedy };
    throw new Unfit('store_name_taken', `the name ${name} is taken in ${attempt.store.id}, by ${whose}`, {
      cause: thrown,
      fields,
    });
  }
}

/**
 * That a copy which has the content waits for its name. No living copy of ours has that: most
 * likely one that was removed, whose place the service keeps for days. To ask again and again,
 * and in doubt each time, would free nothing. `undefined`: there may be a living one, as not all
 * were looked for in this pass, or there is doubt.
 */
export function nameNotFree(attempt: Attempt, copy: string, cause: unknown): Unfit | undefined {
  if (attempt.look.marked === undefined || attempt.openDoubt !== undefined) return undefined;
  const { name } = attempt.given;
  const message = `${copy} has the content, and keeps another name: ${name} is taken in ${attempt.store.id}, by nothing of ours that lives`;
  const remedy =
    'Wait until the service gives up the place of what was deleted, or purge that there: the name follows.';
  return new Unfit('store_name_taken', message, { cause, fields: { store: attempt.store.id, name, copy, remedy } });
}

/**
 * What has to come first, where a name is taken that a surplus copy of ours may have: the end of
 * the search for such copies, or of the doubt until which none is removed. That is no news of a
 * conflict, and must not begin doubt anew: it would be younger than each search that outlasts a
 * look, and nothing would be removed ever. `undefined`: it is news.
 */
export function surplusMayHaveName(attempt: Attempt, kept: string): unknown {
  if (attempt.task.doubt === undefined) return undefined;
  const { marked, markedError } = attempt.look;
  if (markedError !== undefined) return markedError;
  const isThere = marked?.some(({ id }) => id !== kept) === true;
  const doubt = attempt.openDoubt;
  return isThere && doubt !== undefined ? new Waiting(doubt) : undefined;
}

/** Who keeps a certificate that has a name which a copy is to have. */
function wordsOfHolder({ id, mark, keptBy }: CertificateMetadata): string {
  if (mark === undefined) return `${id}, which ${keptBy === undefined ? 'is not ours' : `${visible(keptBy)} keeps`}`;
  const of = isWhole(mark) ? `${mark.certificate} of ${mark.store}` : 'another certificate';
  return `${id}, the copy of ${of}: another link, or another deployment, copies into it too`;
}
