/** What holds for a store where the configuration does not say it. */
export const vaultDefaults = {
  mount: 'secret',
  /** Of a server that nobody has named a region for. */
  region: 'vault',
  layout: 'pki',
  login: 'token',
  /** Servers end a request after 90 s (`max_request_duration`). */
  settlesMs: 120_000,
  /**
   * Standbys of OpenBao and performance standbys of Vault answer reads themselves, a little later:
   * three seconds were seen.
   */
  listingLagMs: 5_000,
  readSettlesMs: 5_000,
  /**
   * How often a primary is listed to see what has changed. A Vault has to be asked for each secret.
   */
  pollMs: { openbao: 15_000, vault: 120_000 },
  /** Where Kubernetes puts the token of a service account. */
  serviceAccountToken: '/var/run/secrets/kubernetes.io/serviceaccount/token',
} as const;
