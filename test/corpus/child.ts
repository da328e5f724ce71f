import { writeSync } from 'node:fs';
import { openEntries } from './entries.ts';
import { type CorpusKind, corpusKeys } from './keys.ts';

/** A line that a child prints, as JSON: before each try, and after it. */
export type CorpusLine =
  | { readonly begun: number; readonly name: string; readonly isKey: boolean }
  | { readonly ended: number; readonly ms: number; readonly outcome: string }
  | { readonly ended: number; readonly ms: number; readonly uncoded: string }
  | { readonly done: true };

/**
 * Feeds every key to every entry (or those that are wanted), from one try on; tries are numbered.
 * Each line is written before the process goes on, so that the last one names what ended it.
 */
export async function feedAll(kinds: readonly CorpusKind[], wanted: readonly string[], from: number): Promise<void> {
  const tell = (line: CorpusLine) => writeSync(1, `${JSON.stringify(line)}\n`);
  const entries = await openEntries();
  const names = wanted.length > 0 ? wanted : entries.names;
  let number = -1;
  for (const key of corpusKeys(kinds)) {
    for (const [index, entry] of names.entries()) {
      number += 1;
      if (number < from) continue;
      tell({ begun: number, name: `${entry}: ${key.name}`, isKey: index === 0 });
      const started = performance.now();
      try {
        const outcome = (await entries.feed(entry, key)) ?? 'has no place there';
        tell({ ended: number, ms: performance.now() - started, outcome });
      } catch (thrown) {
        tell({ ended: number, ms: performance.now() - started, uncoded: String(thrown) });
      }
    }
  }
  await entries.close();
  tell({ done: true });
}
