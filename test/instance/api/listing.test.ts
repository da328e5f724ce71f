import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { IssuedCertificate } from '../../../src/instance/orders/authority/development-ca.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startTestInstance, type TestInstance } from '../../support/instance.ts';
import { type Call, clientOf, dataOf, segment } from '../client.ts';

const dayMs = 86_400_000;
const start2090 = Date.UTC(2090, 0, 1);
/** Certificates that expire one day after the other; index 0 first. */
let issued: readonly IssuedCertificate[];
beforeAll(async () => {
  issued = await Promise.all(
    Array.from({ length: 12 }, (_, day) => testCertificate({ notAfter: start2090 + day * dayMs })),
  );
});

const started: TestInstance[] = [];
afterEach(() => Promise.all(started.splice(0).map((instance) => instance.close())));

/** An instance that holds a certificate for each of these days, named for it. */
async function holding(days: readonly number[]) {
  const instance = await startTestInstance();
  started.push(instance);
  const api = await clientOf(instance);
  const I = segment(instance.crn);
  const add = async (day: number) => {
    const data = dataOf(issued[day] as IssuedCertificate);
    return (await api('POST', `/v3/${I}/certificates/import`, { name: `day ${day}`, data })).body._id as string;
  };
  const ids = new Map<number, string>();
  for (const day of days) ids.set(day, await add(day));
  const idOf = (day: number) => segment(ids.get(day) ?? '');
  return { instance, api, I, add, idOf };
}

interface ListBody {
  readonly totalScannedDocs: number;
  readonly certificates: readonly { readonly _id: string; readonly name: string }[];
  readonly nextPageInfo: { readonly startWithDocId: string; readonly startWithOrderByValue: string };
}

const names = (body: ListBody) => body.certificates.map(({ name }) => name);

async function page(api: Call, I: string, size: number, before?: ListBody): Promise<ListBody> {
  const { startWithDocId = '', startWithOrderByValue = '' } = before?.nextPageInfo ?? {};
  const cursor = before
    ? `&start_from_document_id=${startWithDocId}&start_from_orderby_value=${startWithOrderByValue}`
    : '';
  return (await api('GET', `/v3/${I}/certificates?order=expires_on&page_size=${size}${cursor}`)).body;
}

test('an empty instance has one empty page', async () => {
  const { api, I } = await holding([]);
  expect((await api('GET', `/v3/${I}/certificates`)).body).toEqual({
    totalScannedDocs: 0,
    certificates: [],
    nextPageInfo: { startWithDocId: '', startWithOrderByValue: '' },
  });
});

test('pages in order of expiry; the cursor names the first certificate of the next page, as two strings', async () => {
  const { instance, api, I, idOf } = await holding([4, 2, 0, 3, 1]);
  const first = await page(api, I, 2);
  expect(names(first)).toEqual(['day 0', 'day 1']);
  expect(first.totalScannedDocs).toBe(2);
  expect(first.nextPageInfo).toEqual({
    startWithDocId: decodeURIComponent(idOf(2)),
    startWithOrderByValue: '3787084800000',
  });
  expect(first.nextPageInfo.startWithDocId.startsWith(instance.crn.slice(0, -1))).toBe(true);
  const second = await page(api, I, 2, first);
  expect(names(second)).toEqual(['day 2', 'day 3']);
  const third = await page(api, I, 2, second);
  expect(names(third)).toEqual(['day 4']);
  expect(third.nextPageInfo).toEqual({ startWithDocId: '', startWithOrderByValue: '' });
  expect(third.totalScannedDocs).toBe(1);
});

test('a page that is exactly full is the last if nothing follows', async () => {
  const { api, I } = await holding([0, 1]);
  expect((await page(api, I, 2)).nextPageInfo).toEqual({ startWithDocId: '', startWithOrderByValue: '' });
});

test('certificates of the same expiry are all listed', async () => {
  const { api, I } = await holding([]);
  for (let n = 0; n < 5; n++) {
    const data = dataOf(issued[0] as IssuedCertificate);
    await api('POST', `/v3/${I}/certificates/import`, { name: `${n}`, data });
  }
  const found: string[] = [];
  let at: ListBody | undefined;
  do {
    at = await page(api, I, 2, at);
    found.push(...names(at));
  } while (at.nextPageInfo.startWithDocId !== '');
  expect(found.sort()).toEqual(['0', '1', '2', '3', '4']);
});

describe('the query as real clients write it', () => {
  test('the Go client: doubled ampersands, always page 1, only slashes encoded', async () => {
    const { api, I, idOf } = await holding([0, 1, 2]);
    const id = decodeURIComponent(idOf(1)).replaceAll('/', '%2F');
    const query = `page_number=1&&page_size=200&&start_from_document_id=${id}&&start_from_orderby_value=${start2090 + dayMs}`;
    expect(names((await api('GET', `/v3/${I}/certificates/?${query}`)).body)).toEqual(['day 1', 'day 2']);
  });

  test('the migration tool: page numbers go up beside the cursor, nothing encoded', async () => {
    const { api, I, idOf } = await holding([0, 1, 2]);
    const id = decodeURIComponent(idOf(2));
    const query = `order=expires_on&page_number=7&page_size=2&start_from_document_id=${id}&start_from_orderby_value=${start2090 + 2 * dayMs}`;
    expect(names((await api('GET', `/v3/${I}/certificates?${query}`)).body)).toEqual(['day 2']);
  });

  test('empty parts and an empty cursor mean the beginning', async () => {
    const { api, I } = await holding([0, 1]);
    const query = '&&start_from_document_id=&start_from_orderby_value=&&page_size=&order=&';
    expect(names((await api('GET', `/v3/${I}/certificates?${query}`)).body)).toEqual(['day 0', 'day 1']);
  });

  test('page numbers alone count from zero', async () => {
    const { api, I } = await holding([0, 1, 2, 3, 4]);
    const at = async (n: number) =>
      names((await api('GET', `/v3/${I}/certificates?page_number=${n}&page_size=2`)).body);
    expect([await at(0), await at(1), await at(2), await at(3)]).toEqual([
      ['day 0', 'day 1'],
      ['day 2', 'day 3'],
      ['day 4'],
      [],
    ]);
  });

  test.each([
    ['page_size=0'],
    ['page_size=201'],
    ['page_size=-1'],
    ['page_size=1.5'],
    ['page_size=ten'],
    ['page_number=-1'],
    ['page_number=10001'],
    ['order=name'],
    ['start_from_document_id=x&start_from_orderby_value=1'],
    ['start_from_orderby_value=1'],
    ['start_from_document_id=%'],
  ])('refuses %s', async (query) => {
    const { api, I } = await holding([]);
    const answer = await api('GET', `/v3/${I}/certificates?${query}`);
    expect([answer.status, answer.body.code]).toEqual([400, 'instance_request_invalid']);
  });

  test('refuses a cursor of another instance', async () => {
    const { api, I, idOf } = await holding([0]);
    const foreign = decodeURIComponent(idOf(0)).replace('11111111', '22222222');
    const query = `start_from_document_id=${foreign}&start_from_orderby_value=1`;
    expect((await api('GET', `/v3/${I}/certificates?${query}`)).status).toBe(400);
  });

  test('takes 200 as a page, which is also the default', async () => {
    const { api, I } = await holding([]);
    const data = dataOf(issued[0] as IssuedCertificate);
    await Promise.all(
      Array.from({ length: 201 }, (_, n) => api('POST', `/v3/${I}/certificates/import`, { name: `${n}`, data })),
    );
    const byDefault = (await api('GET', `/v3/${I}/certificates`)).body as ListBody;
    expect(byDefault.totalScannedDocs).toBe(200);
    const largest = await page(api, I, 200);
    expect(largest).toEqual(byDefault);
    expect((await page(api, I, 200, largest)).totalScannedDocs).toBe(1);
  });
});

describe('while certificates come and go between pages', () => {
  test('those that stay are listed once each', async () => {
    const { api, I, add, idOf } = await holding([1, 3, 5, 7, 9]);
    const first = await page(api, I, 2);
    expect(names(first)).toEqual(['day 1', 'day 3']);
    // The first of the next page goes; others come before, at and after the place of the cursor.
    await api('DELETE', `/v2/certificate/${idOf(5)}`);
    await api('DELETE', `/v2/certificate/${idOf(1)}`);
    for (const day of [0, 4, 6, 10]) await add(day);
    const second = await page(api, I, 2, first);
    expect(names(second)).toEqual(['day 6', 'day 7']);
    const third = await page(api, I, 2, second);
    expect(names(third)).toEqual(['day 9', 'day 10']);
    expect(third.nextPageInfo.startWithDocId).toBe('');
  });

  test('one that is renewed is listed again at its new place, never lost', async () => {
    const { api, I, idOf } = await holding([0, 1, 2, 3]);
    const first = await page(api, I, 2);
    await api('PUT', `/v1/certificate/${idOf(0)}`, dataOf(issued[11] as IssuedCertificate));
    await api('PUT', `/v1/certificate/${idOf(2)}`, dataOf(issued[10] as IssuedCertificate));
    const second = await page(api, I, 2, first);
    expect(names(second)).toEqual(['day 3', 'day 2']);
    expect(names(await page(api, I, 2, second))).toEqual(['day 0']);
  });

  test('a cursor whose certificates are all gone leads to the last page', async () => {
    const { api, I, idOf } = await holding([0, 1]);
    const first = await page(api, I, 1);
    await api('DELETE', `/v2/certificate/${idOf(1)}`);
    expect(await page(api, I, 1, first)).toEqual({
      totalScannedDocs: 0,
      certificates: [],
      nextPageInfo: { startWithDocId: '', startWithOrderByValue: '' },
    });
  });
});
