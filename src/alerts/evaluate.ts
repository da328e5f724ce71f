import { limits } from '../limits.ts';
import type { AlertRows, FindingRow } from './alert-rows.ts';
import type { Severity } from './message.ts';

/** A finding as it is seen now. */
export interface Seen {
  readonly id: string;
  /** Absent: it is about no link. */
  readonly link?: string;
  readonly severity: Severity;
  readonly words: readonly string[];
  /** Since when, epoch milliseconds; absent: nothing tells. */
  readonly since?: number;
  readonly mayPass?: true;
}

export interface AlertTimes {
  /** How long what may pass by itself must stand before anybody is told. */
  readonly afterMs: number;
  /** How often what stands is told again. */
  readonly repeatMs: number;
}

/**
 * So long nothing must be seen of a finding until it is over: one that comes and goes is one that
 * stands.
 */
const settlesMs = 5 * 60_000;
/** A row need not say more exactly when its finding was last seen. */
const seenEveryMs = 60_000;

/**
 * Brings the rows of findings up to what is seen now. `unseen`: whether a link could not be looked
 * at, so that nothing of it is over. `isToldToAll`: whether every channel has heard the last of a
 * finding. Two workers may do this at the same moment. Throws what the table throws.
 */
export async function evaluate(
  rows: AlertRows,
  given: {
    readonly seen: readonly Seen[];
    readonly found: readonly FindingRow[];
    readonly unseen: (link: string | undefined) => boolean;
    readonly isToldToAll: (row: FindingRow) => boolean;
    readonly times: AlertTimes;
    readonly now: number;
  },
): Promise<void> {
  const { found, unseen, isToldToAll, times, now } = given;
  const seen = mergedById(given.seen);
  const known = new Map(found.map((row) => [row.id, row]));
  for (const finding of seen.values()) {
    const row = known.get(finding.id);
    if (row === undefined) await begin(rows, finding, { times, now });
    else await goesOn(rows, row, finding, { times, now });
  }
  for (const row of found) {
    if (seen.has(row.id) || unseen(row.link)) continue;
    if (row.state === 'over') {
      if (isToldToAll(row) && !isMuted(row, now)) await rows.end(row);
    } else if (now - row.seenAt >= settlesMs) {
      if (row.state === 'waiting') await rows.end(row);
      else await rows.change(row, { state: 'over', version: row.version + 1, toldAt: now, endedAt: now });
    }
  }
}

export const isMuted = ({ mutedUntil = 0 }: FindingRow, now: number): boolean => mutedUntil > now;

type Moment = { readonly times: AlertTimes; readonly now: number };

async function begin(rows: AlertRows, finding: Seen, { times, now }: Moment): Promise<void> {
  const { mayPass: _, since = now, ...kept } = finding;
  const first = { ...kept, words: [...kept.words], since, firstSeenAt: now, seenAt: now };
  if (isRipe(finding, now, { times, now })) await rows.begin({ ...first, state: 'open', version: now, toldAt: now });
  else await rows.begin({ ...first, state: 'waiting', version: 0 });
}

async function goesOn(rows: AlertRows, row: FindingRow, finding: Seen, moment: Moment): Promise<void> {
  const { now, times } = moment;
  const words = [...finding.words];
  const { version, state } = row;
  if (state === 'waiting') {
    // Somebody who looks later than it began knows more than when it was first seen.
    const since = finding.since ?? row.since;
    const seen = { words, severity: finding.severity, since, seenAt: now };
    if (isRipe(finding, row.firstSeenAt, moment))
      await rows.change(row, { ...seen, state: 'open', version: now, toldAt: now });
    else await rows.change(row, seen);
    return;
  }
  const isWorse = finding.severity === 'critical' && row.severity === 'warning';
  if (state === 'over') {
    // It is told as a new one to whoever heard that it was over.
    const again = { since: finding.since ?? now, firstSeenAt: now, seenAt: now, words, severity: finding.severity };
    await rows.change(row, { ...again, state: 'open', version: version + 1, toldAt: now }, ['endedAt']);
    return;
  }
  const { toldAt = row.firstSeenAt, acknowledgedUntil = 0, seenAt } = row;
  const isQuiet = isMuted(row, now) || acknowledgedUntil > now;
  const isDue = (!isQuiet && now - toldAt >= times.repeatMs) || isWorse;
  if (isDue) {
    const severity = isWorse ? finding.severity : row.severity;
    await rows.change(row, { words, seenAt: now, severity, version: version + 1, toldAt: now });
  } else if (now - seenAt >= seenEveryMs) await rows.change(row, { words, seenAt: now });
}

/** Whether it is time to tell of a finding that was first seen then. */
function isRipe({ mayPass, since }: Seen, firstSeenAt: number, { times, now }: Moment): boolean {
  if (mayPass !== true) return true;
  return now - firstSeenAt >= times.afterMs && (since === undefined || now - since >= times.afterMs);
}

/** Findings that are one by name are told as one. Words that are too long are cut. */
function mergedById(seen: readonly Seen[]): ReadonlyMap<string, Seen> {
  const merged = new Map<string, Seen>();
  for (const finding of seen) {
    const before = merged.get(finding.id);
    const words = within([...(before?.words ?? []), ...finding.words]);
    merged.set(finding.id, { ...(before ?? finding), words });
  }
  return merged;
}

function within(words: readonly string[]): readonly string[] {
  const kept: string[] = [];
  let left: number = limits.alertCharacters;
  for (const line of words) {
    if (left <= 0) break;
    kept.push(line.length <= left ? line : `${line.slice(0, left - 1).replace(/[\ud800-\udbff]$/, '')}…`);
    left -= line.length;
  }
  return kept;
}
