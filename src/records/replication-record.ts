import * as z from 'zod/mini';
import { CodedError, type ErrorCode, errorRegistry, remedyOf } from '../errors.ts';
import type { Row } from '../table/table.ts';

/** What went wrong, as a record keeps it: never a secret, never content. */
export interface RecordedError {
  readonly code: ErrorCode;
  readonly message: string;
  /** Epoch milliseconds. */
  readonly at: number;
  /** What of its fields and cause tells the remedy. */
  readonly reason?: string | undefined;
  readonly status?: number | undefined;
}

/** A failure as a record keeps it. */
export function recordedError(error: CodedError, at: number): RecordedError {
  const { code, message, reason, fields } = error;
  return {
    code,
    message,
    at,
    ...(reason !== undefined && { reason }),
    ...(typeof fields.status === 'number' && { status: fields.status }),
  };
}

/** What a person should do about a recorded failure. */
export const remedyOfRecorded = ({ code, reason, status }: RecordedError): string => remedyOf(code, { reason, status });

/** What one pass saw at the primary; reconcile compares listings with it, status shows it. */
export interface PrimaryState {
  readonly name: string;
  readonly fingerprint: string;
  readonly metadataDigest: string;
  readonly revision?: string;
  /** Serial and dates, as a listing tells them (`listedFacts` in replication/). */
  readonly listedFacts: string;
  /** Absent if the certificate says no date. */
  readonly notAfter?: number;
  /** When the certificate changed there, epoch milliseconds, and who says so. */
  readonly changedAt: number;
  readonly changedAtFrom: 'last-modified' | 'event' | 'acknowledged';
  /** When it was last looked at in full. */
  readonly lookedAt: number;
}

/** What one backup holds of a certificate, as last seen, and how the attempts there go. */
export interface BackupState {
  /** Id of the backup store. */
  readonly store: string;
  /** Id of our copy there; absent while there is none that we know. */
  readonly id?: string;
  readonly fingerprint?: string;
  readonly metadataDigest?: string;
  readonly revision?: string;
  /** When the copy last became equal by a write of ours. */
  readonly replicatedAt?: number;
  /** Since when the copy says that its original is gone. */
  readonly retainedAt?: number;
  /** Failed attempts since the last success. */
  readonly attempts: number;
  /** No attempt before this moment. */
  readonly notBefore?: number;
  readonly lastError?: RecordedError;
}

/** Why what the primary holds is not copied, and how often that was looked at. */
export interface Refusal {
  readonly code: ErrorCode;
  /** Tells this finding from another one of the same code. */
  readonly facts: string;
  /** Found by judging the primary alone; absent if it was found against the copy that a backup holds. */
  readonly byPolicy?: boolean;
  /** The primary's revision when it was found, if it has one, and serial and dates as a listing tells them, if they could be had. */
  readonly revision?: string;
  readonly listedFacts?: string;
  readonly since: number;
  readonly looks: number;
}

/** Why a certificate is at rest without being copied, other than by refusal. */
export type Aside = 'keyless' | 'excluded' | 'marked';

/** The replication record: what was asked for, what has been done, who is working on it. All moments are epoch milliseconds. */
export interface ReplicationRecord {
  readonly link: string;
  readonly certificate: string;

  // Written by whoever asks.
  readonly requested: number;
  readonly wakeAt?: number;
  /** When the last notification was acknowledged. */
  readonly eventAt?: number;
  /** When it happened by the sender's clock, if the notification says. */
  readonly occurredAt?: number;
  /** Until then a write that nobody heard the end of may still take effect, or a listing may not show it yet. */
  readonly doubt?: number;
  /** When a reconcile last allowed to remove the copies of a certificate that is gone. One pass may make use of it. */
  readonly removalAskedAt?: number;
  /** When a person said that the certificate is meant to be gone. Void once it is seen in the primary again. */
  readonly goneAcceptedAt?: number;

  // Written by the lease holder.
  readonly replicated: number;
  /** Goes up with each claim, never down: what a commit is conditional on. */
  readonly leaseToken: number;
  /** There while someone holds the lease, or died holding it. */
  readonly leaseUntil?: number;
  readonly leaseOwner?: string;
  readonly attempts: number;
  readonly notBefore?: number;
  readonly lastError?: RecordedError;
  readonly absentSince?: number;
  readonly aside?: Aside;
  readonly refusal?: Refusal;
  readonly primary?: PrimaryState;
  readonly backups: readonly BackupState[];
}

const errorCode = z.pipe(
  z.string(),
  z.transform((code): ErrorCode => (Object.hasOwn(errorRegistry, code) ? (code as ErrorCode) : 'internal')),
);
const recordedErrorSchema = z.object({
  code: errorCode,
  message: z.string(),
  at: z.number(),
  reason: z.catch(z.optional(z.string()), undefined),
  status: z.catch(z.optional(z.number()), undefined),
});

const rowSchema = z.object({
  requested: z.number(),
  wakeAt: z.optional(z.number()),
  eventAt: z.optional(z.number()),
  occurredAt: z.optional(z.number()),
  doubt: z.optional(z.number()),
  removalAskedAt: z.optional(z.number()),
  goneAcceptedAt: z.optional(z.number()),
  replicated: z.number(),
  leaseToken: z.number(),
  leaseUntil: z.optional(z.number()),
  leaseOwner: z.optional(z.string()),
  attempts: z._default(z.number(), 0),
  notBefore: z.optional(z.number()),
  lastError: z.optional(recordedErrorSchema),
  absentSince: z.optional(z.number()),
  aside: z.optional(z.enum(['keyless', 'excluded', 'marked'])),
  refusal: z.optional(
    z.object({
      code: errorCode,
      facts: z.string(),
      byPolicy: z.optional(z.boolean()),
      revision: z.optional(z.string()),
      listedFacts: z.optional(z.string()),
      since: z.number(),
      looks: z.number(),
    }),
  ),
  primary: z.optional(
    z.object({
      name: z.string(),
      fingerprint: z.string(),
      metadataDigest: z.string(),
      revision: z.optional(z.string()),
      listedFacts: z.string(),
      notAfter: z.optional(z.number()),
      changedAt: z.number(),
      changedAtFrom: z.enum(['last-modified', 'event', 'acknowledged']),
      lookedAt: z.number(),
    }),
  ),
  backups: z._default(
    z.array(
      z.object({
        store: z.string(),
        id: z.optional(z.string()),
        fingerprint: z.optional(z.string()),
        metadataDigest: z.optional(z.string()),
        revision: z.optional(z.string()),
        replicatedAt: z.optional(z.number()),
        retainedAt: z.optional(z.number()),
        attempts: z.number(),
        notBefore: z.optional(z.number()),
        lastError: z.optional(recordedErrorSchema),
      }),
    ),
    [],
  ),
});

/** A record that cannot be understood: the certificate is there, and what is known of it is not. */
export interface UnreadableRecord {
  readonly certificate: string;
  /** `table_row_unreadable`. */
  readonly error: CodedError;
}

/** A row as a record. Throws `table_row_unreadable`: a row that is not understood is never taken for an empty one. */
export function parseReplicationRecord(link: string, certificate: string, row: Row): ReplicationRecord {
  const parsed = rowSchema.safeParse(row);
  if (!parsed.success) {
    const fields = parsed.error.issues.map((issue) => issue.path.join('.'));
    throw new CodedError(
      'table_row_unreadable',
      `the replication record of ${certificate} of link ${link} is damaged`,
      {
        fields: { link, certificate, damaged: fields },
      },
    );
  }
  return { link, certificate, ...(parsed.data as Omit<ReplicationRecord, 'link' | 'certificate'>) };
}
