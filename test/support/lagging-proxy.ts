import { createServer, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { listen } from '../../src/http/listen.ts';

interface Answer {
  readonly text: string;
  readonly status: number;
}

/** What a path was answered with until a write changed it. */
interface Before extends Answer {
  /** `performance.now()` at which the write was done. */
  readonly until: number;
}

interface Ask {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface LaggingProxy {
  readonly url: string;
  /**
   * How many milliseconds ago the state is that a read of this path shows. Replace it at any time.
   */
  lagMs: (path: string) => number;
  /**
   * Of which moment (`performance.now()`) the state is that reads show, in place of `lagMs`: it is
   * the same for all of them, however slow the machine is.
   */
  shownAt?: () => number;
  close(): Promise<void>;
}

/** No read is older than that. */
const longestLagMs = 10_000;
/** Pages of listings that lag; one that was not asked for lately shows what there is. */
const mostListings = 8;

/**
 * A proxy on loopback in front of an instance, by either of its APIs, whose reads and listings lag
 * behind writes as long as they are told to, and no longer: a read shows what was there at one
 * moment, a certificate that was not made then is not found. Writes go through one at a time, and
 * are answered as soon as they are done. What goes around it is not known of.
 */
export async function startLaggingProxy(target: string): Promise<LaggingProxy> {
  /** What paths were answered with before the last writes; the oldest first. */
  const read = new Map<string, Before[]>();
  /** Listings that were asked for, the latest last. */
  const listings = new Set<string>();
  /** When each certificate was made that was made lately, by its name in paths. */
  const made = new Map<string, number>();
  let lastWrite: Promise<unknown> = Promise.resolve();

  async function ask({ method, path, body, headers }: Ask): Promise<Answer> {
    const answer = await fetch(target + path, { method, headers, ...(body !== '' && { body }) });
    return { text: await answer.text(), status: answer.status };
  }

  async function answerOf(asked: Ask): Promise<Answer> {
    const { method, path } = asked;
    if (method === 'GET') return show(asked);
    if (!path.startsWith('/api/')) return ask(asked);
    const done = lastWrite.then(() => write(asked));
    lastWrite = done.catch(() => undefined);
    return done;
  }

  async function show(asked: Ask): Promise<Answer> {
    const { path } = asked;
    const moment = proxy.shownAt?.() ?? performance.now() - proxy.lagMs(path);
    const certificate = certificateIn(path);
    if (certificate === undefined) noteListing(path);
    else if ((made.get(certificate) ?? 0) > moment)
      return ask({ ...asked, path: path.replace(certificate, nobodys(certificate)) });
    return read.get(path)?.find(({ until }) => until > moment) ?? ask(asked);
  }

  function noteListing(path: string): void {
    listings.delete(path);
    listings.add(path);
    const [oldest = ''] = listings;
    if (listings.size > mostListings) listings.delete(oldest);
  }

  async function write(asked: Ask): Promise<Answer> {
    const certificate = certificateIn(asked.path);
    const changed = [...listings, ...(certificate === undefined ? [] : pathsOf(certificate))];
    const { authorization = '' } = asked.headers;
    const reads = changed.map((path) => ask({ method: 'GET', path, body: '', headers: { authorization } }));
    const answers = await Promise.all(reads);
    const answer = await ask(asked);
    const until = performance.now();
    for (const [index, path] of changed.entries()) {
      const kept = (read.get(path) ?? []).filter((before) => before.until > until - longestLagMs);
      read.set(path, [...kept, { ...(answers[index] as Answer), until }]);
    }
    const said = (answer.status < 300 && answer.text !== '' ? JSON.parse(answer.text) : {}) as Record<string, string>;
    const id = said._id ?? said.id;
    if (certificate === undefined && id !== undefined) made.set(encodeURIComponent(id), until);
    return answer;
  }

  const server = createServer((request, response) => {
    askOf(request)
      .then(answerOf)
      .then(
        (answer) => response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.text),
        () => response.destroy(),
      );
  });
  const { url } = await listen(server, '127.0.0.1', 0, { nextFree: false });
  const proxy: LaggingProxy = {
    url,
    lagMs: () => 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return proxy;
}

async function askOf(request: IncomingMessage): Promise<Ask> {
  const { method = '', url: path = '' } = request;
  const { authorization, 'content-type': contentType } = request.headers;
  const headers = { ...(authorization && { authorization }), ...(contentType && { 'content-type': contentType }) };
  return { method, path, headers, body: await text(request) };
}

/** The certificate that a path is about, as it stands there; `undefined` for a listing. */
const certificateIn = (path: string) => /\/certificate\/([^/?]+)/.exec(path)?.[1] ?? secretIn(path);
const secretIn = (path: string) => /\/secrets\/([0-9a-f-]{36})(?![^/?])/.exec(path)?.[1];

const pathsOf = (certificate: string) => [
  `/api/v1/certificate/${certificate}/metadata`,
  `/api/v2/certificate/${certificate}`,
  `/api/v2/secrets/${certificate}/metadata`,
  `/api/v2/secrets/${certificate}`,
];

/** An id in the shape of this one that no certificate has. */
const nobodys = (certificate: string) =>
  secretIn(`/secrets/${certificate}`) === undefined
    ? `${certificate.slice(0, -32)}${'f'.repeat(32)}`
    : certificate.replace(/[0-9a-f]/g, 'f');
