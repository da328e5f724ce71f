import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { openInstances } from '../../src/compose/instances.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import type { Store } from '../../src/store/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { apiKeyOf, exchangeToken, startTestInstance } from '../support/instance.ts';
import { backupCrn, primaryCrn, startProgram } from './program.ts';
import { createChannel } from './sides.ts';

let folder: string;
const closers: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-recovery-'));
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

const apiKey = apiKeyOf('manager');

/**
 * The primary as `instance run` serves it: LMDB, root keys in files. Without HTTP until `serve`.
 */
async function openPrimary(table: string, rootKeys: readonly string[]) {
  const instances = await openInstances(
    {
      table: { kind: 'lmdb', path: join(folder, table) },
      rootKeys: rootKeys.map((name) => ({ kind: 'file', path: join(folder, name) })),
    },
    { runtime, log: silentLog },
  );
  return {
    instances,
    async serve() {
      const server = await instances.serve({ host: '127.0.0.1', port: 0, instances: [] });
      const close = async () => {
        await server.close();
        await instances.close();
      };
      closers.push(close);
      return { url: server.url, store: storeAt(server.url, primaryCrn), close };
    },
  };
}

function storeAt(url: string, instance: string): Store {
  return certificateManagerStore({ instance, apiKey: new Secret(apiKey), endpoint: url, iamUrl: url, runtime });
}

/** What a store holds: fingerprints by name. */
async function fingerprints(store: Store): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const { id, name } of (await store.list({})).certificates) {
    const reading = await store.read(id);
    found.set(name, reading.state === 'present' ? fingerprintOf(reading.value.content) : reading.state);
  }
  return found;
}

test.each([
  ['with both root keys', ['one.key', 'two.key']],
  ['with the first of two root keys gone', ['two.key']],
])('snapshot, destroy the primary, restore it, replicate on, %s: fingerprints equal', async (_, left) => {
  const backup = await startTestInstance({ crn: backupCrn });
  closers.push(backup.close);
  const first = await openPrimary('data', ['one.key', 'two.key']);
  await first.instances.registry.create({ crn: primaryCrn, limits: 'none', allowLoopbackChannels: true });
  await first.instances.registry.addKey(primaryCrn, { name: 'manager', role: 'manager', key: new Secret(apiKey) });
  const primary = await first.serve();
  const before = await startProgram({
    primaryUrl: primary.url,
    backupUrl: backup.url,
    apiKey,
    path: join(folder, 'records'),
  });
  const wanted = new Map<string, string>();
  const add = async (store: Store, name: string) => {
    const content = parseContent(await testCertificate());
    wanted.set(name, fingerprintOf(content));
    return (await store.import({ content, metadata: { name, description: '', tags: [] } })).id;
  };
  const ids = [await add(primary.store, 'shop'), await add(primary.store, 'billing')];
  for (const link of before.program.links) await before.program.reconcile(link);
  const copies = storeAt(backup.url, backupCrn);
  await expect.poll(() => fingerprints(copies)).toEqual(wanted);
  await before.close();

  const path = join(folder, 'primary.snapshot');
  await first.instances.snapshot(primaryCrn, { path });
  closers.splice(closers.indexOf(primary.close), 1);
  await primary.close();
  rmSync(join(folder, 'data'), { recursive: true });
  if (!left.includes('one.key')) rmSync(join(folder, 'one.key'));

  const second = await openPrimary('restored', left);
  await second.instances.restore({ path });
  const restored = await second.serve();
  expect(await fingerprints(restored.store)).toEqual(wanted);

  // Replication goes on with the records that it had: the same ids, signed by the same key, over a
  // channel of its own.
  const after = await startProgram({
    primaryUrl: restored.url,
    backupUrl: backup.url,
    apiKey,
    path: join(folder, 'records'),
  });
  closers.push(after.close);
  await after.program.sweep();
  await createChannel(restored.url, apiKey, after.callbackUrl);
  const content = parseContent(await testCertificate());
  wanted.set('shop', fingerprintOf(content));
  await restored.store.reimport(ids[0] ?? '', content);
  await expect.poll(() => fingerprints(copies)).toEqual(wanted);
  const [link] = after.program.links;
  if (link === undefined) throw new Error('no link');
  const states: string[] = [];
  await after.program.verify(link, { finding: ({ name, state }) => states.push(`${name} ${state}`) });
  expect(states.sort()).toEqual(['billing same', 'shop same']);
  expect((await copies.list({})).certificates).toHaveLength(2);
  expect(await exchangeToken(restored.url, apiKey)).not.toBe('');
});
