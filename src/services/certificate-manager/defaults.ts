/**
 * What a store states of itself where the configuration does not say it, of the service as it is
 * known.
 */
export const certificateManagerDefaults = {
  settlesMs: 120_000,
  /** The listing is an index beside the documents. */
  listingLagMs: 10_000,
  /** A direct read asks the document. */
  readSettlesMs: 0,
  writesPerCertificatePerMinute: 5,
} as const;
