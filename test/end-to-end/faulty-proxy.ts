import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listen } from '../../src/receiver/listen.ts';

/** What the proxy does with one request: pass it on, or something worse. */
export type Behaviour =
  | 'pass'
  /** The connection ends before anything is passed on. */
  | 'drop'
  /** It is passed on, takes effect, and the connection ends instead of an answer. */
  | 'drop-after'
  /** It is passed on, and the answer comes so many milliseconds late. */
  | { readonly delayMs: number }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string };

export interface FaultyProxy {
  readonly url: string;
  /** Decides what becomes of each request. Replace it at any time. */
  behave: (request: { readonly method: string; readonly path: string }) => Behaviour;
  /** Requests seen, as `METHOD path`. */
  readonly requests: string[];
  close(): Promise<void>;
}

/** A proxy on loopback in front of a real instance: the faults of a network, and of a service that has a bad day. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    requests.push(`${method} ${url}`);
    const behaviour = proxy.behave({ method, path: url });
    if (behaviour === 'drop') return void request.socket.destroy();
    if (typeof behaviour === 'object' && 'status' in behaviour) {
      response.writeHead(behaviour.status, behaviour.headers).end(behaviour.body ?? '');
      return;
    }
    const body: Uint8Array[] = [];
    for await (const chunk of request) body.push(chunk as Uint8Array);
    const { authorization, 'content-type': contentType } = request.headers;
    const answer = await fetch(target + url, {
      method,
      headers: { ...(authorization && { authorization }), ...(contentType && { 'content-type': contentType }) },
      ...(body.length > 0 && { body: Buffer.concat(body) }),
    });
    const text = await answer.text();
    if (behaviour === 'drop-after') return void request.socket.destroy();
    if (typeof behaviour === 'object') await new Promise((resolve) => setTimeout(resolve, behaviour.delayMs));
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
  }

  const { url } = await listen(server, '127.0.0.1', 0, { nextFree: false });
  const proxy: FaultyProxy = {
    url,
    behave: () => 'pass',
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return proxy;
}
