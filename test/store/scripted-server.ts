import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  /** Path and query, not decoded. */
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/**
 * What is done with one request: a fixed answer, or whatever the function does to the connection.
 */
export type Step =
  | { readonly status?: number; readonly headers?: Record<string, string>; readonly body?: unknown }
  | ((request: SeenRequest, response: ServerResponse) => void);

/**
 * A server that answers each request with the next step of its script. A request beyond the script
 * gets 418.
 */
export interface ScriptedServer {
  readonly url: string;
  /** Requests so far, without those to IAM. */
  readonly requests: readonly SeenRequest[];
  /**
   * Requests to `/identity/token`. They take their steps from `iam`, else give `token-1`,
   * `token-2`, ...
   */
  readonly exchanges: readonly SeenRequest[];
  /** Adds steps. */
  answers(...steps: Step[]): void;
  iam(...steps: Step[]): void;
  close(): Promise<void>;
}

export async function startScriptedServer(): Promise<ScriptedServer> {
  const requests: SeenRequest[] = [];
  const exchanges: SeenRequest[] = [];
  const script: Step[] = [];
  const iamScript: Step[] = [];

  const grant = (): Step => ({
    body: { access_token: `token-${exchanges.length}`, expires_in: 3600, expiration: 1, token_type: 'Bearer' },
  });

  const server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method = '', url = '', headers } = incoming;
    const request = { method, url, headers, body: Buffer.concat(chunks).toString() };
    const isExchange = url === '/identity/token';
    (isExchange ? exchanges : requests).push(request);
    const step = isExchange ? (iamScript.shift() ?? grant()) : (script.shift() ?? { status: 418 });
    if (typeof step === 'function') return step(request, response);
    const { status = 200, headers: given = {}, body = '' } = step;
    const isText = typeof body === 'string';
    response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...given });
    response.end(isText ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    exchanges,
    answers: (...steps) => void script.push(...steps),
    iam: (...steps) => void iamScript.push(...steps),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
