import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { link, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { addAbortSignal, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ReadableStream } from 'node:stream/web';
import { Decrypter, Encrypter } from 'age-encryption';
import { extract, pack } from 'tar-stream';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { openRegularFile } from '../regular-file.ts';
import {
  type ArchiveItem,
  type ArchiveLock,
  type ArchiveUnlock,
  type ArchiveWriter,
  damaged,
  entryDamaged,
  fileProblem,
} from './archive.ts';
import { type ArchiveFile, certbotNames, certificatesIn, type FoundFile, filesOf, folderNames } from './layout.ts';

/** The first bytes of an age file (age-encryption.org/v1). */
export const ageMagic = 'age-encryption.org/v1\n';

/**
 * An age file with a tar of certbot's folders in it, so that `age --decrypt <file> | tar --extract`
 * opens it too. Streams: memory does not grow with the number of certificates, and nothing leaves
 * it unencrypted. Throws `archive_exists`, `archive_unusable`, and `usage` for a recipient that is
 * none.
 */
export async function ageWriter(path: string, lock: ArchiveLock): Promise<ArchiveWriter> {
  const encrypter = new Encrypter();
  if (lock.passphrase !== undefined) encrypter.setPassphrase(lock.passphrase.reveal());
  for (const recipient of lock.recipients ?? []) addRecipient(encrypter, recipient);
  const partial = `${path}.${randomUUID()}.partial`;
  const tar = pack();
  const plain = webStream(Readable.from(tar));
  const encrypted = Readable.fromWeb((await encrypter.encrypt(plain)) as ReadableStream<Uint8Array>);
  const written = pipeline(encrypted, createWriteStream(partial, { flags: 'wx', mode: 0o600 }));
  // It may fail while nobody waits for it, and what has failed takes nothing any more: `add` would
  // wait without end.
  let failure: unknown;
  let fail = (_thrown: unknown) => {};
  written.catch((thrown: unknown) => {
    failure = thrown;
    fail(thrown);
  });
  const nameFor = folderNames();
  let ended = false;

  const addFile = ({ path, bytes, secret }: ArchiveFile) =>
    new Promise<void>((resolve, reject) => {
      fail = reject;
      if (failure !== undefined) return reject(failure);
      const header = { name: path, size: bytes.length, mode: secret ? 0o600 : 0o644, mtime: new Date(0) };
      const entry = tar.entry(header, (error) => (error ? reject(error) : resolve()));
      entry.end(bytes);
    });

  return {
    async add(certificate) {
      try {
        // The stream still needs the bytes when it has taken them, so that they are not overwritten
        // here.
        for (const file of filesOf(certificate, nameFor(certificate.name), certbotNames)) await addFile(file);
      } catch (thrown) {
        throw fileProblem('writing', path, failure ?? thrown);
      }
    },
    async finish() {
      try {
        tar.finalize();
        await written;
        await flush(partial);
        // A link and not a rename: what stands there meanwhile is not replaced.
        await link(partial, path);
        ended = true;
        await rm(partial);
        await flush(dirname(path));
      } catch (thrown) {
        throw fileProblem('writing', path, thrown);
      }
    },
    async abandon() {
      if (ended) return;
      ended = true;
      tar.destroy();
      encrypted.destroy();
      await written.catch(() => undefined);
      await rm(partial, { force: true });
    },
  };
}

/**
 * The certificates of an age file. What it is made of is proven piece by piece, and its end by the
 * last one: a file that was cut or changed is `archive_damaged` as a whole. Throws
 * `archive_passphrase_wrong`, `usage` for an identity that is none, what `regular-file.ts` throws,
 * and the signal's reason.
 */
export async function* readAge(path: string, unlock: ArchiveUnlock, signal?: AbortSignal): AsyncGenerator<ArchiveItem> {
  const decrypter = new Decrypter();
  if (unlock.passphrase !== undefined) decrypter.addPassphrase(unlock.passphrase.reveal());
  for (const identity of unlock.identities ?? []) addIdentity(decrypter, identity.reveal());
  const file = (await openRegularFile(path)).createReadStream();
  if (signal) addAbortSignal(signal, file);
  try {
    const plain = await decrypt(path, decrypter, webStream(file));
    yield* certificatesIn(path, filesInTar(path, Readable.fromWeb(plain as ReadableStream<Uint8Array>)));
  } catch (thrown) {
    signal?.throwIfAborted();
    throw thrown;
  } finally {
    file.destroy();
  }
}

async function* filesInTar(archive: string, plain: Readable): AsyncGenerator<FoundFile> {
  const tar = extract();
  // To the last byte, whatever tar makes of it: only the last piece proves that nothing was cut
  // off.
  const whole = pipeline(plain, tar);
  whole.catch(() => undefined);
  let files = 0;
  try {
    for await (const entry of tar) {
      const { name, type = 'file', size = 0 } = entry.header;
      files += 1;
      if (files > limits.archiveFiles) throw damaged(archive, `it holds more than ${limits.archiveFiles} files`);
      const isFile = type === 'file' || type === 'contiguous-file';
      const parts: Buffer[] = [];
      for await (const part of entry as AsyncIterable<Buffer>) if (size <= limits.archiveFileBytes) parts.push(part);
      if (type === 'directory') continue;
      if (!isFile || size > limits.archiveFileBytes) {
        const what = isFile ? `it has ${size} bytes, which no PEM file has` : `it is a ${type}, not a file`;
        yield { path: name, error: entryDamaged(JSON.stringify(name), what) };
        continue;
      }
      const bytes = Buffer.concat(parts);
      for (const part of parts) part.fill(0);
      yield { path: name, bytes };
    }
    await whole;
  } catch (thrown) {
    if (thrown instanceof CodedError) throw thrown;
    throw damaged(archive, 'it is cut short, or was changed', thrown);
  } finally {
    plain.destroy();
    tar.destroy();
  }
}

async function decrypt(path: string, decrypter: Decrypter, file: globalThis.ReadableStream<Uint8Array>) {
  try {
    return await decrypter.decrypt(file);
  } catch (cause) {
    const { code } = (cause ?? {}) as NodeJS.ErrnoException;
    if (code !== undefined && /^E[A-Z]+$/.test(code)) throw fileProblem('reading', path, cause);
    if (cause instanceof Error && cause.message.startsWith('no identity matched')) {
      throw new CodedError('archive_passphrase_wrong', `neither passphrase nor identity opens ${path}`, {
        cause,
        fields: { archive: path },
      });
    }
    throw damaged(path, 'its beginning is not that of an age file, cut short, or changed', cause);
  }
}

function addRecipient(encrypter: Encrypter, recipient: string): void {
  try {
    encrypter.addRecipient(recipient);
  } catch (cause) {
    throw new CodedError('usage', `${recipient} is no recipient of age (age1...)`, { cause });
  }
}

function addIdentity(decrypter: Decrypter, identity: string): void {
  try {
    decrypter.addIdentity(identity);
  } catch {
    // Without its cause, which may show it.
    throw new CodedError('usage', 'an identity is none of age (AGE-SECRET-KEY-1...)');
  }
}

/**
 * As the library takes streams. Not by `Readable.toWeb`, which throws where nobody can catch it
 * when its reader stops early.
 */
function webStream(stream: Readable): globalThis.ReadableStream<Uint8Array> {
  return ReadableStream.from<Uint8Array>(stream) as globalThis.ReadableStream<Uint8Array>;
}

async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
