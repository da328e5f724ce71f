import * as z from 'zod/mini';
import { CodedError } from '../errors.ts';
import type { Key, Table } from '../table/table.ts';

const failure = z.object({
  at: z.number(),
  code: z.string(),
  message: z.string(),
  store: z.optional(z.string()),
  reason: z.optional(z.string()),
  status: z.optional(z.number()),
  remedy: z.optional(z.string()),
});

/**
 * What was in the primary and is gone, more than is lost on an ordinary day. It stands until a
 * person has said that it is meant.
 */
const vanishedSchema = z.object({
  /** Names exactly these certificates: a person accepts what was seen, and no more. */
  id: z.string(),
  /**
   * When it was last found, and since when the first of them is known to be gone (0: nobody knows).
   */
  at: z.number(),
  since: z.number(),
  gone: z.number(),
  /** Of how many that were there. */
  of: z.number(),
  /** Names of the first of them. */
  names: z.array(z.string()),
});
export type Vanished = z.infer<typeof vanishedSchema>;

/**
 * What reconciles found changed in the primary, and no event told of. While an event does arrive
 * there is none.
 */
const silenceSchema = z.object({
  /** When the first of these reconciles began, epoch milliseconds. */
  since: z.number(),
  /** How many of them found something, one after the other, and how much the last of these did. */
  times: z.number(),
  found: z.number(),
});
export type Silence = z.infer<typeof silenceSchema>;

const stateSchema = z.object({
  token: z._default(z.number(), 0),
  until: z.optional(z.number()),
  owner: z.optional(z.string()),
  startedAt: z.optional(z.number()),
  step: z.optional(z.string()),
  done: z.optional(z.number()),
  completedAt: z.optional(z.number()),
  tookMs: z.optional(z.number()),
  listed: z.optional(z.number()),
  included: z.optional(z.number()),
  unmarked: z.optional(z.number()),
  notListed: z.optional(z.array(z.string())),
  /**
   * What stood in a store and could not be read, and no record tells of: how much, and the first of
   * it in words.
   */
  notRead: z.optional(z.number()),
  notReadFirst: z.optional(z.array(z.string())),
  /** Elements of the primary that are no certificates. */
  passedOver: z.optional(z.number()),
  stoppedAt: z.optional(z.number()),
  failure: z.optional(failure),
  brake: z.optional(
    z.object({
      at: z.number(),
      changing: z.number(),
      vanishing: z.number(),
      copied: z.number(),
      allowed: z.number(),
    }),
  ),
  silence: z.optional(silenceSchema),
  vanished: z.optional(vanishedSchema),
  vanishedAccepted: z.optional(z.object({ at: z.number(), id: z.string(), gone: z.number(), of: z.number() })),
});

/**
 * What is known of the reconciles of one link: who runs one now and how far it is, how the last one
 * ended, and whether the brake holds. All moments are epoch milliseconds.
 */
export type ReconcileState = z.infer<typeof stateSchema>;

/**
 * What stopped a reconcile before it changed anything: more would change or vanish than is allowed
 * without a person.
 */
export type Brake = NonNullable<ReconcileState['brake']>;

/** Why the last one did not come to its end, and at which store, if it was one. */
interface ReconcileFailure {
  readonly at: number;
  readonly code: string;
  readonly message: string;
  readonly store?: string;
}

/** What the last verify of a link found, as status shows it. */
const verifySchema = z.object({
  startedAt: z.number(),
  completedAt: z.number(),
  certificates: z.number(),
  /** How many of each state, over certificates and backups. */
  counts: z.record(z.string(), z.number()),
  /** Copies whose key the service does not give back: compared without it. */
  withoutKeys: z.number(),
  /**
   * Copies that are the same as their service keeps them: chains that it completed, or put in
   * another order.
   */
  reshaped: z.optional(z.number()),
  problems: z.number(),
  /** The first of them, in words. */
  examples: z.array(z.string()),
});
export type VerifySummary = z.infer<typeof verifySchema>;

/** What the last drill of a link came to, as status shows it. */
const drillSchema = z.object({
  completedAt: z.number(),
  kept: z.number(),
  served: z.number(),
  failed: z.number(),
  /** Backups that could not be drilled. */
  notDrilled: z.number(),
  /** The first failures, in words. */
  examples: z.array(z.string()),
});
export type DrillSummary = z.infer<typeof drillSchema>;

/** What one finished comparison leaves for status. */
export interface CompletedReconcile {
  readonly listed: number;
  readonly included: number;
  readonly unmarked: number;
  /** Backups that could not be listed. */
  readonly notListed: readonly string[];
  /** What no record tells of and could not be read. */
  readonly notRead?: number;
  readonly notReadFirst?: readonly string[];
  readonly passedOver?: number;
  /** Absent: there is none. */
  readonly silence?: Silence | undefined;
  readonly tookMs: number;
}

/**
 * One row for each link: the lease of the one reconcile that may run, its progress, and how the
 * last one ended; and one each for the last verify and the last drill. A second reconcile would be
 * harmless, since asking twice is; the lease gives it a clear answer instead.
 */
export function reconcileRecords(table: Table) {
  const keyOf = (link: string): Key => ({ partition: 'reconcile.1', sort: link });
  const verifyKeyOf = (link: string): Key => ({ partition: 'verify.1', sort: link });
  const drillKeyOf = (link: string): Key => ({ partition: 'drill.1', sort: link });

  function parse<T>(schema: z.ZodMiniType<T>, link: string, row: unknown): T {
    const parsed = schema.safeParse(row);
    if (parsed.success) return parsed.data;
    const damaged = parsed.error.issues.map((issue) => issue.path.join('.'));
    throw new CodedError('table_row_unreadable', `what is kept of the reconciles of link ${link} is damaged`, {
      fields: { link, damaged },
    });
  }

  async function reconcileState(link: string): Promise<ReconcileState> {
    const row = await table.get(keyOf(link));
    return row === undefined ? { token: 0 } : parse(stateSchema, link, row);
  }

  const held = (token: number) => ({
    all: [{ field: 'token', is: '=' as const, to: token }, { exists: 'until' }],
  });

  return {
    reconcileState,

    /**
     * Takes the link's reconcile for `owner`. Answers its token, or who has it. One whose owner
     * died is free again once its lease and the allowed skew have passed; at once, if it is the one
     * of token `instead`, whose owner is known to be dead.
     */
    async beginReconcile(
      link: string,
      lease: {
        readonly owner: string;
        readonly now: number;
        readonly until: number;
        readonly skewMs: number;
        readonly instead?: number;
      },
    ): Promise<{ readonly token: number } | { readonly running: ReconcileState }> {
      const { owner, now, until, skewMs, instead } = lease;
      const outcome = await table.update(
        keyOf(link),
        { add: { token: 1 }, set: { until, owner, startedAt: now, step: 'comparing', done: 0 } },
        {
          any: [
            { absent: 'until' },
            { field: 'until', is: '<', to: now - skewMs },
            ...(instead === undefined ? [] : [{ field: 'token', is: '=' as const, to: instead }]),
          ],
        },
      );
      if (!outcome.applied) return { running: parse(stateSchema, link, outcome.row) };
      return { token: parse(stateSchema, link, outcome.row).token };
    },

    /** Notes how far it is and prolongs the lease. Answers whether it is still held. */
    async keepReconcile(
      link: string,
      token: number,
      progress: { readonly until: number; readonly step: string; readonly done: number },
    ): Promise<boolean> {
      return (await table.update(keyOf(link), { set: progress }, held(token))).applied;
    },

    /**
     * Gives it back, with how it ended: completed, failed, or stopped by the brake or by a person.
     */
    async endReconcile(
      link: string,
      token: number,
      end:
        | { readonly completed: CompletedReconcile; readonly startedAt: number }
        | { readonly brake: Brake }
        | { readonly failure: ReconcileFailure }
        | { readonly stoppedAt: number }
        | { readonly released: true },
    ): Promise<void> {
      const gone = ['until', 'owner', 'step', 'done'];
      if ('completed' in end) {
        const { silence, ...completed } = end.completed;
        const set = { ...completed, ...(silence !== undefined && { silence }), completedAt: end.startedAt };
        const over = ['failure', 'brake', 'stoppedAt', ...(silence === undefined ? ['silence'] : [])];
        await table.update(keyOf(link), { set, remove: [...gone, ...over] }, held(token));
      } else {
        const set = 'failure' in end ? { failure: { ...end.failure } } : 'released' in end ? {} : { ...end };
        await table.update(keyOf(link), { set, remove: gone }, held(token));
      }
    },

    /** Notes what is gone from the primary, or that no such finding stands any more. */
    async noteVanished(link: string, vanished: Vanished | undefined): Promise<void> {
      await table.update(keyOf(link), vanished === undefined ? { remove: ['vanished'] } : { set: { vanished } });
    },

    /** Notes that a person said what is gone is meant to be. */
    async acceptVanished(link: string, { id, gone, of }: Vanished, at: number): Promise<void> {
      await table.update(keyOf(link), { set: { vanishedAccepted: { at, id, gone, of } }, remove: ['vanished'] });
    },

    async saveVerify(link: string, summary: VerifySummary): Promise<void> {
      const { reshaped, ...always } = summary;
      await table.update(
        verifyKeyOf(link),
        reshaped === undefined ? { set: always, remove: ['reshaped'] } : { set: { ...always, reshaped } },
      );
    },

    async saveDrill(link: string, summary: DrillSummary): Promise<void> {
      await table.update(drillKeyOf(link), { set: { ...summary } });
    },

    /** What the last drill came to; `undefined` if there was none. */
    async lastDrill(link: string): Promise<DrillSummary | undefined> {
      const row = await table.get(drillKeyOf(link));
      return row && parse(drillSchema, link, row);
    },

    /** What the last verify that came to its end found; `undefined` if there was none. */
    async lastVerify(link: string): Promise<VerifySummary | undefined> {
      const row = await table.get(verifyKeyOf(link));
      return row && parse(verifySchema, link, row);
    },
  };
}
