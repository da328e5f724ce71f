import { type FSWatcher, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';

/** How often folders are looked for that no event told of, in milliseconds: a root that was not there, a watch that broke. */
const lookMs = 10_000;

/**
 * Tells of each certificate's folder in which something changes, when it has been quiet for `quietMs`. A change may be told twice,
 * and one that no system tells of is not told at all: reconcile finds it.
 */
export function watchDirectory(options: {
  readonly root: string;
  readonly quietMs: number;
  readonly isId: (name: string) => boolean;
  readonly changed: (id: string) => void;
}): { close(): void } {
  const { root, quietMs, isId, changed } = options;
  const folders = new Map<string, FSWatcher>();
  const waiting = new Map<string, NodeJS.Timeout>();
  let above: FSWatcher | undefined;

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
    const found: string[] = [];
    for (const entry of listFolders(root)) {
      if (!isId(entry) || folders.has(entry)) continue;
      const watcher = watchFolder(
        join(root, entry),
        () => touch(entry),
        () => folders.delete(entry),
      );
      if (watcher === undefined) continue;
      folders.set(entry, watcher);
      found.push(entry);
    }
    return found;
  }

  /** A folder came, went, or was put in the place of another one, which its watch would not notice. */
  function heardAbove(name: string | null): void {
    if (name !== null && isId(name)) {
      folders.get(name)?.close();
      folders.delete(name);
      touch(name);
    }
    look();
  }

  look();
  const looking = setInterval(() => {
    for (const id of look()) touch(id);
  }, lookMs).unref();

  return {
    close() {
      clearInterval(looking);
      for (const timer of waiting.values()) clearTimeout(timer);
      above?.close();
      for (const watcher of folders.values()) watcher.close();
    },
  };
}

function listFolders(root: string): readonly string[] {
  try {
    return readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
