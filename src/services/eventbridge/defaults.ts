/** What holds of a sender where the configuration does not say it. */
export const eventBridgeDefaults = { header: 'X-Certstandby-Key' } as const;
