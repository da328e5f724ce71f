import { createHash } from 'node:crypto';
import { defined } from '../defined.ts';
import { asCodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ReplicationRecord } from '../records/replication-record.ts';
import { latest } from '../records/row-fields.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import type { LifecycleEvent } from '../sender/event.ts';
import type { Fact } from './line.ts';

/**
 * What of the work is told in the trail. Ids, digests, codes and names that the configuration
 * gives: never content, and no message of others, which may quote anything.
 */

/** What a pass wrote: of each backup what was done there; nothing if it wrote nothing. */
function writesOf(report: PassReport, primary: string): readonly Fact[] {
  const { link, certificate, verdict, backups, record } = report;
  const wrote = backups.filter((outcome) => outcome.wrote || outcome.actions.length > 0);
  if (wrote.length === 0) return [];
  const done = wrote.map(({ state, actions, error }) => {
    const before = record.backups.find(({ store }) => store === state.store);
    return defined({
      backup: state.store,
      actions,
      copy: state.id,
      fingerprint: state.fingerprint,
      copyBefore: before?.id === state.id ? undefined : before?.id,
      fingerprintBefore: before?.fingerprint === state.fingerprint ? undefined : before?.fingerprint,
      failed: error === undefined ? undefined : asCodedError(error).code,
    });
  });
  const { fingerprint } = report.primary ?? {};
  return [
    { kind: 'pass', link, certificate, primary, verdict: verdict.kind, ...defined({ fingerprint }), backups: done },
  ];
}

/**
 * What was refused, once for each finding: a pass that finds the same again has nothing to tell.
 */
function refusalsOf({ link, certificate, record, refusal, backups }: PassReport): readonly Fact[] {
  const about = { kind: 'refusal', link, certificate } as const;
  const of = (found: { readonly code: string; readonly facts: string; readonly since: number }) => ({
    code: found.code,
    finding: digestOfFacts(found.facts),
    happenedAt: found.since,
  });
  const byPolicy =
    refusal !== undefined && refusal.facts !== record.refusal?.facts ? [{ ...about, ...of(refusal) }] : [];
  const byBackups = backups.flatMap(({ state }) => {
    const before = record.backups.find(({ store }) => store === state.store)?.refusal;
    if (state.refusal === undefined || state.refusal.facts === before?.facts) return [];
    return [{ ...about, backup: state.store, ...of(state.refusal) }];
  });
  return [...byPolicy, ...byBackups];
}

/** Tells one refusal from another of the same code; what it is made of may hold anything. */
export const digestOfFacts = (facts: string): string => createHash('sha256').update(facts).digest('hex').slice(0, 16);

/** What a pass has to tell. `primary`: the id of its store. */
export const passFacts = (report: PassReport, primary: string): readonly Fact[] => [
  ...writesOf(report, primary),
  ...refusalsOf(report),
];

/**
 * The event that a pass answers, by the record that it claimed: for processes that are told of none
 * themselves. A pass that tries again has no event of its own.
 */
export function eventOfPass({ record }: PassReport): readonly Fact[] {
  const told = latest([record.eventAt, record.toldAt]);
  if (told === undefined || record.attempts > 0 || told <= (record.primary?.lookedAt ?? 0)) return [];
  return [eventOfRecord(record, told)];
}

/** An event as a record knows it. */
export function eventOfRecord(
  { eventAt, occurredAt, toldBy, certificate, link }: ReplicationRecord,
  told: number,
): Fact {
  return {
    kind: 'event',
    link,
    certificate,
    addedLater: true,
    happenedAt: told,
    sender: toldBy ?? '',
    certificates: [certificate],
    ...defined({ occurredAt: told === eventAt ? occurredAt : undefined }),
  };
}

interface Minute {
  readonly link: string;
  readonly sender: string;
  readonly since: number;
  told: number;
  fresh: number;
  repeats: number;
}

/**
 * Acknowledged events, one by one; repeats, and what is more than a sender tells on any ordinary
 * day, are counted, and told as a number each minute: who can send could fill the table otherwise.
 */
export function eventBook({ add, now }: { readonly add: (fact: Fact) => void; readonly now: () => number }) {
  const minutes = new Map<string, Minute>();

  function tell({ link, sender, since, fresh, repeats }: Minute): void {
    if (fresh + repeats > 0) add({ kind: 'events', link, sender, since, until: now(), fresh, repeats });
  }

  return {
    acknowledged(link: string, event: LifecycleEvent, answer: 'new' | 'repeat', sender: string): void {
      const at = now();
      const key = `${link}\n${sender}`;
      let minute = minutes.get(key);
      if (minute === undefined || at - minute.since >= 60_000) {
        if (minute !== undefined) tell(minute);
        minute = { link, sender, since: at, told: 0, fresh: 0, repeats: 0 };
        minutes.set(key, minute);
      }
      if (answer === 'repeat') minute.repeats += 1;
      else if (minute.told >= limits.auditEventsPerMinute) minute.fresh += 1;
      else {
        minute.told += 1;
        add(eventFact(link, event, sender));
      }
    },

    /** Tells what was counted in minutes that are over; with `all`, also in those that are not. */
    settle(all = false): void {
      for (const [key, minute] of minutes) {
        if (!all && now() - minute.since < 60_000) continue;
        tell(minute);
        minutes.delete(key);
      }
    },
  };
}

function eventFact(link: string, event: LifecycleEvent, sender: string): Fact {
  const { kind, type, certificates, hints = [], unsigned, eventId, occurredAt, digest, something } = event;
  return {
    kind: 'event',
    link,
    sender,
    event: kind,
    type,
    certificates: certificates.map(({ id }) => id),
    ...defined({
      hints: hints.length === 0 ? undefined : hints.length,
      everything: something,
      unsigned,
      eventId: eventId?.slice(0, limits.notificationTextCharacters),
      occurredAt,
    }),
    digest,
  };
}

/**
 * A configuration as digests of its parts, by which is said what has changed: of what is written
 * in the file, in which secrets stand by reference alone. A part is what two names lead to, such
 * as `links.shop`.
 */
export function settingsParts(
  written: ReadonlyMap<string, { readonly value: string }>,
): Readonly<Record<string, string>> {
  const parts = new Map<string, string[]>();
  for (const [path, { value }] of [...written].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const part = path.split('.').slice(0, 2).join('.');
    parts.set(part, [...(parts.get(part) ?? []), `${path}=${value}`]);
  }
  return Object.fromEntries([...parts].map(([part, values]) => [part, digestOfText(values.join('\n'))]));
}

const digestOfText = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32);

/** What has changed between two readings of a configuration; `undefined` if nothing has. */
export function settingsFact(
  before: Readonly<Record<string, string>> | undefined,
  after: Readonly<Record<string, string>>,
): Fact | undefined {
  const names = (wanted: (name: string) => boolean) =>
    [...new Set([...Object.keys(before ?? {}), ...Object.keys(after)])].filter(wanted).toSorted();
  const is = before ?? {};
  const added = names((name) => !Object.hasOwn(is, name));
  const removed = names((name) => !Object.hasOwn(after, name));
  const changed = names((name) => Object.hasOwn(is, name) && Object.hasOwn(after, name) && is[name] !== after[name]);
  if (before !== undefined && added.length + removed.length + changed.length === 0) return undefined;
  const inOrder = Object.entries(after).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const digest = digestOfText(JSON.stringify(inOrder));
  return before === undefined
    ? { kind: 'settings', digest, first: true }
    : { kind: 'settings', digest, added, removed, changed };
}
