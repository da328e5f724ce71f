import { randomUUID } from 'node:crypto';
import { lstat, mkdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../errors.ts';
import { flush, removeLeftovers, writeDurably } from './files.ts';

/** As much as one copy takes, with room: a private key, and its chain twice. */
const copyBytes = 64 * 1024;

/**
 * Does in a folder what an import does, and takes it back: makes a folder, writes and flushes a
 * file as large as a copy, links, renames the link and the folder. Throws what the system says, and
 * `store_not_writable` where the file system lets others read what is to be private. What a trial
 * leaves that is killed has the name of an import's leftovers, and is removed with them.
 */
export async function tryImport(
  root: string,
  time: { readonly now: number; readonly settledMs: number },
): Promise<void> {
  await removeLeftovers(root, time);
  const fresh = join(root, `.new-${randomUUID()}`);
  const named = join(root, `.gone-${randomUUID()}`);
  try {
    await mkdir(fresh, { mode: 0o700 });
    const file = join(fresh, 'privkey.pem');
    await writeDurably(file, 'x'.repeat(copyBytes), 0o600);
    for (const path of [fresh, file]) {
      const { mode } = await lstat(path);
      if ((mode & 0o077) === 0) continue;
      const found = `mode ${(mode & 0o777).toString(8).padStart(4, '0')}`;
      throw new CodedError(
        'store_not_writable',
        `the file system of ${root} keeps no permissions: what was made for its owner alone has ${found}, and private keys would have it too`,
        { fields: { path, found } },
      );
    }
    await symlink('privkey.pem', join(fresh, '.current-trial'));
    await rename(join(fresh, '.current-trial'), join(fresh, 'current'));
    await flush(fresh);
    await rename(fresh, named);
    await flush(root);
  } finally {
    await rm(fresh, { recursive: true, force: true });
    await rm(named, { recursive: true, force: true });
  }
}
