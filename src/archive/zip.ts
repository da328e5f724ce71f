import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, open, rm, stat } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { Zip, ZipDeflate } from 'fflate';
import { type Entry, fromBufferPromise, getFileNameLowLevel, type ZipFile } from 'yauzl';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { readRegularFile } from '../regular-file.ts';
import { type ArchiveItem, type ArchiveWriter, damaged, entryDamaged, fileProblem } from './archive.ts';
import { certificateManagerNames, certificatesIn, type FoundFile, filesOf, folderNames } from './layout.ts';

/** The first bytes of a zip: a file's header, or the end of an empty one. */
export const zipMagic = 'PK';

/**
 * A zip of folders with Certificate Manager's file names. Not encrypted; for its owner alone.
 * Throws `archive_exists` and `archive_unusable`.
 */
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

/**
 * The certificates of a zip. Its directory, at its end, says what is in it, so that one that was
 * cut is `archive_damaged`; a file that does not unpack to what the directory says refuses its
 * certificate alone. Throws what `regular-file.ts` throws, and `interrupted`.
 */
export async function* readZip(path: string, signal?: AbortSignal): AsyncGenerator<ArchiveItem> {
  const maxBytes = limits.zipCertificates * 64 * 1024;
  const bytes = await readRegularFile(path, { maxBytes, ...defined({ signal }) });
  try {
    yield* certificatesIn(path, filesIn(path, bytes));
  } finally {
    bytes.fill(0);
  }
}

async function* filesIn(archive: string, bytes: Buffer): AsyncGenerator<FoundFile> {
  let listed: ListedZip;
  try {
    listed = await listZip(archive, bytes);
  } catch (thrown) {
    if (thrown instanceof CodedError) throw thrown;
    throw damaged(archive, 'it is cut short, or was changed', thrown);
  }
  for (const entry of listed.entries) {
    const path = nameOf(entry);
    if (path.endsWith('/')) continue;
    try {
      yield { path, bytes: await unpack(listed.zip, entry) };
    } catch (thrown) {
      const what = thrown instanceof Error ? thrown.message : 'it cannot be unpacked';
      yield { path, error: thrown instanceof CodedError ? thrown : entryDamaged(JSON.stringify(path), what, thrown) };
    }
  }
}

interface ListedZip {
  readonly zip: ZipFile;
  /** Folder by folder. */
  readonly entries: readonly Entry[];
}

/**
 * Names stay bytes: the library would refuse the whole archive for one name that it does not like.
 */
const readingOptions = { lazyEntries: true, decodeStrings: false, autoClose: false } as const;

async function listZip(archive: string, bytes: Buffer): Promise<ListedZip> {
  const zip = await fromBufferPromise(bytes, readingOptions);
  const most = 6 * limits.zipCertificates;
  if (zip.entryCount > most) throw damaged(archive, `it holds more than ${most} files`);
  const entries: Entry[] = [];
  for await (const entry of zip.eachEntry()) entries.push(entry);
  const folders = new Map<string, number>();
  const folderOf = (entry: Entry) => nameOf(entry).split('/').slice(0, -1).join('/');
  for (const entry of entries) if (!folders.has(folderOf(entry))) folders.set(folderOf(entry), folders.size);
  const place = (entry: Entry) => folders.get(folderOf(entry)) ?? 0;
  return { zip, entries: entries.sort((one, other) => place(one) - place(other)) };
}

function nameOf({ generalPurposeBitFlag, fileNameRaw, extraFields }: Entry): string {
  return getFileNameLowLevel(generalPurposeBitFlag, fileNameRaw, extraFields, false);
}

/**
 * The bytes of one file, which are those that the directory tells of: of its length and its
 * checksum.
 */
async function unpack(zip: ZipFile, entry: Entry): Promise<Buffer> {
  const fileType = (entry.externalFileAttributes >>> 16) & constants.S_IFMT;
  // Zips that were not made on Unix say nothing of it.
  if (fileType !== 0 && fileType !== constants.S_IFREG) throw new RangeError('it is a link or a device, not a file');
  const { uncompressedSize, crc32: checksum } = entry;
  if (uncompressedSize > limits.archiveFileBytes)
    throw new RangeError(`it unpacks to ${uncompressedSize} bytes, which no PEM file has`);
  const bytes = await buffer(await zip.openReadStreamPromise(entry));
  if (crc32(bytes) !== checksum) throw new RangeError('its checksum does not hold: it was changed');
  return bytes;
}
