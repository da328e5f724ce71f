import { readFileSync } from 'node:fs';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { Secret } from '../secret.ts';

/** Where a passphrase may stand when it is in no file. Never on the command line, where every user of the machine reads it. */
export const passphraseVariable = 'CERTSTANDBY_PASSPHRASE';

/**
 * The passphrase in the first line of a file, or in `CERTSTANDBY_PASSPHRASE`; `undefined` if there is neither. A new one (`fresh`) must
 * not be short: private keys rest on it. Throws `usage`.
 */
export function readPassphrase(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  { fresh }: { readonly fresh: boolean },
): Secret | undefined {
  const text = file === undefined ? env[passphraseVariable] : lines(file, 'the passphrase')[0];
  if (file === undefined && text === undefined) return undefined;
  if (text === undefined || text === '') throw new CodedError('usage', 'the passphrase is empty');
  if (fresh && text.length < limits.passphraseCharacters) {
    throw new CodedError(
      'usage',
      `the passphrase has ${text.length} characters; ${limits.passphraseCharacters} are the least`,
    );
  }
  return new Secret(text);
}

/** The lines of a file of age identities or recipients that are no comments. Throws `usage`. */
export function readAgeLines(file: string, what: string): readonly string[] {
  const found = lines(file, what).filter((line) => line !== '' && !line.startsWith('#'));
  if (found.length === 0) throw new CodedError('usage', `${file} holds no ${what}`);
  return found;
}

function lines(file: string, what: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/);
  } catch (cause) {
    const { code = 'error' } = cause as NodeJS.ErrnoException;
    throw new CodedError('usage', `${what} cannot be read from ${file} (${code})`, { cause });
  }
}
