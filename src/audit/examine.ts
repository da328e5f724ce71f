import { createHash, createPublicKey } from 'node:crypto';
import type { PublicKey } from '../certificate/public-key.ts';
import { limits } from '../limits.ts';
import { clean, count } from '../words.ts';
import type { AuditRows, ChainRow } from './audit-rows.ts';
import { type ChainExamined, examineChain, type Flaw, type Statement } from './chain.ts';
import { type Base, type Checkpoint, type Proven, provenBase, provenCheckpoint, provenHorizon } from './checkpoint.ts';
import { personDigest } from './line.ts';

/** What a look at the whole trail comes to. */
export interface Examination {
  readonly chains: readonly Omit<ChainExamined, 'flaws' | 'told'>[];
  readonly lines: number;
  readonly flaws: readonly Flaw[];
  /** Checkpoints on the table whose signature holds, and when the last of them was made. */
  readonly checkpoints: number;
  readonly checkpointAt?: number;
  /** Those of them that were signed under a clock that was ahead of the one here. */
  readonly ahead: number;
  /** Lines that no checkpoint tells of yet. */
  readonly unwitnessed: number;
  /** Chains older than this were removed by retention. Epoch milliseconds. */
  readonly before?: number;
}

/**
 * Examines the trail: every chain, against its own digests, its row, the checkpoints on the table,
 * and the one that was kept elsewhere. Throws what the table throws; what cannot be understood is a
 * flaw.
 */
export async function examineTrail(
  rows: AuditRows,
  given: {
    readonly trusted: readonly PublicKey[];
    /** Epoch milliseconds. */
    readonly now: number;
    /** One that was kept elsewhere, its signature proven. */
    readonly checkpoint?: Checkpoint | undefined;
    readonly progress?: (lines: number) => void;
  },
): Promise<Examination> {
  const { trusted, checkpoint } = given;
  const flaws: Flaw[] = [];
  const strangers = new Map<string, number>();
  /** What is said by what was signed; anything else is a flaw. */
  function said<T>(found: Proven<T>, what: string): T | undefined {
    if (found.state === 'holds') return found.value;
    if (found.state === 'another-key') strangers.set(found.publicKey, (strangers.get(found.publicKey) ?? 0) + 1);
    else if (found.state === 'broken')
      flaws.push({ kind: 'untrusted', words: `the signature of ${what} does not hold` });
    else flaws.push({ kind: 'unreadable', words: `${what} cannot be understood` });
    return undefined;
  }

  const statements = new Map<string, Statement[]>();
  const state = (from: Statement['from'], { chains }: Checkpoint) => {
    for (const end of chains) {
      const of = statements.get(end.writer) ?? [];
      of.push({ ...end, from });
      statements.set(end.writer, of);
    }
  };
  let checkpoints = 0;
  let checkpointAt: number | undefined;
  let ahead = 0;
  const isAhead = (moment: number) => moment > given.now + limits.auditClockMs;
  for await (const { sort, signed } of rows.checkpoints()) {
    const value = said(provenCheckpoint(signed, trusted), `the checkpoint ${clean(sort)} on the table`);
    if (value === undefined) continue;
    checkpoints += 1;
    if (isAhead(value.at)) ahead += 1;
    else checkpointAt = Math.max(checkpointAt ?? 0, value.at);
    state('table', value);
  }
  if (checkpoint !== undefined) state('checkpoint', checkpoint);

  const bases = new Map<string, Base>();
  let before: number | undefined;
  for await (const { writer, signed } of rows.bases()) {
    if (writer === undefined) {
      const what = 'what says which chains retention has removed';
      before = said(provenHorizon(signed, trusted), what)?.before;
      if (before === undefined || !isAhead(before)) continue;
      flaws.push({ kind: 'untrusted', words: `${what} tells of a moment that is still to come` });
      before = undefined;
      continue;
    }
    const base = said(provenBase(signed, trusted), `what says where ${clean(writer)} begins`);
    if (base?.writer === writer) bases.set(writer, base);
    else if (base !== undefined)
      flaws.push({ kind: 'forged', writer, words: `what says where it begins is of ${clean(base.writer)}` });
  }

  const isPast = (moment: number) => before !== undefined && moment < before;

  const chains: ChainExamined[] = [];
  async function examine(writer: string, row: ChainRow | undefined): Promise<void> {
    const found = await examineChain(writer, {
      row,
      blocks: rows.blocks(writer),
      base: bases.get(writer),
      statements: statements.get(writer) ?? [],
    });
    // Of a chain that is nowhere nothing but its absence is told.
    if (row !== undefined || found.lines > 0) chains.push(found);
    if (row === undefined && found.lines > 0)
      flaws.push({ kind: 'removed', writer, words: 'the row that says how far it goes is not there' });
    flaws.push(...found.flaws);
    given.progress?.(found.lines);
  }

  for await (const row of rows.chains()) {
    if (!('unreadable' in row)) {
      await examine(row.writer, row);
      continue;
    }
    flaws.push({
      kind: 'unreadable',
      writer: row.sort,
      words: 'the row that says how far it goes cannot be understood',
    });
    await examine(row.sort, undefined);
  }
  const isThere = new Set(chains.map(({ writer }) => writer));
  for (const [writer, of] of statements) {
    if (isThere.has(writer) || of.every(({ lastAt }) => isPast(lastAt))) continue;
    await examine(writer, undefined);
    isThere.add(writer);
  }

  flaws.push(...toldFlaws(chains, isThere, isPast), ...(await peopleFlaws(rows, chains)));
  for (const [publicKey, times] of strangers) flaws.push({ kind: 'untrusted', words: strangerWords(publicKey, times) });
  const witnessed = (writer: string) =>
    (statements.get(writer) ?? []).reduce((most, { last }) => Math.max(most, last), 0);
  return {
    chains: chains.map(({ flaws: _flaws, told: _told, ...chain }) => chain),
    lines: chains.reduce((sum, chain) => sum + chain.lines, 0),
    flaws,
    checkpoints,
    ahead,
    ...(checkpointAt === undefined ? {} : { checkpointAt }),
    unwitnessed: chains.reduce(
      (sum, { writer, last, first }) => sum + Math.max(0, last - Math.max(witnessed(writer), first - 1)),
      0,
    ),
    ...(before === undefined ? {} : { before }),
  };
}

/** What chains say of each other: which one they go on from, and whose number was taken. */
function toldFlaws(
  chains: readonly ChainExamined[],
  isThere: ReadonlySet<string>,
  isPast: (moment: number) => boolean,
): readonly Flaw[] {
  return chains.flatMap(({ writer, told }) =>
    told.lines.flatMap(({ kind, after, afterAt = Number.POSITIVE_INFINITY, chain, taken }): readonly Flaw[] => {
      if (kind === 'begin' && after !== undefined && !isThere.has(after) && !isPast(afterAt))
        return [{ kind: 'removed', writer: after, words: `the chain is not there from which ${writer} goes on` }];
      if (kind !== 'taken' || chain === undefined || taken === undefined) return [];
      const words = `it was not written by the writer of the chain, who goes on as ${writer}`;
      return [{ kind: 'forged', writer: chain, number: taken, words }];
    }),
  );
}

/** What is known of persons is what the chain says, unless it was erased, which a line tells. */
async function peopleFlaws(rows: AuditRows, chains: readonly ChainExamined[]): Promise<readonly Flaw[]> {
  const erased = new Set(chains.flatMap(({ told }) => told.lines.flatMap(({ erased: list = [] }) => list)));
  const flaws: Flaw[] = [];
  const found = new Set<string>();
  const digests = new Map<string, string>(
    chains.flatMap(({ writer, told }) =>
      [...told.people].map(([number, who]) => [`${writer}/${number}`, who] as const),
    ),
  );
  for await (const { writer, number, person } of rows.people()) {
    const place = `${writer}/${number}`;
    const who = digests.get(place);
    // What was written just before its line, which a crash has left out.
    if (who === undefined) continue;
    found.add(place);
    if (person === undefined)
      flaws.push({ kind: 'unreadable', writer, number, words: 'who did it cannot be understood' });
    else if (personDigest(person.salt, person.text) !== who)
      flaws.push({ kind: 'person', writer, number, words: 'who did it was changed' });
  }
  for (const { writer, told } of chains)
    for (const number of told.people.keys())
      if (!found.has(`${writer}/${number}`) && !erased.has(`${writer}/${number}`))
        flaws.push({ kind: 'person', writer, number, words: 'who did it was removed, and no line tells of that' });
  return flaws;
}

function strangerWords(publicKey: string, times: number): string {
  const what = count(times, 'signed row');
  return `${what} of the trail ${times === 1 ? 'is' : 'are'} signed with a key that is not trusted here, ${keyName(publicKey)}`;
}

/** A public key as ssh shows one: by the digest of its DER. */
export function keyName(publicKeyPem: string): string {
  try {
    const der = createPublicKey(publicKeyPem).export({ type: 'spki', format: 'der' });
    return `SHA256:${createHash('sha256').update(der).digest('base64').replace(/=+$/, '')}`;
  } catch {
    return 'which cannot be read';
  }
}
