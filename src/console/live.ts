import { limits } from '../limits.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import type { LifecycleEvent } from '../sender/event.ts';
import type { State } from './link-view.ts';

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
  acknowledged(link: string, event: LifecycleEvent, answer: 'new' | 'repeat'): void;
  passed(report: PassReport): void;
  /** The last rows, the newest first. */
  rows(): readonly LiveRow[];
  /**
   * Told of each row that is new or has changed; one who throws is passed over. Answers what ends
   * that.
   */
  watch(told: (row: LiveRow) => void): () => void;
}

/** `failed` is told what a watcher throws. */
export function liveEvents(now: () => number, failed: (thrown: unknown) => void = () => {}): Live {
  let rows: readonly LiveRow[] = [];
  let changes = 0;
  let ids = 0;
  const watchers = new Set<(row: LiveRow) => void>();

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

  return {
    acknowledged(link, event, answer) {
      if (answer === 'repeat' || !event.changes) return;
      const at = now();
      for (const { id: certificate, name } of event.certificates)
        add({ link, certificate, name: name || certificate, kind: event.kind, at, state: 'on-its-way' });
    },
    passed(report) {
      const { link, certificate, primary, committedAt } = report;
      const state = stateAfter(report);
      const lagMs = state === 'same' ? lagOfPass(report) : undefined;
      const found = {
        state,
        ...(primary !== undefined && { name: primary.name }),
        ...(lagMs !== undefined && { lagMs }),
      };
      const open = rows.filter((row) => row.link === link && row.certificate === certificate && isOpen(row));
      // What reconcile or a watch found was told by nobody.
      if (open.length === 0 && report.backups.some(({ wrote }) => wrote))
        add({ link, certificate, name: certificate, kind: 'seen', at: committedAt, ...found });
      for (const row of open) {
        changes += 1;
        const changed = { ...row, ...found, change: changes };
        rows = rows.map((one) => (one === row ? changed : one));
        tell(changed);
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
const isOpen = ({ state }: LiveRow): boolean => state === 'on-its-way' || state === 'behind';

function lagOfPass({ primary, backups, committedAt }: PassReport): number | undefined {
  if (primary === undefined) return undefined;
  const moments = backups.map(({ state }) => state.replicatedAt ?? committedAt);
  return Math.max(0, Math.max(...moments) - primary.changedAt);
}

function stateAfter({ verdict, backups }: PassReport): State {
  if (verdict.kind === 'refused') return 'refused';
  if (verdict.kind === 'unreadable') return 'behind';
  if (verdict.kind === 'absent') return 'gone';
  if (verdict.kind === 'aside') return 'aside';
  if (backups.every(({ equal }) => equal)) return 'same';
  if (backups.some(({ refused }) => refused === true)) return 'refused';
  return backups.some(({ error }) => error !== undefined) ? 'behind' : 'on-its-way';
}
