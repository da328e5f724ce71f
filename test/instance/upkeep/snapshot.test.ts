import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Instances, openInstances } from '../../../src/compose/instances.ts';
import type { InstanceServer } from '../../../src/instance/api/server.ts';
import { certificateRows } from '../../../src/instance/certificates/certificate-rows.ts';
import { type Order, orderRows } from '../../../src/instance/orders/order-rows.ts';
import { allPartitions } from '../../../src/instance/rows/partitions.ts';
import { instanceRegistry } from '../../../src/instance/tenants/registry.ts';
import { takeSnapshot } from '../../../src/instance/upkeep/snapshot.ts';
import { restoreSnapshot } from '../../../src/instance/upkeep/snapshot-restore.ts';
import { fileRootKey } from '../../../src/keys/file.ts';
import { type Keyring, keyring } from '../../../src/keys/keyring.ts';
import { silentLog } from '../../../src/log.ts';
import { type Runtime, systemRuntime } from '../../../src/runtime.ts';
import { lmdbTable } from '../../../src/table/lmdb.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Row, Table } from '../../../src/table/table.ts';
import { testCertificate } from '../../support/certificates.ts';
import { exchangeToken } from '../../support/instance.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { type Call, call, dataOf, segment } from '../client.ts';

let folder: string;
const closers: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-snapshot-'));
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

interface Opened {
  readonly instances: Instances;
  readonly server: InstanceServer;
  close(): Promise<void>;
}

const config = (table: string, ...rootKeys: string[]) => ({
  table: { kind: 'lmdb', path: join(folder, table) } as const,
  rootKeys: rootKeys.map((name) => ({ kind: 'file', path: join(folder, name) }) as const),
  snapshots: { folder: join(folder, 'snapshots'), keepDays: 7 },
});

/** The server looks at the registry fifty times a second. */
const runtime: Runtime = {
  ...systemRuntime,
  wait: (milliseconds, signal) => systemRuntime.wait(milliseconds === 1_000 ? 20 : milliseconds, signal),
};

/** A server of instances on LMDB and real root key files, as `instance run` opens them. */
async function open(table: string, rootKeys: readonly string[]): Promise<Opened> {
  const instances = await openInstances(config(table, ...rootKeys), { runtime, log: silentLog });
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

async function client({ url }: InstanceServer, apiKey: string): Promise<Call> {
  const token = await exchangeToken(url, apiKey);
  return (method, path, body) => call(`${url}/api${path}`, method, token, body);
}

const I = segment(instanceCrn);

/** An instance with three certificates, of which one was reimported, a channel and an API key. */
async function populated({ instances, server }: Opened) {
  await instances.registry.create({ crn: instanceCrn, limits: 'none', allowLoopbackChannels: true });
  const { key } = await instances.registry.addKey(instanceCrn, { name: 'manager', role: 'manager' });
  const apiKey = key.reveal();
  // Within a second the server knows it.
  await expect.poll(() => exchangeToken(server.url, apiKey).catch(() => '')).not.toBe('');
  await expect
    .poll(async () => (await client(server, apiKey))('GET', `/v3/${I}/certificates`).then((a) => a.status))
    .toBe(200);
  const api = await client(server, apiKey);
  const ids: string[] = [];
  for (const name of ['shop', 'billing', 'café']) {
    const answer = await api('POST', `/v3/${I}/certificates/import`, { name, data: dataOf(await testCertificate()) });
    ids.push(answer.body._id);
  }
  await api('PUT', `/v1/certificate/${segment(ids[0] ?? '')}`, dataOf(await testCertificate()));
  await api('PUT', `/v1/instances/${I}/notifications/channels`, {
    type: 'url',
    endpoint: 'http://127.0.0.1:9/secret-of-the-channel',
    is_active: false,
  });
  return { apiKey, api, ids };
}

/** Everything that the API tells of the instance, private keys included. */
async function everything(api: Call, ids: readonly string[]): Promise<unknown[]> {
  const paths = [
    `/v3/${I}/certificates`,
    ...ids.map((id) => `/v2/certificate/${segment(id)}`),
    `/v2/certificate/${segment(ids[0] ?? '')}/previous`,
    `/v1/instances/${I}/notifications/channels`,
    `/v1/instances/${I}/notifications/publicKey?keyFormat=pem`,
    `/v2/${I}/certificates/metadata`,
  ];
  const answers: unknown[] = [];
  for (const path of paths) {
    const { status, body } = await api('GET', path);
    expect([path, status]).toEqual([path, 200]);
    answers.push(body);
  }
  return answers;
}

test('destroyed and restored, an instance is what it was: contents, keys, channels, API keys; also with the first of two root keys gone', async () => {
  const before = await open('data', ['one.key', 'two.key']);
  const { apiKey, api, ids } = await populated(before);
  const told = await everything(api, ids);
  const path = join(folder, 'on-demand.snapshot');
  const report = await before.instances.snapshot(instanceCrn, { path });
  expect(report).toMatchObject({ certificates: 3, instance: instanceCrn });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await before.close();
  rmSync(join(folder, 'data'), { recursive: true });

  for (const [table, rootKeys] of [
    ['both', ['one.key', 'two.key']],
    ['second', ['two.key']],
  ] as const) {
    if (table === 'second') rmSync(join(folder, 'one.key'));
    const after = await open(table, rootKeys);
    expect(await after.instances.restore({ path })).toMatchObject({ certificates: 3, sha256: report.sha256 });
    await expect.poll(() => exchangeToken(after.server.url, apiKey).catch(() => '')).not.toBe('');
    const again = await client(after.server, apiKey);
    await expect.poll(async () => (await again('GET', `/v3/${I}/certificates`)).status).toBe(200);
    expect(await everything(again, ids)).toEqual(told);
    expect(await after.instances.upkeepOf(instanceCrn).check({ repair: false })).toMatchObject({
      good: 3,
      unreadable: [],
      orphans: 0,
    });
    // It goes on from there.
    const id = segment(ids[1] ?? '');
    expect((await again('PUT', `/v1/certificate/${id}`, dataOf(await testCertificate()))).status).toBe(200);
    await after.close();
  }
});

test('nothing in the file but the CRN can be read without a root key', async () => {
  const opened = await open('data', ['one.key']);
  await populated(opened);
  const path = join(folder, 'on-demand.snapshot');
  await opened.instances.snapshot(instanceCrn, { path });
  const text = readFileSync(path, 'utf8');
  const words = ['shop', 'billing', 'example.test', 'secret-of-the-channel', 'PRIVATE KEY', 'manager'];
  const encoded = ['secret-of-the-channel', 'PRIVATE KEY'].map((word) =>
    Buffer.from(word).toString('base64url').slice(0, -2),
  );
  // Not `toContain`: a failure would print the file.
  expect([...words, ...encoded].filter((word) => text.includes(word))).toEqual([]);
});

/**
 * An instance without HTTP on a table in memory, with one root key file, and what takes and
 * restores its snapshots.
 */
async function bare(table: Table = memoryTable()) {
  const { rootKey } = await fileRootKey({ path: join(folder, 'root.key'), create: true });
  const runtime = systemRuntime;
  const rings: Keyring[] = [];
  const over = (on: Table, rootKeys = [rootKey]) => {
    const ring = keyring({ table: on, tenant: instanceCrn, rootKeys, runtime, log: silentLog });
    rings.push(ring);
    return ring;
  };
  closers.push(async () => {
    for (const ring of rings) await ring.close();
  });
  const keyringOver = async (_tenant: string, rows: readonly Row[], rootKeys = [rootKey]) => {
    const apart = memoryTable();
    for (const { partition, sort, ...fields } of rows) await apart.putIfAbsent({ partition, sort }, fields);
    return over(apart, rootKeys);
  };
  const sealer = over(table);
  const registry = instanceRegistry({ table, runtime });
  const rows = certificateRows({ table, sealer, runtime, log: silentLog, instanceCrn });
  const path = join(folder, 'a.snapshot');
  const facts = {
    domains: ['a'],
    issuer: 'CA',
    serialNumber: '1',
    beginsOn: 0,
    expiresOn: 4e12,
    algorithm: 'x',
    keyAlgorithm: 'y',
  };
  await registry.create({ crn: instanceCrn, limits: 'none', allowLoopbackChannels: false });
  return {
    table,
    registry,
    rows,
    orderRows: orderRows({ table, sealer, runtime, instanceCrn }),
    path,
    keyringOver,
    add: (name: string, content = 'pem') =>
      rows.add({ ...facts, name, description: '' }, { content }, Number.POSITIVE_INFINITY),
    reimport: (id: string, content: string) => rows.replaceContent(id, facts, { content }, () => {}),
    snapshot: (given: { table?: Table; path?: string } = {}) =>
      takeSnapshot({ table, sealer, runtime, instanceCrn, path, ...given }),
    restore: (into: Table, rootKeys = [rootKey], from = path) =>
      restoreSnapshot({
        table: into,
        registry: instanceRegistry({ table: into, runtime }),
        runtime,
        path: from,
        keyringOver: (tenant, dataKeys) => keyringOver(tenant, dataKeys, rootKeys),
      }),
    rowsOn: (on: Table) => certificateRows({ table: on, sealer: over(on), runtime, log: silentLog, instanceCrn }),
  };
}

/** Every row that a table in memory got. */
function watched() {
  const inner = memoryTable();
  let writes = 0;
  const table: Table = {
    ...inner,
    update: (...given) => {
      writes += 1;
      return inner.update(...given);
    },
    putIfAbsent: (...given) => {
      writes += 1;
      return inner.putIfAbsent(...given);
    },
  };
  return { table, writes: () => writes };
}

describe('refused, and nothing written', () => {
  const lines = (text: string) => text.split('\n');

  test.each<[string, (text: string) => string | Buffer, string]>([
    ['cut short in its last line', (text) => text.slice(0, -10), 'snapshot_damaged'],
    ['cut short at the end of a line', (text) => `${lines(text).slice(0, -2).join('\n')}\n`, 'snapshot_damaged'],
    ['cut short after its first line', (text) => `${lines(text)[0]}\n`, 'snapshot_damaged'],
    ['one byte changed', (text) => text.replace(/("row":".{200})./, '$1~'), 'snapshot_damaged'],
    ['a row taken out', (text) => lines(text).toSpliced(2, 1).join('\n'), 'snapshot_damaged'],
    [
      'two rows changed about',
      (text) =>
        lines(text)
          .toSpliced(1, 2, ...lines(text).slice(1, 3).reverse())
          .join('\n'),
      'snapshot_damaged',
    ],
    ['something after its end', (text) => `${text}{"row":"x"}\n`, 'snapshot_damaged'],
    ['a line without end', (text) => text + 'x'.repeat(1_100_000), 'snapshot_damaged'],
    ['bytes that are no text', () => Buffer.alloc(5_000, 0xff), 'snapshot_damaged'],
    ['of another format version', (text) => text.replace('snapshot.1"', 'snapshot.2"'), 'snapshot_unknown'],
    ['no snapshot', () => '{"certificates":[]}\n', 'snapshot_unknown'],
    ['empty', () => '', 'snapshot_unknown'],
  ])('%s', async (_, damage, code) => {
    const { add, snapshot, restore, path } = await bare();
    await add('shop');
    await snapshot();
    writeFileSync(path, damage(readFileSync(path, 'utf8')));
    const { table, writes } = watched();
    await expect(restore(table)).rejects.toMatchObject({ code });
    expect(writes()).toBe(0);
  });

  test('its root key is gone', async () => {
    const { add, snapshot, restore } = await bare();
    await add('shop');
    await snapshot();
    const { rootKey } = await fileRootKey({ path: join(folder, 'other.key'), create: true });
    const { table, writes } = watched();
    await expect(restore(table, [rootKey])).rejects.toMatchObject({
      code: 'keys_unreadable',
      message: expect.stringContaining('no configured root key wraps it'),
    });
    expect(writes()).toBe(0);
  });

  test('there is no such file', async () => {
    const { restore } = await bare();
    await expect(restore(memoryTable())).rejects.toMatchObject({ code: 'archive_unusable' });
  });

  test('the instance is there, or a row of it', async () => {
    const { table, add, snapshot, restore } = await bare();
    await add('shop');
    await snapshot();
    await expect(restore(table)).rejects.toMatchObject({ code: 'instance_not_empty' });
    const other = memoryTable();
    await other.putIfAbsent({ partition: `instance.1/${instanceCrn}/channel`, sort: 'a' }, { a: 1 });
    await expect(restore(other)).rejects.toMatchObject({ code: 'instance_not_empty' });
    expect((await instanceRegistry({ table: other, runtime: systemRuntime }).list()).length).toBe(0);
  });
});

test('a restore that was killed anywhere is ended by the next one, and no server knows the instance before', async () => {
  const { add, snapshot, restore, rowsOn } = await bare();
  const ids = [(await add('shop')).id, (await add('billing', 'other')).id];
  await snapshot();
  for (let killAt = 1; ; killAt++) {
    const inner = memoryTable();
    let writes = 0;
    const dying =
      <Arguments extends unknown[], Result>(work: (...given: Arguments) => Promise<Result>) =>
      async (...given: Arguments): Promise<Result> => {
        writes += 1;
        if (writes >= killAt) throw new Error('killed');
        return work(...given);
      };
    const mortal: Table = { ...inner, update: dying(inner.update), putIfAbsent: dying(inner.putIfAbsent) };
    const lived = await restore(mortal).then(
      () => true,
      () => false,
    );
    const registry = instanceRegistry({ table: inner, runtime: systemRuntime });
    if (lived) break;
    expect(killAt).toBeLessThan(50);
    // Once the instance is known all of it is there; before that the same snapshot goes on.
    if ((await registry.list()).length === 0) await restore(inner);
    expect(await registry.list()).toHaveLength(1);
    for (const id of ids) expect((await rowsOn(inner).read(id))?.pem.content).toBe(id === ids[0] ? 'pem' : 'other');
  }
});

describe('whoever else is at work meanwhile', () => {
  const everyRow = async (on: Table) => {
    const partitions = ['instances.1', 'instances.1/restore', ...allPartitions(instanceCrn)];
    const pages = await Promise.all(partitions.map((partition) => on.query({ partition, limit: 100 })));
    return pages.flatMap(({ rows }) => rows);
  };
  /** A table on which something is done to its end before the n-th call from now. */
  const meddled = (table: Table, at: number, meddle: () => Promise<unknown>): Table => {
    let calls = 0;
    const counted =
      <Arguments extends unknown[], Result>(work: (...given: Arguments) => Promise<Result>) =>
      async (...given: Arguments): Promise<Result> => {
        calls += 1;
        if (calls === at) await meddle();
        return work(...given);
      };
    const { get, query, update, putIfAbsent } = table;
    const writes = { update: counted(update), putIfAbsent: counted(putIfAbsent), delete: counted(table.delete) };
    return { ...table, get: counted(get), query: counted(query), ...writes };
  };

  test('of two snapshots at once one is restored whole, and the other is refused', async () => {
    const { add, reimport, snapshot, restore, path: older } = await bare();
    const { id } = await add('shop', 'older');
    await snapshot();
    await reimport(id, 'newer');
    await add('billing', 'newer');
    const newer = join(folder, 'newer.snapshot');
    await snapshot({ path: newer });
    const alone = async (from: string) => {
      const table = memoryTable();
      await restore(table, undefined, from);
      return everyRow(table);
    };
    const winners: string[] = [];
    for (let at = 1; ; at++) {
      const table = memoryTable();
      let second: Promise<unknown> | undefined;
      const meddling = meddled(table, at, async () => {
        second = restore(table, undefined, newer);
        await second.catch(() => undefined);
      });
      const first = restore(meddling, undefined, older);
      const [one] = await Promise.allSettled([first]);
      if (second === undefined) break;
      const [other] = await Promise.allSettled([second]);
      const [refused] = [one, other].filter((outcome) => outcome.status === 'rejected');
      expect([at, refused?.reason.code, one.status === other.status]).toEqual([at, 'instance_not_empty', false]);
      const winner = one.status === 'fulfilled' ? older : newer;
      winners.push(winner);
      expect([at, await everyRow(table)]).toEqual([at, await alone(winner)]);
      expect(at).toBeLessThan(200);
    }
    expect(new Set(winners)).toEqual(new Set([older, newer]));
  });

  test('one that was killed before its first row makes way for another snapshot, and after it for none', async () => {
    const { add, snapshot, restore, path, rowsOn } = await bare();
    const { id } = await add('shop', 'older');
    const { sha256 } = await snapshot();
    await add('billing');
    const newer = join(folder, 'newer.snapshot');
    await snapshot({ path: newer });
    const killed = async (at: number) => {
      const table = memoryTable();
      let writes = 0;
      const dying: Table['putIfAbsent'] = async (...given) => {
        writes += 1;
        if (writes >= at) throw new Error('killed');
        return table.putIfAbsent(...given);
      };
      const update: Table['update'] = async (key, change, condition) => {
        if (at === 0 && change.set?.begun === true) throw new Error('killed');
        return table.update(key, change, condition);
      };
      await expect(restore({ ...table, update, putIfAbsent: dying })).rejects.toThrow('killed');
      return table;
    };
    const marked = await killed(0);
    expect(await restore(marked, undefined, newer)).toMatchObject({ certificates: 2 });
    const begun = await killed(2);
    await expect(restore(begun, undefined, newer)).rejects.toMatchObject({ code: 'instance_not_empty' });
    const unwritten = await killed(1);
    await expect(restore(unwritten, undefined, newer)).rejects.toMatchObject({
      code: 'instance_not_empty',
      message: expect.stringContaining(sha256),
    });
    for (const table of [begun, unwritten]) {
      await restore(table, undefined, path);
      expect((await rowsOn(table).read(id))?.pem.content).toBe('older');
    }
  });

  test('an instance that was made just before the last write stays, and nobody is told that it was restored', async () => {
    const { add, snapshot, restore } = await bare();
    await add('shop');
    await snapshot();
    const table = memoryTable();
    const registry = instanceRegistry({ table, runtime: systemRuntime });
    const putIfAbsent: Table['putIfAbsent'] = async (key, fields) => {
      if (key.partition === 'instances.1') {
        await registry.create({ crn: instanceCrn, limits: 'none', allowLoopbackChannels: true });
      }
      return table.putIfAbsent(key, fields);
    };
    await expect(restore({ ...table, putIfAbsent })).rejects.toMatchObject({ code: 'instance_not_empty' });
    expect(await registry.list()).toMatchObject([{ allowLoopbackChannels: true }]);
  });

  test('writes whose answers were lost, and that are made again, are no other restore', async () => {
    const { add, snapshot, restore } = await bare();
    await add('shop');
    await snapshot();
    const table = memoryTable();
    const twice: Table = {
      ...table,
      update: async (...given) => {
        await table.update(...given);
        return table.update(...given);
      },
      putIfAbsent: async (...given) => {
        await table.putIfAbsent(...given);
        return table.putIfAbsent(...given);
      },
    };
    expect(await restore(twice)).toMatchObject({ certificates: 1 });
    expect(await table.get({ partition: 'instances.1/restore', sort: instanceCrn })).toBeUndefined();
  });
});

describe('each certificate is whole', () => {
  test('as of one moment for all where the table can be frozen', async () => {
    const lmdb = lmdbTable({ path: join(folder, 'data') });
    closers.push(() => lmdb.close());
    const { add, reimport, snapshot, restore, rowsOn } = await bare(lmdb);
    const ids: string[] = [];
    for (let number = 0; number < 20; number++) ids.push((await add(`shop ${number}`, 'first')).id);
    // While rows are sealed, everything changes: the reads after it must not see it.
    let changed: Promise<unknown> | undefined;
    const changing: Table = {
      ...lmdb,
      async freeze() {
        const frozen = await lmdb.freeze?.();
        if (frozen === undefined) throw new Error('it does not freeze');
        changed = Promise.all(ids.map((id) => reimport(id, 'second')));
        await changed;
        return frozen;
      },
    };
    await snapshot({ table: changing });
    const into = memoryTable();
    await restore(into);
    for (const id of ids) expect((await rowsOn(into).read(id))?.pem.content).toBe('first');
    expect((await rowsOn(lmdb).read(ids[0] ?? ''))?.pem.content).toBe('second');
  });

  test('as of some moment where it cannot, though it is reimported all the time', async () => {
    const { table, add, reimport, snapshot, restore, rowsOn } = await bare();
    const { id } = await add('shop', '0');
    let reimports = 0;
    // Between the row and its contents, two reimports remove the content that the row names: three
    // times, then it is left alone.
    const meddled: Table = {
      ...table,
      async get(key) {
        const row = await table.get(key);
        if (key.sort === id && reimports < 6) {
          for (let each = 0; each < 2; each++) await reimport(id, String(++reimports));
        }
        return row;
      },
    };
    await snapshot({ table: meddled });
    const into = memoryTable();
    await restore(into);
    expect((await rowsOn(into).read(id))?.pem.content).toBe('6');
    expect((await rowsOn(into).readPrevious(id))?.pem?.content).toBe('5');
  });
});

describe('an order under way is in the snapshot together with its certificate', () => {
  const orderOf = (id: string, order: string): Order => ({
    ...{ id, order, kind: 'renewal', auto: false, rotateKeys: false, domains: ['a'] },
    ...{ startedAt: 1, holder: 'h', wakeAt: 1 },
  });
  const issuance = (order: string, status: 'pending' | 'valid') =>
    ({ order, status, code: '', info: '', auto: false, orderedOn: 1 }) as const;
  /** What the restored table has: orders, and how the certificate says its own goes. */
  const restored = async (into: Table, certificate: string) => ({
    orders: (await into.query({ partition: `instance.1/${instanceCrn}/order`, limit: 10 })).rows.map(
      (row) => row.order,
    ),
    issuance: (await into.get({ partition: `instance.1/${instanceCrn}/certificate`, sort: certificate }))?.issuance,
  });

  test.each<[string, string, string[]]>([
    ['begun while others were read', 'begins', ['new']],
    ['that follows another one meanwhile', 'follows', ['new']],
    ['that ends meanwhile', 'ends', []],
    ['that is lost: it is written as it is', 'lost', []],
  ])('one %s', async (_, what, orders) => {
    const { table, rows, orderRows: under, add, snapshot, restore } = await bare();
    const { id } = await add('shop');
    await rows.alter(id, () => ({
      imported: false,
      issuance: issuance('old', what === 'begins' ? 'valid' : 'pending'),
    }));
    if (what === 'follows' || what === 'ends') await under.put(orderOf(id, 'old'));
    let done = false;
    const meddle = async () => {
      if (done || what === 'lost') return;
      done = true;
      await under.remove(orderOf(id, 'old'));
      if (what === 'ends') await rows.alter(id, () => ({ issuance: issuance('old', 'valid') }));
      else {
        await under.put(orderOf(id, 'new'));
        await rows.alter(id, () => ({ issuance: issuance('new', 'pending') }));
      }
    };
    // Before the certificates are listed, or after the certificate was read.
    const meddled: Table = {
      ...table,
      async query(request) {
        if (what === 'begins' && request.partition.endsWith('/certificate')) await meddle();
        return table.query(request);
      },
      async get(key) {
        const row = await table.get(key);
        if (what !== 'begins' && key.partition.endsWith('/certificate')) await meddle();
        return row;
      },
    };
    await snapshot({ table: meddled });
    const into = memoryTable();
    await restore(into);
    const found = await restored(into, id);
    expect(found.orders).toEqual(orders);
    const status = what === 'ends' ? 'valid' : 'pending';
    expect(found.issuance).toMatchObject({ order: orders[0] ?? 'old', status });
  });
});

test('a certificate that cannot be read keeps no other from being saved, and comes back as it was', async () => {
  const { table, add, snapshot, restore, rowsOn } = await bare();
  const { id: good } = await add('good');
  const { id: newer } = await add('newer');
  const { id: lost, content } = await add('lost');
  await table.update({ partition: `instance.1/${instanceCrn}/certificate`, sort: newer }, { set: { format: 99 } });
  await table.delete({ partition: `instance.1/${instanceCrn}/content`, sort: `${lost}/${content}` });
  expect((await snapshot()).broken).toEqual([lost, newer].sort());
  const into = memoryTable();
  await restore(into);
  expect((await rowsOn(into).read(good))?.pem.content).toBe('pem');
  await expect(rowsOn(into).read(newer)).rejects.toMatchObject({ code: 'table_row_unreadable' });
  await expect(rowsOn(into).read(lost)).rejects.toMatchObject({ code: 'instance_content_unreadable' });
  await into.update({ partition: `instance.1/${instanceCrn}/certificate`, sort: newer }, { set: { format: 1 } });
  expect((await rowsOn(into).read(newer))?.pem.content).toBe('pem');
});

test('an instance that was restored is not restored again, so that what was deleted since stays deleted', async () => {
  const { add, snapshot, restore, rowsOn } = await bare();
  const { id } = await add('shop');
  const { sha256 } = await snapshot();
  const into = memoryTable();
  await restore(into);
  await rowsOn(into).remove(id);
  // As if it had been killed with its last write still to be made.
  await into.putIfAbsent({ partition: 'instances.1/restore', sort: instanceCrn }, { sha256, begun: true, format: 1 });
  await expect(restore(into)).rejects.toMatchObject({ code: 'instance_not_empty' });
  expect(await rowsOn(into).get(id)).toBeUndefined();
});

test('a snapshot that cannot be written leaves nothing, and none is written over', async () => {
  const { add, snapshot, path } = await bare();
  await add('shop');
  await snapshot();
  const kept = readFileSync(path);
  await expect(snapshot()).rejects.toMatchObject({ code: 'archive_exists' });
  expect(readFileSync(path)).toEqual(kept);
  writeFileSync(join(folder, 'file'), '');
  await expect(snapshot({ path: join(folder, 'file', 'a.snapshot') })).rejects.toMatchObject({
    code: 'archive_unusable',
  });
  expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
});
