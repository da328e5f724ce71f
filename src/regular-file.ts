import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CodedError, type ErrorCode } from './errors.ts';

/**
 * The one way in which the program reads a file that somebody else may have made. Only regular
 * files are read, never more bytes than the caller allows, and never with waiting for a writer: a
 * pipe, a device, a folder or a file without end in the place of a file is an error that names the
 * path and what was found there.
 */

export interface FileBounds {
  /**
   * The largest file that is read, in bytes. It counts while reading: what the system says of a
   * size may be wrong.
   */
  readonly maxBytes: number;
  /** Ends the reading with `interrupted`, also where the file system does not answer. */
  readonly signal?: AbortSignal;
}

/**
 * The bytes of a regular file, in memory of their own, so that the caller can overwrite them.
 * Throws `file_missing` where nothing has this name, `file_link_dangling`, `file_link_loop`,
 * `file_not_regular`, `file_forbidden`, `file_too_large`, `file_unreadable` for whatever else the
 * system answers, and `interrupted`.
 */
export function readRegularFile(path: string, bounds: FileBounds): Promise<Buffer> {
  return endedBy(bounds.signal, path, async () => {
    const file = await openRegularFile(path);
    let bytes: Buffer = Buffer.alloc(0);
    let length = 0;
    try {
      bytes = firstRoom(path, await file.stat(), bounds.maxBytes);
      for (;;) {
        const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
        refuseEnded(path, bounds.signal);
        if (bytesRead === 0) return bytes.subarray(0, length);
        length += bytesRead;
        bytes = moreRoom(path, bytes, length, bounds.maxBytes);
      }
    } catch (thrown) {
      bytes.fill(0);
      throw fileError(path, thrown);
    } finally {
      await file.close();
    }
  });
}

/**
 * As `readRegularFile`, for the moments before anything else goes on: it waits for the file system.
 */
export function readRegularFileSync(path: string, { maxBytes }: Pick<FileBounds, 'maxBytes'>): Buffer {
  let bytes: Buffer = Buffer.alloc(0);
  let length = 0;
  let file: number | undefined;
  try {
    refuseOther(path, statSync(path));
    file = openSync(path, readingFlags);
    bytes = firstRoom(path, fstatSync(file), maxBytes);
    for (;;) {
      const bytesRead = readSync(file, bytes, length, bytes.length - length, null);
      if (bytesRead === 0) return bytes.subarray(0, length);
      length += bytesRead;
      bytes = moreRoom(path, bytes, length, maxBytes);
    }
  } catch (thrown) {
    bytes.fill(0);
    throw fileError(path, thrown);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/**
 * The text of a regular file, as `readRegularFileSync` reads it; its bytes are overwritten, since
 * it may hold a secret.
 */
export function readTextFileSync(path: string, bounds: Pick<FileBounds, 'maxBytes'>): string {
  const bytes = readRegularFileSync(path, bounds);
  const text = bytes.toString('utf8');
  bytes.fill(0);
  return text;
}

/**
 * Opens a regular file for reading, for those who read it in pieces and keep a bound of their own.
 * Throws as `readRegularFile`. The caller closes it.
 */
export async function openRegularFile(path: string): Promise<FileHandle> {
  let file: FileHandle | undefined;
  try {
    // Before it is opened: with some devices opening alone does something. After it: another one
    // may stand there by then.
    refuseOther(path, await stat(path));
    file = await open(path, readingFlags);
    refuseOther(path, await file.stat());
    return file;
  } catch (thrown) {
    await file?.close();
    throw fileError(path, thrown);
  }
}

/**
 * The answer of a reading, or `undefined` where nothing has this name. What cannot be read is
 * thrown: it is not absent.
 */
export async function ifThere<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (thrown) {
    if (thrown instanceof CodedError && thrown.code === 'file_missing') return undefined;
    throw thrown;
  }
}

/**
 * What the system said of a path, as a coded error that names the path, what stands there, and the
 * link or folder in its way.
 */
export function fileError(path: string, thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const system = (thrown as NodeJS.ErrnoException | undefined)?.code ?? 'no code';
  const { code, found } = explain(path, system);
  return new CodedError(code, `${path}: ${found} (${system})`, { cause: thrown, fields: { path, found } });
}

/**
 * Why a file cannot be read, in the few words that stand in brackets after "cannot be read":
 * `ENOENT`, `a named pipe`.
 */
export function whyUnreadable(path: string, thrown: unknown): string {
  const { code, message, fields } = fileError(path, thrown);
  if (code === 'file_missing') return 'ENOENT';
  return typeof fields.found === 'string' ? fields.found : message;
}

/** What stands there, for people: `a folder`. */
export function kindOfFile(stats: Pick<Stats, 'mode'>): string {
  return kinds.get(stats.mode & constants.S_IFMT) ?? 'no file';
}

const kinds = new Map<number, string>([
  [constants.S_IFREG, 'a file'],
  [constants.S_IFDIR, 'a folder'],
  [constants.S_IFLNK, 'a symbolic link'],
  [constants.S_IFIFO, 'a named pipe'],
  [constants.S_IFSOCK, 'a socket'],
  [constants.S_IFCHR, 'a character device'],
  [constants.S_IFBLK, 'a block device'],
]);

/** A pipe does not wait for its writer, and a terminal does not become ours. */
const readingFlags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * How much of a file is read at first where the system says that it is empty, as it does of
 * everything under /proc.
 */
const unknownSizeBytes = 4 * 1024;

function refuseOther(path: string, stats: Stats): void {
  if (stats.isFile()) return;
  const found = kindOfFile(stats);
  throw new CodedError('file_not_regular', `${path} is ${found}`, { fields: { path, found } });
}

/**
 * Room for the whole file and one byte more, which tells a file that has grown. Throws unless it is
 * a regular file in its bounds.
 */
function firstRoom(path: string, stats: Stats, maxBytes: number): Buffer {
  refuseOther(path, stats);
  if (stats.size > maxBytes) throw tooLarge(path, `has ${stats.size} bytes`, maxBytes);
  return Buffer.alloc(Math.min(Math.max(stats.size, unknownSizeBytes), maxBytes) + 1);
}

/**
 * The same bytes with room for more where it is full. What was left behind is overwritten: it may
 * be a key.
 */
function moreRoom(path: string, bytes: Buffer, length: number, maxBytes: number): Buffer {
  if (length > maxBytes) throw tooLarge(path, 'grows beyond that while it is read', maxBytes);
  if (length < bytes.length) return bytes;
  const larger = Buffer.alloc(Math.min(2 * bytes.length, maxBytes + 1));
  bytes.copy(larger);
  bytes.fill(0);
  return larger;
}

function tooLarge(path: string, has: string, maxBytes: number): CodedError {
  const fields = { path, maxBytes };
  return new CodedError('file_too_large', `${path} ${has}, and at most ${maxBytes} are read`, { fields });
}

/** What an answer of the system means where the path itself does not tell. */
const meanings: Readonly<Record<string, string>> = {
  EIO: 'the disk or the mount reports an input or output error',
  ESTALE: 'the file server no longer knows it: mount it again',
  ENOTCONN: 'the file server is not connected',
  EHOSTDOWN: 'the file server does not answer',
  ETIMEDOUT: 'the file server does not answer',
  EMFILE: 'this process has too many files open',
  ENFILE: 'the system has too many files open',
  ENAMETOOLONG: 'the name is longer than the file system takes',
  ENOMEM: 'the system is out of memory',
  EAGAIN: 'nothing can be read from it now',
};

interface Explanation {
  readonly code: ErrorCode;
  readonly found: string;
}

/**
 * Looks again, along the path: the system's code does not say whether the file or a folder on the
 * way is meant. It does not wait long, as that file system has just answered.
 */
function explain(path: string, system: string): Explanation {
  if (system === 'EISDIR') return { code: 'file_not_regular', found: 'a folder stands there' };
  if (system === 'ENXIO' || system === 'ENODEV')
    return { code: 'file_not_regular', found: 'a socket or a device stands there' };
  if (system === 'ELOOP') return { code: 'file_link_loop', found: 'its symbolic links lead in a circle' };
  if (system === 'ENOENT') return explainMissing(path);
  if (system === 'ENOTDIR') return { code: 'file_unreadable', found: `${blockedAt(path)} is no folder` };
  if (system === 'EACCES' || system === 'EPERM') return explainForbidden(path);
  return { code: 'file_unreadable', found: meanings[system] ?? 'the system does not give it' };
}

/**
 * Nothing has this name, or a link leads to nothing: what it led to may be there, where somebody
 * unmounted it.
 */
function explainMissing(path: string): Explanation {
  for (const step of stepsTo(path)) {
    const there = lookAt(lstatSync, step);
    if (there === undefined) break;
    if (there.isSymbolicLink() && lookAt(statSync, step) === undefined) {
      const found =
        step === resolve(path)
          ? 'a symbolic link that leads to nothing'
          : `${step} is a symbolic link that leads to nothing`;
      return { code: 'file_link_dangling', found };
    }
  }
  return { code: 'file_missing', found: 'nothing has this name' };
}

function explainForbidden(path: string): Explanation {
  const steps = stepsTo(path);
  for (const [at, step] of steps.entries()) {
    const above = steps[at - 1];
    if (lookAt(statSync, step) !== undefined || above === undefined) continue;
    return { code: 'file_forbidden', found: `${us()} may not enter the folder ${above}${ownerOf(above)}` };
  }
  return { code: 'file_forbidden', found: `${us()} may not read it${ownerOf(path)}` };
}

function us(): string {
  const uid = process.geteuid?.();
  return uid === undefined ? 'this user' : `user ${uid}`;
}

function ownerOf(path: string): string {
  const stats = lookAt(statSync, path);
  if (stats === undefined) return '';
  return `, which belongs to user ${stats.uid} and has mode ${(stats.mode & 0o7777).toString(8).padStart(4, '0')}`;
}

/** The first step on the way that is there and is no folder. */
function blockedAt(path: string): string {
  return (
    stepsTo(dirname(resolve(path))).find((step) => lookAt(statSync, step)?.isDirectory() === false) ?? dirname(path)
  );
}

/** `/a/b` in steps: `/`, `/a`, `/a/b`. */
function stepsTo(path: string): readonly string[] {
  const steps = [resolve(path)];
  for (let step = dirname(resolve(path)); step !== steps[0]; step = dirname(step)) steps.unshift(step);
  return steps;
}

function lookAt(look: (path: string) => Stats, path: string): Stats | undefined {
  try {
    return look(path);
  } catch {
    return undefined;
  }
}

function refuseEnded(path: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CodedError('interrupted', `reading ${path} was ended`, { cause: signal.reason });
}

/** What the work comes to, or `interrupted` as soon as the signal says so. */
export async function endedBy<T>(signal: AbortSignal | undefined, path: string, work: () => Promise<T>): Promise<T> {
  refuseEnded(path, signal);
  if (signal === undefined) return work();
  return new Promise<T>((settle, fail) => {
    const end = () => {
      try {
        refuseEnded(path, signal);
      } catch (ended) {
        fail(ended);
      }
    };
    signal.addEventListener('abort', end, { once: true });
    work()
      .then(settle, fail)
      .finally(() => signal.removeEventListener('abort', end));
  });
}
