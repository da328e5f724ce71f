/**
 * What a store states of itself where the configuration does not say it. No bound of consistency is
 * documented: these are cautious guesses.
 */
export const acmDefaults = {
  settlesMs: 120_000,
  listingLagMs: 300_000,
  readSettlesMs: 30_000,
  /** `ListCertificates`; every other read may come ten times in a second (ACM, "Quotas"). */
  requestsPerSecond: 8,
  /** Imports in 365 days, of an account and region (ACM, "Quotas"); new accounts may have fewer. */
  importsPerYear: 5_000,
} as const;
