import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { testCertificate } from '../support/certificates.ts';
import {
  type Cluster,
  endNamespace,
  issueAsCertManager,
  requireKubernetes,
  startKubernetes,
} from './kube-apiserver.ts';
import { program, reach, storeAt } from './kubernetes-program.ts';

const programs = requireKubernetes();

describe.skipIf(programs === undefined)('with real clusters', () => {
  let a: Cluster;
  let b: Cluster;
  beforeAll(async () => {
    [a, b] = await Promise.all([startKubernetes(programs ?? ''), startKubernetes(programs ?? '')]);
  });
  afterAll(async () => {
    await Promise.all([a?.close(), b?.close()]);
  });

  it('a watch tells of each change within a moment, over a gap that the server has forgotten too', async () => {
    const namespace = await a.namespace();
    const store = storeAt(a, [namespace]);
    const told: string[] = [];
    const watching = store.watch?.((id) => void told.push(id));
    const pem = await testCertificate();
    await issueAsCertManager(a, `${namespace}/first`, pem);
    await expect.poll(() => told).toContain(`${namespace}/first`);
    const latencies: number[] = [];
    for (let change = 0; change < 20; change += 1) {
      const before = told.length;
      const at = performance.now();
      await issueAsCertManager(a, `${namespace}/n-${change}`, pem);
      while (told.length === before) await new Promise((resolve) => setTimeout(resolve, 1));
      latencies.push(performance.now() - at);
    }
    const median = latencies.toSorted((one, other) => one - other)[10] ?? 0;
    console.info(`from the write to the event: ${median.toFixed(1)} ms (median of 20)`);
    // A copy of ours is no original, and is not told of.
    const content = parseContent(pem);
    const mark = { store: 'elsewhere', certificate: 'x' };
    await store.import({ content, metadata: { name: 'copy', description: '', tags: [] }, mark });
    await a.kill('kube-apiserver');
    await a.start('kube-apiserver');
    await issueAsCertManager(a, `${namespace}/during`, await testCertificate());
    await a.compact();
    await issueAsCertManager(a, `${namespace}/after`, await testCertificate());
    await expect.poll(() => told).toContain(`${namespace}/after`);
    expect(told).toContain(`${namespace}/during`);
    expect(told.filter((id) => id.includes('/x-'))).toEqual([]);
    watching?.close();
  });

  it('a namespace that is deleted and made again while serve runs: nothing is removed, status says it, a person accepts it', async () => {
    const namespace = 'fragile';
    await a.namespace(namespace);
    const { serve, stop, run, remove, folder } = program([a], (folder) => {
      mkdirSync(join(folder, 'copies'), { mode: 0o700 });
      return `stores:
  cluster: { kind: kubernetes, id: fragile, namespaces: [fragile], ${reach(a)} }
  copies: { kind: directory, id: copies, path: copies }
links: { web: { primary: cluster, backups: [copies], policy: { onDelete: remove, removeAfter: 12h } } }
`;
    });
    const copies = () => readdirSync(join(folder, 'copies')).filter((name) => !name.startsWith('.'));
    await issueAsCertManager(a, 'fragile/one', await testCertificate());
    await issueAsCertManager(a, 'fragile/two', await testCertificate({ domains: ['two.example.test'] }));
    await serve();
    await expect.poll(copies).toHaveLength(2);
    await endNamespace(a, namespace);
    await expect.poll(async () => (await run('status')).output).toContain('is not there');
    await a.namespace(namespace);
    await issueAsCertManager(a, 'fragile/three', await testCertificate({ domains: ['three.example.test'] }));
    // What the new one holds is not copied either: nobody has said that it is meant.
    await expect
      .poll(async () => (await run('status')).output)
      .toContain('is not what was there when it was first used');
    expect(copies()).toHaveLength(2);
    await stop();
    const reconciled = await run('reconcile');
    expect(reconciled.code).toBe(4);
    expect(reconciled.output + reconciled.errors).toContain('certstandby store accept <store>');
    expect(copies()).toHaveLength(2);
    expect((await run('store', 'accept', 'cluster')).code).toBe(0);
    const after = await run('reconcile');
    expect(after.output + after.errors).not.toContain('certstandby store accept');
    expect(copies()).toHaveLength(3);
    console.info((await run('status')).output);
    remove();
  });

  it('copies that another tool made are taken under management in bulk, by a plan, each once it is proven equal', async () => {
    const [from, to] = [await a.namespace('adopt-from'), await b.namespace('adopt-to')];
    const { run, remove } = program(
      [a, b],
      () => `stores:
  one: { kind: kubernetes, id: adopt-from, namespaces: [${from}], ${reach(a)} }
  two: { kind: kubernetes, id: adopt-to, namespaces: [${to}], ${reach(b)} }
links: { web: { primary: one, backups: [two] } }
`,
    );
    const secrets = `/api/v1/namespaces/${to}/secrets`;
    const copyAsTool = async (name: string, data: object) => {
      const body = { metadata: { name, labels: { tool: 'yes' } }, type: 'kubernetes.io/tls', data };
      await b.ask('POST', `${secrets}?fieldManager=external-secrets`, body);
    };
    for (const name of ['shop-tls', 'api-tls', 'old-tls']) {
      await issueAsCertManager(a, `${from}/${name}`, await testCertificate({ domains: [`${name}.example.test`] }));
      const { data } = await a.ask('GET', `/api/v1/namespaces/${from}/secrets/${name}`);
      await copyAsTool(name, data);
    }
    // The tool stopped some time ago: one is not equal any more.
    await issueAsCertManager(a, `${from}/old-tls`, await testCertificate({ domains: ['old-tls.example.test'] }));
    const before = await b.ask('GET', secrets);
    const plan = await run('adopt', '--all', '--plan');
    expect(await b.ask('GET', secrets)).toMatchObject({ items: before.items });
    console.info(plan.output);
    const adopted = await run('adopt', '--all');
    console.info(adopted.output);
    for (const name of ['shop-tls', 'api-tls']) {
      const { metadata } = await b.ask('GET', `${secrets}/${name}`);
      expect(metadata.labels).toMatchObject({ tool: 'yes' });
      expect(metadata.annotations['certstandby/mark']).toBe(`certstandby:1 kubernetes:adopt-from ${from}/${name}`);
    }
    const left = await b.ask('GET', `${secrets}/old-tls`);
    expect(left.metadata.annotations).toBeUndefined();
    await run('reconcile');
    // What was adopted is the copy; what was not stays beside a copy of ours.
    expect((await b.ask('GET', secrets)).items).toHaveLength(4);
    expect((await run('verify')).code).toBe(0);
    remove();
  });
});
