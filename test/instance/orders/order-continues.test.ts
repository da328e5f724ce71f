import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Runtime, systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { dynamodbTable } from '../../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../../src/table/dynamodb-create.ts';
import { lmdbTable } from '../../../src/table/lmdb.ts';
import { startChild } from '../../support/child.ts';
import { startDynalite } from '../../support/dynalite.ts';
import { apiKeyOf, exchangeToken } from '../../support/instance.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { call, segment } from '../client.ts';
import { eventually, type OrderedWorld, orderedWorld } from './ordered.ts';

let world: OrderedWorld;
beforeEach(async () => {
  world = await orderedWorld();
});
afterEach(() => world.close());

const dayMs = 86_400_000;

/** A clock that can be moved on, and rounds of the server that take no minute. */
function movable() {
  let movedMs = 0;
  const runtime: Runtime = {
    ...systemRuntime,
    now: () => Date.now() + movedMs,
    wait: (milliseconds, signal) =>
      systemRuntime.wait([5_000, 60_000].includes(milliseconds) ? 20 : milliseconds, signal),
  };
  const move = (milliseconds: number) => {
    movedMs += milliseconds;
  };
  return { runtime, move };
}

describe('an order goes on', () => {
  test('after a restart in the middle: the same order, with the key that was made for it', async () => {
    world.world.publishes = false;
    const first = await world.start();
    const { body } = await first.order();
    await eventually(() => world.toldOf('cert_domain_validation_required').length).toBe(2);
    await first.close();
    const [row] = await world.rowsOf('order');
    const before = await world.rowsOf('acme-account');
    world.publishAll();
    const second = await world.start();
    expect(await second.settled(body._id)).toMatchObject({ status: 'valid' });
    expect(world.acme.asked.filter((one) => one === 'newOrder')).toHaveLength(1);
    expect(world.acme.issued()).toBe(1);
    expect(row).toMatchObject({ kind: 'order', sealed: expect.stringMatching(/^ey/) });
    expect(await world.rowsOf('acme-account')).toEqual(before);
    await eventually(() => world.toldOf('cert_issued').length).toBe(1);
    await eventually(() => world.rowsOf('order')).toEqual([]);
  });

  test('when its process stalls or is gone: another one takes it over, and the first changes nothing any more', async () => {
    const { runtime } = movable();
    // The first process hears no answer to its first finalize until it is let go.
    let finalizes = 0;
    world.acme.faults.answer = (resource) => (resource === 'finalize' && finalizes++ === 0 ? 'hang' : undefined);
    const policy = { leaseMs: 300 };
    const first = await world.start(
      { policy, acme: { directory: world.acme.directory, requestMs: 1500 } },
      { runtime },
    );
    const { body } = await first.order();
    await eventually(() => finalizes).toBe(1);
    const second = await world.start({ policy }, { runtime });
    expect(await second.settled(body._id)).toMatchObject({ status: 'valid' });
    const done = await second.metadata(body._id);
    // Longer than the first waits for its answer.
    await new Promise((resolve) => setTimeout(resolve, 1600));
    expect(await second.metadata(body._id)).toEqual(done);
    expect(world.acme.issued()).toBe(1);
    expect(world.toldOf('cert_issued')).toHaveLength(1);
    expect(world.toldOf('cert_order_failed')).toHaveLength(0);
  });

  test('that nobody was there to finish in time: what the authority has issued is taken all the same', async () => {
    const { runtime, move } = movable();
    world.acme.faults.processing = 1_000_000;
    const first = await world.start({ policy: { orderMs: 60_000 } }, { runtime });
    const { body } = await first.order();
    await eventually(() => world.acme.issued()).toBe(1);
    await first.close();
    world.acme.faults.processing = 0;
    move(3_600_000);
    const second = await world.start({ policy: { orderMs: 60_000 } }, { runtime });
    expect(await second.settled(body._id)).toMatchObject({ status: 'valid' });
  });

  test('killed again and again, each time a little later', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'certstandby-order-'));
    const begin = () =>
      startChild('test/instance/orders/order-child.ts', [folder, world.acme.directory, world.dns.address]);
    let child = await begin();
    const I = segment(instanceCrn);
    const api = async (method: string, path: string, body?: object) => {
      const token = await exchangeToken(url, apiKeyOf('manager'));
      return call(`${url}/api${path}`, method, token, body);
    };
    let url = await child.nextLine();
    await api('PUT', `/v1/instances/${I}/notifications/channels`, { type: 'url', endpoint: world.endpoint });
    let requests = 0;
    let kills = 0;
    let killed: Promise<void> | undefined;
    // What it takes to find account and order again, and one more each time.
    world.acme.faults.answer = () => {
      if (kills >= 6 || ++requests < 6 + kills) return undefined;
      killed ??= child.kill();
      return 'drop';
    };
    const order = { name: 'shop', domains: ['shop.example.test'], domain_validation_method: 'dns-01' };
    const { body } = await api('POST', `/v1/${I}/certificates/order`, order);
    for (;;) {
      await eventually(async () => killed !== undefined || world.toldOf('cert_issued').length > 0).toBe(true);
      if (killed === undefined) break;
      await killed;
      // The pause in which what it held becomes free.
      await new Promise((resolve) => setTimeout(resolve, 250));
      [killed, requests, kills] = [undefined, 0, kills + 1];
      child = await begin();
      url = await child.nextLine();
    }
    expect(kills).toBeGreaterThan(3);
    const metadata = async () => (await api('GET', `/v1/certificate/${segment(body._id)}/metadata`)).body;
    expect(await metadata()).toMatchObject({
      status: 'valid',
      issuance_info: { status: 'valid' },
      has_previous: false,
    });
    const { data } = (await api('GET', `/v2/certificate/${segment(body._id)}`)).body;
    expect(createPublicKey(data.priv_key).equals(new X509Certificate(data.content).publicKey)).toBe(true);
    await child.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(['lmdb', 'dynamodb'])('on %s as in memory: ordered, failed, renewed', async (kind) => {
    const folder = mkdtempSync(join(tmpdir(), 'certstandby-order-'));
    const dynalite = kind === 'lmdb' ? undefined : await startDynalite();
    const credentials = { accessKeyId: 'local', secretAccessKey: new Secret('local') };
    const options = { tableName: 'instances', region: 'eu-central-1', endpoint: dynalite?.endpoint ?? '', credentials };
    if (dynalite !== undefined) await createDynamodbTable(options);
    const there = await orderedWorld({
      table: dynalite === undefined ? lmdbTable({ path: folder }) : dynamodbTable(options),
    });
    const server = await there.start();
    const { body } = await server.order();
    expect(await server.settled(body._id)).toMatchObject({ status: 'valid' });
    there.acme.faults.refusesProofs = true;
    await server.renew(body._id, true);
    expect((await server.settled(body._id)).issuance_info).toMatchObject({ code: 'acme_challenge_failed' });
    there.acme.faults.refusesProofs = false;
    await server.renew(body._id, true);
    expect(await server.settled(body._id)).toMatchObject({
      has_previous: true,
      issuance_info: { status: 'valid', code: '' },
    });
    await eventually(() => there.rowsOf('order')).toEqual([]);
    await eventually(() => there.toldOf('cert_renewed').length).toBe(1);
    await there.close();
    await there.table.close();
    await dynalite?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('no key of it, nor that of the account, is on the table in the clear', async () => {
    world.world.publishes = false;
    const server = await world.start();
    await server.order();
    await eventually(() => world.toldOf('cert_domain_validation_required').length).toBe(2);
    const rows = await Promise.all(
      ['order', 'acme-account', 'certificate', 'content', 'notification'].map(world.rowsOf),
    );
    expect(rows[0]).toHaveLength(1);
    expect(rows[1]).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain('PRIVATE KEY');
    expect(JSON.stringify(server.logged)).not.toContain('PRIVATE KEY');
  });
});

describe('an order that is lost', () => {
  /**
   * The certificate waits for an order that nobody knows of, as after the restore of a snapshot
   * that missed it.
   */
  async function lose(sort: string | undefined, orderedOn: number): Promise<void> {
    const issuance = { order: 'lost', status: 'pending', code: '', info: '', auto: true, orderedOn };
    const key = { partition: `instance.1/${instanceCrn}/certificate`, sort: String(sort) };
    await world.table.update(key, { set: { issuance }, add: { version: 1 } });
  }

  test('has failed: the certificate can be renewed; but not while it may still be written', async () => {
    const server = await world.start();
    const { body } = await server.order();
    await server.settled(body._id);
    await eventually(() => world.rowsOf('order')).toEqual([]);
    const [row] = await world.rowsOf('certificate');
    await lose(row?.sort, Date.now());
    expect((await server.renew(body._id)).body).toMatchObject({ code: 'instance_order_running' });
    await lose(row?.sort, Date.now() - 61_000);
    expect((await server.renew(body._id)).status).toBe(200);
    expect(await server.settled(body._id)).toMatchObject({ has_previous: true, issuance_info: { status: 'valid' } });
  });

  test('does not keep the certificate from being renewed by itself', async () => {
    const { runtime, move } = movable();
    const server = await world.start({}, { runtime });
    const { body } = await server.order({ auto_renew_enabled: true });
    await server.settled(body._id);
    const [row] = await world.rowsOf('certificate');
    await lose(row?.sort, Date.now());
    move(60 * dayMs);
    await eventually(() => world.toldOf('cert_renewed').length).toBe(1);
    expect(await server.settled(body._id)).toMatchObject({ has_previous: true, issuance_info: { status: 'valid' } });
  });

  test('while its certificate was written, for a minute and more, is there again', async () => {
    const { runtime, move } = movable();
    const { table } = world;
    const slow: typeof table = {
      ...table,
      async putIfAbsent(key, fields) {
        if (key.partition.endsWith('/certificate')) {
          move(61_000);
          await eventually(() => world.rowsOf('order')).toEqual([]);
        }
        return table.putIfAbsent(key, fields);
      },
    };
    const server = await world.start({}, { runtime, table: slow });
    const { body } = await server.order();
    expect(await server.settled(body._id)).toMatchObject({ status: 'valid' });
  });

  test('is not one that others have ended before its maker got on: it has been renewed once', async () => {
    const { runtime, move } = movable();
    const { table } = world;
    let held = false;
    const slow: typeof table = {
      ...table,
      async update(key, change, condition) {
        const { issuance } = (change.set ?? {}) as { issuance?: { status: string } };
        if (world.toldOf('cert_issued').length > 0 && !held && issuance?.status === 'pending') {
          held = true;
          move(61_000);
          await eventually(() => world.toldOf('cert_renewed').length).toBe(1);
          await eventually(() => world.rowsOf('order')).toEqual([]);
        }
        return table.update(key, change, condition);
      },
    };
    const server = await world.start({}, { runtime, table: slow });
    const { body } = await server.order();
    await server.settled(body._id);
    await eventually(() => world.toldOf('cert_issued').length).toBe(1);
    expect((await server.renew(body._id)).status).toBe(200);
    expect(held).toBe(true);
    expect(await server.settled(body._id)).toMatchObject({ issuance_info: { status: 'valid' } });
    await eventually(() => world.rowsOf('order')).toEqual([]);
    expect(world.acme.issued()).toBe(2);
  });
});

describe('upkeep', () => {
  test('an order under way is nothing that does not open; its account key is sealed anew, and still opens', async () => {
    world.world.publishes = false;
    const server = await world.start();
    await server.order();
    await eventually(() => world.toldOf('cert_domain_validation_required').length).toBe(2);
    const upkeep = world.upkeep();
    expect(await upkeep.check({ repair: false })).toEqual({ good: 0, notIssued: 1, unreadable: [], orphans: 0 });
    const [before] = await world.rowsOf('acme-account');
    await world.keyring.rotate();
    expect((await upkeep.reseal()).resealed).toBeGreaterThanOrEqual(1);
    const [after] = await world.rowsOf('acme-account');
    expect(after?.sealed).not.toBe(before?.sealed);
    await server.close();
    world.publishAll();
    const again = await world.start();
    const [row] = await world.rowsOf('certificate');
    const id = `${again.instance.crn.slice(0, -1)}certificate:${row?.sort}`;
    expect(await again.settled(id)).toMatchObject({ status: 'valid' });
    expect(await upkeep.check({ repair: false })).toMatchObject({ good: 1, unreadable: [] });
  });

  test('a row that cannot be read holds up no other order', async () => {
    const server = await world.start();
    const partition = `instance.1/${server.instance.crn}/order`;
    await world.table.putIfAbsent({ partition, sort: '0' }, { format: 99, wakeAt: 1 });
    await server.close();
    const again = await world.start();
    const { body } = await again.order();
    expect(await again.settled(body._id)).toMatchObject({ status: 'valid' });
    await eventually(() => again.logged.some(({ event }) => event === 'instance_row_unreadable')).toBe(true);
  });
});

describe('renewal by itself', () => {
  const ordered = async (server: Awaited<ReturnType<OrderedWorld['start']>>, given: object = {}) => {
    const { body } = await server.order({ auto_renew_enabled: true, ...given });
    return server.settled(body._id);
  };

  test('of three processes exactly one renews each certificate, once, from 30 days before its end', async () => {
    const { runtime, move } = movable();
    const first = await world.start({}, { runtime });
    const certificates = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => ordered(first, { name, domains: [`${name}.example.test`] })),
    );
    const other = await ordered(first, { name: 'by hand', domains: ['hand.example.test'], auto_renew_enabled: false });
    await world.start({}, { runtime });
    await world.start({}, { runtime });
    // Issued a day ago for 90 days: a third of its lifetime is left at 30.33 days.
    move(58 * dayMs);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(world.toldOf('cert_renewed')).toHaveLength(0);
    move(2 * dayMs);
    await eventually(() => world.toldOf('cert_renewed').length).toBe(4);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(
      world
        .toldOf('cert_renewed')
        .map(({ certificates: [one] }) => [one.name, one.auto_renewed])
        .sort(),
    ).toEqual(['a', 'b', 'c', 'd'].map((name) => [name, true]));
    expect(world.acme.issued()).toBe(9);
    for (const { _id } of certificates) {
      expect(await first.metadata(_id)).toMatchObject({
        has_previous: true,
        issuance_info: { status: 'valid', auto: true },
      });
    }
    expect(await first.metadata(other._id)).toMatchObject({ has_previous: false });
  });

  test('one that failed is tried again after one hour, four hours, and then daily; the certificate serves on', async () => {
    const { runtime, move } = movable();
    const server = await world.start({}, { runtime });
    const { _id } = await ordered(server);
    const before = (await server.download(_id)).data;
    world.acme.faults.refusesProofs = true;
    const failures = () => world.toldOf('cert_renew_failed').length;
    move(60 * dayMs);
    await eventually(failures).toBe(1);
    for (const [index, hours] of [1, 4, 16, 24, 24].entries()) {
      move(hours * 3_600_000 - 1_800_000);
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(failures(), `before ${hours} hours`).toBe(index + 1);
      move(1_800_000);
      await eventually(failures).toBe(index + 2);
      await server.settled(_id);
    }
    expect((await server.download(_id)).data).toEqual(before);
    world.acme.faults.refusesProofs = false;
    move(24 * 3_600_000);
    await eventually(() => world.toldOf('cert_renewed').length).toBe(1);
    expect((await server.download(_id)).data).not.toEqual(before);
  });

  test('is switched on and off by the order policy', async () => {
    const { runtime, move } = movable();
    const server = await world.start({}, { runtime });
    const { _id } = await ordered(server, { auto_renew_enabled: false });
    const policy = (body: object) => server.api('PUT', `/v1/certificate/${segment(_id)}/order/policy`, body);
    expect((await policy({ auto_renew_enabled: true })).body).toEqual({ auto_renew_enabled: true });
    // Clients leave it out where they mean false.
    expect((await policy({})).body).toEqual({ auto_renew_enabled: false });
    expect((await server.metadata(_id)).order_policy).toEqual({ auto_renew_enabled: false });
    move(80 * dayMs);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(world.toldOf('cert_renewed')).toHaveLength(0);
    await policy({ auto_renew_enabled: true });
    move(900_000);
    await eventually(() => world.toldOf('cert_renewed').length).toBe(1);
  });
});
