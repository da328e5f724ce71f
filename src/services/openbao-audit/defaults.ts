/** What holds of a sender where the configuration does not say it. */
export const openBaoAuditDefaults = { mount: 'secret', header: 'Authorization' } as const;
