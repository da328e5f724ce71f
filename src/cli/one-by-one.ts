import { asCodedError } from '../errors.ts';
import type { Output } from './output/output.ts';

/**
 * Does the same for each of several, one after the other. One that fails is told of by its name,
 * and keeps no other from its turn. Answers the exit code of what failed, 0 if nothing did. Where
 * there is only one, its failure is thrown, and so are mistakes in the command line and a signal.
 */
export async function oneByOne<T>(
  those: readonly T[],
  nameOf: (one: T) => string,
  output: Output,
  work: (one: T) => Promise<void>,
): Promise<number> {
  let exit = 0;
  for (const one of those) {
    try {
      await work(one);
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (those.length === 1 || error.code === 'usage' || error.code === 'interrupted') throw thrown;
      output.problem(error, nameOf(one));
      output.item({ about: nameOf(one), error: { code: error.code, message: error.message } });
      exit = Math.max(exit, error.entry.exit);
    }
  }
  return exit;
}
