/** What holds for a cluster where the configuration does not say it. */
export const kubernetesDefaults = {
  /** Of a cluster that nobody has named a region for. */
  region: 'cluster',
  /** The server ends a request after a minute, and its webhooks within that. */
  settlesMs: 120_000,
  /** Secrets on a page of a listing. Without their content a page is some hundred kilobytes. */
  pageSize: 500,
} as const;
