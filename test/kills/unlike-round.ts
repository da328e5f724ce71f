import { killRound, type RoundOptions, type RoundResult } from './round.ts';

/** So many certificates are enough: there are three copies of each. */
const mostSubjects = 12;

/**
 * Beside the ordinary backup stand a laggard (an instance whose reads and listings lag, and where
 * more writes than elsewhere land after their answer was lost) and one whose imports take two
 * requests. Workers die between these two, too, and somebody removes copies in both, so that there
 * is always something to import. In every other seed names are unique where imports take two
 * requests.
 */
export function unlikeRound(options: RoundOptions): Promise<RoundResult> {
  const estate = { ...options.estate, subjects: options.estate.subjects.slice(0, mostSubjects) };
  return killRound({ ...options, estate, unlike: true, patience: 3 });
}
