import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { CodedError } from '../../../src/errors.ts';
import { tlsFiles } from '../../../src/http/tls-files.ts';
import { startInstanceServer } from '../../../src/instance/api/server.ts';
import { instanceRegistry } from '../../../src/instance/tenants/registry.ts';
import { silentLog as log } from '../../../src/log.ts';
import { systemRuntime as runtime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { dynamodbTable } from '../../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../../src/table/dynamodb-create.ts';
import { lmdbTable } from '../../../src/table/lmdb.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startDynalite } from '../../support/dynalite.ts';
import { exchangeToken, startTestInstance } from '../../support/instance.ts';
import { testKeyring, testRootKey } from '../../support/keyring.ts';
import { instanceCrn, otherInstanceCrn } from '../../support/notifications.ts';
import { call, clientOf, dataOf, segment } from '../client.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'certstandby-instance-'));
  ends.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** A server of the registry on this table. */
async function serve(table: Table, rootKey = testRootKey(), times: { cacheMs?: number; outageMs?: number } = {}) {
  const registry = instanceRegistry({ table, runtime });
  const keyringOf = (tenant: string) => testKeyring(tenant, { table, rootKey, ...times });
  const server = await startInstanceServer({
    host: '127.0.0.1',
    port: 0,
    instances: [],
    registry,
    table,
    keyringOf,
    runtime,
    log,
    limits: 'none',
  });
  ends.push(() => server.close());
  return { server, registry };
}

async function addInstance(registry: ReturnType<typeof instanceRegistry>, crn: string) {
  await registry.create({ crn, limits: 'none', allowLoopbackChannels: false });
  const { kept, key } = await registry.addKey(crn, { name: 'first', role: 'manager' });
  return { id: kept.id, apiKey: key.reveal() };
}

const importPath = (crn: string) => `/api/v3/${segment(crn)}/certificates/import`;
const shop = testCertificate({ domains: ['shop.example.test'] });
const body = async (name = 'shop') => ({ name, data: dataOf(await shop) });

/** Waits until it holds, some seconds at the most. */
async function eventually(work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (thrown) {
      if (attempt === 120) throw thrown;
      await runtime.wait(100);
    }
  }
}

describe('instances of the registry', () => {
  test('one that is made, and a key that is revoked, beside a running server are taken up', async () => {
    const { server, registry } = await serve(memoryTable());
    const { apiKey, id } = await addInstance(registry, instanceCrn);
    await eventually(async () => void (await exchangeToken(server.url, apiKey)));
    const token = await exchangeToken(server.url, apiKey);
    await eventually(async () => {
      expect((await call(server.url + importPath(instanceCrn), 'POST', token, await body())).status).toBe(200);
    });
    await registry.revokeKey(instanceCrn, id);
    await eventually(async () => {
      expect((await call(server.url + importPath(instanceCrn), 'POST', token, await body())).status).toBe(401);
    });
    await expect(exchangeToken(server.url, apiKey)).rejects.toThrow('400');
  });

  test('API keys are kept as hashes; short ones, doubles and strange names are refused', async () => {
    const table = memoryTable();
    const registry = instanceRegistry({ table, runtime });
    const { apiKey } = await addInstance(registry, instanceCrn);
    const rows = (await table.query({ partition: `instance.1/${instanceCrn}/api-key`, limit: 10 })).rows;
    expect(JSON.stringify(rows)).not.toContain(apiKey);
    expect(rows).toMatchObject([{ name: 'first', role: 'manager', hash: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
    const add = (key: string, name = 'more') =>
      registry.addKey(instanceCrn, { name, role: 'reader', key: new Secret(key) });
    await expect(add('x'.repeat(23))).rejects.toThrow('has 23 characters; at least 24 are taken');
    await add('x'.repeat(24));
    await expect(add('x'.repeat(24))).rejects.toThrow('there already');
    await expect(add('y'.repeat(24), 'a\nb')).rejects.toMatchObject({ code: 'configuration_invalid' });
    await expect(addInstance(registry, instanceCrn)).rejects.toThrow('there already');
    await expect(addInstance(registry, 'crn:v1:x')).rejects.toThrow('not the CRN');
    await expect(registry.addKey(otherInstanceCrn, { name: 'n', role: 'reader' })).rejects.toMatchObject({
      code: 'instance_not_found',
    });
  });
});

const dynamodb = async (): Promise<Table> => {
  const { endpoint, close } = await startDynalite();
  ends.push(close);
  const credentials = { accessKeyId: 'local', secretAccessKey: new Secret('local') };
  const options = { tableName: 'instances', region: 'eu-central-1', endpoint, credentials };
  await createDynamodbTable(options);
  return dynamodbTable(options);
};

test.each([
  ['memory', async () => memoryTable()],
  ['lmdb', async () => lmdbTable({ path: join(folder(), 'data') })],
  ['dynamodb', dynamodb],
])('on %s: certificates, API keys and the signing key are there after a restart', async (_, open) => {
  const table = await open();
  const rootKey = testRootKey();
  const first = await serve(table, rootKey);
  const { apiKey } = await addInstance(first.registry, instanceCrn);
  const publicKeyPath = `/api/v1/instances/${segment(instanceCrn)}/notifications/publicKey?keyFormat=pem`;
  await eventually(async () => void (await exchangeToken(first.server.url, apiKey)));
  const token = await exchangeToken(first.server.url, apiKey);
  await eventually(async () => expect((await call(first.server.url + publicKeyPath, 'GET')).status).toBe(200));
  const imported = await call(first.server.url + importPath(instanceCrn), 'POST', token, await body());
  const publicKey = (await call(first.server.url + publicKeyPath, 'GET')).body;
  await first.server.close();

  const { server } = await serve(table, rootKey);
  const again = await exchangeToken(server.url, apiKey);
  const answer = await call(`${server.url}/api/v2/certificate/${segment(imported.body._id)}`, 'GET', again);
  expect(answer.body.data).toEqual(dataOf(await shop));
  expect((await call(server.url + publicKeyPath, 'GET')).body).toEqual(publicKey);
  const list = await call(`${server.url}/api/v3/${segment(instanceCrn)}/certificates`, 'GET', again);
  expect(list.body.certificates).toHaveLength(1);
  ends.unshift(() => table.close());
});

describe('trouble', () => {
  test('a root key that refuses: 503, nothing of the certificate is stored, and it is seen at /healthz', async () => {
    const table = memoryTable();
    const rootKey = testRootKey();
    const instance = await startTestInstance({
      table,
      keyringOf: (tenant) => testKeyring(tenant, { rootKey, cacheMs: 1_000, outageMs: 0 }),
    });
    ends.push(() => instance.close());
    const api = await clientOf(instance);
    expect((await call(`${instance.url}/healthz`, 'GET')).body).toMatchObject({
      status: 'ok',
      rootKeys: { state: 'ok' },
    });
    rootKey.fail('keys_refused');
    const answer = await api('POST', `/v3/${segment(instance.crn)}/certificates/import`, await body());
    expect([answer.status, answer.body.code]).toEqual([503, 'keys_refused']);
    expect((await table.query({ partition: `instance.1/${instance.crn}/content`, limit: 10 })).rows).toEqual([]);
    expect((await api('GET', `/v3/${segment(instance.crn)}/certificates`)).body.certificates).toEqual([]);
    const health = await call(`${instance.url}/healthz`, 'GET');
    expect([health.status, health.body.status, health.body.rootKeys.state]).toEqual([503, 'failing', 'failing']);
    expect(JSON.stringify(health.body)).not.toContain(instance.crn);
  });

  test('a root key that is out of reach: what is in memory goes on for its time', async () => {
    const rootKey = testRootKey();
    const instance = await startTestInstance({
      keyringOf: (tenant) => testKeyring(tenant, { rootKey, cacheMs: 60_000, outageMs: 60_000 }),
    });
    ends.push(() => instance.close());
    const api = await clientOf(instance);
    const { body: imported } = await api('POST', `/v3/${segment(instance.crn)}/certificates/import`, await body());
    rootKey.fail('keys_unavailable');
    const answer = await api('GET', `/v2/certificate/${segment(imported._id)}`);
    expect(answer.body.data).toEqual(dataOf(await shop));
  });

  test('a table that takes no writes: 503, reads go on, and it is seen at /healthz until a write succeeds', async () => {
    const memory = memoryTable();
    let full = false;
    const refusing: Table = {
      ...memory,
      putIfAbsent: async (...args) => {
        if (full) throw new CodedError('table_unavailable', 'the disk is full');
        return memory.putIfAbsent(...args);
      },
    };
    const instance = await startTestInstance({ table: refusing });
    ends.push(() => instance.close());
    const api = await clientOf(instance);
    const I = segment(instance.crn);
    expect((await api('POST', `/v3/${I}/certificates/import`, await body('before'))).status).toBe(200);
    full = true;
    const refused = await api('POST', `/v3/${I}/certificates/import`, await body('while'));
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect((await api('GET', `/v3/${I}/certificates`)).body.certificates).toMatchObject([{ name: 'before' }]);
    const health = async () => call(`${instance.url}/healthz`, 'GET');
    expect(await health()).toMatchObject({ status: 503, body: { table: { reads: 'ok', writes: 'failing' } } });
    full = false;
    expect((await api('POST', `/v3/${I}/certificates/import`, await body('after'))).status).toBe(200);
    expect(await health()).toMatchObject({ status: 200, body: { table: { reads: 'ok', writes: 'ok' } } });
  });

  test('an instance whose root key is away at the start is served as soon as it answers; others before', async () => {
    const table = memoryTable();
    const rootKey = testRootKey();
    const registry = instanceRegistry({ table, runtime });
    const { apiKey } = await addInstance(registry, instanceCrn);
    rootKey.fail('keys_unavailable');
    const { server } = await serve(table, rootKey);
    const token = await exchangeToken(server.url, apiKey);
    const list = () => call(`${server.url}/api/v3/${segment(instanceCrn)}/certificates`, 'GET', token);
    expect([(await list()).status, (await call(`${server.url}/healthz`, 'GET')).body.instances]).toEqual([
      503,
      { served: 0, waiting: 1 },
    ]);
    rootKey.fail(undefined);
    await eventually(async () => expect((await list()).status).toBe(200));
    expect((await call(`${server.url}/healthz`, 'GET')).body.instances).toEqual({ served: 1, waiting: 0 });
  });
});

describe('TLS', () => {
  test.each(['0.0.0.0', '192.0.2.7', 'example.test'])(
    'off loopback (%s) it does not start in the clear',
    async (host) => {
      const table = memoryTable();
      const options = {
        host,
        port: 0,
        instances: [],
        table,
        keyringOf: (tenant: string) => testKeyring(tenant),
        runtime,
        log,
      };
      await expect(startInstanceServer(options)).rejects.toMatchObject({ code: 'instance_not_private' });
    },
  );

  test('behind a proxy it does, on all addresses', async () => {
    const options = { host: '0.0.0.0', port: 0, behindProxy: true, instances: [], table: memoryTable() };
    const server = await startInstanceServer({ ...options, keyringOf: (tenant) => testKeyring(tenant), runtime, log });
    await server.close();
    expect(server.url).toMatch(/^http:/);
  });

  test('a new certificate is shown after its files changed; files that do not fit together keep the old one', async () => {
    const at = folder();
    const [certificate, key] = [join(at, 'server.pem'), join(at, 'server.key')];
    const write = async (name: string) => {
      const issued = await testCertificate({ domains: [name] });
      writeFileSync(certificate, issued.certificate);
      return issued.privateKey.reveal();
    };
    writeFileSync(key, await write('one.example.test'));
    const tls = tlsFiles({ certificate, key, log });
    const options = { host: '127.0.0.1', port: 0, tls, instances: [], table: memoryTable() };
    const server = await startInstanceServer({ ...options, keyringOf: (tenant) => testKeyring(tenant), runtime, log });
    ends.push(() => server.close());
    expect(server.url).toMatch(/^https:/);
    const shown = () =>
      new Promise<string | undefined>((resolve, reject) => {
        const asked = request(`${server.url}/healthz`, { rejectUnauthorized: false, agent: false }, (response) => {
          resolve((response.socket as TLSSocket).getPeerCertificate().subjectaltname);
          response.resume();
        });
        asked.on('error', reject).end();
      });
    expect(await shown()).toBe('DNS:one.example.test');
    const secondKey = await write('two.example.test');
    tls.reload();
    expect(await shown()).toBe('DNS:one.example.test');
    writeFileSync(key, secondKey);
    tls.reload();
    expect(await shown()).toBe('DNS:two.example.test');
  });
});
