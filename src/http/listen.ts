import { isIPv6, type Server } from 'node:net';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';

/**
 * Until when the headers and the whole of a request must have arrived, for every listener of this
 * program. Node looks at it each half a minute unless told otherwise, and who sends a byte now and
 * then would hold a connection for that long.
 */
export const requestBounds = {
  headersTimeout: limits.requestHeadersMs,
  requestTimeout: limits.requestMs,
  connectionsCheckingInterval: limits.requestHeadersMs / 2,
} as const;

/** Where an HTTP server listens. */
export interface Listening {
  /** `http://<host>:<port>` */
  readonly url: string;
  readonly port: number;
}

/**
 * Makes an HTTP server listen; port 0 asks for any free one. With `nextFree`, a port that is taken
 * is passed over for the one after it, `limits.portsTried` ports in all. Rejects with
 * `configuration_invalid`, naming host and port, if it cannot listen there.
 */
export async function listen(
  server: Server,
  host: string,
  port: number,
  options: { readonly nextFree: boolean },
): Promise<Listening> {
  const last = options.nextFree && port !== 0 ? Math.min(port + limits.portsTried - 1, 65_535) : port;
  for (let candidate = port; ; candidate += 1) {
    try {
      const got = await listenOnce(server, host, candidate);
      return { url: `http://${isIPv6(host) ? `[${host}]` : host}:${got}`, port: got };
    } catch (thrown) {
      const taken = (thrown as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (taken && candidate < last) continue;
      const ports = taken && last > port ? `ports ${port} to ${last}` : `port ${candidate}`;
      throw cannotListen(thrown, `${host}, ${ports}`, { host, port });
    }
  }
}

function listenOnce(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      server.off('error', settle);
      server.off('listening', settle);
      const address = server.address();
      if (error !== undefined) reject(error);
      else resolve(typeof address === 'object' && address !== null ? address.port : port);
    };
    server.on('error', settle);
    server.on('listening', settle);
    server.listen({ host, port });
  });
}

function cannotListen(cause: unknown, place: string, fields: { host: string; port: number }): CodedError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const reason = code === 'EADDRINUSE' ? 'already taken' : (code ?? message);
  return new CodedError('configuration_invalid', `cannot listen on ${place}: ${reason}`, { cause, fields });
}
