import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keyProtectRootKey } from '../../src/keys/key-protect.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { type KeyProtectServer, startKeyProtect } from '../support/key-protect.ts';

/** What is used of IBM's own client; its types are those of an older Node. */
interface Client {
  wrapKey(params: object): Promise<Answer>;
  unwrapKey(params: object): Promise<Answer>;
  rewrapKey(params: object): Promise<Answer>;
  rotateKey(params: object): Promise<Answer>;
}
interface Answer {
  readonly status: number;
  readonly result: {
    readonly plaintext?: string;
    readonly ciphertext?: string;
    readonly keyVersion?: { readonly id: string };
    readonly rewrappedKeyVersion?: { readonly id: string };
  };
}

const require = createRequire(import.meta.url);
const KeyProtectV2 = require('@ibm-cloud/ibm-key-protect/ibm-key-protect-api/v2') as new (options: object) => Client;
const { IamAuthenticator } = require('@ibm-cloud/ibm-key-protect/auth') as {
  readonly IamAuthenticator: new (options: object) => object;
};

/**
 * The client, our kind and the server of our tests: what one of the first two wraps, the other one
 * opens.
 */
describe("IBM's own client of Key Protect", () => {
  const context = { tenant: 'crn:v1:one', dataKey: '1-9f3c02ab' };
  const aad = ['dataKey=1-9f3c02ab', 'tenant=crn:v1:one'];
  let server: KeyProtectServer;
  let client: Client;

  beforeAll(async () => {
    server = await startKeyProtect();
    const authenticator = new IamAuthenticator({ apikey: server.apiKey, url: server.url });
    client = new KeyProtectV2({ authenticator, serviceUrl: server.url });
  });
  afterAll(() => server.close());

  const params = (id: string, action: string, body: object) => ({
    id,
    bluemixInstance: server.instance,
    [`keyAction${action}Body`]: Buffer.from(JSON.stringify(body)),
  });
  const ours = (key: string) =>
    keyProtectRootKey({
      region: 'eu-de',
      instance: server.instance,
      key,
      apiKey: new Secret(server.apiKey),
      endpoint: server.url,
      iamUrl: server.url,
      runtime: systemRuntime,
    });

  it('opens what our kind wrapped, and wraps what our kind opens', async () => {
    const key = server.createRootKey();
    const dataKey = randomBytes(32);
    const ciphertext = await ours(key).wrap(dataKey, context);
    const { status, result } = await client.unwrapKey(params(key, 'Unwrap', { ciphertext, aad }));
    expect(status).toBe(200);
    expect(result.plaintext).toBe(dataKey.toString('base64'));

    const plaintext = dataKey.toString('base64');
    const wrapped = await client.wrapKey(params(key, 'Wrap', { plaintext, aad }));
    const opened = await ours(key).unwrap(wrapped.result.ciphertext ?? '', context);
    expect(Buffer.from(opened.dataKey).equals(dataKey)).toBe(true);
  });

  it('lets the service make the data key', async () => {
    const key = server.createRootKey();
    const { result } = await client.wrapKey(params(key, 'Wrap', { aad }));
    const opened = await ours(key).unwrap(result.ciphertext ?? '', context);
    expect(Buffer.from(opened.dataKey).toString('base64')).toBe(result.plaintext);
  });

  it('rotates the root key, after which both get a renewed text and rewrap the old one', async () => {
    const key = server.createRootKey();
    const dataKey = randomBytes(32);
    const ciphertext = await ours(key).wrap(dataKey, context);
    expect((await client.rotateKey({ id: key, bluemixInstance: server.instance })).status).toBe(204);

    const theirs = await client.unwrapKey(params(key, 'Unwrap', { ciphertext, aad }));
    expect(theirs.result.rewrappedKeyVersion?.id).not.toBe(theirs.result.keyVersion?.id);
    const { renewed } = await ours(key).unwrap(ciphertext, context);
    const rewrapped = await client.rewrapKey(params(key, 'Rewrap', { ciphertext, aad }));
    expect(rewrapped.result.plaintext).toBeUndefined();
    for (const text of [theirs.result.ciphertext, renewed, rewrapped.result.ciphertext]) {
      const opened = await ours(key).unwrap(text ?? '', context);
      expect(Buffer.from(opened.dataKey).equals(dataKey)).toBe(true);
      expect(opened.renewed).toBeUndefined();
      const again = await client.unwrapKey(params(key, 'Unwrap', { ciphertext: text, aad }));
      expect(again.result).toMatchObject({ plaintext: dataKey.toString('base64') });
      expect(again.result.ciphertext).toBeUndefined();
    }
  });

  it.each<readonly [string, object, number]>([
    ['other authenticated data', { aad: ['dataKey=1-9f3c02ab', 'tenant=crn:v1:two'] }, 422],
    ['the same in another order', { aad: ['tenant=crn:v1:one', 'dataKey=1-9f3c02ab'] }, 422],
    ['none', {}, 422],
    ['too long ones', { aad: ['x'.repeat(256)] }, 400],
  ])('is refused with %s', async (_, given, status) => {
    const key = server.createRootKey();
    const ciphertext = await ours(key).wrap(randomBytes(32), context);
    await expect(client.unwrapKey(params(key, 'Unwrap', { ciphertext, ...given }))).rejects.toMatchObject({ status });
  });

  it('is refused with another root key, and with one that is suspended', async () => {
    const [key, other] = [server.createRootKey(), server.createRootKey()];
    const ciphertext = await ours(key).wrap(randomBytes(32), context);
    await expect(client.unwrapKey(params(other, 'Unwrap', { ciphertext, aad }))).rejects.toMatchObject({ status: 422 });
    server.setState(key, 2);
    await expect(client.unwrapKey(params(key, 'Unwrap', { ciphertext, aad }))).rejects.toMatchObject({ status: 409 });
  });
});
