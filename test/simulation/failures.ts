import { replicationRecords } from '../../src/records/replication-records.ts';
import type { World } from './world.ts';

/** So many failures in a row of one backup, some of them in the last quarter of an hour. */
const tooMany = 5;
const latelyMs = 15 * 60_000;

/**
 * When nothing goes wrong any more nothing is tried as a failure, again and again: what a service
 * does not do for a reason that lasts is a finding, which is told and rests.
 */
export async function endlessFailures({ tables, routes, time }: World): Promise<string[]> {
  const broken: string[] = [];
  for (const table of tables)
    for (const { link } of routes)
      for await (const { certificate, backups } of replicationRecords(table).all(link))
        for (const { store, attempts, lastError, refusal } of backups) {
          if (attempts < tooMany || lastError === undefined || refusal !== undefined) continue;
          if (lastError.at < time.now() - latelyMs) continue;
          broken.push(`bound: ${store} failed ${attempts} times in a row for ${certificate}: ${lastError.code}`);
        }
  return broken;
}
