import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { asCodedError } from '../../src/errors.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { accessOf } from '../../src/services/kubernetes/access.ts';
import { apiOf } from '../../src/services/kubernetes/api.ts';
import type { AccessConfig } from '../../src/services/kubernetes/settings.ts';
import { type KubernetesStoreOptions, kubernetesStore } from '../../src/services/kubernetes/store.ts';
import type { Store } from '../../src/store/store.ts';
import { storeContract } from '../store/contract.ts';
import { testCertificate } from '../support/certificates.ts';
import { type Cluster, endNamespace, requireKubernetes, startKubernetes } from './kube-apiserver.ts';

const programs = requireKubernetes();

let started: Promise<Cluster> | undefined;
/** One cluster for all suites here; each makes namespaces of its own. */
function theCluster(): Promise<Cluster> {
  started ??= startKubernetes(programs ?? '');
  return started;
}
afterAll(async () => (await started)?.close());

function storeAt(
  cluster: Cluster,
  options: Partial<KubernetesStoreOptions> & { readonly access?: AccessConfig },
): Store {
  const { access, ...given } = options;
  const by: AccessConfig = access ?? {
    by: 'token',
    server: cluster.url,
    ca: cluster.trustFile,
    token: new Secret(cluster.tokens.admin),
  };
  const api = apiOf(accessOf(by, { runtime, secret: (secret) => secret as Secret }), runtime);
  return kubernetesStore({ id: 'test', region: 'cluster', api, runtime, ...given });
}

const lacks = {
  uniqueNames: 'a name is an annotation; the name of the secret is made of the mark',
  same: 'it gives back what it was given',
  lag: 'reads are of the latest state',
  silentListings: 'a listing has the revision of each secret',
  longWrites: 'what is answered is done',
  deleted: 'what is deleted is gone, or, where finalizers hold it, present',
  'half-made': 'mark and content go in one request',
  store_quota_used_up: 'a ResourceQuota counts secrets that are made, and no change of one',
  store_in_use: 'it does not know who uses a secret',
};

const contentOf = async (...options: Parameters<typeof testCertificate>) =>
  parseContent(await testCertificate(...options));

/** A chain of more bytes than a secret holds. */
async function oversized(): Promise<CertificateContent> {
  const content = await contentOf();
  return { ...content, chain: Array.from({ length: 2_000 }, () => content.chain[0] ?? content.leaf) };
}

describe.skipIf(programs === undefined)('the store contract on a real API server', () => {
  for (const [title, count] of [
    ['one namespace', 1],
    ['two namespaces', 2],
    ['all namespaces', 0],
  ] as const)
    storeContract(
      `kubernetes, ${title}`,
      async () => {
        // Who asks all of a cluster sees what the others made in it.
        const own = count === 0 ? await startKubernetes(programs ?? '') : undefined;
        const cluster = own ?? (await theCluster());
        const names = await Promise.all(Array.from({ length: count }, () => cluster.namespace()));
        const into = names[0] ?? (await cluster.namespace());
        const namespaces = count === 0 ? {} : { namespaces: names };
        const store = storeAt(cluster, { ...namespaces, into, pageSize: 3 });
        const path = (id: string) => `/api/v1/namespaces/${id.replace('/', '/secrets/')}`;
        return {
          store,
          close: async () => own?.close(),
          unknownId: `${into}/nothing-here`,
          refusedContent: oversized,
          vacate: {
            async empty(id) {
              const empty = { data: { 'tls.crt': '', 'tls.key': '' } };
              await cluster.ask('PATCH', path(id), empty, { contentType: 'application/merge-patch+json' });
            },
          },
          refusing: {
            async store_held(id) {
              const patch = { contentType: 'application/merge-patch+json' };
              const held = await cluster.ask('PATCH', path(id), { immutable: true }, patch);
              return async () => {
                // Nobody can take it back: it is made anew.
                await cluster.ask('DELETE', path(id));
                const { name, labels, annotations } = held.metadata;
                const body = { metadata: { name, labels, annotations }, type: held.type, data: held.data };
                await cluster.ask('POST', path(id).replace(/\/[^/]+$/, ''), body);
              };
            },
          },
        };
      },
      { lacks },
    );
});

describe.skipIf(programs === undefined)('a store in a real cluster', () => {
  let cluster: Cluster;
  let content: CertificateContent;
  beforeAll(async () => {
    cluster = await theCluster();
    content = await contentOf();
  });
  const metadata = { name: 'shop', description: '', tags: [] };
  const mark = { store: 'primary', certificate: 'one' };

  it.each(['token', 'token file', 'client certificate', 'client certificate in the file', 'exec plugin'])(
    'logs in by kubeconfig, with a %s',
    async (way) => {
      const namespace = await cluster.namespace();
      const { certificate, key } = cluster.clientCertificate('someone', 'system:masters');
      const { readFileSync, writeFileSync } = await import('node:fs');
      const data = (path: string) => readFileSync(path).toString('base64');
      writeFileSync(`${cluster.folder}/token`, `${cluster.tokens.admin}\n`, { mode: 0o600 });
      const answer = JSON.stringify({
        apiVersion: 'client.authentication.k8s.io/v1',
        kind: 'ExecCredential',
        status: { token: cluster.tokens.admin, expirationTimestamp: new Date(Date.now() + 60_000).toISOString() },
      });
      const users: Record<string, object> = {
        token: { token: cluster.tokens.admin },
        'token file': { tokenFile: 'token' },
        'client certificate': { 'client-certificate': certificate, 'client-key': key },
        'client certificate in the file': {
          'client-certificate-data': data(certificate),
          'client-key-data': data(key),
        },
        'exec plugin': {
          exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'printf', args: ['%s', answer] },
        },
      };
      const path = cluster.kubeconfig(users[way] ?? {});
      const access = { by: 'kubeconfig', path, exec: way === 'exec plugin' } as const;
      const store = storeAt(cluster, { namespaces: [namespace], access });
      const { id } = await store.import({ content, metadata, mark, token: 'one' });
      expect(await store.readMetadata(id)).toMatchObject({ state: 'present', value: { name: 'shop', mark } });
    },
  );

  it('tells of a namespace that is missing by its name, and of nothing in it as absent', async () => {
    const store = storeAt(cluster, { namespaces: ['never-made'] });
    const error = { code: 'store_root_unusable', message: 'the namespace never-made is not there' };
    expect(await store.read('never-made/shop')).toMatchObject({ state: 'unreadable', error });
    await expect(store.list({})).rejects.toMatchObject(error);
    await expect(store.findByMark?.(mark)).rejects.toMatchObject(error);
    await expect(store.identity?.()).rejects.toMatchObject(error);
    await expect(store.import({ content, metadata, mark, token: 'one' })).rejects.toMatchObject({
      code: 'store_root_unusable',
    });
    await expect(store.delete('never-made/shop')).rejects.toMatchObject(error);
  });

  it('believes no absence in a namespace that is ending', async () => {
    const namespace = await cluster.namespace();
    const store = storeAt(cluster, { namespaces: [namespace] });
    await cluster.ask('DELETE', `/api/v1/namespaces/${namespace}`);
    const error = { code: 'store_root_unusable', message: `the namespace ${namespace} is being deleted` };
    expect(await store.read(`${namespace}/shop`)).toMatchObject({ state: 'unreadable', error });
    const thrown = asCodedError(await store.import({ content, metadata, mark, token: 'one' }).catch((e) => e));
    expect(thrown.code).toBe('store_root_unusable');
    expect(thrown.remedy).toContain('is being deleted');
  });

  it('has the same identity as long as the namespace is the same one, and another one when it was made anew', async () => {
    const namespace = await cluster.namespace();
    const store = storeAt(cluster, { namespaces: [namespace] });
    const first = await store.identity?.();
    await endNamespace(cluster, namespace);
    await cluster.namespace(namespace);
    expect(await store.identity?.()).not.toBe(first);
  });

  it('puts a copy where its original lies, and under its very name where readers look for that', async () => {
    const [one, two] = [await cluster.namespace(), await cluster.namespace()];
    const store = storeAt(cluster, { namespaces: [one, two] });
    const ofCluster = (certificate: string) => ({ store: 'kubernetes:other', certificate });
    const exact = { content, metadata: { ...metadata, name: 'shop-tls' }, token: 'x', exactName: true };
    expect((await store.import({ ...exact, mark: ofCluster(`${two}/shop-tls`) })).id).toBe(`${two}/shop-tls`);
    await expect(store.import({ ...exact, mark: ofCluster(`elsewhere/shop-tls`) })).rejects.toMatchObject({
      fields: { remedy: 'Say into: <namespace> below the store.' },
    });
    await expect(
      store.import({ ...exact, metadata: { ...metadata, name: '*.example.com' }, mark: ofCluster(`${two}/wild`) }),
    ).rejects.toMatchObject({ code: 'store_name_unfit' });
    const derived = await store.import({ content, metadata, mark: ofCluster(`${one}/shop-tls`), token: 'y' });
    expect(derived.id).toMatch(new RegExp(`^${one}/shop-tls-[0-9a-f]{16}$`));
    expect(fingerprintOf(await readContent(store, derived.id))).toBe(fingerprintOf(content));
  });

  it('leaves alone what it did not make, and says whose it is', async () => {
    const namespace = await cluster.namespace();
    const store = storeAt(cluster, { namespaces: [namespace] });
    const data = { 'tls.crt': '', 'tls.key': '' };
    const make = (name: string, more: object = {}) =>
      cluster.ask('POST', `/api/v1/namespaces/${namespace}/secrets`, {
        metadata: { name, ...more },
        type: 'kubernetes.io/tls',
        data,
      });
    await make('by-hand');
    await make('issued', { annotations: { 'cert-manager.io/certificate-name': 'shop' } });
    await make('owned', { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: 'y' }] });
    for (const name of ['by-hand', 'issued', 'owned']) {
      const id = `${namespace}/${name}`;
      await expect(store.reimport(id, content)).rejects.toMatchObject({ code: 'store_refused' });
      await expect(store.delete(id)).rejects.toMatchObject({ code: 'store_refused' });
      const taken = store.import({ content, metadata: { ...metadata, name }, mark, token: 'z', exactName: true });
      await expect(taken).rejects.toMatchObject({ code: 'store_conflict', fields: { certificate: id } });
    }
    await expect(store.updateMetadata(`${namespace}/issued`, metadata, mark)).rejects.toMatchObject({
      code: 'store_refused',
      message: `${namespace}/issued is cert-manager's, and would be written over`,
    });
    await expect(store.updateMetadata(`${namespace}/owned`, metadata, mark)).rejects.toMatchObject({
      message: `${namespace}/owned is ConfigMap x's, and would be written over`,
    });
  });

  it('has a quota that is used up told as that', async () => {
    const namespace = await cluster.namespace();
    const store = storeAt(cluster, { namespaces: [namespace] });
    const quotas = `/api/v1/namespaces/${namespace}/resourcequotas`;
    const quota = await cluster.ask('POST', quotas, { metadata: { name: 'few' }, spec: { hard: { secrets: '0' } } });
    // There is no controller here that would count.
    const status = { hard: { secrets: '0' }, used: { secrets: '0' } };
    await cluster.ask('PUT', `${quotas}/few/status`, { ...quota, status });
    await expect
      .poll(async () => {
        const made = await store.import({ content, metadata, mark }).catch((thrown: unknown) => asCodedError(thrown));
        return 'code' in made ? made.code : made.id;
      })
      .toBe('store_quota_used_up');
  });

  it('reads and writes ca.crt where that is said, as the end of the chain', async () => {
    const namespace = await cluster.namespace();
    const withRoot = await contentOf({ includeRoot: true });
    const store = storeAt(cluster, { namespaces: [namespace], caCrt: true });
    const { id } = await store.import({ content: withRoot, metadata, mark, token: 'ca' });
    const kept = await cluster.ask('GET', `/api/v1/namespaces/${id.replace('/', '/secrets/')}`);
    expect(Object.keys(kept.data).toSorted()).toEqual(['ca.crt', 'tls.crt', 'tls.key']);
    expect(fingerprintOf(await readContent(store, id))).toBe(fingerprintOf(withRoot));
    const without = storeAt(cluster, { namespaces: [namespace] });
    expect((await readContent(without, id)).chain).toHaveLength(withRoot.chain.length - 1);
    await store.reimport(id, content);
    const after = await cluster.ask('GET', `/api/v1/namespaces/${id.replace('/', '/secrets/')}`);
    expect(Object.keys(after.data).toSorted()).toEqual(['tls.crt', 'tls.key']);
  });

  it('keeps what people added to a copy, and nothing of a mark that is gone', async () => {
    const namespace = await cluster.namespace();
    const store = storeAt(cluster, { namespaces: [namespace] });
    const { id } = await store.import({ content, metadata, mark, token: 'keep' });
    const path = `/api/v1/namespaces/${id.replace('/', '/secrets/')}`;
    const added = {
      metadata: { labels: { team: 'web' }, annotations: { note: 'mine' } },
      data: { 'more.txt': 'eA==' },
    };
    await cluster.ask('PATCH', path, added, { contentType: 'application/merge-patch+json' });
    await store.reimport(id, await contentOf());
    await store.updateMetadata(id, metadata, undefined);
    const after = await cluster.ask('GET', path);
    expect(after.metadata.labels).toEqual({ team: 'web' });
    expect(after.metadata.annotations).toMatchObject({ note: 'mine', 'certstandby/name': 'shop' });
    expect(after.metadata.annotations['certstandby/mark']).toBeUndefined();
    expect(after.data['more.txt']).toBe('eA==');
  });

  it('waits with an import while finalizers hold the copy before it, which is present until then', async () => {
    const namespace = await cluster.namespace();
    const store = storeAt(cluster, { namespaces: [namespace] });
    const entry = { content, metadata, mark, token: 'held' };
    const { id } = await store.import(entry);
    const path = `/api/v1/namespaces/${id.replace('/', '/secrets/')}`;
    const patch = { contentType: 'application/merge-patch+json' };
    await cluster.ask('PATCH', path, { metadata: { finalizers: ['example.test/hold'] } }, patch);
    await store.delete(id);
    expect(await store.readMetadata(id)).toMatchObject({ state: 'present', value: { status: 'deleting' } });
    await expect(store.import(entry)).rejects.toMatchObject({
      code: 'store_unavailable',
      message: `${id} is being deleted, and held by example.test/hold`,
    });
    await cluster.ask('PATCH', path, { metadata: { finalizers: null } }, patch);
    expect(await store.readMetadata(id)).toEqual({ state: 'absent' });
    expect((await store.import(entry)).id).toBe(id);
  });

  it('lists and reads only what the selector of a primary selects', async () => {
    const namespace = await cluster.namespace();
    const writer = storeAt(cluster, { namespaces: [namespace] });
    const { id: copy } = await writer.import({ content, metadata, mark, token: 'one' });
    const kept = await cluster.ask('GET', `/api/v1/namespaces/${copy.replace('/', '/secrets/')}`);
    for (const [name, labels] of [
      ['chosen', { sync: 'yes' }],
      ['other', {}],
    ] as const)
      await cluster.ask('POST', `/api/v1/namespaces/${namespace}/secrets`, {
        metadata: { name, labels },
        type: 'kubernetes.io/tls',
        data: kept.data,
      });
    const store = storeAt(cluster, { namespaces: [namespace], labelSelector: 'sync in (yes, please)' });
    expect((await store.list({})).certificates.map(({ id }) => id)).toEqual([`${namespace}/chosen`]);
    expect((await store.read(`${namespace}/chosen`)).state).toBe('present');
    expect((await store.read(`${namespace}/other`)).state).toBe('absent');
    await expect(store.import({ content, metadata, mark: { ...mark, certificate: 'two' } })).rejects.toMatchObject({
      code: 'configuration_invalid',
    });
  });
});

async function readContent(store: Store, id: string): Promise<CertificateContent> {
  const found = await store.read(id);
  if (found.state !== 'present') throw new Error(`${id} is ${found.state}: ${JSON.stringify(found)}`);
  return found.value.content;
}
