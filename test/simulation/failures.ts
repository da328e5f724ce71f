import { replicationRecords } from '../../src/records/replication-records.ts';
import type { World } from './world.ts';

/** So many failures in a row of one backup, some of them in the last quarter of an hour. */
const tooMany = 5;
const latelyMs = 15 * 60_000;

/** Longer than two of the longest waits for another attempt. */
const moreMs = 35 * 60_000;
const mostSteps = 20_000;

/**
 * When nothing goes wrong any more nothing is tried as a failure, again and again: what a service
 * does not do for a reason that lasts is a finding, which is told and rests. Time runs on where
 * something has just failed: the last attempt may have met what another deployment did meanwhile.
 */
export async function endlessFailures(world: World): Promise<string[]> {
  const { time } = world;
  const before = await failuresLately(world);
  if (before.size === 0) return [];
  await time.runUntil(time.now() + moreMs, mostSteps);
  const still = [...(await failuresLately(world))].filter(
    ([which, { attempts }]) => attempts > (before.get(which)?.attempts ?? Number.POSITIVE_INFINITY),
  );
  return still.map(([, { words }]) => words);
}

/** What has failed often, and not long ago, by table, link, certificate and backup. */
async function failuresLately({ tables, routes, time }: World) {
  const found = new Map<string, { readonly attempts: number; readonly words: string }>();
  for (const [index, table] of tables.entries())
    for (const { link } of routes)
      for await (const { certificate, backups } of replicationRecords(table).all(link))
        for (const { store, attempts, lastError, refusal } of backups) {
          if (attempts < tooMany || lastError === undefined || refusal !== undefined) continue;
          if (lastError.at < time.now() - latelyMs) continue;
          const words = `bound: ${store} failed ${attempts} times in a row for ${certificate}: ${lastError.code}`;
          found.set([index, link, certificate, store].join(' '), { attempts, words });
        }
  return found;
}
