/**
 * Connections to services of AWS. An idle one is given up soon: a function that the platform froze
 * would find it dead, and a write that is sent into a dead one is lost, for it is sent once. (A
 * connection that is made anew in the service's own region costs some milliseconds.)
 */
export const keptConnections = { keepAlive: true, maxSockets: 50, timeout: 4_000 } as const;
