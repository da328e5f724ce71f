import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../src/log.ts';
import { createReceiver } from '../../../src/receiver/receiver.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import type { LifecycleEvent } from '../../../src/sender/event.ts';
import { pinVerificationKey } from '../../../src/sender/jws.ts';
import { fetchKeys } from '../../../src/services/event-notifications/keys.ts';
import { senderOf } from '../../../src/services/event-notifications/sender.ts';
import { eventNotificationsSettings } from '../../../src/services/event-notifications/settings.ts';
import { spellings } from '../../end-to-end/attack-contents.ts';
import { algorithms, keys } from '../../end-to-end/attack-signatures.ts';
import { startScriptedServer } from '../../store/scripted-server.ts';
import { makeSigner } from '../../support/notifications.ts';

const now = Date.parse('2026-11-30T08:00:00Z');
const source =
  'crn:v1:bluemix:public:secrets-manager:eu-de:a/00000000000000000000000000000001:11111111-2222-3333-4444-555555555555::';
const otherSource = source.replace('11111111', '99999999');
const id = 'aaaaaaaa-0000-4000-8000-000000000001';
const config = {
  ...({ kind: 'event-notifications', name: 'events', store: 'frankfurt', source } as const),
  instance: 'crn:v1:bluemix:public:event-notifications:eu-de:a/1:22222222-2222-3333-4444-555555555555::',
  destination: '33333333-2222-3333-4444-555555555555',
};

const signer = makeSigner();
const stranger = makeSigner();

/** What Secrets Manager says of secrets, with invented values. */
const payload = (more: object = {}, secrets: readonly unknown[] = [{ secret_id: id }]) => ({
  event_type: 'secret_rotated',
  secret_type: 'imported_cert',
  secrets: secrets.map((secret) =>
    typeof secret === 'object'
      ? { event_time: '2026-11-30T07:59:00Z', secret_group_id: 'default', secret_name: 'shop', ...secret }
      : secret,
  ),
  source_service: 'SecretsManager',
  source_instance_crn: source,
  ...more,
});
/** The same as Event Notifications sends it. */
const notification = (data: unknown = payload(), more: object = {}) => ({
  ...{ id: 'n-1', notification_id: 'n-1', specversion: '1.0', time: '2026-11-30T08:00:00Z', source },
  ...{ type: 'com.ibm.cloud.secrets-manager.secret_rotated', ibmensourceid: source, ibmenseverity: 'LOW' },
  data,
  ...more,
});
const header = { alg: 'RS256', typ: 'JWT' };
const tokenOf = (claims: unknown, by = signer, head: unknown = header) => by.sign(claims, head);

/** A receiver with this sender alone, and what it acknowledged. */
function setUp() {
  const sender = senderOf(config);
  const acknowledged: LifecycleEvent[] = [];
  const receive = createReceiver({
    callbacks: [
      {
        name: 'events',
        told: { sender: 'events' },
        sender,
        verificationKeys: async () => new Map([['one', pinVerificationKey(signer.publicKeyPem)]]),
        acknowledge: async (events) => {
          acknowledged.push(...events);
          return 'new';
        },
      },
    ],
    now: () => now,
    log: silentLog,
  });
  const post = async (body: string | Uint8Array, contentType?: string) => {
    const { status, body: text } = await receive({
      method: 'POST',
      path: '/callback/events',
      header: (name) => (name === 'content-type' ? contentType : undefined),
      body: Buffer.from(body),
    });
    return { ...(JSON.parse(text) as { code?: string }), status };
  };
  return { acknowledged, post };
}

describe('the forms in which it comes', () => {
  const claims = { data: notification() };
  it.each([
    ['a token alone', tokenOf(claims), undefined],
    ['a token alone, as text', tokenOf(claims), 'text/plain'],
    ['a token alone, as JWT', tokenOf(claims), 'application/jwt; charset=utf-8'],
    ['a token and a line end', `${tokenOf(claims)}\r\n`, undefined],
    ['a JSON string', JSON.stringify(tokenOf(claims)), 'application/json'],
    ['a member data', JSON.stringify({ data: tokenOf(claims) }), 'application/json'],
    ['the payload in data', tokenOf({ data: payload() }), undefined],
    ['the payload in dat', JSON.stringify({ data: tokenOf({ dat: payload() }) }), undefined],
    ['a header without typ', tokenOf(claims, signer, { alg: 'RS256' }), undefined],
    ['a header with kid', tokenOf(claims, signer, { ...header, kid: '../x' }), undefined],
    ['times that are near', tokenOf({ ...claims, iat: now / 1_000, exp: now / 1_000 + 60 }), undefined],
  ])('%s', async (_, body, contentType) => {
    const { acknowledged, post } = setUp();
    expect(await post(body, contentType)).toMatchObject({ status: 202 });
    expect(acknowledged).toMatchObject([
      {
        ...{ kind: 'reimported', changes: true, type: 'secret_rotated', store: 'frankfurt' },
        certificates: [{ id, name: 'shop' }],
        occurredAt: Date.parse('2026-11-30T07:59:00Z'),
      },
    ]);
  });

  it('is the same event when a try is signed anew, and another one when it is another', async () => {
    const { acknowledged, post } = setUp();
    await post(tokenOf({ ...claims, iat: 1 }));
    await post(JSON.stringify({ data: tokenOf({ ...claims, iat: 2 }) }));
    await post(tokenOf({ data: notification(payload(), { id: 'n-2', notification_id: 'n-2' }) }));
    const [first, second, third] = acknowledged.map(({ digest }) => digest);
    expect(first).toBe(second);
    expect(third).not.toBe(first);
  });

  it('is a token of jose as much as one of ours', async () => {
    const { post } = setUp();
    const token = await new SignJWT(claims)
      .setProtectedHeader(header)
      .setIssuedAt(now / 1_000)
      .sign(signer.privateKey);
    expect((await post(token)).status).toBe(202);
  });
});

describe('what it tells', () => {
  const eventOf = async (data: unknown) => {
    const { acknowledged, post } = setUp();
    const { status } = await post(tokenOf({ data: notification(data) }));
    return { status, event: acknowledged[0] };
  };

  it.each([
    ['secret_created', 'imported'],
    ['secret_rotated', 'reimported'],
    ['secret_deleted', 'deleted'],
    ['secret_revoked', 'other'],
    ['com.ibm.cloud.secrets-manager.secret_rotated', 'reimported'],
  ])('%s is a change: %s', async (event_type, kind) => {
    expect(await eventOf(payload({ event_type }))).toMatchObject({ status: 202, event: { kind, changes: true } });
  });

  it.each([
    'secret_about_to_expire',
    'secret_about_to_expire:in_30_days',
    'secret_expired',
    'secret_creation_failed',
    'secret_rotation_failed',
    'secret_rotation_blocked',
    'secret_version_data_deleted',
    'secret_task_failed',
    'test_event',
    'secret_of_a_later_year',
    '__proto__',
  ])('%s is noted', async (event_type) => {
    expect((await eventOf(payload({ event_type }))).status).toBe(200);
  });

  it('is noted of what is no certificate', async () => {
    expect((await eventOf(payload({ secret_type: 'kv' }))).status).toBe(200);
    expect((await eventOf(payload({ event_type: 'test_event', secret_type: 'test_secret_type' }))).status).toBe(200);
  });

  it('names all of a batch, by UUID or CRN, each once', async () => {
    const ids = Array.from({ length: 100 }, (_, n) => `aaaaaaaa-0000-0000-0000-${String(n).padStart(12, '0')}`);
    const crn = (one: string) => `${source.slice(0, -1)}secret:${one.toUpperCase()}`;
    const secrets = ids.map((one, n) => ({ secret_id: n % 2 === 0 ? one : crn(one) }));
    const { event } = await eventOf(payload({}, secrets));
    expect(event?.certificates.map((one) => one.id)).toEqual(ids);
    expect(event?.something).toBeUndefined();
    const twice = await eventOf(payload({}, [{ secret_id: id }, { secret_id: crn(id) }]));
    expect(twice.event?.certificates).toHaveLength(1);
  });

  it('hides no secret behind one that cannot be read: everything is compared then', async () => {
    const bad = [{ secret_id: 7 }, 'text', null, { secret_id: '../x' }, { secret_id: `${id} ` }];
    for (const one of bad) {
      const { status, event } = await eventOf(payload({}, [one, { secret_id: id }]));
      expect([status, event?.certificates.map((found) => found.id), event?.something]).toEqual([202, [id], true]);
    }
    for (const secrets of [[], 'none', undefined])
      expect((await eventOf({ ...payload(), secrets })).event).toMatchObject({ certificates: [], something: true });
  });

  it('cuts names to what a log takes', async () => {
    const { event } = await eventOf(payload({}, [{ secret_id: id, secret_name: `a\u0000\u202e${'x'.repeat(900)}` }]));
    expect(event?.certificates[0]?.name).toMatch(/^[\x20-\x7e…]{1,260}$/);
  });
});

/** What must be refused, and reach nobody: the table of attacks, for this sender. */
describe('attacks', () => {
  const genuine = { data: notification() };
  const arms = { signer, stranger, trapUrl: 'https://trap.example.test', certificate: id };

  it.each([...algorithms, ...keys].map((one) => [one.name, one] as const))('signature: %s', async (_, attack) => {
    const { acknowledged, post } = setUp();
    expect((await post(attack.post(arms).body)).status).toBe(attack.status);
    expect(acknowledged).toEqual([]);
  });

  it.each(spellings.map((one) => [one.name, one] as const))('%s', async (_, attack) => {
    const { acknowledged, post } = setUp();
    expect((await post(attack.post(arms).body)).status).toBe(400);
    expect(acknowledged).toEqual([]);
  });

  it.each([
    ['signed by another key', 401, tokenOf(genuine, stranger)],
    ['another member of the header', 401, tokenOf(genuine, signer, { ...header, cty: 'JWT' })],
    ['unsigned', 400, JSON.stringify(notification())],
    ['unsigned, as the tutorial shows it', 400, JSON.stringify({ data: payload() })],
    ['by a template', 400, '<b>secret rotated</b>'],
    ['empty', 400, ''],
    ['two tokens', 400, `${tokenOf(genuine)} ${tokenOf(genuine)}`],
    ['a JSON string with an escape', 400, JSON.stringify(tokenOf(genuine)).replace('.', '\\u002e')],
    ['a token with padding', 400, `${tokenOf(genuine)}=`],
    ['a token of five parts', 400, `${tokenOf(genuine)}.x.y`],
    ['two members data', 400, `{"data":"${tokenOf(genuine, stranger)}","data":"${tokenOf(genuine)}"}`],
    ['data and dat in the claims', 400, tokenOf({ data: payload(), dat: payload() })],
    ['claims without an event', 400, tokenOf({ data: 'n-1' })],
    ['secrets without an event', 400, tokenOf({ data: { id: 'n-1', secrets: [] } })],
    ['claims that are a list', 400, tokenOf([payload()])],
    ['no source_instance_crn', 400, tokenOf({ data: payload({ source_instance_crn: undefined }) })],
    ['everything only inherited', 400, tokenOf(`{"__proto__":${JSON.stringify(genuine)}}`)],
    [
      '101 secrets',
      400,
      tokenOf({
        data: payload(
          {},
          Array.from({ length: 101 }, () => ({ secret_id: id })),
        ),
      }),
    ],
    [
      'another source on the topic',
      403,
      tokenOf({ data: notification(payload({ source_instance_crn: otherSource })) }),
    ],
    ['another source around it', 403, tokenOf({ data: notification(payload(), { source: otherSource }) })],
    ['another source id around it', 403, tokenOf({ data: notification(payload(), { ibmensourceid: otherSource }) })],
    ['a CRN without its end', 403, tokenOf({ data: payload({ source_instance_crn: source.slice(0, -1) }) })],
    [
      'a secret of another instance',
      403,
      tokenOf({ data: payload({}, [{ secret_id: `${otherSource.slice(0, -1)}secret:${id}` }, { secret_id: id }]) }),
    ],
    ['expired', 503, tokenOf({ ...genuine, exp: now / 1_000 - 301 })],
    ['of later', 503, tokenOf({ ...genuine, iat: now / 1_000 + 301 })],
  ])('%s: %i', async (_, status, body) => {
    const { acknowledged, post } = setUp();
    expect((await post(body)).status).toBe(status);
    expect(acknowledged).toEqual([]);
  });

  it('takes plain names around the payload for what they are', async () => {
    const { post } = setUp();
    const around = { source: 'Secrets Manager', ibmensourceid: '44444444-2222-3333-4444-555555555555:api' };
    expect((await post(tokenOf({ data: notification(payload(), around) }))).status).toBe(202);
  });
});

describe('the test of a destination, of which nobody says what it carries', () => {
  it.each([
    ['a notification without a payload', { data: { id: 'n-1' } }],
    ['a payload of its own', { data: { id: 'n-1', source, data: { test: true } } }],
  ])('is taken, and no reason to look: %s', async (_, claims) => {
    const { acknowledged, post } = setUp();
    expect(await post(tokenOf(claims))).toMatchObject({ status: 200 });
    expect(acknowledged).toEqual([]);
    expect((await post(tokenOf(claims, stranger))).status).toBe(401);
  });
});

describe('its key', () => {
  it('is fetched by its own token from its destination, and from nowhere that came with a request', async () => {
    const server = await startScriptedServer();
    try {
      server.answers({ body: { public_key: signer.publicKeyPem } }, { body: { public_key: 'x' } });
      const given = { ...config, endpoint: server.url, iam: server.url, apiKey: new Secret('key') };
      const [key] = await fetchKeys(given, { runtime: systemRuntime });
      expect(key).toMatchObject({ pem: signer.publicKeyPem, from: senderOf(given).keysFrom });
      expect(server.requests[0]).toMatchObject({
        method: 'GET',
        url: `/event-notifications/v1/instances/22222222-2222-3333-4444-555555555555/destinations/${config.destination}/public_key`,
        headers: { authorization: 'Bearer token-1' },
      });
      await expect(fetchKeys(given, { runtime: systemRuntime })).rejects.toMatchObject({ code: 'store_nonsense' });
      server.answers({ status: 404, body: { errors: [{ code: 'not_found', message: 'no' }] } });
      await expect(fetchKeys(given, { runtime: systemRuntime })).rejects.toMatchObject({
        remedy: expect.stringContaining('senders.events.destination'),
      });
    } finally {
      await server.close();
    }
  });

  it('says what is wrong with settings', () => {
    const mistakes = (raw: object, store?: object) =>
      eventNotificationsSettings
        .mistakes?.({ source, apiKey: 'env:X', ...raw } as never, store as never)
        .map(({ setting }) => setting);
    expect(mistakes({}, { instance: source })).toEqual([]);
    expect(mistakes({}, { instance: otherSource })).toEqual(['source']);
    expect(mistakes({ apiKey: undefined })).toEqual(['apiKey']);
    expect(mistakes({ profile: 'p' })).toEqual(['profile']);
    expect(mistakes({ endpoint: 'http://example.test' })).toEqual(['endpoint']);
  });
});
