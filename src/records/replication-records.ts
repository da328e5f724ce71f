import { defined } from '../defined.ts';
import { asCodedError, CodedError } from '../errors.ts';
import {
  type Change,
  type Condition,
  type Key,
  pagesOf,
  type Row,
  type Table,
  type Value,
  type WriteOutcome,
} from '../table/table.ts';
import {
  fieldOf,
  latest,
  type Operation,
  parseReplicationRecord,
  type ReplicationRecord,
  rowOfAside,
  rowOfBackups,
  type UnreadableRecord,
} from './replication-record.ts';
import { fitsTable, numberIn } from './row-fields.ts';

/** Fields that the lease holder writes at commit; an absent one is removed from the row. */
export type LeaseHolderFields = Pick<
  ReplicationRecord,
  'attempts' | 'notBefore' | 'lastError' | 'absentSince' | 'aside' | 'refusal' | 'primary' | 'backups'
>;

/** What a commit removes unless it writes it: a finding of an earlier pass must not outlive it. */
const noLeaseHolderFields: Readonly<Record<keyof LeaseHolderFields, undefined>> = {
  attempts: undefined,
  notBefore: undefined,
  lastError: undefined,
  absentSince: undefined,
  aside: undefined,
  refusal: undefined,
  primary: undefined,
  backups: undefined,
};

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

export type Claim =
  | { readonly claimed: true; readonly record: ReplicationRecord }
  | { readonly claimed: false; readonly record: ReplicationRecord | undefined };

export interface Commit {
  readonly link: string;
  readonly certificate: string;
  /** The lease token under which the pass worked. */
  readonly token: number;
  /** `requested` as the claim saw it. */
  readonly seen: number;
  readonly fields: LeaseHolderFields;
  /**
   * The doubt of each backup of the link from now on, by store id: one that is not there has none.
   * If more was asked for meanwhile none is lowered. Absent: doubt stays as it stands, all of it.
   */
  readonly doubts?: Readonly<Record<string, number>>;
  /** The next look; absent for none, if nothing was asked for meanwhile. */
  readonly wakeAt?: number;
}

/**
 * `moved`: committed, but more was asked for meanwhile. `refused`: someone else holds the lease, or
 * it was dropped already.
 */
export type CommitAnswer = 'committed' | 'moved' | 'refused';

// The format stands in the partition: a record of another format is in another place, and can
// neither be misread nor overwritten.
const partitionOf = (link: string) => `replication.1/${link}`;
const keyOf = (link: string, certificate: string): Key => ({ partition: partitionOf(link), sort: certificate });

export interface ReplicationRecords {
  readonly canHold: (link: string, certificate: string) => boolean;
  readonly get: (link: string, certificate: string) => Promise<ReplicationRecord | undefined>;
  readonly ask: (request: Request) => Promise<void>;
  readonly tell: (request: {
    readonly link: string;
    readonly certificate: string;
    readonly now: number;
    readonly everyMs: number;
    readonly toldBy?: string | undefined;
  }) => Promise<
    | 'asked'
    | 'unknown'
    | {
        readonly again: number;
      }
  >;
  readonly tellNew: (pick: Pick<Request, 'link' | 'certificate' | 'now' | 'toldBy'>) => Promise<void>;
  readonly forgetNeverThere: (
    link: string,
    certificate: string,
    pick: Pick<Commit, 'token' | 'seen'>,
  ) => Promise<boolean>;
  readonly claim: (options: {
    readonly link: string;
    readonly certificate: string;
    readonly owner: string;
    readonly now: number;
    readonly leaseUntil: number;
    readonly skewMs: number;
    /** The doubt to set for every backup when a lease is taken over. */
    readonly doubt: number;
    /** Whether the owner of a lease is certainly dead; absent: nobody knows. */
    readonly hasDied?: (owner: string) => boolean;
  }) => Promise<Claim>;
  readonly noteOperation: (
    link: string,
    certificate: string,
    noted: {
      readonly token: number;
      readonly store: string;
      readonly operation: Operation;
    },
  ) => Promise<boolean>;
  readonly commit: (commit: Commit) => Promise<CommitAnswer>;
  readonly due: (link: string, until: number, limit: number) => Promise<readonly string[]>;
  readonly dueSince: (link: string, until: number) => Promise<number | undefined>;
  readonly all: (link: string, unreadable?: (record: UnreadableRecord) => void) => AsyncGenerator<ReplicationRecord>;
  readonly acceptGone: (link: string, certificate: string, at: number) => Promise<void>;
  readonly forget: (link: string, certificate: string) => Promise<void>;
}

/** The replication records of all links, on a table. Each method throws what the table throws. */
export function replicationRecords(table: Table): ReplicationRecords {
  const parse = (row: Row): ReplicationRecord =>
    parseReplicationRecord(row.partition.slice(partitionOf('').length), row.sort, row);

  /** One damaged row keeps nobody from the others, where somebody tells of it. */
  function parsed(row: Row, unreadable?: (record: UnreadableRecord) => void): ReplicationRecord | undefined {
    try {
      return parse(row);
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (unreadable === undefined || error.code !== 'table_row_unreadable') throw thrown;
      unreadable({ certificate: row.sort, error });
      return undefined;
    }
  }

  /** Whether a record of this certificate can be kept: a row's key has a longest length. */
  function canHold(link: string, certificate: string): boolean {
    return fitsTable(keyOf(link, certificate));
  }

  async function get(link: string, certificate: string): Promise<ReplicationRecord | undefined> {
    const row = await table.get(keyOf(link, certificate));
    return row && parse(row);
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
    else await raiseDoubt(key, change, { every: doubt, each: doubts ?? {} });
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

  /**
   * Forgets the record of what never was in the primary, in place of a commit. Answers whether it
   * did: not if somebody else holds the lease, or asked meanwhile.
   */
  async function forgetNeverThere(
    link: string,
    certificate: string,
    { token, seen }: Pick<Commit, 'token' | 'seen'>,
  ): Promise<boolean> {
    const outcome = await table.delete(keyOf(link, certificate), {
      all: [heldBy(token), { field: 'requested', is: '=', to: seen }],
    });
    return outcome.applied;
  }

  /**
   * Makes a change that sets doubt and lowers none, under a condition or none. Askers come at any
   * moment, so what was read of the doubts may have grown when it is written: then it is written
   * once more, by the row that refused.
   */
  async function raiseDoubt(
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
   * Takes the lease if work is pending, its `notBefore` has passed and nobody alive holds it (a
   * lease lives until `leaseUntil` plus the allowed skew, or until its holder is known to have
   * died). A lease that was never dropped may have left a write under way, at any backup: taking it
   * over sets the doubt of each.
   */
  async function claim(options: {
    readonly link: string;
    readonly certificate: string;
    readonly owner: string;
    readonly now: number;
    readonly leaseUntil: number;
    readonly skewMs: number;
    /** The doubt to set for every backup when a lease is taken over. */
    readonly doubt: number;
    /** Whether the owner of a lease is certainly dead; absent: nobody knows. */
    readonly hasDied?: (owner: string) => boolean;
  }): Promise<Claim> {
    const { now } = options;
    const key = keyOf(options.link, options.certificate);
    const due: Condition = {
      all: [
        {
          any: [
            { field: 'requested', is: '>', to: { fieldOf: 'replicated' } },
            { field: 'wakeAt', is: '<=', to: now },
          ],
        },
        { any: [{ absent: 'notBefore' }, { field: 'notBefore', is: '<=', to: now }] },
      ],
    };
    const lease: Change = {
      add: { leaseToken: 1 },
      set: { leaseUntil: options.leaseUntil, leaseOwner: options.owner },
    };

    const free = await table.update(key, lease, { all: [due, { absent: 'leaseUntil' }] });
    if (free.applied) return { claimed: true, record: parse(free.row) };
    const holder = free.row && parse(free.row);
    if (holder?.leaseUntil === undefined) return { claimed: false, record: holder };
    // A program that was killed and started again need not wait for its own leases.
    const isOver = holder.leaseUntil + options.skewMs < now || options.hasDied?.(holder.leaseOwner ?? '') === true;
    if (!isOver) return { claimed: false, record: holder };

    const doubt = Math.max(options.doubt, holder.doubt ?? 0);
    const everyDoubt = Math.max(options.doubt, holder.everyDoubt ?? 0);
    const takenOver = await table.update(
      key,
      { ...lease, set: { ...lease.set, doubt, everyDoubt } },
      {
        all: [due, heldBy(holder.leaseToken), upTo('doubt', doubt), upTo('everyDoubt', everyDoubt)],
      },
    );
    return takenOver.applied
      ? { claimed: true, record: parse(takenOver.row) }
      : { claimed: false, record: takenOver.row && parse(takenOver.row) };
  }

  /** Writes what a pass found and drops its lease, if the lease is still its own. */
  async function commit(commit: Commit): Promise<CommitAnswer> {
    const { token, seen, doubts } = commit;
    const key = keyOf(commit.link, commit.certificate);
    const held = heldBy(token);
    const { backups, ...fields } = commit.fields;
    const done = changeOf({
      ...noLeaseHolderFields,
      ...fields,
      ...rowOfAside(fields.aside),
      ...rowOfBackups(backups),
      replicated: seen,
      leaseUntil: undefined,
      leaseOwner: undefined,
      // A permission is for one pass.
      removalAskedAt: undefined,
    });

    const settled = changeOf({ wakeAt: commit.wakeAt, ...(doubts && doubtFields(backups, doubts, token)) });
    const unmoved = await table.update(key, mergeChanges(done, settled), {
      all: [held, { field: 'requested', is: '=', to: seen }],
    });
    if (unmoved.applied) return 'committed';
    // Asked for meanwhile: `wakeAt` is the asker's, and so may doubt be; neither is cleared, doubt
    // only grows.
    const counted = doubts === undefined ? done : mergeChanges(done, { set: { doubtToken: token } });
    const moved = await raiseDoubt(key, counted, { each: doubts ?? {} }, { row: unmoved.row, condition: held });
    return moved.applied ? 'moved' : 'refused';
  }

  /**
   * Writes down an operation at a backup, under the lease of a pass: before it is started, and
   * again with its handle. Answers whether the lease is still its own: if not, nothing may be
   * started.
   */
  async function noteOperation(
    link: string,
    certificate: string,
    noted: { readonly token: number; readonly store: string; readonly operation: Operation },
  ): Promise<boolean> {
    const { token, store, operation } = noted;
    const field = fieldOf('operation', store);
    const change = { set: storable({ [field]: operation }) };
    const outcome = await table.update(keyOf(link, certificate), change, heldBy(token));
    return outcome.applied;
  }

  /** Wake-ups that are due, earliest first. May lag behind the writes by seconds. */
  async function due(link: string, until: number, limit: number): Promise<readonly string[]> {
    const page = await table.queryIndex({ partition: partitionOf(link), until, limit });
    return page.rows.map((row) => row.sort);
  }

  /**
   * Since when the earliest wake-up is due; `undefined` if none is. May lag behind the writes by
   * seconds.
   */
  async function dueSince(link: string, until: number): Promise<number | undefined> {
    const { rows } = await table.queryIndex({ partition: partitionOf(link), until, limit: 1 });
    return numberIn(rows[0], 'wakeAt');
  }

  /**
   * All records of a link, a page at a time, in order of the certificate id. A row that cannot be
   * understood goes to `unreadable`; without that it is thrown.
   */
  async function* all(
    link: string,
    unreadable?: (record: UnreadableRecord) => void,
  ): AsyncGenerator<ReplicationRecord> {
    for await (const rows of pagesOf(table, { partition: partitionOf(link), limit: 500 })) {
      for (const row of rows) {
        const record = parsed(row, unreadable);
        if (record !== undefined) yield record;
      }
    }
  }

  /**
   * Writes down that a person said, at this moment, that a certificate is meant to be gone. Asks
   * for nothing.
   */
  async function acceptGone(link: string, certificate: string, at: number): Promise<void> {
    await table.update(keyOf(link, certificate), {
      add: { requested: 0, replicated: 0, leaseToken: 0 },
      set: { goneAcceptedAt: at },
    });
  }

  /**
   * Forgets a record of a direction that the link no longer has. A worker that is still at it finds
   * its commit refused.
   */
  async function forget(link: string, certificate: string): Promise<void> {
    await table.delete(keyOf(link, certificate));
  }

  return {
    canHold,
    get,
    ask,
    tell,
    tellNew,
    forgetNeverThere,
    claim,
    noteOperation,
    commit,
    due,
    dueSince,
    all,
    acceptGone,
    forget,
  };
}

/** Sets what is there, removes what is not. */
function changeOf(fields: Readonly<Record<string, unknown>>): Change {
  const remove = Object.keys(fields).filter((name) => fields[name] === undefined);
  return { set: storable(fields), remove };
}

function mergeChanges(a: Change, b: Change): Change {
  return {
    add: { ...a.add, ...b.add },
    set: { ...a.set, ...b.set },
    remove: [...(a.remove ?? []), ...(b.remove ?? [])],
  };
}

/** The same without members that are `undefined`, at any depth: tables hold no `undefined`. */
function storable(fields: Readonly<Record<string, unknown>>): Record<string, Value> {
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

/**
 * How often doubt that grew at the very moment is read again. Askers are few, and each asks once.
 */
const raiseTries = 5;

/**
 * Every doubt of a row as it is from now on, with the one that workers of older versions know: the
 * latest of all.
 */
function doubtFields(backups: LeaseHolderFields['backups'], doubts: Readonly<Record<string, number>>, token: number) {
  const each = Object.fromEntries(backups.map(({ store }) => [fieldOf('doubt', store), doubts[store]]));
  return { ...each, doubt: latest(Object.values(doubts)), everyDoubt: undefined, doubtToken: token };
}

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

/** That a lease is held, under this token. */
function heldBy(token: number): Condition {
  return { all: [{ field: 'leaseToken', is: '=', to: token }, { exists: 'leaseUntil' }] };
}

/**
 * That a moment of the row would not be lowered by setting it to this: someone may have set it
 * since it was read.
 */
function upTo(field: string, moment: number): Condition {
  return { any: [{ absent: field }, { field, is: '<=', to: moment }] };
}
