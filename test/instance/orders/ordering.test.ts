import { X509Certificate } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { memoryTable } from '../../../src/table/memory.ts';
import { startTestInstance, type TestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { type Call, clientOf, segment } from '../client.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(options: TestInstanceOptions = {}) {
  const table = memoryTable();
  const instance: TestInstance = await startTestInstance({ table, ...options });
  closers.push(instance.close);
  return { table, instance, api: await clientOf(instance), I: segment(instance.crn) };
}

const order = (api: Call, I: string, given: object = {}) =>
  api('POST', `/v1/${I}/certificates/order`, {
    name: 'shop',
    domains: ['shop.example.test', 'www.shop.example.test'],
    domain_validation_method: 'dns-01',
    ...given,
  });

/** The metadata of a certificate, once its order or renewal is over. */
async function settled(api: Call, id: string) {
  for (let attempt = 1; ; attempt++) {
    const { body } = await api('GET', `/v1/certificate/${segment(id)}/metadata`);
    if (body.issuance_info?.status !== 'pending') return body;
    expect(attempt, 'it stays pending').toBeLessThan(200);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

describe('with the development CA', () => {
  test.each([
    ['rsaEncryption 2048 bit', 'rsaEncryption 2048 bit'],
    ['id-ecPublicKey 256 bit', 'id-ecPublicKey 256 bit'],
    ['id-ecPublicKey 384 bit', 'id-ecPublicKey 384 bit'],
    [undefined, 'rsaEncryption 2048 bit'],
  ])('an order for %s is pending, then valid, and can be downloaded', async (key_algorithm, expected) => {
    const { api, I } = await start();
    const { status, body } = await order(api, I, { key_algorithm });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      name: 'shop',
      domains: ['shop.example.test', 'www.shop.example.test'],
      key_algorithm: expected,
      imported: false,
      status: 'pending',
      has_previous: false,
      rotate_keys: false,
      issuance_info: { status: 'pending', code: '', additional_info: '', auto: false },
      order_policy: { auto_renew_enabled: false },
      downloaded: false,
    });
    expect(body).not.toHaveProperty('expires_on');
    const valid = await settled(api, body._id);
    expect(valid).toMatchObject({ status: 'valid', key_algorithm: expected, issuance_info: { status: 'valid' } });
    const { data, downloaded } = (await api('GET', `/v2/certificate/${segment(body._id)}`)).body;
    expect(new X509Certificate(data.content).subjectAltName).toBe('DNS:shop.example.test, DNS:www.shop.example.test');
    expect(downloaded).toBe(true);
    expect((await settled(api, body._id)).downloaded).toBe(true);
  });
});
