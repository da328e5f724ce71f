import type { Runtime } from '../../runtime.ts';
import type { ListPage } from '../../store/store.ts';

/** After a listing that failed the next one is this much later at the latest. */
const longestMs = 10 * 60_000;

/**
 * Lists now and then, and tells of each certificate whose version is another one than before, or
 * that is there or gone since. The first listing tells of nothing: what was changed before, a
 * reconcile finds.
 */
export function poll(options: {
  readonly runtime: Pick<Runtime, 'wait'>;
  readonly everyMs: (signal: AbortSignal) => Promise<number>;
  readonly list: (request: { readonly cursor?: string; readonly signal: AbortSignal }) => Promise<ListPage>;
  readonly changed: (certificate: string) => void;
}): { close(): void } {
  const { runtime, everyMs, list, changed } = options;
  const ending = new AbortController();
  const { signal } = ending;

  async function versions(): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    let cursor: string | undefined;
    do {
      const page = await list(cursor === undefined ? { signal } : { cursor, signal });
      for (const { id, revision = '', name, description } of page.certificates)
        found.set(id, JSON.stringify([revision, name, description]));
      for (const { id, why } of page.vacant ?? []) found.set(id, why);
      for (const { id, error } of page.unreadable ?? []) if (id !== undefined) found.set(id, error.message);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return found;
  }

  async function run(): Promise<void> {
    let before: Map<string, string> | undefined;
    let failures = 0;
    while (!signal.aborted) {
      let waitMs = 60_000;
      try {
        waitMs = await everyMs(signal);
        const now = await versions();
        failures = 0;
        for (const [id, version] of now) if (before !== undefined && before.get(id) !== version) changed(id);
        for (const id of before?.keys() ?? []) if (!now.has(id)) changed(id);
        before = now;
      } catch {
        // Reconcile tells of a primary that cannot be listed; what changes meanwhile shows later.
        failures += 1;
      }
      await runtime.wait(Math.min(longestMs, waitMs * 2 ** Math.min(failures, 6)), signal).catch(() => {});
    }
  }

  void run();
  return { close: () => ending.abort() };
}
