import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { type ReceiverServerOptions, startReceiverServer } from '../../src/receiver/node-host.ts';
import { createReceiver } from '../../src/receiver/receiver.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import { makeSigner, otherInstanceCrn, payloadTest, payloadV4 } from '../support/notifications.ts';
import { keptLog, watchedLink } from './links.ts';
import { sendRaw, sendSlowHeader } from './raw-http.ts';

const signer = makeSigner();
const stranger = makeSigner();
const key = pinVerificationKey(signer.publicKeyPem);
const good = signer.body(payloadV4());

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** A server with the link `shop`; `limits` are short so that tests are. */
async function setUp(
  options: {
    readonly key?: Parameters<typeof watchedLink>[0];
    readonly acknowledge?: ReturnType<typeof watchedLink>['acknowledge'];
    readonly limits?: NonNullable<ReceiverServerOptions['limits']>;
    readonly receiver?: ReceiverServerOptions['receiver'];
  } = {},
) {
  const { key: load = async () => key, limits = {}, acknowledge } = options;
  const link = watchedLink(load, acknowledge === undefined ? {} : { acknowledge });
  const { lines, log } = keptLog();
  const receiver = options.receiver ?? createReceiver({ now: Date.now, callbacks: [link], log });
  const given = { lingerMs: 200, closeMs: 1_000, ...limits };
  const server = await startReceiverServer({ receiver, host: '127.0.0.1', port: 0, log, limits: given });
  cleanUps.push(() => server.close());
  const callback = `${server.url}/callback/shop`;
  const post = (body: Uint8Array | ReadableStream, headers: Record<string, string> = {}, url = callback) =>
    fetch(url, { method: 'POST', body, headers, duplex: 'half' } as RequestInit);
  return { link, lines, server, callback, post };
}

const jsonType = { 'content-type': 'application/json' };

/** The good notification with spaces after it, so many bytes in all. */
function padded(bytes: number): Buffer {
  return Buffer.concat([good, Buffer.alloc(bytes - good.length, ' ')]);
}

/** The same bytes without a length: chunked. */
function streamed(bytes: Buffer): ReadableStream {
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 10_000) controller.enqueue(bytes.subarray(at, at + 10_000));
      controller.close();
    },
  });
}

describe('each answer over HTTP', () => {
  it('202 new, 200 repeat, 200 informative', async () => {
    const { post, link } = await setUp();
    const first = await post(good, jsonType);
    expect(first.status).toBe(202);
    expect(first.headers.get('content-type')).toBe('application/json');
    expect(first.headers.get('content-length')).toBe('56');
    expect(await first.json()).toEqual({ status: 'acknowledged', sender: 'certificate-manager' });
    const second = await post(good, jsonType);
    expect([second.status, await second.json()]).toEqual([200, { status: 'repeat', sender: 'certificate-manager' }]);
    const third = await post(signer.body(payloadTest()));
    expect([third.status, await third.json()]).toEqual([200, { status: 'noted', sender: 'certificate-manager' }]);
    expect(link.acknowledged.length).toBe(2);
  });

  it.each<[string, number, string, Buffer]>([
    ['no JSON', 400, 'notification_malformed', Buffer.from('hello')],
    ['no body', 400, 'notification_malformed', Buffer.alloc(0)],
    ['another key', 401, 'notification_not_genuine', stranger.body(payloadV4())],
    ['alg none', 401, 'notification_not_genuine', signer.body(payloadV4(), { alg: 'none' })],
    ['another instance', 403, 'notification_foreign', signer.body(payloadV4({ instance: otherInstanceCrn }))],
    ['a body of 262,145 bytes', 413, 'notification_too_large', padded(262_145)],
  ])('%s: %i %s', async (_name, status, code, body) => {
    const { post, link } = await setUp();
    const answer = await post(body, jsonType);
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([status, code]);
    expect(link.acknowledged).toEqual([]);
  });

  it('401 in the same bytes for every cause', async () => {
    const { post } = await setUp();
    const bodies = [stranger.body(payloadV4()), signer.body(payloadV4(), { alg: 'PS256' })];
    const texts = await Promise.all(bodies.map(async (body) => (await post(body)).text()));
    expect(new Set(texts).size).toBe(1);
  });

  it('404, 405 with Allow, 415', async () => {
    const { post, server, callback, link } = await setUp();
    expect((await post(good, jsonType, `${server.url}/callback/__proto__`)).status).toBe(404);
    expect((await post(good, jsonType, `${server.url}/`)).status).toBe(404);
    const got = await fetch(callback);
    expect([got.status, got.headers.get('allow')]).toEqual([405, 'POST']);
    const head = await fetch(callback, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([405, '']);
    expect((await post(good, { 'content-type': 'text/plain' })).status).toBe(415);
    expect((await post(good, { 'content-encoding': 'gzip' })).status).toBe(415);
    expect(link.asked.keys).toBe(0);
  });

  it('503 with Retry-After while there is no key, and while the table cannot be written', async () => {
    const keyless = await setUp({ key: async () => undefined });
    const first = await keyless.post(good);
    expect([first.status, first.headers.get('retry-after')]).toEqual([503, '30']);
    const full = await setUp({ acknowledge: () => Promise.reject(new CodedError('table_unavailable', 'full')) });
    const second = await full.post(good);
    expect([second.status, second.headers.get('retry-after')]).toEqual([503, '30']);
  });

  it('the query is no part of the path', async () => {
    const { post, callback } = await setUp();
    expect((await post(good, {}, `${callback}?a=/callback/x`)).status).toBe(202);
  });

  it('500 and an ended connection if the receiver itself breaks its promise', async () => {
    const { server, lines } = await setUp({ receiver: () => Promise.reject(new Error('broken')) });
    const answer = await sendRaw(server.port, ['POST /callback/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n']);
    expect(answer).toMatchObject({ status: 0, closed: true });
    expect(lines).toMatchObject([{ level: 'error', event: 'request_failed', fields: { message: 'broken' } }]);
  });
});

describe('the size of a body, in bytes', () => {
  it.each([
    [262_143, 202],
    [262_144, 202],
    [262_145, 413],
  ])('with a length of %i: %i', async (bytes, status) => {
    const { post, link } = await setUp();
    expect((await post(padded(bytes))).status).toBe(status);
    expect(link.acknowledged.length).toBe(status === 202 ? 1 : 0);
  });

  it.each([
    [262_143, 202],
    [262_144, 202],
    [262_145, 413],
    [2_000_000, 413],
  ])('chunked, %i: %i', async (bytes, status) => {
    const { post, link } = await setUp();
    expect((await post(streamed(padded(bytes)))).status).toBe(status);
    expect(link.acknowledged.length).toBe(status === 202 ? 1 : 0);
  });

  it('counts bytes, not characters', async () => {
    const { post } = await setUp();
    const token = signer.sign(payloadV4());
    const wide = (characters: number) => Buffer.from(`{"data":"${token}","x":"${'€'.repeat(characters)}"}`);
    expect((await post(wide(80_000))).status).toBe(202);
    expect((await post(wide(90_000))).status).toBe(413);
  });

  it('answers by the length alone, before a byte of the body, and ends the connection', async () => {
    const { server, link } = await setUp();
    const head = 'POST /callback/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 262145\r\n\r\n';
    const answer = await sendRaw(server.port, [head], 5_000);
    expect(answer).toMatchObject({ status: 413, closed: true });
    expect(answer.headers.connection).toBe('close');
    expect(link.asked.keys).toBe(0);
  });

  it('ends a connection whose chunks never end', async () => {
    const { server } = await setUp();
    const head = 'POST /callback/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    const answer = await sendRaw(server.port, [head, chunk, chunk, chunk, chunk, chunk], 5_000);
    expect(answer).toMatchObject({ status: 413, closed: true });
    expect(answer.headers.connection).toBe('close');
  });

  it('lets a sender who sends first and reads later read the answer', async () => {
    const { server } = await setUp({ limits: { lingerMs: 10_000 } });
    const socket = connect(server.port, '127.0.0.1').pause();
    socket.on('error', () => {});
    socket.write('POST /callback/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n');
    for (let sent = 0; sent < 3_000_000 && !socket.destroyed; sent += 300_000) {
      await Promise.race([new Promise((resolve) => socket.write(Buffer.alloc(300_000), resolve)), pause(2_000)]);
      await pause(10);
    }
    let answer = '';
    for await (const chunk of socket) answer += chunk;
    expect(answer).toMatch(/^HTTP\/1.1 413 /);
  });

  it('keeps the order of checks: what has no link is not called too large', async () => {
    const { server } = await setUp();
    const head = 'POST /callback/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n';
    expect(await sendRaw(server.port, [head])).toMatchObject({ status: 404 });
  });

  it('asks a sender that waits for it to go on, but not one whose body is too large', async () => {
    const { callback } = await setUp();
    const ask = (length: number) =>
      new Promise<{ continued: boolean; status: number | undefined }>((resolve, reject) => {
        const headers = { expect: '100-continue', 'content-length': length };
        const request = httpRequest(callback, { method: 'POST', headers });
        let continued = false;
        request.on('continue', () => {
          continued = true;
          request.end(padded(length));
        });
        request.on('response', (response) => {
          resolve({ continued, status: response.statusCode });
          response.resume();
          request.destroy();
        });
        request.on('error', reject);
        request.flushHeaders();
      });
    expect(await ask(262_144)).toEqual({ continued: true, status: 202 });
    expect(await ask(262_145)).toEqual({ continued: false, status: 413 });
  });
});

describe('what a connection may bring', () => {
  const line = 'POST /callback/shop HTTP/1.1\r\nHost: x\r\n';
  const send = async (head: string, body: Buffer = good) => {
    const { server, link } = await setUp();
    const answer = await sendRaw(server.port, [`${head}\r\n`, body], 20);
    return { status: answer.status, acknowledged: link.acknowledged.length };
  };
  const length = `Content-Length: ${good.length}\r\n`;

  it.each([
    ['one Content-Type', `${line}${length}content-TYPE: application/json\r\n`, 202],
    ['the same Content-Type twice', `${line}${length}${'Content-Type: application/json\r\n'.repeat(2)}`, 415],
    ['two Content-Types', `${line}${length}Content-Type: application/json\r\nContent-Type: text/plain\r\n`, 415],
    ['two Content-Encodings', `${line}${length}Content-Encoding: identity\r\nContent-Encoding: gzip\r\n`, 415],
    ['two lengths', `${line}${length}${length.replace('Content', 'content')}`, 400],
    ['a length and chunks', `${line}${length}Transfer-Encoding: chunked\r\n`, 400],
    ['a length that is no number', `${line}Content-Length: x\r\n`, 400],
    ['a negative length', `${line}Content-Length: -1\r\n`, 400],
    ['an absolute URL', `POST http://x.test/callback/shop?y HTTP/1.1\r\nHost: x.test\r\n${length}`, 202],
    ['HTTP/1.0', `POST /callback/shop HTTP/1.0\r\n${length}`, 202],
    ['headers of 20 kB', `${line}${length}X: ${'y'.repeat(20_000)}\r\n`, 431],
    ['no HTTP', 'hello\r\n', 400],
  ])('%s', async (_name, head, status) => {
    expect(await send(head)).toEqual({ status, acknowledged: status === 202 ? 1 : 0 });
  });

  it('a sender that goes away in the middle of the body changes nothing', async () => {
    const { server, link, post } = await setUp();
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`${line}${length}\r\n`);
    socket.write(good.subarray(0, 100));
    await pause(30);
    socket.resetAndDestroy();
    await pause(30);
    expect(link.asked.keys).toBe(0);
    expect((await post(good)).status).toBe(202);
  });

  it('a body that does not come is given up', async () => {
    const { server, link } = await setUp({ limits: { requestHeadersMs: 100, requestMs: 200 } });
    const answer = await sendRaw(server.port, [`${line}${length}\r\n`, good.subarray(0, 100)], 5_000);
    expect(answer).toMatchObject({ status: 408, closed: true });
    expect(link.asked.keys).toBe(0);
  });

  it('a header that goes on coming, byte by byte, is given up', async () => {
    const { server, link } = await setUp({ limits: { requestHeadersMs: 200, requestMs: 60_000 } });
    expect(await sendSlowHeader(server.port)).toMatch(/^HTTP\/1\.1 408 /);
    expect(link.asked.keys).toBe(0);
  });

  it('holds so many connections at once, and drops one more', async () => {
    const { server } = await setUp({ limits: { receiverConnections: 2 } });
    const open = (waitMs: number) => {
      const socket = connect(server.port, '127.0.0.1');
      socket.on('error', () => {});
      const dropped = new Promise<string>((resolve) => socket.once('close', () => resolve('dropped')));
      cleanUps.unshift(async () => socket.destroy());
      return Promise.race([dropped, pause(waitMs, 'held')]);
    };
    expect(await Promise.all([open(50), open(50)])).toEqual(['held', 'held']);
    expect(await open(5_000)).toBe('dropped');
  });
});

describe('/healthz', () => {
  it('answers while the server runs, whatever the links are doing', async () => {
    const { server, link } = await setUp({ key: () => new Promise(() => {}) });
    const answer = await fetch(`${server.url}/healthz?x=1`);
    expect([answer.status, await answer.text()]).toEqual([200, '{"status":"ok"}']);
    const posted = await fetch(`${server.url}/healthz`, { method: 'POST', body: 'x' });
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    expect(link.asked.keys).toBe(0);
  });
});

describe('starting and closing', () => {
  it('lets a request under way finish, takes no new one, and closes idle connections', async () => {
    let written: (answer: 'new') => void = () => {};
    const { server, post, link } = await setUp({
      acknowledge: () => new Promise((resolve) => (written = resolve)),
      limits: { closeMs: 60_000 },
    });
    const idle = connect(server.port, '127.0.0.1');
    await new Promise((resolve) => idle.once('connect', resolve));
    const underWay = post(good);
    while (link.acknowledged.length === 0) await pause(5);
    const closed = server.close();
    expect(server.close()).toBe(closed);
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
    written('new');
    const answer = await underWay;
    expect([answer.status, answer.headers.get('connection')]).toEqual([202, 'close']);
    await closed;
    idle.destroy();
  });

  it('does not wait for connections on which nothing is under way', async () => {
    const { server } = await setUp({ limits: { closeMs: 60_000 } });
    const silent = connect(server.port, '127.0.0.1');
    await new Promise((resolve) => silent.once('connect', resolve));
    expect((await sendRaw(server.port, ['GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'])).status).toBe(200);
    const half = connect(server.port, '127.0.0.1');
    half.write('POST /callback/shop HT');
    for (const socket of [silent, half]) socket.on('error', () => {});
    await pause(20);
    await server.close();
    for (const socket of [silent, half]) socket.destroy();
  });

  it('ends what does not finish in time', async () => {
    const { server, post, link } = await setUp({
      acknowledge: () => new Promise(() => {}),
      limits: { closeMs: 50 },
    });
    const underWay = post(good).then(
      () => 'answered',
      () => 'ended',
    );
    while (link.acknowledged.length === 0) await pause(5);
    await server.close();
    expect(await underWay).toBe('ended');
  });

  it('says which port is taken', async () => {
    const { server } = await setUp();
    const start = (nextFree: boolean) =>
      startReceiverServer({
        receiver: async () => ({ status: 200, headers: {}, body: '' }),
        host: '127.0.0.1',
        port: server.port,
        nextFree,
        log: () => {},
      });
    await expect(start(false)).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: `cannot listen on 127.0.0.1, port ${server.port}: already taken`,
      fields: { host: '127.0.0.1', port: server.port },
    });
    const second = await start(true);
    cleanUps.push(() => second.close());
    expect(second.port).toBeGreaterThan(server.port);
    expect(second.url).toBe(`http://127.0.0.1:${second.port}`);
  });
});
