import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { CodedError } from '../../../src/errors.ts';
import { notificationRows } from '../../../src/instance/notifications/notification-rows.ts';
import { type Runtime, systemRuntime } from '../../../src/runtime.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startChild } from '../../support/child.ts';
import { apiKeyOf, exchangeToken, startTestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { testKeyring } from '../../support/keyring.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { call, clientOf, dataOf, segment } from '../client.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const I = segment(instanceCrn);
const channels = `/v1/instances/${I}/notifications`;
const letters = `/v3/instances/${I}/notifications/dead-letters`;

/** A receiver that answers as told at the moment. */
async function receiver(status: number) {
  const claims: { event_type: string; event_id: string; certificates: { cert_crn: string }[] }[] = [];
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  const state = { status };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { data, text } = JSON.parse(Buffer.concat(chunks).toString());
    claims.push(text === undefined ? JSON.parse(Buffer.from(data.split('.')[1], 'base64url').toString()) : text);
    response.writeHead(state.status).end();
    for (const { count, resolve } of waiting) if (claims.length >= count) resolve();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    claims,
    state,
    received: (count: number) =>
      new Promise<void>((resolve) => (claims.length >= count ? resolve() : waiting.push({ count, resolve }))),
  };
}

/** Waits of deliveries take no time; the rounds of the server take theirs. */
const quick: Runtime = {
  ...systemRuntime,
  random: () => 0.6,
  async wait(milliseconds, signal) {
    if ([1000, 5000, 60_000, 86_400_000].includes(milliseconds)) await systemRuntime.wait(milliseconds, signal);
  },
};

async function start(options: TestInstanceOptions = {}) {
  const logged: string[] = [];
  const looks: (() => void)[] = [];
  const table = options.table ?? memoryTable();
  const instance = await startTestInstance({
    runtime: quick,
    log(_, event) {
      logged.push(event);
      for (const look of looks) look();
    },
    ...options,
    table,
  });
  closers.push(instance.close);
  const api = await clientOf(instance);
  const saw = (event: string, times = 1) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (logged.filter((one) => one === event).length >= times) resolve();
      };
      looks.push(look);
      look();
    });
  const channel = async (endpoint: string, body: object = {}): Promise<string> =>
    (await api('PUT', `${channels}/channels`, { type: 'url', endpoint, ...body })).body.id;
  const importOne = async () =>
    api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data: dataOf(await testCertificate()) });
  return { instance, api, saw, channel, importOne, table };
}

const waitingRows = async (table: Table) =>
  (await table.query({ partition: `instance.1/${instanceCrn}/notification`, limit: 1000 })).rows;

/** One of a test event, which a server that is gone has left. */
const leftBehind = (channel: string, id: string) =>
  ({
    id,
    channel,
    type: 'url',
    version: 5,
    event: { id, type: 'test_notification_channel', at: 1, items: [] },
    attempts: 7,
    wakeAt: 2,
  }) as const;

describe('a notification outlives its server', () => {
  test('killed with what was acknowledged undelivered; the next one delivers all of it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'certstandby-outbox-'));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    const at = await receiver(503);
    const first = await startChild('test/instance/notifications/outbox-child.ts', [folder]);
    closers.push(() => first.kill());
    const url = await first.nextLine();
    const token = await exchangeToken(url, apiKeyOf('manager'));
    await call(`${url}/api${channels}/channels`, 'PUT', token, { type: 'url', endpoint: at.endpoint });
    const body = { name: 'shop', data: dataOf(await testCertificate()) };
    const imports = Array.from({ length: 20 }, () =>
      call(`${url}/api/v3/${I}/certificates/import`, 'POST', token, body),
    );
    const acknowledged = (await Promise.all(imports)).map(({ body: { _id } }) => _id);
    await first.kill();

    at.state.status = 200;
    const before = at.claims.length;
    const second = await startChild('test/instance/notifications/outbox-child.ts', [folder]);
    closers.push(() => second.kill());
    await second.nextLine();
    // At least once: what the first one had on its way may still arrive, and what is slow comes
    // again.
    const told = () => new Set(at.claims.slice(before).map(({ certificates }) => certificates[0]?.cert_crn));
    await expect.poll(told).toEqual(new Set(acknowledged));
  });

  test('a change whose notification cannot be written is not made', async () => {
    const table = memoryTable();
    const failing: Table = {
      ...table,
      async putIfAbsent(key, fields) {
        if (key.partition.endsWith('/notification')) throw new CodedError('table_unavailable', 'no');
        return table.putIfAbsent(key, fields);
      },
    };
    const { api, channel, importOne } = await start({ table: failing });
    await channel('https://receiver.example.test/');
    expect((await importOne()).status).toBe(503);
    expect((await api('GET', `/v3/${I}/certificates`)).body.totalScannedDocs).toBe(0);
  });

  test('on the table before the change is made, in the same moment as its content', async () => {
    const table = memoryTable();
    const writes: string[] = [];
    const watched: Table = {
      ...table,
      putIfAbsent(key, fields) {
        writes.push(key.partition.split('/').at(-1) ?? '');
        return table.putIfAbsent(key, fields);
      },
    };
    const { channel, importOne } = await start({ table: watched });
    await channel('http://127.0.0.1:1/');
    writes.length = 0;
    await importOne();
    expect(writes.filter((what) => what !== 'dead-letter')).toEqual([
      'expiry',
      'content',
      'notification',
      'certificate',
    ]);
  });

  test('what was written for a change that was never made is not told, and one that was made is', async () => {
    const table = memoryTable();
    const rows = notificationRows({ table, instanceCrn, runtime: systemRuntime });
    const first = await start({ table });
    const at = await receiver(200);
    const channel = await first.channel(at.endpoint, { is_active: false });
    const { _id } = (await first.importOne()).body;
    await first.api('PUT', `${channels}/${channel}/state`, { enabled: true });
    await first.instance.close();

    const item = { cert_crn: _id, domains: 'a', expires_on: 1, name: 'shop' };
    const left = (id: string, type: 'cert_imported' | 'cert_deleted', certificate: string, version: number) =>
      rows.put({
        id,
        channel,
        type: 'url',
        version: 5,
        event: { id, type, at: Date.now() - 3_600_000, items: [item] },
        change: { id: certificate, version },
        attempts: 0,
        wakeAt: Date.now() - 1_000,
      });
    const id = _id.split(':').at(-1);
    await left('1-made', 'cert_imported', id, 1);
    await left('2-not-yet', 'cert_imported', id, 2);
    await left('3-never', 'cert_imported', 'f'.repeat(32), 1);
    await left('4-still-there', 'cert_deleted', id, 2);
    await left('5-gone', 'cert_deleted', 'f'.repeat(32), 2);
    const second = await start({ table });
    await second.saw('instance_notification_dropped', 3);
    await second.saw('instance_notification_delivered', 2);
    await second.instance.close();
    expect(at.claims.map(({ event_id }) => event_id).toSorted()).toEqual(['1-made', '5-gone']);
    expect(await waitingRows(table)).toEqual([]);
  });

  test('a young one whose change may still come is kept', async () => {
    const table = memoryTable();
    const first = await start({ table });
    const channel = await first.channel('https://receiver.example.test/');
    await first.instance.close();
    const event = { id: 'e', type: 'cert_imported', at: Date.now(), items: [] } as const;
    await notificationRows({ table, instanceCrn, runtime: systemRuntime }).put({
      id: '1',
      channel,
      type: 'url',
      version: 5,
      event,
      change: { id: 'f'.repeat(32), version: 1 },
      attempts: 0,
      wakeAt: 1,
    });
    const second = await start({ table });
    await expect.poll(async () => (await waitingRows(table))[0]?.wakeAt).toBeGreaterThan(Date.now() + 30_000);
    await second.instance.close();
  });

  test('a change that another one overtakes is told once, as what it became', async () => {
    const table = memoryTable();
    let overtakes = 2;
    const contested: Table = {
      ...table,
      async update(key, change, condition) {
        const reimport = key.partition.endsWith('/certificate') && change.set?.content !== undefined;
        if (reimport && overtakes-- > 0) await table.update(key, { add: { version: 1 } });
        return table.update(key, change, condition);
      },
    };
    const { instance, api, saw, channel, importOne } = await start({ table: contested });
    const at = await receiver(200);
    const { _id } = (await importOne()).body;
    await channel(at.endpoint);
    const answer = await api('PUT', `/v1/certificate/${segment(_id)}`, dataOf(await testCertificate()));
    expect([answer.status, overtakes]).toEqual([200, -1]);
    await saw('instance_notification_delivered');
    await instance.close();
    expect(at.claims.map(({ event_type }) => event_type)).toEqual(['cert_reimported']);
    expect(await waitingRows(table)).toEqual([]);
  });

  test('a row that cannot be read holds up no other', async () => {
    const table = memoryTable();
    const rows = notificationRows({ table, instanceCrn, runtime: systemRuntime });
    const first = await start({ table });
    const at = await receiver(200);
    const channel = await first.channel(at.endpoint);
    await first.instance.close();
    await table.putIfAbsent(
      { partition: `instance.1/${instanceCrn}/notification`, sort: 'newer' },
      { format: 2, wakeAt: 1 },
    );
    await rows.put(leftBehind(channel, 'readable'));
    const second = await start({ table });
    await second.saw('instance_notification_delivered');
    await second.saw('instance_row_unreadable');
    await second.instance.close();
    expect(at.claims.map(({ event_id }) => event_id)).toEqual(['readable']);
    expect((await waitingRows(table)).map(({ sort }) => sort)).toEqual(['newer']);
  });

  test('two servers on one table deliver it once, and one takes over what the other has left', async () => {
    const table = memoryTable();
    const keyring = testKeyring(instanceCrn);
    const options = { table, keyringOf: () => keyring, runtime: systemRuntime };
    const one = await start(options);
    const two = await start({ ...options, delivery: { sweepMs: 100 } });
    const at = await receiver(200);
    await one.channel(at.endpoint);
    for (let count = 0; count < 5; count++) await one.importOne();
    await one.saw('instance_notification_delivered', 5);
    expect(at.claims).toHaveLength(5);
    at.state.status = 503;
    await one.importOne();
    await at.received(6);
    await one.instance.close();
    at.state.status = 200;
    await two.saw('instance_notification_delivered');
    expect(await waitingRows(table)).toEqual([]);
  });
});

describe('dead letters', () => {
  test('are listed by pages and sent again, as the same event', async () => {
    const { api, saw, channel, importOne, table } = await start();
    const at = await receiver(410);
    const id = await channel(at.endpoint);
    const made: string[] = [];
    for (let count = 1; count <= 3; count++) {
      made.push((await importOne()).body._id);
      await saw('instance_notification_dead', count);
    }
    const page = (await api('GET', `${letters}?page_size=2`)).body;
    const rest = (await api('GET', `${letters}?page_size=2&start_after_id=${page.next_id}`)).body;
    const all = [...page.dead_letters, ...rest.dead_letters];
    expect([page.dead_letters.length, rest.dead_letters.length, rest.next_id]).toEqual([2, 1, '']);
    expect(all.map(({ certificates: [certificate] }) => certificate).toSorted()).toEqual(made.toSorted());
    const [letter] = all;
    expect(letter).toEqual({
      id: letter.id,
      channel: id,
      event_type: 'cert_imported',
      event_time: letter.event_time,
      certificates: letter.certificates,
      attempts: 1,
      reason: 'HTTP 410',
      failed_on: letter.failed_on,
    });

    at.state.status = 200;
    expect((await api('POST', `${letters}/${letter.id}/resend`)).status).toBe(200);
    await saw('instance_notification_delivered');
    const again = at.claims.at(-1);
    expect(again?.certificates[0]?.cert_crn).toBe(letter.certificates[0]);
    expect(at.claims.filter(({ event_id }) => event_id === again?.event_id)).toHaveLength(2);
    expect((await api('GET', letters)).body.dead_letters).toHaveLength(2);
    expect((await api('POST', `${letters}/${letter.id}/resend`)).status).toBe(404);
    expect(await waitingRows(table)).toEqual([]);
  });

  test('are not sent by themselves, also where a server was killed before it removed what had waited', async () => {
    const table = memoryTable();
    const first = await start({ table });
    const at = await receiver(200);
    const channel = await first.channel(at.endpoint);
    await first.instance.close();
    const killed: Table = {
      ...table,
      delete: async () => Promise.reject(new CodedError('table_unavailable', 'killed')),
    };
    const left = leftBehind(channel, '000000000000001-left');
    await notificationRows({ table, instanceCrn, runtime: systemRuntime }).put(left);
    const burying = notificationRows({ table: killed, instanceCrn, runtime: systemRuntime }).bury(
      left,
      'HTTP 410',
      Date.now(),
    );
    await expect(burying).rejects.toThrow('killed');
    const second = await start({ table });
    await expect.poll(() => waitingRows(table)).toEqual([]);
    expect((await second.api('GET', letters)).body.dead_letters).toMatchObject([{ id: left.id, reason: 'HTTP 410' }]);
    await second.instance.close();
    expect(at.claims).toEqual([]);
  });

  test('sent again while a row that had waited is still there, are delivered once', async () => {
    const { api, saw, channel, table, instance } = await start();
    const at = await receiver(200);
    const rows = notificationRows({ table, instanceCrn, runtime: systemRuntime });
    const left = { ...leftBehind(await channel(at.endpoint), '000000000000001-left'), wakeAt: Date.now() + 60_000 };
    await rows.bury(left, 'HTTP 410', Date.now());
    await rows.put(left);
    expect((await api('POST', `${letters}/${left.id}/resend`)).status).toBe(200);
    await saw('instance_notification_delivered');
    await instance.close();
    expect(await waitingRows(table)).toEqual([]);
    expect(await rows.letter(left.id)).toBeUndefined();
    expect(at.claims).toHaveLength(1);
  });

  test('are what is too much for a channel, whoever makes it', async () => {
    const waits: Runtime = { ...systemRuntime, random: () => 1 };
    const { api, saw, channel, instance } = await start({ runtime: waits, delivery: { waiting: 2, attempts: 8 } });
    const at = await receiver(503);
    const id = await channel(at.endpoint);
    for (let count = 1; count <= 3; count++) await api('POST', `/v3/instances/${I}/notifications/${id}/test`);
    await saw('instance_notification_dead');
    const { dead_letters } = (await api('GET', letters)).body;
    expect(dead_letters).toMatchObject([{ reason: 'too many notifications wait for this channel' }]);
    await instance.close();
  });

  test('are not sent to a channel that is switched off or gone', async () => {
    const { api, saw, channel, importOne } = await start();
    const at = await receiver(400);
    const id = await channel(at.endpoint);
    await importOne();
    await saw('instance_notification_dead');
    const [letter] = (await api('GET', letters)).body.dead_letters;
    await api('PUT', `${channels}/${id}/state`, { enabled: false });
    const off = await api('POST', `${letters}/${letter.id}/resend`);
    expect([off.status, off.body.code]).toEqual([400, 'instance_request_invalid']);
    await api('DELETE', `${channels}/${id}`);
    expect((await api('POST', `${letters}/${letter.id}/resend`)).status).toBe(404);
    expect((await api('GET', letters)).body.dead_letters).toHaveLength(1);
    expect(at.claims).toHaveLength(1);
  });

  test('are gone after 30 days, whether or not the table has removed them', async () => {
    let time = Date.now();
    const { instance, api, saw, channel, importOne } = await start({ runtime: { ...quick, now: () => time } });
    const at = await receiver(400);
    await channel(at.endpoint);
    await importOne();
    await saw('instance_notification_dead');
    expect((await api('GET', letters)).body.dead_letters).toHaveLength(1);
    time += 30 * 86_400_000 + 1_000;
    const later = await call(`${instance.url}/api${letters}`, 'GET', await instance.token());
    expect(later.body).toEqual({ dead_letters: [], next_id: '' });
  });

  test.each([['?page_size=0'], ['?page_size=201'], ['?start_after_id=..%2f']])(
    'a list with %s is refused',
    async (query) => {
      const { api } = await start();
      expect((await api('GET', `${letters}${query}`)).status).toBe(400);
    },
  );
});

test('a Slack channel gets plain words: that it was saved, what was reimported, and nothing of imports', async () => {
  const { api, saw, channel, importOne } = await start();
  const at = await receiver(200);
  await channel(at.endpoint, { type: 'slack' });
  await saw('instance_notification_delivered');
  const { _id } = (await importOne()).body;
  await api('PUT', `/v1/certificate/${segment(_id)}`, dataOf(await testCertificate()));
  await saw('instance_notification_delivered', 2);
  expect(at.claims).toEqual([
    `This notification channel was saved.\n${instanceCrn}`,
    `These certificates were reimported:\n• shop (shop.example.test), expires 2099-01-01, ${_id}\n${instanceCrn}`,
  ]);
});
