import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type Listening, listen } from '../http/listen.ts';
import type { TlsFiles } from '../http/tls-files.ts';
import { limits as allLimits } from '../limits.ts';
import type { Log } from '../log.ts';
import type { CallbackRequest, CallbackResponse } from './receiver.ts';
import { drain, receiveBody } from './request-body.ts';

/**
 * Bounds of the server in milliseconds and connections; each defaults to the one of that name in
 * `limits`.
 */
type HostLimit = 'requestHeadersMs' | 'requestMs' | 'lingerMs' | 'closeMs' | 'receiverConnections';

export interface ReceiverServerOptions {
  /** From `createReceiver`. */
  readonly receiver: (request: CallbackRequest) => Promise<CallbackResponse>;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Takes the next free port if this one is taken. */
  readonly nextFree?: boolean;
  /** Ends TLS here, with what the files hold now; without it, it speaks plain HTTP. */
  readonly tls?: TlsFiles;
  /**
   * What `GET /readyz` answers by: whether a notification would be acknowledged now. Default: yes.
   * Told to everybody, so no reasons.
   */
  readonly ready?: () => Promise<boolean>;
  readonly log: Log;
  readonly limits?: { readonly [limit in HostLimit]?: number };
}

/**
 * A running server: callbacks at `/callback/<link>`; `GET /healthz` answers while it runs,
 * `/readyz` whether it is of use.
 */
export interface ReceiverServer extends Listening {
  /**
   * Takes no more connections, lets requests under way finish for a bounded time, then ends what is
   * left.
   */
  close(): Promise<void>;
}

/**
 * Serves a receiver over HTTP/1.1, with TLS or, where that is ended in front of it, without.
 * Rejects with `configuration_invalid`, naming the port, if it cannot listen there.
 */
export async function startReceiverServer(options: ReceiverServerOptions): Promise<ReceiverServer> {
  const { log } = options;
  const limits = { ...allLimits, ...options.limits };
  let underWay = 0;
  let closing = false;

  const handle = (awaitsContinue: boolean) => (request: IncomingMessage, response: ServerResponse) => {
    underWay += 1;
    response.once('close', () => {
      underWay -= 1;
      if (closing && underWay === 0) server.closeAllConnections();
    });
    const begin = () => void (awaitsContinue && response.writeContinue());
    const { receiver, ready = async () => true } = options;
    const isClosing = () => closing;
    const context = { receiver, ready, lingerMs: limits.lingerMs, begin, isClosing };
    answer(request, response, context).catch((thrown) => {
      log('error', 'request_failed', { message: thrown instanceof Error ? thrown.message : typeof thrown });
      response.destroy();
    });
  };
  const server = serverFor(options.tls, {
    headersTimeout: limits.requestHeadersMs,
    requestTimeout: limits.requestMs,
    connectionsCheckingInterval: Math.min(limits.requestHeadersMs, limits.requestMs) / 2,
  });
  server.maxConnections = limits.receiverConnections;
  server.on('request', handle(false));
  server.on('checkContinue', handle(true));
  const listening = await listen(server, options.host, options.port, { nextFree: options.nextFree ?? false });
  const url = options.tls === undefined ? listening.url : listening.url.replace(/^http:/, 'https:');
  server.on('error', (error) => log('error', 'receiver_server', { message: error.message }));

  let closed: Promise<void> | undefined;
  return {
    ...listening,
    url,
    close() {
      closing = true;
      closed ??= closeServer(server, limits.closeMs);
      if (underWay === 0) server.closeAllConnections();
      return closed;
    },
  };
}

function serverFor(tls: TlsFiles | undefined, options: ServerOptions): Server | TlsServer {
  if (tls === undefined) return createServer(options);
  const server = createTlsServer({ ...options, ...tls.current(), minVersion: 'TLSv1.2' });
  tls.onChange((content) => server.setSecureContext({ ...content, minVersion: 'TLSv1.2' }));
  return server;
}

function closeServer(server: Server | TlsServer, patienceMs: number): Promise<void> {
  const impatient = setTimeout(() => server.closeAllConnections(), patienceMs);
  return new Promise((resolve) => {
    server.close(() => {
      clearTimeout(impatient);
      resolve();
    });
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  context: {
    readonly receiver: ReceiverServerOptions['receiver'];
    readonly ready: () => Promise<boolean>;
    readonly begin: () => void;
    readonly lingerMs: number;
    readonly isClosing: () => boolean;
  },
): Promise<void> {
  const path = pathOf(request.url ?? '');
  if (path === '/healthz' || path === '/readyz') {
    const good = path === '/healthz' || (!context.isClosing() && (await context.ready()));
    send(response, health(request.method, good));
    response.end();
    return;
  }
  const body = await receiveBody(request, context.begin);
  if (body === undefined) return;
  const answered = await context.receiver({
    method: request.method ?? '',
    path,
    header: (name) => request.headersDistinct[name.toLowerCase()]?.join(', '),
    body: body.bytes,
  });
  if (!body.complete || context.isClosing()) response.setHeader('connection', 'close');
  send(response, answered);
  // The answer is complete for its reader; closing at once on a sender who still sends would take
  // it away again.
  if (!body.complete) await drain(request, context.lingerMs);
  response.end();
}

/** The path as it was sent, without the query; of an absolute URL (RFC 9112, 3.2.2) too. */
function pathOf(target: string): string {
  const [path = ''] = target.replace(/^https?:\/\/[^/?]*/i, '').split('?');
  return path;
}

function health(method: string | undefined, good: boolean): CallbackResponse {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' };
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, headers: { ...headers, allow: 'GET, HEAD' }, body: JSON.stringify({ message: 'use GET' }) };
  return good
    ? { status: 200, headers, body: JSON.stringify({ status: 'ok' }) }
    : { status: 503, headers, body: JSON.stringify({ status: 'not ready' }) };
}

function send(response: ServerResponse, { status, headers, body }: CallbackResponse): void {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
  response.write(body);
}
