import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { Finding, Search } from './canaries.ts';

/** Where in memory something was found. */
export interface MemoryFinding extends Finding {
  /** `[heap]`, `[stack]`, or `anonymous`: V8's own, thread stacks, and larger allocations. */
  readonly region: string;
}

const chunkBytes = 16 * 1024 * 1024;
/** Longer than any piece. */
const overlapBytes = 1024;

/**
 * Whether the memory of a child process can be read: on Linux, unless something forbids it. Says so
 * loudly if not: a search that did not happen must not pass for one that found nothing.
 */
export function memoryIsReadable(pid: number): boolean {
  try {
    closeSync(openSync(`/proc/${pid}/mem`, 'r'));
    return true;
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    if (process.env.CI === 'true') throw new Error(`the memory of a child process cannot be read: ${why}`);
    console.warn(
      `MEMORY NOT SEARCHED: this machine does not let a process read the memory of its child (${why}). Use Linux.`,
    );
    return false;
  }
}

/**
 * Searches everything that a process can write to: its heaps, its stacks, memory that it freed and
 * still has. As a core dump would.
 */
export function searchMemory(
  pid: number,
  search: Search,
): { readonly bytes: number; readonly findings: readonly MemoryFinding[] } {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const chunk = Buffer.alloc(chunkBytes);
  const findings: MemoryFinding[] = [];
  let bytes = 0;
  try {
    for (const { start, end, name } of writableRegions(pid)) {
      for (let from = start; from < end; from += chunkBytes - overlapBytes) {
        const read = readPart(memory, chunk, from, Math.min(chunkBytes, end - from));
        bytes += read;
        for (const finding of search(chunk.subarray(0, read))) findings.push({ ...finding, region: name });
      }
    }
  } finally {
    closeSync(memory);
  }
  return { bytes, findings };
}

/** How much could be read: of memory that was reserved and never used, nothing. */
function readPart(memory: number, chunk: Buffer, from: number, length: number): number {
  try {
    return readSync(memory, chunk, 0, length, from);
  } catch {
    return 0;
  }
}

function writableRegions(pid: number) {
  const lines = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n');
  return lines.flatMap((line) => {
    const [, start, end, name = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
    if (start === undefined || end === undefined) return [];
    return [
      { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), name: name === '' ? 'anonymous' : name },
    ];
  });
}
