import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

/** A request to invoke an action, as it arrived. */
export interface Invocation {
  readonly url: string;
  readonly authorization: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/**
 * The one operation of the platform's API that actions call: it keeps what was asked, and answers
 * as the platform does.
 */
export interface OpenwhiskApi {
  readonly host: string;
  readonly invocations: Invocation[];
  /** With which status it refuses from now on; `silence` for no answer at all. */
  refuses: number | 'silence' | undefined;
  close(): Promise<void>;
}

export async function startOpenwhiskApi(): Promise<OpenwhiskApi> {
  const invocations: Invocation[] = [];
  const api: Pick<OpenwhiskApi, 'refuses'> = { refuses: undefined };
  const server = createServer(async (request, response) => {
    const params = (await json(request).catch(() => ({}))) as Record<string, unknown>;
    if (api.refuses === 'silence') return;
    const isInvoke = request.method === 'POST' && /^\/api\/v1\/namespaces\/[^/]+\/actions\//.test(request.url ?? '');
    const status = api.refuses ?? (isInvoke ? 202 : 404);
    if (status === 202) {
      const { url = '', headers } = request;
      invocations.push({ url, authorization: headers.authorization ?? '', params });
    }
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(status === 202 ? { activationId: 'a'.repeat(32) } : { error: 'no', code: 'x' }));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return Object.assign(api, {
    host: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    invocations,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}
