import { createPrivateKey } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemRuntime } from '../../../src/runtime.ts';
import { expired, mismatchedKey, testCertificate } from '../../support/certificates.ts';
import { startTestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { call, clientOf, dataOf, rawStatus, segment } from '../client.ts';

/**
 * The contract of a server that is compatible with Certificate Manager: each of the twelve rows of
 * its checklist, by its number.
 */

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const now = Date.UTC(2030, 0, 2, 3, 4, 5, 6);
const I = segment(instanceCrn);

/** An instance with the limits of Certificate Manager, on a clock that stands still. */
async function start(options: TestInstanceOptions = {}) {
  const instance = await startTestInstance({
    limits: {},
    channelVersion: 4,
    runtime: { ...systemRuntime, now: () => now },
    ...options,
  });
  closers.push(instance.close);
  const api = await clientOf(instance);
  const importOne = async (domains: readonly string[] = ['shop.example.test'], notAfter = Date.UTC(2031, 0, 1)) => {
    const data = dataOf(await testCertificate({ domains, notAfter }));
    return (await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data })).body;
  };
  return { instance, api, importOne };
}

/** A receiver of notifications, and the bodies that it got. */
async function receiver() {
  const bodies: string[] = [];
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    bodies.push(Buffer.concat(chunks).toString());
    response.end();
    for (const { count, resolve } of waiting) if (bodies.length >= count) resolve();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    bodies,
    received: (count: number) =>
      new Promise<void>((resolve) => (bodies.length >= count ? resolve() : waiting.push({ count, resolve }))),
  };
}

const parts = (body: string): readonly string[] => JSON.parse(body).data.split('.');
const decoded = (part: string | undefined) => Buffer.from(part ?? '', 'base64url').toString();

test('row 1: %2F, %2f and %3A in the CRN route correctly; a raw slash inside the CRN gives 404', async () => {
  const { instance, importOne } = await start();
  const { _id } = await importOne();
  const token = await instance.token();
  const C = segment(_id);
  expect(C).toContain('%3A');
  expect(C).toContain('%2F');
  const status = (certificate: string) =>
    rawStatus(instance.url, 'GET', `/api/v1/certificate/${certificate}/metadata`, token);
  expect(await status(C)).toBe(200);
  expect(await status(C.replace('%2F', '%2f'))).toBe(200);
  expect(await status(C.replaceAll('%3A', '%3a'))).toBe(200);
  expect(await status(C.replace('%2F', '/'))).toBe(404);
});

test('row 2: a list with && and empty parameters works; cursors are strings, and "" on the last page', async () => {
  const { api, importOne } = await start();
  const [soon, late] = [
    await importOne(['a.example.test'], Date.UTC(2030, 5, 1)),
    await importOne(['b.example.test'], Date.UTC(2030, 6, 1)),
  ];
  const first = await api('GET', `/v3/${I}/certificates?page_size=1`);
  expect(first.body).toMatchObject({ totalScannedDocs: 1, certificates: [{ _id: soon._id }] });
  expect(first.body.nextPageInfo).toEqual({
    startWithDocId: late._id,
    startWithOrderByValue: String(Date.UTC(2030, 6, 1)),
  });
  const { startWithDocId, startWithOrderByValue } = first.body.nextPageInfo;
  const cursor = `start_from_document_id=${startWithDocId.replaceAll('/', '%2F')}&&start_from_orderby_value=${startWithOrderByValue}`;
  const last = await api('GET', `/v3/${I}/certificates?page_number=1&&page_size=200&&${cursor}`);
  expect(last.body).toMatchObject({ totalScannedDocs: 1, certificates: [{ _id: late._id }] });
  expect(last.body.nextPageInfo).toEqual({ startWithDocId: '', startWithOrderByValue: '' });
  const empty = await api('GET', `/v3/${I}/certificates/?&&order=&start_from_document_id=&start_from_orderby_value=`);
  expect(empty.body.totalScannedDocs).toBe(2);
});

test('row 3: paging is stable while certificates are added or deleted between pages', async () => {
  const { api, importOne } = await start();
  const made: string[] = [];
  for (let day = 1; day <= 6; day++) made.push((await importOne(['a.example.test'], Date.UTC(2031, 0, day)))._id);
  const listed: string[] = [];
  let cursor = '';
  for (let page = 1; page <= 6; page++) {
    const { certificates, nextPageInfo } = (await api('GET', `/v3/${I}/certificates?page_size=2${cursor}`)).body;
    listed.push(...certificates.map(({ _id }: { _id: string }) => _id));
    if (nextPageInfo.startWithDocId === '') break;
    cursor = `&start_from_document_id=${segment(nextPageInfo.startWithDocId)}&start_from_orderby_value=${nextPageInfo.startWithOrderByValue}`;
    // One before the page that comes, and once the very one that the cursor names.
    await importOne(['before.example.test'], Date.UTC(2030, 11, page));
    if (page === 1) await api('DELETE', `/v2/certificate/${segment(made[2] ?? '')}`);
  }
  expect(listed).toEqual([made[0], made[1], made[3], made[4], made[5]]);
});

test('row 4: PUT creates a channel, POST updates it, /state toggles; the list is a bare array', async () => {
  const { api } = await start();
  const base = `/v1/instances/${I}/notifications`;
  const endpoint = 'https://receiver.example.test/a';
  expect((await api('PUT', `${base}/channels`, { type: 'url', endpoint, is_active: true })).status).toBe(200);
  const [made] = (await api('GET', `${base}/channels`)).body;
  expect(made).toEqual({ id: made.id, type: 'url', endpoint, is_active: true, version: 4 });
  const moved = 'https://receiver.example.test/b';
  expect((await api('POST', `${base}/${made.id}`, { endpoint: moved })).status).toBe(200);
  expect((await api('PUT', `${base}/${made.id}/state`, { enabled: false })).status).toBe(200);
  expect((await api('GET', `${base}/channels`)).body).toEqual([{ ...made, endpoint: moved, is_active: false }]);
  expect((await api('DELETE', `${base}/${made.id}`)).status).toBe(200);
  expect((await api('GET', `${base}/channels`)).body).toEqual([]);
});

test('row 5: the public key is readable without a token, and 404 for an unknown instance', async () => {
  const { instance } = await start();
  const keyOf = (crn: string) =>
    call(`${instance.url}/api/v1/instances/${segment(crn)}/notifications/publicKey?keyFormat=pem`, 'GET');
  const { status, body } = await keyOf(instanceCrn);
  expect(status).toBe(200);
  expect(body.publicKey).toMatch(/^-----BEGIN PUBLIC KEY-----/);
  expect((await keyOf(instanceCrn.replace('11111111', '00000000'))).status).toBe(404);
});

test('row 6: the JWT header is exactly {"alg":"RS256"}, there are no time claims, and the body is {"data":…}', async () => {
  const { api, importOne } = await start();
  const at = await receiver();
  await api('PUT', `/v1/instances/${I}/notifications/channels`, { type: 'url', endpoint: at.endpoint });
  const { _id } = await importOne();
  await api('PUT', `/v1/certificate/${segment(_id)}`, dataOf(await testCertificate()));
  await at.received(1);
  expect(Object.keys(JSON.parse(at.bodies[0] ?? ''))).toEqual(['data']);
  const [header, claims] = parts(at.bodies[0] ?? '');
  expect(decoded(header)).toBe('{"alg":"RS256"}');
  expect(Object.keys(JSON.parse(decoded(claims)))).toEqual([
    'instance_crn',
    'certificate_manager_url',
    'event_type',
    'certificates',
    'version',
    'latestVersion',
  ]);
});

test('row 7: metadata never contains data, download does; ms integers everywhere except the test event', async () => {
  const { api, importOne } = await start();
  const at = await receiver();
  const made = await api('PUT', `/v1/instances/${I}/notifications/channels`, { type: 'url', endpoint: at.endpoint });
  const imported = await importOne();
  const C = segment(imported._id);
  const metadata = (await api('GET', `/v1/certificate/${C}/metadata`)).body;
  const [listed] = (await api('GET', `/v3/${I}/certificates`)).body.certificates;
  const downloaded = (await api('GET', `/v2/certificate/${C}`)).body;
  for (const one of [imported, metadata, listed]) expect('data' in one).toBe(false);
  expect(Object.keys(downloaded.data)).toEqual(['content', 'intermediate', 'priv_key']);
  for (const one of [imported, metadata, listed, downloaded]) {
    expect([one.begins_on, one.expires_on]).toEqual([Date.UTC(2000, 0, 1), Date.UTC(2031, 0, 1)]);
  }
  await api('POST', `/v3/instances/${I}/notifications/${made.body.id}/test`);
  await at.received(1);
  const [, claims] = parts(at.bodies[0] ?? '');
  expect(JSON.parse(decoded(claims)).certificates[0].expires_on).toBe('2030-01-02T03:04:05.006Z');
});

test('row 8: reimport has a flat body, wants the same domains, makes has_previous true and tells cert_reimported', async () => {
  const { api, importOne } = await start();
  const at = await receiver();
  await api('PUT', `/v1/instances/${I}/notifications/channels`, { type: 'url', endpoint: at.endpoint });
  const { _id, has_previous } = await importOne(['a.example.test', 'b.example.test']);
  const C = segment(_id);
  const put = (body: unknown) => api('PUT', `/v1/certificate/${C}`, body);
  const same = dataOf(await testCertificate({ domains: ['b.example.test', 'a.example.test'] }));
  expect((await put({ data: same })).status).toBe(400);
  expect((await put(dataOf(await testCertificate({ domains: ['a.example.test'] })))).status).toBe(400);
  const { status, body } = await put(same);
  expect([status, has_previous, body.has_previous]).toEqual([200, false, true]);
  await at.received(1);
  const claims = JSON.parse(decoded(parts(at.bodies[0] ?? '')[1]));
  expect([claims.event_type, claims.certificates[0].cert_crn]).toEqual(['cert_reimported', _id]);
});

test('row 9: an order policy {} is one that switches off', async () => {
  const lines: string[] = [];
  const { api } = await start({
    log: (_, event, fields) => lines.push(`${event} ${JSON.stringify(fields)}`),
  });
  const order = { name: 'shop', domains: ['shop.example.test'], domain_validation_method: 'dns-01' };
  const { _id } = (await api('POST', `/v1/${I}/certificates/order`, order)).body;
  const put = (body: unknown) => api('PUT', `/v1/certificate/${segment(_id)}/order/policy`, body);
  expect((await put({ auto_renew_enabled: true })).body).toEqual({ auto_renew_enabled: true });
  expect((await put({})).body).toEqual({ auto_renew_enabled: false });
  expect((await api('GET', `/v1/certificate/${segment(_id)}/metadata`)).body.order_policy).toEqual({
    auto_renew_enabled: false,
  });
  const actions = lines.filter((line) => line.includes('autorenew')).map((line) => JSON.parse(line.slice(6)).action);
  expect(actions).toEqual([
    'cloudcerts.certificate-order-autorenew.set-on',
    'cloudcerts.certificate-order-autorenew.set-off',
  ]);
});

test('row 10: the 6th reimport of one certificate inside a minute is refused', async () => {
  const { api, importOne } = await start();
  const { _id } = await importOne();
  const data = dataOf(await testCertificate());
  const statuses: number[] = [];
  for (let count = 1; count <= 6; count++)
    statuses.push((await api('PUT', `/v1/certificate/${segment(_id)}`, data)).status);
  expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
});

test('row 11: a key that does not match, an expired certificate, an encrypted key, a name > 256: 400 with {code,message}', async () => {
  const { api } = await start();
  const good = dataOf(await testCertificate());
  const encrypted = createPrivateKey(good.priv_key)
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString();
  const refused = [
    { name: 'shop', data: dataOf(await mismatchedKey()) },
    { name: 'shop', data: dataOf(await expired()) },
    { name: 'shop', data: { ...good, priv_key: encrypted } },
    { name: 'n'.repeat(257), data: good },
  ];
  const codes: string[] = [];
  for (const body of refused) {
    const answer = await api('POST', `/v3/${I}/certificates/import`, body);
    expect(answer.status).toBe(400);
    expect(Object.keys(answer.body)).toEqual(['code', 'message']);
    codes.push(answer.body.code);
  }
  expect(codes).toEqual([
    'certificate_key_mismatch',
    'certificate_expired',
    'certificate_key_encrypted',
    'instance_request_invalid',
  ]);
  expect((await api('GET', `/v3/${I}/certificates`)).body.totalScannedDocs).toBe(0);
});

test('row 12: a 401 body has the message Unauthorized', async () => {
  const { instance } = await start();
  for (const token of [undefined, 'wrong']) {
    const { status, body } = await call(`${instance.url}/api/v3/${I}/certificates`, 'GET', token);
    expect([status, body.message]).toEqual([401, 'Unauthorized']);
  }
});
