import { closeSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Files } from './lmdb-files.ts';

/**
 * What the library tells of a tree, and of the file that it lies in; inside of a transaction: of
 * the tree as that has made it.
 */
interface Stats {
  readonly pageSize: number;
  readonly treeDepth: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  /** Of the last commit. */
  readonly lastPageNumber: number;
}

/**
 * Pages of a commit as such: the tree of trees, and what the list of free pages takes beside its
 * length.
 */
const perCommit = 32;
/** The file grows by so many bytes more than needed, where there is room for them. */
const stepBytes = 256 * 1024;

/**
 * Makes room in the data file for what a transaction is about to commit, by zeros behind its end.
 *
 * The library (3.5.6) must not be the first to hear that the disk is full: it prints the reason
 * into too small a buffer (`mdb_page_flush`), and the process dies of it, at once or later. A file
 * system that copies on write may still tell it.
 */
export function spaceKeeper({ rows, wake, expiry }: Files, path: string) {
  const file = join(path, 'data.mdb');
  let touched = 0;
  let removals = 0;
  let valuePages = 0;
  let pageSize = 4096;

  /**
   * More than the transaction under way can take, whatever it finds free: pages that it changes are
   * written elsewhere.
   */
  function pagesNeeded(stats: readonly Stats[], lastPageNumber: number): number {
    const sum = (count: (each: Stats) => number) => stats.reduce((all, each) => all + count(each), 0);
    // The trees as they are, and what they lost on the way to that: a removal may merge a leaf, and
    // that a branch.
    const whole = sum((each) => each.treeBranchPageCount + each.treeLeafPageCount) + 2 * removals;
    // The way down to each entry, as many neighbours by splits or merges, and a new root.
    const perEntry = 2 * Math.max(...stats.map(({ treeDepth }) => treeDepth)) + 1;
    const trees = Math.min(whole, touched * perEntry) + valuePages;
    // The list of free pages, eight bytes each, may be written anew, twice.
    return trees + perCommit + Math.ceil((lastPageNumber + trees) / (pageSize / 16));
  }

  return {
    /** A transaction begins. */
    begin(): void {
      touched = 0;
      removals = 0;
      valuePages = 0;
    },

    /** It puts an entry whose key and value together have so many bytes. */
    put(bytes: number): void {
      touched += 1;
      // An entry that would take half a page has its value outside of the tree. Pages have headers.
      if (bytes > pageSize / 2 - 64) valuePages += Math.ceil((bytes + 64) / pageSize);
    },

    /** It removes an entry. */
    removed(): void {
      touched += 1;
      removals += 1;
    },

    /**
     * To be called inside of the transaction, as its last step: nobody else writes then. Throws
     * what the system says when there is no room.
     */
    make(): void {
      if (touched === 0) return;
      const stats = [rows, wake, expiry].map((entries) => entries.getStats() as Stats);
      const [{ lastPageNumber, ...first } = { lastPageNumber: 0, pageSize }] = stats;
      pageSize = first.pageSize;
      const neededBytes = (lastPageNumber + 1 + pagesNeeded(stats, lastPageNumber)) * pageSize;
      const { size } = statSync(file);
      if (size < neededBytes) extend(file, { size, neededBytes, wantedBytes: neededBytes + stepBytes });
    },
  };
}

/**
 * Appends zeros. They are written, not skipped: a hole in a file takes no room. What is of no use
 * is given back.
 */
function extend(
  file: string,
  to: { readonly size: number; readonly neededBytes: number; readonly wantedBytes: number },
) {
  const zeros = Buffer.alloc(stepBytes);
  const descriptor = openSync(file, 'a');
  let size = to.size;
  try {
    while (size < to.wantedBytes)
      size += writeSync(descriptor, zeros, 0, Math.min(to.wantedBytes - size, zeros.length));
  } catch (thrown) {
    if (size >= to.neededBytes) return;
    ftruncateSync(descriptor, to.size);
    throw thrown;
  } finally {
    closeSync(descriptor);
  }
}
