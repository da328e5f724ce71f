import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { CorpusLine } from './child.ts';
import type { CorpusKind } from './keys.ts';

export interface CorpusResult {
  readonly keys: number;
  /** Keys times entries, where they have a place. */
  readonly tries: number;
  /** Names of the tries that ended their process, or that it did not survive for a minute. */
  readonly aborts: readonly string[];
  /** Names of the tries that were refused without a code, with what was said. */
  readonly uncoded: readonly string[];
  readonly slowest: { readonly ms: number; readonly name: string };
  /** How often each outcome was seen. */
  readonly outcomes: ReadonlyMap<string, number>;
}

/** A child that says nothing for so long hangs. */
const silenceMs = 60_000;
/** More aborts than these tell nothing new. */
const mostAborts = 50;

/**
 * Runs the corpus of these kinds of keys. `program` is the bundle of `main.ts`, which is run as the
 * child too, by the Node that runs this: a try that ends it is counted, and another child goes on
 * after it.
 */
export async function runCorpus(options: {
  readonly program: string;
  readonly kinds: readonly CorpusKind[];
  /** All of them, if there are none. */
  readonly entries: readonly string[];
}): Promise<CorpusResult> {
  const { program, kinds, entries } = options;
  const args = [program, 'feed', '--kinds', kinds.join(), '--entries', entries.join()];
  const result = { keys: 0, tries: 0, slowest: { ms: 0, name: '' } };
  const aborts: string[] = [];
  const uncoded: string[] = [];
  const outcomes = new Map<string, number>();
  for (let from = 0; aborts.length < mostAborts; ) {
    let begun: { readonly number: number; readonly name: string } | undefined;
    let done = false;
    const end = await runChild([...args, '--from', String(from)], (line) => {
      if ('done' in line) {
        done = true;
      } else if ('begun' in line) {
        begun = { number: line.begun, name: line.name };
        if (line.isKey) result.keys += 1;
      } else {
        const name = begun?.name ?? '';
        if ('uncoded' in line) uncoded.push(`${name}: ${line.uncoded}`);
        const outcome = 'outcome' in line ? line.outcome : 'without a code';
        for (const one of outcome.split(', ')) outcomes.set(one, (outcomes.get(one) ?? 0) + 1);
        if (outcome !== 'has no place there') result.tries += 1;
        if (line.ms > result.slowest.ms) result.slowest = { ms: line.ms, name };
      }
    });
    if (done) break;
    if (begun === undefined) throw new Error(`the child ended before its first try (${end})`);
    aborts.push(`${begun.name} (${end})`);
    from = begun.number + 1;
  }
  return { ...result, aborts, uncoded, outcomes };
}

/** Runs a child to its end, and hands on what it prints. How it ended: with what code or signal. */
async function runChild(args: readonly string[], told: (line: CorpusLine) => void): Promise<string> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = `${errors}${text}`.slice(-500);
  });
  const hangs = () => child.kill('SIGKILL');
  let timer = setTimeout(hangs, silenceMs);
  const closed = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout })) {
    clearTimeout(timer);
    timer = setTimeout(hangs, silenceMs);
    told(JSON.parse(line) as CorpusLine);
  }
  const [code, signal] = await closed;
  clearTimeout(timer);
  return `${signal ?? `exit ${code}`}${errors === '' ? '' : `: ${errors.trim()}`}`;
}
