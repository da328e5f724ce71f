import { createHmac, randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../src/log.ts';
import { createReceiver } from '../../../src/receiver/receiver.ts';
import { Secret } from '../../../src/secret.ts';
import { changeMessage } from '../../../src/sender/change-message.ts';
import type { LifecycleEvent } from '../../../src/sender/event.ts';
import { newKeyPair, publicKey, signingKey } from '../../../src/sender/standard-webhook-keys.ts';
import { messageHeaders } from '../../../src/sender/standard-webhook-message.ts';
import { senderOf } from '../../../src/services/standard-webhooks/sender.ts';

const now = Date.parse('2026-11-30T08:00:00Z');
const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;
const secret = newSecret();
const pair = newKeyPair();
const config = { kind: 'standard-webhooks', name: 'certbot', store: 'site' } as const;

type Headers = Record<string, string | undefined>;

/** A receiver with this sender alone, and what it acknowledged. */
function setUp(
  keys: { secret?: string; nextSecret?: string; publicKey?: string; nextPublicKey?: string } = { secret },
) {
  const { secret: first, nextSecret, ...publicKeys } = keys;
  const sender = senderOf({
    ...config,
    ...publicKeys,
    ...(first !== undefined && { secret: new Secret(first) }),
    ...(nextSecret !== undefined && { nextSecret: new Secret(nextSecret) }),
  });
  const acknowledged: LifecycleEvent[] = [];
  const receive = createReceiver({
    callbacks: [
      {
        name: 'certbot',
        told: { sender: 'certbot' },
        sender,
        verificationKeys: async () => sender.keys ?? new Map(),
        acknowledge: async (events) => {
          acknowledged.push(...events);
          return 'new';
        },
      },
    ],
    now: () => now,
    log: silentLog,
  });
  const post = async (headers: Headers, body: string | Uint8Array) => {
    const { status, body: text } = await receive({
      method: 'POST',
      path: '/callback/certbot',
      header: (name) => headers[name],
      body: Buffer.from(body),
    });
    return { ...(JSON.parse(text) as { code?: string; message?: string }), status };
  };
  return { acknowledged, post };
}

const body = changeMessage({
  type: 'certificate.changed',
  at: now - 1_000,
  certificates: [{ name: 'www.example.com' }],
});

function signed(text = body, given: { key?: string; id?: string; at?: number } = {}): Headers {
  const key = signingKey(given.key ?? secret);
  if (key === undefined) throw new Error('no key');
  return { ...messageHeaders(key, { id: given.id ?? 'msg_1', body: text, now: given.at ?? now }) };
}

/** Encodings of Ed25519 points whose order divides eight: 0 = [0]B makes a signature for them. */
const smallOrder = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
].flatMap((hex) =>
  [0, 0x80].map((sign) => Buffer.from(hex, 'hex').map((byte, at) => (at === 31 ? byte | sign : byte))),
);

it.each(smallOrder.map((bytes) => `whpk_${Buffer.from(bytes).toString('base64')}`))(
  'a public key for which anybody can sign is none: %s',
  async (text) => {
    expect(publicKey(text)).toBeUndefined();
    const { post, acknowledged } = setUp({ publicKey: text });
    const forged = Buffer.alloc(64);
    forged[0] = 1;
    const webhook = { 'content-type': 'application/json', 'webhook-timestamp': String(now / 1_000) };
    for (let at = 0; at < 64; at += 1) {
      const signature = `v1a,${forged.toString('base64')}`;
      await post({ ...webhook, 'webhook-id': `msg_${at}`, 'webhook-signature': signature }, body);
    }
    expect(acknowledged).toEqual([]);
  },
);

it('a message may bear four Ed25519 signatures, and no more, for each is checked before anything is proven', async () => {
  const { post, acknowledged } = setUp({ publicKey: pair.publicKey });
  const headers = signed(body, { key: pair.privateKey });
  const own = headers['webhook-signature'] ?? '';
  const others = (count: number) => Array(count).fill(`v1a,${Buffer.alloc(64, 5).toString('base64')}`);
  const bear = (count: number) => ({ ...headers, 'webhook-signature': [...others(count), own].join(' ') });
  expect(await post(bear(4), body)).toMatchObject({ status: 400, code: 'notification_malformed' });
  expect(acknowledged).toEqual([]);
  expect(await post(bear(3), body)).toMatchObject({ status: 202 });
});

describe('a message that is proven', () => {
  it('names certificates, each once, by id or by name', async () => {
    const { post, acknowledged } = setUp();
    const certificates = [{ name: 'a' }, { id: 'x/1' }, { name: 'a' }, { id: 'x/1', name: 'other' }];
    const text = changeMessage({ type: 'certificate.changed', at: now - 5_000, certificates });
    expect(await post(signed(text), text)).toMatchObject({ status: 202 });
    expect(acknowledged).toEqual([
      {
        kind: 'other',
        changes: true,
        type: 'certificate.changed',
        version: 1,
        store: 'site',
        certificates: [{ id: 'x/1', name: '' }],
        hints: [{ by: 'name', text: 'a' }],
        eventId: 'msg_1',
        occurredAt: now - 5_000,
        digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
    ]);
  });

  it.each([
    ['without data', { type: 'certificate.changed' }],
    ['without certificates', { type: 'certificate.changed', data: {} }],
    ['with none', { type: 'certificate.changed', data: { certificates: [] } }],
  ])('says that something has changed: %s', async (_name, message) => {
    const { post, acknowledged } = setUp();
    const text = JSON.stringify(message);
    expect(await post(signed(text), text)).toMatchObject({ status: 202 });
    expect(acknowledged).toMatchObject([{ certificates: [], something: true }]);
  });

  it.each(['certificate.test', 'invoice.paid'])('of a type that changes nothing is noted: %s', async (type) => {
    const { post, acknowledged } = setUp();
    const text = JSON.stringify({ type, data: { certificates: 7 } });
    expect(await post(signed(text), text)).toMatchObject({ status: 200 });
    expect(acknowledged).toEqual([]);
  });

  it('is the same event however often it is signed anew, and another one under an id that is used again', async () => {
    const { post, acknowledged } = setUp();
    const other = changeMessage({ type: 'certificate.changed', at: now, certificates: [{ name: 'other' }] });
    await post(signed(body, { at: now - 60_000 }), body);
    await post(signed(), body);
    await post(signed(other), other);
    const [first, again, another] = acknowledged.map(({ digest }) => digest);
    expect(again).toBe(first);
    expect(another).not.toBe(first);
  });

  it('is proven while keys change, whichever side changes first', async () => {
    const next = newSecret();
    const nextPair = newKeyPair();
    const before = setUp({ secret, publicKey: pair.publicKey });
    const both = setUp({ secret, nextSecret: next, publicKey: pair.publicKey, nextPublicKey: nextPair.publicKey });
    for (const key of [secret, next, pair.privateKey, nextPair.privateKey])
      expect(await both.post(signed(body, { key }), body)).toMatchObject({ status: 202 });
    // What a sender signs too early with its new key is refused by a status after which it is sent
    // again.
    for (const key of [next, nextPair.privateKey])
      expect(await before.post(signed(body, { key }), body)).toMatchObject({ status: 401 });
    const two = `${signed(body, { key: next })['webhook-signature']} ${signed()['webhook-signature']}`;
    expect(await before.post({ ...signed(), 'webhook-signature': two }, body)).toMatchObject({ status: 202 });
  });

  it('passes beside signatures of kinds that nobody knows here', async () => {
    const { post } = setUp();
    const header = `v2a,AAAA ${signed()['webhook-signature']} v1,AAAA`;
    expect(await post({ ...signed(), 'webhook-signature': header }, body)).toMatchObject({ status: 202 });
  });
});

describe('the library of the specification agrees', () => {
  it('signs what we take', async () => {
    const at = new Date(now);
    const signature = new Webhook(secret).sign('msg_2', at, body);
    const headers = { 'webhook-id': 'msg_2', 'webhook-timestamp': String(now / 1_000), 'webhook-signature': signature };
    expect(await setUp().post(headers, body)).toMatchObject({ status: 202 });
  });

  it('takes what we sign', () => {
    const headers = signed(body, { at: Date.now() }) as Record<string, string>;
    expect(new Webhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
    expect(() => new Webhook(newSecret()).verify(body, headers)).toThrow();
  });
});

/** Requests that must change nothing, and what each is answered. */
const attacks: readonly (readonly [string, number, () => { headers: Headers; body?: string | Uint8Array }])[] = [
  ['nothing at all', 400, () => ({ headers: {}, body: '' })],
  ['no signature', 400, () => ({ headers: { ...signed(), 'webhook-signature': undefined } })],
  ['no id', 400, () => ({ headers: { ...signed(), 'webhook-id': undefined } })],
  ['no timestamp', 400, () => ({ headers: { ...signed(), 'webhook-timestamp': undefined } })],
  ['another secret', 401, () => ({ headers: signed(body, { key: newSecret() }) })],
  ['another private key', 401, () => ({ headers: signed(body, { key: newKeyPair().privateKey }) })],
  ['the body changed by one byte', 401, () => ({ headers: signed(), body: body.replace('www', 'wwx') })],
  ['a byte after the body', 401, () => ({ headers: signed(), body: `${body} ` })],
  ['another id', 401, () => ({ headers: { ...signed(), 'webhook-id': 'msg_2' } })],
  ['another timestamp', 401, () => ({ headers: { ...signed(), 'webhook-timestamp': String(now / 1_000 + 1) } })],
  [
    'part of the id in the timestamp',
    400,
    () => ({ headers: { ...signed(), 'webhook-timestamp': `1.${now / 1_000}` } }),
  ],
  ['an id with a full stop', 400, () => ({ headers: signed(body, { id: 'msg.1' }) })],
  ['100 KB of id', 400, () => ({ headers: signed(body, { id: 'm'.repeat(100_000) }) })],
  ['the id twice', 400, () => ({ headers: { ...signed(), 'webhook-id': 'msg_1, msg_1' } })],
  [
    'the timestamp twice',
    400,
    () => ({ headers: { ...signed(), 'webhook-timestamp': `${now / 1_000}, ${now / 1_000}` } }),
  ],
  ['the signature twice', 400, () => twice(signed())],
  ['100 signatures', 400, () => ({ headers: { ...signed(), 'webhook-signature': 'v1,AAAA '.repeat(100).trim() } })],
  ['a signature without its version', 400, () => stripped(signed(), /^v1,/)],
  ['a signature without its padding', 401, () => stripped(signed(), /=$/)],
  ['a signature in the letters of URLs', 400, () => ({ headers: { ...signed(), 'webhook-signature': 'v1,A-_=' } })],
  ['half of a signature', 401, () => ({ headers: { ...signed(), 'webhook-signature': 'v1,QUFBQUFBQUE=' } })],
  ['a MAC said to be of a private key', 401, () => renamed(signed(), 'v1', 'v1a')],
  ['a MAC with the public key as secret', 401, () => ({ headers: withPublicKeyAsSecret() })],
  ['old by more than five minutes', 503, () => ({ headers: signed(body, { at: now - 301_000 }) })],
  ['from more than five minutes ahead', 503, () => ({ headers: signed(body, { at: now + 301_000 }) })],
  ['at the beginning of time', 503, () => ({ headers: signed(body, { at: 0 }) })],
  ['no JSON', 400, () => genuine('x')],
  ['no UTF-8', 400, () => genuine(Buffer.from([0x7b, 0xff, 0x7d]))],
  ['no object', 400, () => genuine('[]')],
  ['no type', 400, () => genuine('{}')],
  ['a type that is no text', 400, () => genuine('{"type":7}')],
  ['a list that is none', 400, () => genuine('{"type":"certificate.changed","data":{"certificates":"www"}}')],
  ['a certificate without a name', 400, () => genuine('{"type":"certificate.changed","data":{"certificates":[{}]}}')],
  ['101 certificates', 400, () => genuine(manyCertificates(101))],
  ['for another store', 403, () => genuine('{"type":"certificate.changed","data":{"store":"other"}}')],
];

const twice = (headers: Headers) => {
  const signature = headers['webhook-signature'];
  return { headers: { ...headers, 'webhook-signature': `${signature}, ${signature}` } };
};
const stripped = (headers: Headers, part: RegExp) => ({
  headers: { ...headers, 'webhook-signature': headers['webhook-signature']?.replace(part, '') },
});
const renamed = (headers: Headers, from: string, to: string) => ({
  headers: { ...headers, 'webhook-signature': headers['webhook-signature']?.replace(from, to) },
});
const manyCertificates = (number: number) =>
  changeMessage({
    type: 'certificate.changed',
    at: now,
    certificates: Array.from({ length: number }, (_, at) => ({ id: `${at}` })),
  });

/** Signed as it should be, whatever it says. */
function genuine(text: string | Uint8Array) {
  const bytes = Buffer.from(text);
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const mac = createHmac('sha256', key)
    .update(`msg_1.${now / 1_000}.`)
    .update(bytes)
    .digest('base64');
  const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(now / 1_000), 'webhook-signature': `v1,${mac}` };
  return { headers, body: bytes };
}

function withPublicKeyAsSecret(): Headers {
  const key = Buffer.from(pair.publicKey.slice('whpk_'.length), 'base64');
  const mac = createHmac('sha256', key)
    .update(`msg_1.${now / 1_000}.${body}`)
    .digest('base64');
  return { ...signed(), 'webhook-signature': `v1,${mac}` };
}

describe('whatever else arrives changes nothing', () => {
  it.each(attacks)('%s: %i', async (_name, status, make) => {
    const { post, acknowledged } = setUp({ secret, publicKey: pair.publicKey });
    const { headers, body: text = body } = make();
    const answer = await post(headers, text);
    expect(answer.status).toBe(status);
    expect(JSON.stringify(answer)).not.toContain(secret.slice(6));
    expect(acknowledged).toEqual([]);
  });

  it('of the attacks none is refused because the request could not be right: without the fault each is taken', async () => {
    const { post, acknowledged } = setUp({ secret, publicKey: pair.publicKey });
    for (const key of [secret, pair.privateKey])
      expect(await post(signed(body, { key }), body)).toMatchObject({ status: 202 });
    const edges = [signed(body, { at: now - 300_000 }), signed(body, { at: now + 300_000 })];
    for (const headers of edges) expect(await post(headers, body)).toMatchObject({ status: 202 });
    const { headers, body: most } = genuine(manyCertificates(100));
    expect(await post(headers, most)).toMatchObject({ status: 202 });
    expect(acknowledged).toHaveLength(5);
  });
});
