import type { IncomingMessage, ServerResponse } from 'node:http';
import { jsonText } from '../foreign-text.ts';
import { limits } from '../limits.ts';
import type { Live, LiveRow } from './live.ts';
import { shownEvent } from './pages.ts';
import { newSecret } from './secrets.ts';
import type { Session } from './sessions.ts';

/**
 * What happens, told to open pages as it happens: server-sent events (WHATWG HTML, 9.2). A page
 * whose connection is lost comes back by itself, says what it has last heard of, and hears the
 * rest.
 */
export interface Streams {
  /**
   * Answers a request with a stream until the session or the page ends. `false`: too many are open.
   */
  open(request: IncomingMessage, response: ServerResponse, session: Session): boolean;
}

export interface StreamOptions {
  readonly live: Live;
  readonly now: () => number;
  readonly headers: Readonly<Record<string, string>>;
  /** How often it is looked whether the session stands, and the page told that the stream does. */
  readonly beatMs: number;
  /** What has ended and is not read to its end after this is cut off. Default: 2 seconds. */
  readonly partingMs?: number;
}

/** After how long a page comes back whose connection was lost, in milliseconds. */
const retryMs = 3_000;

export function eventStreams({ live, now, headers, beatMs, partingMs = 2_000 }: StreamOptions): Streams {
  // Rows are counted by this process: a page that heard another one begins anew.
  const process = newSecret().slice(0, 12);
  let open = 0;

  const eventOf = (row: LiveRow): string =>
    `id: ${process}/${row.change}\nevent: row\ndata: ${jsonText(shownEvent(row))}\n\n`;

  return {
    open(request, response, session) {
      if (open >= limits.consoleStreams) return false;
      open += 1;
      const { socket } = request;
      const [heardOf, change] = String(request.headers['last-event-id'] ?? '').split('/');
      const goesOn = heardOf === process;
      const heard = goesOn ? Number(change) : 0;
      const endAt = now() + limits.consoleStreamMs;
      let isDone = false;
      let unwatch = (): void => {};
      let beat: NodeJS.Timeout | undefined;

      const over = () => finish('event: over\ndata: the session has ended\n\n');
      const gone = () => finish('');
      /**
       * Ends it once, whoever comes first. Nothing is written from then on: a response that is
       * written to after its end fails.
       */
      function finish(lastWords: string): void {
        if (isDone) return;
        isDone = true;
        open -= 1;
        clearInterval(beat);
        unwatch();
        session.ended.removeEventListener('abort', over);
        socket.off('close', gone);
        if (response.destroyed || response.writableEnded) return;
        response.end(lastWords);
        const late = setTimeout(() => socket.destroy(), partingMs).unref();
        response.once('close', () => clearTimeout(late));
        socket.once('close', () => clearTimeout(late));
      }
      function write(text: string): void {
        if (isDone || response.writableEnded || response.destroyed) return;
        response.write(text);
        // Who does not read is not waited for: the page comes back, and hears the rest.
        if (response.writableLength <= limits.consoleStreamBytes) return;
        response.destroy();
        gone();
      }
      response.once('close', gone);
      // An answer that stands behind others of its connection is told of no end before its turn.
      socket.once('close', gone);
      session.ended.addEventListener('abort', over, { once: true });
      response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' });
      write(`retry: ${retryMs}\n${goesOn ? '' : 'event: start\ndata: anew\n'}\n`);
      for (const row of live.rows().toReversed()) if (row.change > heard) write(eventOf(row));
      if (isDone) return true;
      unwatch = live.watch((row) => write(eventOf(row)));
      beat = setInterval(() => {
        if (now() >= session.until) over();
        else if (now() >= endAt) finish('');
        else write(': here\n\n');
      }, beatMs);
      return true;
    },
  };
}
