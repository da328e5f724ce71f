import { factsOf } from '../../certificate/facts.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { type FoundMark, formatMark, sameMark } from '../../store/mark.ts';
import type { VacantElement } from '../../store/store.ts';
import type { Attempt } from './attempt.ts';
import { confirmCopy, type Holding } from './read-copy.ts';

/** A copy that may be the kept one; `holding` once it has been seen. */
export interface Candidate {
  readonly id: string;
  readonly holding?: Holding;
}

/**
 * The copies that are ours and live, in the order in which everyone keeps them: the smallest id
 * first. The order is by id alone: by use or by equality it would change between two looks, and
 * two deployments on one pair would remove each other's copies until none is left. Of what the
 * search shows the first that a read confirms is read here; `unread`: something that it shows is
 * not there by a read.
 */
export async function chooseCopies(
  attempt: Attempt,
): Promise<{ readonly order: readonly Candidate[]; readonly unread: CodedError | undefined }> {
  const { known, state, marked = [] } = attempt.look;
  const { mark } = attempt.task;
  const candidates: Candidate[] = marked.filter(({ id }) => id !== state.id).map(({ id }) => ({ id }));
  if (known?.state === 'present') {
    const metadata = known.value;
    if (metadata.mark !== undefined && !sameMark(metadata.mark, mark))
      throw copyNotOurs(attempt, metadata.id, metadata.mark);
    candidates.push({ id: metadata.id, holding: { id: metadata.id, metadata } });
  }
  if (known?.state === 'vacant' && known.mark !== undefined && !sameMark(known.mark, mark))
    throw copyNotOurs(attempt, state.id ?? '', known.mark);
  attempt.vacant = placesOfOurs(attempt);
  if (known?.state === 'unreadable') {
    if (known.error.code !== 'store_content_unreadable' || state.id === undefined) throw known.error;
    candidates.push({ id: state.id, holding: { id: state.id, unreadable: true } });
  }
  candidates.sort((a, b) => (a.id < b.id ? -1 : 1));
  const order: Candidate[] = [];
  let unread: CodedError | undefined;
  for (const { id, holding } of candidates) {
    // One that lives is enough; the others are read when they are needed.
    if (holding !== undefined || order.length > 0) {
      order.push({ id, ...(holding && { holding }) });
      continue;
    }
    try {
      const found = await confirmCopy(attempt, id);
      if (found !== undefined) order.push({ id, holding: found });
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (error.code !== 'store_listed_unread') throw thrown;
      unread ??= error;
    }
  }
  const unclear = order.length === 0 && unread === undefined ? ofUnclearMark(attempt) : undefined;
  return { order: unclear === undefined ? order : [{ id: unclear.id, holding: unclear }], unread };
}

function copyNotOurs(attempt: Attempt, copy: string, mark: FoundMark): CodedError {
  return new CodedError('store_copy_not_ours', `the copy ${copy} carries the mark of another certificate`, {
    fields: { store: attempt.store.id, copy, mark: formatMark(mark) },
  });
}

/** What is vacant and ours, by its mark: the recorded one first. */
function placesOfOurs(attempt: Attempt): readonly VacantElement[] {
  const { known, state, vacant = [] } = attempt.look;
  const { mark } = attempt.task;
  const recorded =
    known?.state === 'vacant' && state.id !== undefined && sameMark(known.mark, mark)
      ? [{ id: state.id, ...known }]
      : [];
  const others = vacant.filter((place) => place.id !== state.id && sameMark(place.mark, mark));
  return [...recorded, ...others.toSorted((a, b) => (a.id < b.id ? -1 : 1))];
}

/**
 * A copy whose mark cannot be read may be ours, as the record of it may be lost. It is if it
 * holds this very leaf: then it is written anew, and described. One for the same domains with
 * another leaf may be, and only a person can say so: a second copy is not made beside it. Any
 * other is not ours to wait for.
 */
function ofUnclearMark(attempt: Attempt): Holding | undefined {
  const facts = factsOf(attempt.task.sound.content);
  const alike = (attempt.look.unreadable ?? []).filter(
    ({ id, facts: theirs }) =>
      id !== attempt.look.state.id && theirs?.domains.some((domain) => facts.domains.includes(domain)),
  );
  const [first] = alike;
  if (first === undefined) return undefined;
  const ours = alike.find((copy) => copy.facts?.serial === facts.serial && copy.facts?.issuer === facts.issuer);
  if (ours?.id === undefined) {
    const fields = { store: attempt.store.id, copy: first.id, place: first.place };
    throw new CodedError(
      'store_copy_unclear',
      `a copy for the same domains may be of this certificate, and its mark cannot be read: ${first.error.message}`,
      { cause: first.error, fields },
    );
  }
  return { id: ours.id, unreadable: true };
}
