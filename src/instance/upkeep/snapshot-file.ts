import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, link, mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { fileError, openRegularFile, whyUnreadable } from '../../regular-file.ts';
import { damaged } from './snapshot-format.ts';

const chunkBytes = 256 * 1024;

/** A file of lines that is being written: there whole, or not at all. */
export interface LineWriter {
  /** SHA-256, as hex, of every byte written so far. */
  digest(): string;
  write(line: string): Promise<void>;
}

/**
 * Writes a file of lines, mode 0600, beside its place, brings it to disk, and only then puts it
 * there. Whatever throws leaves nothing. Throws `archive_exists` if something stands there, also if
 * it came meanwhile, and `archive_unusable`.
 */
export async function writeLines(path: string, work: (writer: LineWriter) => Promise<void>): Promise<void> {
  const partial = `${path}.${randomUUID()}.partial`;
  const hash = createHash('sha256');
  let file: FileHandle | undefined;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    file = await open(partial, 'wx', 0o600);
    const handle = file;
    let pending: Buffer[] = [];
    let bytes = 0;
    const flush = async () => {
      const chunk = Buffer.concat(pending);
      pending = [];
      bytes = 0;
      await handle.appendFile(chunk);
    };
    await work({
      digest: () => hash.copy().digest('hex'),
      async write(line) {
        const chunk = Buffer.from(line);
        hash.update(chunk);
        pending.push(chunk);
        bytes += chunk.length;
        if (bytes >= chunkBytes) await flush();
      },
    });
    await flush();
    await handle.sync();
    await handle.close();
    file = undefined;
    // A link and not a rename: what stands there meanwhile is not replaced.
    await link(partial, path);
    await syncFolder(dirname(path));
  } catch (thrown) {
    throw fileProblem('written', path, thrown);
  } finally {
    await file?.close();
    // What is left all the same is removed with the snapshots of its day.
    await rm(partial, { force: true }).catch(() => undefined);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * The lines of a file, without their ends, each with the SHA-256 (hex) of every byte before it.
 * Throws `snapshot_damaged` for an end in the middle of a line and for a line that is too long, and
 * `archive_unusable`.
 */
export async function* readLines(
  path: string,
): AsyncGenerator<{ readonly line: string; readonly before: () => string }> {
  const hash = createHash('sha256');
  let rest = Buffer.alloc(0);
  const file = await openRegularFile(path).catch((thrown: unknown) => {
    const { code, fields } = fileError(path, thrown);
    const words = `${path} cannot be read (${whyUnreadable(path, thrown)})`;
    throw new CodedError(code === 'file_missing' ? 'archive_unusable' : code, words, { cause: thrown, fields });
  });
  try {
    for await (const chunk of file.createReadStream({ highWaterMark: chunkBytes })) {
      rest = Buffer.concat([rest, chunk as Buffer]);
      for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
        const bytes = rest.subarray(0, end + 1);
        yield { line: bytes.toString('utf8', 0, end), before: () => hash.copy().digest('hex') };
        hash.update(bytes);
        rest = rest.subarray(end + 1);
      }
      if (rest.length > limits.snapshotLineBytes) throw damaged(path, 'a line in it is longer than one can be');
    }
  } catch (thrown) {
    throw fileProblem('read', path, thrown);
  }
  if (rest.length > 0) throw damaged(path, 'it ends in the middle of a line');
}

/**
 * What it means that the system will not have a file written or read. Other failures as they are.
 */
function fileProblem(what: 'written' | 'read', path: string, thrown: unknown): unknown {
  const { code, syscall } = (thrown ?? {}) as NodeJS.ErrnoException;
  if (thrown instanceof CodedError || typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) return thrown;
  const details = { cause: thrown, fields: { path } };
  if (code === 'EEXIST' && syscall === 'link')
    return new CodedError('archive_exists', `there is something at ${path} already`, details);
  return new CodedError('archive_unusable', `${path} cannot be ${what} (${code})`, details);
}
