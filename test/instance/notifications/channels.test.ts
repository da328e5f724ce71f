import { afterEach, describe, expect, test } from 'vitest';
import { systemRuntime } from '../../../src/runtime.ts';
import { startTestInstance, type TestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { clientOf, segment } from '../client.ts';

const started: TestInstance[] = [];
afterEach(() => Promise.all(started.splice(0).map((instance) => instance.close())));

async function start(options: TestInstanceOptions = {}) {
  const instance = await startTestInstance(options);
  started.push(instance);
  const api = await clientOf(instance);
  const base = `/v1/instances/${segment(instance.crn)}/notifications`;
  const create = (body: object = {}) =>
    api('PUT', `${base}/channels`, { type: 'url', endpoint: 'https://receiver.example.test/a', ...body });
  const list = async () => (await api('GET', `${base}/channels`)).body;
  return { instance, api, base, create, list };
}

test('a channel is made, listed, moved, switched and deleted', async () => {
  const { api, base, create, list } = await start({ channelVersion: 4 });
  expect(await list()).toEqual([]);
  const made = await create({ is_active: true });
  expect(made.status).toBe(200);
  const { id } = made.body;
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  const channel = { id, type: 'url', endpoint: 'https://receiver.example.test/a', is_active: true, version: 4 };
  expect(made.body).toEqual(channel);
  expect(await list()).toEqual([channel]);

  expect((await api('POST', `${base}/${id}`, { endpoint: 'https://other.example.test/' })).status).toBe(200);
  expect(await list()).toEqual([{ ...channel, endpoint: 'https://other.example.test/' }]);
  expect((await api('PUT', `${base}/${id}/state`, { enabled: false })).status).toBe(200);
  expect(await list()).toEqual([{ ...channel, endpoint: 'https://other.example.test/', is_active: false }]);
  expect((await api('PUT', `${base}/${id}/state`, { enabled: true })).body.is_active).toBe(true);
  expect((await api('DELETE', `${base}/${id}`)).status).toBe(200);
  expect(await list()).toEqual([]);
});

describe('versions', () => {
  test('a channel gets the newest unless it asks for an older one, and keeps it', async () => {
    const { api, base, create, list } = await start();
    const { body } = await create({ version: 4 });
    expect([body.version, (await create()).body.version, (await create({ version: 5 })).body.version]).toEqual([
      4, 5, 5,
    ]);
    await api('POST', `${base}/${body.id}`, { endpoint: 'https://other.example.test/' });
    await api('PUT', `${base}/${body.id}/state`, { enabled: false });
    expect((await list()).find(({ id }: { id: string }) => id === body.id).version).toBe(4);
  });

  test('an instance of version 4 offers no newer one', async () => {
    const { create } = await start({ channelVersion: 4 });
    expect((await create({ version: 5 })).status).toBe(400);
    expect((await create({ version: 4 })).status).toBe(200);
  });

  test.each([[0], [6], ['4'], [4.5]])('%j is none', async (version) => {
    const { create, list } = await start();
    expect((await create({ version })).status).toBe(400);
    expect(await list()).toEqual([]);
  });
});

test('is_active is true unless the request says otherwise', async () => {
  const { create } = await start();
  expect([(await create()).body.is_active, (await create({ is_active: false })).body.is_active]).toEqual([true, false]);
  expect((await create({ is_active: 'yes' })).status).toBe(400);
});

test('a Slack channel has versions of its own, up to 3; another type is refused', async () => {
  const { create, list } = await start();
  const slack = await create({ type: 'slack', is_active: false, endpoint: 'https://hooks.slack.example.test/T/B/x' });
  const { id } = slack.body;
  expect(slack.body).toEqual({
    id,
    type: 'slack',
    endpoint: 'https://hooks.slack.example.test/T/B/x',
    is_active: false,
    version: 3,
  });
  expect(await list()).toEqual([slack.body]);
  expect([
    (await create({ type: 'slack', version: 4 })).status,
    (await create({ type: 'slack', version: 1 })).status,
  ]).toEqual([400, 200]);
  expect((await create({ type: 'mail' })).status).toBe(400);
  expect((await create({ type: undefined })).status).toBe(400);
});

describe('endpoints', () => {
  const loopback = [
    'http://127.0.0.1:8080/callback',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://localhost:1/',
    'http://a.localhost/',
    'http://localhost./',
    'http://[::1]:8080/',
    'http://[::ffff:127.0.0.1]/',
    'http://0.0.0.0/',
    'http://[::]/',
    'https://127.0.0.1/',
    'https://LOCALHOST/',
  ];
  const never = [
    'http://receiver.example.test/',
    'ftp://receiver.example.test/',
    'https://user:word@receiver.example.test/',
    'https://user@receiver.example.test/',
    'javascript:alert(1)',
    'receiver.example.test',
    '//receiver.example.test/',
    '',
    5,
    undefined,
    'https://receiver.example.test/'.padEnd(2049, 'a'),
  ];

  test('on this machine are taken only where the instance allows them', async () => {
    const allowed = await start();
    const forbidden = await start({ allowLoopbackChannels: false });
    for (const endpoint of loopback) {
      expect([endpoint, (await allowed.create({ endpoint })).status]).toEqual([endpoint, 200]);
      expect([endpoint, (await forbidden.create({ endpoint })).status]).toEqual([endpoint, 400]);
    }
    expect(await forbidden.list()).toEqual([]);
  });

  test('elsewhere take TLS, without a password, up to 2048 characters', async () => {
    const { api, base, create } = await start();
    const longest = 'https://receiver.example.test/'.padEnd(2048, 'a');
    const { id } = (await create({ endpoint: longest })).body;
    expect((await api('POST', `${base}/${id}`, { endpoint: longest })).status).toBe(200);
    expect((await create({ endpoint: 'https://127.0.0.1.example.test/' })).status).toBe(200);
    for (const endpoint of never) {
      expect([endpoint, (await create({ endpoint })).status]).toEqual([endpoint, 400]);
      expect([endpoint, (await api('POST', `${base}/${id}`, { endpoint })).status]).toEqual([endpoint, 400]);
    }
  });
});

test('a channel that is not there is not found, by any operation', async () => {
  const { api, base } = await start();
  const answers = [
    await api('POST', `${base}/none`, { endpoint: 'https://receiver.example.test/' }),
    await api('PUT', `${base}/none/state`, { enabled: true }),
    await api('DELETE', `${base}/none`),
    await api('POST', `${base.replace('/v1/', '/v3/')}/none/test`),
  ];
  expect(answers.map(({ status, body }) => [status, body.code])).toEqual(Array(4).fill([404, 'instance_not_found']));
});

test('an instance takes 50 channels, and not one more', async () => {
  const { create, list } = await start();
  for (let count = 1; count <= 50; count++) expect((await create()).status).toBe(200);
  const over = await create();
  expect([over.status, over.body.code]).toEqual([409, 'instance_full']);
  expect(await list()).toHaveLength(50);
});

test('channels made at the same moment beyond that are there for all to see, and to be removed', async () => {
  const { api, base, create, list } = await start();
  for (let count = 1; count <= 49; count++) await create();
  const answers = await Promise.all(Array.from({ length: 5 }, () => create()));
  const made = answers.filter(({ status }) => status === 200).length;
  expect(made).toBeGreaterThanOrEqual(1);
  expect(await list()).toHaveLength(49 + made);
  for (const { id } of await list()) expect((await api('DELETE', `${base}/${id}`)).status).toBe(200);
  expect(await list()).toEqual([]);
});

describe('rates', () => {
  const now = Date.UTC(2030, 0, 1);

  test('five new channels a minute', async () => {
    const { create } = await start({ limits: {}, runtime: { ...systemRuntime, now: () => now } });
    for (let count = 1; count <= 5; count++) expect((await create()).status).toBe(200);
    const sixth = await create();
    expect([sixth.status, sixth.headers.get('retry-after')]).toEqual([429, '60']);
  });

  test('five updates of a channel a minute, of whatever kind', async () => {
    const { api, base, create } = await start({ limits: {}, runtime: { ...systemRuntime, now: () => now } });
    const [one, two] = [(await create()).body.id, (await create()).body.id];
    for (let count = 1; count <= 3; count++) {
      expect((await api('PUT', `${base}/${one}/state`, { enabled: false })).status).toBe(200);
    }
    const endpoint = 'https://other.example.test/';
    expect((await api('POST', `${base}/${one}`, { endpoint })).status).toBe(200);
    expect((await api('POST', `${base}/${one}`, { endpoint })).status).toBe(200);
    expect((await api('POST', `${base}/${one}`, { endpoint })).status).toBe(429);
    expect((await api('PUT', `${base}/${one}/state`, { enabled: true })).status).toBe(429);
    expect((await api('POST', `${base}/${two}`, { endpoint })).status).toBe(200);
  });

  test('one test of a channel a second', async () => {
    let time = now;
    const { api, base, create } = await start({
      limits: {},
      runtime: { ...systemRuntime, now: () => time },
      delivery: { attempts: 1 },
    });
    const { id } = (await create({ endpoint: 'http://127.0.0.1:1/' })).body;
    const target = `${base.replace('/v1/', '/v3/')}/${id}/test`;
    expect((await api('POST', target)).status).toBe(200);
    time += 999;
    const second = await api('POST', target);
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '1']);
    time += 1;
    expect((await api('POST', target)).status).toBe(200);
  });
});
