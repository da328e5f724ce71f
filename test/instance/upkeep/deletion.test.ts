import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Instances, openInstances } from '../../../src/compose/instances.ts';
import type { InstanceServer } from '../../../src/instance/api/server.ts';
import { allPartitions } from '../../../src/instance/rows/partitions.ts';
import { instanceRegistry } from '../../../src/instance/tenants/registry.ts';
import { eraseWhatIsDue } from '../../../src/instance/upkeep/erasure.ts';
import {
  dailySnapshots,
  newestSnapshot,
  removeSnapshots,
  snapshotPath,
} from '../../../src/instance/upkeep/snapshot-folder.ts';
import { type Log, silentLog } from '../../../src/log.ts';
import { type Runtime, systemRuntime } from '../../../src/runtime.ts';
import { lmdbTable } from '../../../src/table/lmdb.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { testCertificate } from '../../support/certificates.ts';
import { exchangeToken } from '../../support/instance.ts';
import { testKeyring } from '../../support/keyring.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { call, dataOf, segment } from '../client.ts';

const dayMs = 86_400_000;
let folder: string;
const closers: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-deletion-'));
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * A clock that the test sets; the server's rounds of a second and of a minute take no more than
 * some milliseconds.
 */
function clock(start: number) {
  let time = start;
  const runtime: Runtime = {
    ...systemRuntime,
    now: () => time,
    wait: (milliseconds, signal) =>
      systemRuntime.wait(milliseconds > 60_000 ? milliseconds : Math.min(20, milliseconds), signal),
  };
  return {
    runtime,
    pass: (milliseconds: number) => {
      time += milliseconds;
    },
  };
}

async function open(
  runtime: Runtime,
  log = silentLog,
): Promise<{ instances: Instances; server: InstanceServer; close(): Promise<void> }> {
  const instances = await openInstances(
    {
      table: { kind: 'lmdb', path: join(folder, 'data') },
      rootKeys: [{ kind: 'file', path: join(folder, 'root.key') }],
      snapshots: { folder: join(folder, 'snapshots'), keepDays: 3 },
    },
    { runtime, log },
  );
  const server = await instances.serve({ host: '127.0.0.1', port: 0, instances: [] });
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    await server.close();
    await instances.close();
  };
  closers.push(close);
  return { instances, server, close };
}

const I = segment(instanceCrn);
const list = `/v3/${I}/certificates`;

async function statusOf({ url }: InstanceServer, apiKey: string): Promise<number> {
  const token = await exchangeToken(url, apiKey).catch(() => '');
  return (await call(`${url}/api${list}`, 'GET', token)).status;
}

async function populated(instances: Instances, server: InstanceServer): Promise<string> {
  await instances.registry.create({ crn: instanceCrn, limits: 'none', allowLoopbackChannels: true });
  const { key } = await instances.registry.addKey(instanceCrn, { name: 'manager', role: 'manager' });
  const apiKey = key.reveal();
  await expect.poll(() => statusOf(server, apiKey)).toBe(200);
  const token = await exchangeToken(server.url, apiKey);
  const body = { name: 'shop', data: dataOf(await testCertificate()) };
  await call(`${server.url}/api/v3/${I}/certificates/import`, 'POST', token, body);
  return apiKey;
}

const snapshots = () => (existsSync(join(folder, 'snapshots')) ? readdirSync(join(folder, 'snapshots')).sort() : []);
const publicKey = `/v1/instances/${I}/notifications/publicKey?keyFormat=pem`;

test('a deleted instance answers as gone at once, and comes back as it was within seven days', async () => {
  const { runtime, pass } = clock(Date.UTC(2030, 0, 1, 10));
  const { instances, server } = await open(runtime);
  const apiKey = await populated(instances, server);
  await instances.registry.delete(instanceCrn);
  await expect.poll(() => statusOf(server, apiKey)).toBe(401);
  expect((await call(`${server.url}/api${publicKey}`, 'GET')).status).toBe(404);
  await expect(instances.registry.get(instanceCrn)).rejects.toMatchObject({ code: 'instance_deleted' });
  await expect(instances.registry.delete(instanceCrn)).rejects.toMatchObject({ code: 'instance_deleted' });
  await expect(
    instances.registry.create({ crn: instanceCrn, limits: 'none', allowLoopbackChannels: true }),
  ).rejects.toMatchObject({ code: 'configuration_invalid' });

  pass(7 * dayMs - 1);
  await instances.registry.reclaim(instanceCrn);
  await expect.poll(() => statusOf(server, apiKey)).toBe(200);
  expect(await instances.upkeepOf(instanceCrn).check({ repair: false })).toMatchObject({ good: 1, unreadable: [] });
  await expect(instances.registry.reclaim(instanceCrn)).rejects.toMatchObject({ code: 'usage' });
});

test('after seven days a running server destroys its data keys, its snapshots and its rows, for good', async () => {
  const { runtime, pass } = clock(Date.UTC(2030, 0, 1, 10));
  const { instances, server, close } = await open(runtime);
  await populated(instances, server);
  await expect
    .poll(snapshots)
    .toEqual([
      expect.stringMatching(/^eu-de_11111111-2222-3333-4444-555555555555_[0-9a-f]{16}\.2030-01-01\.snapshot$/),
    ]);
  const elsewhere = join(folder, 'elsewhere.snapshot');
  await instances.snapshot(instanceCrn, { path: elsewhere });
  await instances.registry.delete(instanceCrn);
  pass(7 * dayMs);
  await expect(instances.registry.reclaim(instanceCrn)).rejects.toMatchObject({ code: 'instance_erased' });
  await expect.poll(() => instances.registry.list()).toEqual([]);
  expect(snapshots()).toEqual([]);
  await expect(instances.restore({ path: elsewhere })).rejects.toMatchObject({ code: 'instance_erased' });
  await expect(
    instances.registry.create({ crn: instanceCrn, limits: 'none', allowLoopbackChannels: true }),
  ).rejects.toMatchObject({ code: 'instance_erased' });
  await close();
  const table = lmdbTable({ path: join(folder, 'data') });
  closers.push(() => table.close());
  for (const partition of allPartitions(instanceCrn)) {
    expect([partition, (await table.query({ partition, limit: 10 })).rows]).toEqual([partition, []]);
  }
});

test('without a server, the next command does it', async () => {
  const { runtime, pass } = clock(Date.UTC(2030, 0, 1, 10));
  const first = await open(runtime);
  await populated(first.instances, first.server);
  await first.instances.registry.delete(instanceCrn);
  await first.close();
  pass(7 * dayMs);
  const second = await open(runtime);
  expect(await second.instances.registry.list()).toEqual([]);
  expect(await second.instances.registry.erased()).toEqual([instanceCrn]);
});

test('only the table of partitions, which snapshots and the erasure go by, names where rows of an instance lie', () => {
  const folder = 'src/instance';
  const naming = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .filter((name) => /['"`]instances?\.1\b/.test(readFileSync(join(folder, name), 'utf8')));
  expect(naming.map((name) => basename(name))).toEqual(['partitions.ts']);
  expect(allPartitions(instanceCrn).length).toBeGreaterThan(12);
});

test('whoever is still at work on an instance that was erased makes no new data key', async () => {
  const { runtime } = clock(Date.UTC(2030, 0, 1, 10));
  const { instances } = await open(runtime);
  const keyring = instances.keyringOf(instanceCrn);
  const place = { certificate: '', field: 'f', version: '1' };
  await keyring.seal(place, Buffer.from('private'));
  await keyring.destroy();
  const again = () => instances.keyringOf(instanceCrn).seal(place, Buffer.from('private'));
  await expect(again()).rejects.toMatchObject({ code: 'keys_unavailable' });
  await instances.useRootKeys([{ kind: 'file', path: join(folder, 'root.key') }]);
  await expect(again()).rejects.toMatchObject({ code: 'keys_unavailable' });
});

describe('an erasure', () => {
  /** A deleted instance on a table in memory, with a row in every partition. */
  async function doomed() {
    const table = memoryTable();
    const { runtime, pass } = clock(Date.UTC(2030, 0, 1));
    const registry = instanceRegistry({ table, runtime });
    await registry.create({ crn: instanceCrn, limits: 'none', allowLoopbackChannels: false });
    const keyring = testKeyring(instanceCrn, { table });
    const place = { certificate: '', field: 'f', version: '1' };
    const sealed = await keyring.seal(place, Buffer.from('private'));
    for (const partition of allPartitions(instanceCrn).slice(1))
      await table.putIfAbsent({ partition, sort: 'a' }, { a: 1 });
    await table.putIfAbsent(
      { partition: `instance.1/${instanceCrn.replace('2222', '9999')}/content`, sort: 'a' },
      { a: 1 },
    );
    await registry.delete(instanceCrn);
    return { table, registry, runtime, pass, sealed, place };
  }
  const left = async (table: Table) => {
    const pages = await Promise.all(
      allPartitions(instanceCrn).map((partition) => table.query({ partition, limit: 5 })),
    );
    return pages.flatMap(({ rows }) => rows).length;
  };

  test('does not begin a millisecond too early, nor after it was reclaimed', async () => {
    const { table, registry, pass } = await doomed();
    const erase = () =>
      eraseWhatIsDue({ table, registry, keyringOf: (crn) => testKeyring(crn, { table }), log: silentLog });
    const before = await left(table);
    pass(7 * dayMs - 1);
    await erase();
    expect(await left(table)).toBe(before);
    const [asDeleted] = await registry.list();
    if (asDeleted === undefined) throw new Error('it is gone');
    await registry.reclaim(instanceCrn);
    pass(1);
    // As a process sees it that has read the registry before.
    expect(await registry.beginErasure(asDeleted)).toBe(false);
    await erase();
    expect(await left(table)).toBe(before);
  });

  test('that was killed anywhere is ended by the next one; nothing else is touched, and what was sealed is lost first', async () => {
    for (let killAt = 1; ; killAt++) {
      const { table, registry: _registry, runtime, pass, sealed, place } = await doomed();
      pass(7 * dayMs);
      let writes = 0;
      const dying =
        <Arguments extends unknown[], Result>(work: (...given: Arguments) => Promise<Result>) =>
        async (...given: Arguments): Promise<Result> => {
          writes += 1;
          if (writes >= killAt) throw new Error('killed');
          return work(...given);
        };
      const mortal: Table = {
        ...table,
        update: dying(table.update),
        putIfAbsent: dying(table.putIfAbsent),
        delete: dying(table.delete),
      };
      const logged: string[] = [];
      const log: Log = (_level, event) => logged.push(event);
      const on = (each: Table) => ({
        table: each,
        registry: instanceRegistry({ table: each, runtime }),
        keyringOf: (crn: string) => testKeyring(crn, { table: each }),
        log,
      });
      await eraseWhatIsDue(on(mortal));
      const lived = logged.includes('instance_erased');
      // Whatever is gone, the data keys went first.
      if ((await left(table)) < allPartitions(instanceCrn).length) {
        await expect(testKeyring(instanceCrn, { table }).open(place, sealed)).rejects.toMatchObject({
          code: 'sealed_unreadable',
        });
      }
      await eraseWhatIsDue(on(table));
      expect(await left(table)).toBe(0);
      expect(await on(table).registry.erased()).toEqual([instanceCrn]);
      const other = `instance.1/${instanceCrn.replace('2222', '9999')}/content`;
      expect((await table.query({ partition: other, limit: 5 })).rows).toHaveLength(1);
      if (lived) break;
      expect(killAt).toBeLessThan(60);
    }
  });

  test('by another process reaches the snapshots in the folder here', async () => {
    const { table, registry, pass } = await doomed();
    pass(7 * dayMs);
    const context = { table, registry, keyringOf: (crn: string) => testKeyring(crn, { table }), log: silentLog };
    await eraseWhatIsDue(context);
    const snapshotFolder = join(folder, 'snapshots');
    mkdirSync(snapshotFolder);
    const mine = basename(snapshotPath(snapshotFolder, instanceCrn, Date.UTC(2030, 0, 1)));
    for (const name of [mine, `${mine}.x.partial`, 'eu-de_other.2030-01-01.snapshot'])
      writeFileSync(join(snapshotFolder, name), '');
    await eraseWhatIsDue({ ...context, snapshotFolder });
    expect(readdirSync(snapshotFolder)).toEqual(['eu-de_other.2030-01-01.snapshot']);
  });

  test('by another process reaches the snapshots in the folder here, however much was erased, and whatever does not go', async () => {
    const table = memoryTable();
    const registry = instanceRegistry({ table, runtime: systemRuntime });
    const crns = Array.from({ length: 1_002 }, (_, number) => instanceCrn.replace('2222', String(1_000 + number)));
    for (const crn of crns)
      await table.putIfAbsent({ partition: 'instances.1/erased', sort: crn }, { format: 1, at: 0 });
    const snapshotFolder = join(folder, 'snapshots');
    const paths = [crns[0], crns[1], crns[1_001]].map((crn = '') => snapshotPath(snapshotFolder, crn, 0));
    const [stubborn = '', ...others] = paths;
    // No file: not even root can remove it as one.
    mkdirSync(stubborn, { recursive: true });
    for (const path of others) writeFileSync(path, '');
    const logged: unknown[] = [];
    const log: Log = (level, event, fields) => logged.push({ level, event, ...fields });
    const keyringOf = (crn: string) => testKeyring(crn, { table });
    await eraseWhatIsDue({ table, registry, keyringOf, log, snapshotFolder });
    expect(snapshots()).toEqual([basename(stubborn)]);
    expect(logged).toMatchObject([
      { level: 'error', event: 'instance_snapshots_not_removed', instance: crns[0], code: 'archive_unusable' },
    ]);
  });

  test('that was done once keeps no server and no command from starting when the folder of snapshots cannot be read', async () => {
    const { runtime, pass } = clock(Date.UTC(2030, 0, 1, 10));
    const first = await open(runtime);
    await populated(first.instances, first.server);
    await first.instances.registry.delete(instanceCrn);
    await first.close();
    pass(7 * dayMs);
    await (await open(runtime)).close();
    rmSync(join(folder, 'snapshots'), { recursive: true, force: true });
    writeFileSync(join(folder, 'snapshots'), '');
    const logged: unknown[] = [];
    const log: Log = (level, event, fields) => logged.push({ level, event, ...fields });
    const { instances, server } = await open(runtime, log);
    expect(await instances.registry.erased()).toEqual([instanceCrn]);
    expect((await call(`${server.url}/api${publicKey}`, 'GET')).status).toBe(404);
    expect(logged).toContainEqual(
      expect.objectContaining({
        level: 'error',
        event: 'instance_snapshots_not_removed',
        folder: join(folder, 'snapshots'),
        code: 'archive_unusable',
        cause: 'ENOTDIR',
      }),
    );
  });
});

test('a server keeps one snapshot a day, for so many days, and never removes the newest', async () => {
  const table = memoryTable();
  const { runtime, pass } = clock(Date.UTC(2030, 0, 1, 0, 1));
  await instanceRegistry({ table, runtime }).create({ crn: instanceCrn, limits: 'none', allowLoopbackChannels: false });
  const options = { folder: join(folder, 'snapshots'), keepDays: 3 };
  const sealer = testKeyring(instanceCrn, { table });
  closers.push(() => sealer.close());
  const daily = dailySnapshots({ options, table, sealer, runtime, log: silentLog, instanceCrn });
  const days = () => snapshots().map((name) => name.slice(-19, -9));
  const taken: boolean[] = [];
  for (let day = 1; day <= 5; day++) {
    taken.push((await daily.run()) !== undefined, (await daily.run()) !== undefined);
    if (day === 2) writeFileSync(join(options.folder, `${snapshots()[1]}.killed.partial`), '');
    pass(dayMs);
  }
  expect(taken).toEqual([true, false, true, false, true, false, true, false, true, false]);
  expect(days()).toEqual(['2030-01-03', '2030-01-04', '2030-01-05']);
  // Two servers of one folder at once: one of them takes it.
  const both = await Promise.all([daily.run(), daily.run()]);
  expect(both.filter((report) => report !== undefined)).toHaveLength(1);
  pass(365 * dayMs);
  await daily.run();
  expect(days()).toEqual(['2031-01-06']);
  expect(await removeSnapshots(options.folder, instanceCrn)).toBe(1);
});

test.each([
  ['of another account', instanceCrn.replace(/a\/[0-9a-f]+/, `a/${'9'.repeat(32)}`)],
  ['of another cloud', instanceCrn.replace(':bluemix:', ':staging:')],
  [
    'whose region and GUID read alike',
    'crn:v1:bluemix:public:cloudcerts:eu:a/1:de_1::',
    instanceCrn.replace(/eu-de:a\/[0-9a-f]+:[^:]+/, 'eu_de:a/1:1'),
  ],
])(
  'an instance %s has snapshots of its own in the same folder, and its erasure leaves the others',
  async (_, crn, beside = instanceCrn) => {
    const table = memoryTable();
    const { runtime } = clock(Date.UTC(2030, 0, 1));
    const registry = instanceRegistry({ table, runtime });
    const options = { folder: join(folder, 'snapshots'), keepDays: 3 };
    const both = [beside, crn];
    for (const each of both) {
      await registry.create({ crn: each, limits: 'none', allowLoopbackChannels: false });
      const sealer = testKeyring(each, { table });
      closers.push(() => sealer.close());
      const daily = dailySnapshots({ options, table, sealer, runtime, log: silentLog, instanceCrn: each });
      expect(await daily.run()).toMatchObject({ instance: each });
    }
    expect(snapshots()).toHaveLength(2);
    expect(await removeSnapshots(options.folder, crn)).toBe(1);
    expect(await newestSnapshot(options.folder, crn)).toBeUndefined();
    expect(await newestSnapshot(options.folder, beside)).toBe(Date.UTC(2030, 0, 1));
  },
);
