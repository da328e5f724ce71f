import { asCodedError } from '../errors.ts';
import { type Change, type Condition, pagesOf, type Row, type Table } from '../table/table.ts';
import {
  keyOf,
  mergeChanges,
  partitionOf,
  type RecordRequests,
  raiseDoubt,
  recordRequests,
  storable,
  upTo,
} from './record-requests.ts';
import {
  type Operation,
  parseReplicationRecord,
  type ReplicationRecord,
  rowOfAside,
  rowOfBackups,
  type UnreadableRecord,
} from './replication-record.ts';
import { fieldOf, latest, numberIn } from './row-fields.ts';

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

export interface ReplicationRecords extends RecordRequests {
  readonly get: (link: string, certificate: string) => Promise<ReplicationRecord | undefined>;
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

  async function get(link: string, certificate: string): Promise<ReplicationRecord | undefined> {
    const row = await table.get(keyOf(link, certificate));
    return row && parse(row);
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
    const moved = await raiseDoubt(table, key, counted, { each: doubts ?? {} }, { row: unmoved.row, condition: held });
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
    ...recordRequests(table),
    get,
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

/**
 * Every doubt of a row as it is from now on, with the one that workers of older versions know: the
 * latest of all.
 */
function doubtFields(backups: LeaseHolderFields['backups'], doubts: Readonly<Record<string, number>>, token: number) {
  const each = Object.fromEntries(backups.map(({ store }) => [fieldOf('doubt', store), doubts[store]]));
  return { ...each, doubt: latest(Object.values(doubts)), everyDoubt: undefined, doubtToken: token };
}

/** That a lease is held, under this token. */
function heldBy(token: number): Condition {
  return { all: [{ field: 'leaseToken', is: '=', to: token }, { exists: 'leaseUntil' }] };
}
