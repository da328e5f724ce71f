/** Every limit of the program, in one place. Each is tested one below, at, and one above. */
export const limits = {
  /** Body of a notification, in bytes. */
  notificationBytes: 256 * 1024,
  /** Certificates named by one notification. */
  notificationCertificates: 100,
  /** PEM text of one of: certificate, chain, private key, in bytes (IBM Secrets Manager's limit, taken for all). */
  pemBytes: 100 * 1024,
  /** Certificates in a chain, the leaf not counted. */
  chainCertificates: 10,
  /** Body of an answer of a store, in bytes: a page of 200 certificates without content fits many times. */
  storeAnswerBytes: 8 * 1024 * 1024,
  /** Pages of one listing: 200,000 certificates at 200 a page, with room. Stops a listing that runs in circles. */
  listingPages: 10_000,
  /** How often one pass begins again because something was asked for meanwhile. */
  passesInARow: 3,
} as const;
