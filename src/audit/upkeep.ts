import type { PublicKey } from '../certificate/public-key.ts';
import { limits } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { AuditRows, Block, ChainRow } from './audit-rows.ts';
import {
  type Base,
  type ChainEnd,
  type Proven,
  provenBase,
  provenCheckpoint,
  provenHorizon,
  signBase,
  signCheckpoint,
  signHorizon,
} from './checkpoint.ts';
import { digestOf, noDigest, readLine } from './line.ts';

/** What upkeep is done with. `privateKeyPem` signs; `publicKey` is its other half. */
export interface Upkeep {
  readonly rows: AuditRows;
  readonly runtime: Pick<Runtime, 'now' | 'newId'>;
  readonly log: Log;
  readonly key: { readonly privateKeyPem: string; readonly publicKey: PublicKey };
  /** Ends it after the row that is worked on, with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** A line up to which a chain is known, its digest, and when it was written. */
type Reached = Omit<ChainEnd, 'writer'>;

const beginning: Reached = { last: 0, digest: noDigest, lastAt: 0 };

/** How far the lines of a block go on from what was reached; `undefined` if they do not. */
function goOn(writer: string, { first, lines }: Block, from: Reached): Reached | undefined {
  if (first !== from.last + 1) return undefined;
  let reached = from;
  for (const text of lines) {
    const line = readLine(text);
    if (line?.writer !== writer || line.number !== reached.last + 1 || line.before !== reached.digest) return undefined;
    reached = { last: line.number, digest: digestOf(text), lastAt: Date.parse(line.at) };
  }
  return reached;
}

/**
 * Where a chain stands after each of its rows, from a line on; `conflict` once, at the end, where a
 * row does not go on from what was before.
 */
async function* stepsFrom(rows: AuditRows, writer: string, from: Reached): AsyncGenerator<Reached | 'conflict'> {
  let reached = from;
  for await (const block of rows.blocks(writer, from.last)) {
    const next = 'unreadable' in block ? undefined : goOn(writer, block, reached);
    if (next === undefined) {
      yield 'conflict';
      return;
    }
    reached = next;
    yield reached;
  }
}

/** What a checkpoint on the table tells of a chain; `at`: when it was signed. */
interface Witness extends ChainEnd {
  readonly at: number;
}

/** What this key has signed, as it stands on the table. */
async function witnessesOn(rows: AuditRows, key: PublicKey) {
  const checkpoints: { readonly sort: string; readonly at: number; readonly writers: readonly string[] }[] = [];
  const witnesses = new Map<string, Witness[]>();
  /** Of other keys, by when their rows say that they were made. */
  const others: { readonly sort: string; readonly at: number }[] = [];
  for await (const { sort, signed } of rows.checkpoints()) {
    const found = provenCheckpoint(signed, [key]);
    if (found.state === 'another-key') others.push({ sort, at: Date.parse(sort.slice(0, 24)) });
    if (found.state !== 'holds') continue;
    const { at, chains } = found.value;
    checkpoints.push({ sort, at, writers: chains.map(({ writer }) => writer) });
    for (const end of chains) {
      const of = witnesses.get(end.writer) ?? [];
      of.push({ ...end, at });
      witnesses.set(end.writer, of);
    }
  }
  return { checkpoints, witnesses, others };
}

/** What is written down of where chains begin, and whether this key has signed it. */
async function basesOn(rows: AuditRows, key: PublicKey) {
  const bases = new Map<string, Proven<Base>>();
  let horizon: ReturnType<typeof provenHorizon> | undefined;
  for await (const { writer, signed } of rows.bases()) {
    if (writer === undefined) horizon = provenHorizon(signed, [key]);
    else bases.set(writer, provenBase(signed, [key]));
  }
  return { bases, horizon };
}

/** Where a chain begins by its base; `undefined` where one stands there that proves nothing. */
function begunAt(writer: string, base: Proven<Base> | undefined): Reached | undefined {
  if (base === undefined) return beginning;
  if (base.state !== 'holds' || base.value.writer !== writer) return undefined;
  return { last: base.value.number, digest: base.value.digest, lastAt: 0 };
}

/**
 * Signs how far the chains go that have told something since the last checkpoint of this key, and
 * keeps it on the table; nothing if none has, or the last one is younger than `everyMs`. Only what
 * goes on, line by line, from what this key has signed before is signed: what does not is logged,
 * and `verify` names it. What was signed under a clock that is ahead counts for nothing here.
 * Answers whether one was made. Throws what the table throws.
 */
export async function keepCheckpoint({ rows, runtime, log, key, signal }: Upkeep, everyMs: number): Promise<boolean> {
  const now = runtime.now();
  const { checkpoints, witnesses } = await witnessesOn(rows, key.publicKey);
  if (checkpoints.some(({ at }) => at <= now && now - at < everyMs)) return false;
  const { bases } = await basesOn(rows, key.publicKey);
  const fresh: ChainEnd[] = [];
  for await (const row of rows.chains()) {
    signal?.throwIfAborted();
    const writer = 'unreadable' in row ? row.sort : row.writer;
    const known = (witnesses.get(writer) ?? []).filter(({ at }) => at <= now);
    const starts = [begunAt(writer, bases.get(writer)), ...known];
    let from: Reached | undefined;
    for (const start of starts) if (start !== undefined && start.last >= (from?.last ?? 0)) from = start;
    // Another key says where it begins, and this one has not seen it yet.
    if (from === undefined) continue;
    let end: Reached | undefined;
    for await (const step of stepsFrom(rows, writer, from)) {
      if (step !== 'conflict') end = step;
      else log('error', 'audit_chain_not_signed', { writer, number: (end ?? from).last + 1 });
    }
    if (end !== undefined) fresh.push({ writer, ...end });
  }
  for (let from = 0; from < fresh.length; from += limits.auditCheckpointChains) {
    const chains = fresh.slice(from, from + limits.auditCheckpointChains);
    const sort = `${new Date(now).toISOString()}-${runtime.newId().slice(0, 8)}`;
    await rows.saveCheckpoint(sort, signCheckpoint({ at: now, chains }, key.privateKeyPem));
  }
  return fresh.length > 0;
}

/**
 * How far retention goes forward in one run, in milliseconds: a clock that is wrong takes no more
 * than this of the trail each day.
 */
const mostForwardMs = 2 * 86_400_000;

/**
 * Whether it is for this key to remove what is old: the first one that does so is the one.
 */
export async function removesHere({ rows, key }: Pick<Upkeep, 'rows' | 'key'>): Promise<boolean> {
  const { horizon } = await basesOn(rows, key.publicKey);
  return horizon === undefined || horizon.state === 'holds';
}

/**
 * Removes what is older than `keepMs`, so that what stays can be proven. Old is what a checkpoint
 * of this key tells of that is old itself, and its line as well: no field of a row that anybody may
 * change says so. A chain is cut at its beginning; one that ended goes whole. What does not fit
 * together, or is not what a checkpoint tells of, stays: retention covers nothing up. What is to go
 * is signed and written down first, so that a death in between leaves nothing that looks like a
 * removal by somebody else. Answers how many rows of lines went. Throws what the table throws.
 */
export async function removeOld(upkeep: Upkeep, keepMs: number): Promise<number> {
  const { rows, runtime, log, key, signal } = upkeep;
  const now = runtime.now();
  const { checkpoints, witnesses, others } = await witnessesOn(rows, key.publicKey);
  const { bases, horizon } = await basesOn(rows, key.publicKey);
  if (horizon !== undefined && horizon.state !== 'holds') return 0;
  const oldest = checkpoints.reduce((least, { at }) => Math.min(least, at), Number.POSITIVE_INFINITY);
  const reached = horizon?.value.before ?? 0;
  const before = Math.min(now - keepMs, Math.max(reached, oldest) + mostForwardMs);
  if (oldest >= before) return 0;
  if (before > reached) {
    const signed = signHorizon({ at: now, before }, key.privateKeyPem);
    if (!(await rows.saveBase(undefined, signed, before))) {
      log('error', 'audit_old_not_removed', { reason: 'what says which chains were removed has gone backwards' });
      return 0;
    }
  }
  let removed = 0;
  const present = new Set<string>();
  const refused = new Set<string>();
  for await (const row of rows.chains()) {
    signal?.throwIfAborted();
    const writer = 'unreadable' in row ? row.sort : row.writer;
    present.add(writer);
    const given = { base: bases.get(writer), witnesses: witnesses.get(writer) ?? [], before };
    const went = 'unreadable' in row ? 'conflict' : await removeOldOf(upkeep, row, given);
    if (went !== 'conflict') {
      removed += went;
      continue;
    }
    refused.add(writer);
    log('error', 'audit_old_not_removed', { writer });
  }
  // What a death has left of a chain of which all else is gone.
  for (const [writer, base] of bases) {
    const end = begunAt(writer, base)?.last;
    if (present.has(writer) || end === undefined) continue;
    const isWhole = (witnesses.get(writer) ?? []).every(({ last }) => last <= end);
    if (isWhole && (await rows.blockAfter(writer, 0)) === undefined) await rows.removeChain(writer);
  }
  const old = checkpoints.filter(({ at, writers }) => at < before && !writers.some((writer) => refused.has(writer)));
  for (const { sort } of [...old, ...others.filter(({ at }) => at < before)]) await rows.removeCheckpoint(sort);
  if (removed > 0) log('info', 'audit_old_removed', { rows: removed, before: new Date(before).toISOString() });
  return removed;
}

/**
 * Removes the old lines of one chain, and the chain if it has no others. Answers how many rows
 * went; `conflict` where the chain is not the one of which the checkpoints tell.
 */
async function removeOldOf(
  { rows, runtime, key }: Upkeep,
  { writer, last, begunAt: rowAt }: ChainRow,
  given: {
    readonly base: Proven<Base> | undefined;
    readonly witnesses: readonly Witness[];
    readonly before: number;
  },
): Promise<number | 'conflict'> {
  const { base, witnesses, before } = given;
  const begun = begunAt(writer, base);
  if (begun === undefined) return 'conflict';
  const isOld = ({ at, lastAt }: Witness) => at < before && lastAt < before;
  let upTo: Witness | undefined;
  for (const one of witnesses) if (isOld(one) && one.last >= (upTo?.last ?? begun.last)) upTo = one;
  if (upTo === undefined) {
    // Of a process that died before its first line there is this row, and nothing else.
    const isEmpty = last === 0 && rowAt < before && base === undefined && witnesses.length === 0;
    if (isEmpty && (await rows.blockAfter(writer, 0)) === undefined) await rows.removeChain(writer);
    return 0;
  }
  const { last: number, digest } = upTo;
  const isNot = (at: Reached) => witnesses.some((one) => one.last === at.last && one.digest !== at.digest);
  let reached = begun;
  if (number > begun.last)
    for await (const step of stepsFrom(rows, writer, begun)) {
      if (step === 'conflict' || isNot(step)) return 'conflict';
      reached = step;
      if (reached.last >= number) break;
    }
  if (reached.last !== number || reached.digest !== digest) return 'conflict';
  const isEnd = (await rows.blockAfter(writer, number)) === undefined;
  // Somebody says that it goes on, and it does not.
  if (isEnd && (last > number || witnesses.some((one) => one.last > number))) return 'conflict';
  if (number > begun.last) {
    const signed = signBase({ at: runtime.now(), before, writer, number, digest }, key.privateKeyPem);
    if (!(await rows.saveBase(writer, signed, number))) return 'conflict';
  }
  // Persons first: their lines are what is found again after a death.
  for await (const person of rows.people(writer))
    if (person.number <= number) await rows.erasePerson(writer, person.number);
  let removed = 0;
  for await (const block of rows.blocks(writer)) {
    if ('unreadable' in block) continue;
    if (block.first > number) break;
    await rows.removeBlock(writer, block.first);
    removed += 1;
  }
  if (isEnd) await rows.removeChain(writer);
  return removed;
}
