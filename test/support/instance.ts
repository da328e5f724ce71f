import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { type InstanceServerOptions, startInstanceServer } from '../../src/instance/api/server.ts';
import type { InstanceOptions, Role } from '../../src/instance/tenants/instance.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { testKeyring } from './keyring.ts';
import { instanceCrn } from './notifications.ts';

/**
 * One server with one instance (and others, if asked) on 127.0.0.1, with an API key for each role.
 */
export interface TestInstance {
  /**
   * `http://127.0.0.1:<port>`: the API is below `/api`, the token endpoint is `/identity/token`.
   */
  readonly url: string;
  readonly crn: string;
  /** The manager's. */
  readonly apiKey: string;
  /** A new access token, by default the manager's. */
  token(role?: Role): Promise<string>;
  close(): Promise<void>;
}

/**
 * What differs: of the server, and of the one instance. Channels may be on this machine, rates and
 * numbers are not limited.
 */
export interface TestInstanceOptions
  extends Partial<Omit<InstanceServerOptions, 'instances'>>,
    Partial<Omit<InstanceOptions, 'limits'>> {
  /** Other instances of the same server. */
  readonly others?: readonly InstanceOptions[];
}

/** API keys of the test instance by role. */
export const apiKeyOf = (role: Role): string => `test-api-key-of-the-${role}`;

let signingKey: KeyObject | undefined;

/** Starts it; close it when done. */
export async function startTestInstance(options: TestInstanceOptions = {}): Promise<TestInstance> {
  const { others = [], crn = instanceCrn, ...given } = options;
  // One for all instances of the process: making it takes longer than most tests.
  signingKey ??= generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const roles: readonly Role[] = ['reader', 'writer', 'manager'];
  const instance: InstanceOptions = {
    crn,
    apiKeys: options.apiKeys ?? roles.map((role) => ({ name: role, key: new Secret(apiKeyOf(role)), role })),
    signingKey: options.signingKey ?? signingKey,
    ...(options.channelVersion !== undefined && { channelVersion: options.channelVersion }),
    allowLoopbackChannels: options.allowLoopbackChannels ?? true,
    allowPrivateChannels: options.allowPrivateChannels ?? false,
  };
  const server = await startInstanceServer({
    host: '127.0.0.1',
    port: 0,
    table: memoryTable(),
    runtime: systemRuntime,
    log: silentLog,
    limits: 'none',
    keyringOf: (tenant) => testKeyring(tenant),
    ...given,
    instances: [instance, ...others],
  });
  return {
    url: server.url,
    crn,
    apiKey: apiKeyOf('manager'),
    token: (role = 'manager') => exchangeToken(server.url, apiKeyOf(role)),
    close: server.close,
  };
}

/** An access token for an API key. Throws if the server gives none. */
export async function exchangeToken(url: string, apiKey: string): Promise<string> {
  const response = await fetch(`${url}/identity/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'urn:ibm:params:oauth:grant-type:apikey', apikey: apiKey }),
  });
  const body = (await response.json()) as { access_token?: string };
  if (body.access_token === undefined) throw new Error(`no token: HTTP ${response.status}`);
  return body.access_token;
}
