import type { AuditRows } from './audit-rows.ts';
import { digestOf, type Line, momentOf, type Person, readLine } from './line.ts';

/** A line as it is shown to people, or handed to another system. */
export interface ReadLine {
  readonly line: Line;
  /** The text as it is kept, and its digest. */
  readonly text: string;
  readonly digest: string;
  /** Who did it, unless that was erased, or nobody did. */
  readonly person?: Person;
}

/** Which lines are wanted; what is absent is not asked for. Moments are epoch milliseconds. */
export interface Wanted {
  readonly since?: number | undefined;
  readonly link?: string | undefined;
  readonly kind?: string | undefined;
  readonly writer?: string | undefined;
}

/**
 * The lines of all chains, one chain after the other, the oldest first. What cannot be read is
 * passed over, and counted by `unreadable`: `verify` names it.
 */
export async function* readTrail(rows: AuditRows, wanted: Wanted, unreadable: () => void): AsyncGenerator<ReadLine> {
  const people = await personsOf(rows, wanted.writer);
  for await (const chain of rows.chains()) {
    if ('unreadable' in chain) {
      unreadable();
      continue;
    }
    if (wanted.writer !== undefined && chain.writer !== wanted.writer) continue;
    if (wanted.since !== undefined && chain.lastAt < wanted.since) continue;
    for await (const block of rows.blocks(chain.writer)) {
      if ('unreadable' in block) {
        unreadable();
        continue;
      }
      for (const text of block.lines) {
        const line = readLine(text);
        if (line === undefined) unreadable();
        else if (isWanted(line, wanted)) {
          const person = people.get(`${line.writer}/${line.number}`);
          yield { line, text, digest: digestOf(text), ...(person !== undefined && { person }) };
        }
      }
    }
  }
}

function isWanted(line: Line, { since, link, kind }: Wanted): boolean {
  if (link !== undefined && line.link !== link) return false;
  if (kind !== undefined && line.kind !== kind) return false;
  return since === undefined || momentOf(line) >= since || Date.parse(line.at) >= since;
}

async function personsOf(rows: AuditRows, writer: string | undefined): Promise<ReadonlyMap<string, Person>> {
  const people = new Map<string, Person>();
  for await (const found of rows.people(writer)) {
    const person = found.person && readPerson(found.person.text);
    if (person !== undefined) people.set(`${found.writer}/${found.number}`, person);
  }
  return people;
}

/** A person from the text beside a line; `undefined` if it is none. */
export function readPerson(text: string): Person | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return Object.fromEntries(Object.entries(value).filter(([, member]) => typeof member === 'string'));
  } catch {
    return undefined;
  }
}

/** The newest lines, the oldest of them first: memory grows with `most`, not with the trail. */
export async function newestOf(lines: AsyncIterable<ReadLine>, most: number): Promise<readonly ReadLine[]> {
  const byMoment = (a: ReadLine, b: ReadLine) => momentOf(a.line) - momentOf(b.line);
  let newest: ReadLine[] = [];
  for await (const line of lines) {
    newest.push(line);
    if (newest.length >= 2 * most) newest = newest.toSorted(byMoment).slice(-most);
  }
  return newest.toSorted(byMoment).slice(-most);
}
