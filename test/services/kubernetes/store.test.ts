import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { asCodedError } from '../../../src/errors.ts';
import { markDigest, storeDigest } from '../../../src/store/mark.ts';
import type { Store } from '../../../src/store/store.ts';
import { type ScriptedServer, type Step, startScriptedServer } from '../../store/scripted-server.ts';
import { testCertificate } from '../../support/certificates.ts';
import { absent, failure, listOf, namespaceStep, noNamespace, secretOf, storeAt } from './objects.ts';

let server: ScriptedServer;
let content: CertificateContent;
const mark = { store: 'primary', certificate: 'one' };
const metadata = { name: 'shop', description: '', tags: [] };
const id = 'web/shop-tls';
const ours = { annotations: { 'certstandby/name': 'shop' } };
const secrets = '/api/v1/namespaces/web/secrets';

beforeAll(async () => {
  content = parseContent(await testCertificate());
});
beforeEach(async () => {
  server = await startScriptedServer();
});
afterEach(() => server.close());

const sent = () => server.requests.map(({ method, url }) => `${method} ${decodeURIComponent(url)}`);
const bodyOf = (index: number) => JSON.parse(server.requests[index]?.body ?? '');
const codeOf = (call: Promise<unknown> | undefined) =>
  Promise.resolve(call).then(
    () => 'succeeded',
    (thrown: unknown) => asCodedError(thrown).code,
  );

describe('requests', () => {
  it('says who else keeps a secret, and of a copy of ours nobody', async () => {
    const { metadata: object } = await secretOf();
    const annotations = { 'cert-manager.io/certificate-name': 'shop' };
    const owned = { ...object, name: 'b', ownerReferences: [{ kind: 'Route', name: 'shop' }] };
    const copy = { ...object, name: 'c', annotations: { ...annotations, 'certstandby/name': 'c' } };
    server.answers(
      listOf([{ metadata: { ...object, name: 'a', annotations } }, { metadata: owned }, { metadata: copy }]),
      namespaceStep(),
    );
    const { certificates } = await storeAt(server.url).list({});
    expect(certificates.map(({ keptBy }) => keptBy)).toEqual(['cert-manager', 'Route shop', undefined]);
  });

  it('lists without content, in pages, by type', async () => {
    const { metadata: object } = await secretOf();
    server.answers(listOf([{ metadata: object }], { continue: 'next' }), listOf([]), namespaceStep());
    const store = storeAt(server.url, { pageSize: 3 });
    const first = await store.list({});
    expect(first.certificates).toMatchObject([{ id, name: 'shop-tls', domains: [], domainsUnknown: true }]);
    const second = await store.list({ cursor: first.cursor ?? '' });
    expect(second.cursor).toBeUndefined();
    expect(sent()).toEqual([
      `GET ${secrets}?limit=3&fieldSelector=type=kubernetes.io/tls`,
      `GET ${secrets}?limit=3&fieldSelector=type=kubernetes.io/tls&continue=next`,
      'GET /api/v1/namespaces/web',
    ]);
    expect(server.requests[0]?.headers).toMatchObject({
      authorization: 'Bearer the-token',
      accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    });
  });

  it('goes on with a listing that began too long ago, as the server says', async () => {
    const expired = {
      status: 410,
      body: { kind: 'Status', code: 410, reason: 'Expired', metadata: { continue: 'fresh' } },
    };
    server.answers(expired, listOf([]), namespaceStep());
    await storeAt(server.url).list({ cursor: JSON.stringify({ index: 0, from: 'old' }) });
    expect(sent()[1]).toContain('continue=fresh');
  });

  it.each([
    ['it cannot be understood how to go on', { metadata: { resourceVersion: '10', continue: 7 }, items: [] }],
    ['nothing is said of the listing', { items: [] }],
    ['there are no items', { metadata: { resourceVersion: '10' } }],
  ])('takes a page for no page, and so nothing for absent, where %s', async (_, body) => {
    server.answers({ body: { kind: 'PartialObjectMetadataList', ...body } }, namespaceStep());
    expect(await codeOf(storeAt(server.url).list({}))).toBe('store_nonsense');
  });

  it('lists all namespaces by one request where it is all of them', async () => {
    server.answers(listOf([]));
    const { namespaces: _none, ...all } = { namespaces: undefined };
    const store = storeAt(server.url, { ...all, namespaces: undefined as never });
    await store.list({});
    expect(sent()).toEqual(['GET /api/v1/secrets?limit=500&fieldSelector=type=kubernetes.io/tls']);
  });

  it('makes a copy in one request, with its mark, its label and nothing of anybody else', async () => {
    server.answers((request, response) => {
      const made = JSON.parse(request.body);
      const answer = { ...made, metadata: { ...made.metadata, uid: 'u', resourceVersion: '5' } };
      response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
    const answer = await storeAt(server.url).import({ content, metadata, mark, token: 't' });
    const name = `one-${markDigest(mark).slice(0, 16)}`;
    expect(answer).toMatchObject({
      id: `web/${name}`,
      metadata: { mark, revision: 'u:5', domains: ['shop.example.test'] },
    });
    expect(sent()).toEqual([`POST ${secrets}?fieldManager=certstandby`]);
    const { metadata: given, data, ...rest } = bodyOf(0);
    expect(rest).toEqual({ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls' });
    expect(Object.keys(data)).toEqual(['tls.crt', 'tls.key']);
    expect(given.labels).toEqual({
      'certstandby/mark': markDigest(mark),
      'certstandby/primary': storeDigest('primary'),
    });
    expect(Object.keys(given.annotations).toSorted()).toEqual(
      ['certstandby/facts', 'certstandby/mark', 'certstandby/name'].toSorted(),
    );
    expect(Object.keys(given).toSorted()).toEqual(['annotations', 'labels', 'name', 'namespace']);
  });

  it('replaces a copy whole, with the version that was read, and keeps what others added', async () => {
    const secret = await secretOf({
      metadata: { ...ours, resourceVersion: '7', labels: { team: 'web' }, managedFields: [{ manager: 'x' }] },
      immutable: false,
    });
    secret.data = { ...secret.data, 'more.txt': 'eA==' } as never;
    server.answers({ body: secret }, { body: secret });
    await storeAt(server.url).reimport(id, content);
    expect(sent()).toEqual([`GET ${secrets}/shop-tls`, `PUT ${secrets}/shop-tls?fieldManager=certstandby`]);
    const put = bodyOf(1);
    expect(put.metadata).toMatchObject({
      resourceVersion: '7',
      labels: { team: 'web' },
      managedFields: [{ manager: 'x' }],
    });
    expect(put.data['more.txt']).toBe('eA==');
  });

  it('replaces a copy that nobody else ever wrote to without a read of its content before', async () => {
    const managed = (...managers: string[]) => ({ managedFields: managers.map((manager) => ({ manager })) });
    const secret = await secretOf({ metadata: { ...ours, ...managed('certstandby'), resourceVersion: '7' } });
    const store = storeAt(server.url);
    server.answers({ body: { metadata: secret.metadata } }, { body: secret });
    await store.readMetadata(id);
    server.answers({ body: secret });
    await store.reimport(id, content);
    expect(sent().slice(2)).toEqual([`PUT ${secrets}/shop-tls?fieldManager=certstandby`]);
    expect(bodyOf(2).metadata).toMatchObject({ resourceVersion: '7', annotations: { 'certstandby/name': 'shop' } });
    // Where somebody came between, or ever wrote to it, it is read first, and what they did stays.
    const touched = await secretOf({ metadata: { ...ours, ...managed('certstandby', 'kubectl') } });
    server.answers({ body: { metadata: touched.metadata } }, { body: touched }, { body: touched }, { body: touched });
    await store.readMetadata(id);
    await store.reimport(id, content);
    expect(
      sent()
        .slice(5)
        .map((line) => line.slice(0, 3)),
    ).toEqual(['GET', 'PUT']);
    server.answers({ body: { metadata: secret.metadata } }, failure(409, 'Conflict', 'modified'));
    server.answers({ body: touched }, { body: touched });
    await store.readMetadata(id);
    await store.reimport(id, content);
    expect(
      sent()
        .slice(8)
        .map((line) => line.slice(0, 3)),
    ).toEqual(['PUT', 'GET', 'PUT']);
  });

  it('looks again where somebody came between, three times in all', async () => {
    const secret = await secretOf({ metadata: ours });
    const conflict = failure(409, 'Conflict', 'the object has been modified');
    server.answers({ body: secret }, conflict, { body: secret }, conflict, { body: secret }, conflict);
    const thrown = asCodedError(
      await storeAt(server.url)
        .reimport(id, content)
        .catch((error) => error),
    );
    expect(thrown.code).toBe('store_conflict');
    expect(thrown.remedy).toContain('Somebody else writes to this secret again and again');
    expect(server.requests).toHaveLength(6);
  });

  it('removes what it looked at, and nothing that came in its place', async () => {
    const secret = await secretOf({ metadata: { ...ours, uid: 'u-7', resourceVersion: '7' } });
    server.answers({ body: secret }, failure(409, 'Conflict', 'uid'), { body: secret }, { body: { kind: 'Status' } });
    await storeAt(server.url).delete(id);
    expect(sent().filter((line) => line.startsWith('DELETE'))).toHaveLength(2);
    expect(bodyOf(1)).toMatchObject({ preconditions: { uid: 'u-7', resourceVersion: '7' } });
  });

  it('takes what is there already for its own only by its mark', async () => {
    const taken = failure(409, 'AlreadyExists', 'already exists');
    const other = await secretOf({ metadata: { annotations: { 'certstandby/name': 'x' } } });
    const made: Step = (request, response) => {
      const body = JSON.parse(request.body);
      const answer = { ...body, metadata: { ...body.metadata, uid: 'u', resourceVersion: '1' } };
      response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    };
    server.answers(taken, { body: other }, made);
    const answer = await storeAt(server.url).import({ content, metadata, mark, token: 't' });
    expect(answer.id).toMatch(/^web\/one-[0-9a-f]{16}-[0-9a-f]{8}$/);
  });

  it('knows a copy by its labels where the annotation is gone', async () => {
    const labels = { 'certstandby/mark': markDigest(mark), 'certstandby/primary': storeDigest('primary') };
    const { metadata: object } = await secretOf({ metadata: { labels } });
    server.answers(listOf([{ metadata: object }]), namespaceStep());
    expect(await storeAt(server.url).findByMark?.(mark)).toMatchObject([
      { id, mark: { digest: markDigest(mark), storeDigest: storeDigest('primary') } },
    ]);
    expect(sent()[0]).toContain(`labelSelector=certstandby/mark=${markDigest(mark)}`);
  });
});

describe('what is absent', () => {
  it('is a secret that is not in a namespace that is there', async () => {
    server.answers(absent, namespaceStep());
    expect(await storeAt(server.url).read(id)).toEqual({ state: 'absent' });
  });

  it.each([
    ['the namespace is missing', noNamespace, 'store_root_unusable'],
    ['the namespace is ending', namespaceStep({ deletionTimestamp: '2026-11-30T00:00:00Z' }), 'store_root_unusable'],
    [
      'nobody may ask for the namespace',
      failure(403, 'Forbidden', 'User "x" cannot get resource "namespaces"'),
      'store_unauthorized',
    ],
    ['the server ends in between', { status: 503 }, 'store_unavailable'],
  ])('is nothing where %s', async (_, answer, code) => {
    const store = storeAt(server.url);
    server.answers(absent, answer);
    expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code } });
    server.answers(listOf([]), answer);
    expect(await codeOf(store.list({}))).toBe(code);
    server.answers(listOf([]), answer);
    expect(await codeOf(store.findByMark?.(mark))).toBe(code);
    server.answers(absent, answer);
    expect(await codeOf(store.delete(id))).toBe(code);
    server.answers(absent, answer);
    expect(await codeOf(store.reimport(id, content))).toBe(code);
  });

  it('is, in a store that is a whole cluster, what was in a namespace that is gone, if the cluster proves itself', async () => {
    const store = storeAt(server.url, { namespaces: undefined as never });
    server.answers(absent, noNamespace, namespaceStep({ uid: 'k-1' }));
    expect(await store.read(id)).toEqual({ state: 'absent' });
    expect(sent().at(-1)).toBe('GET /api/v1/namespaces/kube-system');
    const refused = failure(403, 'Forbidden', 'User "x" cannot get resource "namespaces"');
    server.answers(absent, noNamespace, refused);
    expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_root_unusable' } });
    server.answers(absent, namespaceStep({ deletionTimestamp: '2026-11-30T00:00:00Z' }));
    expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_root_unusable' } });
  });

  it('is nothing that another program answers with 404', async () => {
    server.answers({ status: 404, body: '404 page not found' });
    expect(await storeAt(server.url).read(id)).toMatchObject({
      state: 'unreadable',
      error: { code: 'store_nonsense' },
    });
    expect(server.requests).toHaveLength(1);
  });

  it.each(['other/shop-tls', 'shop-tls', 'web/a/b', 'web/../x', 'web/UPPER', `web/${'x'.repeat(254)}`])(
    'is "%s", which can be no secret of these namespaces, without a request',
    async (unknown) => {
      const store = storeAt(server.url);
      expect(await store.read(unknown)).toEqual({ state: 'absent' });
      expect(await store.readMetadata(unknown)).toEqual({ state: 'absent' });
      expect(await codeOf(store.reimport(unknown, content))).toBe('store_gone');
      expect(server.requests).toEqual([]);
    },
  );
});

describe('what an API server refuses', () => {
  const rbac = 'secrets is forbidden: User "x" cannot create resource "secrets" in API group "" in the namespace "web"';
  it.each([
    [401, failure(401, 'Unauthorized', 'Unauthorized'), 'store_unauthorized', 'does not take these credentials'],
    ['403 of RBAC', failure(403, 'Forbidden', rbac), 'store_unauthorized', 'verbs: [create]'],
    ['403 of a quota', failure(403, 'Forbidden', 'exceeded quota: few'), 'store_quota_used_up', 'ResourceQuota'],
    ['403 of a policy', failure(403, 'Forbidden', 'denied by policy'), 'store_refused', 'admission policy'],
    [
      '403 of a namespace that is ending',
      failure(403, 'Forbidden', 'being terminated', { causes: [{ reason: 'NamespaceTerminating', message: '' }] }),
      'store_root_unusable',
      'is being deleted',
    ],
    ['404 of a namespace', noNamespace, 'store_root_unusable', 'kubectl create namespace web'],
    [413, failure(413, 'RequestEntityTooLarge', 'limit is 3145728'), 'store_content_refused', ''],
    [422, failure(422, 'Invalid', 'Too long'), 'store_content_refused', ''],
    [429, failure(429, 'TooManyRequests', 'too many'), 'store_limited', ''],
    [500, failure(500, 'InternalError', 'etcdserver: request timed out'), 'store_unanswered', ''],
    [503, { status: 503, body: 'upstream' }, 'store_unanswered', ''],
    [302, { status: 302 }, 'store_nonsense', ''],
  ] as const)('is told by its cause: %s', async (_, answer, code, remedy) => {
    server.answers(answer, answer);
    const thrown = asCodedError(
      await storeAt(server.url)
        .import({ content, metadata, mark })
        .catch((error) => error),
    );
    expect(thrown.code).toBe(code);
    expect(thrown.remedy).toContain(remedy);
    expect(JSON.stringify([thrown.message, thrown.fields])).not.toMatch(/PRIVATE KEY|the-token/);
  });

  it('is an immutable copy, before anything is sent', async () => {
    const secret = await secretOf({ metadata: ours, immutable: true });
    const store = storeAt(server.url);
    for (const call of [() => store.reimport(id, content), () => store.delete(id)]) {
      server.answers({ body: secret });
      expect(await codeOf(call())).toBe('store_held');
    }
    expect(sent().every((line) => line.startsWith('GET'))).toBe(true);
  });
});

describe('a secret that is no certificate', () => {
  it('of another type is there, and told by its type', async () => {
    server.answers({ body: await secretOf({ type: 'Opaque' }) });
    const found = await storeAt(server.url).read(id);
    expect(found).toMatchObject({
      state: 'unreadable',
      error: { code: 'store_layout_unknown', message: `${id} is a secret of type Opaque, not kubernetes.io/tls` },
    });
  });

  it.each([
    ['without values', {}],
    ['with empty values, as tools make it to be filled', { 'tls.crt': '', 'tls.key': '' }],
  ])('%s is occupied and empty, in reads, and in listings once it was read', async (_, data) => {
    const secret = await secretOf({ data });
    const store = storeAt(server.url);
    server.answers({ body: secret });
    expect(await store.read(id)).toMatchObject({ state: 'vacant', why: 'empty' });
    server.answers(listOf([{ metadata: secret.metadata }]), namespaceStep());
    expect(await store.list({})).toMatchObject({ certificates: [], vacant: [{ id, why: 'empty' }] });
  });

  it('with text that is no PEM is unreadable, and its name is known all the same', async () => {
    const secret = await secretOf({ data: { 'tls.crt': 'eA==', 'tls.key': '' } });
    const store = storeAt(server.url);
    server.answers({ body: secret });
    expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_content_unreadable' } });
    server.answers({ body: { metadata: secret.metadata } }, { body: secret });
    expect(await store.readMetadata(id)).toMatchObject({ state: 'present', value: { id, name: 'shop-tls' } });
  });

  it('keeps no other from being listed, whatever the server says of it', async () => {
    const { metadata: object } = await secretOf();
    server.answers(listOf([{ metadata: { name: 7 } }, { metadata: object }]), namespaceStep());
    const page = await storeAt(server.url).list({});
    expect(page.certificates.map((one) => one.id)).toEqual([id]);
    expect(page.unreadable).toHaveLength(1);
  });
});

describe('identity', () => {
  const many = (store: Store) => store.identity?.();

  it('is the uid of each namespace, and of kube-system for a whole cluster, where it may be read', async () => {
    server.answers(namespaceStep());
    expect(await many(storeAt(server.url))).toBe('web=u-1');
    server.answers(namespaceStep({ uid: 'k-1' }), failure(403, 'Forbidden', 'User "x" cannot get resource'));
    const all = storeAt(server.url, { namespaces: undefined as never });
    expect(await many(all)).toBe('cluster=k-1');
    expect(await many(all)).toBeUndefined();
    expect(sent()[1]).toBe('GET /api/v1/namespaces/kube-system');
  });

  it('of many namespaces is a digest that stays short', async () => {
    const namespaces = Array.from({ length: 60 }, (_, index) => `n-${index}`);
    server.answers(...namespaces.map(() => namespaceStep()), ...namespaces.map(() => namespaceStep()));
    const store = storeAt(server.url, { namespaces, into: 'n-0' });
    const first = await many(store);
    expect(first).toMatch(/^namespaces=[0-9a-f]{32}$/);
    expect(await many(store)).toBe(first);
  });
});
