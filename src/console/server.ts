import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { asCodedError } from '../errors.ts';
import { type Listening, listen, requestBounds } from '../http/listen.ts';
import { isLoopback } from '../http/loopback.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import { script, styleSheet } from './assets.ts';
import type { Screens } from './console.ts';
import type { Live } from './live.ts';
import { enterPage, message } from './pages.ts';
import { type Presence, presenceEveryMs } from './presence.ts';
import { digestOf, isSameDigest } from './secrets.ts';
import { openSessions, type Session } from './sessions.ts';
import type { SignInLinks } from './sign-in-links.ts';
import { eventStreams } from './stream.ts';

export interface ConsoleServer extends Listening {
  /** Ends all sessions and connections. */
  close(): Promise<void>;
}

export interface ConsoleServerOptions {
  readonly live: Live;
  readonly screens: Screens;
  readonly links: SignInLinks;
  readonly presence: Presence;
  /** An address of this machine alone. */
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  /** Takes the next free port if this one is taken. */
  readonly nextFree?: boolean;
  /** How often a stream of events is looked after, in milliseconds. Default: 20 seconds. */
  readonly beatMs?: number;
  readonly now: () => number;
  readonly log: Log;
}

/**
 * Of every answer. Nothing is loaded but from here, nothing is kept, nothing frames it, and no code
 * stands in a page: what a name might smuggle in would not run. `same-origin` and not
 * `no-referrer`, under which browsers do not say the origin of a form.
 */
const everyAnswer = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'cache-control': 'no-store',
} as const;

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

const htmlType = { 'content-type': 'text/html; charset=utf-8' } as const;
const textAnswer = (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Answer => ({
  status,
  body: `${body}\n`,
  headers: { 'content-type': 'text/plain; charset=utf-8', ...headers },
});
const pageAnswer = (status: number, body: string): Answer => ({ status, body, headers: htmlType });
const redirect = (cookie: string): Answer => ({
  status: 303,
  body: '',
  headers: { location: '/', 'set-cookie': cookie, ...htmlType },
});

const notSignedIn = () =>
  pageAnswer(
    401,
    message('Sign in', [
      'Nobody is signed in here, or the session has ended.',
      'certstandby console prints a link that signs you in, where the configuration of this program is.',
    ]),
  );
const usedUp = () =>
  pageAnswer(
    403,
    message('This link signs nobody in', [
      `It has been used, is older than ${limits.consoleLinkMs / 60_000} minutes, or was never made.`,
      'certstandby console prints a new one.',
    ]),
  );

/**
 * The listener of the console, on this machine alone. Nobody looks without a session; sessions
 * begin with a link that is good once. Rejects with `configuration_invalid`, naming the port, if it
 * cannot listen there.
 */
export async function startConsoleServer(options: ConsoleServerOptions): Promise<ConsoleServer> {
  const { screens, links, presence, live, now, log, beatMs = 20_000 } = options;
  const streams = eventStreams({ live, now, headers: everyAnswer, beatMs });
  const sessions = openSessions(now);
  const refusals = refusalLog(now, log);
  const unanswered = new WeakMap<object, number>();
  let cookieName = '';

  function sessionOf(request: IncomingMessage): Session | undefined {
    for (const part of (request.headers.cookie ?? '').split(';')) {
      const [name, value, ...more] = part.trim().split('=');
      if (name === cookieName && value !== undefined && more.length === 0) {
        const session = sessions.find(value);
        if (session !== undefined) return session;
      }
    }
    return undefined;
  }

  const cookieOf = (value: string, more = ''): string =>
    `${cookieName}=${value}; Path=/; HttpOnly; SameSite=Strict${more}`;

  async function enter(form: URLSearchParams): Promise<Answer> {
    if (!(await links.use(form.get('token') ?? ''))) {
      refusals.add();
      return usedUp();
    }
    const { cookie } = sessions.open();
    log('info', 'console_signed_in', {});
    return redirect(cookieOf(cookie));
  }

  function leave(form: URLSearchParams, session: Session): Answer {
    if (!isSameDigest(digestOf(form.get('token') ?? ''), digestOf(session.formToken)))
      return textAnswer(403, 'this form is of another session');
    sessions.close(session);
    log('info', 'console_signed_out', {});
    return redirect(cookieOf('', '; Max-Age=0'));
  }

  async function post(request: IncomingMessage, path: string): Promise<Answer> {
    if (path !== '/enter' && path !== '/leave') return textAnswer(405, 'use GET', { allow: 'GET, HEAD' });
    // Browsers say where a form comes from; what does not say it is none.
    if (request.headers.origin !== `http://${request.headers.host}`)
      return textAnswer(403, 'a form of another origin is not taken');
    if (mediaTypeOf(request) !== 'application/x-www-form-urlencoded') return textAnswer(415, 'send a form');
    const body = await bodyOf(request);
    if (body === undefined) return textAnswer(413, 'that is too much', { connection: 'close' });
    const form = new URLSearchParams(body);
    if (path === '/enter') return enter(form);
    const session = sessionOf(request);
    return session === undefined ? notSignedIn() : leave(form, session);
  }

  async function get({ request, response }: Exchange, path: string, query: string): Promise<Answer | 'streaming'> {
    if (path === '/console.css')
      return { status: 200, body: styleSheet, headers: { 'content-type': 'text/css; charset=utf-8' } };
    if (path === '/console.js')
      return { status: 200, body: script, headers: { 'content-type': 'text/javascript; charset=utf-8' } };
    const [, token] = /^\/enter\/([\w.-]{1,100})$/.exec(path) ?? [];
    if (token !== undefined) return pageAnswer(200, enterPage(token));
    const session = sessionOf(request);
    // Without one nobody learns what there is.
    if (session === undefined) return notSignedIn();
    if (path === '/events' && request.method === 'GET') {
      if (streams.open(request, response, session)) return 'streaming';
      return textAnswer(503, 'too many pages are open');
    }
    const shown = await screens.show(path, new URLSearchParams(query), session);
    if (shown !== undefined) return pageAnswer(shown.status, shown.page);
    return pageAnswer(404, message('No such page', ['There is nothing at this address.']));
  }

  async function answer(exchange: Exchange): Promise<Answer | 'streaming'> {
    const { request } = exchange;
    if (!isOwnName(request)) return textAnswer(421, 'this address is not served here');
    const { method = '', url = '' } = request;
    if (!url.startsWith('/')) return textAnswer(400, 'that is no path');
    if (isForeign(request)) return textAnswer(403, 'a page of another origin asks for this');
    const [path = '', ...rest] = url.split('?');
    if (method === 'POST') return post(request, path);
    if (method !== 'GET' && method !== 'HEAD') return textAnswer(405, 'use GET', { allow: 'GET, HEAD, POST' });
    return get(exchange, path, rest.join('?'));
  }

  const server = createServer({ ...requestBounds, maxHeaderSize: limits.consoleHeaderBytes }, (request, response) => {
    // What cannot be written is the asker's loss. An error that nobody hears would end the process.
    response.on('error', () => undefined);
    const { socket } = request;
    const pending = (unanswered.get(socket) ?? 0) + 1;
    // Browsers wait for an answer before they ask again.
    if (pending > limits.consolePipelined) return void socket.destroy();
    unanswered.set(socket, pending);
    response.once('close', () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1));
    answer({ request, response })
      .catch((thrown: unknown) => {
        const error = asCodedError(thrown);
        log('error', 'console_failed', errorFields(error));
        const lines = [`${error.message} [${error.code}]`, error.remedy];
        return pageAnswer(error.code === 'table_unavailable' ? 503 : 500, message('This cannot be done now', lines));
      })
      .then((given) => given !== 'streaming' && send(request, response, given))
      .catch(() => response.destroy());
  });
  server.maxConnections = limits.consoleConnections;
  // Who takes no answer holds no connection. A stream is written to more often than that.
  server.setTimeout(limits.consoleSilenceMs);
  const listening = await listen(server, options.host, options.port, { nextFree: options.nextFree ?? false });
  // Cookies are of a host, whatever the port: another console of this machine has another one.
  const { port } = listening;
  cookieName = `certstandby-console-${port}`;
  const note = () =>
    presence.note(port).catch((thrown: unknown) => log('warn', 'console_not_noted', errorFields(asCodedError(thrown))));
  await note();
  const noting = setInterval(note, presenceEveryMs).unref();
  return {
    ...listening,
    async close() {
      clearInterval(noting);
      sessions.closeAll();
      screens.forget();
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      await Promise.all([closed, presence.leave(port).catch(() => undefined)]);
    },
  };
}

function send(request: IncomingMessage, response: ServerResponse, { status, body, headers = {} }: Answer): void {
  request.resume();
  const length = { 'content-length': Buffer.byteLength(body) };
  response.writeHead(status, { ...everyAnswer, ...headers, ...length });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Tells of refused links once a minute at most, and how many there were: anybody may try. */
function refusalLog(now: () => number, log: Log) {
  let toldAt = Number.NEGATIVE_INFINITY;
  let refused = 0;
  return {
    add(): void {
      refused += 1;
      const at = now();
      if (at >= toldAt && at < toldAt + refusalsToldMs) return;
      log('warn', 'console_sign_in_refused', { refused });
      toldAt = at;
      refused = 0;
    },
  };
}
const refusalsToldMs = 60_000;

/**
 * Whether it was asked for by a name of this machine: a name of somebody else's that leads here is
 * another origin to the browser, whose pages could otherwise read the answers (DNS rebinding).
 */
function isOwnName(request: IncomingMessage): boolean {
  const given = request.headersDistinct.host ?? [];
  if (given.length !== 1) return false;
  const [, name] = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?$/i.exec(given[0] ?? '') ?? [];
  return name !== undefined && isLoopback(name.toLowerCase());
}

/**
 * Whether a page of another origin asks, by what browsers say of themselves. Another port of this
 * machine is another origin, though it gets the same cookies. To come here by a link is no harm.
 */
function isForeign({ method, headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site === undefined || site === 'same-origin' || site === 'none') return false;
  return method !== 'GET' || headers['sec-fetch-mode'] !== 'navigate' || headers['sec-fetch-dest'] !== 'document';
}

const mediaTypeOf = ({ headers }: IncomingMessage): string =>
  (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';

/**
 * The body of a form; `undefined` if it is longer than any form here, or was broken off. What is
 * too long is read a little further and thrown away, so that its sender gets to read the answer.
 */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const most = limits.consoleFormBytes;
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length <= most) chunks.push(chunk);
      // Leaving the loop ends the connection.
      else if (length > most * 64) return undefined;
    }
  } catch {
    // It was broken off: nobody reads an answer, and nothing of ours has failed.
    return undefined;
  }
  return length > most ? undefined : Buffer.concat(chunks).toString();
}
