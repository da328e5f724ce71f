import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { fileError, readRegularFile } from '../regular-file.ts';
import { type ArchiveItem, type ArchiveWriter, fileProblem } from './archive.ts';
import { type ArchiveFile, certbotNames, certificatesIn, type FoundFile, filesOf, folderNames } from './layout.ts';

/**
 * A folder of files with nothing but its owner's rights, which appears under its path only when it
 * is complete.
 */
export async function folderWriter(path: string, filesFor: Parameters<typeof writerInto>[1]): Promise<ArchiveWriter> {
  const partial = `${path}.${randomUUID()}.partial`;
  const there = await stat(path).catch(() => undefined);
  if (there !== undefined)
    throw new CodedError('archive_exists', `there is something at ${path} already`, { fields: { archive: path } });
  try {
    await mkdir(partial, { mode: 0o700 });
  } catch (thrown) {
    throw fileProblem('writing', path, thrown);
  }
  return writerInto({ path, partial }, filesFor);
}

/**
 * As certbot lays out its live folder: a folder per certificate, `privkey.pem` for its owner alone.
 */
export function pemFolderWriter(path: string): Promise<ArchiveWriter> {
  const nameFor = folderNames();
  return folderWriter(path, (certificate) => filesOf(certificate, nameFor(certificate.name), certbotNames));
}

function writerInto(
  { path, partial }: { readonly path: string; readonly partial: string },
  filesFor: (certificate: Parameters<ArchiveWriter['add']>[0]) => readonly ArchiveFile[],
): ArchiveWriter {
  let ended = false;
  return {
    async add(certificate) {
      try {
        for (const file of filesFor(certificate)) {
          const at = file.path.split('/');
          if (at.length === 2) await mkdir(join(partial, at[0] ?? ''), { recursive: true, mode: 0o700 });
          await write(join(partial, file.path), file.bytes, file.secret ? 0o600 : 0o644);
          if (file.secret) file.bytes.fill(0);
        }
      } catch (thrown) {
        throw fileProblem('writing', path, thrown);
      }
    },
    async finish() {
      try {
        await rename(partial, path);
        ended = true;
      } catch (thrown) {
        throw fileProblem('writing', path, thrown);
      }
    },
    async abandon() {
      if (ended) return;
      ended = true;
      await rm(partial, { recursive: true, force: true });
    },
  };
}

async function write(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * The certificates of a folder of PEM files: of one certificate, or of one in each folder of it; of
 * what is in it, only what is `wanted`. Throws `archive_damaged`, what `regular-file.ts` throws of
 * the folder itself, and `interrupted`.
 */
export async function* readPemFolder(
  path: string,
  signal?: AbortSignal,
  wanted: (name: string) => boolean = () => true,
): AsyncGenerator<ArchiveItem> {
  yield* certificatesIn(path, filesIn(path, wanted, signal));
}

/** Links are followed: certbot's folder has nothing else, and it is the caller's own. */
async function* filesIn(
  root: string,
  wanted: (name: string) => boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<FoundFile> {
  for (const name of (await namesIn(root)).filter(wanted)) {
    const path = join(root, name);
    let inner: readonly string[] | undefined;
    try {
      inner = (await stat(path)).isDirectory() ? await namesIn(path) : undefined;
    } catch (thrown) {
      yield { path: name, error: fileError(path, thrown) };
      continue;
    }
    if (inner === undefined) yield await fileAt(root, name, signal);
    for (const file of inner ?? []) yield await fileAt(root, `${name}/${file}`, signal);
  }
}

async function namesIn(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (thrown) {
    throw fileError(path, thrown);
  }
}

async function fileAt(root: string, path: string, signal: AbortSignal | undefined): Promise<FoundFile> {
  try {
    const bounds = { maxBytes: limits.archiveFileBytes, ...defined({ signal }) };
    return { path, bytes: await readRegularFile(join(root, path), bounds) };
  } catch (thrown) {
    signal?.throwIfAborted();
    return { path, error: fileError(join(root, path), thrown) };
  }
}
