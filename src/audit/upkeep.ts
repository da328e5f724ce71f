import type { PublicKey } from '../certificate/public-key.ts';
import { limits } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { AuditRows, ChainRow } from './audit-rows.ts';
import { type ChainEnd, provenBase, provenCheckpoint, signBase, signCheckpoint, signHorizon } from './checkpoint.ts';
import { digestOf, noDigest, readLine } from './line.ts';

/** What upkeep is done with. `privateKeyPem` signs; `publicKey` is its other half. */
export interface Upkeep {
  readonly rows: AuditRows;
  readonly runtime: Pick<Runtime, 'now' | 'newId'>;
  readonly log: Log;
  readonly key: { readonly privateKeyPem: string; readonly publicKey: PublicKey };
}

/** How far one chain goes, by its lines themselves. */
async function endOf(rows: AuditRows, row: ChainRow): Promise<ChainEnd | undefined> {
  let end: ChainEnd | undefined;
  // The row says how far it went at the least; the block that holds that line is the last or near.
  const after = Math.max(0, row.last - limits.auditBlockLines);
  for await (const block of rows.blocks(row.writer, after)) {
    if ('unreadable' in block) continue;
    const text = block.lines.at(-1) ?? '';
    const line = readLine(text);
    if (line === undefined) continue;
    end = { writer: row.writer, last: line.number, digest: digestOf(text), lastAt: Date.parse(line.at) };
  }
  return end;
}

/**
 * How far all chains go now, or those that have told something since a moment: for a checkpoint.
 * Throws what the table throws; a row that cannot be understood is passed over, and `verify` tells
 * of it.
 */
export async function chainEnds(rows: AuditRows, since = 0): Promise<readonly ChainEnd[]> {
  const ends: ChainEnd[] = [];
  for await (const row of rows.chains()) {
    if ('unreadable' in row || row.lastAt < since) continue;
    const end = await endOf(rows, row);
    if (end !== undefined) ends.push(end);
  }
  return ends;
}

/** A chain that tells late of what it wrote: its row is written after its lines. */
const lateMs = 3_600_000;

/**
 * Signs how far the chains went that have told something since the last checkpoint of this key, and
 * keeps it on the table; nothing if none has, or the last one is younger than `everyMs`. Answers
 * whether one was made.
 */
export async function keepCheckpoint({ rows, runtime, key }: Upkeep, everyMs: number): Promise<boolean> {
  const known = new Map<string, number>();
  let lastAt: number | undefined;
  for await (const { signed } of rows.checkpoints()) {
    const found = provenCheckpoint(signed, [key.publicKey]);
    if (found.state !== 'holds') continue;
    lastAt = Math.max(lastAt ?? 0, found.value.at);
    for (const { writer, last } of found.value.chains) known.set(writer, Math.max(known.get(writer) ?? 0, last));
  }
  const now = runtime.now();
  if (lastAt !== undefined && now >= lastAt && now - lastAt < everyMs) return false;
  const ends = await chainEnds(rows, lastAt === undefined ? 0 : lastAt - lateMs);
  const fresh = ends.filter(({ writer, last }) => last > (known.get(writer) ?? 0));
  for (let from = 0; from < fresh.length; from += limits.auditCheckpointChains) {
    const chains = fresh.slice(from, from + limits.auditCheckpointChains);
    const sort = `${new Date(now).toISOString()}-${runtime.newId().slice(0, 8)}`;
    await rows.saveCheckpoint(sort, signCheckpoint({ at: now, chains }, key.privateKeyPem));
  }
  return fresh.length > 0;
}

/**
 * Removes what is older than `keepMs`, so that what stays can be proven: what is to go is signed
 * and written down first, so that a death in between leaves nothing that looks like a removal by
 * somebody else. A chain is cut at its beginning; one whose last line is too old goes whole.
 * Answers how many rows of lines went.
 */
export async function removeOld({ rows, runtime, log, key }: Upkeep, keepMs: number): Promise<number> {
  const now = runtime.now();
  const before = now - keepMs;
  let removed = 0;
  const whole: string[] = [];
  for await (const row of rows.chains()) {
    if ('unreadable' in row) continue;
    const end = await endOf(rows, row);
    if (Math.max(row.lastAt, end?.lastAt ?? 0) < before) whole.push(row.writer);
    else removed += await removeBeginning({ rows, runtime, log, key }, row, before);
  }
  if (whole.length > 0) await rows.saveBase(undefined, signHorizon({ at: now, before }, key.privateKeyPem));
  for (const writer of whole) removed += await removeChain(rows, writer);
  for await (const { sort } of rows.checkpoints()) {
    const at = Date.parse(sort.slice(0, 24));
    if (at < before) await rows.removeCheckpoint(sort);
  }
  if (removed > 0) log('info', 'audit_old_removed', { rows: removed, before: new Date(before).toISOString() });
  return removed;
}

/** Lines that go on from each other, as far as they were looked at. */
interface Reached {
  readonly number: number;
  readonly digest: string;
}

/** How far the lines of a block go on from what was reached; `undefined` if they do not. */
function goOn(lines: readonly string[], from: Reached): Reached | undefined {
  let reached = from;
  for (const text of lines) {
    const line = readLine(text);
    if (line?.number !== reached.number + 1 || line.before !== reached.digest) return undefined;
    reached = { number: line.number, digest: digestOf(text) };
  }
  return reached;
}

/**
 * Cuts the blocks off a chain whose last line is too old; the last block always stays. What does
 * not fit together stays too: retention covers nothing up.
 */
async function removeBeginning({ rows, runtime, key }: Upkeep, row: ChainRow, before: number): Promise<number> {
  const base = provenBase(await rows.base(row.writer), [key.publicKey]);
  const begun: Reached =
    base.state === 'holds' && base.value.writer === row.writer ? base.value : { number: 0, digest: noDigest };
  let reached = begun;
  const old: number[] = [];
  for await (const block of rows.blocks(row.writer)) {
    if ('unreadable' in block || block.at >= before) break;
    // What an earlier run had signed away, and did not live to remove.
    const isPast = block.first + block.lines.length - 1 <= begun.number;
    const next = isPast ? reached : goOn(block.lines, reached);
    if (next === undefined || (!isPast && next.number >= row.last)) break;
    reached = next;
    old.push(block.first);
  }
  if (old.length === 0) return 0;
  const { number, digest } = reached;
  const signed = signBase({ at: runtime.now(), writer: row.writer, number, digest }, key.privateKeyPem);
  if (number > begun.number) await rows.saveBase(row.writer, signed);
  // Persons first: their lines are what is found again after a death.
  for await (const person of rows.people(row.writer))
    if (person.number <= number) await rows.erasePerson(row.writer, person.number);
  for (const first of old) await rows.removeBlock(row.writer, first);
  return old.length;
}

async function removeChain(rows: AuditRows, writer: string): Promise<number> {
  let removed = 0;
  for await (const { number } of rows.people(writer)) await rows.erasePerson(writer, number);
  for await (const block of rows.blocks(writer)) {
    await rows.removeBlock(writer, 'unreadable' in block ? block.sort : block.first);
    removed += 1;
  }
  await rows.removeChain(writer);
  return removed;
}
