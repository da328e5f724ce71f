import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { parseConfig } from '../../src/config.ts';
import { asCodedError } from '../../src/errors.ts';
import { systemRuntime } from '../../src/runtime.ts';
import type { Secret } from '../../src/secret.ts';
import { accessOf } from '../../src/services/kubernetes/access.ts';
import { apiOf } from '../../src/services/kubernetes/api.ts';
import { kubernetesStore } from '../../src/services/kubernetes/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { type Cluster, issueAsCertManager, requireKubernetes, startKubernetes } from './kube-apiserver.ts';

const programs = requireKubernetes();

// biome-ignore lint/suspicious/noExplicitAny: a manifest has whatever its kind has
type Manifest = any;

const manifestsIn = (file: string): readonly Manifest[] =>
  parseAllDocuments(readFileSync(new URL(`../../infra/kubernetes/${file}`, import.meta.url), 'utf8')).map((document) =>
    document.toJS(),
  );

/** Where objects of a kind are. */
const collections: Readonly<Record<string, string>> = {
  Namespace: '/api/v1/namespaces',
  ServiceAccount: '/api/v1/namespaces/:/serviceaccounts',
  ConfigMap: '/api/v1/namespaces/:/configmaps',
  PersistentVolumeClaim: '/api/v1/namespaces/:/persistentvolumeclaims',
  Service: '/api/v1/namespaces/:/services',
  Deployment: '/apis/apps/v1/namespaces/:/deployments',
  Role: '/apis/rbac.authorization.k8s.io/v1/namespaces/:/roles',
  RoleBinding: '/apis/rbac.authorization.k8s.io/v1/namespaces/:/rolebindings',
  NetworkPolicy: '/apis/networking.k8s.io/v1/namespaces/:/networkpolicies',
  ServiceMonitor: '/apis/monitoring.coreos.com/v1/namespaces/:/servicemonitors',
};

/** The definition of ServiceMonitor, as far as the fields go that are used here. */
const serviceMonitorDefinition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'servicemonitors.monitoring.coreos.com' },
  spec: {
    group: 'monitoring.coreos.com',
    scope: 'Namespaced',
    names: {
      kind: 'ServiceMonitor',
      listKind: 'ServiceMonitorList',
      plural: 'servicemonitors',
      singular: 'servicemonitor',
    },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            required: ['spec'],
            properties: {
              spec: {
                type: 'object',
                required: ['selector', 'endpoints'],
                properties: {
                  selector: {
                    type: 'object',
                    properties: { matchLabels: { type: 'object', additionalProperties: { type: 'string' } } },
                  },
                  endpoints: {
                    type: 'array',
                    items: {
                      type: 'object',
                      properties: {
                        port: { type: 'string' },
                        path: { type: 'string' },
                        interval: { type: 'string', pattern: '^\\d+(ms|s|m)$' },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

describe.skipIf(programs === undefined)('the manifests on a real API server', () => {
  let cluster: Cluster;
  const manifests = manifestsIn('certstandby.yaml');
  const ofKind = (kind: string): Manifest => manifests.find((manifest) => manifest.kind === kind);

  const apply = (manifest: Manifest) => {
    const { kind, metadata } = manifest;
    const path = `${collections[kind]?.replace(':', metadata.namespace)}/${metadata.name}`;
    // Fields that are not known are refused, as kubectl does it.
    return cluster.ask('PATCH', `${path}?fieldManager=kubectl&fieldValidation=Strict`, manifest, {
      contentType: 'application/apply-patch+yaml',
    });
  };

  beforeAll(async () => {
    cluster = await startKubernetes(programs ?? '');
    await cluster.namespace('web');
  });
  afterAll(() => cluster?.close());

  it('are taken, one after the other, twice, and the ServiceMonitor once its definition is there', async () => {
    for (const manifest of [...manifests, ...manifests]) await apply(manifest);
    const [monitor] = manifestsIn('service-monitor.yaml');
    await expect(apply(monitor)).rejects.toThrow('404');
    await cluster.ask('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', serviceMonitorDefinition);
    await expect.poll(() => apply(monitor).then(() => 'taken', String)).toBe('taken');
    // It selects the service, by a port that this has.
    const { spec } = ofKind('Service');
    expect(ofKind('Service').metadata.labels).toMatchObject(monitor.spec.selector.matchLabels);
    expect(spec.ports.map(({ name }: { name: string }) => name)).toContain(monitor.spec.endpoints[0].port);
  });

  it('make a pod that the Pod Security Standard `restricted` lets in, where one that asks for more is refused', async () => {
    const { template } = ofKind('Deployment').spec;
    const pods = '/api/v1/namespaces/certstandby/pods';
    const pod = { metadata: { ...template.metadata, name: 'of-the-deployment' }, spec: template.spec };
    const made = await cluster.ask('POST', `${pods}?dryRun=All&fieldValidation=Strict`, pod);
    expect(made.spec.serviceAccountName).toBe('certstandby');
    expect(made.spec.volumes.some(({ projected }: Manifest) => projected !== undefined)).toBe(true);
    const [container] = pod.spec.containers;
    for (const securityContext of [
      { ...container.securityContext, allowPrivilegeEscalation: true },
      { ...container.securityContext, capabilities: {} },
    ]) {
      const containers = [{ ...container, securityContext }];
      expect(await cluster.status('POST', `${pods}?dryRun=All`, { ...pod, spec: { ...pod.spec, containers } })).toBe(
        403,
      );
    }
    expect(container.securityContext.readOnlyRootFilesystem).toBe(true);
    // What is written to lies on a volume: records, reports, temporary files.
    const mounts = container.volumeMounts.filter(({ readOnly }: Manifest) => readOnly !== true);
    expect(mounts.map(({ mountPath }: Manifest) => mountPath)).toEqual(['/var/lib/certstandby', '/tmp']);
  });

  it('have a configuration that is one, whose folders lie on the volume', () => {
    const text = ofKind('ConfigMap').data['certstandby.yaml'];
    const config = parseConfig(text, { path: '/etc/certstandby/certstandby.yaml', env: {}, readFile: () => '' });
    expect(config.table).toEqual({ kind: 'lmdb', path: '/var/lib/certstandby/records' });
    expect(config.drill?.folder).toBe('/var/lib/certstandby/drills');
    expect(ofKind('Deployment').spec).toMatchObject({ replicas: 1, strategy: { type: 'Recreate' } });
  });

  it('let the pod log in as its service account, by environment and files, with a token that is exchanged on disk', async () => {
    const [, , role] = manifests;
    expect(role.kind).toBe('Role');
    const accounts = '/api/v1/namespaces/certstandby/serviceaccounts/certstandby';
    const newToken = async (): Promise<string> =>
      (await cluster.ask('POST', `${accounts}/token`, { spec: { expirationSeconds: 600 } })).status.token;
    const put = (name: string, text: string) => writeFileSync(join(cluster.folder, name), text, { mode: 0o600 });
    put('token', await newToken());
    let later = 0;
    const runtime = { ...systemRuntime, now: () => Date.now() + later };
    const { hostname, port } = new URL(cluster.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const pod = { env, folder: cluster.folder };
    const source = accessOf({ by: 'in-cluster' }, { runtime, secret: (given) => given as Secret }, pod);
    const store = kubernetesStore({
      id: 'here',
      region: 'cluster',
      namespaces: ['web'],
      api: apiOf(source, runtime),
      runtime,
    });
    await issueAsCertManager(cluster, 'web/shop-tls', await testCertificate());
    expect((await store.list({})).certificates.map(({ id }) => id)).toEqual(['web/shop-tls']);
    expect((await store.read('web/shop-tls')).state).toBe('present');
    expect(await store.identity?.()).toMatch(/^web=/);
    // A primary reads, and no more.
    const refused = asCodedError(await store.delete('web/shop-tls').catch((thrown: unknown) => thrown));
    expect(refused.code).toBe('store_refused');
    const made = { content: (await contentOf(store))?.content, metadata: { name: 'x', description: '', tags: [] } };
    const imported = asCodedError(await store.import(made as never).catch((thrown: unknown) => thrown));
    expect(imported.code).toBe('store_unauthorized');
    expect(imported.remedy).toContain('verbs: [create]');
    // The token that was there is no good any more, and another one lies in its place.
    const before = (await source()).token?.reveal();
    put('token', await newToken());
    later = 61_000;
    expect((await store.list({})).certificates).toHaveLength(1);
    expect((await source()).token?.reveal()).not.toBe(before);
    put('token', 'nobodys');
    later += 61_000;
    await expect(store.list({})).rejects.toMatchObject({ code: 'store_unauthorized' });
    put('token', await newToken());
    later += 2_000;
    expect((await store.list({})).certificates).toHaveLength(1);
  });

  async function contentOf(store: ReturnType<typeof kubernetesStore>) {
    const found = await store.read('web/shop-tls');
    return found.state === 'present' ? found.value : undefined;
  }
});
