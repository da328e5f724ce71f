import type { Silence } from '../records/reconcile-records.ts';

/**
 * So many reconciles, one after the other, must find what no event told: one event is lost now and
 * then.
 */
const silentTimes = 2;

/**
 * What a reconcile that began at `startedAt` leaves of this. `untold`: certificates that it found
 * changed, and no event told of; `toldAt`: when the last event came for any certificate, 0 if none
 * did. A reconcile that found nothing proves nothing: perhaps nothing changed.
 */
export function silenceAfter(
  before: Silence | undefined,
  { untold, toldAt, startedAt }: { readonly untold: number; readonly toldAt: number; readonly startedAt: number },
): Silence | undefined {
  const standing = before !== undefined && toldAt > before.since ? undefined : before;
  if (untold === 0) return standing;
  return { since: standing?.since ?? startedAt, times: (standing?.times ?? 0) + 1, found: untold };
}

/** Whether that is more than an event that got lost. */
export const isSilent = (silence: Silence | undefined): silence is Silence =>
  silence !== undefined && silence.times >= silentTimes;
