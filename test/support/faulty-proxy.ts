import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listen } from '../../src/http/listen.ts';

/** What the proxy does with one request: pass it on, or something worse. */
export type Behaviour =
  | 'pass'
  /** The connection ends before anything is passed on. */
  | 'drop'
  /** It is passed on, takes effect, and the connection ends instead of an answer. */
  | 'drop-after'
  /**
   * The connection ends at once; so many milliseconds later the request is passed on all the same,
   * and takes effect.
   */
  | { readonly lateMs: number }
  /** It is passed on, and the answer comes so many milliseconds late. */
  | { readonly delayMs: number }
  /** It is passed on, and the answer comes when this is over. */
  | { readonly until: Promise<unknown> }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string };

interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  /** The header of that name; empty if there is none. */
  readonly authorization: string;
}

export interface FaultyProxy {
  readonly url: string;
  /** Decides what becomes of each request. Replace it at any time. */
  behave: (request: ProxiedRequest) => Behaviour;
  /** Requests seen, as `METHOD path`. */
  readonly requests: string[];
  /** Ends all connections and takes no new ones for so long. */
  down(milliseconds: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * A proxy on loopback in front of a real instance: the faults of a network, and of a service that
 * has a bad day. Port 0 takes any; else it or the next free one.
 */
export async function startFaultyProxy(target: string, firstPort = 0): Promise<FaultyProxy> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '' } = request;
    requests.push(`${method} ${path}`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const body = Buffer.concat(chunks).toString();
    const { authorization = '', 'content-type': contentType } = request.headers;
    const behaviour = proxy.behave({ method, path, body, authorization });
    if (behaviour === 'drop') return void request.socket.destroy();
    if (typeof behaviour === 'object' && 'status' in behaviour) {
      response.writeHead(behaviour.status, behaviour.headers).end(behaviour.body ?? '');
      return;
    }
    if (typeof behaviour === 'object' && 'lateMs' in behaviour) {
      request.socket.destroy();
      await pause(behaviour.lateMs);
    }
    const answer = await fetch(target + path, {
      method,
      headers: { ...(authorization && { authorization }), ...(contentType && { 'content-type': contentType }) },
      ...(body !== '' && { body }),
    });
    const text = await answer.text();
    if (behaviour === 'drop-after') return void request.socket.destroy();
    if (typeof behaviour === 'object' && 'delayMs' in behaviour) await pause(behaviour.delayMs);
    if (typeof behaviour === 'object' && 'until' in behaviour) await behaviour.until;
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
  }

  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  const { url, port } = await listen(server, '127.0.0.1', firstPort, { nextFree: true });
  const proxy: FaultyProxy = {
    url,
    behave: () => 'pass',
    requests,
    async down(milliseconds) {
      await close();
      await pause(milliseconds);
      await listen(server, '127.0.0.1', port, { nextFree: false });
    },
    close,
  };
  return proxy;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
