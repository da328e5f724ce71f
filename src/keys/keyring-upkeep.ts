import { timingSafeEqual } from 'node:crypto';
import { asCodedError, CodedError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { DataKeyRow, DataKeyRows } from './data-key-rows.ts';
import { contextOf } from './data-keys.ts';
import { failureOf, type RootKeyFailure, type RootKeys } from './root-keys.ts';

/** How one data key stands with one root key. `missing`: not wrapped by it. */
export interface WrapFinding {
  readonly rootKey: string;
  readonly state: 'opens' | 'missing' | RootKeyFailure;
  /** What the root key said where it failed, and what mends that. */
  readonly found?: string;
  readonly remedy?: string;
}

export interface KeyCheck {
  /** There is no data key, or every one opens under every configured root key. */
  readonly sound: boolean;
  /** The current one last. */
  readonly dataKeys: readonly {
    readonly id: string;
    readonly createdAt: number;
    readonly current: boolean;
    readonly wraps: readonly WrapFinding[];
    /** Wrapped also by these, which are not configured. */
    readonly alsoWrappedBy: readonly string[];
  }[];
}

export interface RewrapReport {
  /** Every data key is now wrapped by every configured root key, and by no other. */
  readonly complete: boolean;
  readonly dataKeys: readonly RewrappedDataKey[];
}

interface RewrappedDataKey {
  readonly id: string;
  /** Root keys under which it was wrapped, for the first time or anew, and proven to open. */
  readonly wrapped: readonly string[];
  /** Root keys no longer configured, of which the wrap is gone. */
  readonly dropped: readonly string[];
  readonly failed: readonly WrapFinding[];
}

interface Upkeep {
  readonly rows: DataKeyRows;
  readonly roots: RootKeys;
  readonly tenant: string;
  readonly log: Log;
}

/**
 * A row may be changed by a server in between: by a renewed wrap, or by another rewrap. Each change
 * makes the next one less likely.
 */
const triesPerDataKey = 10;

/** Asks every root key to open every data key. Changes nothing. */
export async function checkDataKeys(upkeep: Upkeep): Promise<KeyCheck> {
  const rows = await upkeep.rows.all();
  const dataKeys: KeyCheck['dataKeys'][number][] = [];
  for (const row of rows) {
    const { id, createdAt } = row;
    const wraps = await checkDataKey(upkeep, row);
    dataKeys.push({ id, createdAt, current: row === rows.at(-1), wraps, alsoWrappedBy: strangers(upkeep, row) });
  }
  return { sound: dataKeys.every(({ wraps }) => wraps.every(({ state }) => state === 'opens')), dataKeys };
}

async function checkDataKey({ roots, tenant }: Upkeep, row: DataKeyRow): Promise<WrapFinding[]> {
  const findings: WrapFinding[] = [];
  const opened: Uint8Array[] = [];
  for (const rootKey of roots.all) {
    const wrapped = row.wraps.get(rootKey.id);
    findings.push({ rootKey: rootKey.id, ...(wrapped === undefined ? { state: 'missing' } : await stateOf(wrapped)) });

    async function stateOf(text: string): Promise<Omit<WrapFinding, 'rootKey'>> {
      try {
        const { dataKey } = await roots.unwrap(rootKey, text, contextOf(tenant, row.id));
        opened.push(dataKey);
        // Two root keys that open different keys: one of the wraps is not what it says.
        return { state: opened.every((other) => timingSafeEqual(other, dataKey)) ? 'opens' : 'unreadable' };
      } catch (thrown) {
        const { message, remedy } = asCodedError(thrown);
        return { state: failureOf(thrown), found: message, remedy };
      }
    }
  }
  for (const dataKey of opened) dataKey.fill(0);
  return findings;
}

/** Brings every data key under the configured root keys, as `Keyring.rewrap` says. */
export async function rewrapDataKeys(upkeep: Upkeep): Promise<RewrapReport> {
  const dataKeys: RewrappedDataKey[] = [];
  for (const { id } of await upkeep.rows.all()) {
    const done = await rewrapDataKey(upkeep, id);
    if (done === undefined) continue;
    dataKeys.push(done);
    const { wrapped, dropped, failed } = done;
    const states = failed.map(({ rootKey, state }) => `${rootKey} ${state}`);
    const fields = { tenant: upkeep.tenant, dataKey: id, wrapped, dropped, failed: states };
    upkeep.log(failed.length > 0 ? 'error' : 'info', 'data_key_rewrapped', fields);
  }
  return { complete: dataKeys.every(({ failed }) => failed.length === 0), dataKeys };
}

/** `undefined`: it was erased meanwhile. */
async function rewrapDataKey(upkeep: Upkeep, id: string): Promise<RewrappedDataKey | undefined> {
  for (let tries = 0; tries < triesPerDataKey; tries += 1) {
    const row = await upkeep.rows.find(id);
    if (row === undefined) return undefined;
    const done = await rewrapRow(upkeep, row);
    if (done !== 'changed meanwhile') return done;
  }
  throw new CodedError('table_unavailable', `data key ${id} of ${upkeep.tenant} is changed again and again by others`, {
    fields: { tenant: upkeep.tenant, dataKey: id },
  });
}

async function rewrapRow(upkeep: Upkeep, row: DataKeyRow): Promise<RewrappedDataKey | 'changed meanwhile'> {
  const { rows, roots, tenant } = upkeep;
  const context = contextOf(tenant, row.id);
  const plain = await roots.unwrapAny(row.id, row.wraps, context).catch(() => undefined);
  // Only to say of each root key how it failed.
  if (plain === undefined) return { id: row.id, wrapped: [], dropped: [], failed: await checkDataKey(upkeep, row) };
  const proven = new Map<string, string>();
  const failed: WrapFinding[] = [];
  try {
    for (const rootKey of roots.all) {
      const fresh = await roots
        .wrap(rootKey, plain.dataKey, context, row.wraps.get(rootKey.id))
        .catch((thrown: unknown) => void failed.push({ rootKey: rootKey.id, state: failureOf(thrown) }));
      if (fresh === undefined) continue;
      if (!(await rows.putWrap(row, rootKey.id, fresh))) return 'changed meanwhile';
      proven.set(rootKey.id, fresh);
    }
  } finally {
    plain.dataKey.fill(0);
  }
  // While one configured root key is in doubt, an old one may be the last that opens.
  const dropped = failed.length > 0 ? [] : strangers(upkeep, row);
  if (dropped.length > 0 && !(await rows.dropWraps(row, dropped, proven))) return 'changed meanwhile';
  return { id: row.id, wrapped: [...proven.keys()], dropped, failed };
}

/** Root keys that wrap a data key and are not configured. */
function strangers({ roots }: Upkeep, row: DataKeyRow): string[] {
  const configured = new Set(roots.all.map(({ id }) => id));
  return [...row.wraps.keys()].filter((id) => !configured.has(id));
}
