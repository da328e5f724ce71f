import { randomUUID } from 'node:crypto';
import { parseContent } from '../../../src/certificate/pem.ts';
import { systemRuntime as runtime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { accessOf } from '../../../src/services/kubernetes/access.ts';
import { apiOf } from '../../../src/services/kubernetes/api.ts';
import { dataOf } from '../../../src/services/kubernetes/copy.ts';
import { type KubernetesStoreOptions, kubernetesStore } from '../../../src/services/kubernetes/store.ts';
import type { Store } from '../../../src/store/store.ts';
import type { Step } from '../../store/scripted-server.ts';
import { testCertificate } from '../../support/certificates.ts';

/** A store of the namespace `web` at this server. */
export function storeAt(server: string, options: Partial<KubernetesStoreOptions> = {}): Store {
  const token = new Secret('the-token');
  const access = accessOf({ by: 'token', server, token }, { runtime, secret: () => token });
  const api = apiOf(access, runtime);
  return kubernetesStore({ id: 'test', region: 'cluster', namespaces: ['web'], api, runtime, ...options });
}

/** A secret of the type, as an API server gives it. */
export async function secretOf(
  more: { readonly metadata?: object; readonly data?: object; readonly [member: string]: unknown } = {},
) {
  const content = parseContent(await testCertificate());
  const { metadata, data, ...rest } = more;
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: 'shop-tls',
      namespace: 'web',
      uid: randomUUID(),
      resourceVersion: '1',
      creationTimestamp: '2026-11-29T21:30:18Z',
      ...metadata,
    },
    type: 'kubernetes.io/tls',
    data: data ?? dataOf(content, { caCrt: false }),
    ...rest,
  };
}

/** A failure, as an API server tells it. */
export const failure = (status: number, reason: string, message: string, details: object = {}): Step => ({
  status,
  body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: status, reason, message, details },
});

export const absent = failure(404, 'NotFound', 'secrets "shop-tls" not found', { name: 'shop-tls', kind: 'secrets' });
export const noNamespace = failure(404, 'NotFound', 'namespaces "web" not found', { name: 'web', kind: 'namespaces' });
export const namespaceStep = (more: object = {}): Step => ({
  body: { kind: 'Namespace', metadata: { name: 'web', uid: 'u-1', ...more } },
});
export const listOf = (items: readonly object[], metadata: object = {}): Step => ({
  body: { kind: 'PartialObjectMetadataList', metadata: { resourceVersion: '10', ...metadata }, items },
});
