/** What a store states of itself where the configuration does not say it. */
export const secretsManagerDefaults = {
  settlesMs: 120_000,
  /** `ListSecrets` "may not include changes from the last five minutes" (its reference). */
  listingLagMs: 300_000,
  /** Reads are eventually consistent too; no bound is documented. */
  readSettlesMs: 60_000,
  writesPerCertificatePerMinute: 5,
} as const;
