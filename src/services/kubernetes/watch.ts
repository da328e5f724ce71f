import { asCodedError } from '../../errors.ts';
import type { HttpResponse } from '../../http/client.ts';
import { parseJson } from '../../http/service-failure.ts';
import type { Runtime } from '../../runtime.ts';
import { idOf, revisionOf } from './names.ts';
import { type ObjectMetadata, readEvent } from './objects.ts';

/** What a listing of one scope brought: what is there, and from where on to watch. */
export interface WatchListing {
  readonly objects: readonly ObjectMetadata[];
  readonly resourceVersion: string;
}

/** A namespace, or the whole cluster, that is watched by one connection. */
export interface WatchScope {
  /** All that is there now, without content. Throws a coded error. */
  list(signal: AbortSignal): Promise<WatchListing>;
  /** What changes from this version on, a line for each. Rejects with what the network says. */
  open(resourceVersion: string, signal: AbortSignal): Promise<HttpResponse>;
}

export interface WatchOptions {
  readonly runtime: Runtime;
  readonly scopes: readonly WatchScope[];
  readonly changed: (id: string) => void;
  /** After so long without a line everything is listed again. Default: two minutes. */
  readonly quietMs?: number;
}

/**
 * The server sends a bookmark about each minute: after two without a line the connection is dead.
 */
const quietMsDefault = 120_000;
const leastWaitMs = 500;
const mostWaitMs = 30_000;
/** A line is an object without its content: its annotations have 256 KiB at most. */
const lineCharacters = 4 * 1024 * 1024;

/** Why a watch has ended. */
type End = 'closed' | 'list-again' | 'go-on' | 'failed';

/**
 * Tells of each secret that changes, in each scope by a listing and a watch from there on: of what
 * its events say, and, after a gap that no event tells of (410, silence, a server that was set
 * back), of whatever another listing shows otherwise. What was there at the beginning is not told.
 * It goes on, with growing pauses, until it is closed.
 */
export function watchSecrets({ runtime, scopes, changed, quietMs = quietMsDefault }: WatchOptions): { close(): void } {
  const closing = new AbortController();
  const { signal } = closing;
  for (const scope of scopes) void watchScope(scope).catch(() => {});
  return { close: () => closing.abort() };

  async function watchScope(scope: WatchScope): Promise<void> {
    /** Revisions by id, as last seen. */
    let known: Map<string, string> | undefined;
    let from: string | undefined;
    let failures = 0;
    while (!signal.aborted) {
      let end: End = 'failed';
      try {
        if (known === undefined || from === undefined) {
          const listing = await scope.list(signal);
          from = listing.resourceVersion;
          known = compared(known, listing.objects);
        }
        const watched = await watchFrom(scope, from, known, (seen) => {
          from = seen;
          failures = 0;
        });
        end = watched;
      } catch (thrown) {
        // A listing that is refused for a while is asked for again; doctor says why it is refused.
        if (asCodedError(thrown).fields.status === 410) end = 'list-again';
      }
      if (end === 'list-again') from = undefined;
      if (end === 'list-again' || end === 'failed') failures += 1;
      // One gap is closed at once; a server that does nothing but make gaps is not asked without
      // end.
      if (end !== 'list-again' || failures > 1) await pause(failures);
    }

    /** Full jitter, so that many that lost one server do not all come back at once. */
    async function pause(failed: number): Promise<void> {
      const most = Math.min(mostWaitMs, leastWaitMs * 2 ** Math.min(failed, 10));
      await runtime.wait(runtime.random() * most, signal).catch(() => {});
    }
  }

  /** Tells of what differs from what was known before; nothing where nothing was. */
  function compared(before: Map<string, string> | undefined, objects: readonly ObjectMetadata[]): Map<string, string> {
    const now = new Map(objects.map((object) => [idOf(object), revisionOf(object)]));
    if (before === undefined) return now;
    for (const [id, revision] of now) if (before.get(id) !== revision) changed(id);
    for (const id of before.keys()) if (!now.has(id)) changed(id);
    return now;
  }

  async function watchFrom(
    scope: WatchScope,
    from: string,
    known: Map<string, string>,
    seen: (resourceVersion: string) => void,
  ): Promise<End> {
    const ending = new AbortController();
    const onClose = () => ending.abort();
    signal.addEventListener('abort', onClose, { once: true });
    let heardAt = runtime.now();
    let wasQuiet = false;
    void (async () => {
      while (!ending.signal.aborted) {
        const left = heardAt + quietMs - runtime.now();
        if (left <= 0) {
          wasQuiet = true;
          ending.abort();
        } else await runtime.wait(left, ending.signal);
      }
    })().catch(() => {});
    try {
      const { status, body } = await scope.open(from, ending.signal);
      heardAt = runtime.now();
      if (status === 410) return 'list-again';
      if (status !== 200) return 'failed';
      for await (const line of linesOf(body)) {
        heardAt = runtime.now();
        const event = readEvent(parseJson(line));
        // What cannot be understood may have told of anything.
        if (event === undefined || event.type === 'error') return 'list-again';
        if (event.type === 'bookmark') seen(event.resourceVersion);
        else {
          noteEvent(event, known);
          seen(event.object.resourceVersion);
        }
      }
      return 'go-on';
    } catch {
      if (signal.aborted) return 'closed';
      return wasQuiet ? 'list-again' : 'failed';
    } finally {
      ending.abort();
      signal.removeEventListener('abort', onClose);
    }
  }

  function noteEvent(
    { type, object }: { readonly type: 'changed' | 'deleted'; readonly object: ObjectMetadata },
    known: Map<string, string>,
  ): void {
    const id = idOf(object);
    const revision = revisionOf(object);
    if (type === 'deleted') known.delete(id);
    // A watch from a bookmark on may tell again what a listing has shown.
    else if (known.get(id) === revision) return;
    else known.set(id, revision);
    changed(id);
  }
}

/** The lines of a body without end. Throws where one is longer than any of an API server. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield line;
    if (rest.length > lineCharacters) throw new Error('a line of a watch has no end');
  }
}
