import { asCodedError, type CodedError } from '../errors.ts';
import { visible } from '../foreign-text.ts';
import { limits } from '../limits.ts';
import type { ReplicationRecord, UnreadableRecord } from '../records/replication-record.ts';
import type { Link } from '../replication/link.ts';
import { type Standing, standingOf } from '../replication/standing.ts';
import { type LinkStatus, lagOf } from '../replication/status.ts';

/**
 * What the console knows of one link at one moment: its status, and of each certificate as much as
 * finds and orders it. What a page shows of a certificate is read from its record when it is shown.
 */

/** What the console asks of the program. Each throws what the table throws. */
export interface Estate {
  readonly links: readonly Link[];
  /** A store by the name that the configuration gives it. */
  nameOf(store: string): string;
  /** The same text with such names in the place of ids. */
  wording(text: string): string;
  /** How often everything is to be compared, in milliseconds. */
  readonly reconcileEveryMs: number;
  /**
   * The status of a link. What it reads for that is told to what `begin` answers, each record once:
   * all records are read once for both.
   */
  status(link: Link, begin: () => Collector): Promise<LinkStatus>;
  record(link: Link, certificate: string): Promise<ReplicationRecord | undefined>;
  /** When the first reconcile of a link began, epoch milliseconds: lags are told from then on. */
  firstReconciledAt(link: Link): Promise<number | undefined>;
}

/** Who is told of each record of a link, in any order. */
export interface Collector {
  add(record: ReplicationRecord): void;
  addUnreadable(record: UnreadableRecord): void;
}

/** How a certificate stands, the worst first: the order of every list. */
export const states = ['unreadable', 'refused', 'behind', 'on-its-way', 'gone', 'same', 'aside'] as const;
export type State = (typeof states)[number];

/** A certificate in a list. */
export interface Listed {
  readonly certificate: string;
  readonly name: string;
  readonly state: State;
  /** When what the primary holds ends, epoch milliseconds. */
  readonly notAfter?: number;
}

/** The changes of one day that came to the backups, and how long the slowest of them took. */
export interface LagOfDay {
  readonly changes: number;
  readonly maxMs: number;
}

export interface LinkView {
  /** When it was made, and how long that took, epoch milliseconds and milliseconds. */
  readonly at: number;
  readonly tookMs: number;
  readonly status: LinkStatus;
  /** The worst first; of those that are alike, what expires first. */
  readonly listed: readonly Listed[];
  readonly counts: Readonly<Record<State, number>>;
  /** Of the last 30 days, today last. */
  readonly lags: readonly LagOfDay[];
  /** How many expire on each of the coming 100 days, today first; days are those of UTC. */
  readonly expiries: readonly number[];
}

export const dayMs = 86_400_000;
export const lagDays = 30;
const expiryDays = 100;
/** The day of UTC on which a moment lies, counted from 1970. */
export const dayOf = (moment: number): number => Math.floor(moment / dayMs);

const stateOfStanding = {
  equal: 'same',
  aside: 'aside',
  gone: 'gone',
  refused: 'refused',
  failing: 'behind',
  waiting: 'on-its-way',
} as const satisfies Record<Standing['kind'], State>;

/** In which list a certificate stands. */
export const stateOf = (standing: Standing): State => stateOfStanding[standing.kind];

/** Reads all records of a link once. Throws what the table throws. */
async function viewOf(estate: Estate, link: Link, now: () => number): Promise<LinkView> {
  const at = now();
  const beganAt = (await estate.firstReconciledAt(link)) ?? at;
  let seen = collected(link, at, beganAt);
  const status = await estate.status(link, () => {
    seen = collected(link, at, beganAt);
    return seen;
  });
  return { at, status, ...seen.result(), tookMs: now() - at };
}

/** What a view holds of the records; memory grows with the estate, by a name and an id each. */
function collected(link: Link, now: number, beganAt: number) {
  const today = dayOf(now);
  const lists = Object.fromEntries(states.map((state) => [state, [] as Listed[]])) as Record<State, Listed[]>;
  const lags = Array.from({ length: lagDays }, () => ({ changes: 0, maxMs: 0 }));
  const expiries = Array.from({ length: expiryDays }, () => 0);

  function addLag(record: ReplicationRecord): void {
    const changedAt = record.primary?.changedAt ?? Number.NEGATIVE_INFINITY;
    const lag = lagOf(record);
    const day = lags[lagDays - 1 - (today - dayOf(changedAt))];
    if (lag === undefined || day === undefined || changedAt < beganAt) return;
    day.changes += 1;
    day.maxMs = Math.max(day.maxMs, lag);
  }

  return {
    addUnreadable: ({ certificate }: UnreadableRecord) =>
      void lists.unreadable.push({ certificate, name: certificate, state: 'unreadable' }),
    add(record: ReplicationRecord): void {
      const { certificate, primary } = record;
      const state = stateOf(standingOf(link, record));
      const { name = certificate, notAfter } = primary ?? {};
      lists[state].push({ certificate, name, state, ...(notAfter !== undefined && { notAfter }) });
      if (state === 'gone' || state === 'aside') return;
      if (state === 'same') addLag(record);
      if (notAfter === undefined || notAfter < now) return;
      const ahead = dayOf(notAfter) - today;
      if (ahead < expiryDays) expiries[ahead] = (expiries[ahead] ?? 0) + 1;
    },
    result() {
      const counts = Object.fromEntries(states.map((state) => [state, lists[state].length])) as LinkView['counts'];
      const listed = states.flatMap((state) => lists[state].sort(byEnd));
      return { listed, counts, lags, expiries };
    },
  };
}

function byEnd(one: Listed, other: Listed): number {
  const [a, b] = [one.notAfter ?? Number.POSITIVE_INFINITY, other.notAfter ?? Number.POSITIVE_INFINITY];
  if (a !== b) return a - b;
  if (one.name !== other.name) return one.name < other.name ? -1 : 1;
  return one.certificate < other.certificate ? -1 : 1;
}

/** The views of the links, made when somebody looks, and forgotten when nobody does. */
export interface LinkViews {
  /** Throws what the table throws: what was known before is not shown for what is. */
  get(link: Link): Promise<LinkView>;
  forget(): void;
}

/** A view is made anew after this, and never in more than a tenth of the time. */
const freshMs = 1_000;
const shareOfTime = 10;
/** What takes no longer than this is waited for; else the view before is shown, with its time. */
const patienceMs = 250;
/** No view that is older than this is shown. */
const oldMs = 600_000;

/** What is known of a link: the last view, the one that is being made, and why there is none. */
interface Entry {
  view?: LinkView;
  making?: Promise<LinkView> | undefined;
  failed?: { readonly error: CodedError; readonly until: number } | undefined;
}

/** `idleMs`: after how long without anybody who looks all is forgotten. */
export function linkViews(estate: Estate, now: () => number, idleMs: number = limits.consoleIdleMs): LinkViews {
  let idle: NodeJS.Timeout | undefined;
  const kept = new Map<Link, Entry>();

  function make(link: Link, entry: Entry): Promise<LinkView> {
    const { failed } = entry;
    const beganAt = now();
    const waits = failed !== undefined && beganAt < failed.until && beganAt > failed.until - oldMs;
    if (waits && entry.making === undefined) return Promise.reject(failed.error);
    entry.making ??= viewOf(estate, link, now).then(
      (view) => {
        entry.making = undefined;
        entry.view = view;
        entry.failed = undefined;
        return view;
      },
      (thrown: unknown) => {
        entry.making = undefined;
        delete entry.view;
        const error = asCodedError(thrown);
        // A table that fails is not read anew by each page that is loaded anew.
        entry.failed = { error, until: now() + Math.max(freshMs, shareOfTime * (now() - beganAt)) };
        throw error;
      },
    );
    return entry.making;
  }

  return {
    async get(link) {
      clearTimeout(idle);
      idle = setTimeout(() => kept.clear(), idleMs).unref();
      const entry = kept.get(link) ?? {};
      kept.set(link, entry);
      const { view } = entry;
      if (view === undefined) return make(link, entry);
      const age = now() - view.at;
      if (age >= 0 && age < Math.min(oldMs, Math.max(freshMs, shareOfTime * view.tookMs))) return view;
      const made = make(link, entry);
      if (view.tookMs <= patienceMs || age < 0 || age > oldMs) return made;
      // What fails is told to whoever looks next.
      made.catch(() => undefined);
      return view;
    },
    forget() {
      clearTimeout(idle);
      kept.clear();
    },
  };
}

/** What a person looks for among the certificates of a link. */
export interface Wanted {
  /** Part of a name or an id, in capitals or not. */
  readonly text: string;
  readonly state?: State | undefined;
  /** A day of UTC on which it expires, counted from 1970. */
  readonly expires?: number | undefined;
}

/** Those of a view that somebody looks for, in its order: so many from one on, and how many. */
export function found(
  { listed }: LinkView,
  { text, state, expires }: Wanted,
  page: { readonly from: number; readonly most: number },
): { readonly rows: readonly Listed[]; readonly of: number } {
  const part = text.toLowerCase();
  // What nobody sees comes back to whoever searched for it spelled out, and is searched for so.
  const isSpelled = part.includes('\\u{');
  const has = (given: string) => (isSpelled ? visible(given) : given).toLowerCase().includes(part);
  const rows: Listed[] = [];
  let of = 0;
  for (const row of listed) {
    if (state !== undefined && row.state !== state) continue;
    if (expires !== undefined && (row.notAfter === undefined || dayOf(row.notAfter) !== expires)) continue;
    if (expires !== undefined && (row.state === 'gone' || row.state === 'aside')) continue;
    if (part !== '' && !has(row.name) && !has(row.certificate)) continue;
    if (of >= page.from && rows.length < page.most) rows.push(row);
    of += 1;
  }
  return { rows, of };
}
