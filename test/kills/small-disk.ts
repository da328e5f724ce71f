import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Where a table soon finds no room. */
export interface SmallDisk {
  readonly folder: string;
  /**
   * Where there is no disk that can be filled: what no file of the process may grow beyond, in KiB.
   */
  readonly fileLimitKib?: number;
  /** Takes all the room that is left. */
  fill(): void;
  /** Gives it back. */
  free(): void;
  dispose(): void;
}

const diskMib = 4;

/**
 * A file system in memory of its own, where this process may mount one; else a limit, and `warn` is
 * told why.
 */
export function smallDisk(parent: string, warn: (text: string) => void): SmallDisk {
  const folder = join(parent, 'disk');
  mkdirSync(folder, { mode: 0o700 });
  const options = `size=${diskMib}m,mode=0700`;
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { encoding: 'utf8' });
  if (mounted.status !== 0) {
    const reason = mounted.error?.message ?? mounted.stderr.trim();
    warn(`NO FULL DISK HERE, a limit on the length of files instead: ${reason}\n`);
    return { folder, fileLimitKib: 1_000, fill() {}, free() {}, dispose() {} };
  }
  const filler = join(folder, 'filler');
  return {
    folder,
    fill() {
      const file = openSync(filler, 'a');
      try {
        for (;;) writeSync(file, Buffer.alloc(4_096));
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== 'ENOSPC') throw thrown;
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(filler, { force: true }),
    dispose: () => void spawnSync('umount', ['--lazy', folder]),
  };
}
