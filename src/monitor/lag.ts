import type { PassReport } from '../replication/pass/replicate.ts';

/**
 * The lag of a change that this pass made equal everywhere. None for a pass that wrote nothing, and
 * none for the first copy of what was there before anyone told us: its age is not a lag. `senderMs`
 * is the part of it that was the sender's, where that is known.
 */
export function lagOf({ primary, backups, record, committedAt }: PassReport) {
  const wrote = backups.some(({ actions }) => actions.length > 0);
  if (primary === undefined || !wrote || backups.some(({ equal }) => !equal)) return undefined;
  if (record.primary === undefined && record.eventAt === undefined) return undefined;
  const doneAt = Math.max(...backups.map(({ state }) => state.replicatedAt ?? committedAt));
  const { changedAt, changedAtFrom } = primary;
  const { eventAt } = record;
  const fromEvent = changedAtFrom === 'last-modified' && eventAt !== undefined && eventAt >= changedAt;
  return { lagMs: Math.max(0, doneAt - changedAt), senderMs: fromEvent ? eventAt - changedAt : undefined };
}
