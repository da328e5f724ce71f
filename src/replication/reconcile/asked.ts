import type { LinkRecords } from '../../records/link-records.ts';
import type { Runtime } from '../../runtime.ts';
import type { Link } from '../link.ts';
import type { Timing } from '../timing.ts';

interface Asked {
  readonly linkRecords: LinkRecords;
  readonly runtime: Runtime;
  readonly timing: Timing;
}

/**
 * How long after something was told a reconcile must begin to know of it: its listing lags, and so
 * may the clock of the machine that runs it.
 */
function knownAfterMs({ primary }: Pick<Link, 'primary'>, { skewMs }: Timing): number {
  return primary.abilities.listingLagMs + skewMs;
}

/**
 * Whether a reconcile of this link is to begin now because somebody asked for one: when its listing
 * would show what was told last, or, while that goes on and on, when it has waited long enough; and
 * never sooner than `askedReconcileEveryMs` after the last one began, however that one ended. One
 * that runs already does not count, and keeps this one waiting.
 */
export async function isAskedReconcileDue({ linkRecords, runtime, timing }: Asked, link: Link): Promise<boolean> {
  const asked = await linkRecords.askedReconcile(link.name);
  if (asked === undefined) return false;
  const now = runtime.now();
  const hasWaited = now >= asked.since + timing.askedReconcileEveryMs;
  if (!hasWaited && now < asked.lastAt + knownAfterMs(link, timing)) return false;
  const { startedAt = Number.NEGATIVE_INFINITY } = await linkRecords.reconcileState(link.name);
  // A clock that was ahead must not put it off for as long as it was.
  return Math.abs(now - startedAt) >= timing.askedReconcileEveryMs;
}

/**
 * Notes that a complete reconcile which began at this moment has answered what was asked for, as
 * far as its listing was sure to show it.
 */
export async function answerAsked(
  { linkRecords, timing }: Pick<Asked, 'linkRecords' | 'timing'>,
  link: Link,
  beganAt: number,
): Promise<void> {
  await linkRecords.answerAskedReconcile(link.name, beganAt - knownAfterMs(link, timing));
}
