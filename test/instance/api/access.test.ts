import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../../../src/instance/api/routes.ts';
import { startInstanceServer } from '../../../src/instance/api/server.ts';
import type { Role } from '../../../src/instance/tenants/instance.ts';
import { silentLog } from '../../../src/log.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import { testCertificate } from '../../support/certificates.ts';
import { apiKeyOf, exchangeToken, startTestInstance, type TestInstance } from '../../support/instance.ts';
import { testKeyring } from '../../support/keyring.ts';
import { otherInstanceCrn } from '../../support/notifications.ts';
import { call, clientOf, dataOf, segment } from '../client.ts';

let time = Date.UTC(2030, 0, 1);
let instance: TestInstance;
let certificate: string;
let channel: string;
let body: unknown;

beforeAll(async () => {
  const sharedKey = new Secret(apiKeyOf('reader'));
  instance = await startTestInstance({
    runtime: { ...systemRuntime, now: () => time },
    others: [
      {
        crn: otherInstanceCrn,
        apiKeys: [
          { name: 'other', key: new Secret('key of the other instance'), role: 'manager' },
          { name: 'shared', key: sharedKey, role: 'manager' },
        ],
      },
    ],
  });
  const api = await clientOf(instance);
  body = { name: 'shop', data: dataOf(await testCertificate()) };
  certificate = (await api('POST', `/v3/${segment(instance.crn)}/certificates/import`, body)).body._id;
  const made = await api('PUT', `/v1/instances/${segment(instance.crn)}/notifications/channels`, {
    type: 'url',
    endpoint: 'https://receiver.example.test/',
    is_active: false,
  });
  channel = made.body.id;
});
afterAll(() => instance.close());

/** The path of a route, with what it names filled in. */
function pathOf(path: string, crn = instance.crn, certificateCrn = certificate): string {
  return path
    .replace('{I}', segment(crn))
    .replace('{C}', segment(certificateCrn))
    .replace('{ch}', channel)
    .replace('{dl}', '001893553445006-none');
}

describe('roles', () => {
  /** Section by section as Certificate Manager's documentation has it. */
  const leastRole: Readonly<Record<string, Role | 'anyone'>> = {
    import: 'manager',
    reimport: 'manager',
    download: 'writer',
    metadata: 'reader',
    update: 'writer',
    delete: 'manager',
    list: 'reader',
    channel_list: 'reader',
    channel_create: 'manager',
    public_key: 'anyone',
    channel_update: 'manager',
    channel_toggle: 'manager',
    channel_delete: 'manager',
    channel_test: 'reader',
    order: 'manager',
    renew: 'manager',
    order_policy: 'manager',
    search: 'reader',
    repository: 'reader',
    previous: 'writer',
    dead_letter_list: 'manager',
    dead_letter_resend: 'manager',
  };
  const allowed: Readonly<Record<string, readonly Role[]>> = {
    reader: ['reader', 'writer', 'manager'],
    writer: ['writer', 'manager'],
    manager: ['manager'],
    anyone: ['reader', 'writer', 'manager'],
  };

  test('every route is in the table', () => {
    expect(routes.map(({ name }) => name).sort()).toEqual(Object.keys(leastRole).sort());
  });

  for (const { name, method, path } of routes) {
    for (const role of ['reader', 'writer', 'manager'] as const) {
      const may = allowed[leastRole[name] ?? '']?.includes(role);
      test(`a ${role} ${may ? 'may' : 'may not'} ${name}`, async () => {
        const api = await clientOf(instance, role);
        // An empty object is a bad request where there is a body, so nothing here changes anything
        // but the deletes, which name nothing.
        const harmless = name === 'delete' ? certificate.replace(/.{32}$/, '0'.repeat(32)) : certificate;
        const target = name === 'channel_delete' ? path.replace('{ch}', 'none') : path;
        const answer = await api(method, pathOf(target, instance.crn, harmless), method === 'GET' ? undefined : {});
        if (may) expect([200, 400, 404, 501]).toContain(answer.status);
        else expect([answer.status, answer.body.code]).toEqual([403, 'instance_forbidden']);
      });
    }

    test(`${name} ${leastRole[name] === 'anyone' ? 'needs no' : 'needs a'} token`, async () => {
      const answer = await call(`${instance.url}/api${pathOf(path)}`, method);
      if (leastRole[name] === 'anyone') expect(answer.status).toBe(200);
      else {
        expect(answer.status).toBe(401);
        expect(answer.body).toEqual({ code: 'instance_unauthorized', message: 'Unauthorized' });
      }
    });

    if (leastRole[name] === 'anyone') continue;
    test(`${name} tells another instance nothing`, async () => {
      const foreign = await exchangeToken(instance.url, 'key of the other instance');
      const nowhere = instance.crn.replace('11111111', '00000000');
      const answers = [
        pathOf(path),
        pathOf(path, nowhere, certificate.replace('11111111', '00000000')),
        pathOf(path, instance.crn, certificate.replace(/.{32}$/, '0'.repeat(32))),
      ].map((target) => call(`${instance.url}/api${target}`, method, foreign));
      const [first, ...others] = (await Promise.all(answers)).map(({ status, body }) => ({ status, body }));
      expect(first?.status).toBe(403);
      for (const other of others) expect(other).toEqual(first);
    });
  }
});

test('instances of one server keep apart, and one API key may have a role in each', async () => {
  const shared = await instance.token('reader');
  const theirs = segment(otherInstanceCrn);
  const added = await call(`${instance.url}/api/v3/${theirs}/certificates/import`, 'POST', shared, body);
  expect(added.status).toBe(200);
  expect(added.body._id.startsWith(`${otherInstanceCrn.slice(0, -1)}certificate:`)).toBe(true);
  const listOf = async (crn: string) =>
    (await call(`${instance.url}/api/v3/${segment(crn)}/certificates`, 'GET', shared)).body.certificates;
  expect((await listOf(otherInstanceCrn)).map(({ _id }: { _id: string }) => _id)).toEqual([added.body._id]);
  expect((await listOf(instance.crn)).map(({ _id }: { _id: string }) => _id)).toEqual([certificate]);
  // The id of one in the CRN of the other.
  const crossed = `${instance.crn.slice(0, -1)}certificate:${added.body._id.split(':').at(-1)}`;
  expect((await call(`${instance.url}/api/v1/certificate/${segment(crossed)}/metadata`, 'GET', shared)).status).toBe(
    404,
  );
  const imported = await call(
    `${instance.url}/api/v3/${segment(instance.crn)}/certificates/import`,
    'POST',
    shared,
    body,
  );
  expect(imported.status).toBe(403);
});

describe('the public key', () => {
  const keyOf = (crn: string, query = '?keyFormat=pem', last = 'publicKey') =>
    call(`${instance.url}/api/v1/instances/${segment(crn)}/notifications/${last}${query}`, 'GET');

  test('is read without a token, in either spelling, and differs between instances', async () => {
    const answer = await keyOf(instance.crn);
    expect(answer.status).toBe(200);
    expect(Object.keys(answer.body)).toEqual(['publicKey']);
    expect(answer.body.publicKey).toMatch(/^-----BEGIN PUBLIC KEY-----\n[\s\S]+-----END PUBLIC KEY-----\n$/);
    expect((await keyOf(instance.crn, '', 'publickey')).body).toEqual(answer.body);
    expect((await keyOf(instance.crn, '?keyFormat=jwk')).body.publicKey).toMatchObject({ kty: 'RSA', e: 'AQAB' });
    expect((await keyOf(otherInstanceCrn)).body.publicKey).not.toBe(answer.body.publicKey);
  });

  test('of an unknown instance is not found, and an unknown format refused', async () => {
    const unknown = await keyOf(instance.crn.replace('11111111', '00000000'));
    expect([unknown.status, unknown.body.code]).toEqual([404, 'instance_not_found']);
    expect((await keyOf(instance.crn, '?keyFormat=der')).status).toBe(400);
  });
});

describe('tokens', () => {
  const grant = 'urn:ibm:params:oauth:grant-type:apikey';
  async function exchange(form: string, method = 'POST') {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' };
    const response = await fetch(`${instance.url}/identity/token`, {
      method,
      headers,
      ...(method === 'POST' && { body: form }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: tests look at any member
    return { status: response.status, body: (await response.json()) as any, headers: response.headers };
  }

  test('are given for an API key, for an hour', async () => {
    const { status, body, headers } = await exchange(
      `grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&response_type=cloud_iam&apikey=${apiKeyOf('writer')}`,
    );
    expect(status).toBe(200);
    expect(headers.get('transaction-id')).toMatch(/^[0-9a-f-]{36}$/);
    const { access_token, ...others } = body;
    expect(others).toEqual({
      refresh_token: 'not_supported',
      token_type: 'Bearer',
      expires_in: 3600,
      expiration: 1_893_459_600,
      scope: 'ibm openid',
    });
    expect(access_token).not.toContain(apiKeyOf('writer'));
  });

  test.each([
    ['an unknown key', `grant_type=${grant}&apikey=wrong`, 400, 'BXNIM0415E'],
    ['a key with one character more', `grant_type=${grant}&apikey=${apiKeyOf('reader')}x`, 400, 'BXNIM0415E'],
    ['an empty key', `grant_type=${grant}&apikey=`, 400, 'BXNIM0415E'],
    ['no key', `grant_type=${grant}`, 400, 'BXNIM0415E'],
    ['another grant', `grant_type=refresh_token&refresh_token=not_supported`, 400, 'BXNIM0137E'],
    ['no grant', `apikey=${apiKeyOf('reader')}`, 400, 'BXNIM0137E'],
    ['nothing', '', 400, 'BXNIM0137E'],
    ['a body that is too large', 'x'.repeat(16_385), 413, 'instance_body_too_large'],
  ])('are not given for %s', async (_, form, status, errorCode) => {
    const answer = await exchange(form);
    expect([answer.status, answer.body.errorCode]).toEqual([status, errorCode]);
    expect(Object.keys(answer.body)).toEqual(['errorCode', 'errorMessage', 'errorDetails']);
    expect(answer.headers.get('transaction-id')).not.toBeNull();
  });

  test('are not given for GET', async () => {
    expect((await exchange('', 'GET')).status).toBe(405);
  });

  const statusWith = async (authorization: string) =>
    (await fetch(`${instance.url}/api/v3/${segment(instance.crn)}/certificates`, { headers: { authorization } }))
      .status;

  test('end after an hour of the given clock', async () => {
    const token = await instance.token('reader');
    expect(await statusWith(`Bearer ${token}`)).toBe(200);
    time += 3_599_999;
    expect(await statusWith(`bearer ${token}`)).toBe(200);
    time += 1;
    expect(await statusWith(`Bearer ${token}`)).toBe(401);
  });

  test('are good at every server that serves the instance with the same signing key, as after a restart', async () => {
    const other = await startTestInstance({ runtime: { ...systemRuntime, now: () => time } });
    const token = await other.token('reader');
    await other.close();
    expect(await statusWith(`Bearer ${token}`)).toBe(200);
  });

  test('cannot be made or changed by anyone else', async () => {
    const token = await instance.token('reader');
    const [header = '', claims = '', seal = ''] = token.split('.');
    const unsigned = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url');
    const raised = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(claims, 'base64url').toString()), key: 2 }));
    const { privateKey: signingKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const stranger = await startTestInstance({ signingKey, runtime: { ...systemRuntime, now: () => time } });
    const forged = [
      '',
      token,
      'Bearer ',
      `Basic ${token}`,
      `Bearer ${apiKeyOf('manager')}`,
      `Bearer ${header}.${claims}`,
      `Bearer ${claims}.${seal}`,
      `Bearer ${header}.${claims}.`,
      `Bearer ${header}..${seal}`,
      `Bearer ${unsigned}.${claims}.`,
      `Bearer ${unsigned}.${claims}.${seal}`,
      `Bearer ${token}x`,
      `Bearer ${header}.${claims}x.${seal}`,
      `Bearer ${header}.${raised.toString('base64url')}.${seal}`,
      `Bearer ${await stranger.token()}`,
    ];
    await stranger.close();
    for (const authorization of forged)
      expect([authorization, await statusWith(authorization)]).toEqual([authorization, 401]);
  });
});

describe('options', () => {
  const crn = otherInstanceCrn;
  const key = (text: string) => ({ name: text, key: new Secret(text), role: 'reader' as const });
  const start = (...instances: Parameters<typeof startInstanceServer>[0]['instances'][number][]) =>
    startInstanceServer({
      keyringOf: (tenant) => testKeyring(tenant),
      host: '127.0.0.1',
      port: 0,
      instances,
      table: memoryTable(),
      runtime: systemRuntime,
      log: silentLog,
    });

  test.each([
    ['a CRN that is none', [{ crn: 'crn:v1:bluemix', apiKeys: [] }]],
    ['the CRN of a certificate', [{ crn: `${crn.slice(0, -1)}certificate:1`, apiKeys: [] }]],
    ['an empty API key', [{ crn, apiKeys: [key('')] }]],
    ['one API key twice', [{ crn, apiKeys: [key('a'), { ...key('a'), role: 'manager' as const }] }]],
    [
      'one CRN twice',
      [
        { crn, apiKeys: [] },
        { crn, apiKeys: [] },
      ],
    ],
    ['a limit of zero', [{ crn, apiKeys: [], limits: { certificates: 0 } }]],
    ['half a limit', [{ crn, apiKeys: [], limits: { reimportsPerMinute: 1.5 } }]],
  ])('%s is refused', async (_, instances) => {
    await expect(start(...instances)).rejects.toMatchObject({ code: 'configuration_invalid' });
  });
});
