import { randomUUID } from 'node:crypto';
import { link, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../errors.ts';
import { ifThere, readRegularFile } from '../../regular-file.ts';
import { flush } from './files.ts';

/**
 * Tells a folder that we write to from an empty mount point, and from every other one. Hidden, so
 * that no listing shows it.
 */
export const identityFile = '.certstandby-store';

const identityBytes = 1024;
/** What a folder's identity looks like: nothing that could be mistaken for part of a message. */
const pattern = /^[\w-]{8,64}$/;

/**
 * The identity in a folder; `undefined` if it has none. Throws `store_root_unusable` if what stands
 * there is none.
 */
export async function readIdentity(root: string): Promise<string | undefined> {
  const path = join(root, identityFile);
  const bytes = await ifThere(readRegularFile(path, { maxBytes: identityBytes }));
  const text = bytes?.toString('utf8').trim();
  // An empty one was begun and never written: the disk was full, or the machine died.
  if (text === undefined || text === '') return undefined;
  if (pattern.test(text)) return text;
  throw new CodedError('store_root_unusable', `${path} holds no identity of a store`, { fields: { path } });
}

/**
 * Gives a folder this identity unless it has one, or `instead` of it. Answers the one that it has
 * then.
 */
export async function writeIdentity(
  root: string,
  identity: string,
  { instead = false }: { readonly instead?: boolean },
): Promise<string> {
  const path = join(root, identityFile);
  const fresh = join(root, `.new-${randomUUID()}`);
  const file = await open(fresh, 'wx', 0o600);
  try {
    await file.writeFile(`${identity}\n`);
    await file.sync();
    await file.close();
    if (instead) await rename(fresh, path);
    // The first of several who do this at once wins: a link takes no name that is taken.
    else if ((await readIdentity(root)) === undefined) await place(root, fresh, path);
    await flush(root);
    return (await readIdentity(root)) ?? identity;
  } finally {
    await file.close().catch(() => {});
    await rm(fresh, { force: true });
  }
}

/**
 * Puts a file under a name that nobody has; where the file system has no links, under it all the
 * same.
 */
async function place(root: string, fresh: string, path: string): Promise<void> {
  try {
    await link(fresh, path);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (await readIdentity(root)) !== undefined) return;
    await rename(fresh, path);
  }
}
