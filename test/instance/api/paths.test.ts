import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findRoutes } from '../../../src/instance/api/routes.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startTestInstance, type TestInstance } from '../../support/instance.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { call, clientOf, dataOf, rawStatus, segment } from '../client.ts';

let instance: TestInstance;
let token: string;
let certificate: string;
beforeAll(async () => {
  instance = await startTestInstance();
  token = await instance.token();
  const api = await clientOf(instance);
  const body = { name: 'shop', data: dataOf(await testCertificate()) };
  certificate = (await api('POST', `/v3/${segment(instance.crn)}/certificates/import`, body)).body._id;
});
afterAll(() => instance.close());

const get = (target: string) => rawStatus(instance.url, 'GET', target, token);

describe('one CRN is one segment of the path', () => {
  test.each([
    ['upper-case escapes', (crn: string) => segment(crn)],
    ['lower-case escapes', (crn: string) => segment(crn).replaceAll('%3A', '%3a').replaceAll('%2F', '%2f')],
    ['raw colons', (crn: string) => crn.replaceAll('/', '%2F')],
    ['needless escapes', (crn: string) => segment(crn).replaceAll('c', '%63')],
  ])('with %s it is found', async (_, encode) => {
    expect(await get(`/api/v1/certificate/${encode(certificate)}/metadata`)).toBe(200);
    expect(await get(`/api/v2/certificate/${encode(certificate)}`)).toBe(200);
    expect(await get(`/api/v3/${encode(instance.crn)}/certificates`)).toBe(200);
    expect(await get(`/api/v3/${encode(instance.crn)}/certificates/?page_size=1`)).toBe(200);
  });

  const certificateId = 'a'.repeat(32);
  const C = segment(`${instanceCrn.slice(0, -1)}certificate:${certificateId}`);
  const I = segment(instanceCrn);

  test.each([
    ['a raw slash in the CRN', `/api/v1/certificate/${C.replace('%2F', '/')}/metadata`],
    ['a raw slash in the CRN of the instance', `/api/v3/${I.replace('%2F', '/')}/certificates`],
    ['double encoding', `/api/v1/certificate/${C.replaceAll('%', '%25')}/metadata`],
    ['dots and encoded slashes', `/api/v1/certificate/..%2f..%2fv1%2fcertificate%2f${C}/metadata`],
    ['dots in front of a CRN', `/api/v1/certificate/..%2f${C}/metadata`],
    ['dots inside of a CRN', `/api/v1/certificate/${C.replace('%2F', '%2F..%2F')}/metadata`],
    ['dot segments', `/api/v1/x/../certificate/${C}/metadata`],
    ['an encoded dot segment', `/api/v1/%2e%2e/v1/certificate/${C}/metadata`],
    ['dot segments before the prefix', `/x/../api/v1/certificate/${C}/metadata`],
    ['a doubled slash', `/api//v1/certificate/${C}/metadata`],
    ['two slashes at the end', `/api/v3/${I}/certificates//`],
    ['an encoded slash at the end', `/api/v3/${I}/certificates%2F`],
    ['an encoded literal', `/api/v3/${I}/%63ertificates`],
    ['an encoded null', `/api/v1/certificate/${C}%00/metadata`],
    ['an encoded question mark', `/api/v1/certificate/${C}%3Fx/metadata`],
    ['a broken escape', `/api/v1/certificate/${C}%/metadata`],
    ['an escape that is no UTF-8', `/api/v1/certificate/${C}%ff/metadata`],
    ['white space around the CRN', `/api/v1/certificate/%20${C}/metadata`],
    ['a line end after the CRN', `/api/v1/certificate/${C}%0A/metadata`],
    ['the CRN of an instance for one of a certificate', `/api/v1/certificate/${I}/metadata`],
    ['the CRN of a certificate for one of an instance', `/api/v3/${C}/certificates`],
    ['another version', `/api/v2/${I}/certificates`],
    ['no prefix', `/v3/${I}/certificates`],
    ['nothing', '/'],
    ['the prefix alone', '/api'],
    ['the prefix and a slash', '/api/'],
    ['a CRN that is too long', `/api/v3/${segment(instanceCrn.replace('a/', `a/${'0'.repeat(300)}`))}/certificates`],
    ['another service', `/api/v3/${segment(instanceCrn.replace('cloudcerts', 'kms'))}/certificates`],
  ])('%s leads nowhere', async (_, target) => {
    expect(findRoutes(target)).toBeUndefined();
    expect(await get(target)).toBe(404);
  });

  test('what a path names is what was encoded, and nothing else', () => {
    expect(findRoutes(`/api/v1/certificate/${C}/metadata`)).toMatchObject({ instanceCrn, id: certificateId });
    expect(findRoutes(`/api/v3/${I}/certificates`)).toMatchObject({ instanceCrn, id: '' });
    expect(findRoutes(`/api/v1/instances/${I}/notifications/9b-1`)).toMatchObject({ instanceCrn, id: '9b-1' });
  });
});

test('another method of a path is refused, with those that there are', async () => {
  const answer = await call(`${instance.url}/api/v1/certificate/${segment(certificate)}`, 'GET', token);
  expect([answer.status, answer.body.code, answer.headers.get('allow')]).toEqual([405, 'instance_method', 'PUT']);
  const channels = await call(
    `${instance.url}/api/v1/instances/${segment(instance.crn)}/notifications/channels`,
    'DELETE',
    token,
  );
  expect([channels.status, channels.headers.get('allow')]).toEqual([405, 'GET, PUT']);
});

test('what was imported is neither renewed nor has an order policy; an order of nothing is refused', async () => {
  const api = await clientOf(instance);
  const [I, C] = [segment(instance.crn), segment(certificate)];
  const order = await api('POST', `/v1/${I}/certificates/order`, {});
  expect([order.status, order.body.code]).toEqual([400, 'instance_request_invalid']);
  const answers = [
    await api('POST', `/v1/certificate/${C}/renew`, { rotate_keys: false }),
    await api('PUT', `/v1/certificate/${C}/order/policy`, {}),
  ];
  for (const { status, body } of answers) {
    expect([status, body.code]).toEqual([400, 'instance_not_ordered']);
    expect(body.message).toContain('was imported, not ordered. Reimport it');
  }
});
