import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { expired, mismatchedKey, testCertificate } from '../support/certificates.ts';
import { type Cluster, certManager, issueAsCertManager, requireKubernetes, startKubernetes } from './kube-apiserver.ts';
import { fingerprintAt, program, reach, storeAt } from './kubernetes-program.ts';

/**
 * What happened to people with other tools, by the numbers of the table below (projects and issues
 * on GitHub), and content that nobody wants copied. Each on two namespaces of a real cluster.
 *
 * | 1 | mittwald/kubernetes-replicator#11, #23 | | 2 | mittwald/kubernetes-replicator#40 | | 3 |
 * mittwald/kubernetes-replicator#356, emberstack/kubernetes-reflector#324 | | 4 |
 * emberstack/kubernetes-reflector#166 | | 5 | emberstack/kubernetes-reflector#88, #150 | | 6 |
 * emberstack/kubernetes-reflector#138 | | 7 | config-syncer/config-syncer#533, #486 | | 8 |
 * zakkg3/ClusterSecret#146, 1Password/onepassword-operator#96, mittwald/kubernetes-replicator#290 |
 * | 9 | cert-manager#6714, #8380, #6992 | | 10 | opensearch-project/opensearch-k8s-operator#942 | |
 * 11 | Infisical/kubernetes-operator#114 | | 12 | kubernetes-client/javascript#364, #596, #958,
 * #1496, #1933 | | 13 | falcosecurity/falco#1781, citizensadvice/kube-schedule-scaler#8 |
 *
 * 5 and 12 are tests of test/services/kubernetes/watch.test.ts, 13 is one of access.test.ts there.
 */
const programs = requireKubernetes();

const base64 = (text: string) => Buffer.from(text).toString('base64');
const dataOf = ({ certificate, intermediate = '', privateKey }: CertificatePem) => ({
  'tls.crt': base64(certificate + intermediate),
  'tls.key': base64(privateKey?.reveal() ?? ''),
});
const merge = { contentType: 'application/merge-patch+json' };

describe.skipIf(programs === undefined)('pitfalls', () => {
  let cluster: Cluster;
  const opened: { remove(): void }[] = [];
  beforeAll(async () => {
    cluster = await startKubernetes(programs ?? '');
  });
  afterAll(async () => {
    for (const { remove } of opened) remove();
    await cluster?.close();
  });

  /** A link from one namespace to another, and what is in them. */
  async function link(more = '') {
    const [from, to] = [await cluster.namespace(), await cluster.namespace()];
    const run = program(
      [cluster],
      () => `stores:
  from: { kind: kubernetes, id: ${from}, namespaces: [${from}], ${reach(cluster)} }
  to: { kind: kubernetes, id: ${to}, namespaces: [${to}], ${reach(cluster)} }
links: { web: { primary: from, backups: [to]${more} } }
`,
    );
    opened.push(run);
    const at = (namespace: string, name = '') => `/api/v1/namespaces/${namespace}/secrets${name && `/${name}`}`;
    return {
      from,
      to,
      run: run.run,
      reconcile: () => run.run('reconcile'),
      /** Makes or replaces a secret in the primary. */
      put: (name: string, data: object, metadata: object = {}) =>
        cluster.ask(
          'PATCH',
          `${at(from, name)}?fieldManager=somebody&force=true`,
          {
            apiVersion: 'v1',
            kind: 'Secret',
            metadata: { name, ...metadata },
            type: 'kubernetes.io/tls',
            data,
          },
          { contentType: 'application/apply-patch+yaml' },
        ),
      copies: async () => (await cluster.ask('GET', at(to))).items,
      path: at,
      original: (name: string) => fingerprintAt(storeAt(cluster, [from]), `${from}/${name}`),
      copy: (name: string) => fingerprintAt(storeAt(cluster, [to]), `${to}/${name}`),
    };
  }

  it('1: a copy is made with the right type; an empty secret to be filled later is copied once it is filled', async () => {
    const { put, reconcile, copies } = await link();
    await put('later', { 'tls.crt': '', 'tls.key': '' });
    await reconcile();
    expect(await copies()).toEqual([]);
    await put('later', dataOf(await testCertificate()));
    await reconcile();
    expect((await copies()).map(({ type }: { type: string }) => type)).toEqual(['kubernetes.io/tls']);
  });

  it('2: a copy that somebody emptied is filled again, whatever was noted of it before', async () => {
    const { put, reconcile, copies, path, to, original, copy } = await link();
    await put('shop', dataOf(await testCertificate()));
    await reconcile();
    const [{ metadata }] = await copies();
    await cluster.ask('PATCH', path(to, metadata.name), { data: { 'tls.crt': '', 'tls.key': '' } }, merge);
    await reconcile();
    expect(await copy(metadata.name)).toBe(await original('shop'));
    expect(await copies()).toHaveLength(1);
  });

  it('3: a copy that somebody deleted is made again', async () => {
    const { put, reconcile, copies, path, to } = await link();
    await put('shop', dataOf(await testCertificate()));
    await reconcile();
    const [{ metadata }] = await copies();
    await cluster.ask('DELETE', path(to, metadata.name));
    await reconcile();
    expect((await copies()).map((found: typeof metadata) => found.metadata.name)).toEqual([metadata.name]);
  });

  it('4: a copy bears its mark from the first moment on', async () => {
    const { put, reconcile, copies } = await link();
    await put('shop', dataOf(await testCertificate()));
    await reconcile();
    const [{ metadata }] = await copies();
    expect(metadata.annotations['certstandby/mark']).toContain('certstandby:1 kubernetes:');
    // One writer, one write.
    expect(metadata.managedFields.map(({ manager }: { manager: string }) => manager)).toEqual(['certstandby']);
  });

  it('6, 8: nothing of ours is on an original, and no label, annotation or owner of it is on the copy', async () => {
    const { put, reconcile, copies, path, from } = await link();
    const labels = { 'app.kubernetes.io/instance': 'argo', 'helm.sh/chart': 'x' };
    const annotations = {
      'kubectl.kubernetes.io/last-applied-configuration': '{"data":{"tls.key":"c2VjcmV0"}}',
      'reflector.v1.k8s.emberstack.com/reflection-auto-enabled': 'true',
    };
    const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: 'u' }];
    await put('shop', dataOf(await testCertificate()), { labels, annotations, ownerReferences });
    const before = await cluster.ask('GET', path(from, 'shop'));
    await reconcile();
    expect(await cluster.ask('GET', path(from, 'shop'))).toEqual(before);
    const [{ metadata }] = await copies();
    const names = Object.keys({ ...metadata.labels, ...metadata.annotations });
    expect(names.filter((name) => !name.startsWith('certstandby/'))).toEqual([]);
    expect(metadata.ownerReferences).toBeUndefined();
  });

  it('7: a copy that differs is mended though nothing changes in the primary', async () => {
    const { put, reconcile, copies, path, to, original, copy } = await link();
    await put('shop', dataOf(await testCertificate()));
    await reconcile();
    const [{ metadata }] = await copies();
    const other = dataOf(await testCertificate());
    await cluster.ask('PATCH', path(to, metadata.name), { data: other }, merge);
    await reconcile();
    expect(await copy(metadata.name)).toBe(await original('shop'));
  });

  it("9: a secret of cert-manager that has the copy's name stays as it is, and is told by its name", async () => {
    const { put, reconcile, run, to, path } = await link(', naming: exact');
    await put('shop', dataOf(await testCertificate()));
    await issueAsCertManager(cluster, `${to}/shop`, await testCertificate());
    const before = await cluster.ask('GET', path(to, 'shop'));
    await reconcile();
    await reconcile();
    const after = await cluster.ask('GET', path(to, 'shop'));
    expect(after).toEqual(before);
    expect(after.metadata.managedFields.map(({ manager }: { manager: string }) => manager)).toEqual([certManager]);
    const { output } = await run('status');
    expect(output).toContain(`the name shop is taken in`);
    expect(output).toContain('which cert-manager keeps');
    // Nor is it taken over: the next renewal there would write over our copy.
    const adopted = await run('adopt', `${to}/shop`);
    expect(adopted).toMatchObject({ code: 6, errors: expect.stringContaining("is cert-manager's") });
    expect(await cluster.ask('GET', path(to, 'shop'))).toEqual(before);
  });

  it('10, 11: annotations of ours stay small, under fixed names, whatever is described', async () => {
    const { to } = await link();
    const store = storeAt(cluster, [to]);
    const { parseContent } = await import('../../src/certificate/pem.ts');
    const domains = Array.from({ length: 900 }, (_, index) => `host-${index}.a-long-name.example.test`);
    const content = parseContent(await testCertificate({ domains }));
    const metadata = {
      name: '語'.repeat(5_000),
      description: '語'.repeat(50_000),
      tags: Array.from({ length: 500 }, (_, index) => `a tag with a number: ${index}`),
    };
    const mark = { store: `store/${'x'.repeat(200)}`, certificate: `${'a'.repeat(300)}/${'b'.repeat(300)}` };
    const { id } = await store.import({ content, metadata, mark, token: 'x' });
    const kept = await cluster.ask('GET', `/api/v1/namespaces/${id.replace('/', '/secrets/')}`);
    expect(Object.keys(kept.metadata.annotations).toSorted()).toEqual([
      'certstandby/description',
      'certstandby/mark',
      'certstandby/name',
      'certstandby/tags',
    ]);
    expect(Buffer.byteLength(JSON.stringify(kept.metadata.annotations))).toBeLessThan(16 * 1024);
    expect(await store.readMetadata(id)).toMatchObject({ value: { ...store.asKept(metadata, mark), mark, domains } });
  });

  it.each([
    ['without a key', async () => ({ ...dataOf(await testCertificate()), 'tls.key': '' }), 'certificate_key_missing'],
    ['with the key of another one', async () => dataOf(await mismatchedKey()), 'certificate_key_mismatch'],
    ['that has expired', async () => dataOf(await expired()), 'certificate_expired'],
    ['that is no PEM', async () => ({ 'tls.crt': base64('x'), 'tls.key': base64('y') }), 'store_content_unreadable'],
    [
      'half written, property by property',
      async () => ({ 'tls.crt': '', 'tls.key': dataOf(await testCertificate())['tls.key'] }),
      undefined,
    ],
  ])('content %s is not copied, takes no copy away and keeps no other from being copied', async (_, make, code) => {
    const { put, reconcile, run, copies, original, copy } = await link();
    await put('bad', dataOf(await testCertificate()));
    await reconcile();
    const [{ metadata }] = await copies();
    const good = await original('bad');
    await put('bad', await make());
    await put('other', dataOf(await testCertificate({ domains: ['other.example.test'] })));
    await reconcile();
    expect(await copies()).toHaveLength(2);
    expect(await copy(metadata.name)).toBe(good);
    if (code !== undefined) {
      const { output } = await run('status', '--json');
      expect(output).toContain(code);
    }
  });

  it('PEM in the wrong order is read all the same, and copied leaf first', async () => {
    const { put, reconcile, copies } = await link();
    const pem = await testCertificate({ intermediates: 2 });
    const blocks = `${pem.certificate}${pem.intermediate}`.match(/-----BEGIN[\s\S]*?END CERTIFICATE-----\n/g) ?? [];
    expect(blocks).toHaveLength(3);
    await put('shop', { ...dataOf(pem), 'tls.crt': base64(blocks.toReversed().join('')) });
    await reconcile();
    const [{ data }] = await copies();
    expect(Buffer.from(data['tls.crt'], 'base64').toString()).toBe(blocks.join(''));
  });

  it('a secret nearly as large as may be is read, and is no reason for anything', async () => {
    const { put, reconcile, copies } = await link();
    const data = dataOf(await testCertificate());
    await put('large', { ...data, 'keystore.jks': base64('x'.repeat(1_000_000)) });
    await reconcile();
    const [copy] = await copies();
    expect(Object.keys(copy.data)).toEqual(['tls.crt', 'tls.key']);
  });
});
