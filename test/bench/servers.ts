import { createPrivateKey } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { findRoutes } from '../../src/instance/api/routes.ts';
import { apiKeyOf, startTestInstance } from '../support/instance.ts';
import { instanceCrn } from '../support/notifications.ts';
import { startRelay } from './relay.ts';
import type { Side } from './rest.ts';
import { clockMs } from './statistics.ts';

/** A primary and a backup, each a server of its own. */
export interface Pair {
  readonly primary: Side;
  readonly backup: Side;
}

/**
 * Requests that arrived, by what they asked for: `download`, `reimport`, `token`, ... of both
 * servers together.
 */
export type RequestCounts = Readonly<Record<string, number>>;

const apiKey = apiKeyOf('manager');
const backupGuid = '66666666-7777-4888-9999-aaaaaaaaaaaa';
export const backupCrn = `crn:v1:bluemix:public:cloudcerts:eu-gb:a/00000000000000000000000000000001:${backupGuid}::`;

export interface ServerOptions {
  /** PEM of the key that signs what the primary says. */
  readonly signingKey: string;
  /** What the network between the contenders and the servers takes, each way. */
  readonly oneWayMs: number;
}

/** Both servers in this process, unlimited, on tables in memory. */
export async function startServers({ signingKey, oneWayMs }: ServerOptions) {
  const [primary, backup] = await Promise.all([
    startTestInstance({ crn: instanceCrn, signingKey: createPrivateKey(signingKey) }),
    startTestInstance({ crn: backupCrn }),
  ]);
  const relays: Awaited<ReturnType<typeof startRelay>>[] = [];
  async function seenFromAfar({ url, crn }: Pick<Side, 'url' | 'crn'>): Promise<Side> {
    const relay = await startRelay(Number(new URL(url).port), oneWayMs);
    relays.push(relay);
    return { url: `http://127.0.0.1:${relay.port}`, crn, apiKey };
  }
  const near: Pair = {
    primary: { url: primary.url, crn: primary.crn, apiKey },
    backup: { url: backup.url, crn: backup.crn, apiKey },
  };

  let counts: Record<string, number> = {};
  // Counted where they arrive: what a client says about its own requests is not asked.
  const count = (message: unknown) => {
    const name = operationOf((message as { readonly request: IncomingMessage }).request);
    counts[name] = (counts[name] ?? 0) + 1;
  };
  let backupWroteAt = 0;
  const noteWrite = (message: unknown) => {
    const { request } = message as { readonly request: IncomingMessage };
    const isWrite = ['import', 'reimport'].includes(operationOf(request));
    if (isWrite && pathOf(request).includes(backupGuid)) backupWroteAt = clockMs();
  };
  subscribe('http.server.request.start', count);
  subscribe('http.server.response.finish', noteWrite);
  return {
    /** For the one who measures: without the network. */
    near,
    /** For the contenders. */
    pair:
      oneWayMs === 0 ? near : { primary: await seenFromAfar(near.primary), backup: await seenFromAfar(near.backup) },
    /** The requests since the last call, or since the start. */
    takeCounts(): RequestCounts {
      const taken = counts;
      counts = {};
      return taken;
    },
    /**
     * When the backup last answered an import or a reimport: since then at the latest it serves
     * what it was given.
     */
    backupWroteAt: () => backupWroteAt,
    async close(): Promise<void> {
      unsubscribe('http.server.request.start', count);
      unsubscribe('http.server.response.finish', noteWrite);
      await Promise.all([...relays, primary, backup].map((each) => each.close()));
    },
  };
}

function operationOf(request: IncomingMessage): string {
  const path = pathOf(request);
  if (path === '/identity/token') return 'token';
  return findRoutes(path)?.routes.find(({ method }) => method === request.method)?.name ?? 'other';
}

const pathOf = ({ url = '' }: IncomingMessage): string => url.split('?', 1).join();

/** The process that holds both servers. */
export function serverHandlers() {
  let servers: Awaited<ReturnType<typeof startServers>> | undefined;
  return {
    async start(options: ServerOptions): Promise<{ readonly near: Pair; readonly pair: Pair }> {
      servers = await startServers(options);
      const { near, pair } = servers;
      return { near, pair };
    },
    takeCounts: (): RequestCounts => servers?.takeCounts() ?? {},
    backupWroteAt: (): number => servers?.backupWroteAt() ?? 0,
  };
}
