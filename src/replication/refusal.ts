import type { ErrorCode } from '../errors.ts';
import type { BackupState, Refusal } from '../records/replication-record.ts';
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
 * When a write is tried again that a person there does not let through: they may let go of it at
 * any moment, and no event tells. The longer it has been so since `since`, the later.
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

/** In the facts of a finding: the attempt took the turn of a copy beside it. */
const turnTaken = ', and took the turn';

/**
 * The facts of a finding against the copy of a backup: what was found of which content, by its
 * fingerprint.
 */
export const factsOfRefusal = (code: ErrorCode, fingerprint: string, tookTheTurn = false): string =>
  `${code} ${fingerprint}${tookTheTurn ? turnTaken : ''}`;

/** Whether the attempt that ended in this finding took the turn of a copy beside it. */
export const tookTurn = ({ facts }: Refusal): boolean => facts.endsWith(turnTaken);

/**
 * When a finding of a look that began at this moment is looked at again, though nothing has
 * changed; `undefined`: it rests.
 */
export function nextLookAtRefusal(
  { until, looks, code, since }: Pick<Refusal, 'until' | 'looks' | 'code' | 'since'>,
  beganAt: number,
  timing: Timing,
): number | undefined {
  // On that day by the clock of the store, which may be behind ours.
  if (until !== undefined)
    return Math.max(until + timing.skewMs, beganAt + Math.max(timing.skewMs, timing.refusalLooksMs[0] ?? 0));
  const soon = timing.refusalLooksMs[looks - 1];
  if (heldCodes.has(code)) return heldAgain(since, beganAt, timing);
  return soon === undefined ? undefined : beganAt + soon;
}

/**
 * Whether a backup rests by a finding about this very content, and until when: `again` is absent
 * where it has no moment of its own. `undefined`: it does not, or that moment has come, or the end
 * of a doubt since that look.
 */
export function restOf(
  { refusal, lastError, operation }: BackupState,
  given: {
    readonly fingerprint: string;
    readonly doubt: number | undefined;
    readonly now: number;
    readonly timing: Timing;
  },
): { readonly again?: number } | undefined {
  const { fingerprint, doubt, now, timing } = given;
  if (refusal === undefined || operation !== undefined) return undefined;
  if (!refusal.facts.startsWith(factsOfRefusal(refusal.code, fingerprint))) return undefined;
  const lookedAt = lastError?.at ?? refusal.since;
  if (doubt !== undefined && lookedAt < doubt && doubt <= now) return undefined;
  const again = nextLookAtRefusal(refusal, lookedAt, timing);
  if (again === undefined) return {};
  return again > now ? { again } : undefined;
}
