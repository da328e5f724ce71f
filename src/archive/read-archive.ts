import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../errors.ts';
import { fileError, openRegularFile } from '../regular-file.ts';
import { ageMagic, readAge } from './age.ts';
import { type ArchiveItem, type ArchiveKind, type ArchiveUnlock, fileProblem } from './archive.ts';
import { readPemFolder } from './pem-folder.ts';
import { beginsAsPkcs12, isPkcs12Name, pkcs12Reader } from './pkcs12.ts';
import { readZip, zipMagic } from './zip.ts';

/** An archive of a kind that its first bytes, or its files, tell. */
export interface OpenArchive {
  readonly kind: ArchiveKind;
  /** From its beginning, each time. */
  entries(): AsyncGenerator<ArchiveItem>;
}

/** The first bytes of Java's own keystores, JKS and JCEKS: what `keytool` made before Java 9. */
const javaMagics: readonly string[] = ['\xfe\xed\xfe\xed', '\xce\xce\xce\xce'];

/**
 * Looks which kind of archive stands at a path. Throws `archive_unknown`, `archive_java_keystore`,
 * `archive_unusable` where there is none, what `regular-file.ts` throws, and `interrupted`.
 */
export async function openArchive(path: string, unlock: ArchiveUnlock, signal?: AbortSignal): Promise<OpenArchive> {
  const pkcs12 = await pkcs12Files(path).catch((thrown: unknown) => {
    throw thrown instanceof CodedError && thrown.code === 'file_missing'
      ? fileProblem('reading', path, thrown.cause)
      : thrown;
  });
  if (pkcs12 !== undefined) {
    return pkcs12.length === 0
      ? { kind: 'pem', entries: () => readPemFolder(path, signal) }
      : { kind: 'pkcs12', entries: () => readPkcs12Folder(path, { files: pkcs12, unlock, signal }) };
  }
  const beginning = await firstBytes(path);
  if (beginning.startsWith(ageMagic)) return { kind: 'age', entries: () => readAge(path, unlock, signal) };
  if (beginning.startsWith(zipMagic)) return { kind: 'zip', entries: () => readZip(path, signal) };
  if (javaMagics.some((magic) => beginning.startsWith(magic))) {
    throw new CodedError('archive_java_keystore', `${path} is a keystore of Java's own kind (JKS or JCEKS)`, {
      fields: { archive: path },
    });
  }
  if (isPkcs12Name(path) || beginsAsPkcs12(beginning))
    return { kind: 'pkcs12', entries: () => readPkcs12(path, unlock, signal) };
  throw new CodedError('archive_unknown', `${path} is no archive that is known here`, { fields: { archive: path } });
}

/** The names of the PKCS#12 files in a folder; `undefined` for what is no folder. */
async function pkcs12Files(path: string): Promise<readonly string[] | undefined> {
  try {
    if (!(await stat(path)).isDirectory()) return undefined;
    return (await readdir(path)).filter(isPkcs12Name).sort();
  } catch (thrown) {
    throw fileError(path, thrown);
  }
}

async function* readPkcs12(path: string, unlock: ArchiveUnlock, signal?: AbortSignal): AsyncGenerator<ArchiveItem> {
  const reader = pkcs12Reader(unlock, signal);
  try {
    yield* reader.read(path);
  } finally {
    await reader.close();
  }
}

/**
 * The certificates of a folder of PKCS#12 files, each file for itself, and of the PEM files beside
 * them. Where the passphrase opens none of them, it is the wrong one.
 */
async function* readPkcs12Folder(
  folder: string,
  given: {
    readonly files: readonly string[];
    readonly unlock: ArchiveUnlock;
    readonly signal: AbortSignal | undefined;
  },
): AsyncGenerator<ArchiveItem> {
  const { files, unlock, signal } = given;
  let opened = 0;
  const locked: CodedError[] = [];
  const reader = pkcs12Reader(unlock, signal);
  try {
    for (const file of files) {
      try {
        for await (const item of reader.read(join(folder, file))) yield item;
        opened += 1;
      } catch (thrown) {
        signal?.throwIfAborted();
        if (!(thrown instanceof CodedError)) throw thrown;
        if (isLocked(thrown)) locked.push(thrown);
        else opened += 1;
        yield { entry: file, error: thrown };
      }
    }
  } finally {
    await reader.close();
  }
  if (opened === 0 && locked[0] !== undefined) throw locked[0];
  yield* readPemFolder(folder, signal, (name) => !isPkcs12Name(name));
}

/** Whether the passphrase is what is wrong: that of one file is most often that of all. */
const isLocked = ({ code }: CodedError): boolean =>
  code === 'archive_passphrase_wrong' || code === 'archive_passphrase_missing';

async function firstBytes(path: string): Promise<string> {
  const file = await openRegularFile(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(ageMagic.length), 0, ageMagic.length, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } catch (thrown) {
    throw fileError(path, thrown);
  } finally {
    await file.close();
  }
}
