import { createPublicKey, verify } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Log } from '../../../src/log.ts';
import { type Runtime, systemRuntime } from '../../../src/runtime.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startTestInstance, type TestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { type Call, call, clientOf, dataOf, segment } from '../client.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** What arrived at a receiver. */
interface Arrived {
  readonly method: string | undefined;
  readonly contentType: string | undefined;
  readonly body: string;
}

/**
 * What a receiver does with a request: a status with headers, or `drop` the connection, or `hang`
 * without an answer.
 */
type Reply = number | 'drop' | 'hang' | { readonly status: number; readonly headers: Record<string, string> };

/** A receiver that replies as told, the last reply for ever. */
async function receiver(...replies: Reply[]) {
  const arrived: Arrived[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const reply = replies[Math.min(arrived.length, replies.length - 1)] ?? 200;
    arrived.push({
      method: request.method,
      contentType: request.headers['content-type'],
      body: Buffer.concat(chunks).toString(),
    });
    if (reply === 'drop') request.socket.destroy();
    else if (typeof reply === 'number') response.writeHead(reply).end();
    else if (reply !== 'hang') response.writeHead(reply.status, reply.headers).end();
    for (const { count, resolve } of waiting) if (arrived.length >= count) resolve();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback?x=1`,
    arrived,
    /** Resolves when so many requests have arrived. */
    received: (count: number) =>
      new Promise<void>((resolve) => (arrived.length >= count ? resolve() : waiting.push({ count, resolve }))),
  };
}

/**
 * Waits between attempts take no time and are written down. The rounds of the server take their
 * time.
 */
function quickRuntime(): { runtime: Runtime; waits: number[] } {
  const waits: number[] = [];
  const runtime: Runtime = {
    ...systemRuntime,
    now: () => Date.UTC(2030, 0, 2, 3, 4, 5, 6),
    random: () => 0.6,
    async wait(milliseconds, signal) {
      if ([1000, 5000, 60_000, 86_400_000].includes(milliseconds)) return systemRuntime.wait(milliseconds, signal);
      waits.push(milliseconds);
    },
  };
  return { runtime, waits };
}

async function start(options: TestInstanceOptions = {}) {
  const table = memoryTable();
  const logged: string[] = [];
  const logWaits: (() => void)[] = [];
  const log: Log = (level, event, fields) => {
    logged.push(`${level} ${event} ${JSON.stringify(fields)}`);
    for (const look of logWaits) look();
  };
  const instance: TestInstance = await startTestInstance({ table, log, ...options });
  closers.push(instance.close);
  const api = await clientOf(instance);
  const channel = async (endpoint: string, body: object = {}) =>
    (
      await api('PUT', `/v1/instances/${segment(instance.crn)}/notifications/channels`, {
        type: 'url',
        endpoint,
        ...body,
      })
    ).body.id as string;
  const deadLetters = async () =>
    (await table.query({ partition: `instance.1/${instance.crn}/dead-letter`, limit: 100 })).rows;
  const waitingRows = async () =>
    (await table.query({ partition: `instance.1/${instance.crn}/notification`, limit: 100 })).rows;
  /** Resolves when this event has been logged so many times. */
  const saw = (event: string, times = 1) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (logged.filter((line) => line.includes(` ${event} `)).length >= times) resolve();
      };
      logWaits.push(look);
      look();
    });
  return { table, instance, api, channel, deadLetters, waitingRows, logged, saw };
}

const I = segment(instanceCrn);

async function importOne(api: Call): Promise<{ readonly _id: string; readonly expires_on: number }> {
  const certificate = await testCertificate({ domains: ['shop.example.test', 'www.shop.example.test'] });
  return (await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data: dataOf(certificate) })).body;
}

async function reimportOne(api: Call, id: string) {
  const certificate = await testCertificate({ domains: ['shop.example.test', 'www.shop.example.test'] });
  return (await api('PUT', `/v1/certificate/${segment(id)}`, dataOf(certificate))).body;
}

/** Checks the signature with the instance's public key; returns header and claims as texts. */
async function open(instance: TestInstance, body: string): Promise<{ header: string; claims: string }> {
  const parsed = JSON.parse(body);
  expect(Object.keys(parsed)).toEqual(['data']);
  const [header = '', claims = '', signature = '', ...rest] = parsed.data.split('.');
  expect(rest).toEqual([]);
  const { publicKey } = (
    await call(`${instance.url}/api/v1/instances/${I}/notifications/publicKey?keyFormat=pem`, 'GET')
  ).body;
  const genuine = verify(
    'RSA-SHA256',
    Buffer.from(`${header}.${claims}`),
    createPublicKey(publicKey),
    Buffer.from(signature, 'base64url'),
  );
  expect(genuine).toBe(true);
  return {
    header: Buffer.from(header, 'base64url').toString(),
    claims: Buffer.from(claims, 'base64url').toString(),
  };
}

const managerUrl =
  'https://cloud.ibm.com/services/cloudcerts/crn%3Av1%3Abluemix%3Apublic%3Acloudcerts%3Aeu-de%3Aa%2F00000000000000000000000000000001%3A11111111-2222-3333-4444-555555555555%3A%3A';

describe('what is sent', () => {
  test('version 4: a reimport exactly as Certificate Manager tells it, and nothing else', async () => {
    const { instance, api, channel } = await start({ channelVersion: 4 });
    const at = await receiver(200);
    await channel(at.endpoint);
    const { _id } = await importOne(api);
    const { expires_on } = await reimportOne(api, _id);
    await at.received(1);
    expect(at.arrived[0]).toMatchObject({ method: 'POST', contentType: 'application/json' });
    const { header, claims } = await open(instance, at.arrived[0]?.body ?? '');
    expect(header).toBe('{"alg":"RS256"}');
    expect(claims).toBe(
      `{"instance_crn":"${instanceCrn}","certificate_manager_url":"${managerUrl}","event_type":"cert_reimported",` +
        `"certificates":[{"cert_crn":"${_id}","domains":"shop.example.test,www.shop.example.test",` +
        `"expires_on":${expires_on},"name":"shop"}],"version":4,"latestVersion":4}`,
    );
    await api('DELETE', `/v2/certificate/${segment(_id)}`);
    await instance.close();
    expect(at.arrived).toHaveLength(1);
  });

  test('version 5: import, reimport and delete, each with an id and a time of its own', async () => {
    const { instance, api, channel } = await start({ runtime: quickRuntime().runtime });
    const at = await receiver(200);
    await channel(at.endpoint);
    const { _id } = await importOne(api);
    await at.received(1);
    await reimportOne(api, _id);
    await at.received(2);
    await api('DELETE', `/v2/certificate/${segment(_id)}`);
    await at.received(3);
    const opened = await Promise.all(at.arrived.map(({ body }) => open(instance, body)));
    const claims = opened.map((one) => JSON.parse(one.claims));
    expect(opened.map(({ header }) => header)).toEqual(Array(3).fill('{"alg":"RS256"}'));
    expect(claims.map(({ event_type }) => event_type)).toEqual(['cert_imported', 'cert_reimported', 'cert_deleted']);
    for (const one of claims) {
      expect(one).toEqual({
        instance_crn: instanceCrn,
        certificate_manager_url: managerUrl,
        event_type: one.event_type,
        certificates: [
          {
            cert_crn: _id,
            domains: 'shop.example.test,www.shop.example.test',
            expires_on: 4_070_908_800_000,
            name: 'shop',
          },
        ],
        version: 5,
        latestVersion: 5,
        event_id: one.event_id,
        event_time: 1_893_553_445_006,
      });
      expect(one.event_id).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    }
    expect(new Set(claims.map(({ event_id }) => event_id)).size).toBe(3);
  });

  test('channels of both versions beside each other, those switched off not at all', async () => {
    const { instance, api, channel } = await start();
    const [old, recent, off] = [await receiver(200), await receiver(200), await receiver(200)];
    await channel(old.endpoint, { version: 4 });
    await channel(recent.endpoint);
    await channel(off.endpoint, { is_active: false });
    const { _id } = await importOne(api);
    await recent.received(1);
    await reimportOne(api, _id);
    await Promise.all([old.received(1), recent.received(2)]);
    const claims = JSON.parse((await open(instance, old.arrived[0]?.body ?? '')).claims);
    expect([claims.event_type, claims.version, claims.latestVersion]).toEqual(['cert_reimported', 4, 5]);
    expect('event_id' in claims || 'event_time' in claims).toBe(false);
    await instance.close();
    expect([old.arrived.length, recent.arrived.length, off.arrived.length]).toEqual([1, 2, 0]);
  });

  test('the test event, in the shape that was seen, also to a channel that is switched off', async () => {
    const { instance, api, channel } = await start({ channelVersion: 4, runtime: quickRuntime().runtime });
    const at = await receiver(200);
    const id = await channel(at.endpoint, { is_active: false });
    expect((await api('POST', `/v3/instances/${I}/notifications/${id}/test`)).status).toBe(200);
    await at.received(1);
    expect(JSON.parse((await open(instance, at.arrived[0]?.body ?? '')).claims)).toEqual({
      instance_crn: instanceCrn,
      certificate_manager_url: managerUrl,
      event_type: 'test_notification_channel',
      certificates: [
        {
          cert_crn: `${instanceCrn.slice(0, -1)}certificate:12345678-9012-3456-7890-123456789012`,
          domains: 'notification.test.com',
          expires_on: '2030-01-02T03:04:05.006Z',
          name: 'certificate name',
        },
      ],
      version: 4,
      latestVersion: 4,
    });
  });
});

describe('delivery', () => {
  test('is tried again after 503, a dropped connection, 408 and 429: the same bytes', async () => {
    const { runtime, waits } = quickRuntime();
    const { api, channel, deadLetters, saw } = await start({ runtime });
    const at = await receiver(503, 'drop', 408, 429, 500, 204);
    await channel(at.endpoint);
    await importOne(api);
    await saw('instance_notification_delivered');
    expect(at.arrived).toHaveLength(6);
    expect(new Set(at.arrived.map(({ body }) => body)).size).toBe(1);
    // The connection that was dropped had been kept from before: that is tried at once on a new
    // one.
    expect(waits).toEqual([1200, 2400, 4800, 9600]);
    expect(await deadLetters()).toEqual([]);
  });

  test('waits as long as Retry-After says, within reason', async () => {
    const { runtime, waits } = quickRuntime();
    const { api, channel, saw } = await start({ runtime });
    const date = 'Wed, 02 Jan 2030 03:05:05 GMT';
    const at = await receiver(
      { status: 503, headers: { 'retry-after': '30' } },
      { status: 429, headers: { 'retry-after': date } },
      { status: 503, headers: { 'retry-after': '1' } },
      { status: 503, headers: { 'retry-after': '86400' } },
      200,
    );
    await channel(at.endpoint);
    await importOne(api);
    await saw('instance_notification_delivered');
    expect(waits).toEqual([30_000, 59_994, 4800, 600_000]);
  });

  test.each([[400], [401], [404], [410], [301], [307]])('ends at %i, with a dead letter', async (status) => {
    const { runtime, waits } = quickRuntime();
    const { api, channel, deadLetters, logged, saw } = await start({ runtime });
    const elsewhere = await receiver(200);
    const at = await receiver({ status, headers: { location: elsewhere.endpoint } });
    const id = await channel(at.endpoint);
    const { _id } = await importOne(api);
    await saw('instance_notification_dead');
    expect([at.arrived.length, elsewhere.arrived.length, waits.length]).toEqual([1, 0, 0]);
    const [letter, ...others] = await deadLetters();
    expect(others).toEqual([]);
    expect(letter).toMatchObject({
      channel: id,
      version: 5,
      event: { type: 'cert_imported', items: [{ cert_crn: _id }] },
      attempts: 1,
      reason: `HTTP ${status}`,
      at: 1_893_553_445_006,
      expiresAt: 1_893_553_445 + 30 * 86_400,
    });
    expect(logged.join('\n')).not.toContain(at.endpoint);
  });

  test('ends after eight attempts, with a dead letter', async () => {
    const { runtime, waits } = quickRuntime();
    const { api, channel, deadLetters, saw } = await start({ runtime });
    const at = await receiver('drop');
    await channel(at.endpoint);
    await importOne(api);
    await saw('instance_notification_dead');
    expect(at.arrived).toHaveLength(8);
    expect(waits).toEqual([1200, 2400, 4800, 9600, 19_200, 38_400, 72_000]);
    expect(await deadLetters()).toMatchObject([{ attempts: 8 }]);
  });

  test('gives up a request that gets no answer, and tries again', async () => {
    const { api, channel, saw } = await start({ runtime: quickRuntime().runtime, delivery: { requestMs: 1_000 } });
    const at = await receiver('hang', 200);
    await channel(at.endpoint);
    await importOne(api);
    await saw('instance_notification_delivered');
    expect(at.arrived.length).toBeGreaterThan(1);
  });

  test('one channel that hangs holds up neither the others nor the API', async () => {
    const { api, channel } = await start();
    const [stuck, fine] = [await receiver('hang'), await receiver(200)];
    await channel(stuck.endpoint);
    await channel(fine.endpoint);
    for (let count = 1; count <= 6; count++) await importOne(api);
    await fine.received(6);
    // No more than four requests wait at the one that hangs.
    await stuck.received(4);
    expect(stuck.arrived).toHaveLength(4);
  });

  test('a channel for which too many wait gets the next ones as dead letters', async () => {
    const { api, channel, deadLetters, saw } = await start({ delivery: { waiting: 2 } });
    const [stuck, fine] = [await receiver('hang'), await receiver(200)];
    const id = await channel(stuck.endpoint);
    await channel(fine.endpoint);
    for (let count = 1; count <= 2; count++) await importOne(api);
    await stuck.received(2);
    expect(await deadLetters()).toEqual([]);
    await importOne(api);
    await saw('instance_notification_dead');
    await fine.received(3);
    expect(await deadLetters()).toMatchObject([
      { channel: id, attempts: 0, reason: 'too many notifications wait for this channel' },
    ]);
  });

  test('between attempts looks at the channel: moved, switched off, deleted', async () => {
    const { runtime } = quickRuntime();
    let meanwhile: () => Promise<unknown> = async () => {};
    const { api, channel, deadLetters, saw } = await start({
      runtime: {
        ...runtime,
        async wait(milliseconds, signal) {
          await runtime.wait(milliseconds, signal);
          if (milliseconds === 1200) await meanwhile();
        },
      },
    });
    const [first, second] = [await receiver(503), await receiver(200)];
    const id = await channel(first.endpoint);
    const item = `/v1/instances/${I}/notifications/${id}`;

    meanwhile = () => api('POST', item, { endpoint: second.endpoint });
    const { _id } = await importOne(api);
    await saw('instance_notification_delivered');
    expect([first.arrived.length, second.arrived.length]).toEqual([1, 1]);

    await api('POST', item, { endpoint: first.endpoint });
    meanwhile = () => api('PUT', `${item}/state`, { enabled: false });
    await reimportOne(api, _id);
    await saw('instance_notification_dropped');
    expect(first.arrived).toHaveLength(2);

    await api('PUT', `${item}/state`, { enabled: true });
    meanwhile = () => api('DELETE', item);
    await reimportOne(api, _id);
    await saw('instance_notification_dropped', 2);
    expect(first.arrived).toHaveLength(3);
    expect(await deadLetters()).toEqual([]);
  });

  test('closing ends waits and requests; what was under way is delivered by the next server', async () => {
    const { table, instance, api, channel, deadLetters, waitingRows, saw } = await start();
    const [failing, stuck] = [await receiver(503), await receiver('hang')];
    await channel(failing.endpoint);
    await channel(stuck.endpoint);
    await importOne(api);
    await Promise.all([saw('instance_notification_not_delivered'), stuck.received(1)]);
    await instance.close();
    expect(await deadLetters()).toEqual([]);
    // The attempt that was cut off does not count.
    expect((await waitingRows()).map(({ attempts }) => attempts).sort()).toEqual([0, 1]);
    expect([failing.arrived.length, stuck.arrived.length]).toEqual([1, 1]);

    const next = await start({ table });
    await failing.received(2);
    expect(failing.arrived[1]?.body).toBe(failing.arrived[0]?.body);
    await next.instance.close();
  });
});

test('nothing of keys, tokens or content is ever logged', async () => {
  const { instance, api, channel, logged, saw } = await start({ runtime: quickRuntime().runtime });
  const at = await receiver(503, 200);
  await channel(at.endpoint);
  const { _id } = await importOne(api);
  await reimportOne(api, _id);
  await api('PUT', `/v1/certificate/${segment(_id)}`, { content: 'garbage', priv_key: 'garbage' });
  await call(`${instance.url}/api/v2/certificate/${segment(_id)}`, 'GET', 'not-a-token');
  await saw('instance_notification_delivered');
  const text = logged.join('\n');
  expect(text).toContain('"action":"cloudcerts.certificate.import"');
  for (const secret of [
    'BEGIN',
    'MII',
    'MIG',
    await instance.token(),
    instance.apiKey,
    'garbage',
    'not-a-token',
    'eyJ',
  ]) {
    expect(text).not.toContain(secret);
  }
});
