import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { kindOfFile } from '../regular-file.ts';

export type Entries = Database<Buffer, Buffer>;

export interface Files {
  readonly root: RootDatabase<Buffer, Buffer>;
  readonly rows: Entries;
  /** The sparse index: keys in order of partition, wakeAt, sort; no values. */
  readonly wake: Entries;
  /** What expires: keys in order of expiresAt, values are keys of rows. */
  readonly expiry: Entries;
}

/**
 * Opens the files in this folder, or makes them (folder 0700, files 0600). Throws whatever the
 * system or the engine says.
 */
export function openFiles(path: string): Files {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  checkFiles(path);
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const options = {
    ...binary,
    path,
    noSubdir: false,
    maxDbs: 4,
    permissionsMode: 0o600,
    // A commit is on disk before anyone sees it: with overlapping sync it would be visible first.
    overlappingSync: false,
    // Batches are made in lmdb-commits.ts. Those of the library cost a turn of the event loop, and
    // may leave a rejected promise that nobody holds when a commit fails.
    eventTurnBatching: false,
  };
  const root = open<Buffer, Buffer>(options);
  const entries = (name: string): Entries => root.openDB<Buffer, Buffer>({ ...binary, name });
  return { root, rows: entries('rows'), wake: entries('wake'), expiry: entries('expiry') };
}

/**
 * The library (3.5) ends the whole process with a segmentation fault when it cannot make sense of a
 * data file or cannot make a new one, so both are tried here before it sees the folder.
 */
function checkFiles(path: string): void {
  const data = join(path, 'data.mdb');
  for (const file of [data, join(path, 'lock.mdb')]) {
    const stats = statSync(file, { throwIfNoEntry: false });
    // A pipe in its place would be waited for without end.
    if (stats !== undefined && !stats.isFile()) throw new Error(`${file} is ${kindOfFile(stats)}, not a file of LMDB`);
  }
  const isNew = !existsSync(data) || isEmpty(data);
  if (isNew || !existsSync(join(path, 'lock.mdb'))) {
    const probe = join(path, `room-${process.pid}.tmp`);
    try {
      writeFileSync(probe, Buffer.alloc(64 * 1024), { mode: 0o600 });
    } finally {
      rmSync(probe, { force: true });
    }
  }
}

/**
 * Whether the data file is still to be filled. Throws when it holds something else than LMDB's
 * data, version 2.
 */
function isEmpty(data: string): boolean {
  const file = openSync(data, 'r+');
  try {
    const { size } = fstatSync(file);
    if (size === 0) return true;
    const page = Buffer.alloc(4096);
    readSync(file, page, 0, page.length, 0);
    // struct MDB_page, then MDB_meta: flags (P_META), magic, data version.
    const isData =
      page.readUInt16LE(18) === 0x08 && page.readUInt32LE(24) === 0xbeefc0de && page.readUInt16LE(28) === 2;
    if (size < 2 * page.length || !isData) throw new Error(`${data} is not a data file of LMDB, format 2`);
    return false;
  } finally {
    closeSync(file);
  }
}
