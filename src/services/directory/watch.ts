import { type FSWatcher, lstatSync, realpathSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { flatIdOf } from '../../certificate/file-layout.ts';
import { isId, namesNow } from './listing.ts';

/** How often it is asked whether the folder of all is still the same one, in milliseconds. */
const rootLookMs = 2_000;
/** How often folders are looked for that no event told of, in such looks: a watch that broke. */
const looksOfAll = 5;

/**
 * Tells of each certificate in whose folder, or files, something changes, when it has been quiet
 * for `quietMs`. Where another folder stands in the place of the whole (moved, made again, mounted,
 * a link that was switched), it tells of all that were there and all that are. A change may be told
 * twice, and one that no system tells of is not told at all: reconcile finds it.
 */
export function watchDirectory(options: {
  readonly root: string;
  readonly quietMs: number;
  readonly changed: (id: string) => void;
}): { close(): void } {
  const { root, quietMs, changed } = options;
  const folders = new Map<string, FSWatcher>();
  const waiting = new Map<string, NodeJS.Timeout>();
  let above: FSWatcher | undefined;
  let known: ReadonlySet<string> = new Set();
  let watched = identityOf(root);

  function touch(id: string): void {
    clearTimeout(waiting.get(id));
    const timer = setTimeout(() => {
      waiting.delete(id);
      changed(id);
    }, quietMs);
    waiting.set(id, timer.unref());
  }

  /** A watch that ends itself when it breaks, as it does when the folder goes. */
  function watchFolder(path: string, heard: (name: string | null) => void, ended: () => void): FSWatcher | undefined {
    try {
      const watcher = watch(path, { persistent: false }, (_event, name) => heard(name));
      watcher.on('error', () => {
        watcher.close();
        ended();
      });
      return watcher;
    } catch {
      return undefined;
    }
  }

  /** Watches every folder that is there and is not watched yet. Answers those. */
  function look(): readonly string[] {
    above ??= watchFolder(root, heardAbove, () => {
      above = undefined;
    });
    const names = namesNow(root);
    known = new Set(names);
    const found: string[] = [];
    for (const name of names) {
      if (folders.has(name) || kindAt(join(root, name)) !== 'folder') continue;
      const watcher = watchFolder(
        join(root, name),
        () => touch(name),
        () => folders.delete(name),
      );
      if (watcher === undefined) continue;
      folders.set(name, watcher);
      found.push(name);
    }
    return found;
  }

  /**
   * Something came, went, or was put in the place of another one, which its watch would not notice.
   */
  function heardAbove(name: string | null): void {
    if (name !== null && isId(name)) {
      const wasFolder = folders.has(name);
      folders.get(name)?.close();
      folders.delete(name);
      const kind = kindAt(join(root, name));
      const id = wasFolder || kind === 'folder' || kind === 'other' ? name : flatIdOf(name, namesNow(root));
      if (id !== undefined) touch(id);
    }
    look();
  }

  function lookAtRoot(): void {
    const now = identityOf(root);
    if (now === watched) return;
    watched = now;
    const before = known;
    above?.close();
    above = undefined;
    for (const watcher of folders.values()) watcher.close();
    folders.clear();
    look();
    for (const name of new Set([...before, ...known])) {
      const id = before.has(name) && kindAt(join(root, name)) === undefined ? name : idAt(name);
      if (id !== undefined) touch(id);
    }
  }

  /** The id of the certificate that a name in the folder of all belongs to. */
  function idAt(name: string): string | undefined {
    return kindAt(join(root, name)) === 'file' ? flatIdOf(name, known) : name;
  }

  look();
  let looks = 0;
  const looking = setInterval(() => {
    lookAtRoot();
    looks += 1;
    if (looks % looksOfAll === 0) for (const id of look()) touch(id);
  }, rootLookMs).unref();

  return {
    close() {
      clearInterval(looking);
      for (const timer of waiting.values()) clearTimeout(timer);
      above?.close();
      for (const watcher of folders.values()) watcher.close();
    },
  };
}

/**
 * Tells this folder from one that takes its place: its path without links, and what the file system
 * calls it.
 */
function identityOf(root: string): string | undefined {
  try {
    const { dev, ino } = statSync(root);
    return `${realpathSync(root)} ${dev} ${ino}`;
  } catch {
    return undefined;
  }
}

/** `other` is what is neither a folder nor a file, a link that leads nowhere among them. */
function kindAt(path: string): 'folder' | 'file' | 'other' | undefined {
  const found = lookAt(statSync, path);
  if (found !== undefined) return found.isDirectory() ? 'folder' : found.isFile() ? 'file' : 'other';
  return lookAt(lstatSync, path) === undefined ? undefined : 'other';
}

function lookAt(look: typeof statSync | typeof lstatSync, path: string) {
  try {
    return look(path);
  } catch {
    return undefined;
  }
}
