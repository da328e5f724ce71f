import { createPrivateKey } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { findRoutes } from '../../src/instance/routes.ts';
import { apiKeyOf, startTestInstance } from '../support/instance.ts';
import { instanceCrn } from '../support/notifications.ts';
import type { Side } from './rest.ts';

/** A primary and a backup, each a server of its own. */
export interface Pair {
  readonly primary: Side;
  readonly backup: Side;
}

/** Requests that arrived, by what they asked for: `download`, `reimport`, `token`, ... of both servers together. */
export type RequestCounts = Readonly<Record<string, number>>;

const backupCrn =
  'crn:v1:bluemix:public:cloudcerts:eu-gb:a/00000000000000000000000000000001:66666666-7777-4888-9999-aaaaaaaaaaaa::';

/** Both servers in this process, unlimited, on tables in memory. `signingKeyPem` signs what the primary says. */
export async function startServers(signingKeyPem: string) {
  const signingKey = createPrivateKey(signingKeyPem);
  const [primary, backup] = await Promise.all([
    startTestInstance({ crn: instanceCrn, signingKey }),
    startTestInstance({ crn: backupCrn }),
  ]);
  let counts: Record<string, number> = {};
  // Counted where they arrive: what a client says about its own requests is not asked.
  const count = (message: unknown) => {
    const name = operationOf((message as { readonly request: IncomingMessage }).request);
    counts[name] = (counts[name] ?? 0) + 1;
  };
  subscribe('http.server.request.start', count);
  const sideOf = ({ url, crn }: Side): Side => ({ url, crn, apiKey: apiKeyOf('manager') });
  return {
    pair: { primary: sideOf(primary), backup: sideOf(backup) } satisfies Pair,
    /** The requests since the last call, or since the start. */
    takeCounts(): RequestCounts {
      const taken = counts;
      counts = {};
      return taken;
    },
    async close(): Promise<void> {
      unsubscribe('http.server.request.start', count);
      await Promise.all([primary.close(), backup.close()]);
    },
  };
}

function operationOf({ method, url = '' }: IncomingMessage): string {
  const [path = ''] = url.split('?');
  if (path === '/identity/token') return 'token';
  return findRoutes(path)?.routes.find((route) => route.method === method)?.name ?? 'other';
}

/** The process that holds both servers. */
export function serverHandlers() {
  let servers: Awaited<ReturnType<typeof startServers>> | undefined;
  return {
    async start(signingKeyPem: string): Promise<Pair> {
      servers = await startServers(signingKeyPem);
      return servers.pair;
    },
    takeCounts: (): RequestCounts => servers?.takeCounts() ?? {},
  };
}
