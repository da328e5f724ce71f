import type { ReplicationRecord } from '../records/replication-record.ts';
import { latest } from '../records/row-fields.ts';
import type { AuditRows } from './audit-rows.ts';
import { digestOfFacts, eventOfRecord } from './facts.ts';
import { type Fact, type Line, momentOf, readLine } from './line.ts';

/**
 * What a crash left out, and what functions do that write no trail of their own, from what the
 * table knows: of each certificate the last acknowledged event, the last write to each backup, and
 * what is refused. Several of one kind within one round are one: the records know the last.
 */

/** How long what is told has to get to the table by itself, in milliseconds. */
const graceMs = 2 * 60_000;
/** How often a round is made, and how long one may take until another one may begin. */
const roundEveryMs = 5 * 60_000;
const roundMs = 10 * 60_000;
/** What a round tells at first of a table that has no trail yet. */
const firstMs = 3_600_000;

/** What happened by a record within this time, after `from` and up to `to`. */
function factsOfRecord(
  record: ReplicationRecord,
  { from, to, primary }: { readonly from: number; readonly to: number; readonly primary: string },
): readonly Fact[] {
  const { link, certificate } = record;
  const about = { link, certificate, addedLater: true } as const;
  const isIn = (moment: number | undefined): moment is number => moment !== undefined && moment > from && moment <= to;
  const told = latest([record.eventAt, record.toldAt]);
  const event: readonly Fact[] = isIn(told) ? [eventOfRecord(record, told)] : [];
  const writes = record.backups.flatMap(({ store, written }): readonly Fact[] => {
    if (written === undefined || !isIn(written.at)) return [];
    const { id, at, fingerprint } = written;
    const backups = [{ backup: store, actions: ['written'], copy: id, fingerprint }];
    return [{ ...about, kind: 'pass', happenedAt: at, primary, fingerprint, backups }];
  });
  const refused = [
    ...(record.refusal === undefined ? [] : [{ refusal: record.refusal, of: {} }]),
    ...record.backups.flatMap(({ store, refusal }) =>
      refusal === undefined ? [] : [{ refusal, of: { backup: store } }],
    ),
  ].flatMap(({ refusal: { code, facts, since }, of }): readonly Fact[] =>
    isIn(since) ? [{ ...about, ...of, kind: 'refusal', code, finding: digestOfFacts(facts), happenedAt: since }] : [],
  );
  return [...event, ...writes, ...refused];
}

/** By what a fact that was told is known again. */
function keysOf(
  fact: Pick<Line, 'kind' | 'link' | 'certificate'> & { readonly [name: string]: unknown },
): readonly string[] {
  const { kind, link, certificate, certificates, backups, backup, finding } = fact;
  if (kind === 'event' && Array.isArray(certificates)) return certificates.map((id) => `event ${link} ${id}`);
  if (kind === 'refusal') return [`refusal ${link} ${certificate} ${backup} ${finding}`];
  if (kind === 'pass' && Array.isArray(backups))
    return backups.map(
      (one: { backup?: unknown; fingerprint?: unknown }) =>
        `pass ${link} ${certificate} ${one.backup} ${one.fingerprint}`,
    );
  return [];
}

/**
 * What all chains tell of a link from a moment on: of each thing when it was told last. A chain is
 * not read from its beginning, as moments in it never go back: its blocks are halved.
 */
async function toldSince(rows: AuditRows, from: number): Promise<ReadonlyMap<string, number>> {
  const told = new Map<string, number>();
  for await (const chain of rows.chains()) {
    if ('unreadable' in chain || chain.lastAt < from) continue;
    const after = await numberBefore(rows, chain, from);
    for await (const block of rows.blocks(chain.writer, after)) {
      if ('unreadable' in block) continue;
      for (const text of block.lines) {
        const line = readLine(text);
        if (line === undefined) continue;
        for (const key of keysOf(line)) told.set(key, Math.max(told.get(key) ?? 0, momentOf(line)));
      }
    }
  }
  return told;
}

/** The number after which the first block begins that was written at this moment or later. */
async function numberBefore(
  rows: AuditRows,
  { writer, last }: { readonly writer: string; readonly last: number },
  from: number,
): Promise<number> {
  let [low, high] = [0, last];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const block = await rows.blockAfter(writer, middle);
    if (block === undefined || 'unreadable' in block || block.at >= from) high = middle;
    else low = Math.max(middle + 1, block.first);
  }
  return low;
}

/**
 * Adds to the trail of one link what nobody has told, as far as `records` know of it; once in five
 * minutes, whoever asks. Answers how much was added; `undefined` if it was not due, or another one
 * is at it. The moment up to which all is told is noted when `flush` says that it is on the table.
 */
export async function completeTrail(
  rows: AuditRows,
  given: {
    readonly link: string;
    readonly primary: string;
    readonly records: AsyncIterable<ReplicationRecord>;
    readonly now: number;
    readonly add: (fact: Fact) => void;
    readonly flush: () => Promise<boolean>;
  },
): Promise<number | undefined> {
  const { link, primary, records, now, add, flush } = given;
  const to = now - graceMs;
  const turn = await rows.takeRound(link, { now, until: now + roundMs, notSince: to - roundEveryMs });
  if (turn === 'taken') return undefined;
  const from = turn.upTo ?? to - firstMs;
  let added = 0;
  let isWritten = false;
  try {
    // An event is told within its grace, and what was told earlier may be of a clock that is ahead.
    const told = await toldSince(rows, from - graceMs);
    for await (const record of records) {
      for (const fact of factsOfRecord(record, { from, to, primary })) {
        const happened = fact.happenedAt ?? 0;
        if (keysOf(fact).every((key) => (told.get(key) ?? Number.NEGATIVE_INFINITY) >= happened - graceMs)) continue;
        add(fact);
        added += 1;
      }
    }
    isWritten = added === 0 || (await flush());
  } finally {
    await rows.endRound(link, isWritten ? to : undefined);
  }
  return added;
}
