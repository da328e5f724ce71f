import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asCodedError, type ErrorCode } from '../../src/errors.ts';
import { type KeyProtectOptions, keyProtectRootKey } from '../../src/keys/key-protect.ts';
import { keyring } from '../../src/keys/keyring.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { type ScriptedServer, type Step, startScriptedServer } from '../store/scripted-server.ts';
import { type KeyProtectServer, startKeyProtect } from '../support/key-protect.ts';
import { rootKeyContract } from './contract.ts';

const context = { tenant: 'crn:v1:one', dataKey: '1-9f3c02ab' };
const options = (server: KeyProtectServer, key: string): KeyProtectOptions => ({
  region: 'eu-de',
  instance: server.instance,
  key,
  apiKey: new Secret(server.apiKey),
  endpoint: server.url,
  runtime: systemRuntime,
});

rootKeyContract('key-protect', async () => {
  const server = await startKeyProtect();
  const [one, two] = [server.createRootKey(), server.createRootKey()];
  return {
    rootKey: keyProtectRootKey(options(server, one)),
    other: keyProtectRootKey(options(server, two)),
    refuse: async () => server.setState(one, 2),
    dispose: server.close,
  };
});

describe('Key Protect', () => {
  let server: KeyProtectServer;
  let key: string;
  beforeEach(async () => {
    server = await startKeyProtect();
    key = server.createRootKey();
  });
  afterEach(() => server.close());

  it('gives a renewed text once the root key was rotated, and the old one opens too', async () => {
    const rootKey = keyProtectRootKey(options(server, key));
    const dataKey = randomBytes(32);
    const old = await rootKey.wrap(dataKey, context);
    server.rotate(key);
    const { dataKey: opened, renewed } = await rootKey.unwrap(old, context);
    expect(Buffer.from(opened).equals(dataKey)).toBe(true);
    expect(renewed).toBeTypeOf('string');
    const again = await rootKey.unwrap(renewed ?? '', context);
    expect(again.renewed).toBeUndefined();
    expect(Buffer.from(again.dataKey).equals(dataKey)).toBe(true);
    const rewrapped = (await rootKey.rewrap?.(old, context)) ?? '';
    expect((await rootKey.unwrap(rewrapped, context)).renewed).toBeUndefined();
  });

  it('a keyring keeps the renewed text, and asks once for each data key and period', async () => {
    const table = memoryTable();
    const rootKeys = [keyProtectRootKey(options(server, key))];
    const open = () => keyring({ table, tenant: 'crn:v1:one', rootKeys, runtime: systemRuntime, log: silentLog });
    const [first, second, third] = [open(), open(), open()];
    const place = { certificate: 'c1', field: 'private-key', version: '1' };
    const sealed = await first.seal(place, Buffer.from('content'));
    server.rotate(key);
    for (const ring of [second, third])
      await Promise.all(
        [1, 2, 3].map(async () => expect(Buffer.from(await ring.open(place, sealed)).toString()).toBe('content')),
      );
    // The third one found what the second one had renewed: one to prove the new data key, one each.
    expect(server.actions).toEqual({ wrap: 1, unwrap: 3 });
    const { rows } = await table.query({ partition: 'keys.1/crn:v1:one', limit: 1 });
    const wrapped = String(rows[0]?.[`wrap/${rootKeys[0]?.id}`]);
    expect(
      (await rootKeys[0]?.unwrap(wrapped, { tenant: 'crn:v1:one', dataKey: String(rows[0]?.id) }))?.renewed,
    ).toBeUndefined();
    for (const ring of [first, second, third]) await ring.close();
  });

  it('gets one new token when the service takes the old one no longer', async () => {
    const rootKey = keyProtectRootKey(options(server, key));
    const wrapped = await rootKey.wrap(randomBytes(32), context);
    server.endTokens();
    await rootKey.unwrap(wrapped, context);
  });

  it.each<readonly [string, number, ErrorCode | 'opens']>([
    ['suspended', 2, 'keys_refused'],
    ['deactivated', 3, 'opens'],
    ['destroyed', 5, 'keys_refused'],
  ])('with a root key that is %s, what it wrapped', async (_, state, expected) => {
    const rootKey = keyProtectRootKey(options(server, key));
    const wrapped = await rootKey.wrap(randomBytes(32), context);
    server.setState(key, state);
    const found = await rootKey.unwrap(wrapped, context).then(
      () => 'opens',
      (thrown: unknown) => asCodedError(thrown).code,
    );
    expect(found).toBe(expected);
    await expect(rootKey.wrap(randomBytes(32), context)).rejects.toMatchObject({ code: 'keys_refused' });
  });

  it('refuses an API key, an instance and a root key that are not its own', async () => {
    const given = options(server, key);
    const stranger = '00000000-0000-4000-8000-000000000000';
    for (const wrong of [{ apiKey: new Secret('other') }, { instance: stranger }, { key: stranger }]) {
      const error = asCodedError(
        await keyProtectRootKey({ ...given, ...wrong })
          .wrap(randomBytes(32), context)
          .catch((thrown: unknown) => thrown),
      );
      expect(error.code).toBe('keys_refused');
      expect(JSON.stringify([error.message, error.fields])).not.toContain(given.apiKey.reveal());
    }
  });

  it.each<readonly [string, Partial<KeyProtectOptions>]>([
    ['an alias', { key: 'my-alias' }],
    ['a path', { key: '../../instances' }],
    ['a CRN as instance', { instance: 'crn:v1:bluemix:public:kms:eu-de:a/1:2::' }],
    ['no region', { region: 'Germany' }],
    ['a ring with a line break', { keyRing: 'a\r\nb: c' }],
    ['plain http to another machine', { endpoint: 'http://kms.example.com' }],
    ['plain http to the IAM of another machine', { iamUrl: 'http://iam.example.com' }],
  ])('is not used with %s', (_, wrong) => {
    expect(() => keyProtectRootKey({ ...options(server, key), ...wrong })).toThrow(
      expect.objectContaining({ code: 'configuration_invalid' }),
    );
  });
});

describe('an answer of Key Protect', () => {
  let server: ScriptedServer;
  let waits: number[];
  beforeEach(async () => {
    server = await startScriptedServer();
    waits = [];
  });
  afterEach(() => server.close());

  const key = '0b0e3d7c-94d6-4a2e-9a4e-b1c1b7a2f0aa';
  const rootKey = (given: Partial<KeyProtectOptions> = {}) =>
    keyProtectRootKey({
      region: 'eu-de',
      instance: '5af62d5d-5d90-4b84-bbcd-90d2123ae6c8',
      key,
      apiKey: new Secret('an-api-key'),
      endpoint: server.url,
      iamUrl: server.url,
      runtime: {
        ...systemRuntime,
        random: () => 0.5,
        // Pauses take no time; the timeout of a request does.
        wait: (milliseconds, signal) => {
          if (signal) return systemRuntime.wait(milliseconds, signal);
          waits.push(milliseconds);
          return Promise.resolve();
        },
      },
      ...given,
    });
  const saying = (status: number, code: string): Step => ({
    status,
    body: { metadata: {}, resources: [{ errorMsg: 'words', reasons: [{ code, message: 'words', status }] }] },
  });
  const wrapped = Buffer.from('{"ciphertext":"x"}').toString('base64');
  const sound: Step = { body: { plaintext: Buffer.alloc(32, 7).toString('base64') } };
  const unwrapping = async (given: Partial<KeyProtectOptions> = {}) =>
    asCodedError(
      await rootKey(given)
        .unwrap(wrapped, context)
        .catch((thrown: unknown) => thrown),
    ).code;

  it('comes for a request as documented', async () => {
    server.answers(sound);
    await rootKey({ keyRing: 'ring' }).unwrap(wrapped, context);
    const [request] = server.requests;
    expect(request).toMatchObject({
      method: 'POST',
      url: `/api/v2/keys/${key}/actions/unwrap`,
      headers: {
        authorization: 'Bearer token-1',
        'bluemix-instance': '5af62d5d-5d90-4b84-bbcd-90d2123ae6c8',
        'content-type': 'application/vnd.ibm.kms.key_action+json',
        'x-kms-key-ring': 'ring',
      },
    });
    expect(JSON.parse(request?.body ?? '')).toEqual({
      ciphertext: wrapped,
      aad: ['dataKey=1-9f3c02ab', 'tenant=crn:v1:one'],
    });
  });

  it.each<readonly [number, string, ErrorCode]>([
    [422, 'UNPROCESSABLE_CIPHERTEXT_ERR', 'keys_unreadable'],
    [400, 'INVALID_FIELD_ERR', 'keys_unreadable'],
    [400, 'BAD_BODY_ERR', 'keys_refused'],
    [400, 'KEY_ROOT_REQ_ERR', 'keys_refused'],
    [404, 'KEY_NOT_FOUND_ERR', 'keys_refused'],
    [409, 'KEY_ACTION_INVALID_STATE_ERR', 'keys_refused'],
    [410, 'KEY_DELETED_ERR', 'keys_refused'],
    [422, 'KEY_INVALID_STATE_ERR', 'keys_refused'],
    [400, 'KEY_EXPIRED_ERR', 'keys_refused'],
  ])('%i %s is final', async (status, code, expected) => {
    server.answers(saying(status, code));
    expect(await unwrapping()).toBe(expected);
    expect(server.requests).toHaveLength(1);
  });

  it('that the wrapped text is wrong cannot be said of one that was still to be made', async () => {
    server.answers(saying(400, 'INVALID_FIELD_ERR'));
    await expect(rootKey().wrap(Buffer.alloc(32), context)).rejects.toMatchObject({ code: 'keys_refused' });
  });

  it.each<readonly [string, Step]>([
    ['500', saying(500, 'INCOMPLETE_METADATA_ERR')],
    ['503 of a proxy', { status: 503, body: '<html>' }],
    ['429', saying(429, 'LIMIT_ERR')],
    ['404 of a proxy', { status: 404, body: '<html>' }],
    ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }],
    ['a connection that breaks', (_, response) => response.destroy()],
  ])('%s is tried three times', async (_, step) => {
    server.answers(step, step, step);
    expect(await unwrapping()).toBe('keys_unavailable');
    expect(server.requests).toHaveLength(3);
    expect(waits).toEqual([150, 600]);
    server.answers(step, sound);
    await rootKey().unwrap(wrapped, context);
  });

  it('that asks to wait is obeyed for two seconds, not for longer', async () => {
    const later = (seconds: string): Step => ({ ...saying(429, 'LIMIT_ERR'), headers: { 'retry-after': seconds } });
    server.answers(later('2'), sound);
    await rootKey().unwrap(wrapped, context);
    expect(waits).toEqual([2000]);
    server.answers(later('3'));
    await expect(rootKey().unwrap(wrapped, context)).rejects.toMatchObject({
      code: 'keys_unavailable',
      retryAfterMs: 3000,
    });
  });

  it('that does not come in time is unavailable', async () => {
    const silence: Step = () => undefined;
    server.answers(silence, silence, silence);
    expect(await unwrapping({ requestTimeoutMs: 50 })).toBe('keys_unavailable');
  });

  it.each<readonly [string, unknown]>([
    ['no JSON', 'fine'],
    ['no plaintext', {}],
    ['a plaintext that is none', { plaintext: 'not base64!' }],
    ['a new text that is none', { plaintext: 'AAAA', ciphertext: '' }],
  ])('that is a success with %s is not believed', async (_, body) => {
    server.answers({ body });
    expect(await unwrapping()).toBe('keys_unavailable');
  });

  it('is not waited for where there is no token', async () => {
    server.iam({ status: 400, body: { errorCode: 'BXNIM0415E' } });
    expect(await unwrapping()).toBe('keys_refused');
    server.iam({ status: 503 }, { status: 503 }, { status: 503 });
    expect(await unwrapping()).toBe('keys_unavailable');
    expect(server.requests).toEqual([]);
  });

  it('401 with a new token too is a refusal', async () => {
    server.answers(saying(401, 'UNAUTHORIZED_ERR'), saying(401, 'UNAUTHORIZED_ERR'));
    expect(await unwrapping()).toBe('keys_refused');
    expect(server.exchanges).toHaveLength(2);
  });
});
