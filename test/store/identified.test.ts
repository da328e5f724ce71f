import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { CodedError } from '../../src/errors.ts';
import { identityRecords } from '../../src/records/identity-records.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { directoryStore } from '../../src/services/directory/store.ts';
import { identifiedStore } from '../../src/store/identified.ts';
import { memoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { seededRandom, virtualTime } from '../simulation/virtual-time.ts';
import { testCertificate } from '../support/certificates.ts';

let folder: string;
let root: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-identity-'));
  root = join(folder, 'copies');
  mkdirSync(root, { mode: 0o700 });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const directory = (id = 'nas', path = root) =>
  directoryStore({ id, path, region: 'here', runtime: systemRuntime, quietMs: 0 });

function identified(store: Store, { table = memoryTable(), configured = [store.id] as readonly string[] } = {}) {
  const book = identityRecords(table);
  const guarded = identifiedStore(store, {
    runtime: systemRuntime,
    book,
    configured: new Set(configured),
    everyMs: 0,
  });
  return { store: guarded, book, table };
}

async function entry(name: string) {
  return { content: parseContent(await testCertificate()), metadata: { name, description: '', tags: [] } };
}

test('a folder gets an identity with the first write; what is only read stays as it is', async () => {
  const { store, book } = identified(directory());
  await store.list({});
  expect(readdirSync(root)).toEqual([]);
  expect(await book.identityOf(store.id)).toBeUndefined();

  const { id } = await store.import(await entry('shop'));
  const identity = await book.identityOf(store.id);
  expect(identity).toMatch(/^[\w-]{8,64}$/);
  expect(await directory().identity?.()).toBe(identity);
  const page = await store.list({});
  expect(page.certificates.map((one) => one.id)).toEqual([id]);
  expect(page.passedOver ?? []).toEqual([]);
});

test('a folder with copies of the version before gets its identity with the next write', async () => {
  const { id } = await directory().import(await entry('shop'));
  const { store, book } = identified(directory());
  expect(await store.read(id)).toMatchObject({ state: 'present' });
  await store.reimport(id, (await entry('shop')).content);
  expect(await directory().identity?.()).toBe(await book.identityOf(store.id));
});

test('an empty mount point in the place of the folder is neither read nor written to', async () => {
  const { store } = identified(directory());
  const { id } = await store.import(await entry('shop'));
  renameSync(root, `${root}.unmounted`);
  mkdirSync(root, { mode: 0o700 });

  const changed = expect.objectContaining({ code: 'store_identity_changed' });
  expect(await store.read(id)).toEqual({ state: 'unreadable', error: changed });
  expect(await store.readMetadata(id)).toEqual({ state: 'unreadable', error: changed });
  await expect(store.list({})).rejects.toEqual(changed);
  await expect(store.import(await entry('api'))).rejects.toEqual(changed);
  await expect(store.delete(id)).rejects.toEqual(changed);
  expect(readdirSync(root)).toEqual([]);

  rmSync(root, { recursive: true });
  renameSync(`${root}.unmounted`, root);
  expect(await store.read(id)).toMatchObject({ state: 'present' });
});

test('a person’s word binds the new folder', async () => {
  const { store, book } = identified(directory());
  await store.import(await entry('shop'));
  rmSync(root, { recursive: true });
  mkdirSync(root, { mode: 0o700 });
  await expect(store.list({})).rejects.toMatchObject({ code: 'store_identity_changed' });
  await book.unbindIdentity(store.id);
  await store.import(await entry('shop'));
  expect(await directory().identity?.()).toBe(await book.identityOf(store.id));
});

test('two settings that lead to one folder are found out, unless one of them is no longer configured', async () => {
  const { store, table } = identified(directory());
  await store.import(await entry('shop'));
  const both = identified(directory('twin'), { table, configured: ['directory:nas', 'directory:twin'] });
  await expect(both.store.list({})).rejects.toMatchObject({ code: 'store_identity_shared' });
  const renamed = identified(directory('twin'), { table, configured: ['directory:twin'] });
  expect((await renamed.store.list({})).certificates).toHaveLength(1);
});

test('an identity that cannot be read is no reason to give another one', async () => {
  const { store } = identified(directory());
  writeFileSync(join(root, '.certstandby-store'), 'what is this?\n');
  await expect(store.import(await entry('shop'))).rejects.toMatchObject({ code: 'store_root_unusable' });
  // One that was begun and never written is none.
  writeFileSync(join(root, '.certstandby-store'), '');
  await store.import(await entry('shop'));
  expect(await directory().identity?.()).toMatch(/^[\w-]{8,64}$/);
});

test('of two processes that give a folder its first identity at once, one wins and both know it', async () => {
  const given = await Promise.all(
    Array.from({ length: 8 }, (_, index) => directory().giveIdentity?.(`identity-${index}`)),
  );
  expect(new Set(given).size).toBe(1);
  expect(await directory().identity?.()).toBe(given[0]);
});

test('a service is asked about its identity again only after a while, and every time while it is another one', async () => {
  const time = virtualTime(Date.UTC(2026, 0, 1), seededRandom(1));
  let asked = 0;
  let identity = 'uid-1';
  const inner = memoryStore({ id: 'memory:cluster', region: 'here', runtime: time });
  const service: Store = {
    ...inner,
    identity: async () => {
      asked += 1;
      return identity;
    },
  };
  const book = identityRecords(memoryTable());
  const store = identifiedStore(service, { runtime: time, book, configured: new Set([inner.id]), everyMs: 10_000 });
  const id = inner.put(await entry('shop'));
  await store.readMetadata(id);
  await store.readMetadata(id);
  expect(asked).toBe(1);
  identity = 'uid-2';
  await time.runUntil(time.now() + 10_000, 10);
  await expect(store.list({})).rejects.toMatchObject({ code: 'store_identity_changed' });
  await expect(store.list({})).rejects.toMatchObject({ code: 'store_identity_changed' });
  expect(asked).toBe(3);
});

test('what says that something is not there is believed only of the place that proves itself after it', async () => {
  const time = virtualTime(Date.UTC(2026, 0, 1), seededRandom(1));
  const inner = memoryStore({ id: 'memory:cluster', region: 'here', runtime: time, abilities: { findsMarks: true } });
  const id = inner.put(await entry('shop'));
  let away = false;
  let slowMs = 0;
  const gone = () => Promise.reject(new CodedError('store_gone', 'there is no such namespace'));
  const service: Store = {
    ...inner,
    // Who asks a namespace that is away finds nothing in it.
    list: async (request) => (away ? { certificates: [] } : inner.list(request)),
    findByMark: async () => [],
    readMetadata: async (asked) => (away ? { state: 'absent' } : inner.readMetadata(asked)),
    reimport: (...given) => (away ? gone() : inner.reimport(...given)),
    delete: (asked) => (away ? Promise.resolve() : inner.delete(asked)),
    async identity() {
      if (slowMs > 0) await time.wait(slowMs);
      return away ? undefined : 'uid-1';
    },
  };
  const book = identityRecords(memoryTable());
  const store = identifiedStore(service, { runtime: time, book, configured: new Set([inner.id]), everyMs: 60_000 });
  expect((await store.list({})).certificates).toHaveLength(1);
  expect(await store.readMetadata('nowhere')).toEqual({ state: 'absent' });
  away = true;
  const changed = { code: 'store_identity_changed' };
  expect(await store.readMetadata(id)).toMatchObject({ state: 'unreadable', error: changed });
  away = false;
  expect(await store.readMetadata(id)).toMatchObject({ state: 'present' });
  const { content } = await entry('shop');
  for (const call of [
    () => store.list({}),
    () => store.findByMark?.({ store: 'a', certificate: 'b' }),
    () => store.reimport(id, content),
    () => store.delete(id),
  ]) {
    // Proven a moment before, and away now.
    await store.readMetadata(id);
    away = true;
    await expect(call()).rejects.toMatchObject(changed);
    away = false;
  }
  // A place may go and come back while somebody waits for the proof.
  slowMs = 31_000;
  const late = store.readMetadata('nowhere');
  await time.runUntil(time.now() + 200_000, 10_000);
  expect(await late).toMatchObject({ state: 'unreadable', error: { code: 'store_unavailable' } });
});

test('a search that finds a copy is believed as a read is, and one that finds nothing once the place has proven itself', async () => {
  const time = virtualTime(Date.UTC(2026, 0, 1), seededRandom(1));
  const inner = memoryStore({ id: 'memory:cluster', region: 'here', runtime: time, abilities: { findsMarks: true } });
  let asked = 0;
  const identity = async () => {
    asked += 1;
    return 'uid-1';
  };
  const book = identityRecords(memoryTable());
  const options = { runtime: time, book, configured: new Set([inner.id]), everyMs: 10_000 };
  const store = identifiedStore({ ...inner, identity }, options);
  const mark = { store: 'primary', certificate: 'shop' };
  const { id } = await store.import({ ...(await entry('shop')), mark });
  expect(asked).toBe(1);
  expect(await store.findByMark?.(mark)).toMatchObject([{ id }]);
  expect(asked).toBe(1);
  expect(await store.findByMark?.({ ...mark, certificate: 'other' })).toEqual([]);
  expect(asked).toBe(2);
});

test('a store that can prove no identity is handed back as it is', () => {
  const plain = memoryStore({ id: 'memory:plain', region: 'here', runtime: systemRuntime });
  expect(identified(plain).store).toBe(plain);
});

test('a container that was found missing proves itself before anything more is believed or written', async () => {
  const table = memoryTable();
  const book = identityRecords(table);
  let asked = 0;
  let isThere = true;
  let identity = 'namespace=1';
  const away = () => new CodedError('store_root_unusable', 'the namespace is not there');
  const bare = memoryStore({ id: 'cluster', region: 'here', runtime: systemRuntime });
  const cluster: Store = {
    ...bare,
    identity: async () => {
      asked += 1;
      return identity;
    },
    read: async (id) => (isThere ? bare.read(id) : { state: 'unreadable', error: away() }),
    reimport: async () => {
      throw away();
    },
  };
  const configured = new Set(['cluster']);
  const store = identifiedStore(cluster, { runtime: systemRuntime, book, configured, everyMs: 3_600_000 });
  const { id } = await store.import(await entry('shop'));
  await store.read(id);
  expect(asked).toBe(1);
  isThere = false;
  expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_root_unusable' } });
  [isThere, identity] = [true, 'namespace=2'];
  expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_identity_changed' } });
  identity = 'namespace=1';
  await store.read(id);
  await expect(store.reimport(id, (await entry('x')).content)).rejects.toMatchObject({ code: 'store_root_unusable' });
  identity = 'namespace=2';
  await expect(store.import(await entry('api'))).rejects.toMatchObject({ code: 'store_identity_changed' });
});

test('many calls at once ask for one proof, and each absence for one of its own', async () => {
  let asked = 0;
  const bare = memoryStore({ id: 'cluster', region: 'here', runtime: systemRuntime });
  const cluster: Store = {
    ...bare,
    identity: async () => {
      asked += 1;
      await systemRuntime.wait(10);
      return 'namespace=1';
    },
  };
  const [book, configured] = [identityRecords(memoryTable()), new Set(['cluster'])];
  const store = identifiedStore(cluster, { runtime: systemRuntime, book, configured, everyMs: 3_600_000 });
  const id = bare.put(await entry('shop'));
  await Promise.all(Array.from({ length: 16 }, () => store.read(id)));
  expect(asked).toBe(1);
  await Promise.all([store.read('none'), store.read('none either')]);
  expect(asked).toBe(3);
});
