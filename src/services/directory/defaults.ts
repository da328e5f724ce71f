/** What holds for a folder where the configuration does not say it. */
export const directoryDefaults = {
  /** Of a machine that nobody has named a region for. */
  region: 'local',
  quietMs: 2_000,
  keepVersions: 3,
} as const;
