import { afterEach, describe, expect, test } from 'vitest';
import { repository } from '../../../src/instance/api/repository.ts';
import { listCertificates } from '../../../src/instance/certificates/certificate-listing.ts';
import { certificateRows } from '../../../src/instance/certificates/certificate-rows.ts';
import { parseSearchQuery } from '../../../src/instance/rows/list-query.ts';
import { silentLog } from '../../../src/log.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startTestInstance, type TestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { testKeyring } from '../../support/keyring.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { clientOf, dataOf, segment } from '../client.ts';

const started: TestInstance[] = [];
afterEach(() => Promise.all(started.splice(0).map((instance) => instance.close())));
const I = segment(instanceCrn);
const now = Date.UTC(2030, 0, 1);
const day = 86_400_000;

async function start(options: TestInstanceOptions = {}) {
  const instance = await startTestInstance(options);
  started.push(instance);
  const api = await clientOf(instance);
  const importOne = async (name: string, domains: readonly string[], notAfter = Date.UTC(2090, 0, 1)) => {
    const data = dataOf(await testCertificate({ domains, notAfter }));
    return (await api('POST', `/v3/${I}/certificates/import`, { name, data })).body;
  };
  const search = (term: string, rest = '') =>
    api('GET', `/v3/${I}/certificates/search?q=${encodeURIComponent(term)}${rest}`);
  return { api, importOne, search };
}

/** The rows of an instance alone, filled without the work of making certificates. */
function bareRows(table: Table = memoryTable()) {
  const rows = certificateRows({
    table,
    sealer: testKeyring(instanceCrn),
    runtime: systemRuntime,
    log: silentLog,
    instanceCrn,
  });
  const add = (name: string, expiresOn: number) => {
    const facts = { domains: [`${name}.example.test`], issuer: 'CA', serialNumber: '1', beginsOn: 0, expiresOn };
    const entry = { ...facts, algorithm: 'x', keyAlgorithm: 'y', name, description: '' };
    return rows.add(entry, { content: 'pem' }, Number.POSITIVE_INFINITY);
  };
  return { rows, add };
}

describe('search', () => {
  test('finds by name, domain and issuer what contains the term; in double quotes, what is exactly that', async () => {
    const { importOne, search } = await start();
    await importOne('Shop', ['www.example.test'], Date.UTC(2090, 0, 1));
    await importOne('shop of Zo\u00eb', ['b.example.test'], Date.UTC(2090, 0, 2));
    await importOne('other', ['shop.example.test', 'c.example.test'], Date.UTC(2090, 0, 3));
    const found = async (term: string) =>
      (await search(term)).body.certificates.map(({ name }: { name: string }) => name);
    expect(await found('shop')).toEqual(['Shop', 'shop of Zo\u00eb', 'other']);
    expect(await found('"shop"')).toEqual(['Shop']);
    expect(await found('"C.EXAMPLE.test"')).toEqual(['other']);
    expect(await found('c.example')).toEqual(['other']);
    expect(await found('intermediate 1')).toHaveLength(3);
    expect(await found('"Test Intermediate 1"')).toHaveLength(3);
    expect(await found('"Test Intermediate"')).toEqual([]);
    // The same letter, composed and not.
    expect(await found('zoe\u0308')).toEqual(['shop of Zo\u00eb']);
    expect(await found('nothing like it')).toEqual([]);
    expect(await found('.*')).toEqual([]);
  });

  test('answers pages in the form of a list', async () => {
    const { importOne, search } = await start();
    const first = await importOne('shop 1', ['a.example.test'], Date.UTC(2090, 0, 1));
    await importOne('other', ['a.example.test'], Date.UTC(2090, 0, 2));
    const last = await importOne('shop 2', ['a.example.test'], Date.UTC(2090, 0, 3));
    const page = (await search('shop', '&page_size=1')).body;
    expect([page.totalScannedDocs, page.certificates]).toEqual([1, [first]]);
    const { startWithDocId, startWithOrderByValue } = page.nextPageInfo;
    const cursor = `&start_from_document_id=${segment(startWithDocId)}&start_from_orderby_value=${startWithOrderByValue}`;
    const next = (await search('shop', `&page_size=1${cursor}`)).body;
    expect(next.certificates).toEqual([last]);
    expect(next.nextPageInfo).toEqual({ startWithDocId: '', startWithOrderByValue: '' });
  });

  test.each([
    ['', 'q, the term to search for, is missing'],
    ['?q=', 'q, the term to search for, is missing'],
    ['?q=%22%22', 'q, the term to search for, is missing'],
    [`?q=${'x'.repeat(257)}`, 'q is longer than 256 characters'],
    ['?q=x&page_number=1', 'a search goes on from a cursor alone'],
    ['?q=x&page_size=201', 'page_size is not between 1 and 200'],
    ['?q=%', 'percent sign'],
  ])('refuses %s', async (query, message) => {
    const { api } = await start();
    const answer = await api('GET', `/v3/${I}/certificates/search${query}`);
    expect([answer.status, answer.body.code]).toEqual([400, 'instance_request_invalid']);
    expect(answer.body.message).toContain(message);
  });

  test('takes a term of 256 characters', async () => {
    expect((await (await start()).search('x'.repeat(256))).status).toBe(200);
  });

  test('one request looks at so many certificates and no more, and the next goes on from there', async () => {
    let gets = 0;
    const table = memoryTable();
    const { rows, add } = bareRows({
      ...table,
      get(key) {
        gets++;
        return table.get(key);
      },
    });
    for (let count = 0; count < 30; count++) await add(count === 25 ? 'needle' : `n${count}`, now + count);
    const { matches } = parseSearchQuery('q=needle', instanceCrn);
    gets = 0;
    const request = { skip: 0, size: 5, matches, examine: 10 };
    const pages = [await listCertificates(rows, { ...request, from: undefined })];
    expect(pages[0]?.certificates).toEqual([]);
    expect(gets).toBeLessThanOrEqual(10 + 6);
    for (let page = pages[0]; page?.next !== undefined; pages.push(page)) {
      page = await listCertificates(rows, { ...request, from: page.next });
    }
    expect(pages.map(({ certificates }) => certificates.map(({ name }) => name))).toEqual([[], [], ['needle']]);
  });
});

describe('the counts of the repository', () => {
  test('are those of all, of the expired, and of those that expire within 30 days', async () => {
    // Less than an hour, so that the token lives on.
    let time = now - 3_000_000;
    const { api, importOne } = await start({ runtime: { ...systemRuntime, now: () => time } });
    const counts = async () => (await api('GET', `/v2/${I}/certificates/metadata`)).body;
    expect(await counts()).toEqual({ total: 0, expired: 0, expiring: 0 });
    const { _id } = await importOne('a', ['a.example.test'], now - 2_000_000);
    await importOne('b', ['b.example.test'], now - 1_000);
    await importOne('c', ['c.example.test'], now);
    await importOne('d', ['d.example.test'], now + 30 * day - 1_000);
    await importOne('e', ['e.example.test'], now + 30 * day);
    time = now;
    expect(await counts()).toEqual({ total: 5, expired: 2, expiring: 2 });
    await api('DELETE', `/v2/certificate/${segment(_id)}`);
    expect(await counts()).toEqual({ total: 4, expired: 1, expiring: 2 });
  });

  test('are some seconds old where there is much to count', async () => {
    let time = now;
    const { rows, add } = bareRows();
    for (let count = 0; count < 1_000; count++) await add(`n${count}`, now + day);
    const { counts } = repository({ rows, now: () => time });
    expect(await counts()).toEqual({ total: 1_000, expired: 0, expiring: 1_000 });
    await add('one more', now + day);
    expect((await counts()).expiring).toBe(1_001);
    await add('another', now + day);
    time += 9_999;
    expect(await counts()).toEqual({ total: 1_002, expired: 0, expiring: 1_001 });
    time += 1;
    expect((await counts()).expiring).toBe(1_002);
  });
});

describe('the previous version', () => {
  test('is downloaded with its own facts, until the next takes its place', async () => {
    const { api, importOne } = await start({ runtime: { ...systemRuntime, now: () => now } });
    const imported = await importOne('shop', ['a.example.test'], Date.UTC(2031, 0, 1));
    const C = segment(imported._id);
    const before = (await api('GET', `/v2/certificate/${C}`)).body.data;
    const none = await api('GET', `/v2/certificate/${C}/previous`);
    expect([none.status, none.body.code]).toEqual([404, 'instance_not_found']);
    const next = dataOf(await testCertificate({ domains: ['a.example.test'], notAfter: Date.UTC(2032, 0, 1) }));
    await api('PUT', `/v1/certificate/${C}`, next);
    const { last_modified: _, ...facts } = imported;
    expect((await api('GET', `/v2/certificate/${C}/previous`)).body).toEqual({ ...facts, data: before });
    const last = dataOf(await testCertificate({ domains: ['a.example.test'] }));
    await api('PUT', `/v1/certificate/${C}`, last);
    expect((await api('GET', `/v2/certificate/${C}/previous`)).body.data).toEqual(next);
    await api('DELETE', `/v2/certificate/${C}`);
    expect((await api('GET', `/v2/certificate/${C}/previous`)).status).toBe(404);
  });
});
