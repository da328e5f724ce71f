import { randomBytes } from 'node:crypto';
import { asCodedError, CodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { DataKeyCache } from './data-key-cache.ts';
import type { DataKeyRow, DataKeyRows } from './data-key-rows.ts';
import type { KeyContext } from './root-key.ts';
import { dataKeyBytes, type RootKeys } from './root-keys.ts';

/** What a wrapped data key is bound to. */
export function contextOf(tenant: string, dataKey: string): KeyContext {
  return { tenant, dataKey };
}

const versionOf = (dataKey: string) => Number.parseInt(dataKey, 10);

/**
 * The data keys of one tenant, plain: which one is current, how a wrapped one is opened, how a new
 * one is made.
 */
export function dataKeys(options: {
  readonly rows: DataKeyRows;
  readonly roots: RootKeys;
  readonly cache: DataKeyCache;
  readonly tenant: string;
  readonly runtime: Runtime;
  readonly log: Log;
  /** How long the current one is taken to be current, before the table is asked again. */
  readonly currentMs: number;
  /** After a failure to make the first one, no root key is asked again for so long. */
  readonly pauseMs: number;
}) {
  const { rows, roots, cache, tenant, runtime, log, currentMs, pauseMs } = options;
  let known: { readonly id: string; readonly until: number } | undefined;
  let search: Promise<string> | undefined;
  let failure: { readonly error: CodedError; readonly until: number } | undefined;

  /** A search that began before a rotation, and ends after it, does not bring the old one back. */
  function nowCurrent(id: string): string {
    const current = known !== undefined && versionOf(known.id) > versionOf(id) ? known.id : id;
    known = { id: current, until: runtime.now() + currentMs };
    return current;
  }

  /**
   * A new data key, wrapped by every root key and proven to open under each, before anything is
   * sealed with it. The winner's, if another process was faster.
   */
  async function make(version: number): Promise<string> {
    const id = `${version}-${randomBytes(4).toString('hex')}`;
    const dataKey = randomBytes(dataKeyBytes);
    try {
      const context = contextOf(tenant, id);
      const wraps = await Promise.all(
        roots.all.map(async (rootKey) => [rootKey.id, await roots.wrap(rootKey, dataKey, context)] as const),
      );
      const row: DataKeyRow = { id, version, createdAt: runtime.now(), wraps: new Map(wraps) };
      if (await rows.add(row)) {
        log('info', 'data_key_made', { tenant, dataKey: id, rootKeys: roots.all.map((rootKey) => rootKey.id) });
        // Not `slice`: of a Buffer that is the same memory, which is wiped below.
        cache.keep(id, Uint8Array.from(dataKey));
        return id;
      }
    } finally {
      dataKey.fill(0);
    }
    const newest = (await rows.all()).at(-1);
    if (newest !== undefined) return newest.id;
    throw new CodedError('keys_unavailable', `the data keys of ${tenant} were erased while one was made`, {
      fields: { tenant },
    });
  }

  async function find(): Promise<string> {
    const newest = (await rows.all()).at(-1);
    if (newest !== undefined) return nowCurrent(newest.id);
    if (failure !== undefined && runtime.now() < failure.until) throw failure.error;
    try {
      return nowCurrent(await make(1));
    } catch (thrown) {
      const error = asCodedError(thrown);
      failure = { error, until: runtime.now() + pauseMs };
      throw error;
    }
  }

  /**
   * Keeps the wrap that a rotated root key gave instead of the old one. A lost race or a table that
   * is down only costs the next one.
   */
  async function keepRenewed(row: DataKeyRow, rootKey: string, renewed: string): Promise<void> {
    const fields = { tenant, dataKey: row.id, rootKey };
    try {
      if (await rows.putWrap(row, rootKey, renewed)) log('info', 'data_key_renewed', fields);
    } catch (thrown) {
      log('warn', 'data_key_not_renewed', { ...fields, ...errorFields(asCodedError(thrown)) });
    }
  }

  return {
    /** The id of the current data key; the first one is made if there is none. */
    async current(): Promise<string> {
      if (known !== undefined && runtime.now() < known.until) return known.id;
      search ??= find().finally(() => {
        search = undefined;
      });
      return search;
    },

    /** The bytes of a data key, by whichever root key opens it. */
    async open(id: string): Promise<Uint8Array> {
      const row = await rows.find(id);
      if (row === undefined)
        throw new CodedError(
          'sealed_unreadable',
          `there is no data key ${id} of ${tenant}: it was erased, or never here`,
          {
            fields: { tenant, dataKey: id },
          },
        );
      const { rootKey, dataKey, renewed } = await roots.unwrapAny(id, row.wraps, contextOf(tenant, id));
      if (renewed !== undefined) await keepRenewed(row, rootKey.id, renewed);
      return dataKey;
    },

    async rotate(): Promise<string> {
      const newest = (await rows.all()).at(-1);
      const id = await make((newest?.version ?? 0) + 1);
      log('info', 'data_key_rotated', { tenant, dataKey: id, before: newest?.id });
      cache.clear(id);
      return nowCurrent(id);
    },
  };
}
