import { randomUUID } from 'node:crypto';
import { lstat, mkdir, open, readdir, readFile, readlink, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertificateContent } from '../certificate/certificate.ts';
import { parseContent, toPem } from '../certificate/pem.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { Secret } from '../secret.ts';

/** The files of one certificate, in the order in which they are looked for. The first is what certbot keeps and what we write. */
const layouts = [
  { certificate: 'fullchain.pem', key: 'privkey.pem' },
  { certificate: 'cert.pem', chain: 'chain.pem', key: 'privkey.pem' },
  { certificate: 'tls.crt', key: 'tls.key' },
] as const;

/** A symbolic link to the version in force. It is switched by one rename, so that nobody finds half of each. */
const current = 'current';
const versions = 'versions';

/** What a read of a certificate's folder came to. */
export type FolderReading =
  | { readonly state: 'whole'; readonly files: FolderFiles }
  /** There is no such folder, or no certificate was ever in it. */
  | { readonly state: 'absent' }
  /** A file was changed while it was read, or so lately that another may follow; until then, in milliseconds. */
  | { readonly state: 'changing'; readonly waitMs: number };

export interface FolderFiles {
  /** Once. Throws what `parseContent` throws. */
  readonly content: () => CertificateContent;
  /** Another one for every change of a file. */
  readonly revision: string;
  /** Epoch milliseconds. */
  readonly changedAt: number;
}

/** Whether the folder was written by us: then it is switched by one rename, and may be taken away again. */
export async function isOurs(folder: string): Promise<boolean> {
  return (await tryTo(() => readlink(join(folder, current)))) !== undefined;
}

/**
 * Reads the files of one certificate as of one moment: what changes while it is read, or has changed within `settleMs`, is not
 * given, as the next file of the same change may not be there yet. What we have written is whole at every moment. Throws what
 * the file system throws.
 */
export async function readFolder(
  folder: string,
  { withKey, settleMs, now }: { readonly withKey: boolean; readonly settleMs: number; readonly now: number },
): Promise<FolderReading> {
  const ours = await isOurs(folder);
  // Through the link once: a switch in between must not mix two versions.
  const from = ours ? await tryTo(() => realpath(join(folder, current))) : folder;
  if (from === undefined) return { state: 'changing', waitMs: settleMs };
  const before = await stampOf(folder, from);
  if (before === undefined) return { state: 'absent' };
  const { layout, revision, changedAt } = before;
  const age = now - changedAt;
  if (!ours && age >= 0 && age < settleMs) return { state: 'changing', waitMs: settleMs - age };
  const [certificate, intermediate, privateKey] = await Promise.all([
    tryTo(() => readFile(join(from, layout.certificate), 'utf8')),
    'chain' in layout ? tryTo(() => readFile(join(from, layout.chain), 'utf8')) : undefined,
    withKey ? readSecret(join(from, layout.key)) : undefined,
  ]);
  const after = await stampOf(folder, from);
  if (certificate === undefined || after?.revision !== revision) {
    privateKey?.wipe();
    return { state: 'changing', waitMs: settleMs };
  }
  const pem = {
    certificate,
    ...(intermediate !== undefined && { intermediate }),
    ...(privateKey !== undefined && { privateKey }),
  };
  const content = () => {
    try {
      return parseContent(pem);
    } finally {
      privateKey?.wipe();
    }
  };
  return { state: 'whole', files: { content, revision, changedAt } };
}

/** Which files are there, and what tells this state of them from every other one. `undefined` if there is no certificate. */
async function stampOf(folder: string, from: string) {
  for (const layout of layouts) {
    const files = Object.values(layout).map((name) => join(from, name));
    const stamps = await Promise.all(files.map(stampOfFile));
    if (stamps[0] === undefined) continue;
    const side = await stampOfFile(join(folder, sideFile));
    const inFolder = await tryTo(() => stat(from));
    const moments = [...stamps.map((stamp) => stamp?.changedAt ?? 0), inFolder?.mtimeMs ?? 0];
    const text = [...stamps, side].map((stamp) => stamp?.text ?? '-').join(' ');
    return { layout, revision: text, changedAt: Math.max(...moments) };
  }
  return undefined;
}

async function stampOfFile(path: string) {
  const [link, file] = await Promise.all([tryTo(() => lstat(path)), tryTo(() => stat(path))]);
  if (link === undefined || file === undefined) return undefined;
  if (file.size > limits.storeFileBytes) {
    throw new CodedError('certificate_too_large', `${path} has ${file.size} bytes, which no PEM file has`);
  }
  return {
    text: `${file.ino}.${file.size}.${file.mtimeMs}.${link.mtimeMs}`,
    changedAt: Math.max(file.mtimeMs, link.mtimeMs),
  };
}

async function readSecret(path: string): Promise<Secret | undefined> {
  const bytes = await tryTo(() => readFile(path));
  if (bytes === undefined) return undefined;
  const secret = new Secret(bytes.toString('utf8'));
  bytes.fill(0);
  return secret;
}

/**
 * Writes content as the version in force, as certbot lays out its files; `keep` versions before it stay. All of it is on disk
 * before the link is switched. The folder must be there.
 */
export async function writeVersion(folder: string, content: CertificateContent, keep: number): Promise<void> {
  const all = join(folder, versions);
  await mkdir(all, { recursive: true, mode: 0o700 });
  const fresh = join(all, `.new-${randomUUID()}`);
  await mkdir(fresh, { mode: 0o700 });
  try {
    const { certificate, intermediate, privateKey } = toPem(content);
    await writeDurably(join(fresh, 'cert.pem'), certificate, 0o644);
    await writeDurably(join(fresh, 'fullchain.pem'), certificate + (intermediate ?? ''), 0o644);
    if (intermediate !== undefined) await writeDurably(join(fresh, 'chain.pem'), intermediate, 0o644);
    if (privateKey !== undefined) await writeDurably(join(fresh, 'privkey.pem'), privateKey.reveal(), 0o600);
    await flush(fresh);
    const number = await nameVersion(all, fresh);
    await flush(all);
    const link = join(folder, `.current-${randomUUID()}`);
    await symlink(join(versions, String(number)), link);
    await rename(link, join(folder, current));
    await flush(folder);
    await forgetOld(all, number, keep);
  } catch (thrown) {
    // A version that was not named yet holds a key that nobody would look for there.
    await rm(fresh, { recursive: true, force: true });
    throw thrown;
  }
}

/** Gives the version the next number. Two who write at once get two. */
async function nameVersion(all: string, fresh: string): Promise<number> {
  for (let number = ((await versionsIn(all)).at(-1) ?? 0) + 1; ; number += 1) {
    try {
      await rename(fresh, join(all, String(number)));
      return number;
    } catch (thrown) {
      if (!['ENOTEMPTY', 'EEXIST'].includes(codeOf(thrown))) throw thrown;
    }
  }
}

/**
 * Removes what processes have left in a folder that were killed while they wrote: it holds private keys that nobody would look for
 * there. What has changed within `settledMs` may still be written.
 */
export async function removeLeftovers(
  folder: string,
  { now, settledMs }: { readonly now: number; readonly settledMs: number },
): Promise<void> {
  for (const name of (await tryTo(() => readdir(folder))) ?? []) {
    if (!/^\.(new|gone)-/.test(name)) continue;
    const left = await tryTo(() => lstat(join(folder, name)));
    if (left !== undefined && now - left.mtimeMs > settledMs)
      await rm(join(folder, name), { recursive: true, force: true });
  }
}

async function versionsIn(all: string): Promise<readonly number[]> {
  const names = await readdir(all);
  return names
    .filter((name) => /^\d{1,9}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

async function forgetOld(all: string, inForce: number, keep: number): Promise<void> {
  const old = (await versionsIn(all)).filter((number) => number < inForce);
  for (const number of old.slice(0, Math.max(0, old.length - keep)))
    await rm(join(all, String(number)), { recursive: true, force: true });
}

/** What is kept beside the files: name, description, tags, mark. */
export const sideFile = 'certstandby.json';

/** Replaces a file by one rename, flushed before and after. */
export async function replaceDurably(folder: string, name: string, text: string): Promise<void> {
  const fresh = join(folder, `.new-${randomUUID()}`);
  await writeDurably(fresh, text, 0o600);
  await rename(fresh, join(folder, name));
  await flush(folder);
}

async function writeDurably(path: string, text: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Flushes a folder: a rename in it is on disk only then. */
export async function flush(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The system's word for what failed: `ENOENT`. */
export function codeOf(thrown: unknown): string {
  return (thrown as NodeJS.ErrnoException | undefined)?.code ?? 'error';
}

/** The answer, or `undefined` where there is no such file. */
export async function tryTo<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (thrown) {
    if (['ENOENT', 'ENOTDIR', 'EINVAL'].includes(codeOf(thrown))) return undefined;
    throw thrown;
  }
}
