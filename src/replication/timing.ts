import type { Store } from '../store/store.ts';

/** The periods of the protocol, in milliseconds, and what may be in one. */
export interface Timing {
  /** How long one pass may hold a certificate. */
  readonly leaseMs: number;
  /** How far the clocks of two workers may be apart. */
  readonly skewMs: number;
  /** How long a look at the stores may take. */
  readonly lookMs: number;
  /** No write is sent, or waited for, in the last part of the lease: it is for the commit. */
  readonly commitMs: number;
  /** Backoff of failed attempts: full jitter below `base * 2 ** (attempts - 1)`, at most `cap`. */
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  /**
   * When a refused certificate is looked at again, counted from each look; after the last one it
   * rests.
   */
  readonly refusalLooksMs: readonly number[];
  /**
   * How long what a person holds in a store (locked, in use, a quota) is left alone before it is
   * tried again.
   */
  readonly heldLooksMs: number;
  /** After which an absent certificate is looked at once more before it counts as deleted. */
  readonly absenceMs: number;
  /** How long a notification is remembered. */
  readonly notificationKeepMs: number;
  /**
   * A sender that does not sign the body has one certificate looked at once in this time, and one
   * listing for hints begins in it.
   */
  readonly toldEveryMs: number;
  /**
   * Ids and names that senders who do not sign the body may make up in a minute, for one link;
   * beyond, one reconcile takes their place.
   */
  readonly unknownPerMinute: number;
  /**
   * A reconcile that somebody asked for begins once in this time at most, and waits no longer for
   * what asks for it to end.
   */
  readonly askedReconcileEveryMs: number;
  /** Each certificate is looked at in full at least this often. */
  readonly fullLookMs: number;
}

/**
 * How long after a change its event may be under way: senders gather events, and try again. What
 * changed later than that before a reconcile is not counted as untold.
 */
export const eventGraceMs = 10 * 60_000;

export const defaultTiming: Timing = {
  leaseMs: 60_000,
  skewMs: 5_000,
  lookMs: 20_000,
  commitMs: 10_000,
  backoffBaseMs: 1_000,
  backoffCapMs: 15 * 60_000,
  refusalLooksMs: [15_000, 60_000, 5 * 60_000, 20 * 60_000],
  heldLooksMs: 3 * 3_600_000,
  absenceMs: 60_000,
  notificationKeepMs: 7 * 24 * 3_600_000,
  toldEveryMs: 10_000,
  unknownPerMinute: 60,
  askedReconcileEveryMs: 5 * 60_000,
  fullLookMs: 7 * 24 * 3_600_000,
};

/**
 * How long after an unanswered write to this store everything about it is settled, and shown by
 * listings and reads.
 */
export function settledMs({ abilities }: Pick<Store, 'abilities'>, timing: Timing): number {
  const { settlesMs, listingLagMs, readSettlesMs } = abilities;
  return settlesMs + Math.max(listingLagMs, readSettlesMs) + timing.skewMs;
}

/** The same of every one of these. */
export function longestSettledMs(stores: readonly Pick<Store, 'abilities'>[], timing: Timing): number {
  return Math.max(timing.skewMs, ...stores.map((store) => settledMs(store, timing)));
}

/**
 * How long after a moment by another worker's clock everything shows that lags by so much: not at
 * all where nothing lags; else their clocks may be apart as well.
 */
export function shownAfterMs(lagMs: number, { skewMs }: Timing): number {
  return lagMs === 0 ? 0 : lagMs + skewMs;
}

/** How long after a look that found a certificate absent another one proves that it is gone. */
export function absenceConfirmedMs(
  { primary }: { readonly primary: Pick<Store, 'abilities'> },
  timing: Timing,
): number {
  return Math.max(timing.absenceMs, shownAfterMs(primary.abilities.readSettlesMs, timing));
}

/**
 * The wait before the next attempt: full jitter, and never earlier than the other side asked for.
 * `attempts` counts the failed ones, 1 or more.
 */
export function backoffMs(attempts: number, random: () => number, timing: Timing, retryAfterMs = 0): number {
  const ceiling = Math.min(timing.backoffCapMs, timing.backoffBaseMs * 2 ** Math.min(attempts - 1, 30));
  return Math.ceil(retryAfterMs + random() * ceiling);
}
