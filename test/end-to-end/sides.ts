import type { KeyObject } from 'node:crypto';
import { type Log, silentLog } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import type { Store } from '../../src/store/store.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { apiKeyOf, exchangeToken, startTestInstance, type TestInstance } from '../support/instance.ts';
import { backupCrn, primaryCrn } from './program.ts';

/** A service, as the program and as the test see it. */
export interface Side {
  /** What the program talks to. */
  readonly proxy: FaultyProxy;
  /** The store as someone sees it who does not go through the proxy. */
  readonly store: Store;
  /** Where the service is, without the proxy. */
  readonly url: string;
}

export interface Sides {
  readonly primary: Side;
  readonly backup: Side;
  /** The manager's, of both. */
  readonly apiKey: string;
  /** Loses everything that the backup holds, as an instance in memory does when it is restarted. */
  restartBackup(): Promise<void>;
  /** A channel of the primary. */
  addChannel(endpoint: string): Promise<void>;
  close(): Promise<void>;
}

export interface SidesOptions {
  /** Signs the primary's notifications. */
  readonly signingKey?: KeyObject;
  readonly apiKey?: string;
  /** Of both instances. */
  readonly log?: Log;
}

/** Two instances in two regions over real HTTP, and a proxy before each. */
export async function startSides(options: SidesOptions = {}): Promise<Sides> {
  const { signingKey, apiKey = apiKeyOf('manager'), log = silentLog } = options;
  const apiKeys = [{ name: 'manager', key: new Secret(apiKey), role: 'manager' as const }];
  const start = (crn: string, port = 0) =>
    startTestInstance({ crn, port, apiKeys, log, ...(signingKey && { signingKey }) });
  const side = async (instance: TestInstance): Promise<Side> => ({
    proxy: await startFaultyProxy(instance.url),
    store: certificateManagerStore({
      instance: instance.crn,
      apiKey: new Secret(apiKey),
      endpoint: instance.url,
      iamUrl: instance.url,
      runtime,
    }),
    url: instance.url,
  });
  const primaryInstance = await start(primaryCrn);
  let backupInstance = await start(backupCrn);
  const primary = await side(primaryInstance);
  const backup = await side(backupInstance);

  return {
    primary,
    backup,
    apiKey,
    async restartBackup() {
      await backupInstance.close();
      backupInstance = await start(backupCrn, Number(new URL(backup.url).port));
    },
    addChannel: (endpoint) => createChannel(primary.url, apiKey, endpoint),
    async close() {
      await Promise.all([primaryInstance.close(), backupInstance.close(), primary.proxy.close(), backup.proxy.close()]);
    },
  };
}

export async function createChannel(url: string, apiKey: string, endpoint: string): Promise<void> {
  const created = await fetch(`${url}/api/v1/instances/${encodeURIComponent(primaryCrn)}/notifications/channels`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${await exchangeToken(url, apiKey)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'url', endpoint, is_active: true }),
  });
  if (!created.ok) throw new Error(`no channel: HTTP ${created.status}`);
}
