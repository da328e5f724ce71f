import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { accessOf } from '../../src/services/kubernetes/access.ts';
import { apiOf } from '../../src/services/kubernetes/api.ts';
import { kubernetesStore } from '../../src/services/kubernetes/store.ts';
import type { Store } from '../../src/store/store.ts';
import { runCommand, type TestHost, testHost } from '../support/command.ts';
import type { Cluster } from './kube-apiserver.ts';

/** A store of these namespaces, opened beside the program that is looked at. */
export function storeAt(cluster: Cluster, namespaces: readonly string[]): Store {
  const token = new Secret(cluster.tokens.admin);
  const by = { by: 'token', server: cluster.url, ca: cluster.trustFile, token } as const;
  const api = apiOf(accessOf(by, { runtime, secret: () => token }), runtime);
  return kubernetesStore({ id: 'beside', region: 'cluster', api, runtime, namespaces });
}

/** How a configuration reaches the cluster. */
export const reach = (cluster: Cluster) =>
  `server: "${cluster.url}", ca: ${cluster.trustFile}, token: env:TOKEN_${new URL(cluster.url).port}`;

/** Puts a kubeconfig of a cluster into a folder. */
export function putKubeconfig(folder: string, name: string, cluster: Cluster): void {
  const config = JSON.parse(readFileSync(cluster.kubeconfig({ token: cluster.tokens.admin }), 'utf8'));
  config.clusters[0].cluster['certificate-authority'] = cluster.trustFile;
  writeFileSync(join(folder, name), JSON.stringify(config), { mode: 0o600 });
}

/** A configuration in a folder of its own, and commands on it. */
export function program(
  clusters: readonly Cluster[],
  text: (folder: string) => string,
  more: Readonly<Record<string, string>> = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-recipe-'));
  const file = join(folder, 'certstandby.yaml');
  const head = 'version: 1\nreceiver: { port: 0 }\nserve: { metrics: { port: 0 } }\nworker: { sweepEvery: 1s }\n';
  const configure = (config: string): string => {
    writeFileSync(file, head + config);
    return folder;
  };
  configure(text(folder));
  const tokens = clusters.map((cluster) => [`TOKEN_${new URL(cluster.url).port}`, cluster.tokens.admin] as const);
  const env = { ...more, ...Object.fromEntries(tokens) };
  const run = (...args: readonly string[]) => runCommand([...args, '--config', file], testHost({ env }));
  let host: TestHost | undefined;
  let ended: Promise<unknown> | undefined;
  return {
    folder,
    run,
    /** Puts another configuration in its place. */
    configure,
    /** Runs serve in this process until it is stopped. */
    async serve(): Promise<void> {
      host = testHost({ env });
      ended = runCommand(['serve', '--config', file], host);
      await expect.poll(() => `${host?.output()}${host?.errors()}`).toContain('"serving"');
    },
    log: () => `${host?.output() ?? ''}${host?.errors() ?? ''}`,
    async stop(): Promise<void> {
      host?.signal('SIGTERM');
      await ended;
      host = undefined;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Fingerprint of what lies in a secret; what else is said of it where it cannot be read. */
export async function fingerprintAt(store: Store, id: string): Promise<string> {
  const found = await store.read(id);
  return found.state === 'present' ? fingerprintOf(found.value.content) : found.state;
}
