import { afterEach, describe, expect, test } from 'vitest';
import type { Log, LogFields } from '../../../src/log.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import { testCertificate, validTo } from '../../support/certificates.ts';
import { apiKeyOf, startTestInstance, type TestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { instanceCrn, otherInstanceCrn } from '../../support/notifications.ts';
import { clientOf, dataOf, type Received, segment } from '../client.ts';

const started: TestInstance[] = [];
afterEach(() => Promise.all(started.splice(0).map((instance) => instance.close())));
const I = segment(instanceCrn);
const guid = instanceCrn.split(':')[7] ?? '';

async function start(options: TestInstanceOptions = {}) {
  const instance = await startTestInstance(options);
  started.push(instance);
  const token = await instance.token();
  const secrets = async (method: string, path: string, body?: unknown, base = '/api/v2'): Promise<Received> => {
    const response = await fetch(`${instance.url}${base}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(method === 'PATCH' && { 'content-type': 'application/merge-patch+json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text), headers: response.headers };
  };
  return { instance, token, secrets, manager: await clientOf(instance) };
}

async function pem(domains = ['shop.example.test']) {
  const { certificate, intermediate, privateKey } = await testCertificate({ domains });
  return { certificate, intermediate, private_key: privateKey.reveal() };
}

const secret = async (name = 'shop', more: object = {}) => ({
  ...{ secret_type: 'imported_cert', name },
  ...(await pem()),
  ...more,
});

describe('one instance, two APIs', () => {
  test('a certificate that came by one is read, made anew and deleted by the other', async () => {
    const { secrets, manager } = await start();
    const data = dataOf(await testCertificate());
    const { _id } = (await manager('POST', `/v3/${I}/certificates/import`, { name: 'my shop', data })).body;
    const listed = (await secrets('GET', '/secrets')).body;
    expect(listed).toMatchObject({ total_count: 1, secrets: [{ name: 'my shop', state: 1, versions_total: 1 }] });
    const [{ id }] = listed.secrets;
    expect(id).toMatch(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(id.replaceAll('-', '')).toBe(_id.split(':').at(-1));
    const read = (await secrets('GET', `/secrets/${id}`)).body;
    expect([read.certificate, read.intermediate, read.private_key]).toEqual([
      data.content,
      data.intermediate,
      data.priv_key,
    ]);
    expect(read.crn).toBe(
      `crn:v1:bluemix:public:secrets-manager:${instanceCrn.split(':cloudcerts:')[1]?.slice(0, -1)}secret:${id}`,
    );

    const next = await pem();
    expect((await secrets('POST', `/secrets/${id}/versions`, next)).status).toBe(201);
    expect((await manager('GET', `/v2/certificate/${segment(_id)}`)).body.data.content).toBe(next.certificate);
    expect((await manager('GET', `/v2/certificate/${segment(_id)}/previous`)).body.data.content).toBe(data.content);
    expect((await secrets('DELETE', `/secrets/${id}`)).status).toBe(204);
    expect((await manager('GET', `/v1/certificate/${segment(_id)}/metadata`)).status).toBe(404);
  });

  test('a lock holds whatever API asks', async () => {
    const { secrets, manager } = await start();
    const { id } = (await secrets('POST', '/secrets', await secret())).body;
    const C = segment(`${instanceCrn.slice(0, -1)}certificate:${id.replaceAll('-', '')}`);
    await secrets('POST', `/secrets/${id}/locks_bulk`, { locks: [{ name: 'ingress' }] });
    expect((await manager('DELETE', `/v2/certificate/${C}`)).status).toBe(412);
    // The lock stays with the version, which is the previous one now, and cannot be lost.
    expect((await manager('PUT', `/v1/certificate/${C}`, dataOf(await testCertificate()))).status).toBe(200);
    expect((await manager('PUT', `/v1/certificate/${C}`, dataOf(await testCertificate()))).status).toBe(412);
    await secrets('DELETE', `/secrets/${id}/versions/previous/locks_bulk`);
    expect((await manager('DELETE', `/v2/certificate/${C}`)).status).toBe(200);
  });

  test('a name is free again when its secret is gone or renamed, by whichever API', async () => {
    const { secrets, manager } = await start();
    const { id } = (await secrets('POST', '/secrets', await secret())).body;
    expect((await secrets('POST', '/secrets', await secret())).status).toBe(409);
    const C = segment(`${instanceCrn.slice(0, -1)}certificate:${id.replaceAll('-', '')}`);
    await manager('POST', `/v3/certificate/${C}`, { name: 'another' });
    const second = await secrets('POST', '/secrets', await secret());
    expect(second.status).toBe(201);
    await secrets('DELETE', `/secrets/${second.body.id}`);
    expect((await secrets('PATCH', `/secrets/${id}/metadata`, { name: 'shop' })).body.name).toBe('shop');
    expect((await secrets('POST', '/secrets', await secret('another'))).status).toBe(201);
  });

  test('a server may speak one of them alone', async () => {
    const { secrets, manager } = await start({ apis: ['certificate-manager'] });
    expect((await secrets('GET', '/secrets')).status).toBe(404);
    expect((await manager('GET', `/v3/${I}/certificates`)).status).toBe(200);
  });

  test('an API key of several instances says in the address which it means', async () => {
    const both = { apiKeys: [{ name: 'both', key: new Secret(apiKeyOf('manager')), role: 'manager' as const }] };
    const { secrets } = await start({ others: [{ crn: otherInstanceCrn, ...both }] });
    const unclear = await secrets('GET', '/secrets');
    expect(unclear).toMatchObject({
      status: 400,
      body: { status_code: 400, errors: [{ message: expect.stringContaining('/instances/<GUID>') }] },
    });
    expect(unclear.headers.get('x-global-transaction-id')).toBe(unclear.body.trace);
    const base = `/instances/${guid}/api/v2`;
    await secrets('POST', '/secrets', await secret(), base);
    expect((await secrets('GET', '/secrets', undefined, base)).body.total_count).toBe(1);
    const other = `/instances/${otherInstanceCrn.split(':')[7]}/api/v2`;
    expect((await secrets('GET', '/secrets', undefined, other)).body.total_count).toBe(0);
    expect((await secrets('GET', '/secrets', undefined, '/instances/no-such/api/v2')).status).toBe(403);
  });
});

describe('lists', () => {
  test('name their other pages by offset, and keep what was asked for', async () => {
    const { secrets } = await start();
    for (const n of [1, 2, 3, 4, 5])
      await secrets('POST', '/secrets', await secret(`shop-${n}`, { labels: ['a label'] }));
    const query = '?limit=2&sort=-name&match_all_labels=a+label';
    const seen: string[] = [];
    let path: string | undefined = `/secrets${query}`;
    let pages = 0;
    while (path !== undefined && pages < 9) {
      const { body }: Received = await secrets('GET', path);
      expect(body).toMatchObject({ total_count: 5, limit: 2, offset: pages * 2 });
      seen.push(...body.secrets.map(({ name }: { name: string }) => name));
      path = body.next?.href.replace('/api/v2', '');
      pages += 1;
    }
    expect(seen).toEqual(['shop-5', 'shop-4', 'shop-3', 'shop-2', 'shop-1']);
    expect((await secrets('GET', '/secrets?limit=1001')).status).toBe(400);
    expect((await secrets('GET', '/secrets?match_all_labels=a+label,other')).body.total_count).toBe(0);
  });
});

describe('what it refuses', () => {
  test.each([
    ['a name that ends with a hyphen', { name: 'shop-' }],
    ['a name of one character', { name: 's' }],
    ['a name with a blank', { name: 'my shop' }],
    ['another type', { secret_type: 'arbitrary' }],
    ['a signing request', { managed_csr: {} }],
    ['a label of one character', { labels: ['x'] }],
    ['31 labels', { labels: Array.from({ length: 31 }, (_, n) => `label-${n}`) }],
    ['custom metadata that is no object', { custom_metadata: ['x'] }],
    ['custom metadata of more than 10 KB', { custom_metadata: { x: 'x'.repeat(10_240) } }],
    ['a group that is not there', { secret_group_id: 'none' }],
    ['a certificate that is none', { certificate: 'x'.repeat(60) }],
  ])('%s', async (_, given) => {
    const { secrets } = await start();
    expect((await secrets('POST', '/secrets', await secret('shop', given))).status).toBe(400);
    expect((await secrets('GET', '/secrets')).body.total_count).toBe(0);
  });

  test.each([
    ['POST', '/notifications/registration'],
    ['GET', '/notifications/registration'],
    ['GET', '/configurations'],
    ['GET', '/secrets/99999999-0000-4000-8000-000000000001/tasks'],
  ])('what it does not have: %s %s is 404, in the shape of the service', async (method, path) => {
    const { secrets } = await start();
    const answer = await secrets(method as 'GET', path, method === 'POST' ? {} : undefined);
    expect(answer).toMatchObject({
      status: 404,
      body: { status_code: 404, errors: [{ message: expect.any(String) }] },
    });
  });

  test('a PATCH that is no merge patch', async () => {
    const { instance, token, secrets } = await start();
    const { id } = (await secrets('POST', '/secrets', await secret())).body;
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const url = `${instance.url}/api/v2/secrets/${id}/metadata`;
    expect((await fetch(url, { method: 'PATCH', headers, body: '{"name":"other"}' })).status).toBe(415);
  });

  test('data to a reader, and a group or a deletion to a writer', async () => {
    const { instance, secrets } = await start();
    const { id } = (await secrets('POST', '/secrets', await secret())).body;
    const asked = async (role: 'reader' | 'writer', method: string, path: string) =>
      (
        await fetch(`${instance.url}/api/v2${path}`, {
          method,
          headers: { authorization: `Bearer ${await instance.token(role)}` },
        })
      ).status;
    expect(await asked('reader', 'GET', `/secrets/${id}/metadata`)).toBe(200);
    expect(await asked('reader', 'GET', `/secrets/${id}`)).toBe(403);
    expect(await asked('writer', 'GET', `/secrets/${id}`)).toBe(200);
    expect(await asked('writer', 'DELETE', `/secrets/${id}`)).toBe(403);
    expect(await asked('writer', 'POST', '/secret_groups')).toBe(403);
  });
});

test('what has expired is destroyed: its metadata is there, its data is not, and nothing but deletion works', async () => {
  let now = Date.now();
  const { instance, secrets } = await start({ runtime: { ...systemRuntime, now: () => now } });
  const { id } = (await secrets('POST', '/secrets', await secret())).body;
  now = validTo + 1;
  const headers = { authorization: `Bearer ${await instance.token()}` };
  const read = await (await fetch(`${instance.url}/api/v2/secrets/${id}`, { headers })).json();
  expect(read).toMatchObject({ state: 5, state_description: 'destroyed', name: 'shop' });
  expect(read).not.toHaveProperty('private_key');
  const { versions } = (await (
    await fetch(`${instance.url}/api/v2/secrets/${id}/versions`, { headers })
  ).json()) as Received['body'];
  expect(versions).toMatchObject([{ alias: 'current', payload_available: false }]);
  expect((await fetch(`${instance.url}/api/v2/secrets/${id}`, { method: 'DELETE', headers })).status).toBe(204);
});

test('a group that is being deleted takes nothing in, and comes back where something was in it', async () => {
  const { secrets } = await start();
  const { id } = (await secrets('POST', '/secret_groups', { name: 'standby' })).body;
  expect((await secrets('POST', '/secret_groups', { name: 'standby' })).status).toBe(409);
  await secrets('POST', '/secrets', await secret('shop', { secret_group_id: id }));
  expect((await secrets('DELETE', `/secret_groups/${id}`)).status).toBe(400);
  expect((await secrets('GET', `/secret_groups/${id}`)).body).toMatchObject({ name: 'standby' });
  const [listed] = (await secrets('GET', `/secrets?groups=${id}`)).body.secrets;
  await secrets('DELETE', `/secrets/${listed.id}`);
  expect((await secrets('DELETE', `/secret_groups/${id}`)).status).toBe(204);
  expect((await secrets('POST', '/secret_groups', { name: 'standby' })).status).toBe(201);
});

test('a secret whose row is damaged is listed as suspended, and keeps no other from being listed', async () => {
  const table = memoryTable();
  const { secrets } = await start({ table });
  const bad = (await secrets('POST', '/secrets', await secret('bad'))).body.id;
  await secrets('POST', '/secrets', await secret('good'));
  const key = { partition: `instance.1/${instanceCrn}/certificate`, sort: bad.replaceAll('-', '') };
  await table.update(key, { set: { domains: 7 } });
  for (const sort of ['name', '-created_at']) {
    const { body } = await secrets('GET', `/secrets?sort=${sort}`);
    const states = body.secrets.map(({ id, state }: { id: string; state: number }) => [id === bad, state]);
    expect(states.sort()).toEqual([
      [false, 1],
      [true, 2],
    ]);
  }
  expect((await secrets('GET', `/secrets/${bad}/metadata`)).status).toBe(500);
});

test('each action is one line of the audit, and no data is in it', async () => {
  const lines: LogFields[] = [];
  const log: Log = (_, event, fields) => {
    if (event === 'audit' && fields?.action !== 'iam-identity.apikey.login') lines.push(fields ?? {});
  };
  const { secrets } = await start({ log, table: memoryTable() });
  const given = await secret();
  const { id } = (await secrets('POST', '/secrets', given)).body;
  await secrets('GET', `/secrets/${id}`);
  await secrets('GET', '/secrets/none');
  expect(lines).toMatchObject([
    { action: 'secrets-manager.secret-create', initiator: 'manager', certificate: id, outcome: 'success' },
    { action: 'secrets-manager.secret-read', certificate: id, outcome: 'success' },
    { action: 'secrets-manager.secret-read', certificate: 'none', outcome: 'failure', status: 404 },
  ]);
  expect(JSON.stringify(lines)).not.toContain('BEGIN');
});
