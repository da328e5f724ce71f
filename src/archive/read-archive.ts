import { open, readdir, stat } from 'node:fs/promises';
import { CodedError } from '../errors.ts';
import { ageMagic, readAge } from './age.ts';
import { type ArchiveEntry, type ArchiveKind, type ArchiveUnlock, fileProblem } from './archive.ts';
import { readPemFolder } from './pem-folder.ts';
import { isPkcs12Name, readPkcs12 } from './pkcs12.ts';
import { readZip, zipMagic } from './zip.ts';

/** An archive of a kind that its first bytes, or its files, tell. */
export interface OpenArchive {
  readonly kind: ArchiveKind;
  /** From its beginning, each time. */
  entries(): AsyncGenerator<ArchiveEntry>;
}

/** Looks which kind of archive stands at a path. Throws `archive_unknown` and `archive_unusable`. */
export async function openArchive(path: string, unlock: ArchiveUnlock): Promise<OpenArchive> {
  try {
    if ((await stat(path)).isDirectory()) {
      const pkcs12 = (await readdir(path)).some(isPkcs12Name);
      return pkcs12
        ? { kind: 'pkcs12', entries: () => readPkcs12(path, unlock) }
        : { kind: 'pem', entries: () => readPemFolder(path) };
    }
    const beginning = await firstBytes(path);
    if (beginning.startsWith(ageMagic)) return { kind: 'age', entries: () => readAge(path, unlock) };
    if (beginning.startsWith(zipMagic)) return { kind: 'zip', entries: () => readZip(path) };
    if (isPkcs12Name(path)) return { kind: 'pkcs12', entries: () => readPkcs12(path, unlock) };
  } catch (thrown) {
    throw fileProblem('reading', path, thrown);
  }
  throw new CodedError('archive_unknown', `${path} is no archive that is known here`, { fields: { archive: path } });
}

async function firstBytes(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(ageMagic.length), 0, ageMagic.length, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await file.close();
  }
}
