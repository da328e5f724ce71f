import { unpackWorkerBefore } from '../version-before/worker.ts';
import { killRound, type RoundOptions, type RoundResult } from './round.ts';

/**
 * Workers of the version before and of this one on one table. First every other life of each is an
 * old one, so that both are at work at once; then all are new; then all are old again, or, every
 * other seed, the other way round. Whoever is left says what is still to be done, and the table is
 * read by the new one.
 */
export async function versionsRound(options: RoundOptions): Promise<RoundResult> {
  const before = unpackWorkerBefore();
  const lives = Math.floor(options.kills / options.workers);
  const [first, last] = options.seed % 2 === 0 ? [options.program, before.file] : [before.file, options.program];
  const programOf = (worker: number, life: number) => {
    if (life < lives / 3) return (worker + life) % 2 === 0 ? options.program : before.file;
    return life < (2 * lives) / 3 ? first : last;
  };
  try {
    return await killRound({ ...options, programOf });
  } finally {
    before.dispose();
  }
}
