import type { Config, TableConfig } from '../config.ts';
import { defined } from '../defined.ts';
import { identityRecords } from '../records/identity-records.ts';
import { type LinkRecords, linkRecords } from '../records/link-records.ts';
import { isUsable, type KeptKey, refuseNoKeyLeft } from '../records/verification-key-records.ts';
import type { Runtime } from '../runtime.ts';
import * as registry from '../services/registry.ts';
import type { Service } from '../services/service.ts';
import type { FactsBook } from '../store/content-facts.ts';
import type { QuotaBook } from '../store/quota.ts';
import type { Store } from '../store/store.ts';
import { awsSecretOf } from './aws-secrets.ts';
import { openService, partsOf, secretBy } from './services.ts';
import { openTable } from './tables.ts';

/**
 * The configured stores by their names in the configuration. Nothing is asked of them yet; `sent`
 * is called for each request.
 */
export async function openStores(
  config: Pick<Config, 'stores'>,
  runtime: Runtime,
  books: { readonly sent?: () => void; readonly quotas?: QuotaBook; readonly facts?: FactsBook } = {},
): Promise<ReadonlyMap<string, Store>> {
  const context = { runtime, secretOf: awsSecretOf, ...books };
  const opened = config.stores.map(async (store) => [store.name, await openService(store, context)] as const);
  return new Map(await Promise.all(opened));
}

/**
 * The configured stores, each with what its service knows to ask and to say of it: for `doctor`. As
 * `openStores`.
 */
export async function openForDiagnosis(
  config: Pick<Config, 'stores'>,
  runtime: Runtime,
): Promise<ReadonlyMap<string, Store>> {
  const stores = await openStores(config, runtime);
  const opened = config.stores.map(async (store) => {
    const part = await partsOf(store).diagnosis?.();
    const diagnosis = part?.diagnosisOf(store as never, { runtime, secret: secretBy(awsSecretOf) });
    return [store.name, { ...(stores.get(store.name) as Store), ...defined({ diagnosis }) }] as const;
  });
  return new Map(await Promise.all(opened));
}

/**
 * Binds a store to the place that is behind its setting now, whatever it was bound to: a person
 * said that it is meant. A place that has no identity yet gets one with its next write; one that
 * another store is bound to gets one of its own. Answers what it was bound to, and what it is bound
 * to now; both are absent for a store that can prove no identity.
 */
export async function acceptStore(
  tableConfig: TableConfig,
  store: Store,
  { runtime, signal }: { readonly runtime: Runtime; readonly signal: AbortSignal },
): Promise<{ readonly before?: string; readonly identity?: string }> {
  if (store.identity === undefined) return {};
  const found = await store.identity({ signal });
  const table = await openTable(tableConfig);
  try {
    const records = identityRecords(table);
    const before = await records.identityOf(store.id);
    const was = before === undefined ? {} : { before };
    if (found === undefined) {
      await records.unbindIdentity(store.id);
      return was;
    }
    const holder = await records.holderOf(found);
    const another = holder !== undefined && holder !== store.id;
    const own = another ? await store.giveIdentity?.(runtime.newId(), { signal, instead: true }) : found;
    return { ...was, identity: await records.bindIdentity(store.id, own ?? found, { instead: true }) };
  } finally {
    await table.close();
  }
}

const services: readonly Service[] = Object.values(registry);

/** Whether a store is of a service that lies on this machine. */
export function isOnThisMachine({ kind }: Pick<Store, 'kind'>): boolean {
  return services.some((service) => service.kind === kind && service.settings?.onThisMachine === true);
}

/** The verification keys that are kept for one callback that tells of a store. */
export interface KeysOfCallback {
  /** Whose callback it is: a link's with that primary, or a sender's whose keys others serve. */
  readonly of: 'link' | 'sender';
  readonly name: string;
  /** The configuration pins a key: what is kept is not used. */
  readonly pinned: boolean;
  readonly keys: readonly (KeptKey & { readonly used: boolean })[];
  /** Ids of keys that a person has dropped. */
  readonly dropped: readonly string[];
}

type KeysConfig = Pick<Config, 'links' | 'senders' | 'table'>;

/**
 * The verification keys that are kept for each link whose primary is this store, and for each
 * sender that tells of it and has keys that others serve. Throws what the table throws.
 */
export function keptKeysOf(config: KeysConfig, store: string, now: number): Promise<readonly KeysOfCallback[]> {
  return withLinkRecords(config.table, (records) => keysOfCallbacks(config, records, store, now));
}

/**
 * Drops one of these keys, by its id, for each link and sender that keeps it: at once, and for
 * ever. Answers what is kept then of those; of none, if none keeps it. Throws
 * `verification_key_last` where one would be left without a key, and then drops it for none.
 */
export function dropKeptKey(
  config: KeysConfig,
  { store, id, now }: { readonly store: string; readonly id: string; readonly now: number },
): Promise<readonly KeysOfCallback[]> {
  return withLinkRecords(config.table, async (records) => {
    const keeping = (await keysOfCallbacks(config, records, store, now)).filter(({ keys }) =>
      keys.some((key) => key.id === id),
    );
    for (const { name, keys } of keeping)
      refuseNoKeyLeft(
        name,
        id,
        keys.filter((key) => key.id !== id),
        now,
      );
    for (const { name } of keeping) await records.dropVerificationKey(name, id, now);
    const names = new Set(keeping.map(({ name }) => name));
    return (await keysOfCallbacks(config, records, store, now)).filter(({ name }) => names.has(name));
  });
}

async function keysOfCallbacks(
  { links, senders = [] }: KeysConfig,
  records: Pick<LinkRecords, 'verificationKeys'>,
  store: string,
  now: number,
): Promise<readonly KeysOfCallback[]> {
  const ofLinks = links
    .filter(({ primary }) => primary === store)
    .map(({ name, verificationKey }) => ({ of: 'link' as const, name, pinned: verificationKey !== undefined }));
  const ofSenders = senders
    .filter((sender) => sender.store === store && partsOf(sender).keys !== undefined)
    .map(({ name }) => ({ of: 'sender' as const, name, pinned: false }));
  return Promise.all(
    [...ofLinks, ...ofSenders].map(async (callback) => {
      const { keys, dropped } = await records.verificationKeys(callback.name);
      return { ...callback, keys: keys.map((key) => ({ ...key, used: isUsable(key, now) })), dropped };
    }),
  );
}

async function withLinkRecords<T>(tableConfig: TableConfig, use: (records: LinkRecords) => Promise<T>): Promise<T> {
  const table = await openTable(tableConfig);
  try {
    return await use(linkRecords(table));
  } finally {
    await table.close();
  }
}
