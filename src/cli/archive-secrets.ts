import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { Secret } from '../secret.ts';
import { readNamedFileOrInput } from './named-file.ts';

/**
 * Where a passphrase may stand when it is in no file. Never on the command line, where every user
 * of the machine reads it.
 */
export const passphraseVariable = 'CERTSTANDBY_PASSPHRASE';

/**
 * The passphrase in the first line of a file (`-` is standard input), or in
 * `CERTSTANDBY_PASSPHRASE`; `undefined` if there is neither. A new one (`fresh`) must not be short:
 * private keys rest on it. One that opens may be empty, as some programs export, where a file says
 * so: a variable that is empty is most often one that nobody set. Throws `usage`, and what
 * `regular-file.ts` throws.
 */
export async function readPassphrase(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  { fresh, signal }: { readonly fresh: boolean; readonly signal: AbortSignal },
): Promise<Secret | undefined> {
  const text = file === undefined ? env[passphraseVariable] : ((await lines(file, 'the passphrase', signal))[0] ?? '');
  if (text === undefined) return undefined;
  if (text === '' && fresh) throw new CodedError('usage', 'the passphrase is empty');
  if (text === '' && file === undefined) return undefined;
  if (fresh && text.length < limits.passphraseCharacters) {
    throw new CodedError(
      'usage',
      `the passphrase has ${text.length} characters; ${limits.passphraseCharacters} are the least`,
    );
  }
  return new Secret(text);
}

/**
 * The lines of a file of age identities or recipients (`-` is standard input) that are no comments.
 * Throws as `readPassphrase`.
 */
export async function readAgeLines(file: string, what: string, signal: AbortSignal): Promise<readonly string[]> {
  const found = (await lines(file, what, signal)).filter((line) => line !== '' && !line.startsWith('#'));
  if (found.length === 0) throw new CodedError('usage', `${file} holds no ${what}`);
  return found;
}

async function lines(file: string, what: string, signal: AbortSignal): Promise<readonly string[]> {
  return (await readNamedFileOrInput(file, what, signal)).split(/\r?\n/);
}
