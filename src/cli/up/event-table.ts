import type { PassReport } from '../../replication/pass/replicate.ts';
import type { LifecycleEvent } from '../../sender/event.ts';
import { screenOf, type Terminal } from '../output/screen.ts';
import { clean, cut, widthOf } from '../output/text.ts';

/** One event and what became of it. */
export interface EventRow {
  readonly kind: string;
  readonly link: string;
  readonly certificate: string;
  name: string;
  /** Epoch milliseconds; absent until a pass has seen it. */
  changedAt?: number;
  replicatedAt?: number;
  /** What stands in the last column: how the fingerprints compare, or why it waits. */
  outcome: string;
  done: boolean;
  equal: boolean;
}

/** How the copies of a certificate compare with the primary, by reading both back. */
export type ReadBack = (link: string, certificate: string) => Promise<boolean>;

export interface EventTable {
  acknowledged(link: string, event: LifecycleEvent, answer: 'new' | 'repeat'): void;
  passed(report: PassReport): void;
  /** Resolves with all rows when so many are done, or when the time is over. */
  rowsDone(count: number, withinMs: number): Promise<readonly EventRow[]>;
  /** Prints the heading. */
  start(): void;
}

const columns = [
  ['EVENT', 11],
  ['CERTIFICATE', 22],
  ['CHANGED', 13],
  ['IN THE BACKUP', 14],
  ['LAG', 8],
  ['FINGERPRINTS', 0],
] as const;

const mostRows = 1_000;

/**
 * The live table: a row for each certificate of each event. On a terminal rows appear at once and
 * fill in; elsewhere a line is printed when it is complete.
 */
export function eventTable(stream: Terminal, readBack: ReadBack): EventTable {
  const output = screenOf(stream);
  const rows: EventRow[] = [];
  const watchers = new Set<() => void>();
  let drawn = 0;

  function draw(finished?: EventRow): void {
    if (!output.isTTY) {
      if (finished) output.write(`${format(finished)}\n`);
      return;
    }
    // Only the rows at the end can still change; those above have scrolled out of reach.
    const open = rows.slice(-Math.max(5, (output.rows || 24) - 14));
    const lines = open.map(format).map((line) => cut(line, (output.columns || 120) - 1));
    if (drawn > 0) output.move({ up: drawn });
    output.write(`${lines.join('\n')}\n`);
    drawn = lines.length;
  }

  function finish(row: EventRow, outcome: string, equal: boolean): void {
    // Passes that begin again are told together, and each has the copies read back.
    if (row.done) return;
    Object.assign(row, { outcome, equal, done: true });
    draw(row);
    for (const watcher of watchers) watcher();
  }

  return {
    start: () => output.write(`${columns.map(([title, width]) => title.padEnd(width)).join('')}\n`),
    acknowledged(link, event, answer) {
      if (answer === 'repeat') return;
      for (const { id, name } of event.certificates) {
        rows.push({ kind: event.kind, link, certificate: id, name, outcome: '…', done: false, equal: false });
      }
      rows.splice(0, rows.length - mostRows);
      draw();
    },
    passed(report) {
      const open = rows.filter(
        (row) => !row.done && row.link === report.link && row.certificate === report.certificate,
      );
      for (const row of open) {
        row.name = report.primary?.name ?? row.name;
        const outcome = describe(report);
        if (report.verdict.kind !== 'sound') {
          finish(row, outcome, false);
        } else if (report.backups.every(({ equal }) => equal)) {
          const moments = report.backups.map(({ state }) => state.replicatedAt ?? report.committedAt);
          row.changedAt = report.primary?.changedAt ?? report.committedAt;
          row.replicatedAt = Math.max(...moments);
          readBack(row.link, row.certificate).then(
            (equal) => finish(row, equal ? 'equal' : 'DIFFERENT', equal),
            () => finish(row, 'could not be read back', false),
          );
        } else {
          row.outcome = outcome;
          draw();
        }
      }
    },
    rowsDone: (count, withinMs) =>
      new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          watchers.delete(check);
          resolve(rows);
        };
        const check = () => rows.filter((row) => row.done).length >= count && done();
        const timer = setTimeout(done, withinMs);
        watchers.add(check);
        check();
      }),
  };
}

function describe({ verdict, backups }: PassReport): string {
  if (verdict.kind === 'refused') return `not copied: ${verdict.error.code}`;
  if (verdict.kind === 'unreadable') return `primary: ${verdict.error.code}`;
  if (verdict.kind === 'absent') return 'gone from the primary; copies stay';
  if (verdict.kind === 'aside')
    return {
      keyless: 'not copied: has no private key',
      withheld: 'not copied: its private key is not given',
      excluded: 'not included',
      marked: 'is itself a copy',
      authority: 'not copied: is an authority',
      circle: 'came from the backup',
    }[verdict.why];
  return backups.find(({ error }) => error !== undefined)?.error?.code ?? 'waiting';
}

function format(row: EventRow): string {
  const { changedAt, replicatedAt } = row;
  const lag =
    changedAt === undefined || replicatedAt === undefined ? '' : `${Math.max(0, replicatedAt - changedAt)} ms`;
  const cells = [row.kind, row.name || row.certificate, clock(changedAt), clock(replicatedAt), lag, row.outcome];
  return columns.map(([, width], index) => inColumn(cells[index] ?? '', width)).join('');
}

function clock(moment: number | undefined): string {
  return moment === undefined ? '' : new Date(moment).toISOString().slice(11, 23);
}

/** Padded to the column, or cut to it. Cells may be foreign text. */
function inColumn(text: string, width: number): string {
  if (width === 0) return clean(text);
  const shown = cut(clean(text), width - 1);
  return shown + ' '.repeat(width - widthOf(shown));
}
