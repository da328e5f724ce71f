import { clean, count } from '../words.ts';
import type { Block, ChainRow, Unreadable } from './audit-rows.ts';
import type { Base, ChainEnd } from './checkpoint.ts';
import { digestOf, type Line, noDigest, readLine } from './line.ts';

/**
 * What can be wrong with a trail. `removed`: lines are not there. `cut`: those at the end.
 * `changed`: a line is not what the next one says of it. `reordered`: it stands behind a later one.
 * `forged`: it was not written by the writer of the chain, or was written anew with all after it.
 * `person`: who did it was changed, or removed without a word. `unreadable`: a row cannot be
 * understood. `untrusted`: what was signed was changed, or signed with a key that is not trusted.
 */
export type FlawKind = 'removed' | 'cut' | 'changed' | 'reordered' | 'forged' | 'person' | 'unreadable' | 'untrusted';

export interface Flaw {
  readonly kind: FlawKind;
  readonly writer?: string;
  /** The line, or the first of several. */
  readonly number?: number;
  /** The last of several. */
  readonly to?: number;
  readonly words: string;
}

/** What somebody says of how far a chain went. */
export interface Statement extends ChainEnd {
  /** `checkpoint`: of a checkpoint that was kept elsewhere; `table`: of one on the table. */
  readonly from: 'checkpoint' | 'table';
}

/** What a chain tells that says something of others, or of persons. */
export interface Told {
  /** Lines with a person beside them, by number: the digest of what is known. */
  readonly people: ReadonlyMap<number, string>;
  /** The lines that say something of another chain. */
  readonly lines: readonly Line[];
}

/** A chain that was looked at whole. */
export interface ChainExamined extends ChainEnd {
  readonly program: string;
  /** The number of its first line that is kept. */
  readonly first: number;
  readonly lines: number;
  readonly flaws: readonly Flaw[];
  readonly told: Told;
}

/** One line as it stands there. `broken`: it is none, or one of another chain. */
interface Standing {
  readonly number: number;
  readonly digest: string;
  readonly before: string;
  readonly broken: boolean;
}

const told = (line: Line): boolean =>
  line.kind === 'taken' || (line.kind === 'begin' && line.after !== undefined) || line.erased !== undefined;

/**
 * Looks at one chain: whether its lines are those that were written, all of them, in their order.
 * `base`: what retention has removed of it. `statements`: how far others say that it went.
 */
export async function examineChain(
  writer: string,
  given: {
    readonly row: ChainRow | undefined;
    readonly blocks: AsyncIterable<Block | Unreadable>;
    readonly base: Base | undefined;
    readonly statements: readonly Statement[];
  },
): Promise<ChainExamined> {
  const { row, base, statements } = given;
  const flaws: Flaw[] = [];
  const flaw = (kind: FlawKind, number: number, words: string, to?: number) =>
    void flaws.push({ kind, writer, number, words, ...(to === undefined || to === number ? {} : { to }) });
  const from = base?.number ?? 0;
  const lines = new Map<number, Standing>();
  const people = new Map<number, string>();
  const tellers: Line[] = [];
  let highest = from;
  let lastAt = 0;

  function take(text: string, next: number): number {
    const line = readLine(text);
    if (line === undefined || line.writer !== writer) {
      if (next <= from) return next;
      if (line === undefined) flaw('changed', next, 'the line cannot be read');
      else flaw('forged', next, `a line of ${clean(line.writer)} stands in this chain`);
      if (!lines.has(next)) lines.set(next, { number: next, digest: '', before: '', broken: true });
      highest = Math.max(highest, next);
      return next;
    }
    const { number, before } = line;
    // What retention was about to remove when its process died.
    if (number <= from) return number;
    if (lines.has(number)) {
      flaw('forged', number, 'two lines have this number');
      return number;
    }
    if (number < highest) flaw('reordered', number, `it stands behind line ${highest}`);
    highest = Math.max(highest, number);
    lines.set(number, { number, digest: digestOf(text), before, broken: false });
    if (line.who !== undefined) people.set(number, line.who);
    if (told(line)) tellers.push(line);
    const at = Date.parse(line.at);
    if (at > lastAt) lastAt = at;
    return number;
  }

  let number = from;
  for await (const block of given.blocks) {
    if ('unreadable' in block) {
      flaws.push({
        kind: 'unreadable',
        writer,
        number: number + 1,
        words: `the row ${clean(block.sort)} of it cannot be understood`,
      });
      continue;
    }
    for (const text of block.lines) number = take(text, number + 1);
  }

  const present = [...lines.keys()].toSorted((a, b) => a - b);
  const last = present.at(-1) ?? from;
  let expected = from;
  for (const one of present) {
    if (one > expected + 1)
      flaw('removed', expected + 1, `${count(one - expected - 1, 'line')} before line ${one} are not there`, one - 1);
    expected = one;
  }
  const furthest = statements.toSorted((a, b) => b.last - a.last)[0];
  const said = Math.max(row?.last ?? 0, furthest?.last ?? 0);
  if (said > last) {
    const who = (row?.last ?? 0) >= said ? 'the row of the chain' : witness(furthest);
    flaw('cut', last + 1, `${who} tells of line ${said}`, said);
  }
  for (const statement of statements) {
    if (base === undefined || statement.last > from || statement.lastAt < base.before) continue;
    flaw('removed', statement.last, `${witness(statement)} tells of it, and it was not old enough to be removed`);
    break;
  }
  changedLines(lines, from, base?.digest ?? noDigest, flaw);
  comparedWith(lines, { row, statements, from, last }, flaws, flaw);
  return {
    writer,
    program: row?.program ?? '',
    first: from + 1,
    last,
    digest: lines.get(last)?.digest ?? base?.digest ?? noDigest,
    lastAt,
    lines: present.length,
    flaws: flaws.toSorted((a, b) => (a.number ?? 0) - (b.number ?? 0)),
    told: { people, lines: tellers },
  };
}

const witness = (statement: Statement | undefined) =>
  statement?.from === 'checkpoint' ? 'the checkpoint' : 'a checkpoint on the table';

type Say = (kind: FlawKind, number: number, words: string, to?: number) => void;

/**
 * Lines that do not fit together. Where a line fits neither the one before nor the one after, it is
 * the one; else it is the one of which the next says something else.
 */
function changedLines(lines: ReadonlyMap<number, Standing>, from: number, fromDigest: string, flaw: Say): void {
  const fits = (number: number): boolean => {
    const [line, next] = [lines.get(number), lines.get(number + 1)];
    if (next === undefined || next.broken || line?.broken === true) return true;
    if (number === from) return next.before === fromDigest;
    return line === undefined || next.before === line.digest;
  };
  const numbers = [from, ...lines.keys()].toSorted((a, b) => a - b);
  const used = new Set<number>();
  for (const number of numbers) {
    if (fits(number) || used.has(number)) continue;
    const after = number + 1;
    if (!fits(after)) {
      used.add(after);
      flaw('changed', after, `it does not go on from line ${number}, nor does line ${after + 1} from it`);
    } else if (number === from) flaw('changed', after, 'it does not go on from the beginning of the chain');
    else flaw('changed', number, `it is not the line from which line ${after} goes on`);
  }
}

/** Whether the chain is the one of which its row and checkpoints tell. */
function comparedWith(
  lines: ReadonlyMap<number, Standing>,
  given: {
    readonly row: ChainRow | undefined;
    readonly statements: readonly Statement[];
    readonly from: number;
    readonly last: number;
  },
  flaws: readonly Flaw[],
  flaw: Say,
): void {
  const { row, statements, from, last } = given;
  const isNamed = (number: number) => flaws.some((one) => one.number === number);
  // What was signed after lines were written anew tells nothing of what stood there before.
  const sound = { checkpoint: from, table: from };
  for (const statement of statements.toSorted((a, b) => a.last - b.last)) {
    const line = lines.get(statement.last);
    if (statement.last <= from || line === undefined || line.broken) continue;
    if (line.digest === statement.digest) {
      sound[statement.from] = statement.last;
      continue;
    }
    if (!isNamed(statement.last)) {
      const words = `${witness(statement)} tells of another line ${statement.last}: one of these was changed, and those after it written anew`;
      flaw('forged', Math.min(sound[statement.from] + 1, statement.last), words, statement.last);
    }
    return;
  }
  const line = lines.get(row?.last ?? 0);
  if (row === undefined || line === undefined || line.broken || line.digest === row.digest) return;
  if (isNamed(row.last)) return;
  if (row.last === last) flaw('changed', last, 'it is not the line of which the row of the chain tells');
  else flaw('forged', row.last, 'the row of the chain tells of another line');
}
