/** What is left to do for the next invocation of the same function. */
export interface Rest {
  /** Links that are still to be reconciled. */
  readonly links: readonly string[];
  /** How often it has gone on already. */
  readonly continuation: number;
}

/**
 * The contract of a continuation: a reconcile is invoked anew, and nobody waits for it. Both
 * resolve when the platform has taken that, and throw `dispatch_unavailable` when it has not, or
 * nobody knows.
 */
export interface Continuation {
  /**
   * One whose time runs out has what is left done. If that fails, the next run by the schedule
   * begins from the start.
   */
  goOn(rest: Rest): Promise<void>;
  /**
   * The sweep has begun what somebody asked for and is due. If that fails, the next sweep tries
   * again.
   */
  beginAsked(): Promise<void>;
}
