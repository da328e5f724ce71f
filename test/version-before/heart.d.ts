// What tests use of the version before, by the types of today where it had the same shape.
export declare const CodedError: typeof import('../../src/errors.ts').CodedError;
export declare const errorRegistry: Readonly<Record<string, unknown>>;
export declare const idempotencyRecords: typeof import('../../src/records/idempotency-records.ts').idempotencyRecords;
export declare const linkRecords: typeof import('../../src/records/link-records.ts').linkRecords;
export declare const replicationRecords: typeof import('../../src/records/replication-records.ts').replicationRecords;
type AcknowledgeNow = typeof import('../../src/replication/acknowledge.ts').acknowledge;
export declare const acknowledge: (
  parts: Parameters<AcknowledgeNow>[0],
  link: string,
  event: Parameters<AcknowledgeNow>[2][number],
) => ReturnType<AcknowledgeNow>;
export declare const reconcile: typeof import('../../src/replication/reconcile/reconcile.ts').reconcile;
export declare const replicate: typeof import('../../src/replication/pass/replicate.ts').replicate;
export declare const sharedListings: typeof import('../../src/replication/shared-listing.ts').sharedListings;
export declare const sweep: typeof import('../../src/replication/sweep.ts').sweep;
