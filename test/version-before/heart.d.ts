// What is used of the version before has the types that it has now, as far as the tests use it.
export const CodedError: typeof import('../../src/errors.ts').CodedError;
export const errorRegistry: Readonly<Record<string, unknown>>;
export const idempotencyRecords: typeof import('../../src/records/idempotency-records.ts').idempotencyRecords;
export const linkRecords: typeof import('../../src/records/link-records.ts').linkRecords;
export const replicationRecords: typeof import('../../src/records/replication-records.ts').replicationRecords;
type AcknowledgeNow = typeof import('../../src/replication/acknowledge.ts').acknowledge;
export const acknowledge: (
  parts: Parameters<AcknowledgeNow>[0],
  link: string,
  event: Parameters<AcknowledgeNow>[2][number],
) => ReturnType<AcknowledgeNow>;
export const reconcile: typeof import('../../src/replication/reconcile.ts').reconcile;
export const replicate: typeof import('../../src/replication/replicate.ts').replicate;
export const sharedListings: typeof import('../../src/replication/shared-listing.ts').sharedListings;
export const sweep: typeof import('../../src/replication/sweep.ts').sweep;
