import { createServer, type ServerResponse } from 'node:http';
import { asCodedError } from '../errors.ts';
import { type Listening, listen, requestBounds } from '../http/listen.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { Metrics } from './metrics.ts';
import type { Readiness } from './readiness.ts';

export interface MonitorServer extends Listening {
  close(): Promise<void>;
}

/**
 * The listener for those who watch: `GET /metrics` for Prometheus, `/healthz` (the process answers)
 * and `/readyz` (whether notifications would be acknowledged, and if not, why; and which callbacks
 * wait for what proves their sender). It is apart from
 * the callback's, because that one faces the internet. Rejects with `configuration_invalid`, naming
 * the port, if it cannot listen there.
 */
export async function startMonitorServer(options: {
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>;
  readonly readiness: () => Promise<Readiness>;
  readonly host: string;
  readonly port: number;
  readonly log: Log;
}): Promise<MonitorServer> {
  const { metrics, log } = options;
  const pages: Readonly<Record<string, (response: ServerResponse) => Promise<void>>> = {
    '/healthz': async (response) => json(response, 200, { status: 'ok' }),
    async '/readyz'(response) {
      const { problems, waiting } = await options.readiness();
      const more = waiting.length === 0 ? {} : { waiting };
      if (problems.length === 0) json(response, 200, { status: 'ok', ...more });
      else json(response, 503, { status: 'not ready', problems });
    },
    async '/metrics'(response) {
      const text = await metrics.text();
      response.writeHead(200, { 'content-type': metrics.contentType, 'cache-control': 'no-store' }).end(text);
    },
  };
  const server = createServer(requestBounds, (request, response) => {
    request.resume();
    const [path = ''] = (request.url ?? '').split('?');
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (page === undefined) return json(response, 404, { message: `there are ${Object.keys(pages).join(', ')}` });
    if (request.method !== 'GET' && request.method !== 'HEAD') return json(response, 405, { message: 'use GET' });
    page(response).catch((thrown: unknown) => {
      log('error', 'monitor_failed', { path, ...errorFields(asCodedError(thrown)) });
      if (response.headersSent) response.destroy();
      else json(response, 500, { message: 'a fault on this side; the log says more' });
    });
  });
  server.maxConnections = limits.monitorConnections;
  const listening = await listen(server, options.host, options.port, { nextFree: false });
  return {
    ...listening,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function json(response: ServerResponse, status: number, body: object): void {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' };
  response.writeHead(status, headers).end(JSON.stringify(body));
}
