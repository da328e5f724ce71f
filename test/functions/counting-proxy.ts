import { createServer, request as sendHttp } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A proxy on loopback before an AWS service with a JSON protocol, that counts operations by their
 * names.
 */
export interface CountingProxy {
  readonly endpoint: string;
  /** What was asked since the last call, `UpdateItem` and so on, and begins anew. */
  take(): Readonly<Record<string, number>>;
  close(): Promise<void>;
}

export async function startCountingProxy(target: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(target);
  let counts: Record<string, number> = {};
  const server = createServer((request, response) => {
    const [, operation = 'other'] = String(request.headers['x-amz-target']).split('.');
    counts[operation] = (counts[operation] ?? 0) + 1;
    const { method, url, headers } = request;
    const passed = sendHttp({ hostname, port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    passed.once('error', () => response.destroy());
    request.pipe(passed);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    take() {
      const taken = counts;
      counts = {};
      return taken;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
