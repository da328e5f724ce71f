import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { defined } from '../defined.ts';
import { asCodedError, CodedError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';

/** A root key as its file holds it. The caller wipes it. */
export interface FileKey {
  readonly id: string;
  readonly key: Uint8Array;
}

const format = 'certstandby-root-key.1';
const formats = /^certstandby-root-key\.\d+$/;
const keyBytes = 32;
const shortestLine = 8;

/** The id of a root key: a digest, from which nobody gets back to it. */
export function idOfKey(key: Uint8Array): string {
  return `file:${createHash('sha256').update('certstandby-root-key-id.1\0').update(key).digest('hex').slice(0, 32)}`;
}

/**
 * Reads a root key file: three lines, the format, the id and the key in hexadecimal. Throws
 * `keys_file_missing`; `keys_file_exposed` when anyone but its owner, who is us or root, may read
 * or change it, or the file that it is a symbolic link to; `keys_file_unusable` when it is not what
 * was written; `keys_unavailable` when the system cannot read it now.
 */
export async function readKeyFile(path: string): Promise<FileKey> {
  let file: FileHandle | undefined;
  const bytes = Buffer.alloc(limits.rootKeyFileBytes + 1);
  try {
    // Without waiting: a pipe would wait for somebody to write to it.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const { mode, uid, ...stat } = await file.stat();
    if (!isFile(mode)) throw failed('keys_file_unusable', path, 'it is no file');
    // What is open is asked, not the path: that may lead elsewhere a moment later.
    if ((mode & 0o077) !== 0)
      throw failed('keys_file_exposed', path, `its mode is ${octal(mode)}, so others may read or change it`);
    if (uid !== process.geteuid?.() && uid !== 0) throw failed('keys_file_exposed', path, `it belongs to user ${uid}`);
    if (stat.size > limits.rootKeyFileBytes) throw failed('keys_file_unusable', path, `it has ${stat.size} bytes`);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return parseKey(path, bytes.subarray(0, bytesRead));
  } catch (thrown) {
    throw systemFailure(path, 'read', thrown);
  } finally {
    bytes.fill(0);
    await file?.close();
  }
}

/**
 * Makes the file, mode 0600, whole or not at all; `false` if there is one already, whatever it is.
 * Of several processes at the same time, one makes it. Its folder is made if it is not there (mode
 * 0700).
 */
export async function writeKeyFile(path: string, key: Uint8Array): Promise<boolean> {
  const folder = dirname(path);
  const fresh = `${path}.${randomBytes(6).toString('hex')}.new`;
  const head = Buffer.from(`${format}\n${idOfKey(key)}\n`);
  const content = Buffer.concat([head, hexOf(key), Buffer.from('\n')]);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFlushed(fresh, content);
    // Under its own name it appears complete, and only if nothing has that name.
    return await link(fresh, path).then(
      () => true,
      (thrown: NodeJS.ErrnoException) => {
        if (thrown.code === 'EEXIST') return false;
        throw thrown;
      },
    );
  } catch (thrown) {
    throw systemFailure(path, 'write', thrown);
  } finally {
    content.fill(0);
    await rm(fresh, { force: true }).catch(() => {});
    await syncFolder(folder);
  }
}

async function writeFlushed(path: string, content: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  // Some file systems flush no folders; then the file may have to be made again after a power
  // failure, before anything was wrapped.
  const folder = await open(path, constants.O_RDONLY).catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

function parseKey(path: string, bytes: Buffer): FileKey {
  const first = bytes.indexOf(0x0a);
  const second = bytes.indexOf(0x0a, first + 1);
  const said = first < shortestLine ? '' : bytes.toString('latin1', 0, Math.min(first, format.length + shortestLine));
  if (formats.test(said) && said !== format)
    throw failed('keys_file_unusable', path, `it has the format ${said}, and this version knows ${format}`);
  const key = bytesOfHex(bytes.subarray(second + 1, second + 1 + 2 * keyBytes));
  const id = bytes.toString('latin1', first + 1, second);
  const whole = said === format && bytes.length === second + 2 + 2 * keyBytes && bytes.at(-1) === 0x0a;
  if (whole && key !== undefined && id === idOfKey(key)) return { id, key };
  key?.fill(0);
  throw failed('keys_file_unusable', path, said === format ? 'it was changed or cut off' : 'it is no root key file');
}

// Through bytes, not through text: text cannot be wiped.
function hexOf(bytes: Uint8Array): Buffer {
  const hex = Buffer.alloc(2 * bytes.length);
  for (const [at, byte] of bytes.entries()) {
    hex[2 * at] = hexDigits.charCodeAt(byte >> 4);
    hex[2 * at + 1] = hexDigits.charCodeAt(byte & 15);
  }
  return hex;
}

function bytesOfHex(hex: Buffer): Uint8Array | undefined {
  const bytes = new Uint8Array(keyBytes);
  for (let at = 0; at < keyBytes; at += 1) {
    const high = hexDigits.indexOf(String.fromCharCode(hex[2 * at] ?? 0));
    const low = hexDigits.indexOf(String.fromCharCode(hex[2 * at + 1] ?? 0));
    if (high < 0 || low < 0) return undefined;
    bytes[at] = high * 16 + low;
  }
  return bytes;
}

const hexDigits = '0123456789abcdef';
const octal = (mode: number) => (mode & 0o777).toString(8).padStart(4, '0');
const isFile = (mode: number) => (mode & constants.S_IFMT) === constants.S_IFREG;

/** What each answer of the system means; any other one may pass. */
const systemCodes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'keys_file_missing',
  ENOTDIR: 'keys_file_missing',
  EEXIST: 'keys_file_unusable',
  EACCES: 'keys_file_unusable',
  EPERM: 'keys_file_unusable',
  ELOOP: 'keys_file_unusable',
  EISDIR: 'keys_file_unusable',
  ENXIO: 'keys_file_unusable',
  EROFS: 'keys_file_unusable',
  // From `link`: the file system knows no hard links.
  ENOTSUP: 'keys_file_unusable',
  EOPNOTSUPP: 'keys_file_unusable',
};

function systemFailure(path: string, tried: string, thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const code = (thrown as NodeJS.ErrnoException).code;
  if (code === undefined) return asCodedError(thrown);
  return failed(
    systemCodes[code] ?? 'keys_unavailable',
    path,
    `the system answers ${code} to the attempt to ${tried} it`,
    thrown,
  );
}

function failed(code: ErrorCode, path: string, found: string, cause?: unknown): CodedError {
  return new CodedError(code, `root key file ${path}: ${found}`, {
    fields: { path },
    ...defined({ cause }),
  });
}
