import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { requestBounds } from '../../../src/http/listen.ts';
import { sendSlowHeader } from '../../receiver/raw-http.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startTestInstance, type TestInstance } from '../../support/instance.ts';
import { clientOf, dataOf, segment } from '../client.ts';

let instance: TestInstance;
let token: string;
beforeAll(async () => {
  instance = await startTestInstance();
  token = await instance.token('manager');
});
afterAll(() => instance.close());

/** One request with a body of bytes, sent as they are. */
function send(path: string, body: Buffer, headers: Readonly<Record<string, string>>) {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: Record<string, string> }>(
    (resolve, reject) => {
      const request = httpRequest(`${instance.url}${path}`, { method: 'POST', headers }, async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: JSON.parse(Buffer.concat(chunks).toString()),
        });
      });
      request.on('error', reject);
      request.end(body);
    },
  );
}

const importPath = () => `/api/v3/${segment(instance.crn)}/certificates/import`;

test.each([
  ['gzip', gzipSync],
  ['GZIP', gzipSync],
  ['x-gzip', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
  ['zstd', (bytes: Buffer) => bytes],
  ['identity, gzip', gzipSync],
  ['aes128gcm', (bytes: Buffer) => bytes],
])(
  'a body with the Content-Encoding %s is 415, and told why, at the API and at the token endpoint',
  async (encoding, encode) => {
    const json = Buffer.from(JSON.stringify({ name: 'shop', data: dataOf(await testCertificate()) }));
    const headers = { authorization: `Bearer ${token}`, 'content-encoding': encoding };
    const answer = await send(importPath(), encode(json), headers);
    expect(answer).toMatchObject({
      status: 415,
      headers: { 'accept-encoding': 'identity' },
      body: { code: 'instance_media_type' },
    });
    expect(answer.body.message).toMatch(/Content-Encoding \S+\. Send the body as it is, not compressed/);
    const form = await send('/identity/token', encode(Buffer.from('grant_type=x')), { 'content-encoding': encoding });
    expect(form).toMatchObject({
      status: 415,
      headers: { 'accept-encoding': 'identity' },
      body: { errorCode: 'instance_media_type' },
    });
  },
);

test.each(['', 'identity', 'Identity', 'identity, identity'])(
  'the Content-Encoding %j changes nothing',
  async (encoding) => {
    const json = Buffer.from(JSON.stringify({ name: 'shop', data: dataOf(await testCertificate()) }));
    const headers = { authorization: `Bearer ${token}`, 'content-encoding': encoding };
    expect(await send(importPath(), json, headers)).toMatchObject({ status: 200 });
  },
);

test('a body that is too large is told the limit of where it was sent to', async () => {
  const api = await send(importPath(), Buffer.alloc(1024 * 1024 + 1, 32), { authorization: `Bearer ${token}` });
  expect(api).toMatchObject({ status: 413, headers: { connection: 'close' } });
  expect(api.body.message).toContain('Send at most 1048576 bytes');
  const form = await send('/identity/token', Buffer.alloc(16 * 1024 + 1, 32), {});
  expect(form).toMatchObject({
    status: 413,
    headers: { connection: 'close' },
    body: { errorDetails: 'Send at most 16384 bytes in one request.' },
  });
});

test.each([
  ['content', { content: 'x' }],
  ['intermediate', { intermediate: 'x' }],
  ['priv_key', { priv_key: 'x' }],
  ['content', { content: 'x'.repeat(102_401) }],
  ['intermediate', { intermediate: 'x'.repeat(102_401) }],
  ['priv_key', { priv_key: 'x'.repeat(102_401) }],
])('what is wrong with %s is told by that name', async (member, wrong) => {
  const call = await clientOf(instance);
  const data = { ...dataOf(await testCertificate()), ...wrong };
  const { status, body } = await call('POST', `/v3/${segment(instance.crn)}/certificates/import`, {
    name: 'shop',
    data,
  });
  expect(status).toBe(400);
  expect(body.message).toMatch(new RegExp(`^${member} (holds neither|is longer than 102400 bytes)`));
  expect(body.message).not.toContain('privateKey');
});

test('a server holds no more connections than it may', async () => {
  const small = await startTestInstance({ maxConnections: 2 });
  const port = Number(new URL(small.url).port);
  const sockets = [0, 1, 2].map(() => connect(port, '127.0.0.1'));
  try {
    const closed = await Promise.race(
      sockets.map((socket, index) => new Promise<number>((resolve) => socket.once('close', () => resolve(index)))),
    );
    expect([0, 1, 2]).toContain(closed);
    expect(sockets.filter(({ closed }) => !closed)).toHaveLength(2);
  } finally {
    for (const socket of sockets) socket.destroy();
    await small.close();
  }
});

test('every listener looks each few seconds for requests that do not arrive', () => {
  expect(requestBounds.connectionsCheckingInterval).toBeLessThanOrEqual(5_000);
  expect(requestBounds.headersTimeout).toBeLessThanOrEqual(15_000);
});

test('a header that goes on coming, byte by byte, is given up', async () => {
  const impatient = await startTestInstance({ requestHeadersMs: 200 });
  try {
    expect(await sendSlowHeader(Number(new URL(impatient.url).port))).toMatch(/^HTTP\/1\.1 408 /);
  } finally {
    await impatient.close();
  }
});
