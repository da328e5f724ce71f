import type { ErrorCode } from '../errors.ts';
import type { Refusal } from '../records/replication-record.ts';
import type { Timing } from './timing.ts';

/** Why a service does not remove a copy, where a person there can change that. */
export const refusesRemoval: ReadonlySet<ErrorCode> = new Set(['store_in_use', 'store_held', 'store_refused']);

/** Why a service does not take a write, where a person there can change that. */
export const heldCodes: ReadonlySet<ErrorCode> = new Set([
  ...refusesRemoval,
  'store_quota_used_up',
  'store_name_taken',
  'store_name_unfit',
]);

/**
 * When a write is tried again that a person there does not let through: they may let go of it at any moment, and no event tells. The longer
 * it has been so since `since`, the later.
 */
export function heldAgain(since: number, beganAt: number, timing: Timing): number {
  return beganAt + Math.min(timing.heldLooksMs, Math.max(beganAt - since, timing.refusalLooksMs[0] ?? 0));
}

/** A finding as a record keeps it, counted on if it is the same as before: if its facts are. */
export function countedOn(
  before: Refusal | undefined,
  found: Pick<Refusal, 'code' | 'facts'>,
  now: number,
): Pick<Refusal, 'code' | 'facts' | 'since' | 'looks'> {
  const same = before?.facts === found.facts ? before : undefined;
  return { ...found, since: same?.since ?? now, looks: (same?.looks ?? 0) + 1 };
}
