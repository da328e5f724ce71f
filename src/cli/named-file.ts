import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { fileError, readRegularFileSync, readTextFileSync, whyUnreadable } from '../regular-file.ts';
import { unlessAborted } from '../runtime.ts';

/**
 * The text of a file that the command line names; `what` it is to hold stands in the message.
 * Throws `usage` where there is no such file, else what `regular-file.ts` throws.
 */
export function readNamedFile(path: string, what: string, maxBytes: number = limits.textFileBytes): string {
  try {
    return readTextFileSync(path, { maxBytes });
  } catch (thrown) {
    throw namedFileError(path, what, thrown);
  }
}

/**
 * The text of a file that is signed, or of keys and authorities to trust, as the command line names
 * it; `what` it is stands in the message. Throws `usage`, whatever stands in its way.
 */
export function readSignedFile(path: string, what: string, maxBytes: number): string {
  try {
    return readRegularFileSync(path, { maxBytes }).toString('utf8');
  } catch (thrown) {
    const cause = asCodedError(thrown);
    throw new CodedError('usage', `${what} cannot be read: ${cause.message}`, { cause });
  }
}

/** As `readNamedFile`, and `-` reads standard input to its end, until the signal comes. */
export async function readNamedFileOrInput(path: string, what: string, signal: AbortSignal): Promise<string> {
  return path === '-' ? unlessAborted(signal, readInput(what)) : readNamedFile(path, what);
}

function namedFileError(path: string, what: string, thrown: unknown): CodedError {
  const { code, fields, cause } = fileError(path, thrown);
  const words = `${what} cannot be read from ${path} (${whyUnreadable(path, thrown)})`;
  return new CodedError(code === 'file_missing' ? 'usage' : code, words, { cause, fields });
}

async function readInput(what: string): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > limits.textFileBytes)
      throw new CodedError('usage', `${what} on standard input is longer than ${limits.textFileBytes} bytes`);
    parts.push(part);
  }
  const bytes = Buffer.concat(parts);
  const text = bytes.toString('utf8');
  for (const part of [...parts, bytes]) part.fill(0);
  return text;
}
