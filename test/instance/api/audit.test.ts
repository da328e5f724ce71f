import { afterEach, expect, test } from 'vitest';
import type { Log, LogFields } from '../../../src/log.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startTestInstance, type TestInstance } from '../../support/instance.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { call, clientOf, dataOf, segment } from '../client.ts';

const started: TestInstance[] = [];
afterEach(() => Promise.all(started.splice(0).map((instance) => instance.close())));
const I = segment(instanceCrn);

async function start() {
  const lines: LogFields[] = [];
  const logins: LogFields[] = [];
  const log: Log = (_, event, fields) => {
    if (event !== 'audit') return;
    if (fields?.action === 'iam-identity.apikey.login') logins.push(fields);
    else lines.push(fields ?? {});
  };
  const instance = await startTestInstance({ log });
  started.push(instance);
  return { instance, lines, logins };
}

test('each action is one line: who, what, on what, with which outcome', async () => {
  const { instance, lines } = await start();
  const api = await clientOf(instance);
  const data = dataOf(await testCertificate());
  const { _id } = (await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data })).body;
  const C = segment(_id);
  const channels = `/v1/instances/${I}/notifications`;
  const endpoint = 'https://receiver.example.test/secret-path';
  await api('PUT', `/v1/certificate/${C}`, data);
  await api('GET', `/v2/certificate/${C}`);
  await api('GET', `/v2/certificate/${C}/previous`);
  await api('GET', `/v1/certificate/${C}/metadata`);
  await api('POST', `/v3/certificate/${C}`, { name: 'other' });
  await api('GET', `/v3/${I}/certificates`);
  await api('GET', `/v3/${I}/certificates/search?q=shop`);
  await api('GET', `/v2/${I}/certificates/metadata`);
  const made = await api('PUT', `${channels}/channels`, { type: 'url', endpoint, is_active: false });
  const item = `${channels}/${made.body.id}`;
  await api('GET', `${channels}/channels`);
  await api('POST', item, { endpoint });
  await api('PUT', `${item}/state`, { enabled: false });
  await api('GET', `${channels}/publicKey`);
  await api('GET', `/v3/instances/${I}/notifications/dead-letters`);
  await api('DELETE', item);
  await api('POST', `/v1/${I}/certificates/order`, {});
  await api('POST', `/v1/certificate/${C}/renew`, { rotate_keys: true });
  await api('DELETE', `/v2/certificate/${C}`);

  const certificate = _id.split(':').at(-1);
  const channel = made.body.id;
  const shown = lines.map(({ action, certificate: one, channel: two, outcome }) => [action, one ?? two, outcome]);
  expect(shown).toEqual([
    ['cloudcerts.certificate.import', certificate, 'success'],
    ['cloudcerts.certificate.reimport', certificate, 'success'],
    ['cloudcerts.certificate.download', certificate, 'success'],
    ['cloudcerts.certificate.download', certificate, 'success'],
    ['cloudcerts.certificate-metadata.read', certificate, 'success'],
    ['cloudcerts.certificate-metadata.update', certificate, 'success'],
    ['cloudcerts.certificates.read', undefined, 'success'],
    ['cloudcerts.certificates.search', undefined, 'success'],
    ['cloudcerts.certificates-metadata.search', undefined, 'success'],
    ['cloudcerts.notification-channel.create', channel, 'success'],
    ['cloudcerts.notification-channels.list', undefined, 'success'],
    ['cloudcerts.notification-channel.update', channel, 'success'],
    ['cloudcerts.notification-channel.set-off', channel, 'success'],
    ['cloudcerts.notification-channels-publickey.read', undefined, 'success'],
    ['cloudcerts.notification-dead-letters.list', undefined, 'success'],
    ['cloudcerts.notification-channel.delete', channel, 'success'],
    ['cloudcerts.certificate.order', undefined, 'failure'],
    ['cloudcerts.certificate.renew', certificate, 'failure'],
    ['cloudcerts.certificate.delete', certificate, 'success'],
  ]);
  for (const { instance: of, initiator, operation } of lines) {
    expect([of, initiator]).toEqual([instanceCrn, operation === 'public_key' ? 'anyone' : 'manager']);
  }
  expect(lines[0]?.address).toMatch(/127\.0\.0\.1$/);
  // Neither content nor what is as good as a password.
  for (const secret of ['BEGIN', 'MII', 'MIG', 'secret-path', instance.apiKey, 'shop']) {
    expect(JSON.stringify(lines)).not.toContain(secret);
  }
});

test('what was refused is told with its code, also where nobody knows who asked', async () => {
  const { instance, lines } = await start();
  const path = `/v3/${I}/certificates/import`;
  await call(`${instance.url}/api${path}`, 'POST');
  await call(`${instance.url}/api${path}`, 'POST', 'not-a-token', { name: 'x' });
  await (await clientOf(instance, 'reader'))('POST', path, { name: 'x' });
  const manager = await clientOf(instance);
  await manager('POST', path, 'not json');
  await manager('POST', `/v3/${segment(instanceCrn.replace('11111111', '00000000'))}/certificates/import`, {});
  const missing = `${instanceCrn.slice(0, -1)}certificate:${'0'.repeat(32)}`;
  await manager('GET', `/v2/certificate/${segment(missing)}`);
  expect(
    lines.map(({ initiator, outcome, code, status, certificate }) => [initiator, outcome, code, status, certificate]),
  ).toEqual([
    ['unknown', 'failure', 'instance_unauthorized', 401, undefined],
    ['unknown', 'failure', 'instance_unauthorized', 401, undefined],
    ['reader', 'failure', 'instance_forbidden', 403, undefined],
    ['manager', 'failure', 'instance_request_invalid', 400, undefined],
    ['manager', 'failure', 'instance_forbidden', 403, undefined],
    ['manager', 'failure', 'instance_not_found', 404, '0'.repeat(32)],
  ]);
});

test('tokens are asked for under the name of an API key, or under none', async () => {
  const { instance, logins } = await start();
  await instance.token('writer');
  const form = 'grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey=an-api-key-that-nobody-knows';
  const refused = await fetch(`${instance.url}/identity/token`, { method: 'POST', body: new URLSearchParams(form) });
  expect(Object.keys((await refused.json()) as object)).toEqual(['errorCode', 'errorMessage', 'errorDetails']);
  expect(logins.map(({ initiator, outcome }) => [initiator, outcome])).toEqual([
    ['writer', 'success'],
    ['unknown', 'failure'],
  ]);
  expect(JSON.stringify(logins)).not.toContain('nobody-knows');
});
