import { createHash } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import type { Table } from '../../table/table.ts';
import type { Sealer } from '../rows/sealed-places.ts';
import { type SnapshotReport, takeSnapshot } from './snapshot.ts';

const dayMs = 86_400_000;

/** Where a server keeps its daily snapshots, and for how many days. */
export interface SnapshotOptions {
  readonly folder: string;
  readonly keepDays: number;
}

/**
 * The name of a snapshot: what all of its instance begin with, then the day, for those on demand
 * the time too.
 */
function nameOf(instanceCrn: string, moment: string): string {
  return `${prefixOf(instanceCrn)}${moment}.snapshot`;
}

/**
 * What the names of all snapshots of an instance begin with, and of no other: region and GUID, for
 * people who look for one, then the beginning of the SHA-256 of its CRN, because other accounts and
 * clouds may have the same GUID. A CRN has no dot, so none begins with another's, and no path
 * separator gets in.
 */
function prefixOf(instanceCrn: string): string {
  const [, , , , , region = '', , guid = ''] = instanceCrn.split(':');
  const digest = createHash('sha256').update(instanceCrn).digest('hex');
  return `${region}_${guid}_${digest.slice(0, 16)}.`;
}

/** The path of a snapshot on demand. */
export function snapshotPath(folder: string, instanceCrn: string, now: number): string {
  return join(folder, nameOf(instanceCrn, new Date(now).toISOString().replaceAll(/[:.]/g, '-')));
}

export interface DailySnapshots {
  /**
   * Takes the snapshot of today, by UTC, if there is none yet, and removes what is too old. Throws
   * what `takeSnapshot` throws.
   */
  run(signal?: AbortSignal): Promise<SnapshotReport | undefined>;
}

/**
 * The daily snapshots of one instance in a folder of this server. Servers with folders of their own
 * keep one each; of one folder, one for all.
 */
export function dailySnapshots(context: {
  readonly options: SnapshotOptions;
  readonly table: Table;
  readonly sealer: Sealer;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly instanceCrn: string;
}): DailySnapshots {
  const { options, runtime, log, instanceCrn } = context;
  const { folder, keepDays } = options;

  /**
   * Removes what is older than snapshots are kept, also what a process that was killed has left of
   * one; never the newest.
   */
  async function prune(): Promise<void> {
    const files = await filesOf(folder, instanceCrn);
    const newest = files.filter(isWhole).at(-1);
    const oldest = nameOf(instanceCrn, new Date(runtime.now() - (keepDays - 1) * dayMs).toISOString().slice(0, 10));
    for (const name of files) if (name < oldest && name !== newest) await remove(join(folder, name));
  }

  return {
    async run(signal?: AbortSignal): Promise<SnapshotReport | undefined> {
      const name = nameOf(instanceCrn, new Date(runtime.now()).toISOString().slice(0, 10));
      if ((await filesOf(folder, instanceCrn)).includes(name)) return undefined;
      try {
        const report = await takeSnapshot({ ...context, path: join(folder, name), ...defined({ signal }) });
        const { certificates, sha256, path, broken } = report;
        const level = broken.length > 0 ? 'error' : 'info';
        log(level, 'instance_snapshot_taken', { instance: instanceCrn, path, certificates, sha256, broken });
        await prune();
        return report;
      } catch (thrown) {
        // Another server of the same folder was faster.
        if (thrown instanceof CodedError && thrown.code === 'archive_exists') return undefined;
        throw thrown;
      }
    },
  };
}

const isWhole = (name: string): boolean => name.endsWith('.snapshot');

/**
 * The names of all that is in a folder of snapshots; none if there is no folder. Throws
 * `archive_unusable`.
 */
export async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') return [];
    throw new CodedError('archive_unusable', `${folder} cannot be read (${thrown.code})`, { cause: thrown });
  });
}

/**
 * The snapshots of an instance in this folder, the oldest first, and what is left of those that
 * were never ended.
 */
async function filesOf(folder: string, instanceCrn: string, names?: readonly string[]): Promise<string[]> {
  const prefix = prefixOf(instanceCrn);
  return (names ?? (await namesIn(folder))).filter((name) => name.startsWith(prefix)).sort();
}

/**
 * The day (midnight by UTC, epoch milliseconds) of the newest snapshot of an instance in this
 * folder.
 */
export async function newestSnapshot(folder: string, instanceCrn: string): Promise<number | undefined> {
  const newest = (await filesOf(folder, instanceCrn)).filter(isWhole).at(-1);
  return newest === undefined ? undefined : Date.parse(newest.slice(prefixOf(instanceCrn).length).slice(0, 10));
}

/**
 * Removes every snapshot of an instance in this folder, whole or in part; of these names if the
 * folder was read already. Answers how many files there were. Throws `archive_unusable`.
 */
export async function removeSnapshots(folder: string, instanceCrn: string, names?: readonly string[]): Promise<number> {
  const files = await filesOf(folder, instanceCrn, names);
  for (const name of files) await remove(join(folder, name));
  return files.length;
}

async function remove(path: string): Promise<void> {
  await rm(path, { force: true }).catch((thrown: NodeJS.ErrnoException) => {
    throw new CodedError('archive_unusable', `${path} cannot be removed (${thrown.code})`, { cause: thrown });
  });
}
