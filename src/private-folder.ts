import { mkdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { CodedError } from './errors.ts';

/**
 * Throws `folder_exposed` where somebody else could put other files into a folder that is to hold
 * keys, or another folder into its place. As ssh asks of the folders of its keys: it belongs to us,
 * those above it to us or to root, and none is writable for group or others; one above may be,
 * where its sticky bit keeps others from renaming what is not theirs (`/tmp`). Root may work below
 * the folders of other users, as it does in containers. What is not there yet is judged by the
 * folder that it will be made in. On Windows nothing is checked.
 */
export function refuseExposedFolder(path: string): void {
  if (process.platform === 'win32') return;
  const full = resolve(path);
  refuseOnTheWay(full);
  // Through links too: what they lead to lies in other folders.
  const real = realPath(full);
  if (real !== undefined && real !== full) refuseOnTheWay(real);
}

function refuseOnTheWay(full: string): void {
  for (let at = full; ; at = dirname(at)) {
    const found = lookAt(at);
    if (found !== undefined) refuse(at, found, at === full);
    if (dirname(at) === at) return;
  }
}

/**
 * Makes a folder that only its owner may enter, with those above it. Throws as
 * `refuseExposedFolder`, before it is made.
 */
export function makePrivateFolder(path: string): void {
  refuseExposedFolder(path);
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

const writableByOthers = 0o022;
const sticky = 0o1000;

function refuse(path: string, { mode, uid }: Stats, isItself: boolean): void {
  const us = process.geteuid?.();
  if (uid !== us && uid !== 0 && (isItself || us !== 0))
    throw exposed(path, `it belongs to user ${uid}`, `sudo chown ${us} ${quoted(path)}`);
  if ((mode & writableByOthers) === 0 || (!isItself && (mode & sticky) !== 0)) return;
  const who = (mode & 0o002) === 0 ? 'its group' : 'everybody';
  const octal = (mode & 0o7777).toString(8).padStart(4, '0');
  throw exposed(path, `its mode is ${octal}, so ${who} may write there`, `chmod go-w ${quoted(path)}`);
}

function exposed(path: string, found: string, command: string): CodedError {
  return new CodedError('folder_exposed', `the folder ${path} is open to others: ${found}. To mend it: ${command}`, {
    fields: { path, found, command },
  });
}

/** As a shell takes it. */
const quoted = (path: string) => (/^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`);

function lookAt(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

function realPath(path: string): string | undefined {
  return lookAt(path) === undefined ? undefined : realpathSync(path);
}
