/** What is left to do for the next invocation of the same function. */
export interface Rest {
  /** Links that are still to be reconciled. */
  readonly links: readonly string[];
  /** How often it has gone on already. */
  readonly continuation: number;
}

/**
 * The contract of a continuation: a function whose time runs out has itself invoked anew, with what is left. Resolves when the platform
 * has taken it; throws `dispatch_unavailable` when it has not, or nobody knows: the next run by the schedule then begins from the start.
 */
export interface Continuation {
  goOn(rest: Rest): Promise<void>;
}
