/**
 * What a store states of itself where the configuration does not say it. Nobody has confirmed how
 * long listings and reads may lag: these are pessimistic.
 */
export const secretsManagerDefaults = {
  settlesMs: 120_000,
  listingLagMs: 10_000,
  readSettlesMs: 10_000,
  /** IBM asks all clients of an instance together to stay under about 20. */
  requestsPerSecond: 10,
  group: 'default',
} as const;
