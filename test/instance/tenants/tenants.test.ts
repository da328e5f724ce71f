import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../../../src/instance/api/routes.ts';
import { Secret } from '../../../src/secret.ts';
import { testCertificate } from '../../support/certificates.ts';
import { exchangeToken, startTestInstance, type TestInstance } from '../../support/instance.ts';
import { otherInstanceCrn } from '../../support/notifications.ts';
import { call, clientOf, dataOf, type Received, segment } from '../client.ts';

/**
 * Two tenants in one server. `ours` holds a certificate, a channel and a previous version; the
 * other one asks.
 */
let instance: TestInstance;
let certificate: string;
let channel: string;
let theirToken: string;
let ourToken: string;
const rows: string[] = [];

beforeAll(async () => {
  instance = await startTestInstance({
    others: [
      {
        crn: otherInstanceCrn,
        apiKeys: [{ name: 'other', key: new Secret('api-key-of-the-other-tenant'), role: 'manager' }],
      },
    ],
  });
  const api = await clientOf(instance);
  const body = { name: 'shop', data: dataOf(await testCertificate()) };
  certificate = (await api('POST', `/v3/${segment(instance.crn)}/certificates/import`, body)).body._id;
  await api('PUT', `/v1/certificate/${segment(certificate)}`, body.data);
  const made = { type: 'url', endpoint: 'https://receiver.example.test/', is_active: false };
  channel = (await api('PUT', `/v1/instances/${segment(instance.crn)}/notifications/channels`, made)).body.id;
  theirToken = await exchangeToken(instance.url, 'api-key-of-the-other-tenant');
  ourToken = await instance.token();
});

afterAll(async () => {
  await instance.close();
  if (process.env.TENANTS_TABLE === '1') {
    const head = '| operation | method and path | token | what is there | what is not there |';
    console.info([head, '|---|---|---|---|---|', ...rows].join('\n'));
  }
});

const nobodys = (crn: string) => crn.replace('11111111', '00000000');
const noSuch = (crn: string) => crn.replace(/[0-9a-f]{32}$/, '0'.repeat(32));

/** What a caller can tell an answer by. */
const seen = ({ status, body, headers }: Received) => ({
  status,
  body,
  headers: Object.fromEntries([...headers].filter(([name]) => name !== 'date')),
});

interface Names {
  readonly crn: string;
  readonly certificate: string;
  readonly channel: string;
}

function pathOf(path: string, names: Names): string {
  return path
    .replace('{I}', segment(names.crn))
    .replace('{C}', segment(names.certificate))
    .replace('{ch}', names.channel)
    .replace('{dl}', names.channel);
}

describe('with the token of another tenant', () => {
  for (const { name, method, path, role } of routes) {
    test(`${name} answers the same, whatever is there`, async () => {
      const mine: Names = { crn: instance.crn, certificate, channel };
      const asked: Names[] = [
        mine,
        { ...mine, certificate: noSuch(certificate), channel: 'none' },
        { crn: nobodys(instance.crn), certificate: nobodys(certificate), channel },
      ];
      const body = method === 'GET' || method === 'DELETE' ? undefined : { name: 'x', content: 'x', enabled: true };
      const ask = (names: Names, token?: string) =>
        call(`${instance.url}/api${pathOf(path, names)}`, method, token, body).then(seen);
      const [there, ...elsewhere] = await Promise.all(asked.map((names) => ask(names, theirToken)));
      const anonymous = await Promise.all(asked.map((names) => ask(names)));
      for (const [who, status] of [
        ['another', there?.status],
        ['none', anonymous[0]?.status],
      ])
        rows.push(
          `| ${name} | ${method} ${path} | ${who} | ${status} | ${who === 'none' ? anonymous[1]?.status : elsewhere[0]?.status} |`,
        );
      if (role === 'anyone') {
        // The public key needs no token, and its path names no certificate.
        expect(path).not.toContain('{C}');
        expect([there?.status, anonymous[0]?.status]).toEqual([200, 200]);
        return;
      }
      expect([there?.status, there?.body.code]).toEqual([403, 'instance_forbidden']);
      for (const other of elsewhere) expect(other).toEqual(there);
      expect(anonymous[0]?.status).toBe(401);
      for (const other of anonymous.slice(1)) expect(other).toEqual(anonymous[0]);
      // Nothing that was sent changed anything, or shows in an answer.
      expect(JSON.stringify([there, ...anonymous])).not.toMatch(/shop|aaaa|receiver\.example|MII/);
    });
  }

  test('every route is in the table, with both tokens', () => {
    expect(rows).toHaveLength(routes.length * 2);
  });
});

describe('with its own token', () => {
  const crossed = (crn: string) => `${otherInstanceCrn.slice(0, -1)}certificate:${crn.split(':').at(-1)}`;

  for (const { name, method, path } of routes.filter((route) => /\{(C|ch|dl)\}/.test(route.path))) {
    test(`${name} finds nothing of another instance under an id of that`, async () => {
      const ask = (names: Omit<Names, 'crn'>) => {
        const body = method === 'GET' || method === 'DELETE' ? undefined : validBody(name);
        return call(
          `${instance.url}/api${pathOf(path, { crn: otherInstanceCrn, ...names })}`,
          method,
          theirToken,
          body,
        );
      };
      const there = seen(await ask({ certificate: crossed(certificate), channel }));
      const missing = seen(await ask({ certificate: crossed(noSuch(certificate)), channel: 'f'.repeat(36) }));
      const id = path.includes('{C}') ? certificate.split(':').at(-1) : channel;
      const other = path.includes('{C}') ? '0'.repeat(32) : 'f'.repeat(36);
      expect([404, 501]).toContain(there.status);
      expect(JSON.stringify(there).replaceAll(id ?? '', other)).toBe(JSON.stringify(missing));
    });
  }

  const bodies: Readonly<Record<string, unknown>> = {
    update: { name: 'x' },
    channel_update: { endpoint: 'https://elsewhere.example.test/' },
    channel_toggle: { enabled: true },
  };
  let reimport: unknown;
  beforeAll(async () => {
    reimport = dataOf(await testCertificate());
  });
  const validBody = (name: string) => (name === 'reimport' ? reimport : (bodies[name] ?? {}));

  test('the cursor of a list of another instance is refused', async () => {
    const query = `start_from_document_id=${segment(certificate)}&start_from_orderby_value=1`;
    for (const path of ['certificates', 'certificates/search']) {
      const answer = await call(
        `${instance.url}/api/v3/${segment(otherInstanceCrn)}/${path}?q=a&${query}`,
        'GET',
        theirToken,
      );
      expect([answer.status, answer.body.code]).toEqual([400, 'instance_request_invalid']);
    }
  });
});

test('after all of it, what was there is as it was', async () => {
  const listed = await call(`${instance.url}/api/v3/${segment(instance.crn)}/certificates`, 'GET', ourToken);
  expect(listed.body.certificates.map(({ _id, name }: { _id: string; name: string }) => [_id, name])).toEqual([
    [certificate, 'shop'],
  ]);
  const channels = await call(
    `${instance.url}/api/v1/instances/${segment(instance.crn)}/notifications/channels`,
    'GET',
    ourToken,
  );
  expect(channels.body).toEqual([
    { id: channel, type: 'url', endpoint: 'https://receiver.example.test/', is_active: false, version: 5 },
  ]);
});
