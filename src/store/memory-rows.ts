import type { Runtime } from '../runtime.ts';

interface Version<Row> {
  readonly at: number;
  /** Absent from here on. */
  readonly row: Row | undefined;
}

/** The rows of a memory store, by id, as they are now and as they were a while ago. */
export interface MemoryRows<Row> {
  /** The row as it was so many milliseconds ago (default 0); `undefined` if there was none. */
  get(id: string, agoMs?: number): Row | undefined;
  set(id: string, row: Row): void;
  delete(id: string): void;
  /** All rows as they were so many milliseconds ago, in no particular order. */
  seen(agoMs: number): Row[];
}

/** `rememberMs`: how long ago may be asked for at most. */
export function memoryRows<Row>({ now }: Pick<Runtime, 'now'>, rememberMs: number): MemoryRows<Row> {
  /** The oldest first. */
  const versions = new Map<string, readonly Version<Row>[]>();

  // What was written last is there now, whatever became of the clock.
  const rowAgo = (all: readonly Version<Row>[], agoMs: number) =>
    (agoMs === 0 ? all.at(-1) : all.findLast(({ at }) => at <= now() - agoMs))?.row;

  function write(id: string, row: Row | undefined): void {
    const before = versions.get(id) ?? [];
    // What was overwritten longer ago than anybody asks for is forgotten.
    const oldest = before.findLastIndex(({ at }) => at <= now() - rememberMs);
    const kept = rememberMs === 0 ? [] : before.slice(Math.max(0, oldest));
    if (row === undefined && kept.length === 0) versions.delete(id);
    else versions.set(id, [...kept, { at: now(), row }]);
  }

  return {
    get: (id, agoMs = 0) => rowAgo(versions.get(id) ?? [], agoMs),
    set: write,
    delete: (id) => write(id, undefined),
    seen(agoMs) {
      const rows: Row[] = [];
      for (const all of versions.values()) {
        const row = rowAgo(all, agoMs);
        if (row !== undefined) rows.push(row);
      }
      return rows;
    },
  };
}
