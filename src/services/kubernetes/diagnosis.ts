import * as z from 'zod/mini';
import { nonsenseError } from '../../http/service-failure.ts';
import { otherwise } from '../../lenient.ts';
import type { RightAsked, StoreDiagnosis } from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import { type ApiCall, type Right, remedyOfRight } from './failure.ts';
import type { KubernetesConfig } from './settings.ts';
import { type KubernetesStoreOptions, optionsOf } from './store.ts';

const reviewSchema = z.object({ status: z.object({ allowed: z.boolean(), reason: otherwise(z.string(), '') }) });

/** The diagnosis of a store of the configuration. */
export function diagnosisOf(config: KubernetesConfig, context: StoreContext): StoreDiagnosis {
  return kubernetesDiagnosis(optionsOf(config, context), addressIn(config));
}

/** Where the configuration says that the cluster is, for people: no file is read for that. */
function addressIn({ access }: KubernetesConfig): string {
  if (access.by === 'token') return access.server;
  return access.by === 'in-cluster' ? 'the cluster of this pod' : access.path;
}

/** What an API server can be asked about itself and about our rights there. */
export function kubernetesDiagnosis(
  { api, id, namespaces }: Pick<KubernetesStoreOptions, 'api' | 'id' | 'namespaces'>,
  address: string,
): StoreDiagnosis {
  const store = `kubernetes:${id}`;
  const callOf = (operation: string, right: Right): ApiCall => ({ store, operation, writes: false, right });

  /** Asks the API server itself: nobody needs a right for that. */
  async function isAllowed(right: Right, signal: AbortSignal | undefined): Promise<boolean> {
    const call = callOf(`ask whether we may ${right.verb} ${right.resource}`, right);
    const { verb, resource, namespace } = right;
    const resourceAttributes = { verb, resource, ...(namespace && { namespace }) };
    // What is asked of a namespace is asked by its name.
    const named = resource === 'namespaces' && namespace !== undefined ? { name: namespace } : {};
    const answer = await api.ask(call, {
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: { ...resourceAttributes, ...named } },
      },
      signal,
    });
    const review = z.safeParse(reviewSchema, answer.json);
    if (!review.success) throw nonsenseError(call, answer, 'something that is no review');
    return review.data.status.allowed;
  }

  const askAll = (rights: readonly Right[], signal: AbortSignal | undefined): Promise<readonly RightAsked[]> =>
    Promise.all(
      rights.map(async (right) => ({
        what: wordsOf(right),
        granted: await isAllowed(right, signal),
        remedy: remedyOfRight(right),
      })),
    );

  return {
    address,
    async clock({ signal } = {}) {
      const call = callOf('reach', { verb: 'get', resource: 'namespaces' });
      return (await api.ask(call, { method: 'GET', path: '/version', signal })).date;
    },
    async mayImport({ signal } = {}) {
      const asked = await askAll(leastRights({ primary: false, backup: true }, namespaces), signal);
      return asked.every(({ granted }) => granted);
    },
    rights: (part, { signal } = {}) => askAll(leastRights(part, namespaces), signal),
    credentialsRemedy: (setting) =>
      `Give ${setting} credentials that this cluster takes: a kubeconfig with another token or certificate, or another token.`,
    rightsRemedy: (_setting, rights) => {
      const part = { primary: !rights.includes('import'), backup: rights.includes('import') };
      return leastRights(part, namespaces).map(remedyOfRight).join(' ');
    },
  };
}

/** The least that a store needs in its part, as its page has it. */
export function leastRights(
  { primary, backup }: { readonly primary: boolean; readonly backup: boolean },
  namespaces: readonly string[] | undefined,
): readonly Right[] {
  const verbs = [
    ...(['get', 'list'] as const),
    ...(primary ? (['watch'] as const) : []),
    ...(backup ? (['create', 'update', 'delete'] as const) : []),
  ];
  const places = namespaces?.map((namespace) => ({ namespace })) ?? [{}];
  return places.flatMap((place): readonly Right[] => [
    { verb: 'get', resource: 'namespaces', ...place },
    ...verbs.map((verb) => ({ verb, resource: 'secrets', ...place }) as const),
  ]);
}

function wordsOf({ verb, resource, namespace }: Right): string {
  if (resource === 'namespaces')
    return namespace === undefined ? 'get any namespace' : `get the namespace ${namespace}`;
  return `${verb} secrets ${namespace === undefined ? 'of all namespaces' : `of the namespace ${namespace}`}`;
}
