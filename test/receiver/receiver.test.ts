import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { type CallbackRequest, createReceiver } from '../../src/receiver/receiver.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import {
  certificateId,
  instanceCrn,
  makeSigner,
  otherInstanceCrn,
  payloadDomainValidation,
  payloadTest,
  payloadV1,
  payloadV4,
  payloadV5,
  respellings,
} from '../support/notifications.ts';
import { keptLog, watchedLink } from './links.ts';

const signer = makeSigner();
const stranger = makeSigner();
const key = pinVerificationKey(signer.publicKeyPem);

/** A receiver with the link `shop`, and a way to ask it. */
function setUp(options: Parameters<typeof watchedLink>[1] & { readonly key?: Parameters<typeof watchedLink>[0] } = {}) {
  const link = watchedLink(options.key ?? (async () => key), options);
  const { lines, log } = keptLog();
  const receiver = createReceiver({ now: Date.now, callbacks: [link], log });
  const ask = (request: Partial<Omit<CallbackRequest, 'header'>> & { readonly headers?: Record<string, string> }) =>
    receiver({
      method: 'POST',
      path: '/callback/shop',
      body: signer.body(payloadV4()),
      ...request,
      header: (name) => request.headers?.[name],
    });
  return { link, lines, receiver, ask };
}

describe('what is accepted', () => {
  it('answers 202 after the durable write, and 200 to the same again', async () => {
    const { ask, link, lines } = setUp();
    expect(await ask({})).toMatchObject({
      status: 202,
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
      body: '{"status":"acknowledged","sender":"certificate-manager"}',
    });
    expect(await ask({})).toMatchObject({ status: 200, body: '{"status":"repeat","sender":"certificate-manager"}' });
    expect(link.acknowledged.map(({ kind, certificates }) => ({ kind, certificates }))).toEqual([
      { kind: 'reimported', certificates: [{ id: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1', name: 'shop' }] },
      { kind: 'reimported', certificates: [{ id: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1', name: 'shop' }] },
    ]);
    const fields = { sender: 'certificate-manager', link: 'shop', type: 'cert_reimported', count: 1 };
    expect(lines).toEqual([
      { level: 'info', event: 'notification', fields: { ...fields, outcome: 'acknowledged' } },
      { level: 'info', event: 'notification', fields: { ...fields, outcome: 'repeat' } },
    ]);
  });

  it('does not answer before the write is done', async () => {
    let written: (answer: 'new') => void = () => {};
    const { ask } = setUp({ acknowledge: () => new Promise((resolve) => (written = resolve)) });
    let answered = false;
    const answer = ask({}).then((response) => {
      answered = true;
      return response.status;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toBe(false);
    written('new');
    expect(await answer).toBe(202);
  });

  it.each([
    ['a test', payloadTest()],
    ['expiry, version 1', payloadV1()],
    ['expiry of a hundred', payloadV4({ type: 'cert_expired_renew_required', ids: manyIds(100) })],
    ['domain validation', payloadDomainValidation()],
  ])('notes and does nothing more: %s', async (_name, payload) => {
    const { ask, link, lines } = setUp();
    expect(await ask({ body: signer.body(payload) })).toMatchObject({
      status: 200,
      body: '{"status":"noted","sender":"certificate-manager"}',
    });
    expect(link.acknowledged).toEqual([]);
    expect(lines).toMatchObject([{ level: 'info', fields: { outcome: 'noted' } }]);
  });

  it.each([
    ['a type that nobody knows', payloadV4({ type: 'cert_reimportet' }), 'cert_reimportet, version 4'],
    ['a version that nobody knows', { ...payloadV5(), version: 6 }, 'cert_imported, version 6'],
  ])('notes %s, does nothing more, and says so: somebody may have mistyped it', async (_name, payload, type) => {
    const { ask, link, lines } = setUp();
    const message = `nothing is known here of the type ${type}`;
    const answer = await ask({ body: signer.body(payload) });
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      200,
      { status: 'noted', message, sender: 'certificate-manager' },
    ]);
    expect(link.acknowledged).toEqual([]);
    expect(lines).toMatchObject([{ level: 'warn', fields: { outcome: 'noted', message } }]);
  });

  it.each([
    undefined,
    '',
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json ; charset="utf-8"',
    'application/cloudevents+json',
    'application/vnd.example.v1+json; charset=utf-8',
  ])('takes Content-Type %j', async (type) => {
    const { ask } = setUp();
    expect((await ask(type === undefined ? {} : { headers: { 'content-type': type } })).status).toBe(202);
  });

  it.each(['', 'identity', 'Identity'])('takes Content-Encoding %j', async (encoding) => {
    const { ask } = setUp();
    expect((await ask({ headers: { 'content-encoding': encoding } })).status).toBe(202);
  });

  it('finds a link by its name as a URL spells it', async () => {
    const { ask } = setUp({ name: 'a b/c' });
    expect((await ask({ path: '/callback/a%20b%2Fc' })).status).toBe(202);
    expect((await ask({ path: '/callback/a b/c' })).status).toBe(404);
  });
});

describe('what is refused', () => {
  it.each([
    '',
    '/',
    '/callback',
    '/callback/',
    '/callback/other',
    '/callback/shop/',
    '/callback/shop/x',
    '/callback//shop',
    '/callback/Shop',
    '/callback/%73hop',
    '/callback/shop%00',
    '/CALLBACK/shop',
    '/x/callback/shop',
    '/callback/__proto__',
    '/callback/constructor',
    '/callback/toString',
    '*',
  ])('404 for the path %j', async (path) => {
    const { ask, link } = setUp();
    expect(await ask({ path })).toMatchObject({
      status: 404,
      body: '{"code":"notification_unknown_link","message":"there is no link and no sender at this path"}',
    });
    expect(link.asked.keys).toBe(0);
    expect(link.acknowledged).toEqual([]);
  });

  it.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'post', ''])('405 for the method %j', async (method) => {
    const { ask, link } = setUp();
    const answer = await ask({ method });
    expect(answer).toMatchObject({ status: 405, headers: { allow: 'POST' } });
    expect(JSON.parse(answer.body).code).toBe('notification_method');
    expect(link.asked.keys).toBe(0);
  });

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jose',
    'application/jsonp',
    'text/json',
    'json',
    'application/json, application/json',
    'application/json; charset=latin1',
    'application/json; charset=utf-16',
    'application/json; charset=utf-8; charset=utf-16',
    'application/json; profile=x',
    'multipart/form-data; boundary=application/json',
    'application/json\0',
  ])('415 for Content-Type %j', async (type) => {
    const { ask, link } = setUp();
    const answer = await ask({ headers: { 'content-type': type } });
    expect(answer.status).toBe(415);
    expect(JSON.parse(answer.body).code).toBe('notification_media_type');
    expect(link.asked.keys).toBe(0);
  });

  it.each(['gzip', 'br', 'identity, gzip', 'identity, identity'])('415 for Content-Encoding %j', async (encoding) => {
    const { ask } = setUp();
    expect((await ask({ headers: { 'content-encoding': encoding } })).status).toBe(415);
  });

  it('413 for a body of one byte more than 262,144', async () => {
    const { ask, link } = setUp();
    const padded = (size: number) =>
      Buffer.concat([signer.body(payloadV4())], size).fill(' ', signer.body(payloadV4()).length);
    expect((await ask({ body: padded(262_143) })).status).toBe(202);
    expect((await ask({ body: padded(262_144) })).status).toBe(200);
    expect(await ask({ body: padded(262_145) })).toMatchObject({
      status: 413,
      body: '{"code":"notification_too_large","message":"the body has more than 262144 bytes","sender":"certificate-manager"}',
    });
    expect(link.acknowledged.length).toBe(2);
    expect(link.asked.keys).toBe(2);
  });

  it.each([
    ['a body that is no JSON', () => Buffer.from('hello')],
    ['an empty body', () => Buffer.alloc(0)],
    ['a body that is not UTF-8', () => Buffer.from([0xff, 0xfe])],
    ['a payload that is no JSON', () => signer.body('hello')],
    ['101 certificates', () => signer.body(payloadV4({ ids: manyIds(101) }))],
    ...respellings(signer.sign(payloadV4())).map(({ name, body }): [string, () => Buffer] => [
      `another spelling: ${name}`,
      () => Buffer.from(body),
    ]),
  ])('400 for %s', async (_name, body) => {
    const { ask, link } = setUp();
    const answer = await ask({ body: body() });
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.body).code).toBe('notification_malformed');
    expect(link.acknowledged).toEqual([]);
  });

  it.each([
    ['another key', () => stranger.body(payloadV4())],
    ['another key and a foreign payload', () => stranger.body(payloadV4({ instance: otherInstanceCrn }))],
    ['alg none', () => signer.body(payloadV4(), { alg: 'none' })],
    ['alg RS512', () => signer.body(payloadV4(), { alg: 'RS512' })],
    [
      'a key in the header',
      () => stranger.body(payloadV4(), { alg: 'RS256', jwk: stranger.publicKey.export({ format: 'jwk' }) }),
    ],
    ['crit', () => signer.body(payloadV4(), { alg: 'RS256', crit: ['x'], x: 1 })],
    ['b64', () => signer.body(payloadV4(), { alg: 'RS256', b64: false })],
    ['zip', () => signer.body(payloadV4(), { alg: 'RS256', zip: 'DEF' })],
  ])('401 for %s, always in the same bytes', async (_name, body) => {
    const { ask, link } = setUp();
    expect(await ask({ body: body() })).toMatchObject({
      status: 401,
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
      body: '{"code":"notification_not_genuine","message":"the notification is not signed by the instance of this link","sender":"certificate-manager"}',
    });
    expect(link.acknowledged).toEqual([]);
  });

  it.each([
    ['another instance', () => signer.body({ ...payloadV4(), instance_crn: otherInstanceCrn })],
    [
      'a certificate of another instance',
      () => signer.body({ ...payloadV4({ instance: otherInstanceCrn }), instance_crn: instanceCrn }),
    ],
    ['an informative event of another instance', () => signer.body(payloadTest({ instance: otherInstanceCrn }))],
  ])('403 for %s', async (_name, body) => {
    const { ask, link } = setUp();
    const answer = await ask({ body: body() });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body).code).toBe('notification_foreign');
    expect(link.acknowledged).toEqual([]);
  });

  it('checks link, method, media type, size and key in this order, before the body is read', async () => {
    const { ask, link } = setUp({ key: async () => undefined });
    const all = {
      path: '/callback/x',
      method: 'GET',
      headers: { 'content-type': 'text/plain' } as Record<string, string>,
      body: Buffer.alloc(262_145),
    };
    expect((await ask(all)).status).toBe(404);
    expect((await ask({ ...all, path: '/callback/shop' })).status).toBe(405);
    expect((await ask({ ...all, path: '/callback/shop', method: 'POST' })).status).toBe(415);
    expect(link.asked.keys).toBe(0);
    expect((await ask({ body: all.body })).status).toBe(413);
    expect(link.asked.keys).toBe(0);
    expect((await ask({ body: Buffer.from('no JSON') })).status).toBe(503);
    expect(link.asked.keys).toBe(1);
  });

  it('says which link, what and how in one line, and nothing of the body', async () => {
    const { ask, lines } = setUp();
    const token = stranger.sign(payloadV4({ name: 'very-private' }));
    await ask({ body: Buffer.from(`{"data":"${token}"}`) });
    await ask({ path: '/callback/x\n\u001b[31m' });
    expect(lines).toEqual([
      {
        level: 'warn',
        event: 'notification',
        fields: {
          sender: 'certificate-manager',
          link: 'shop',
          outcome: 'refused',
          code: 'notification_not_genuine',
          message: 'the notification is not signed by the instance of this link',
        },
      },
      {
        level: 'warn',
        event: 'notification',
        fields: {
          path: '/callback/x??[31m',
          outcome: 'refused',
          code: 'notification_unknown_link',
          message: 'there is no link and no sender at this path',
        },
      },
    ]);
  });
});

describe('what cannot be done now', () => {
  it('503 with Retry-After while the key is not there', async () => {
    const { ask, link, lines } = setUp({ key: async () => undefined });
    expect(await ask({})).toMatchObject({
      status: 503,
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store', 'retry-after': '30' },
      body: '{"code":"notification_key_missing","message":"the key that proves what comes to this callback is not here yet","sender":"certificate-manager"}',
    });
    expect(link.acknowledged).toEqual([]);
    expect(lines).toMatchObject([{ level: 'error', fields: { link: 'shop', outcome: 'failed' } }]);
  });

  it('503 with Retry-After if the table cannot be written, without saying why', async () => {
    const { ask, lines } = setUp({
      acknowledge: async () => {
        throw new CodedError('table_unavailable', 'cannot write /var/lib/table: ENOSPC');
      },
    });
    expect(await ask({})).toMatchObject({
      status: 503,
      headers: { 'retry-after': '30' },
      body: '{"code":"table_unavailable","message":"not acknowledged; send it again later","sender":"certificate-manager"}',
    });
    expect(lines).toMatchObject([
      { level: 'error', fields: { type: 'cert_reimported', count: 1, message: 'cannot write /var/lib/table: ENOSPC' } },
    ]);
  });

  it.each([
    [0, '1'],
    [1, '1'],
    [1_000, '1'],
    [1_001, '2'],
    [90_000, '90'],
  ])('asks to wait as long as the error says: %d ms', async (retryAfterMs, seconds) => {
    const { ask } = setUp({
      key: () => Promise.reject(new CodedError('table_unavailable', 'busy', { fields: { retryAfterMs } })),
    });
    expect(await ask({})).toMatchObject({ status: 503, headers: { 'retry-after': seconds } });
  });

  it('500 for anything unexpected, which never comes out', async () => {
    const unexpected = [
      setUp({ key: () => Promise.reject(new TypeError('secret detail')) }),
      setUp({
        key: () => {
          throw 'secret detail';
        },
      }),
      setUp({ acknowledge: () => Promise.reject(undefined) }),
    ];
    for (const { ask, lines } of unexpected) {
      expect(await ask({})).toMatchObject({
        status: 500,
        body: '{"code":"internal","message":"not acknowledged; a fault on this side","sender":"certificate-manager"}',
      });
      expect(lines).toMatchObject([{ level: 'error', fields: { outcome: 'failed', code: 'internal' } }]);
    }
    const { receiver } = setUp();
    const header = () => {
      throw new Error('a broken host');
    };
    const broken = { method: 'POST', path: '/callback/shop', header, body: new Uint8Array() };
    expect((await receiver(broken)).status).toBe(500);
  });

  it('answers all the same if the log fails', async () => {
    const log = () => {
      throw new Error('no space left');
    };
    const receiver = createReceiver({ now: Date.now, callbacks: [watchedLink(async () => key)], log });
    const request = { method: 'POST', path: '/callback/shop', header: () => undefined };
    expect((await receiver({ ...request, body: signer.body(payloadV4()) })).status).toBe(202);
    expect((await receiver({ ...request, body: new Uint8Array() })).status).toBe(400);
  });
});

describe('several links', () => {
  it('judges each notification by the key and the instance of its own URL', async () => {
    const shop = watchedLink(async () => key);
    const other = watchedLink(async () => pinVerificationKey(stranger.publicKeyPem), {
      name: 'other',
      instance: otherInstanceCrn,
    });
    const receiver = createReceiver({ now: Date.now, callbacks: [shop, other], log: () => {} });
    const statusOf = async (path: string, body: Uint8Array) =>
      (await receiver({ method: 'POST', path, header: () => undefined, body })).status;
    const ofShop = signer.body(payloadV4());
    const ofOther = stranger.body(payloadV4({ instance: otherInstanceCrn }));
    expect(await statusOf('/callback/other', ofShop)).toBe(401);
    expect(await statusOf('/callback/shop', ofOther)).toBe(401);
    expect([shop.acknowledged.length, other.acknowledged.length]).toEqual([0, 0]);
    expect(await statusOf('/callback/shop', ofShop)).toBe(202);
    expect(await statusOf('/callback/other', ofOther)).toBe(202);
    expect([shop.acknowledged.length, other.acknowledged.length]).toEqual([1, 1]);
  });

  it('must have different names', () => {
    const link = watchedLink(async () => key);
    expect(() => createReceiver({ now: Date.now, callbacks: [link, link], log: () => {} })).toThrow(
      expect.objectContaining({ code: 'configuration_invalid' }),
    );
  });
});

function manyIds(count: number): string[] {
  return Array.from({ length: count }, (_, index) => certificateId(index + 1));
}
