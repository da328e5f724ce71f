import type { TableConfig } from '../config.ts';
import { type InstanceServer, type InstanceServerOptions, startInstanceServer } from '../instance/api/server.ts';
import { certificateRows } from '../instance/certificates/certificate-rows.ts';
import type { DevelopmentCa, DevelopmentCaOptions } from '../instance/orders/authority/development-ca.ts';
import { type OrderingElsewhere, orderingElsewhere } from '../instance/orders/ordering.ts';
import { instanceRates, resolveLimits } from '../instance/tenants/instance-limits.ts';
import { type InstanceRegistry, instanceRegistry, reclaimMs } from '../instance/tenants/registry.ts';
import { type CertificateUpkeep, certificateUpkeep } from '../instance/upkeep/certificate-upkeep.ts';
import { eraseWhatIsDue } from '../instance/upkeep/erasure.ts';
import { type SnapshotReport, takeSnapshot } from '../instance/upkeep/snapshot.ts';
import { newestSnapshot, type SnapshotOptions } from '../instance/upkeep/snapshot-folder.ts';
import {
  type CheckedSnapshot,
  checkSnapshot,
  type KeyringOver,
  restoreSnapshot,
} from '../instance/upkeep/snapshot-restore.ts';
import { hasDataKeys, type Keyring, keyring, wrappingRootKeys } from '../keys/keyring.ts';
import { type RecoveryProofs, recoveryProofs } from '../keys/recovery-proofs.ts';
import type { RootKey } from '../keys/root-key.ts';
import type { Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { Secret } from '../secret.ts';
import { openRootKey, type RootKeyConfig } from './root-keys.ts';
import { openTable } from './tables.ts';

/** A development CA. Loaded only when one is wanted: what makes certificates is slow to load. */
export async function createDevelopmentCa(options: DevelopmentCaOptions): Promise<DevelopmentCa> {
  return (await import('../instance/orders/authority/development-ca.ts')).createDevelopmentCa(options);
}

export interface InstancesConfig {
  readonly table: TableConfig;
  readonly rootKeys: readonly RootKeyConfig[];
  /** Instances that are not in the registry. */
  readonly tenants?: readonly string[];
  /** Where servers keep a snapshot for each day. Default: nowhere. */
  readonly snapshots?: SnapshotOptions;
  /** Whether a root key file that is not there may be made. Default true. */
  readonly makeRootKeys?: boolean;
}

/** A file of a snapshot, and how its reader or writer is watched and stopped. */
interface SnapshotFileOptions {
  readonly path: string;
  readonly signal?: AbortSignal;
  readonly progress?: () => void;
}

interface InstancesContext {
  readonly runtime: Runtime;
  readonly log: Log;
}

/**
 * Instances of our own on one table, as commands and servers use them. Everything throws what the
 * table and the root keys throw.
 */
export interface Instances {
  readonly registry: InstanceRegistry;
  /** How long a deleted instance can be reclaimed, in milliseconds. */
  readonly reclaimMs: number;
  /**
   * Root key files that were made here, with their recovery texts: who shows one takes it out of
   * this list.
   */
  readonly made: { readonly path: string; readonly recoveryText: Secret }[];
  /** When recovery texts were shown to be right. */
  readonly recoveryProofs: RecoveryProofs;

  /** Takes a snapshot of an instance of the registry, beside running servers. */
  snapshot(instanceCrn: string, options: SnapshotFileOptions): Promise<SnapshotReport>;
  /** The day of the newest snapshot of an instance here, as `newestSnapshot` says. */
  newestSnapshot(instanceCrn: string): Promise<number | undefined>;
  /** Brings an instance back that is not here. */
  restore(options: SnapshotFileOptions): Promise<CheckedSnapshot>;

  /** Ids of the root keys in force. */
  rootKeys(): readonly string[];
  /** The keyring of a tenant, by whichever root keys are in force when it is used. */
  keyringOf(tenant: string): Keyring;
  /**
   * Changes to these root keys; a file that is not there is made. What is under way goes on with
   * those it began with: their data keys leave the memory at the end of their time, as always.
   */
  useRootKeys(configs: readonly RootKeyConfig[]): Promise<void>;

  /** Work on all certificates of an instance. */
  upkeepOf(instanceCrn: string): CertificateUpkeep;
  /**
   * Orders and renewals of an instance, as a command asks for them: a server of the same table
   * carries them out.
   */
  ordersOf(instanceCrn: string): Promise<OrderingElsewhere>;
  /** Serves the instances of the registry, and others if asked. */
  serve(
    options: Omit<InstanceServerOptions, 'table' | 'registry' | 'keyringOf' | 'runtime' | 'log'>,
  ): Promise<InstanceServer>;
  /** Closes the root keys and the table, after what serves has been closed. */
  close(): Promise<void>;
}

/**
 * Opens the table and the root keys of instances of our own. A root key file that is not there is
 * made, as long as no data key needs another one; its recovery text is in `made` then, for the only
 * time. Throws what the table and the root keys throw.
 */
export async function openInstances(config: InstancesConfig, { runtime, log }: InstancesContext): Promise<Instances> {
  const table = await openTable(config.table);
  const registry = instanceRegistry({ table, runtime });
  const keyrings = new Map<string, Keyring>();
  const destroyed = new Set<string>();
  const made: { readonly path: string; readonly recoveryText: Secret }[] = [];
  let rootKeys: readonly RootKey[] = [];
  const everOpened: { close(): Promise<void> }[] = [];

  async function openRootKeys(configs: readonly RootKeyConfig[], create: boolean): Promise<void> {
    const opened: RootKey[] = [];
    for (const rootKey of configs) {
      const { recoveryText, ...rest } = await openRootKey(rootKey, { create, runtime });
      opened.push(rest.rootKey);
      everOpened.push(rest.rootKey);
      if (recoveryText !== undefined && rootKey.kind === 'file') made.push({ path: rootKey.path, recoveryText });
    }
    rootKeys = opened;
  }

  async function close(): Promise<void> {
    for (const each of [...keyrings.values(), ...everOpened]) await each.close();
    await table.close();
  }

  try {
    const tenants = [...(config.tenants ?? []), ...(await registry.list()).map(({ crn }) => crn)];
    const taken = await Promise.all(tenants.map((tenant) => hasDataKeys(table, tenant)));
    await openRootKeys(config.rootKeys, !taken.includes(true) && config.makeRootKeys !== false);
  } catch (thrown) {
    await close();
    throw thrown;
  }

  const inForce = (tenant: string): Keyring => {
    const there = keyrings.get(tenant) ?? keyring({ table, tenant, rootKeys, runtime, log });
    keyrings.set(tenant, there);
    return there;
  };
  /** The keyring of a tenant, by whichever root keys are in force when it is used. */
  const keyringOf = (tenant: string): Keyring => ({
    seal: (place, content) => inForce(tenant).seal(place, content),
    open: (place, sealed) => inForce(tenant).open(place, sealed),
    sealedWith: (sealed) => inForce(tenant).sealedWith(sealed),
    currentDataKey: () => inForce(tenant).currentDataKey(),
    rotate: () => inForce(tenant).rotate(),
    rewrap: () => inForce(tenant).rewrap(),
    check: () => inForce(tenant).check(),
    status: () => inForce(tenant).status(),
    async destroy() {
      destroyed.add(tenant);
      await inForce(tenant).destroy();
    },
    close: () => inForce(tenant).close(),
  });

  /** A keyring, by the root keys in force, over data keys that are not on the table. */
  const keyringOver: KeyringOver = async (tenant, rows) => {
    const over = await keyringApart(tenant, rows, { rootKeys, runtime, log });
    everOpened.push(over);
    return over;
  };

  await eraseWhatIsDue({ table, registry, keyringOf, log, snapshotFolder: config.snapshots?.folder });
  return {
    registry,
    reclaimMs,
    snapshot: (instanceCrn, options) =>
      takeSnapshot({ table, sealer: keyringOf(instanceCrn), runtime, instanceCrn, ...options }),
    newestSnapshot: async (instanceCrn) => config.snapshots && newestSnapshot(config.snapshots.folder, instanceCrn),
    restore: (options) => restoreSnapshot({ table, registry, runtime, keyringOver, ...options }),
    rootKeys: () => rootKeys.map(({ id }) => id),
    made,
    recoveryProofs: recoveryProofs(table),
    keyringOf,
    async useRootKeys(configs) {
      await openRootKeys(configs, true);
      everOpened.push(...keyrings.values());
      // Work that is still going on for an erased instance must make no new data key: its keyring
      // stays, closed.
      for (const tenant of keyrings.keys()) if (!destroyed.has(tenant)) keyrings.delete(tenant);
    },
    upkeepOf(instanceCrn) {
      const shared = { table, sealer: keyringOf(instanceCrn), runtime, log, instanceCrn };
      return certificateUpkeep({ ...shared, rows: certificateRows(shared) });
    },
    async ordersOf(instanceCrn) {
      const resolved = resolveLimits((await registry.get(instanceCrn)).limits);
      const shared = { table, sealer: keyringOf(instanceCrn), runtime, log, instanceCrn };
      const rates = instanceRates({ limits: resolved, table, instanceCrn, now: runtime.now });
      const instance = { crn: instanceCrn, limits: resolved, rates };
      return orderingElsewhere({ ...shared, instance, rows: certificateRows(shared) });
    },
    serve(options) {
      const snapshots = config.snapshots === undefined ? {} : { snapshots: config.snapshots };
      return startInstanceServer({ ...snapshots, ...options, table, registry, keyringOf, runtime, log });
    },
    close,
  };
}

/** A keyring over data keys that are on no table. */
async function keyringApart(
  tenant: string,
  rows: Parameters<KeyringOver>[1],
  context: { readonly rootKeys: readonly RootKey[] } & InstancesContext,
): Promise<Keyring> {
  const { memoryTable } = await import('../table/memory.ts');
  const apart = memoryTable();
  for (const { partition, sort, ...fields } of rows) await apart.putIfAbsent({ partition, sort }, fields);
  return keyring({ table: apart, tenant, ...context });
}

/**
 * Whether a snapshot is whole, and opens under these root keys. No table is opened, and no root key
 * before the file was read. Throws what `checkSnapshot` of snapshot-restore.ts and the root keys
 * throw.
 */
export async function checkSnapshotFile(
  path: string,
  configs: readonly RootKeyConfig[],
  { runtime, log }: InstancesContext,
): Promise<CheckedSnapshot> {
  const opened: { close(): Promise<void> }[] = [];
  try {
    return await checkSnapshot(path, async (tenant, rows) => {
      const rootKeys: RootKey[] = [];
      for (const config of configs) {
        const { rootKey } = await openRootKey(config, { create: false, runtime });
        rootKeys.push(rootKey);
        opened.push(rootKey);
      }
      const over = await keyringApart(tenant, rows, { rootKeys, runtime, log });
      opened.unshift(over);
      return over;
    });
  } finally {
    for (const each of opened) await each.close();
  }
}

/**
 * Ids of the root keys of which one opens the data keys of the instances on a table. No root key is
 * opened. Throws what the table throws.
 */
export async function rootKeysThatOpen(config: TableConfig, runtime: Runtime): Promise<ReadonlySet<string>> {
  const table = await openTable(config);
  try {
    const instances = await instanceRegistry({ table, runtime }).list();
    const ids = await Promise.all(instances.map(({ crn }) => wrappingRootKeys(table, crn)));
    return new Set(ids.flat());
  } finally {
    await table.close();
  }
}
