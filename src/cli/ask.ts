import { createInterface } from 'node:readline/promises';
import { CodedError } from '../errors.ts';
import type { Host } from './output/output.ts';

/**
 * Asks a person a question that is answered with y or n; anything but y or yes is a no. Throws
 * `usage`, with the option that answers it beforehand, where nobody can be asked, and the signal's
 * reason when it is aborted.
 */
export async function askYesNo(
  question: string,
  { host, option, signal }: { readonly host: Host; readonly option: string; readonly signal: AbortSignal },
): Promise<boolean> {
  const { stdin, stderr } = host;
  if (stdin?.isTTY !== true || stderr.isTTY !== true) {
    throw new CodedError('usage', `nobody can be asked here whether to go on: say ${option}`);
  }
  const lines = createInterface({ input: stdin });
  try {
    stderr.write(`${question} [y/N] `);
    const answer = await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve);
      lines.once('close', () => resolve(''));
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}
