import { randomUUID } from 'node:crypto';
import { lstat, mkdir, open, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { toPem } from '../../certificate/pem.ts';
import { current, versions } from './read.ts';

/**
 * Writes content as the version in force, as certbot lays out its files; `keep` versions before it
 * stay. All of it is on disk before the link is switched. The folder must be there.
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
    await makeWay(folder, all);
    await rename(link, join(folder, current));
    await flush(folder);
    await forgetOld(all, number, keep);
  } catch (thrown) {
    // A version that was not named yet holds a key that nobody would look for there.
    await rm(fresh, { recursive: true, force: true });
    throw thrown;
  }
}

/**
 * Where a program that follows links has made a folder of the link, that becomes one of the
 * versions.
 */
async function makeWay(folder: string, all: string): Promise<void> {
  const inPlace = join(folder, current);
  const found = await lstat(inPlace).catch(() => undefined);
  if (found?.isDirectory()) await nameVersion(all, inPlace);
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

/** Names of what is being written, or removed. */
export const leftover = /^\.(new|gone|current)-/;

/**
 * Removes what processes have left in a folder that were killed while they wrote: it holds private
 * keys that nobody would look for there. What has changed within `settledMs` may still be written.
 */
export async function removeLeftovers(
  folder: string,
  { now, settledMs }: { readonly now: number; readonly settledMs: number },
): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (!leftover.test(name)) continue;
    const left = await lstat(join(folder, name)).catch(() => undefined);
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

/** Replaces a file by one rename, flushed before and after. */
export async function replaceDurably(folder: string, name: string, text: string): Promise<void> {
  const fresh = join(folder, `.new-${randomUUID()}`);
  try {
    await writeDurably(fresh, text, 0o600);
    await setFolderAside(folder, name);
    await rename(fresh, join(folder, name));
  } catch (thrown) {
    await rm(fresh, { force: true });
    throw thrown;
  }
  await flush(folder);
}

/**
 * No rename puts a file in the place of a folder. It is not ours, so it stays, under another name.
 */
async function setFolderAside(folder: string, name: string): Promise<void> {
  const found = await lstat(join(folder, name)).catch(() => undefined);
  if (found?.isDirectory()) await rename(join(folder, name), join(folder, `${name}.${randomUUID().slice(0, 8)}`));
}

/** Makes a file that is on disk before this answers. */
export async function writeDurably(path: string, text: string, mode: number): Promise<void> {
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
function codeOf(thrown: unknown): string {
  return (thrown as NodeJS.ErrnoException | undefined)?.code ?? 'error';
}
