import { asCodedError } from '../../errors.ts';
import type { Keyring } from '../../keys/keyring.ts';
import { errorFields, type Log, type LogFields } from '../../log.ts';
import type { Table } from '../../table/table.ts';
import { rowsIn } from '../rows/instance-rows.ts';
import { allPartitions } from '../rows/partitions.ts';
import type { InstanceRegistry, KeptInstance } from '../tenants/registry.ts';
import { namesIn, removeSnapshots } from './snapshot-folder.ts';

export interface ErasureContext {
  readonly table: Table;
  readonly registry: InstanceRegistry;
  readonly keyringOf: (instanceCrn: string) => Pick<Keyring, 'destroy'>;
  readonly log: Log;
  /** Where this process has snapshots, if it has any. */
  readonly snapshotFolder?: string | undefined;
  /** Whether an instance is still served here: then it is erased the next time. */
  readonly isServed?: (instanceCrn: string) => boolean;
}

/**
 * Erases every instance whose seven days are over: its snapshots in the folder here, its data keys,
 * with which everything that was sealed is lost for good, and then its rows. May be killed
 * anywhere, and done by several processes at once: whoever does it again ends it. Removes from the
 * folder here the snapshots of what other processes erased. One that fails, or a folder that cannot
 * be read, is logged and holds up nothing else.
 */
export async function eraseWhatIsDue(context: ErasureContext): Promise<void> {
  const { registry, log, snapshotFolder, isServed = () => false } = context;
  for (const instance of await registry.list()) {
    if (isServed(instance.crn)) continue;
    try {
      if (await registry.beginErasure(instance)) await erase(context, instance);
    } catch (thrown) {
      log('error', 'instance_not_erased', { instance: instance.crn, ...errorFields(asCodedError(thrown)) });
    }
  }
  if (snapshotFolder !== undefined) await removeWhatIsLeft(context, snapshotFolder);
}

/** Removes the snapshots of everything that was ever erased, with one look into the folder. */
async function removeWhatIsLeft({ registry, log }: ErasureContext, folder: string): Promise<void> {
  const failed = (fields: LogFields, thrown: unknown) =>
    log('error', 'instance_snapshots_not_removed', { ...fields, ...errorFields(asCodedError(thrown)) });
  let names: readonly string[];
  try {
    names = await namesIn(folder);
  } catch (thrown) {
    return failed({ folder }, thrown);
  }
  if (names.length === 0) return;
  for (const crn of await registry.erased()) {
    await removeSnapshots(folder, crn, names).catch((thrown) => failed({ instance: crn }, thrown));
  }
}

async function erase(context: ErasureContext, { crn }: KeptInstance): Promise<void> {
  const { table, registry, keyringOf, log, snapshotFolder } = context;
  const snapshots = snapshotFolder === undefined ? 0 : await removeSnapshots(snapshotFolder, crn);
  await keyringOf(crn).destroy();
  let rows = 0;
  for (const partition of allPartitions(crn)) {
    for await (const { sort } of rowsIn(table, partition)) {
      await table.delete({ partition, sort });
      rows += 1;
    }
  }
  await registry.endErasure(crn);
  log('info', 'instance_erased', { instance: crn, rows, snapshots });
}
