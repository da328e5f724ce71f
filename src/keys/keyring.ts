import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';
import { dataKeyCache } from './data-key-cache.ts';
import { dataKeyPartition, dataKeyRows } from './data-key-rows.ts';
import { dataKeys } from './data-keys.ts';
import { checkDataKeys, type KeyCheck, type RewrapReport, rewrapDataKeys } from './keyring-upkeep.ts';
import type { RootKey } from './root-key.ts';
import { rootKeySet } from './root-keys.ts';
import { dataKeyOf, openValue, type Place, sealValue } from './sealed.ts';

export type { KeyCheck, Place, RewrapReport };
export { dataKeyPartition };

/**
 * The keyring of one tenant: its data keys, each of 256 bits, on a table, wrapped by one or two
 * root keys of which either opens. Several keyrings of one tenant, in one process or in many, share
 * the data keys. Every method that may need a data key throws
 * - `keys_unavailable` (503, retry): no root key service was reached, and what was kept in memory
 *   is used up.
 * - `keys_refused`, `keys_file_...` (503): every root key says no. What was kept in memory is wiped
 *   at that moment.
 * - `keys_unreadable` (500): the data key opens under none of these root keys.
 * - `table_unavailable`, `table_row_unreadable`: of the table; the latter also for a data key in a
 *   format of a later version.
 */
export interface Keyring {
  /**
   * The content as JWE compact under the current data key, bound to its place. Makes the first data
   * key if there is none. `content` is left as it is.
   */
  seal(place: Place, content: Uint8Array): Promise<string>;
  /**
   * What was sealed for this place: bytes of their own, for the caller to wipe. Throws
   * `sealed_unreadable` for whatever was moved, cut, changed, sealed elsewhere, or sealed with a
   * data key that is no longer there. That is never the same as absent.
   */
  open(place: Place, sealed: string): Promise<Uint8Array>;
  /**
   * The id of the data key that a sealed value needs. Asks nobody. Throws `sealed_unreadable` when
   * it is none.
   */
  sealedWith(sealed: string): string;
  /**
   * The id of the data key that new values are sealed with. Makes the first one if there is none.
   */
  currentDataKey(): Promise<string>;
  /**
   * Makes a new data key; the id of the one that is current afterwards. What older ones sealed
   * still opens. Other processes notice within the cache period, so reseal rows no earlier than
   * that, and by `sealedWith`.
   */
  rotate(): Promise<string>;
  /**
   * Brings all data keys under the configured root keys as these are now: wraps what a root key
   * does not wrap yet, wraps anew what it does, and drops wraps by root keys that are no longer
   * configured, once every configured one was proven to open. Safe beside running servers and when
   * it is interrupted anywhere; running it again goes on. Throws only for the table.
   */
  rewrap(): Promise<RewrapReport>;
  /** Asks every root key to open every data key. Changes nothing. Throws only for the table. */
  check(): Promise<KeyCheck>;
  status(): KeyringStatus;
  /**
   * Erases all data keys: what they sealed opens never again. Other processes forget theirs within
   * the cache period. The keyring is closed then.
   */
  destroy(): Promise<void>;
  /** Wipes what is in memory. The root keys are left open for other tenants. */
  close(): Promise<void>;
}

export interface KeyringOptions {
  readonly table: Table;
  /** Printable ASCII, at most 200 characters. */
  readonly tenant: string;
  /** One or two, of different ids. */
  readonly rootKeys: readonly RootKey[];
  readonly runtime: Runtime;
  readonly log: Log;
  /** How long a plain data key is kept in memory. Default 5 minutes. */
  readonly cacheMs?: number;
  /**
   * How much longer while no root key service can be reached; a refusal ends it at once. Default 10
   * minutes.
   */
  readonly outageMs?: number;
}

export interface KeyringStatus {
  /**
   * `ready`: nothing failed when last asked. `degraded`: a root key failed, another one opened.
   * `outage`: none can be asked, and what is in memory serves until `servesUntil`. `failed`: a data
   * key could not be had.
   */
  readonly state: 'ready' | 'degraded' | 'outage' | 'failed';
  readonly rootKeys: readonly {
    readonly id: string;
    readonly state: 'unasked' | 'opens' | 'unavailable' | 'refused' | 'unreadable';
    /** Since when, if it was asked: milliseconds since 1970. */
    readonly since?: number;
  }[];
  readonly dataKeysInMemory: number;
  readonly servesUntil?: number;
  /** Calls to root keys so far. */
  readonly calls: { readonly wrap: number; readonly unwrap: number; readonly rewrap: number };
}

/** A keyring. Asks nobody yet. Throws `configuration_invalid` if an option is wrong. */
export function keyring(options: KeyringOptions): Keyring {
  const { table, tenant, rootKeys, runtime, log, cacheMs = 5 * 60_000, outageMs = 10 * 60_000 } = options;
  checkOptions(tenant, rootKeys, cacheMs, outageMs);
  const rows = dataKeyRows(table, tenant);
  const roots = rootKeySet({ rootKeys, runtime, log });
  const cache = dataKeyCache({
    load: (id) => keys.open(id),
    runtime,
    cacheMs,
    outageMs,
    pauseMs: rootKeyPauseMs,
    most: limits.dataKeysInMemory,
  });
  const keys = dataKeys({ rows, roots, cache, tenant, runtime, log, currentMs: cacheMs, pauseMs: rootKeyPauseMs });
  const upkeep = { rows, roots, tenant, log };
  let closed = false;

  /** A keyring that is closed, or whose data keys were erased, makes no new one. */
  function checkOpen(): void {
    if (closed) throw new CodedError('keys_unavailable', `the keyring of ${tenant} is closed`, { fields: { tenant } });
  }

  function end(): void {
    closed = true;
    cache.close();
  }

  return {
    async seal(place, content) {
      checkOpen();
      const dataKey = await keys.current();
      return cache.use(dataKey, (key) => sealValue(key, { dataKey, tenant, place }, content));
    },
    async open(place, sealed) {
      const dataKey = dataKeyOf(sealed);
      return cache.use(dataKey, (key) => openValue(key, { dataKey, tenant, place }, sealed));
    },
    sealedWith: dataKeyOf,
    async currentDataKey() {
      checkOpen();
      return keys.current();
    },
    async rotate() {
      checkOpen();
      return keys.rotate();
    },
    rewrap: () => rewrapDataKeys(upkeep),
    check: () => checkDataKeys(upkeep),
    status() {
      const { failed, servesUntil } = cache.trouble();
      const troubled = roots.states().some(({ state }) => state !== 'opens' && state !== 'unasked');
      return {
        state: failed ? (servesUntil === undefined ? 'failed' : 'outage') : troubled ? 'degraded' : 'ready',
        rootKeys: roots.states(),
        dataKeysInMemory: cache.size(),
        ...defined({ servesUntil }),
        calls: roots.calls(),
      };
    },
    async destroy() {
      end();
      await rows.erase();
      log('info', 'data_keys_erased', { tenant });
    },
    async close() {
      end();
    },
  };
}

/**
 * Whether the tenant has data keys on this table: then its root keys are there already, and a new
 * one would open nothing.
 */
export function hasDataKeys(table: Table, tenant: string): Promise<boolean> {
  return dataKeyRows(table, tenant).any();
}

/** Ids of the root keys that wrap a data key of the tenant. Throws for the table. */
export async function wrappingRootKeys(table: Table, tenant: string): Promise<readonly string[]> {
  const all = await dataKeyRows(table, tenant).all();
  return [...new Set(all.flatMap(({ wraps }) => [...wraps.keys()]))];
}

/** After a failure the root keys rest for so long. */
const rootKeyPauseMs = 5_000;

function checkOptions(tenant: string, rootKeys: readonly RootKey[], cacheMs: number, outageMs: number): void {
  const invalid = (found: string) => new CodedError('configuration_invalid', `keyring of ${tenant}: ${found}`);
  if (!/^[\x21-\x7e]{1,200}$/.test(tenant)) throw invalid('a tenant is 1 to 200 characters of printable ASCII');
  if (rootKeys.length < 1 || rootKeys.length > 2)
    throw invalid(`one or two root keys are wanted, not ${rootKeys.length}`);
  if (new Set(rootKeys.map(({ id }) => id)).size < rootKeys.length) throw invalid('the two root keys are the same');
  if (!(cacheMs >= 1_000 && cacheMs <= limits.dataKeyCacheMs)) throw invalid(`cacheMs ${cacheMs} is not 1 s to 1 h`);
  if (!(outageMs >= 0 && outageMs <= limits.dataKeyOutageMs)) throw invalid(`outageMs ${outageMs} is not 0 to 24 h`);
}
