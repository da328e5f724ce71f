import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent, toPem } from '../../../src/certificate/pem.ts';
import { asCodedError, type CodedError } from '../../../src/errors.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { secretsManagerDiagnosis } from '../../../src/services/secrets-manager/diagnosis.ts';
import { optionsOf, reached, type SecretsManagerOptions } from '../../../src/services/secrets-manager/service-calls.ts';
import { secretsManagerStore } from '../../../src/services/secrets-manager/store.ts';
import { formatMark, markDigest } from '../../../src/store/mark.ts';
import type { Store } from '../../../src/store/store.ts';
import { type ScriptedServer, type Step, startScriptedServer } from '../../store/scripted-server.ts';
import { testCertificate } from '../../support/certificates.ts';

const crn =
  'crn:v1:bluemix:public:secrets-manager:eu-de:a/00000000000000000000000000000001:11111111-2222-3333-4444-555555555555::';
const id = 'aaaaaaaa-0000-4000-8000-000000000001';
const mark = { store: 'a-primary', certificate: 'one' };
const metadata = { name: 'shop', description: 'the shop', tags: [] };
const label = `certstandby-${markDigest(mark)}`;

/** A secret in the shape of the service's answers, with invented values. */
const shown = {
  ...{ id, secret_type: 'imported_cert', secret_group_id: 'default', name: 'shop', description: 'the shop' },
  ...{ labels: [label], custom_metadata: { certstandby: { mark: formatMark(mark), name: 'shop' } } },
  ...{ state: 1, state_description: 'active', versions_total: 2, locks_total: 0, downloaded: true },
  ...{ created_by: 'iam-ServiceId-1', created_at: '2026-11-01T10:00:00Z', updated_at: '2026-11-02T10:00:00.5Z' },
  ...{ common_name: 'shop.example.test', alt_names: ['shop.example.test', 'www.shop.example.test'] },
  ...{ issuer: 'CN=R3', serial_number: '03:e2:c4:00', key_algorithm: 'RSA2048' },
  validity: { not_before: '2026-11-01T00:00:00Z', not_after: '2027-01-30T00:00:00Z' },
};
const failure = (status: number, message: string): Step => ({
  status,
  body: { trace: 'x', status_code: status, errors: [{ code: 'bad_request', message }] },
});
const page = (secrets: readonly unknown[], next?: string): Step => ({
  body: { secrets, total_count: 9, limit: 200, offset: 0, ...(next && { next: { href: next } }) },
});

let server: ScriptedServer;
let content: CertificateContent;
let pem: { certificate: string; intermediate: string; private_key: string };
beforeAll(async () => {
  content = parseContent(await testCertificate({ intermediates: 2 }));
  const { certificate, intermediate = '', privateKey } = toPem(content);
  pem = { certificate, intermediate, private_key: privateKey?.reveal() ?? '' };
});
beforeEach(async () => {
  server = await startScriptedServer();
});
afterEach(() => server.close());

const storeAt = (options: Partial<SecretsManagerOptions> = {}): Store =>
  secretsManagerStore({
    instance: crn,
    credentials: new Secret('the api key'),
    endpoint: server.url,
    iamUrl: server.url,
    runtime: systemRuntime,
    ...options,
  });
const failed = (call: Promise<unknown>): Promise<CodedError> =>
  call.then(() => Promise.reject(new Error('it succeeded')), asCodedError);
const urls = () => server.requests.map(({ method, url }) => `${method} ${decodeURIComponent(url)}`);

describe('what it reads', () => {
  it('has names, dates, serial and mark of a secret', async () => {
    server.answers({ body: shown });
    expect(await storeAt().readMetadata(id)).toEqual({
      state: 'present',
      value: {
        ...metadata,
        id,
        mark,
        domains: ['shop.example.test', 'www.shop.example.test'],
        issuer: 'CN=R3',
        serial: '03e2c400',
        notBefore: Date.UTC(2026, 10, 1),
        notAfter: Date.UTC(2027, 0, 30),
        status: 'active',
        revision: '2026-11-02T10:00:00.5Z/2/03:e2:c4:00',
        lastModified: Date.parse('2026-11-02T10:00:00.5Z'),
      },
    });
  });

  it.each([
    ['a private_cert', () => ({ issuing_ca: pem.intermediate.split('\n\n')[0], ca_chain: [pem.intermediate] })],
    ['a bundle', () => ({ certificate: pem.certificate + pem.intermediate, intermediate: pem.intermediate })],
    ['a bundle with its key', () => ({ certificate: pem.private_key + pem.certificate + pem.intermediate })],
    ['chains in any order', () => ({ ca_chain: blocks(pem.intermediate).reverse() })],
    ['an imported one', () => ({ intermediate: pem.intermediate })],
  ])('has the chain and the key of %s, each once and in order', async (_, given) => {
    const { certificate, private_key } = pem;
    server.answers({ body: { ...shown, secret_type: 'private_cert', certificate, private_key, ...given() } });
    const read = await storeAt().read(id);
    expect(read.state === 'present' && fingerprintOf(read.value.content)).toBe(fingerprintOf(content));
  });

  it('has the key of the signing request that the service made, where that is the key of this certificate', async () => {
    const { certificate, intermediate, private_key } = pem;
    const other = toPem(parseContent(await testCertificate())).privateKey?.reveal();
    const keyOf = async (managed_csr: object, more: object = {}) => {
      server.answers({ body: { ...shown, certificate, intermediate, managed_csr, ...more } });
      const read = await storeAt().read(id);
      if (read.state !== 'present') throw new Error(read.state);
      expect(read.value.content.chain).toHaveLength(2);
      return read.value.content.privateKey === undefined ? 'none' : fingerprintOf(read.value.content);
    };
    expect(await keyOf({ csr: 'x', private_key })).toBe(fingerprintOf(content));
    // Of the next request, or nothing that can be read: no fault of this certificate.
    expect(await keyOf({ csr: 'x', private_key: other })).toBe('none');
    expect(await keyOf({ csr: 'x', private_key: '-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----' })).toBe(
      'none',
    );
    expect(await keyOf({ private_key: other }, { private_key })).toBe(fingerprintOf(content));
  });

  it('has no key where the member is missing', async () => {
    server.answers({ body: { ...shown, certificate: pem.certificate } });
    const read = await storeAt().read(id);
    expect(read).toMatchObject({ state: 'present' });
    expect(read.state === 'present' && read.value.content.privateKey).toBeUndefined();
  });

  it.each([
    [{ state: 2, state_description: 'suspended' }, 'unreadable', 'suspended'],
    [{ state: 3, state_description: 'deactivated' }, 'unreadable', 'deactivated'],
    [{ state: 5, state_description: 'destroyed' }, 'vacant', undefined],
    [{ state: 0, state_description: 'pre_activation', serial_number: undefined }, 'unreadable', undefined],
  ])('tells the state %o as %s, in reads and in lists, beside all others', async (state, found, reason) => {
    const secret = { ...shown, ...state };
    const good = { ...shown, id: id.replace(/1$/, '2') };
    server.answers({ body: secret }, page([secret, good]));
    const read = await storeAt().readMetadata(id);
    expect(read.state).toBe(found);
    if (reason !== undefined)
      expect(read).toMatchObject({ error: { fields: { reason }, remedy: expect.stringContaining(reason) } });
    const listed = await storeAt().list({});
    expect(listed.certificates.map((one) => one.id)).toEqual([good.id]);
    const apart = { 0: 'passedOver', 2: 'unreadable', 3: 'unreadable', 5: 'vacant' }[state.state as 0] as 'vacant';
    expect(listed[apart]).toMatchObject([{ id }]);
  });

  it('asks a destroyed secret for its metadata where its data is refused', async () => {
    server.answers(failure(412, 'The secret is destroyed'), failure(400, 'no data'), {
      body: { ...shown, state: 5, state_description: 'destroyed' },
    });
    expect(await storeAt().read(id)).toMatchObject({ state: 'unreadable' });
    expect(await storeAt().read(id)).toMatchObject({ state: 'vacant', mark });
  });

  it('asks once more where a list leaves custom metadata out of what is labelled', async () => {
    const { custom_metadata: _, ...listed } = shown;
    server.answers(page([listed, { ...listed, id: id.replace(/1$/, '2'), labels: [] }]), { body: shown });
    expect((await storeAt().list({})).certificates.map((one) => one.mark)).toEqual([mark, undefined]);
    expect(server.requests).toHaveLength(2);
  });

  it('tells an element that it does not understand, and lists the others', async () => {
    server.answers(page([{ id: 'odd' }, shown, 'text']));
    const listed = await storeAt().list({});
    expect(listed.certificates).toHaveLength(1);
    expect(listed.unreadable).toMatchObject([
      { id: 'odd', error: { code: 'store_nonsense' } },
      { error: { code: 'store_nonsense' } },
    ]);
  });

  it('reads a mark that is written as text, and none of what is not ours', async () => {
    const custom = (certstandby: unknown) => ({ ...shown, labels: [], custom_metadata: { certstandby } });
    const given = [formatMark(mark), JSON.stringify({ mark: formatMark(mark) }), 7, null, { mark: 'nonsense' }];
    server.answers(...given.map((one) => ({ body: custom(one) })));
    const marks = [];
    for (const _ of given) {
      const read = await storeAt().readMetadata(id);
      marks.push(read.state === 'present' && read.value.mark);
    }
    expect(marks).toEqual([mark, mark, undefined, undefined, undefined]);
  });

  it('takes custom metadata for what it is called, not for what every object has', async () => {
    server.answers({
      body: { ...shown, labels: [], custom_metadata: JSON.parse('{"__proto__": {"certstandby": "x"}}') },
    });
    expect(await storeAt().readMetadata(id)).toMatchObject({ state: 'present', value: { name: 'shop' } });
  });
});

describe('what it is refused', () => {
  it.each([
    ['404 in the shape of the service', failure(404, 'not found'), 'absent'],
    ['404 of a router', { status: 404, body: { message: 'no such host' } }, 'store_nonsense'],
    ['404 as a page', { status: 404, body: '<html>' }, 'store_nonsense'],
    ['401', failure(401, 'no'), 'store_unauthorized'],
    ['402: its plan has ended', failure(402, 'pay'), 'store_refused'],
    ['403', failure(403, 'no'), 'store_unauthorized'],
    ['410: the instance is suspended', failure(410, 'gone'), 'store_refused'],
    ['429 without Retry-After', failure(429, 'slower'), 'store_limited'],
    ['500', failure(500, 'x'), 'store_unavailable'],
    ['503 of an instance that is being made', { status: 503, body: 'starting' }, 'store_unavailable'],
    ['a page', { status: 200, body: '<html>' }, 'store_nonsense'],
    ['another secret', { body: { ...shown, id: id.replace(/1$/, '2') } }, 'store_nonsense'],
    ['a secret that is no certificate', { body: { ...shown, secret_type: 'kv' } }, 'store_nonsense'],
  ] satisfies readonly [string, Step, string][])(
    '%s is never taken for absent unless it is',
    async (_, step, found) => {
      server.answers(step, step, step);
      const read = await storeAt().readMetadata(id);
      expect(read.state === 'unreadable' ? read.error.code : read.state).toBe(found);
      if (read.state === 'unreadable') expect(read.error.remedy).not.toBe('');
    },
  );

  it.each([
    ['list', 400, 'store_refused', 'version 2 of its API'],
    ['list', 401, 'store_unauthorized', 'of the same cloud'],
    ['list', 402, 'store_refused', 'plan'],
    ['list', 403, 'store_unauthorized', 'private: true'],
    ['list', 404, 'store_refused', 'not as deleted'],
    ['list', 410, 'store_refused', 'not as deleted'],
    ['list', 429, 'store_limited', 'requestsPerSecond'],
    ['list', 500, 'store_unavailable', 'being made'],
    ['list', 502, 'store_unavailable', 'being made'],
    ['list', 503, 'store_unavailable', 'being made'],
    ['import', 400, 'store_content_refused', 'has expired'],
    ['import', 401, 'store_unauthorized', 'of the same cloud'],
    ['import', 402, 'store_refused', 'plan'],
    ['import', 403, 'store_unauthorized', 'Manager of it'],
    ['import', 404, 'store_refused', 'stores.<name>.instance'],
    ['import', 409, 'store_conflict', 'certstandby adopt'],
    ['import', 410, 'store_refused', 'suspended'],
    ['import', 429, 'store_limited', 'requestsPerSecond'],
    ['import', 500, 'store_unanswered', 'Whether it took effect is not known yet'],
    ['import', 502, 'store_unanswered', 'being made'],
    ['import', 503, 'store_unanswered', 'being made'],
    ['delete', 400, 'store_refused', 'Read its words'],
    ['delete', 412, 'store_held', 'never broken'],
    ['delete', 503, 'store_unanswered', 'being made'],
  ] as const)('%s: %i is %s, with a remedy in terms of the service', async (operation, status, code, words) => {
    const step = failure(status, 'x');
    const holder = { body: { ...shown, labels: [], custom_metadata: {} } };
    // 401 and 403 are tried with another token; a name that is taken is looked for.
    server.answers(step, status === 409 ? holder : step);
    const store = storeAt();
    const calls = {
      list: () => store.list({}),
      import: () => store.import({ content, metadata, mark }),
      delete: () => store.delete(id),
    };
    const error = await failed(calls[operation]());
    expect(error).toMatchObject({ code, remedy: expect.stringContaining(words) });
  });

  it('takes a router before an instance that is gone for that, and not for the end of a secret', async () => {
    server.answers({ status: 404, body: { message: 'no such host' } });
    const error = await failed(storeAt().list({}));
    expect(error).toMatchObject({ code: 'store_nonsense', remedy: expect.stringContaining('not as deleted') });
  });

  it('tells a lock as that, by which version it is, and who takes it off', async () => {
    const locked = failure(412, "The requested action can't be completed because the secret version is locked.");
    server.answers(locked);
    const error = await failed(storeAt().delete(id));
    expect(error).toMatchObject({ code: 'store_held', remedy: expect.stringContaining('never broken') });
    expect(error.message).toContain('is locked');
  });

  it('succeeds in deleting what is gone', async () => {
    server.answers(failure(404, 'not found'));
    await storeAt().delete(id);
  });

  it.each([
    [409, 'A secret with the same name already exists: shop'],
    [400, 'the name shop already exists'],
  ])('adopts what has its name and mark after %i, and refuses to take what has not', async (status, words) => {
    const lookups = (holder: object): Step[] => [failure(status, words), { body: holder }];
    server.answers(...lookups(shown));
    const answer = await storeAt().import({ content, metadata, mark });
    expect(answer).toMatchObject({ id, metadata: { mark } });
    server.answers(...lookups({ ...shown, labels: [], custom_metadata: {} }));
    const error = await failed(storeAt().import({ content, metadata, mark }));
    expect(error).toMatchObject({ code: 'store_conflict', fields: { certificate: id } });
    expect(urls()).toEqual([
      'POST /api/v2/secrets',
      'GET /api/v2/secret_groups/default/secret_types/imported_cert/secrets/shop',
      'POST /api/v2/secrets',
      'GET /api/v2/secret_groups/default/secret_types/imported_cert/secrets/shop',
    ]);
  });

  it('finds what has its name in another group by a search', async () => {
    server.answers(failure(409, 'already exists'), failure(404, 'x'), page([{ ...shown, name: 'my-shop' }, shown]));
    expect((await storeAt().import({ content, metadata, mark })).id).toBe(id);
    expect(urls().at(-1)).toContain('/secrets?search=shop&secret_types=imported_cert');
  });

  it('does not take 400 for other reasons for a conflict', async () => {
    server.answers(failure(400, 'the certificate has expired'));
    expect((await failed(storeAt().import({ content, metadata, mark }))).code).toBe('store_content_refused');
  });

  it('says that an import may have been made where the making failed after the deletion', async () => {
    const destroyed = { ...shown, state: 5 };
    server.answers({ body: destroyed }, { status: 204 }, failure(503, 'x'));
    expect((await failed(storeAt().import({ content, metadata, mark, into: id }))).code).toBe('store_unanswered');
  });
});

describe('what it writes', () => {
  it('names no description that is too short, and every member of a version', async () => {
    server.answers({ status: 201, body: shown });
    await storeAt().import({ content, metadata: { ...metadata, name: '*.shop_1', description: '' }, mark });
    const sent = JSON.parse(server.requests[0]?.body ?? '');
    expect(sent).toMatchObject({ ...pem, name: 'star.shop-1', description: '--', labels: [label] });
    expect(sent.custom_metadata).toEqual({ certstandby: { mark: formatMark(mark), name: '*.shop_1' } });
  });

  it('updates as a merge patch, with all custom metadata, whether the service merges or replaces', async () => {
    const custom_metadata = { team: 'web', ...shown.custom_metadata };
    server.answers({ body: { ...shown, custom_metadata } }, { body: shown });
    await storeAt().updateMetadata(id, { ...metadata, name: 'my shop' }, undefined);
    const patch = server.requests[1];
    expect(patch).toMatchObject({ method: 'PATCH', headers: { 'content-type': 'application/merge-patch+json' } });
    expect(JSON.parse(patch?.body ?? '')).toEqual({
      ...{ name: 'my-shop', description: 'the shop', labels: [] },
      custom_metadata: { team: 'web', certstandby: { mark: null, name: 'my shop' } },
    });
  });

  it('makes a version where the content differs, and none where it is there', async () => {
    const other = parseContent(await testCertificate());
    server.answers({ body: { ...shown, ...pem } }, { body: { ...shown, ...pem } }, { status: 201, body: { id: 'v' } });
    await storeAt().reimport(id, content);
    expect(urls()).toEqual([`GET /api/v2/secrets/${id}`]);
    await storeAt().reimport(id, other);
    expect(urls().at(-1)).toBe(`POST /api/v2/secrets/${id}/versions`);
  });

  it('keeps to names that the service takes where readers look for them', async () => {
    const entry = { content, metadata: { ...metadata, name: 'my shop' }, mark, exactName: true };
    expect((await failed(storeAt().import(entry))).code).toBe('store_name_unfit');
    expect(server.requests).toHaveLength(0);
    server.answers({ status: 201, body: shown });
    await storeAt().import({ ...entry, metadata: { ...metadata, name: 'my_shop' } });
    expect(JSON.parse(server.requests[0]?.body ?? '').name).toBe('my_shop');
  });

  it('leaves a copy the name that readers look for when something else of it changes', async () => {
    const before = { ...shown, name: 'my_shop' };
    server.answers({ body: before }, { body: before });
    await storeAt().updateMetadata(id, { ...metadata, name: 'my_shop', description: 'changed' }, mark);
    expect(JSON.parse(server.requests[1]?.body ?? '')).toMatchObject({ name: 'my_shop', description: 'changed' });
  });
});

describe('where it asks', () => {
  const at = (options: Partial<SecretsManagerOptions>) =>
    reached({ instance: crn, credentials: new Secret('k'), runtime: systemRuntime, ...options }).host;

  it('is the host of the instance, public or private, or the endpoint', () => {
    const guid = '11111111-2222-3333-4444-555555555555';
    expect(at({})).toBe(`https://${guid}.eu-de.secrets-manager.appdomain.cloud`);
    expect(at({ private: true })).toBe(`https://${guid}.private.eu-de.secrets-manager.appdomain.cloud`);
    expect(at({ endpoint: 'https://mine.example.test/instances/x' })).toBe('https://mine.example.test/instances/x');
    expect(() => at({ endpoint: 'http://mine.example.test' })).toThrow('not https');
    expect(() => at({ instance: crn.replace('secrets-manager', 'cloudcerts') })).toThrow('not the CRN');
  });

  it('takes on a trusted profile by the token that its machine has, as it is now', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'certstandby-token-'));
    try {
      const token = join(folder, 'token');
      const base = {
        name: 'sm',
        kind: 'secrets-manager' as const,
        region: 'eu-de',
        instance: crn,
        computeToken: token,
      };
      const named = (profile: string) => {
        const options = optionsOf({ ...base, profile }, { runtime: systemRuntime, secret: () => new Secret('none') });
        return storeAt({ credentials: options.credentials });
      };
      expect(await named('standby').readMetadata(id)).toMatchObject({ error: { code: 'file_missing' } });
      writeFileSync(token, 'compute-token-1\n');
      server.answers({ body: shown }, { body: shown });
      await named('standby').readMetadata(id);
      writeFileSync(token, 'compute-token-2');
      await named('Profile-1').readMetadata(id);
      expect(server.exchanges.map(({ body }) => Object.fromEntries(new URLSearchParams(body)))).toEqual([
        {
          grant_type: 'urn:ibm:params:oauth:grant-type:cr-token',
          cr_token: 'compute-token-1',
          profile_name: 'standby',
        },
        {
          grant_type: 'urn:ibm:params:oauth:grant-type:cr-token',
          cr_token: 'compute-token-2',
          profile_id: 'Profile-1',
        },
      ]);
      server.iam({ status: 400, body: { errorCode: 'BXNIM0001E' } });
      const refused = await named('standby').readMetadata(id);
      expect(refused).toMatchObject({
        error: { code: 'store_unauthorized', remedy: expect.stringContaining('trusted profile standby') },
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('lists by offset', () => {
  const secret = (n: number, at = n) => ({
    ...shown,
    id: `aaaaaaaa-0000-4000-8000-${String(n).padStart(12, '0')}`,
    created_at: new Date(Date.UTC(2026, 0, 1) + at * 1_000).toISOString(),
  });
  const numbers = (listed: { readonly certificates: readonly { readonly id: string }[] }) =>
    listed.certificates.map((one) => Number(one.id.slice(-12)));

  it('pass over nothing that moved up because others were deleted meanwhile', async () => {
    const store = storeAt();
    server.answers(page([secret(1), secret(2), secret(3)], '?offset=3'));
    const first = await store.list({});
    // The first two are gone: what stood at 4 and 5 stands at 2 and 3 now, and 6 at the end.
    server.answers(page([secret(5), secret(6)]), page([secret(3), secret(4), secret(5), secret(6)]));
    const second = await store.list({ cursor: first.cursor ?? '' });
    expect([numbers(first), numbers(second)]).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(urls().map((url) => /offset=(\d+)/.exec(url)?.[1])).toEqual(['0', '2', '0']);
  });

  it('give each of many that were made in one moment once', async () => {
    const store = storeAt();
    server.answers(page([secret(1), secret(2, 2), secret(3, 2)], '?offset=3'));
    const first = await store.list({});
    server.answers(page([secret(3, 2), secret(4, 2), secret(5, 5)]));
    expect(numbers(await store.list({ cursor: first.cursor ?? '' }))).toEqual([4, 5]);
  });

  it('take no cursor of somebody else', async () => {
    expect((await failed(storeAt().list({ cursor: 'x' }))).code).toBe('store_refused');
  });
});

const blocks = (text: string) => text.split(/(?<=-----END CERTIFICATE-----\n)/).filter((block) => block.trim() !== '');

it('of a store whose groups travel doctor recalls that the other one needs the setting, too', async () => {
  const remarksOf = (carryGroups: boolean) =>
    secretsManagerDiagnosis({
      ...{ instance: crn, credentials: new Secret('the api key'), endpoint: server.url },
      ...{ runtime: systemRuntime, carryGroups },
    }).remarks?.();
  expect(await remarksOf(true)).toEqual([{ message: expect.stringContaining('says carryGroups: true, too') }]);
  expect(await remarksOf(false)).toEqual([]);
});
