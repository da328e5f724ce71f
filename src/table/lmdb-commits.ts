import type { RootDatabase } from 'lmdb';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import type { WriteOutcome } from './table.ts';

/**
 * Writes that share one commit, at most: bounds how long other work of this process waits for them.
 */
const writesPerCommit = 1000;

/** What the engine passes on of the system, by its number there (Linux). */
const systemCodes: Readonly<Record<string, string>> = {
  '5': 'EIO',
  '13': 'EACCES',
  '28': 'ENOSPC',
  '30': 'EROFS',
  '122': 'EDQUOT',
};

/** The library hands out a failed commit as an error that promises the real one. */
async function engineError(thrown: unknown): Promise<unknown> {
  const real: unknown = (thrown as { readonly commitError?: unknown }).commitError;
  return real instanceof Promise ? real.then(() => thrown).catch((reason: unknown) => reason) : thrown;
}

/**
 * What the system or the engine says, as `table_unavailable` with it as the cause; a coded error
 * stays what it is.
 */
export function unavailable(action: string, path: string, cause: unknown): CodedError {
  if (cause instanceof CodedError) return cause;
  const code = (cause as { readonly code?: unknown } | null)?.code;
  const engineCode = typeof code === 'string' || typeof code === 'number' ? code : undefined;
  return new CodedError('table_unavailable', `cannot ${action} the embedded table in ${path}`, {
    cause,
    fields: { path, engineCode, ...defined({ reason: systemCodes[String(engineCode)] }) },
  });
}

interface Job {
  /**
   * Runs inside the transaction. Throws a coded error before it has written anything, or the
   * engine's.
   */
  readonly run: () => WriteOutcome;
  readonly resolve: (outcome: WriteOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** What is done inside of each transaction beside the writes. */
interface Frame {
  readonly begin: () => void;
  /** Is told how many writes there were. Throws to have nothing of the transaction stay. */
  readonly end: (writes: number) => void;
}

/** Commits of this process that are under way, of all its tables. */
const underWay = new Set<Promise<void>>();
/** Resolves when nobody opens a table any more; absent while nobody does. */
let opening: Promise<void> | undefined;

/**
 * Opens a table when no other one of this process commits. To open is to write, and waits on this
 * thread for the writer's lock; a transaction that has that lock may be waiting for this thread to
 * say what it writes: neither would ever go on. Commits that come meanwhile wait for their turn.
 */
export async function betweenCommits<T>(open: () => T): Promise<T> {
  const before = opening;
  let opened = () => {};
  const mine = new Promise<void>((resolve) => {
    opened = resolve;
  });
  opening = mine;
  await before;
  await Promise.all(underWay);
  try {
    return open();
  } finally {
    if (opening === mine) opening = undefined;
    opened();
  }
}

/**
 * Runs writes in order, all that wait at once in one transaction: many writers share one flush to
 * disk.
 */
export function groupCommits(root: RootDatabase<Buffer, Buffer>, path: string, frame: Frame) {
  const waiting: Job[] = [];
  let draining: Promise<void> | undefined;
  let failed = false;

  async function commit(batch: readonly Job[]): Promise<void> {
    const settle: (() => void)[] = [];
    const runAll = (): void => {
      frame.begin();
      for (const { run, resolve, reject } of batch) {
        try {
          const outcome = run();
          settle.push(() => resolve(outcome));
        } catch (thrown) {
          // The engine failed half-way: nothing of the whole batch may stay.
          if (!(thrown instanceof CodedError)) throw thrown;
          settle.push(() => reject(thrown));
        }
      }
      frame.end(batch.length);
    };
    try {
      // A child transaction, because only that is rolled back when it throws. After a failure
      // synchronously: where the engine has given up for good, the asynchronous way would never
      // answer.
      if (failed) root.transactionSync(runAll);
      else await root.childTransaction(runAll);
      failed = false;
    } catch (thrown) {
      failed = true;
      const error = unavailable('write', path, await engineError(thrown));
      for (const { reject } of batch) reject(error);
      return;
    }
    for (const tell of settle) tell();
  }

  async function drain(): Promise<void> {
    while (waiting.length > 0) {
      while (opening !== undefined) await opening;
      const committed = commit(waiting.splice(0, writesPerCommit));
      underWay.add(committed);
      await committed;
      underWay.delete(committed);
    }
    draining = undefined;
  }

  return {
    write: (run: Job['run']): Promise<WriteOutcome> =>
      new Promise((resolve, reject) => {
        waiting.push({ run, resolve, reject });
        draining ??= Promise.resolve().then(drain);
      }),
    idle: async (): Promise<void> => draining,
  };
}
