import { asCodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import { isUnreadable } from '../table/paging.ts';
import type { AuditRows, Block } from './audit-rows.ts';
import { digestOf, type Fact, lineText, noDigest, type Person, personDigest } from './line.ts';

/** How it goes with the writing, for those who watch. */
export interface AuditState {
  /** Facts that are not on the table yet. */
  readonly waiting: number;
  /** Facts that there was no room for, since the process began. */
  readonly lost: number;
  /** Since when the table takes none, epoch milliseconds; absent: it does. */
  readonly failingSince?: number;
}

/** Writes a chain of its own, beside the work. */
export interface AuditWriter {
  /**
   * Tells a fact. Returns at once and never throws: it is written when its turn comes. `person`:
   * who did it.
   */
  add(fact: Fact, person?: Person): void;
  /**
   * Waits, so long at most, until all that was told by now is on the table. Answers whether it is.
   */
  flush(withinMs: number): Promise<boolean>;
  state(): AuditState;
  /** Writes nothing more: the process ends. */
  stop(): void;
}

interface Waiting {
  readonly fact: Fact;
  readonly person?: Person | undefined;
  readonly bytes: number;
  readonly at: number;
}

/** Where the next line of a chain goes. */
interface Place {
  readonly writer: string;
  readonly begunAt: number;
  readonly last: number;
  readonly digest: string;
  readonly lastAt: number;
}

/** A block, whole as it is to be written: a second try writes the same bytes. */
interface Ready {
  readonly block: Block;
  readonly next: Place;
  readonly people: readonly { readonly number: number; readonly salt: string; readonly text: string }[];
  readonly facts: readonly Waiting[];
}

const retryMs = [1_000, 2_000, 5_000, 15_000, 60_000] as const;

/**
 * A writer for one process. What is told waits in memory, within bounds, and goes to the table in
 * blocks, one after the other; each has the digest of what was before. Nothing waits for it, and
 * what fails here fails nowhere else: it is tried again, and what there is no room for is counted,
 * and told in the chain as lost.
 */
export function auditWriter(options: {
  readonly rows: Pick<AuditRows, 'append' | 'saveChain' | 'savePerson'>;
  readonly runtime: Pick<Runtime, 'now' | 'newId' | 'wait'>;
  readonly log: Log;
  /** Which program writes: `serve`, or the name of a command. */
  readonly program: string;
}): AuditWriter {
  const { rows, runtime, log, program } = options;
  const queue: Waiting[] = [];
  let bytes = 0;
  let lost = 0;
  let lostUntold = 0;
  let failures = 0;
  let takenInARow = 0;
  let failingSince: number | undefined;
  let place: Place | undefined;
  let ready: Ready | undefined;
  let pumping: Promise<void> | undefined;
  let stopped = false;
  let pause = new AbortController();

  function push(fact: Fact, person?: Person): void {
    const size = sizeOf(fact, person);
    if (queue.length >= limits.auditWaitingLines || bytes + size > limits.auditWaitingBytes) {
      if (lostUntold === 0) log('error', 'audit_lost', { waiting: queue.length });
      lost += 1;
      lostUntold += 1;
      return;
    }
    queue.push({ fact, person, bytes: size, at: runtime.now() });
    bytes += size;
  }

  /** A chain of its own, which begins by saying whose it is. */
  function begin(now: number, more: Partial<Fact> = {}): Place {
    const id = runtime.newId().slice(0, 8);
    const stamp = new Date(now).toISOString().replace(/[-:]|\.\d+/g, '');
    queue.unshift({ fact: { ...more, kind: 'begin', program }, bytes: 0, at: now });
    return { writer: `${stamp}-${id}`, begunAt: now, last: 0, digest: noDigest, lastAt: now };
  }

  /** The next block, of what waits now. */
  function take(): Ready {
    const now = runtime.now();
    // Moments in a chain never go back: one that was written under a clock that is ahead ends here.
    const isOver = (at: Place) =>
      at.last >= limits.auditChainLines ||
      now - at.lastAt >= limits.auditChainIdleMs ||
      at.lastAt - now >= limits.auditClockMs;
    if (place === undefined) place = begin(now);
    else if (isOver(place)) place = begin(now, { after: place.writer, afterAt: place.lastAt });
    if (lostUntold > 0) {
      // A chain begins with its beginning.
      const isBegun = queue[0]?.fact.kind === 'begin';
      queue.splice(isBegun ? 1 : 0, 0, { fact: { kind: 'lost', lines: lostUntold }, bytes: 0, at: now });
      lostUntold = 0;
    }
    const lines: string[] = [];
    const people: { number: number; salt: string; text: string }[] = [];
    const facts: Waiting[] = [];
    let size = 0;
    let { last, digest, lastAt } = place;
    while (lines.length < limits.auditBlockLines) {
      const [next] = queue;
      if (next === undefined || (lines.length > 0 && size + next.bytes > limits.auditBlockBytes)) break;
      queue.shift();
      facts.push(next);
      bytes -= next.bytes;
      size += next.bytes;
      last += 1;
      // Within a chain time never goes back: a moment can be looked for.
      lastAt = Math.max(lastAt, next.at);
      let who: string | undefined;
      if (next.person !== undefined) {
        const known = { number: last, salt: runtime.newId(), text: JSON.stringify(next.person) };
        who = personDigest(known.salt, known.text);
        people.push(known);
      }
      const at = new Date(lastAt).toISOString();
      const line = lineText({ writer: place.writer, number: last, before: digest, at }, next.fact, who);
      digest = digestOf(line);
      lines.push(line);
    }
    return {
      block: { first: place.last + 1, at: lastAt, lines },
      next: { ...place, last, digest, lastAt },
      people,
      facts,
    };
  }

  async function write({ block, next, people, facts }: Ready): Promise<void> {
    const { writer, begunAt, last, digest, lastAt } = next;
    // That there is a chain is said before its first line: nothing else would lead to that.
    if (block.first === 1)
      await rows.saveChain({ writer, program, begunAt, last: 0, digest: noDigest, lastAt: begunAt });
    // First who did it: a line without is one of which that was erased.
    for (const { number, ...person } of people) {
      try {
        await rows.savePerson(writer, number, person);
      } catch (thrown) {
        // Such a row stood there already, and `verify` names it.
        if (!isUnreadable(thrown)) throw thrown;
      }
    }
    if (!(await rows.append(writer, block))) return taken(block, writer, facts);
    takenInARow = 0;
    try {
      await rows.saveChain({ writer, program, begunAt, last, digest, lastAt });
      place = next;
    } catch (thrown) {
      if (!isUnreadable(thrown)) throw thrown;
      // Somebody has made the row of the chain what no table can read: it goes on in a new one.
      log('error', 'audit_chain_taken', { writer, number: last });
      place = undefined;
    }
    ready = undefined;
  }

  /** Somebody else has written under a number of this chain: it is left, and that is told. */
  function taken({ first }: Block, writer: string, facts: readonly Waiting[]): void {
    log('error', 'audit_chain_taken', { writer, number: first });
    const own = facts.filter(({ fact }) => fact.kind !== 'begin');
    queue.unshift({ fact: { kind: 'taken', chain: writer, taken: first }, bytes: 0, at: runtime.now() }, ...own);
    bytes += own.reduce((sum, waiting) => sum + waiting.bytes, 0);
    ready = undefined;
    place = undefined;
    takenInARow += 1;
  }

  /** A pause that grows, before what has failed so often is tried again. */
  async function rest(failed: number): Promise<void> {
    pause = new AbortController();
    await runtime
      .wait(retryMs[Math.min(failed, retryMs.length) - 1] ?? retryMs[0], pause.signal)
      .catch(() => undefined);
  }

  async function pump(): Promise<void> {
    while (!stopped && (ready !== undefined || queue.length > 0 || lostUntold > 0)) {
      ready ??= take();
      try {
        await write(ready);
        failures = 0;
        failingSince = undefined;
        // Once may be anything; again and again it is somebody who follows.
        if (takenInARow > 1) await rest(takenInARow - 1);
      } catch (thrown) {
        failingSince ??= runtime.now();
        if (failures === 0) log('error', 'audit_not_written', { ...errorFields(asCodedError(thrown)) });
        failures += 1;
        await rest(failures);
      }
    }
  }

  function start(): void {
    pumping ??= pump()
      .catch((thrown: unknown) => log('error', 'audit_not_written', errorFields(asCodedError(thrown))))
      .finally(() => {
        pumping = undefined;
        // What was told between the last look and now.
        if (!stopped && queue.length > 0) start();
      });
  }

  return {
    add(fact, person) {
      push(fact, person);
      // What else is told in this turn of the event loop goes into the same block.
      if (pumping === undefined) queueMicrotask(start);
    },
    async flush(withinMs) {
      if (pumping === undefined && (queue.length > 0 || lostUntold > 0 || ready !== undefined)) start();
      if (pumping === undefined) return true;
      const patience = new AbortController();
      const late = runtime.wait(withinMs, patience.signal).then(
        () => false,
        () => false,
      );
      const done = await Promise.race([pumping.then(() => true), late]);
      patience.abort();
      return done && queue.length === 0 && ready === undefined;
    },
    state: () => ({
      waiting: queue.length + (ready?.facts.length ?? 0),
      lost,
      ...(failingSince === undefined ? {} : { failingSince }),
    }),
    stop() {
      stopped = true;
      pause.abort();
    },
  };
}

/** What a fact takes in memory and on the table, near enough. */
function sizeOf(fact: Fact, person: Person | undefined): number {
  const text = JSON.stringify(fact);
  return text.length + 300 + (person === undefined ? 0 : JSON.stringify(person).length + 200);
}
