import type { Overwritten } from '../../records/replication-record.ts';

/** So often, no two further apart than that, and it is no person's one edit any more. */
const timesReported = 3;
const apartMs = 7 * 24 * 3_600_000;

/**
 * What a record keeps of it after a pass. `changed`: this pass found a copy changed that had been
 * equal, and nobody here had written.
 */
export function noteOverwritten(
  before: Overwritten | undefined,
  changed: boolean,
  now: number,
): Overwritten | undefined {
  const recent = before !== undefined && now - before.lastAt <= apartMs ? before : undefined;
  if (!changed) return recent;
  return { times: (recent?.times ?? 0) + 1, since: recent?.since ?? now, lastAt: now };
}

/**
 * Whether somebody else keeps changing a copy: a second deployment, a script, the service itself.
 * It is written to all the same, as any copy that differs; but its owner should know.
 */
export function isOverwritten(found: Overwritten | undefined, now: number): found is Overwritten {
  return found !== undefined && found.times >= timesReported && now - found.lastAt <= apartMs;
}
