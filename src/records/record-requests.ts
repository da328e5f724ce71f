import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import type { Change, Condition, Key, Row, Table, Value, WriteOutcome } from '../table/table.ts';
import { fieldOf, fitsTable, latest, numberIn } from './row-fields.ts';

/** A reason to look at a certificate again. */
export interface Request {
  readonly link: string;
  readonly certificate: string;
  readonly now: number;
  /** Given for a notification: when it was acknowledged. */
  readonly eventAt?: number;
  readonly occurredAt?: number;
  /** Given in place of both when the sender does not sign what it says. */
  readonly toldAt?: number;
  /** Given with either: who told, as the log names senders. */
  readonly toldBy?: string | undefined;
  /**
   * Given when what the backups hold is doubtful: until when, for every one alike, or for each, by
   * store id. Never lowers what is there.
   */
  readonly doubt?: number;
  readonly doubts?: Readonly<Record<string, number>>;
  /** Given when the copies may be removed, if the original is still gone. */
  readonly removalAskedAt?: number;
  /** Given when nothing tells that content changed; `null` where that was seen, and counted. */
  readonly unannouncedAt?: number | null;
  /** Given when a person said that this content is meant, by its fingerprint. */
  readonly acceptedContent?: string;
  /**
   * Given when a record was the reason: if it has been forgotten since, nothing is asked for. Not
   * beside doubt.
   */
  readonly ifKnown?: true;
}

// The format stands in the partition: a record of another format is in another place, and can
// neither be misread nor overwritten.
export const partitionOf = (link: string) => `replication.1/${link}`;
export const keyOf = (link: string, certificate: string): Key => ({ partition: partitionOf(link), sort: certificate });

/** What is asked of replication records by whoever has a reason to look at a certificate. */
export interface RecordRequests {
  readonly canHold: (link: string, certificate: string) => boolean;
  readonly ask: (request: Request) => Promise<void>;
  readonly tell: (request: {
    readonly link: string;
    readonly certificate: string;
    readonly now: number;
    readonly everyMs: number;
    readonly toldBy?: string | undefined;
  }) => Promise<'asked' | 'unknown' | { readonly again: number }>;
  readonly tellNew: (pick: Pick<Request, 'link' | 'certificate' | 'now' | 'toldBy'>) => Promise<void>;
}

/**
 * The part of the replication records that intake needs, on a table: what is asked is written, and
 * no record is read. The rest would be loaded for nothing by what only takes notifications in. Each
 * method throws what the table throws.
 */
export function recordRequests(table: Table): RecordRequests {
  /** Whether a record of this certificate can be kept: a row's key has a longest length. */
  function canHold(link: string, certificate: string): boolean {
    return fitsTable(keyOf(link, certificate));
  }

  /**
   * Makes "this certificate must be looked at again" durable. Adding nothing to `replicated` and
   * `leaseToken` creates them, so that conditions can compare them.
   */
  async function ask(request: Request): Promise<void> {
    const { link, certificate, now, eventAt, occurredAt, toldAt, toldBy, doubt, doubts, ...more } = request;
    const isTold = eventAt !== undefined || toldAt !== undefined;
    const { removalAskedAt, unannouncedAt, acceptedContent, ifKnown } = more;
    const change: Change = {
      add: { requested: 1, replicated: 0, leaseToken: 0 },
      set: storable({
        wakeAt: now,
        eventAt,
        occurredAt,
        toldAt,
        toldBy,
        removalAskedAt,
        unannouncedAt: unannouncedAt ?? undefined,
        acceptedContent,
      }),
      remove: [
        // A notification without a time of its own says nothing about when it happened; an older
        // one's word would be wrong.
        ...(eventAt !== undefined && occurredAt === undefined ? ['occurredAt'] : []),
        ...(isTold && toldBy === undefined ? ['toldBy'] : []),
        ...(unannouncedAt === null ? ['unannouncedAt'] : []),
      ],
    };
    const key = keyOf(link, certificate);
    const condition = ifKnown && ({ exists: 'requested' } as const);
    if (doubt === undefined && doubts === undefined) await table.update(key, change, condition);
    else await raiseDoubt(table, key, change, { every: doubt, each: doubts ?? {} });
  }

  /**
   * Has a certificate looked at that a sender named who does not sign what it says: once in
   * `everyMs`. `unknown`: there is no record of it, and none was made. `again`: it was asked for so
   * short a time ago that it is to be asked for at that moment.
   */
  async function tell(request: {
    readonly link: string;
    readonly certificate: string;
    readonly now: number;
    readonly everyMs: number;
    readonly toldBy?: string | undefined;
  }): Promise<'asked' | 'unknown' | { readonly again: number }> {
    const { link, certificate, now, everyMs, toldBy } = request;
    const outcome = await table.update(
      keyOf(link, certificate),
      { add: { requested: 1 }, set: { wakeAt: now, toldAt: now, ...defined({ toldBy }) } },
      {
        all: [
          { exists: 'requested' },
          {
            any: [
              { absent: 'toldAt' },
              { field: 'toldAt', is: '<=', to: now - everyMs },
              // A clock that was ahead must not put it off for as long as it was.
              { field: 'toldAt', is: '>', to: now + everyMs },
            ],
          },
        ],
      },
    );
    if (outcome.applied) return 'asked';
    if (outcome.row === undefined) return 'unknown';
    return { again: (numberIn(outcome.row, 'toldAt') ?? now) + everyMs };
  }

  /**
   * Makes the record of a certificate that only such a sender has named. It may be forgotten if
   * there is no such certificate.
   */
  async function tellNew({
    link,
    certificate,
    now,
    toldBy,
  }: Pick<Request, 'link' | 'certificate' | 'now' | 'toldBy'>): Promise<void> {
    const made = await table.update(
      keyOf(link, certificate),
      // Tokens go up from this moment: one of a record that was forgotten never comes again, and a
      // late worker of that one commits nothing.
      {
        add: { requested: 1, replicated: 0, leaseToken: now },
        set: { wakeAt: now, toldAt: now, ...defined({ toldBy }) },
      },
      { absent: 'requested' },
    );
    if (!made.applied) await ask({ link, certificate, now, toldAt: now, toldBy });
  }

  return { canHold, ask, tell, tellNew };
}

/**
 * Makes a change that sets doubt and lowers none, under a condition or none. Askers come at any
 * moment, so what was read of the doubts may have grown when it is written: then it is written
 * once more, by the row that refused.
 */
export async function raiseDoubt(
  table: Table,
  key: Key,
  change: Change,
  doubt: { readonly every?: number | undefined; readonly each: Readonly<Record<string, number>> },
  given: { readonly row?: Row | undefined; readonly condition?: Condition } = {},
): Promise<WriteOutcome> {
  let { row } = given;
  for (let tries = 1; tries <= raiseTries; tries += 1) {
    const raised = raisedDoubts(doubt, row);
    const all = Object.entries(raised).map(([name, until]) => upTo(name, until));
    if (given.condition !== undefined) all.push(given.condition);
    const outcome = await table.update(key, mergeChanges(change, { set: raised }), { all });
    if (outcome.applied) return outcome;
    const { row: refusing } = outcome;
    const grown = Object.entries(raised).some(([name, until]) => Number(refusing?.[name] ?? until) > until);
    if (!grown) return outcome;
    row = refusing;
  }
  throw new CodedError('table_unavailable', `the doubts of ${key.sort} change faster than they can be written`);
}

/**
 * How often doubt that grew at the very moment is read again. Askers are few, and each asks once.
 */
const raiseTries = 5;

/**
 * The doubt fields of a row that is doubted until these moments, none of them earlier than it is in
 * the row.
 */
function raisedDoubts(
  doubt: { readonly every?: number | undefined; readonly each: Readonly<Record<string, number>> },
  row: Row | undefined,
): Record<string, number> {
  const raised: Record<string, number> = {};
  const raise = (name: string, until: number | undefined) => {
    if (until !== undefined) raised[name] = Math.max(until, numberIn(row, name) ?? until);
  };
  raise('everyDoubt', doubt.every);
  for (const [store, until] of Object.entries(doubt.each)) raise(fieldOf('doubt', store), until);
  raise('doubt', latest(Object.values(raised)));
  return raised;
}

/**
 * That a moment of the row would not be lowered by setting it to this: someone may have set it
 * since it was read.
 */
export function upTo(field: string, moment: number): Condition {
  return { any: [{ absent: field }, { field, is: '<=', to: moment }] };
}

export function mergeChanges(a: Change, b: Change): Change {
  return {
    add: { ...a.add, ...b.add },
    set: { ...a.set, ...b.set },
    remove: [...(a.remove ?? []), ...(b.remove ?? [])],
  };
}

/** The same without members that are `undefined`, at any depth: tables hold no `undefined`. */
export function storable(fields: Readonly<Record<string, unknown>>): Record<string, Value> {
  const kept: Record<string, Value> = {};
  for (const name of Object.keys(fields)) {
    const value = fields[name];
    if (value !== undefined) kept[name] = storableValue(value);
  }
  return kept;
}

function storableValue(value: unknown): Value {
  if (Array.isArray(value)) return value.map(storableValue);
  return typeof value === 'object' && value !== null ? storable(value as Record<string, unknown>) : (value as Value);
}
