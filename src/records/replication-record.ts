import * as z from 'zod/mini';
import { defined } from '../defined.ts';
import { CodedError, type ErrorCode, errorRegistry, remedyOf } from '../errors.ts';
import { otherwise } from '../lenient.ts';
import type { Row } from '../table/table.ts';
import { type BackupField, fieldOf, latest } from './row-fields.ts';

/** What went wrong, as a record keeps it: never a secret, never content. */
export interface RecordedError {
  readonly code: ErrorCode;
  readonly message: string;
  /** Epoch milliseconds. */
  readonly at: number;
  /** What of its fields and cause tells the remedy. */
  readonly reason?: string | undefined;
  readonly status?: number | undefined;
  /** What whoever threw it said to do about it; absent: what the registry says. */
  readonly remedy?: string | undefined;
}

/** A failure as a record keeps it. */
export function recordedError(error: CodedError, at: number): RecordedError {
  const { code, message, reason, fields } = error;
  const { status, remedy } = fields;
  return {
    code,
    message,
    at,
    ...defined({ reason }),
    ...(typeof status === 'number' && { status }),
    ...(typeof remedy === 'string' && { remedy }),
  };
}

/** What of a recorded failure tells its remedy, and its words. */
export type RecordedWords = Pick<RecordedError, 'message' | 'reason' | 'status' | 'remedy'>;

/** These words alone, of whatever has them. */
export const recordedWords = ({ message, reason, status, remedy }: RecordedWords): RecordedWords => ({
  message,
  reason,
  status,
  remedy,
});

/** What a person should do about a recorded failure. */
export const remedyOfRecorded = (error: Pick<RecordedError, 'code'> & Omit<RecordedWords, 'message'>): string =>
  remedyOf(error.code, { reason: error.reason, status: error.status, remedy: error.remedy });

/** What one pass saw at the primary; reconcile compares listings with it, status shows it. */
export interface PrimaryState {
  readonly name: string;
  readonly fingerprint: string;
  readonly metadataDigest: string;
  readonly revision?: string;
  /** Serial and dates, as a listing tells them (`listedFacts` in replication/). */
  readonly listedFacts: string;
  /** Absent if the certificate says no date; `notBefore` also if an older version looked at it. */
  readonly notBefore?: number;
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
  /**
   * When what the copy holds ends, as last seen, where it stays though the primary holds something
   * else: the day on which it stops serving. Absent while it is equal.
   */
  readonly notAfter?: number;
  /** When the copy last became equal by a write of ours. */
  readonly replicatedAt?: number;
  /** Since when the copy says that its original is gone. */
  readonly retainedAt?: number;
  /** Why it is given no copy: it has the original, which came from it. */
  readonly aside?: 'circle';
  /** Failed attempts since the last success. */
  readonly attempts: number;
  /** No attempt before this moment. */
  readonly notBefore?: number;
  readonly lastError?: RecordedError;
  // From here on each member is a field of its own at the top of the row, `<member>/<store>`: a
  // worker of an older version rewrites `backups` as it knows it, and leaves the fields of the row
  // that it does not know alone.
  /** The last write here that was answered. */
  readonly written?: AnsweredWrite;
  /** Why what the primary holds is not copied here, though nothing is wrong with it elsewhere. */
  readonly refusal?: Refusal;
  /**
   * Copies of ours that stay beside the kept one: the service refuses their removal, or, where they
   * come before it in the order, what the kept one holds.
   */
  readonly unremovable?: readonly Unremovable[];
  /**
   * The service does not give the copy's private key back: it was compared without, and is not
   * proven.
   */
  readonly keyWithheld?: boolean;
  /** An operation there that was begun, or was about to be, and of which no end has been seen. */
  readonly operation?: Operation;
  /** A place of ours there that holds no content, and could not be brought back yet. */
  readonly vacant?: VacantCopy;
  /** What the copy holds, as it was last written or read in full. See `heldNow`. */
  readonly held?: HeldContent;
  /** How often somebody else has changed the copy after it was equal. */
  readonly overwritten?: Overwritten;
  /** Copies that are to give way to another one, which does not have the content yet. */
  readonly replacing?: Replacing;
}

/**
 * Copies whose service refuses this content (by fingerprint) for them: it is not asked again before
 * another copy has it.
 */
export interface Replacing {
  readonly fingerprint: string;
  readonly copies: readonly string[];
}

/** What a copy holds, as far as it says what may take its place when it cannot be read. */
export interface HeldContent {
  readonly id: string;
  readonly fingerprint: string;
  /** From when on its leaf is valid, epoch milliseconds. */
  readonly validFrom: number;
  /** Its leaf is signed by itself. */
  readonly selfSigned: boolean;
}

/** Changes of a copy that were none of ours, one after the other. */
export interface Overwritten {
  readonly times: number;
  readonly since: number;
  readonly lastAt: number;
}

/**
 * A write that its service goes on with after it has answered. Written down before it is started.
 */
export interface Operation {
  readonly kind: 'import' | 'reimport' | 'delete';
  /** When it was about to be started. */
  readonly at: number;
  /** The copy, if its id is known. */
  readonly id?: string;
  /** What was given; absent for a removal. */
  readonly fingerprint?: string;
  readonly metadataDigest?: string;
  /** By which it can be asked for, once the service has answered. */
  readonly handle?: string;
  /**
   * Until when it may go on if nobody can be asked; absent while the pass that began it has not
   * come to its end.
   */
  readonly until?: number;
}

/** A place of ours that is occupied and holds no content. */
export interface VacantCopy {
  readonly id: string;
  readonly why: 'empty' | 'deleted' | 'half-made';
  readonly since: number;
}

/** A copy that stays because its service does not let it go, or lets nobody write to it. */
export interface Unremovable {
  readonly id: string;
  readonly code: ErrorCode;
  readonly message: string;
  /** As in `RecordedError`. */
  readonly remedy?: string | undefined;
  readonly since: number;
  /** When that is tried again. */
  readonly again: number;
  /** The content that it did not take when that was tried last, by its fingerprint. */
  readonly notTaken?: string;
}

/**
 * A write that a service has answered: until its reads have settled, only an answer that shows this
 * write proves anything.
 */
export interface AnsweredWrite {
  /** The copy that was written to. */
  readonly id: string;
  /** When the answer came. */
  readonly at: number;
  /** What was given: content, and name, description and tags. */
  readonly fingerprint: string;
  readonly metadataDigest: string;
  /** The revision that the write made; absent if the answer did not tell. */
  readonly revision?: string;
  /**
   * How many writes of this content were read back as something else, as far as reads have shown.
   */
  readonly unlike?: number;
  /** This one is among them. */
  readonly counted?: boolean;
  /**
   * From when on the leaf that was given is valid, and whether it is signed by itself. Rows of
   * older versions do not tell.
   */
  readonly validFrom?: number;
  readonly selfSigned?: boolean;
}

/** Why what the primary holds is not copied, and how often that was looked at. */
export interface Refusal {
  readonly code: ErrorCode;
  /** Tells this finding from another one of the same code. */
  readonly facts: string;
  /**
   * Found by judging the primary alone. Rows of older versions also have one without: it was found
   * against the copy of some backup.
   */
  readonly byPolicy?: boolean;
  /**
   * The primary's revision when it was found, if it has one, and serial and dates as a listing
   * tells them, if they could be had.
   */
  readonly revision?: string;
  readonly listedFacts?: string;
  /**
   * The same of the copy that it was found over, as that copy's store tells them; absent where
   * there was none, nobody could tell, or a version before has found it.
   */
  readonly copyFacts?: string;
  readonly since: number;
  readonly looks: number;
  /** When it ends by itself, if that is known. */
  readonly until?: number;
}

/**
 * Why a certificate is at rest without being copied, other than by refusal: it has no private key,
 * its service does not give the key back, the filter does not include it, it is a copy itself, its
 * key is that of an authority, which the filter does not name exactly, or (`circle`) it is a copy,
 * the link copies those onward, and every backup is a store that it came from or through.
 */
export type Aside = 'keyless' | 'withheld' | 'excluded' | 'marked' | 'authority' | 'circle';

/**
 * Whether nobody misses a certificate in a backup although it is not copied: nothing is wrong with
 * it.
 */
export function isLeftAside(aside: Aside | undefined): aside is Exclude<Aside, 'keyless' | 'withheld'> {
  return aside !== undefined && aside !== 'keyless' && aside !== 'withheld';
}

/**
 * The replication record: what was asked for, what has been done, who is working on it. All moments
 * are epoch milliseconds.
 */
export interface ReplicationRecord {
  readonly link: string;
  readonly certificate: string;

  // Written by those who ask for a look.
  readonly requested: number;
  readonly wakeAt?: number;
  /** When the last notification was acknowledged. */
  readonly eventAt?: number;
  /** When it happened by the sender's clock, if the notification says. */
  readonly occurredAt?: number;
  /**
   * When a sender that does not sign what it says last had it looked at. It says nothing of when
   * anything happened: no lag is counted from it, and no alarm.
   */
  readonly toldAt?: number;
  /**
   * Who told of it last, as the log names senders; absent: a version before noted it, or nobody
   * did.
   */
  readonly toldBy?: string | undefined;
  /**
   * Until then a write that nobody heard the end of may still take effect, or a listing may not
   * show it yet. Of all backups the latest: the one that workers of older versions know. What it
   * means for one backup is for `doubtOf` to say.
   */
  readonly doubt?: number;
  /**
   * The same for every backup alike: a lease was taken over, and nobody knows to which of them it
   * wrote.
   */
  readonly everyDoubt?: number;
  /** The same for one backup, by store id. */
  readonly doubts?: Readonly<Record<string, number>>;
  /** The token of the last commit that knew `doubts`: one of an older version leaves it behind. */
  readonly doubtToken?: number;
  /**
   * When a reconcile last allowed to remove the copies of a certificate that is gone. One pass may
   * make use of it.
   */
  readonly removalAskedAt?: number;
  /**
   * When a person said that the certificate is meant to be gone. Void once it is seen in the
   * primary again.
   */
  readonly goneAcceptedAt?: number;
  /** The fingerprint of the content that a person said is meant, where the brake had held it. */
  readonly acceptedContent?: string;
  /**
   * When a reconcile last asked without having seen that content changed: a revision had moved, or
   * it was time for a full look. Until an event comes, what such a look finds changed is counted
   * against the brake.
   */
  readonly unannouncedAt?: number;

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
  reason: otherwise(z.optional(z.string()), undefined),
  status: otherwise(z.optional(z.number()), undefined),
  remedy: otherwise(z.optional(z.string()), undefined),
});

const refusal = z.object({
  code: errorCode,
  facts: z.string(),
  byPolicy: z.optional(z.boolean()),
  revision: z.optional(z.string()),
  listedFacts: z.optional(z.string()),
  copyFacts: z.optional(z.string()),
  since: z.number(),
  looks: z.number(),
  until: z.optional(z.number()),
});

/** What is kept for each backup in a field of its own, `<name>/<store>`. */
const backupFields = {
  written: z.object({
    id: z.string(),
    at: z.number(),
    fingerprint: z.string(),
    metadataDigest: z.string(),
    revision: z.optional(z.string()),
    unlike: z.optional(z.number()),
    counted: z.optional(z.boolean()),
    validFrom: z.optional(z.number()),
    selfSigned: z.optional(z.boolean()),
  }),
  refusal,
  unremovable: z.array(
    z.object({
      id: z.string(),
      code: errorCode,
      message: z.string(),
      remedy: otherwise(z.optional(z.string()), undefined),
      since: z.number(),
      again: z.number(),
      notTaken: z.optional(z.string()),
    }),
  ),
  keyWithheld: z.boolean(),
  held: z.object({ id: z.string(), fingerprint: z.string(), validFrom: z.number(), selfSigned: z.boolean() }),
  overwritten: z.object({ times: z.number(), since: z.number(), lastAt: z.number() }),
  replacing: z.object({ fingerprint: z.string(), copies: z.array(z.string()) }),
  operation: z.object({
    kind: z.enum(['import', 'reimport', 'delete']),
    at: z.number(),
    id: z.optional(z.string()),
    fingerprint: z.optional(z.string()),
    metadataDigest: z.optional(z.string()),
    handle: z.optional(z.string()),
    until: z.optional(z.number()),
  }),
  vacant: z.object({ id: z.string(), why: z.enum(['empty', 'deleted', 'half-made']), since: z.number() }),
} as const satisfies Readonly<Record<BackupField, z.ZodMiniType>>;
const backupFieldNames = Object.keys(backupFields) as readonly BackupField[];

const rowSchema = z.object({
  requested: z.number(),
  wakeAt: z.optional(z.number()),
  eventAt: z.optional(z.number()),
  occurredAt: z.optional(z.number()),
  toldAt: z.optional(z.number()),
  toldBy: otherwise(z.optional(z.string()), undefined),
  doubt: z.optional(z.number()),
  everyDoubt: z.optional(z.number()),
  doubtToken: z.optional(z.number()),
  removalAskedAt: z.optional(z.number()),
  goneAcceptedAt: z.optional(z.number()),
  acceptedContent: z.optional(z.string()),
  unannouncedAt: z.optional(z.number()),
  replicated: z.number(),
  leaseToken: z.number(),
  leaseUntil: z.optional(z.number()),
  leaseOwner: z.optional(z.string()),
  attempts: z._default(z.number(), 0),
  notBefore: z.optional(z.number()),
  lastError: z.optional(recordedErrorSchema),
  absentSince: z.optional(z.number()),
  aside: z.optional(z.enum(['keyless', 'excluded', 'marked'])),
  primaryKeyWithheld: z.optional(z.boolean()),
  primaryIsAuthority: z.optional(z.boolean()),
  circle: z.optional(z.boolean()),
  refusal: z.optional(refusal),
  primary: z.optional(
    z.object({
      name: z.string(),
      fingerprint: z.string(),
      metadataDigest: z.string(),
      revision: z.optional(z.string()),
      listedFacts: z.string(),
      notBefore: z.optional(z.number()),
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
        notAfter: z.optional(z.number()),
        replicatedAt: z.optional(z.number()),
        retainedAt: z.optional(z.number()),
        aside: otherwise(z.optional(z.literal('circle')), undefined),
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

/**
 * A row as a record. Throws `table_row_unreadable`: a row that is not understood is never taken for
 * an empty one.
 */
export function parseReplicationRecord(link: string, certificate: string, row: Row): ReplicationRecord {
  const damaged: string[] = [];
  const parsed = rowSchema.safeParse(row);
  if (!parsed.success) damaged.push(...parsed.error.issues.map((issue) => issue.path.join('.')));
  const doubts = numbersOf('doubt', row, damaged);
  const states = (parsed.data?.backups ?? []) as readonly BackupState[];
  const backups = [...states, ...begunWithoutState(row, states)].map((state) => ({
    ...state,
    ...backupFieldsOf(row, state.store, damaged),
  }));
  if (!parsed.success || damaged.length > 0)
    throw new CodedError(
      'table_row_unreadable',
      `the replication record of ${certificate} of link ${link} is damaged`,
      { fields: { link, certificate, damaged } },
    );
  const { primaryKeyWithheld, primaryIsAuthority, circle, ...own } = parsed.data as Omit<
    ReplicationRecord,
    'link' | 'certificate'
  > &
    AsideFields;
  const withheld = own.aside === 'keyless' && primaryKeyWithheld === true;
  const isAuthority = own.aside === 'excluded' && primaryIsAuthority === true;
  const isCircle = own.aside === 'marked' && circle === true;
  return {
    ...{ link, certificate, ...own, backups },
    ...(withheld && { aside: 'withheld' as const }),
    ...(isAuthority && { aside: 'authority' as const }),
    ...(isCircle && { aside: 'circle' as const }),
    ...(Object.keys(doubts).length > 0 && { doubts }),
  };
}

interface AsideFields {
  readonly aside?: Exclude<Aside, 'withheld' | 'authority' | 'circle'> | undefined;
  readonly primaryKeyWithheld?: boolean | undefined;
  readonly primaryIsAuthority?: boolean | undefined;
  readonly circle?: boolean | undefined;
}

/**
 * Why a certificate rests, as a row keeps it: a worker of an older version knows a key that is
 * withheld as one that is not there, an authority as excluded, and what is in a circle as a copy
 * like others.
 */
export function rowOfAside(aside: Aside | undefined): AsideFields {
  const none = { primaryKeyWithheld: undefined, primaryIsAuthority: undefined, circle: undefined };
  if (aside === 'withheld') return { ...none, aside: 'keyless', primaryKeyWithheld: true };
  if (aside === 'authority') return { ...none, aside: 'excluded', primaryIsAuthority: true };
  if (aside === 'circle') return { ...none, aside: 'marked', circle: true };
  return { ...none, aside };
}

/**
 * Backups of which no commit tells yet, and at which an operation was begun all the same: it is
 * written down before it is started.
 */
function begunWithoutState(row: Row, states: readonly BackupState[]): readonly BackupState[] {
  const start = fieldOf('operation', '');
  const begun = Object.keys(row).filter((field) => field.startsWith(start));
  const stores = begun.map((field) => field.slice(start.length));
  return stores
    .filter((store) => !states.some((state) => state.store === store))
    .map((store) => ({ store, attempts: 0 }));
}

/** The fields `<name>/<store>` of a row, by store. */
function numbersOf(name: 'doubt', row: Row, damaged: string[]): Record<string, number> {
  const start = fieldOf(name, '');
  const numbers: Record<string, number> = {};
  for (const field of Object.keys(row)) {
    if (!field.startsWith(start)) continue;
    const value = row[field];
    if (typeof value === 'number') numbers[field.slice(start.length)] = value;
    else damaged.push(field);
  }
  return numbers;
}

function backupFieldsOf(row: Row, store: string, damaged: string[]): Partial<BackupState> {
  const found: Record<string, unknown> = {};
  for (const name of backupFieldNames) {
    const field = fieldOf(name, store);
    if (row[field] === undefined) continue;
    const parsed = backupFields[name].safeParse(row[field]);
    if (parsed.success) found[name] = parsed.data;
    else damaged.push(field);
  }
  return found;
}

/**
 * The states of the backups as a row keeps them: what an older version knows in one list, and
 * everything else in fields of its own.
 */
export function rowOfBackups(states: readonly BackupState[]): Readonly<Record<string, unknown>> {
  const fields: Record<string, unknown> = {};
  const backups = states.map((state) => {
    const nested: Record<string, unknown> = { ...state };
    for (const name of backupFieldNames) {
      // `undefined` removes the field: what an earlier pass found must not outlive it.
      fields[fieldOf(name, state.store)] = state[name];
      delete nested[name];
    }
    return nested;
  });
  return { ...fields, backups };
}

/**
 * The doubt of one backup: the later of its own, and that of every backup. A worker of an older
 * version knows one doubt for all, and where one has set it, it counts for each: that is, where it
 * is later than anything known here, or where somebody has held the lease since the last commit
 * that wrote the doubts of each.
 */
export function doubtOf(
  record: Pick<ReplicationRecord, 'doubt' | 'everyDoubt' | 'doubts' | 'doubtToken' | 'leaseToken' | 'leaseUntil'>,
  store: string,
): number | undefined {
  const { doubt, everyDoubt, doubts = {}, doubtToken = 0, leaseToken, leaseUntil } = record;
  const known = latest([everyDoubt, ...Object.values(doubts)]) ?? Number.NEGATIVE_INFINITY;
  const lastHolder = leaseUntil === undefined ? leaseToken : leaseToken - 1;
  const forAll = doubt !== undefined && (doubt > known || doubtToken !== lastHolder) ? doubt : undefined;
  return latest([forAll, everyDoubt, doubts[store]]);
}

/**
 * What the copy in a backup holds, if the record knows it for certain; `undefined` otherwise. A
 * worker of an older version writes copies and knows nothing of this field, and so it is void where
 * one has held the lease since; and while there is doubt, because a write that nobody heard the end
 * of may have put something else there.
 */
export function heldNow(record: ReplicationRecord, store: string): HeldContent | undefined {
  const { doubtToken = 0, leaseToken, leaseUntil } = record;
  const lastHolder = leaseUntil === undefined ? leaseToken : leaseToken - 1;
  if (doubtToken !== lastHolder || doubtOf(record, store) !== undefined) return undefined;
  const state = record.backups.find((one) => one.store === store);
  return state?.held?.id === state?.id ? state?.held : undefined;
}
