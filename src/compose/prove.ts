import type { ProveCost, ProveReport } from '../prove/prove.ts';
import { quotaRecords } from '../records/quota-records.ts';
import { replicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import { quotaStore, quotasLeft } from '../store/quota.ts';
import type { QuotaLeft, Store } from '../store/store.ts';
import type { Table } from '../table/table.ts';

/**
 * Proves what a store states about itself, with a certificate of its own, and waits for its word of
 * a change where one of these links listens to it. Loaded only when it is wanted.
 */
export async function proveStore(
  given: {
    readonly runtime: Runtime;
    readonly store: Store;
    readonly signal: AbortSignal;
    readonly step: (what: string) => void;
  },
  listening?: { readonly table: Table; readonly links: readonly string[] },
): Promise<ProveReport> {
  const [{ proveStore: prove }, { createDevelopmentCa: createCa }] = await Promise.all([
    import('../prove/prove.ts'),
    import('../instance/orders/authority/development-ca.ts'),
  ]);
  const ca = await createCa({ name: 'certstandby prove', now: given.runtime.now, keyKind: 'rsa-2048' });
  const issue = (domains: readonly string[]) => ca.issue({ domains, keyKind: 'rsa-2048' });
  if (listening === undefined) return prove({ ...given, issue });
  const records = replicationRecords(listening.table);
  const eventSeenAt = async (certificate: string) => {
    const found = await Promise.all(listening.links.map((link) => records.get(link, certificate)));
    const moments = found.flatMap((record) => record?.eventAt ?? []);
    return moments.length === 0 ? undefined : Math.max(...moments);
  };
  return prove({ ...given, issue, eventSeenAt });
}

/**
 * A store whose quotas are counted on a table, as the program counts them, and what is left of them
 * now.
 */
export async function countedOn(
  table: Table,
  store: Store,
  runtime: Runtime,
): Promise<{ readonly store: Store; readonly left: readonly QuotaLeft[] }> {
  const book = quotaRecords(table);
  return { store: quotaStore(store, { runtime, book }), left: await quotasLeft(store, book, runtime.now()) };
}

/** What a proof of a store sends at the most. */
export async function costOfProof(store: Store): Promise<ProveCost> {
  return (await import('../prove/prove.ts')).proveCost(store);
}
