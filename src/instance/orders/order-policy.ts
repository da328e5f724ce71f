/** How patiently orders are carried out. */
export interface OrderPolicy {
  /** An order that is not done after so long has failed. */
  readonly orderMs: number;
  /** How long the record of a challenge may take to appear in DNS. */
  readonly challengeMs: number;
  /** How long DNS is asked in one go, for all records of an order side by side. */
  readonly lookupMs: number;
  /** The pause between two looks at something that somebody else is at work on. */
  readonly lookEveryMs: number;
  /**
   * The first wait after a failure is up to this, each further one up to twice as long as the one
   * before.
   */
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
  /** After so long without a word of its holder an order is taken by another process. */
  readonly leaseMs: number;
  /**
   * The wait after a first automatic renewal that failed; each further one is four times as long, a
   * day at the most.
   */
  readonly retryRenewalMs: number;
}

export const defaultOrderPolicy: OrderPolicy = {
  orderMs: 20 * 60_000,
  challengeMs: 10 * 60_000,
  lookupMs: 30_000,
  lookEveryMs: 2_000,
  firstWaitMs: 2_000,
  longestWaitMs: 60_000,
  // More than the longest things between two words: one run of the DNS hook, or DNS asked once, and
  // before it a look at the order, which takes some requests to the authority. If those are all as
  // slow as they may be, another process may take the order; the first one then stops at its next
  // word.
  leaseMs: 3 * 60_000,
  retryRenewalMs: 60 * 60_000,
};
