import { copyFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { Secret } from '../../src/secret.ts';
import { testCertificate } from '../support/certificates.ts';
import { liveFolder } from '../support/live-folder.ts';
import { type Cluster, issueAsCertManager, requireKubernetes, startKubernetes } from './kube-apiserver.ts';
import { requireKubectl } from './kubectl.ts';
import { fingerprintAt, putKubeconfig, storeAt } from './kubernetes-program.ts';
import { type OpenBao, openBaoProgram, requireOpenBao, startRaftBao } from './openbao.ts';
import { openPage } from './typed-page.ts';

// Pages of docs/ typed line by line, with real servers. Only addresses, and what lies below /etc
// and /srv, are others here.

const bao = requireOpenBao();
const programs = requireKubernetes();
const kubectl = requireKubectl();

const dayMs = 86_400_000;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const fingerprint = (pem: CertificatePem) => fingerprintOf(parseContent(pem));

/** A page whose Vault is a real OpenBao with TLS. */
async function pageWithBao(page: string) {
  const server = await startRaftBao();
  ends.push(() => server.close());
  const typed = await openPage(page, {
    programs: { vault: openBaoProgram, bao: openBaoProgram },
    here: (text) => text.replaceAll('https://vault.example.test:8200', server.url),
    env: { VAULT_TOKEN: server.root },
  });
  ends.push(() => typed.close());
  copyFileSync(server.caFile ?? '', join(typed.folder, 'vault-ca.pem'));
  return { server, typed };
}

/** What a copy holds, as another tool reads it; `undefined` where there is none. */
async function copyIn(server: OpenBao, name: string): Promise<string | undefined> {
  const { status, body } = await server.ask('GET', `secret/data/standby/${name}`);
  if (status !== 200) return undefined;
  const { certificate, private_key, ca_chain } = body.data.data;
  return fingerprint({ certificate, intermediate: ca_chain, privateKey: new Secret(private_key) });
}

describe.skipIf(bao === undefined)('docs/certbot-to-vault.md', () => {
  test('from the folder of certbot to an OpenBao, out of it on a new machine, and home to certbot', async () => {
    const { server, typed } = await pageWithBao('certbot-to-vault.md');
    const letsencrypt = join(typed.folder, 'etc/letsencrypt');
    let certbot = liveFolder(letsencrypt);
    let issuedAt = Date.now() - 60 * dayMs;
    /** Each is newer than all before it. */
    const issue = async (name: string) => {
      issuedAt += dayMs;
      const pem = await testCertificate({ domains: [name], notBefore: issuedAt, notAfter: issuedAt + 90 * dayMs });
      certbot.renew(name, pem);
      return fingerprint(pem);
    };
    const names = ['shop.example.test', 'api.example.test'];
    const [shop, api] = [await issue('shop.example.test'), await issue('api.example.test')];
    await typed.type('login');
    // Whoever types it again finds it as it was.
    await typed.run(typed.block('login'));
    await typed.type('secret-id');
    typed.configure('config');
    expect(await typed.type('first')).toContain('2 same');
    expect(await Promise.all(names.map((name) => copyIn(server, name)))).toEqual([shop, api]);
    const stop = await typed.serve();
    const renewed = await issue('shop.example.test');
    await expect.poll(() => copyIn(server, 'shop.example.test')).toBe(renewed);
    await stop();
    // By a hook, where nothing runs all day.
    const again = await issue('shop.example.test');
    await typed.run('certstandby reconcile');
    expect(await copyIn(server, 'shop.example.test')).toBe(again);

    // Another machine: neither the folder nor the records of the first one.
    await typed.run('rm -r etc/letsencrypt records vault-secret-id');
    await typed.type('secret-id');
    await typed.type('folder');
    typed.configure('config-after');
    expect(await typed.type('restore')).toContain('2 same');
    const restored = (name: string) => {
      const at = (file: string) => readFileSync(join(typed.folder, 'srv/certificates', name, 'current', file), 'utf8');
      return fingerprint({ certificate: at('fullchain.pem'), privateKey: new Secret(at('privkey.pem')) });
    };
    expect(names.map(restored)).toEqual([again, api]);

    // certbot issues anew.
    certbot = liveFolder(letsencrypt);
    const issued = [await issue('shop.example.test'), await issue('api.example.test')];
    typed.configure('config-home');
    expect(await typed.type('home')).toContain('2 same');
    expect(await Promise.all(names.map((name) => copyIn(server, name)))).toEqual(issued);
    expect(readdirSync(certbot.live).toSorted()).toEqual(['README', ...names.toSorted()]);
  });
});

/** A cluster that ends with the test. */
async function startCluster(): Promise<Cluster> {
  const cluster = await startKubernetes(programs ?? '');
  ends.push(() => cluster.close());
  return cluster;
}

/** A page that stands alone: its servers are started by the test. */
async function pageAlone(page: string, commands: Readonly<Record<string, string>> = {}) {
  const typed = await openPage(page, { programs: commands });
  ends.push(() => typed.close());
  return typed;
}

/** The manifest that the page of the service has under "Rights", for a namespace. */
function roleOfPage(namespace: string, verbs: string): string {
  const page = readFileSync(new URL('../../src/services/kubernetes/README.md', import.meta.url), 'utf8');
  const [, manifest = ''] = /## Rights[\s\S]*?```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const all = 'get, list, watch, create, update, delete';
  expect(manifest).toContain(`verbs: [${all}]`);
  return manifest.replaceAll('namespace: web', `namespace: ${namespace}`).replace(all, verbs);
}

describe.skipIf(programs === undefined || kubectl === undefined)('docs/cluster-to-cluster.md', () => {
  test('what cert-manager issues in one cluster is in the other, under the same name, by service accounts of the page', async () => {
    const typed = await pageAlone('cluster-to-cluster.md', { kubectl: kubectl ?? '' });
    const [a, b] = [await startCluster(), await startCluster()];
    const sides = [
      ['frankfurt', a, 'get, list, watch'],
      ['london', b, 'get, list, create, update, delete'],
    ] as const;
    for (const [name, cluster, verbs] of sides) {
      await cluster.namespace('shop');
      putKubeconfig(typed.folder, `admin-${name}.kubeconfig`, cluster);
      writeFileSync(join(typed.folder, 'role.yaml'), roleOfPage('shop', verbs));
      await typed.run(`export KUBECONFIG=admin-${name}.kubeconfig`);
      const lines = typed.block('kubeconfig').replaceAll('frankfurt', name);
      console.info(await typed.run(lines));
      const kubeconfig = readFileSync(join(typed.folder, `${name}.kubeconfig`), 'utf8');
      expect(kubeconfig).not.toContain(cluster.tokens.admin);
      expect(statSync(join(typed.folder, `${name}.kubeconfig`)).mode & 0o077).toBe(0);
    }
    const id = 'shop/shop-tls';
    await issueAsCertManager(a, id, await testCertificate());
    typed.configure('config');
    const said = await typed.type('doctor');
    expect(said).toContain('ok       frankfurt: has all 4 rights that it needs');
    expect(said).toContain('ok       london: has all 6 rights that it needs');
    const plan = await typed.run(`${typed.block('plan').trim()} || [ $? -eq 6 ]`);
    expect(plan).toContain('import   a new copy in london: shop-tls');
    const [primary, backup] = [storeAt(a, ['shop']), storeAt(b, ['shop'])];
    const stop = await typed.serve();
    await expect.poll(() => fingerprintAt(backup, id)).toBe(await fingerprintAt(primary, id));
    // Renewed, with a new key, as cert-manager does it.
    await issueAsCertManager(a, id, await testCertificate());
    const renewed = await fingerprintAt(primary, id);
    await expect.poll(() => fingerprintAt(backup, id)).toBe(renewed);
    const copy = await b.ask('GET', '/api/v1/namespaces/shop/secrets/shop-tls');
    expect(Object.keys(copy.data)).toEqual(['tls.crt', 'tls.key']);
    expect(JSON.stringify([copy.metadata.labels, copy.metadata.annotations])).not.toContain('cert-manager.io');
    expect(copy.metadata.ownerReferences).toBeUndefined();
    // A new one.
    await issueAsCertManager(a, 'shop/api-tls', await testCertificate({ domains: ['api.example.test'] }));
    const api = await fingerprintAt(primary, 'shop/api-tls');
    await expect.poll(() => fingerprintAt(backup, 'shop/api-tls')).toBe(api);
    await stop();
    await typed.run('certstandby verify');
    // Nothing of ours is on what cert-manager keeps.
    const original = await a.ask('GET', '/api/v1/namespaces/shop/secrets/shop-tls');
    expect(JSON.stringify(original.metadata)).not.toContain('certstandby');
  });
});

describe.skipIf(programs === undefined)('docs/certbot-to-cluster.md', () => {
  test('what certbot renews in a folder is in the cluster, where the routes look for it', async () => {
    const typed = await pageAlone('certbot-to-cluster.md');
    const cluster = await startCluster();
    await cluster.namespace('ingress');
    putKubeconfig(typed.folder, 'cluster.kubeconfig', cluster);
    const certbot = liveFolder(join(typed.folder, 'etc/letsencrypt'));
    const store = storeAt(cluster, ['ingress']);
    const id = 'ingress/shop.example.test';
    const renew = async () => {
      const pem = await testCertificate();
      certbot.renew('shop.example.test', pem);
      return fingerprint(pem);
    };
    const first = await renew();
    typed.configure('config');
    expect(await typed.type('first')).toContain('1 same');
    expect(await fingerprintAt(store, id)).toBe(first);
    const stop = await typed.serve();
    const second = await renew();
    await expect.poll(() => fingerprintAt(store, id)).toBe(second);
    await stop();
  });
});

describe.skipIf(programs === undefined || bao === undefined)('docs/cluster-to-vault.md', () => {
  test('a cluster into OpenBao, and out of it into an empty cluster when the first one is gone', async () => {
    const { server, typed } = await pageWithBao('cluster-to-vault.md');
    const [lost, empty] = [await startCluster(), await startCluster()];
    for (const [name, cluster] of [
      ['frankfurt', lost],
      ['paris', empty],
    ] as const) {
      await cluster.namespace('shop');
      putKubeconfig(typed.folder, `${name}.kubeconfig`, cluster);
    }
    const names = ['shop-tls', 'api-tls', 'www-tls'];
    const issue = async (cluster: Cluster, name: string) => {
      const pem = await testCertificate({ domains: [`${name}.example.test`] });
      await issueAsCertManager(cluster, `shop/${name}`, pem);
      return fingerprint(pem);
    };
    const held = new Map<string, string>();
    for (const name of names) held.set(name, await issue(lost, name));
    await typed.type('login');
    typed.configure('config');
    expect(await typed.type('first')).toContain('3 same');
    const stop = await typed.serve();
    held.set('www-tls', await issue(lost, 'www-tls'));
    const keys = (await server.ask('GET', 'secret/metadata/standby/?list=true')).body.data.keys as string[];
    const www = keys.find((key) => key.startsWith('shop-www-tls-')) ?? '';
    await expect.poll(() => copyIn(server, www)).toBe(held.get('www-tls'));
    await stop();

    await lost.close();
    typed.configure('config-after');
    expect(await typed.type('restore')).toContain('3 same');
    const store = storeAt(empty, ['shop']);
    for (const name of names) expect(await fingerprintAt(store, `shop/${name}`)).toBe(held.get(name));
    // Home: it is a primary, its secrets are originals, and serve goes on from there.
    const again = await typed.serve();
    await issue(empty, 'new-tls');
    await expect.poll(async () => (await server.ask('GET', 'secret/data/standby/new-tls')).status).toBe(200);
    await again();
    expect(await typed.run('certstandby verify')).toContain('4 same');
  });
});
