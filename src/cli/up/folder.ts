import { closeSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { makePrivateFolder } from '../../private-folder.ts';
import { readTextFileSync } from '../../regular-file.ts';

/** A folder that belongs to one running program. */
export interface OwnFolder {
  readonly path: string;
  /** Writes a file that only its owner may read. */
  write(name: string, text: string): void;
  release(): void;
}

const mostFolders = 9;

/**
 * Takes the folder for this process. Without a name: `.certstandby`, or the next free
 * `.certstandby-2` … if one is running there. Throws `usage` if the named one is in use, or cannot
 * be written.
 */
export function takeFolder(named: string | undefined): OwnFolder {
  if (named !== undefined) {
    const folder = tryTake(resolve(named));
    if (typeof folder !== 'number') return folder;
    throw new CodedError(
      'usage',
      `${named} is in use by the running process ${folder}; stop it, or give another --folder`,
    );
  }
  for (let number = 1; number <= mostFolders; number += 1) {
    const folder = tryTake(resolve(number === 1 ? '.certstandby' : `.certstandby-${number}`));
    if (typeof folder !== 'number') return folder;
  }
  throw new CodedError(
    'usage',
    `${mostFolders} programs run in .certstandby folders here already; give another --folder`,
  );
}

/** The folder, or the id of the living process that has it. */
function tryTake(path: string): OwnFolder | number {
  const lock = join(path, 'running.pid');
  try {
    makePrivateFolder(path);
    const owner = livingOwner(lock);
    if (owner !== undefined) return owner;
    const file = openSync(lock, 'wx', 0o600);
    writeSync(file, String(process.pid));
    closeSync(file);
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    throw new CodedError('usage', `the folder ${path} cannot be used`, { cause });
  }
  return {
    path,
    write(name, text) {
      const file = join(path, name);
      // Removed first: a file that exists would keep the permissions it has.
      rmSync(file, { force: true });
      writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
    },
    release: () => rmSync(lock, { force: true }),
  };
}

/** The process that holds the lock, if it lives. A lock of a dead process is removed. */
function livingOwner(lock: string): number | undefined {
  let pid: number;
  try {
    pid = Number(readTextFileSync(lock, { maxBytes: limits.textFileBytes }));
  } catch {
    return undefined;
  }
  try {
    // Signals to 0 and to negative numbers go to many processes; an owner that died at once has
    // written no id.
    if (Number.isSafeInteger(pid) && pid > 0 && pid !== process.pid) {
      process.kill(pid, 0);
      return pid;
    }
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EPERM') return pid;
  }
  rmSync(lock, { force: true });
  return undefined;
}
