import type { Config, TableConfig } from '../config.ts';
import { defined } from '../defined.ts';
import { identityRecords } from '../records/identity-records.ts';
import type { Runtime } from '../runtime.ts';
import * as registry from '../services/registry.ts';
import type { Service } from '../services/service.ts';
import type { QuotaBook } from '../store/quota.ts';
import type { Store } from '../store/store.ts';
import { awsSecretOf } from './aws-secrets.ts';
import { openService, partsOf, secretBy } from './services.ts';
import { openTable } from './tables.ts';

/**
 * The configured stores by their names in the configuration. Nothing is asked of them yet; `sent` is called for each request.
 */
export async function openStores(
  config: Pick<Config, 'stores'>,
  runtime: Runtime,
  { sent = () => {}, quotas }: { readonly sent?: () => void; readonly quotas?: QuotaBook } = {},
): Promise<ReadonlyMap<string, Store>> {
  const context = { runtime, secretOf: awsSecretOf, sent, quotas };
  const opened = config.stores.map(async (store) => [store.name, await openService(store, context)] as const);
  return new Map(await Promise.all(opened));
}

/** The configured stores, each with what its service knows to ask and to say of it: for `doctor`. As `openStores`. */
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
 * Binds a store to the place that is behind its setting now, whatever it was bound to: a person said that it is meant. A place that
 * has no identity yet gets one with its next write; one that another store is bound to gets one of its own. Answers what it was
 * bound to, and what it is bound to now; both are absent for a store that can prove no identity.
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
