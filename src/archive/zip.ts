import { randomUUID } from 'node:crypto';
import { link, open, readFile, rm, stat } from 'node:fs/promises';
import { Unzip, UnzipInflate, Zip, ZipDeflate } from 'fflate';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type ArchiveEntry, type ArchiveWriter, damaged, fileProblem } from './archive.ts';
import { type ArchiveFile, certificateManagerNames, certificatesIn, filesOf, folderNames } from './layout.ts';

/** The first bytes of a zip: a file's header, or the end of an empty one. */
export const zipMagic = 'PK';

/** A zip of folders with Certificate Manager's file names. Not encrypted; for its owner alone. Throws `archive_exists` and `archive_unusable`. */
export async function zipWriter(path: string): Promise<ArchiveWriter> {
  const partial = `${path}.${randomUUID()}.partial`;
  const there = await stat(path).catch(() => undefined);
  if (there !== undefined)
    throw new CodedError('archive_exists', `there is something at ${path} already`, { fields: { archive: path } });
  const file = await open(partial, 'wx', 0o600).catch((thrown) => Promise.reject(fileProblem('writing', path, thrown)));
  const pieces: Uint8Array[] = [];
  const zip = new Zip((error, piece) => {
    if (error) throw error;
    pieces.push(piece);
  });
  const nameFor = folderNames();
  let added = 0;
  let ended = false;
  const writePieces = async () => {
    for (const piece of pieces.splice(0)) {
      await file.writeFile(piece);
      piece.fill(0);
    }
  };
  return {
    async add(certificate) {
      added += 1;
      if (added > limits.zipCertificates) {
        throw new CodedError(
          'archive_unusable',
          `a zip holds ${limits.zipCertificates} certificates at the most; use age`,
        );
      }
      try {
        for (const { path, bytes, secret } of filesOf(
          certificate,
          nameFor(certificate.name),
          certificateManagerNames,
        )) {
          const entry = new ZipDeflate(path);
          entry.os = 3; // Unix: the upper half of the attributes are the permissions.
          entry.attrs = ((0o100000 | (secret ? 0o600 : 0o644)) << 16) >>> 0;
          zip.add(entry);
          entry.push(bytes, true);
          await writePieces();
          if (secret) bytes.fill(0);
        }
      } catch (thrown) {
        throw fileProblem('writing', path, thrown);
      }
    },
    async finish() {
      try {
        zip.end();
        await writePieces();
        await file.sync();
        await file.close();
        await link(partial, path);
        ended = true;
        await rm(partial);
      } catch (thrown) {
        throw fileProblem('writing', path, thrown);
      }
    },
    async abandon() {
      if (ended) return;
      ended = true;
      await file.close().catch(() => undefined);
      await rm(partial, { force: true });
    },
  };
}

/** The certificates of a zip. Throws `archive_damaged` and `archive_unusable`. */
export async function* readZip(path: string): AsyncGenerator<ArchiveEntry> {
  const { size } = await stat(path);
  const most = limits.zipCertificates * 64 * 1024;
  if (size > most) throw damaged(path, `it has ${size} bytes, and no zip of certificates has more than ${most}`);
  const bytes = await readFile(path).catch((thrown) => Promise.reject(fileProblem('reading', path, thrown)));
  const expected = filesSaid(path, bytes);
  yield* certificatesIn(path, filesIn(path, bytes, expected));
}

async function* filesIn(
  archive: string,
  bytes: Uint8Array,
  expected: number,
): AsyncGenerator<Pick<ArchiveFile, 'path' | 'bytes'>> {
  const whole: Pick<ArchiveFile, 'path' | 'bytes'>[] = [];
  let found = 0;
  const unzip = new Unzip((file) => {
    found += 1;
    if (file.name.endsWith('/')) return;
    const parts: Buffer[] = [];
    let length = 0;
    file.ondata = (error, part, last) => {
      if (error) throw error;
      length += part.length;
      if (length > limits.archiveFileBytes)
        throw damaged(
          archive,
          `${JSON.stringify(file.name)} unpacks to more than ${limits.archiveFileBytes} bytes, which no PEM file has`,
        );
      parts.push(Buffer.from(part));
      if (last) whole.push({ path: file.name, bytes: Buffer.concat(parts) });
    };
    file.start();
  });
  unzip.register(UnzipInflate);
  const piece = 64 * 1024;
  try {
    for (let at = 0; at < bytes.length; at += piece) {
      unzip.push(bytes.subarray(at, at + piece), at + piece >= bytes.length);
      yield* whole.splice(0);
    }
  } catch (thrown) {
    if (thrown instanceof CodedError) throw thrown;
    throw damaged(archive, 'it is cut short, encrypted, or was changed', thrown);
  }
  if (found !== expected) throw damaged(archive, `its directory names ${expected} files, and it holds ${found}`);
}

/** How many files the directory at the end says (APPNOTE 4.3.16); a zip that was cut has no such end. */
function filesSaid(path: string, bytes: Buffer): number {
  const at = bytes.lastIndexOf(Buffer.from('PK\u0005\u0006', 'latin1'));
  if (at < 0 || at + 22 > bytes.length) throw damaged(path, 'its end is missing');
  const files = bytes.readUInt16LE(at + 10);
  if (files > 6 * limits.zipCertificates)
    throw damaged(path, `it holds more than ${limits.zipCertificates} certificates`);
  return files;
}
