import type { Transaction } from 'lmdb';
import { CodedError } from '../errors.ts';
import { type Runtime, systemRuntime } from '../runtime.ts';
import { checkedChange, checkedCondition, checkedFields, checkKey } from './check.ts';
import { applied, asRow, holds } from './condition.ts';
import { betweenCommits, groupCommits, unavailable } from './lmdb-commits.ts';
import { type Entries, openFiles } from './lmdb-files.ts';
import {
  decodeRow,
  encodeRow,
  expiryKey,
  justAfter,
  numberBytes,
  partitionBytes,
  rowKey,
  wakeKey,
} from './lmdb-format.ts';
import { spaceKeeper } from './lmdb-space.ts';
import { cursorOf, fillPage, indexPosition, sortRange } from './paging.ts';
import type { FrozenTable, Key, Page, Query, Row, Table, WriteOutcome } from './table.ts';

export interface LmdbTableOptions {
  /**
   * The folder that holds the files; created (0700) if there is none. On a local disk: LMDB's locks
   * do not hold over NFS.
   */
  readonly path: string;
  readonly runtime?: Pick<Runtime, 'now'>;
}

/** Which state of the files is read: that of a transaction, else what the last commit left. */
type Moment = { readonly transaction?: Transaction };

/** Expired rows removed by each write, at most. More than one, so that they cannot pile up. */
const expiredPerWrite = 2;

/**
 * A table in files of this machine (LMDB), shared by any number of its processes: the embedded
 * default. Writes are atomic across processes and on disk before they resolve; a process that is
 * killed holds up nobody and leaves no half a write. Expired rows are removed by later writes.
 * Throws `table_unavailable` when the files cannot be opened.
 */
export function lmdbTable({ path, runtime = systemRuntime }: LmdbTableOptions): Table {
  const files = attempt('open', () => openFiles(path));
  const { root, rows, wake, expiry } = files;
  const space = spaceKeeper(files, path);
  const commits = groupCommits(root, path, {
    begin: space.begin,
    end(writes) {
      removeExpired(writes);
      space.make();
    },
  });
  let closed = false;

  function attempt<Result>(action: string, work: () => Result): Result {
    try {
      return work();
    } catch (thrown) {
      throw unavailable(action, path, thrown);
    }
  }

  function check(): void {
    if (closed) throw new CodedError('table_unavailable', `the embedded table in ${path} has been closed`);
  }

  /**
   * Reads what the last commit of any process left: the library would keep a snapshot until the
   * next turn of the event loop.
   */
  async function read<Result>(work: () => Result): Promise<Result> {
    check();
    return attempt('read', () => {
      root.resetReadTxn();
      return work();
    });
  }

  function bytesAt(key: Buffer, { transaction }: Moment): Buffer | undefined {
    return transaction === undefined ? rows.getBinary(key) : rows.get(key, { transaction });
  }

  function rowAt(key: Buffer, moment: Moment = {}): Row | undefined {
    const bytes = bytesAt(key, moment);
    return bytes && decodeRow(key, bytes);
  }

  function* rowsAt(keys: Iterable<Buffer>, moment: Moment = {}): Generator<{ row: Row; bytes: number }> {
    for (const key of keys) {
      const bytes = bytesAt(key, moment);
      yield { row: decodeRow(key, bytes), bytes: bytes?.length ?? 0 };
    }
  }

  function put(entries: Entries, key: Buffer, value: Buffer): void {
    entries.putSync(key, value);
    space.put(key.length + value.length);
  }

  function remove(entries: Entries, key: Buffer): void {
    entries.removeSync(key);
    space.removed();
  }

  function replace(entries: Entries, before: Buffer | undefined, after: Buffer | undefined, value: Buffer): void {
    if (before && after && before.equals(after)) return;
    if (before) remove(entries, before);
    if (after) put(entries, after, value);
  }

  /** Puts `after` where `before` was, in the rows and in both indexes. */
  function store(key: Buffer, before: Row | undefined, after: Row | undefined): void {
    const bytes = after && encodeRow(after);
    if (bytes) put(rows, key, bytes);
    else if (before) remove(rows, key);
    replace(wake, wakeKey(before), wakeKey(after), Buffer.alloc(0));
    replace(expiry, expiryKey(before), expiryKey(after), key);
  }

  function removeExpired(writes: number): void {
    const end = numberBytes(runtime.now() / 1000);
    for (const { key, value } of [...expiry.getRange({ end, limit: writes * expiredPerWrite })]) {
      const bytes = rows.getBinary(value);
      try {
        store(value, decodeRow(value, bytes), undefined);
      } catch (thrown) {
        if (!(thrown instanceof CodedError)) throw thrown;
        // Unreadable: the row stays where it is, for a program that can read it.
        remove(expiry, key);
      }
    }
  }

  async function write(key: Key, run: (at: Buffer, row: Row | undefined) => WriteOutcome): Promise<WriteOutcome> {
    check();
    const at = rowKey(checkKey(key));
    return commits.write(() => run(at, rowAt(at)));
  }

  function pageOf(query: Query, moment: Moment = {}): Page {
    const { prefix, after } = sortRange(query);
    const begin = Buffer.concat([partitionBytes(query.partition), Buffer.from(prefix)]);
    const afterKey = justAfter(Buffer.concat([partitionBytes(query.partition), Buffer.from(after)]));
    const start = after !== '' && Buffer.compare(afterKey, begin) > 0 ? afterKey : begin;
    const keys = rows.getKeys({ start, ...moment }) as Iterable<Buffer>;
    const found = rowsAt(whileBegins(keys, begin), moment);
    return fillPage(found, query.limit, (row) => cursorOf([row.partition, row.sort]));
  }

  return {
    get: (key) => read(() => rowAt(rowKey(checkKey(key)))),

    async update(key, change, condition) {
      const checked = checkedChange(change);
      const wanted = condition && checkedCondition(condition);
      return write(key, (at, row) => {
        if (wanted && !holds(wanted, row)) return { applied: false, row };
        const after = applied(key, row, checked);
        store(at, row, after);
        return { applied: true, row: after };
      });
    },

    async putIfAbsent(key, fields) {
      const after = asRow(key, checkedFields(fields));
      return write(key, (at, row) => {
        if (row !== undefined) return { applied: false, row };
        store(at, undefined, after);
        return { applied: true, row: after };
      });
    },

    async delete(key, condition) {
      const wanted = condition && checkedCondition(condition);
      return write(key, (at, row) => {
        if (wanted && !holds(wanted, row)) return { applied: false, row };
        store(at, row, undefined);
        return { applied: true, row: row ?? asRow(key, {}) };
      });
    },

    query: (query) => read(() => pageOf(query)),

    queryIndex: (query) =>
      read(() => {
        const position = indexPosition(query);
        const begin = partitionBytes(query.partition);
        const start = position ? justAfter(wakeKey({ ...position, partition: query.partition }) as Buffer) : begin;
        const end = Buffer.concat([begin, numberBytes(query.until), Buffer.alloc(1, 0xff)]);
        const keys = wake.getKeys({ start, end }) as Iterable<Buffer>;
        return fillPage(rowsAt(rowKeys(whileBegins(keys, begin), begin)), query.limit, (row) =>
          cursorOf([row.partition, row.sort, row.wakeAt as number]),
        );
      }),

    freeze: () =>
      read((): FrozenTable => {
        const transaction = root.useReadTransaction();
        const frozen = async <Result>(work: () => Result): Promise<Result> => {
          check();
          return attempt('read', work);
        };
        return {
          get: (key) => frozen(() => rowAt(rowKey(checkKey(key)), { transaction })),
          query: (query) => frozen(() => pageOf(query, { transaction })),
          end: () => transaction.done(),
        };
      }),

    async close() {
      if (closed) return;
      closed = true;
      await commits.idle();
      await root.close();
    },
  };
}

/** The same where this process may have opened the folder already, and be writing there. */
export const openLmdbTable = (options: LmdbTableOptions): Promise<Table> => betweenCommits(() => lmdbTable(options));

function* whileBegins(keys: Iterable<Buffer>, begin: Buffer): Generator<Buffer> {
  for (const key of keys) {
    if (!key.subarray(0, begin.length).equals(begin)) return;
    yield key;
  }
}

/** The keys of the rows that entries of the index stand for: the same without wakeAt. */
function* rowKeys(entries: Iterable<Buffer>, partition: Buffer): Generator<Buffer> {
  for (const entry of entries) yield Buffer.concat([partition, entry.subarray(partition.length + 8)]);
}
