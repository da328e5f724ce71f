import { asCodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ReplicationRecord } from '../records/replication-record.ts';
import type { Link } from '../replication/link.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import { standingOf } from '../replication/standing.ts';
import { lagOf } from '../replication/status.ts';
import type { LifecycleEvent } from '../sender/event.ts';
import { type State, stateOf } from './link-view.ts';

/** Something that happened to one certificate, and what has become of it so far. */
export interface LiveRow {
  /** The same as long as it is this one; of this process alone. */
  readonly id: number;
  readonly link: string;
  readonly certificate: string;
  readonly name: string;
  /** What a sender said happened: `imported`, `renewed`, ...; `seen` where none said anything. */
  readonly kind: LifecycleEvent['kind'] | 'seen';
  /** When it was acknowledged or, where nobody told, written: epoch milliseconds. */
  readonly at: number;
  readonly state: State;
  /** From the change until every backup was equal, in milliseconds. */
  readonly lagMs?: number;
  /** How many changes there were to any row when this one was last changed. */
  readonly change: number;
}

/** What happens in this process while somebody looks: the last of it, in memory alone. */
export interface Live {
  /** `at`: from when on a look has seen what it tells, epoch milliseconds. Default: now. */
  acknowledged(link: string, event: LifecycleEvent, answer: 'new' | 'repeat', sender?: string, at?: number): void;
  passed(report: PassReport): void;
  /**
   * Looks up what became of what was not at its end a while ago: another process may have seen to
   * it. Never throws, and asks no more than once in that while.
   */
  settle(): Promise<void>;
  /** The last rows, the newest first. */
  rows(): readonly LiveRow[];
  /**
   * Told of each row that is new or has changed; one who throws is passed over. Answers what ends
   * that.
   */
  watch(told: (row: LiveRow) => void): () => void;
}

export interface LiveOptions {
  readonly now: () => number;
  readonly links: readonly Link[];
  /** The record of a certificate. Throws what the table throws. */
  readonly record: (link: Link, certificate: string) => Promise<ReplicationRecord | undefined>;
  /**
   * When a link completed its first reconcile, as far as it is known, epoch milliseconds: what
   * changed before was copied then, and tells no lag.
   */
  readonly firstReconciledAt: (link: string) => number | undefined;
  /** Told what a watcher throws. */
  readonly failed: (thrown: unknown) => void;
}

/** What is not at its end after this is looked up, in milliseconds. */
const settleMs = 60_000;

/** What has become of a certificate, by its record: the same as its list says. */
interface Found {
  readonly state: State;
  readonly name?: string;
  readonly lagMs?: number;
}

export function liveEvents({ now, links, record, firstReconciledAt, failed }: LiveOptions): Live {
  const linkByName = new Map(links.map((link) => [link.name, link]));
  let rows: readonly LiveRow[] = [];
  let changes = 0;
  let ids = 0;
  let settledAt = now();
  const watchers = new Set<(row: LiveRow) => void>();
  /** The last passes that came to an end: one may, before its event is told here. */
  const ended = new Map<string, { readonly beganAt: number; readonly found: Found }>();
  const keyOf = (link: string, certificate: string) => JSON.stringify([link, certificate]);

  function tell(row: LiveRow): void {
    for (const told of watchers) {
      try {
        told(row);
      } catch (thrown) {
        failed(thrown);
      }
    }
  }
  function add(row: Omit<LiveRow, 'id' | 'change'>): void {
    ids += 1;
    changes += 1;
    const added = { ...row, id: ids, change: changes };
    rows = [added, ...rows].slice(0, limits.consoleEvents);
    tell(added);
  }
  function change(id: number, found: Found): void {
    const before = rows.find((row) => row.id === id);
    if (before === undefined || !isOpen(before)) return;
    changes += 1;
    const changed = { ...before, ...found, change: changes };
    rows = rows.map((one) => (one === before ? changed : one));
    tell(changed);
  }
  function remember(key: string, beganAt: number, found: Found): void {
    ended.delete(key);
    ended.set(key, { beganAt, found });
    const [oldest] = ended.keys();
    if (ended.size > limits.consoleEvents && oldest !== undefined) ended.delete(oldest);
  }

  function foundBy(link: Link, { answer, after, backups }: PassReport): Found {
    const named = after.primary === undefined ? {} : { name: after.primary.name };
    // More was asked for while it looked: the next pass tells.
    if (answer === 'moved') return { ...named, state: 'on-its-way' };
    const state = stateOf(standingOf(link, after));
    const lagMs = lagOf(after);
    const since = firstReconciledAt(link.name) ?? Number.POSITIVE_INFINITY;
    const isLag = state === 'same' && backups.some(({ wrote }) => wrote) && (after.primary?.changedAt ?? 0) >= since;
    return { ...named, state, ...(isLag && lagMs !== undefined && { lagMs }) };
  }

  /** `undefined`: nobody can tell now. */
  async function foundNow(link: Link, certificate: string): Promise<Found | undefined> {
    try {
      const known = await record(link, certificate);
      if (known === undefined) return { state: 'gone' };
      const named = known.primary === undefined ? {} : { name: known.primary.name };
      return { ...named, state: stateOf(standingOf(link, known)) };
    } catch (thrown) {
      return asCodedError(thrown).code === 'table_row_unreadable' ? { state: 'unreadable' } : undefined;
    }
  }

  return {
    acknowledged(link, event, answer, _sender, at = now()) {
      if (answer === 'repeat' || !event.changes) return;
      for (const { id: certificate, name } of event.certificates) {
        const before = ended.get(keyOf(link, certificate));
        const found = before !== undefined && before.beganAt >= at ? before.found : undefined;
        const row = { link, certificate, name: name || certificate, kind: event.kind, at };
        add({ ...row, state: 'on-its-way', ...found });
      }
    },
    passed(report) {
      const { link: name, certificate, answer, beganAt, committedAt, backups } = report;
      const link = linkByName.get(name);
      // Whoever has taken it over tells what becomes of it.
      if (link === undefined || answer === 'refused') return;
      const found = foundBy(link, report);
      if (answer === 'committed') remember(keyOf(name, certificate), beganAt, found);
      const open = rows.filter((row) => row.link === name && row.certificate === certificate && isOpen(row));
      // What reconcile or a watch found was told by nobody.
      if (open.length === 0 && backups.some(({ wrote }) => wrote))
        add({ link: name, certificate, name: certificate, kind: 'seen', at: committedAt, ...found });
      // A look that began before the event says nothing of it.
      for (const row of open) if (beganAt >= row.at) change(row.id, found);
    },
    async settle() {
      const at = now();
      if (at >= settledAt && at < settledAt + settleMs) return;
      settledAt = at;
      for (const { id, link: name, certificate, at: since, state } of rows.filter(isOpen)) {
        const link = linkByName.get(name);
        if (link === undefined || at < since + settleMs) continue;
        const found = await foundNow(link, certificate);
        if (found !== undefined && found.state !== state) change(id, found);
      }
    },
    rows: () => rows,
    watch(told) {
      watchers.add(told);
      return () => watchers.delete(told);
    },
  };
}

/** What is not at its end may be changed by another pass. */
const isOpen = ({ state }: LiveRow): boolean => state === 'on-its-way' || state === 'behind' || state === 'unreadable';
