import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { inspect } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent, toPem } from '../../../src/certificate/pem.ts';
import { asCodedError, type CodedError } from '../../../src/errors.ts';
import { type HttpSend, sendOverNetwork } from '../../../src/http/client.ts';
import { limits } from '../../../src/limits.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import {
  type CertificateManagerOptions,
  certificateManagerStore,
} from '../../../src/services/certificate-manager/store.ts';
import type { Store } from '../../../src/store/store.ts';
import { type ScriptedServer, type Step, startScriptedServer } from '../../store/scripted-server.ts';
import { testCertificate } from '../../support/certificates.ts';
import { makeSigner } from '../../support/notifications.ts';

const stem =
  'crn:v1:bluemix:public:cloudcerts:eu-de:a/00000000000000000000000000000001:11111111-2222-3333-4444-555555555555';
const crn = `${stem}::`;
const id = 'a'.repeat(32);
const other = 'b'.repeat(32);
const certificateCrn = `${stem}:certificate:${id}`;
const encodedStem =
  'crn%3Av1%3Abluemix%3Apublic%3Acloudcerts%3Aeu-de%3Aa%2F00000000000000000000000000000001%3A11111111-2222-3333-4444-555555555555';
const encodedInstance = `${encodedStem}%3A%3A`;
const encodedCertificate = `${encodedStem}%3Acertificate%3A${id}`;
const mark = { store: 'crn:v1:primary::', certificate: 'cccc' };
const metadata = { name: 'shop', description: 'the shop', tags: [] };
const spki = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString();
const now = Date.UTC(2026, 10, 23, 12, 0, 0);

/** The example of the documentation, with invented values. */
const shown = {
  _id: certificateCrn,
  name: 'shop',
  description: '',
  domains: ['shop.example.test', 'www.shop.example.test'],
  issuer: 'Example CA',
  begins_on: 1_700_000_000_000,
  expires_on: 1_707_776_000_000,
  algorithm: 'sha256WithRSAEncryption',
  key_algorithm: 'rsaEncryption 2048 bit',
  imported: true,
  status: 'valid',
  has_previous: false,
};

let server: ScriptedServer;
let content: CertificateContent;
let privateKeyText: string;
beforeAll(async () => {
  content = parseContent(await testCertificate());
  privateKeyText = content.privateKey?.pem.reveal() ?? '';
});
beforeEach(async () => {
  server = await startScriptedServer();
});
afterEach(() => server.close());

function storeAt(options: Partial<CertificateManagerOptions> = {}): Store {
  return certificateManagerStore({
    instance: crn,
    apiKey: new Secret('the api key'),
    endpoint: server.url,
    iamUrl: server.url,
    runtime: { ...systemRuntime, now: () => now },
    ...options,
  });
}

/** Every call of a store that asks the service, by what an error of it says. */
const readCalls: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
  list: (store) => store.list({}),
  'read metadata': (store) => thrownBy(store.readMetadata(id)),
  read: (store) => thrownBy(store.read(id)),
  'notification key': async (store) => store.notificationKey?.(),
};
const writeCalls: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
  import: (store) => store.import({ content, metadata, mark }),
  reimport: (store) => store.reimport(id, content),
  'update metadata': (store) => store.updateMetadata(id, metadata, mark),
  delete: (store) => store.delete(id),
};
const reads = Object.entries(readCalls);
const writes = Object.entries(writeCalls);

/** The error in an unreadable answer, as if it were thrown. */
async function thrownBy(reading: ReturnType<Store['readMetadata']> | ReturnType<Store['read']>): Promise<unknown> {
  const answer = await reading;
  if (answer.state === 'unreadable') throw answer.error;
  return answer;
}

async function errorOf(call: Promise<unknown>): Promise<CodedError> {
  return call.then(
    (value) => expect.fail(`expected an error, got ${inspect(value)}`),
    (thrown: unknown) => asCodedError(thrown),
  );
}

describe('requests, as IBM documents them', () => {
  const pem = () => toPem(content);

  it('reads metadata', async () => {
    server.answers({ body: shown });
    await storeAt().readMetadata(id);
    expect(server.requests).toMatchObject([
      { method: 'GET', url: `/api/v1/certificate/${encodedCertificate}/metadata`, body: '' },
    ]);
    expect(server.requests[0]?.headers.authorization).toBe('Bearer token-1');
  });

  it('reads in full', async () => {
    const { certificate, intermediate } = pem();
    server.answers({ body: { ...shown, data: { content: certificate, intermediate, priv_key: privateKeyText } } });
    const reading = await storeAt().read(id);
    expect(server.requests).toMatchObject([{ method: 'GET', url: `/api/v2/certificate/${encodedCertificate}` }]);
    expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(fingerprintOf(content));
  });

  it('lists', async () => {
    server.answers({ body: { totalScannedDocs: 0, certificates: [], nextPageInfo: null } });
    await storeAt().list({});
    expect(server.requests).toMatchObject([
      { method: 'GET', url: `/api/v3/${encodedInstance}/certificates?order=expires_on&page_size=200&page_number=0` },
    ]);
  });

  it('imports', async () => {
    server.answers({ body: shown });
    expect(await storeAt().import({ content, metadata, mark })).toMatchObject({ id, metadata: { id } });
    expect(server.requests).toMatchObject([{ method: 'POST', url: `/api/v3/${encodedInstance}/certificates/import` }]);
    expect(server.requests[0]?.headers['content-type']).toBe('application/json');
    expect(JSON.parse(server.requests[0]?.body ?? '')).toEqual({
      name: 'shop',
      description: 'the shop\ncertstandby:1 crn:v1:primary:: cccc',
      data: { content: pem().certificate, intermediate: pem().intermediate, priv_key: privateKeyText },
    });
  });

  it('reimports with a flat body, and leaves out what is not there', async () => {
    server.answers({ body: shown }, { body: shown });
    const store = storeAt();
    await store.reimport(id, content);
    await store.reimport(id, { leaf: content.leaf, chain: [] });
    expect(server.requests).toMatchObject([{ method: 'PUT', url: `/api/v1/certificate/${encodedCertificate}` }, {}]);
    expect(server.requests.map(({ body }) => JSON.parse(body))).toEqual([
      { content: pem().certificate, intermediate: pem().intermediate, priv_key: privateKeyText },
      { content: pem().certificate },
    ]);
  });

  it('updates name and description', async () => {
    server.answers({ body: '' });
    expect(await storeAt().updateMetadata(id, metadata, undefined)).toEqual({ id });
    expect(server.requests).toMatchObject([{ method: 'POST', url: `/api/v3/certificate/${encodedCertificate}` }]);
    expect(JSON.parse(server.requests[0]?.body ?? '')).toEqual({ name: 'shop', description: 'the shop' });
  });

  it('deletes', async () => {
    server.answers({ body: { Message: 'deleted' } });
    await storeAt().delete(id);
    expect(server.requests).toMatchObject([
      { method: 'DELETE', url: `/api/v2/certificate/${encodedCertificate}`, body: '' },
    ]);
  });

  it('fetches the public key without credentials', async () => {
    const { publicKeyPem } = makeSigner();
    server.answers({ body: { publicKey: publicKeyPem.replaceAll('\n', '\r\n') } });
    expect(await storeAt().notificationKey?.()).toBe(publicKeyPem);
    expect(server.requests).toMatchObject([
      { method: 'GET', url: `/api/v1/instances/${encodedInstance}/notifications/publicKey?keyFormat=pem` },
    ]);
    expect(server.requests[0]?.headers.authorization).toBeUndefined();
    expect(server.exchanges).toHaveLength(0);
  });

  it('encodes whatever an id is made of, as one segment', async () => {
    server.answers({ status: 404, body: { code: 'c', message: 'm' } });
    await storeAt().readMetadata('../x?y#z/é');
    expect(server.requests[0]?.url).toBe(
      `/api/v1/certificate/${encodedStem}%3Acertificate%3A..%2Fx%3Fy%23z%2F%C3%A9/metadata`,
    );
  });

  it('keeps to a path in the endpoint', async () => {
    server.answers({ body: shown });
    await storeAt({ endpoint: `${server.url}/behind/a/gateway/` }).readMetadata(id);
    expect(server.requests[0]?.url).toMatch(/^\/behind\/a\/gateway\/api\/v1\/certificate\//);
  });
});

describe('certificates in answers', () => {
  const metadataFrom = async (body: unknown) => {
    server.answers({ body });
    const reading = await storeAt().readMetadata(id);
    if (reading.state !== 'present') throw new Error(reading.state);
    return reading.value;
  };

  it('are read as documented', async () => {
    expect(await metadataFrom(shown)).toEqual({
      id,
      name: 'shop',
      description: '',
      tags: [],
      domains: ['shop.example.test', 'www.shop.example.test'],
      issuer: 'Example CA',
      notBefore: 1_700_000_000_000,
      notAfter: 1_707_776_000_000,
      status: 'valid',
      revision: '/1700000000000/1707776000000',
    });
  });

  it('show the mark of their description apart', async () => {
    const description = 'the shop\ncertstandby:1 crn:v1:primary:: cccc';
    expect(await metadataFrom({ ...shown, description })).toMatchObject({ description: 'the shop', mark });
  });

  it('need no more than an id', async () => {
    expect(await metadataFrom({ _id: certificateCrn })).toEqual({
      id,
      name: '',
      description: '',
      tags: [],
      domains: [],
    });
  });

  it('may hold digits for times, and members that are null, new or of another type', async () => {
    const odd = { begins_on: '1700000000000', expires_on: '1.5', issuer: null, name: 7, domains: 'a,b', news: [{}] };
    expect(await metadataFrom({ ...shown, ...odd })).toMatchObject({
      name: '',
      domains: [],
      notBefore: 1_700_000_000_000,
    });
    expect(await metadataFrom({ ...shown, ...odd })).not.toHaveProperty('notAfter');
  });

  it.each([
    ['0A:0B:0C', '0a0b0c'],
    ['a0b', '0a0b'],
    ['00ff', 'ff'],
    ['12345678901234567890', undefined],
    ['serial', undefined],
  ])('give a serial number as hex where that is certain: %s', async (serial_number, serial) => {
    expect((await metadataFrom({ ...shown, serial_number })).serial).toBe(serial);
  });

  it('have the moment of the last change as revision, where it is given', async () => {
    expect(await metadataFrom({ ...shown, last_modified: 1_700_000_000_123 })).toMatchObject({
      revision: '1700000000123',
      lastModified: 1_700_000_000_123,
    });
    expect((await metadataFrom({ ...shown, serial_number: 'ab:cd' })).revision).toBe(
      'ab:cd/1700000000000/1707776000000',
    );
  });

  it.each([
    ['another certificate', { ...shown, _id: `${stem}:certificate:${other}` }],
    ['a certificate of another instance', { ...shown, _id: certificateCrn.replace('11111111', '99999999') }],
    ['no id', { name: 'shop' }],
    ['a list', [shown]],
    ['a page', '<html></html>'],
    ['nothing', ''],
  ])('are store_nonsense as %s', async (_, body) => {
    server.answers({ body }, { body });
    const store = storeAt();
    const expected = { state: 'unreadable', error: { code: 'store_nonsense' } };
    expect(await store.readMetadata(id)).toMatchObject(expected);
    expect(await store.read(id)).toMatchObject(expected);
  });
});

describe('content in answers', () => {
  it.each([
    ['no data at all', {}, 'certificate_malformed'],
    ['no certificate', { data: { content: 'not PEM' } }, 'certificate_malformed'],
    [
      'a certificate of no use',
      { data: { content: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' } },
      'certificate_malformed',
    ],
    ['too much', { data: { content: `${'x'.repeat(limits.pemBytes)}y` } }, 'certificate_too_large'],
  ])('is held but unreadable with %s', async (_, extra, reason) => {
    server.answers({ body: { ...shown, ...extra } });
    const reading = await storeAt().read(id);
    expect(reading).toMatchObject({
      state: 'unreadable',
      error: { code: 'store_content_unreadable', fields: { certificate: id, reason }, cause: { code: reason } },
    });
  });

  it('may have carriage returns, and empty members for what is not there', async () => {
    const { certificate, intermediate = '' } = toPem(content);
    const data = { content: (certificate + intermediate).replaceAll('\n', '\r\n'), intermediate: '', priv_key: '' };
    server.answers({ body: { ...shown, data } });
    const reading = await storeAt().read(id);
    const { leaf, chain } = content;
    expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(fingerprintOf({ leaf, chain }));
  });
});

describe('paging', () => {
  const page = (nextPageInfo: unknown, ids: readonly string[] = [id]): Step => ({
    body: {
      totalScannedDocs: ids.length,
      certificates: ids.map((each) => ({ ...shown, _id: `${stem}:certificate:${each}` })),
      nextPageInfo,
    },
  });

  it.each([
    ['strings, as bluemix-go reads them', certificateCrn, '1707776000000'],
    ['numbers, as the migration tool reads them', 17, 1_707_776_000_000],
    ['a list of one', [certificateCrn], [1_707_776_000_000]],
  ])('goes on with a cursor of %s', async (_, startWithDocId, startWithOrderByValue) => {
    server.answers(
      page({ startWithDocId, startWithOrderByValue }),
      page({ startWithDocId: '', startWithOrderByValue: '' }, [other]),
    );
    const store = storeAt();
    const { cursor } = await store.list({});
    const last = await store.list({ cursor: cursor ?? '' });
    expect(last.certificates.map((each) => each.id)).toEqual([other]);
    expect(last.cursor).toBeUndefined();
    const query = new URL(server.requests[1]?.url ?? '', server.url).searchParams;
    expect(Object.fromEntries(query)).toEqual({
      order: 'expires_on',
      page_size: '200',
      page_number: '1',
      start_from_document_id: startWithDocId === 17 ? '17' : certificateCrn,
      start_from_orderby_value: '1707776000000',
    });
  });

  it.each([
    ['empty strings', { startWithDocId: '', startWithOrderByValue: '' }],
    ['empty lists', { startWithDocId: [], startWithOrderByValue: [] }],
    ['null', { startWithDocId: null, startWithOrderByValue: null }],
    ['one that is empty', { startWithDocId: certificateCrn, startWithOrderByValue: '' }],
    ['an empty object', {}],
    ['null as a whole', null],
    ['nothing', undefined],
  ])('ends with %s', async (_, nextPageInfo) => {
    server.answers(page(nextPageInfo));
    expect((await storeAt().list({})).cursor).toBeUndefined();
  });

  it('passes over orders that have come to no certificate yet, and over no others', async () => {
    const { expires_on: _, ...unissued } = shown;
    const ordered = (name: string, status: string) => ({
      ...unissued,
      _id: `${stem}:certificate:${name}`,
      name,
      status,
    });
    server.answers({
      body: {
        certificates: [
          ordered('1', 'pending'),
          shown,
          ordered('2', 'failed'),
          ordered('3', 'valid'),
          { ...shown, status: 'pending' },
        ],
      },
    });
    const { certificates } = await storeAt().list({});
    expect(certificates.map((one) => [one.id, one.status])).toEqual([
      [id, 'valid'],
      ['3', 'valid'],
      [id, 'pending'],
    ]);
  });

  it('ends with a cursor that does not move', async () => {
    const next = { startWithDocId: certificateCrn, startWithOrderByValue: '5' };
    server.answers(page(next), page(next));
    const store = storeAt();
    const { cursor } = await store.list({});
    expect((await store.list({ cursor: cursor ?? '' })).cursor).toBeUndefined();
  });

  it.each([
    ['no certificates', { body: {} }],
    ['a certificate without id', { body: { certificates: [shown, { name: 'x' }] } }],
    [
      'a certificate of another instance',
      { body: { certificates: [{ _id: 'crn:v1:x:y:cloudcerts:z:a/1:2:certificate:3' }] } },
    ],
    ['a page for people', { headers: { 'content-type': 'text/html' }, body: '<html>' }],
  ])('is store_nonsense with %s', async (_, step) => {
    server.answers(step);
    expect((await errorOf(storeAt().list({}))).code).toBe('store_nonsense');
  });

  it('refuses a cursor of another store without asking', async () => {
    expect((await errorOf(storeAt().list({ cursor: 'abc' }))).code).toBe('store_refused');
    expect(server.requests).toHaveLength(0);
  });
});

describe('failures by status', () => {
  const said = { code: 'CERT_1', message: 'the reason' };
  const table: readonly (readonly [number, string, string])[] = [
    [400, 'store_refused', 'store_refused'],
    [408, 'store_unavailable', 'store_unanswered'],
    [409, 'store_conflict', 'store_conflict'],
    [413, 'store_refused', 'store_refused'],
    [422, 'store_refused', 'store_refused'],
    [429, 'store_limited', 'store_limited'],
    [500, 'store_unavailable', 'store_unanswered'],
    [502, 'store_unavailable', 'store_unanswered'],
    [503, 'store_unavailable', 'store_unanswered'],
    [504, 'store_unavailable', 'store_unanswered'],
    [301, 'store_nonsense', 'store_nonsense'],
    [302, 'store_nonsense', 'store_nonsense'],
    [304, 'store_nonsense', 'store_nonsense'],
    [308, 'store_nonsense', 'store_nonsense'],
  ];
  for (const [status, readCode, writeCode] of table) {
    const step: Step = { status, headers: { location: '/elsewhere' }, ...(status !== 304 && { body: said }) };
    it.each(reads)(`${status} is ${readCode} for: %s`, async (operation, call) => {
      server.answers(step);
      const error = await errorOf(call(storeAt()));
      expect(error).toMatchObject({ code: readCode, fields: { store: crn, operation, status } });
      expect(server.requests).toHaveLength(1);
    });
    it.each(writes)(`${status} is ${writeCode} for: %s`, async (operation, call) => {
      server.answers(step);
      const error = await errorOf(call(storeAt()));
      // What the service says of a write that gives it content is said of the content.
      const givesContent = operation === 'import' || operation === 'reimport';
      const code = givesContent && writeCode === 'store_refused' ? 'store_content_refused' : writeCode;
      expect(error).toMatchObject({ code, fields: { store: crn, operation, status } });
      expect(server.requests).toHaveLength(1);
    });
  }

  it('404 is absent for a read, gone for a write, done for a delete, refused where no certificate was named', async () => {
    server.answers(...Array.from({ length: 7 }, () => ({ status: 404, body: said })));
    const store = storeAt();
    expect(await store.readMetadata(id)).toEqual({ state: 'absent' });
    expect(await store.read(id)).toEqual({ state: 'absent' });
    expect((await errorOf(store.reimport(id, content))).code).toBe('store_gone');
    expect((await errorOf(store.updateMetadata(id, metadata, mark))).code).toBe('store_gone');
    await store.delete(id);
    expect((await errorOf(store.list({}))).code).toBe('store_refused');
    expect((await errorOf(store.import({ content, metadata }))).code).toBe('store_refused');
  });

  it('404 without a body is believed, 404 with a page is not', async () => {
    server.answers({ status: 404 });
    expect(await storeAt().readMetadata(id)).toEqual({ state: 'absent' });
    const html = { status: 404, headers: { 'content-type': 'text/html' }, body: '<html>Not here</html>' };
    server.answers(html, html, html);
    expect(await storeAt().readMetadata(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_nonsense' } });
    expect((await errorOf(storeAt().reimport(id, content))).code).toBe('store_nonsense');
    expect((await errorOf(storeAt().delete(id))).code).toBe('store_nonsense');
  });

  it('keeps what the service says, on one short line and without PEM', async () => {
    const message = `bad\r\n\u001b[31mkey ${'x'.repeat(50)} -----BEGIN PRIVATE KEY-----\nMIIE`;
    server.answers(
      { status: 400, body: { code: 4711, message } },
      { status: 400, body: { message: 'y'.repeat(1000) } },
    );
    const { fields, message: text } = await errorOf(storeAt().reimport(id, content));
    expect(fields).toMatchObject({
      serviceCode: '4711',
      serviceMessage: `bad \\u{1b}[31mkey ${'x'.repeat(50)} [pem]`,
      certificate: id,
    });
    expect(text).toBe(`reimport at ${crn}: it answered 400: ${fields.serviceMessage}`);
    expect((await errorOf(storeAt().reimport(id, content))).fields.serviceMessage).toBe(`${'y'.repeat(199)}…`);
  });

  it.each(['', 'plain text', '[]', '{"code":{}}'])('needs no documented body: %j', async (body) => {
    server.answers({ status: 400, body });
    const { fields } = await errorOf(storeAt().reimport(id, content));
    expect(fields).toMatchObject({ status: 400, serviceMessage: undefined, serviceCode: undefined });
  });
});

describe('Retry-After', () => {
  const hour = 60 * 60 * 1000;
  it.each([
    ['7', 7000],
    ['0', 0],
    ['3600', hour],
    ['3601', hour],
    ['Mon, 23 Nov 2026 12:00:30 GMT', 30_000],
    ['Mon, 23 Nov 2026 11:00:00 GMT', 0],
    ['Wed, 23 Nov 2033 12:00:00 GMT', hour],
    ['-5', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%j is %j ms', async (value, expected) => {
    const headers: Record<string, string> = value === undefined ? {} : { 'retry-after': value };
    server.answers({ status: 429, headers }, { status: 503, headers }, { status: 503, headers });
    const store = storeAt();
    const all = [
      await errorOf(store.list({})),
      await errorOf(store.delete(id)),
      await errorOf(thrownBy(store.read(id))),
    ];
    expect(all.map(({ code }) => code)).toEqual(['store_limited', 'store_unanswered', 'store_unavailable']);
    expect(all.map(({ retryAfterMs }) => retryAfterMs)).toEqual([expected, expected, expected]);
  });
});

describe('401 and 403', () => {
  it.each([401, 403])('%d gets one new token and one more try', async (status) => {
    server.answers({ status, body: { message: 'Unauthorized' } }, { body: shown });
    expect(await storeAt().import({ content, metadata })).toMatchObject({ id });
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer token-1', 'Bearer token-2']);
    expect(server.requests[1]?.body).toBe(server.requests[0]?.body);
  });

  it('twice is store_unauthorized', async () => {
    const refused = { status: 401, body: { message: 'Unauthorized' } };
    server.answers(refused, refused);
    expect(await errorOf(storeAt().reimport(id, content))).toMatchObject({
      code: 'store_unauthorized',
      fields: { status: 401, serviceMessage: 'Unauthorized' },
    });
    expect(server.requests).toHaveLength(2);
    expect(server.exchanges).toHaveLength(2);
  });

  it('of the public key call is not answered with a token', async () => {
    server.answers({ status: 401 });
    expect((await errorOf(readCalls['notification key']?.(storeAt()) ?? Promise.reject())).code).toBe(
      'store_unauthorized',
    );
    expect(server.exchanges).toHaveLength(0);
  });

  it('an API key that IAM does not know is store_unauthorized, and nothing is sent', async () => {
    server.iam({ status: 400, body: { errorCode: 'BXNIM0415E' } });
    expect((await errorOf(storeAt().reimport(id, content))).code).toBe('store_unauthorized');
    expect(server.requests).toHaveLength(0);
  });
});

describe('answers that do not come', () => {
  const expectFor = async (codes: { read: string; write: string }, step: Step, options = {}) => {
    const calls = [...reads, ...writes];
    server.answers(...calls.map(() => step));
    const found = await Promise.all(calls.map(async ([, call]) => (await errorOf(call(storeAt(options)))).code));
    expect(found).toEqual([...reads.map(() => codes.read), ...writes.map(() => codes.write)]);
  };
  const unknown = { read: 'store_unavailable', write: 'store_unanswered' };
  const never = { read: 'store_unavailable', write: 'store_unavailable' };

  it('a connection that drops after the request', () => expectFor(unknown, (_, response) => void response.destroy()));

  it('a connection that drops within the answer', () =>
    expectFor(unknown, (_, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('{"_id":', () => response.destroy());
    }));

  it('no answer in time', () => expectFor(unknown, () => {}, { requestTimeoutMs: 1_000 }));

  it('an answer that begins and does not end in time', () =>
    expectFor(unknown, (_, response) => void response.write('{'), { requestTimeoutMs: 1_000 }));

  it('a call that is ended while it waits', async () => {
    const ender = new AbortController();
    server.answers(() => ender.abort());
    expect((await errorOf(storeAt().reimport(id, content, { signal: ender.signal }))).code).toBe('store_unanswered');
    const second = new AbortController();
    server.answers(() => second.abort());
    expect(await storeAt().read(id, { signal: second.signal })).toMatchObject({ error: { code: 'store_unavailable' } });
  });

  it('a port where nobody listens', async () => {
    const gone = await startScriptedServer();
    await gone.close();
    await expectFor(never, {}, { endpoint: gone.url });
  });

  it.each([
    ['before a connection is there', false, never],
    ['after it was there', true, unknown],
  ])('a failure %s', async (_, connects, codes) => {
    const send: HttpSend = async (request, options) => {
      if (request.url.endsWith('/identity/token')) return sendOverNetwork(request, options);
      if (connects) options.connected();
      throw new Error('never heard of');
    };
    await expectFor(codes, {}, { send });
  });

  it('a connection that does not come about in time', async () => {
    const send: HttpSend = async (request, options) => {
      if (request.url.endsWith('/identity/token')) return sendOverNetwork(request, options);
      return new Promise((_, reject) => options.signal.addEventListener('abort', () => reject(options.signal.reason)));
    };
    await expectFor(never, {}, { send, requestTimeoutMs: 1_000 });
  });

  it('a kept connection that drops when the next request comes', async () => {
    const store = storeAt();
    server.answers({ body: shown }, (_, response) => void response.destroy());
    expect((await store.readMetadata(id)).state).toBe('present');
    expect((await errorOf(store.reimport(id, content))).code).toBe('store_unanswered');
  });

  it('a server that does not speak TLS', () => expectFor(never, {}, { endpoint: server.url.replace('http', 'https') }));

  it('a server whose certificate nobody vouches for', async () => {
    const { certificate, privateKey } = await testCertificate({ domains: ['127.0.0.1'] });
    const tls = createTlsServer(
      { cert: certificate, key: privateKey.reveal() },
      (_, response) => void response.end('{}'),
    );
    await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
    try {
      await expectFor(never, {}, { endpoint: `https://127.0.0.1:${(tls.address() as AddressInfo).port}` });
    } finally {
      tls.close();
      tls.closeAllConnections();
    }
  });

  it('name the system code and no more of the cause', async () => {
    server.answers((_, response) => void response.destroy());
    const error = await errorOf(storeAt().reimport(id, content));
    expect(error.message).toBe(`reimport at ${crn}: the connection failed`);
    expect(error.fields.reason).toBe('ECONNRESET');
  });
});

describe('answers that are not to be understood', () => {
  it('a page instead of JSON is store_nonsense for every call', async () => {
    for (const [, call] of [...reads, ...writes]) {
      server.answers({ headers: { 'content-type': 'text/html; charset=utf-8' }, body: '<!doctype html><p>Log in' });
      expect((await errorOf(call(storeAt()))).code).toBe('store_nonsense');
    }
  });

  it('an import or reimport without a certificate in the answer', async () => {
    server.answers(
      { body: {} },
      { body: '' },
      { body: 'ok' },
      { body: { ...shown, _id: `${stem}:certificate:${other}` } },
    );
    const store = storeAt();
    expect((await errorOf(store.import({ content, metadata }))).code).toBe('store_nonsense');
    expect(await store.reimport(id, content)).toEqual({ id });
    expect((await errorOf(store.reimport(id, content))).code).toBe('store_nonsense');
    expect((await errorOf(store.reimport(id, content))).code).toBe('store_nonsense');
  });

  it('an update or delete with whatever words', async () => {
    server.answers({ body: 'ok' }, { body: {} }, { body: shown }, { body: 'ok' }, { status: 204 });
    const store = storeAt();
    expect(await store.updateMetadata(id, metadata, mark)).toEqual({ id });
    expect(await store.updateMetadata(id, metadata, mark)).toEqual({ id });
    expect(await store.updateMetadata(id, metadata, mark)).toMatchObject({ id, metadata: { name: 'shop' } });
    await store.delete(id);
    await store.delete(id);
  });

  it.each([
    ['no key', {}],
    ['a word', { publicKey: 'key' }],
    ['a broken key', { publicKey: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n' }],
    ['a private key', { publicKey: () => privateKeyText }],
    ['an RSA key of 2047 bits', { publicKey: () => makeSigner({ modulusLength: 2047 }).publicKeyPem }],
    ['an EC key', { publicKey: () => spki(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey) }],
    ['an RSA-PSS key', { publicKey: () => spki(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey) }],
  ])('a public key answer with %s', async (_, { publicKey }: { publicKey?: string | (() => string) }) => {
    server.answers({ body: { publicKey: typeof publicKey === 'function' ? publicKey() : publicKey } });
    expect((await errorOf(readCalls['notification key']?.(storeAt()) ?? Promise.reject())).code).toBe('store_nonsense');
  });

  it('an answer one byte above the limit; one below and at it are read', async () => {
    const body = JSON.stringify(shown);
    const padded = (bytes: number): Step => ({ body: body + ' '.repeat(bytes - body.length) });
    server.answers(
      padded(limits.storeAnswerBytes - 1),
      padded(limits.storeAnswerBytes),
      padded(limits.storeAnswerBytes + 1),
    );
    const store = storeAt();
    expect((await store.readMetadata(id)).state).toBe('present');
    expect((await store.readMetadata(id)).state).toBe('present');
    expect(await store.readMetadata(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_nonsense' } });
  });
});

describe('secrets', () => {
  it('never show in an error or in the store itself', async () => {
    const echo: Step = (request, response) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ code: request.headers.authorization, message: request.body }));
    };
    server.answers(echo, { body: privateKeyText }, (_, response) => void response.destroy());
    const store = storeAt();
    const secretLine = privateKeyText.split('\n')[1] ?? 'none';
    expect(secretLine.length).toBeGreaterThan(40);
    for (let n = 0; n < 3; n++) {
      const error = await errorOf(store.import({ content, metadata: { ...metadata, name: '', description: '' } }));
      const everything = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error);
      for (const secret of [secretLine, 'token-1', 'the api key']) expect(everything).not.toContain(secret);
    }
    expect(inspect(store, { depth: 20 })).not.toContain('the api key');
  });
});

describe('options', () => {
  it('give the store its id and region; the empty segments of the CRN may be left out', () => {
    for (const instance of [crn, `${stem}:`, stem])
      expect(storeAt({ instance })).toMatchObject({ id: crn, region: 'eu-de', kind: 'certificate-manager' });
  });

  const ibm = 'https://iam.cloud.ibm.com';
  it.each([
    ['the public ones of the region', {}, ibm, 'https://eu-de.certificate-manager.cloud.ibm.com'],
    ['a private one of IBM Cloud', { endpoint: 'https://private.eu-de.certificate-manager.cloud.ibm.com' }, ibm],
    [
      "an instance of one's own, which exchanges its keys itself",
      { endpoint: 'https://own.test:8443' },
      'https://own.test:8443',
    ],
    [
      'a name that only looks like IBM Cloud',
      { endpoint: 'https://evilcloud.ibm.com.own.test' },
      'https://evilcloud.ibm.com.own.test',
    ],
    ['one like it without the dot', { endpoint: 'https://xcloud.ibm.com' }, 'https://xcloud.ibm.com'],
    ['both, as the configuration says', { endpoint: 'https://own.test', iamUrl: ibm }, ibm],
  ])(
    'send the API key to one place alone: %s',
    async (_, options: object, iam, endpoint = (options as { endpoint?: string }).endpoint) => {
      const asked: string[] = [];
      const store = certificateManagerStore({
        instance: crn,
        apiKey: new Secret('k'),
        runtime: systemRuntime,
        ...options,
        send: async ({ url }) => {
          asked.push(new URL(url).origin);
          const body = asked.length === 1 ? { access_token: 't', expires_in: 60 } : shown;
          return { status: 200, headers: {}, body: Readable.from([Buffer.from(JSON.stringify(body))]) };
        },
      });
      expect(await store.readMetadata(id)).toMatchObject({ state: 'present' });
      expect(asked).toEqual([iam, endpoint]);
    },
  );

  it('default to bounds that are safe, and can be told better', () => {
    expect(storeAt().abilities).toEqual({
      givesKeys: true,
      reimportsInPlace: true,
      importIsIdempotent: false,
      uniqueNames: false,
      idsAreReferredTo: false,
      findsMarks: false,
      settlesMs: 120_000,
      listingLagMs: 10_000,
      readSettlesMs: 0,
      writesPerCertificatePerMinute: 5,
    });
    const told = { settlesMs: 1, listingLagMs: 2, readSettlesMs: 3 };
    expect(storeAt(told).abilities).toMatchObject(told);
  });

  it.each([
    [{ endpoint: 'http://eu-de.certificate-manager.cloud.ibm.com' }],
    [{ iamUrl: 'http://iam.cloud.ibm.com' }],
    [{ endpoint: 'https://user:password@host.test' }],
    [{ endpoint: 'https://host.test/?a=b' }],
    [{ endpoint: 'nowhere' }],
    [{ instance: certificateCrn }],
    [{ instance: `${crn}:` }],
    [{ instance: crn.replace('cloudcerts', 'secrets-manager') }],
    [{ instance: crn.replace('eu-de', '') }],
    [{ instance: ` ${crn}` }],
    [{ instance: '' }],
  ])('are refused when the store is made: %j', (options) => {
    expect(() => storeAt(options)).toThrow(expect.objectContaining({ code: 'configuration_invalid' }));
  });
});

describe('content that IBM’s service does not take', () => {
  const at = (endpoint: string) => storeAt({ endpoint, iamUrl: 'https://iam.cloud.ibm.com' });
  const ibm = 'https://eu-de.certificate-manager.cloud.ibm.com';

  it.each([
    ['rsa-2048', undefined],
    ['rsa-pss-2048', undefined],
    ['p-256', undefined],
    ['p-384', undefined],
    ['ed25519', 'store_content_refused'],
  ] as const)('is known beforehand, of a key of kind %s: %s', async (keyKind, code) => {
    const given = parseContent(await testCertificate({ keyKind }));
    expect(at(ibm).refuses?.(given, now)?.code).toBe(code);
    expect(at('https://private.eu-de.certificate-manager.cloud.ibm.com').refuses?.(given, now)?.code).toBe(code);
  });

  it('is not known of a server of somebody else that speaks its API', () => {
    expect(at('https://certificates.example.test').refuses).toBeUndefined();
  });
});
