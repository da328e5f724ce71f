import { asCodedError, type CodedError } from '../../errors.ts';
import { type RecordedError, recordedError } from '../../records/replication-record.ts';
import { isOwnLimit } from '../../store/own-limit.ts';
import { tookTurn } from '../refusal.ts';
import { type Attempt, noteOf, type StayingCopy, Unfit } from './attempt.ts';
import { placeOfReplacement } from './bring-back.ts';
import type { Candidate } from './choose-copy.ts';
import { importCopy } from './import-copy.ts';
import { Running } from './operations.ts';
import { isBrakeCode } from './over-copy.ts';
import { confirmCopy, type Holding } from './read-copy.ts';
import { type ContentMadeEqual, makeContentEqual } from './write-copy.ts';

/** The copy that is kept, and is equal. */
export interface MadeEqual extends ContentMadeEqual {
  readonly holding: Holding;
  /** Copies before it in the order that the service does not let us write. */
  readonly refusedIds: readonly string[];
  /** Of these the ones whose content it refuses, and whose place this one takes. */
  readonly replacedIds: readonly string[];
  /** Of these the ones that stay, and why. */
  readonly staying: readonly StayingCopy[];
  /** Why the brake keeps one of them as it is. */
  readonly braked: CodedError | undefined;
  /** What the service said of one of them that was tried in this pass. */
  readonly tried: CodedError | undefined;
}

/**
 * Makes the first copy of the order equal that can be, and keeps that. One that the service does
 * not let us write stays as it is, beside the next one. Where that is because of the content a
 * new copy takes its place, if the ids there are nobody's business.
 */
export async function makeOneEqual(attempt: Attempt, order: readonly Candidate[]): Promise<MadeEqual | 'replaced'> {
  const refused: { readonly id: string; readonly error: CodedError }[] = [];
  const start = startOf(attempt, order);
  const passedOver = order.slice(0, start);
  for (const { id, holding: seen } of [...order.slice(start), ...passedOver]) {
    const holding = seen ?? (await confirmCopy(attempt, id));
    if (holding === undefined) continue;
    attempt.id ??= id;
    try {
      const content = await makeContentEqual(attempt, holding);
      if (id !== attempt.look.state.id) attempt.actions.unshift('adopted');
      attempt.id = id;
      const replacedIds = refused.filter(({ error }) => attempt.mayReplace(error)).map((copy) => copy.id);
      const braked = refused.find(({ error }) => isBrakeCode(error.code))?.error;
      const tried = triedOf(attempt, refused);
      const refusedIds = [...new Set([...refused, ...passedOver].map((copy) => copy.id))].filter((each) => each !== id);
      const staying = stayingBeside(attempt, id, { refused, passedOver });
      return { holding, ...content, refusedIds, replacedIds, staying, braked, tried };
    } catch (thrown) {
      if (thrown instanceof Running) throw thrown;
      const tried = triedOf(attempt, refused);
      if (tried !== undefined && isOwnLimit(asCodedError(thrown))) throw turnTakenBy(tried);
      if (!attempt.isFinding(thrown)) throw thrown;
      refused.push({ id, error: thrown as CodedError });
      attempt.noteReplacing(id, thrown as CodedError);
    }
  }
  const [first] = refused as [{ readonly id: string; readonly error: CodedError }];
  try {
    if (!attempt.mayReplace(first.error)) throw first.error;
    // The old copy is removed as surplus by a later look.
    await importCopy(attempt, 'replaced', first.id, await placeOfReplacement(attempt, first.id));
    attempt.replacing = undefined;
  } catch (thrown) {
    // A finding rests, and is looked at anew as a whole.
    if (attempt.isFinding(thrown)) attempt.replacing = undefined;
    throw thrown;
  }
  return 'replaced';
}

/**
 * What the service said of the first of these copies that it was asked about: one that is to be
 * replaced is not asked about again.
 */
function triedOf(attempt: Attempt, refused: readonly { readonly error: CodedError }[]): CodedError | undefined {
  const isTried = (error: CodedError) => attempt.calls.answeredWrite(error) && !attempt.mayReplace(error);
  return refused.find(({ error }) => isTried(error))?.error;
}

/**
 * The copies before the kept one in the order that are neither equal nor replaced. What the brake
 * keeps is told by itself. One that was passed over was refused what the finding says, by a look
 * before.
 */
function stayingBeside(
  attempt: Attempt,
  kept: string,
  others: {
    readonly refused: readonly { readonly id: string; readonly error: CodedError }[];
    readonly passedOver: readonly Candidate[];
  },
): readonly StayingCopy[] {
  const { lastError } = attempt.look.state;
  const now = others.refused
    .filter(({ error }) => !attempt.mayReplace(error) && !isBrakeCode(error.code))
    .map(({ id, error }) => noteOf(id, recordedError(error, attempt.task.beganAt)));
  const tried = new Set(others.refused.map(({ id }) => id));
  const before = others.passedOver.filter(({ id }) => lastError !== undefined && !tried.has(id));
  return [...now, ...before.map(({ id }) => noteOf(id, lastError as RecordedError))].filter(({ id }) => id < kept);
}

/**
 * With which copy of the order to begin: the first. Where the attempt at one that does not take
 * the content took the turn of the next one, with another at each look: else none would get the
 * content for as long as that lasts.
 */
function startOf(attempt: Attempt, order: readonly Candidate[]): number {
  const { refusal } = attempt.look.state;
  return refusal !== undefined && tookTurn(refusal) ? refusal.looks % order.length : 0;
}

/**
 * The finding of a copy that does not take the content, where the attempt at it took the turn of
 * the next one: that is told, and the next look begins with another. Else each turn would be
 * another look for ever, and nobody would hear why.
 */
export function turnTakenBy({ code, message, cause, fields }: CodedError): Unfit {
  return new Unfit(code, message, { cause, fields: { ...fields, tookTurn: true } });
}
