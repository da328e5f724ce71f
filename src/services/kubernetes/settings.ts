import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import type { Secret, SecretReference } from '../../secret.ts';
import {
  addressMistakes,
  duration,
  durationText,
  milliseconds,
  ofKind,
  optional,
  ownRegion,
  requestRate,
  required,
  type SettingMistake,
  secretReference,
  text,
} from '../../settings.ts';
import type { Raw, ServiceSettings, SettingsContext, StoreConfig } from '../service.ts';
import { kubernetesDefaults as defaults } from './defaults.ts';

const clusterId = text(
  /^[\w.@-]{1,100}$/,
  'a name for these namespaces among those of all clusters, of letters, digits and .@_-, at most 100',
);
const namespace = text(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'the name of a namespace');
const serverAddress = text(/^https?:\/\/[^\s?#]+$/, 'the address of an API server, such as https://10.0.0.1:6443');

const schema = ofKind('kubernetes', 'secrets of type kubernetes.io/tls in a Kubernetes cluster', {
  id: required(clusterId, 'names the store among all stores, for ever; stands in the marks on copies'),
  namespaces: optional(
    z.array(namespace).check(z.minLength(1, 'at least one namespace')),
    'the namespaces that it is; one for each store is best',
    { otherwise: 'all of the cluster, which takes a ClusterRole' },
  ),
  into: optional(namespace, 'the namespace of copies whose original lies in none of these', {
    otherwise: 'the only one of namespaces',
  }),
  labelSelector: optional(z.string(), 'of a primary: only secrets that it selects, as kubectl -l takes it', {
    otherwise: 'all secrets of the type',
  }),
  caCrt: optional(
    z.boolean(),
    'ca.crt too: its certificates are read as the end of the chain, and a root in the chain is written there',
    { default: false },
  ),
  kubeconfig: optional(z.string(), 'a kubeconfig file, relative to this file', { otherwise: 'none' }),
  context: optional(z.string(), 'its context', { otherwise: 'current-context' }),
  exec: optional(z.boolean(), 'whether the program that the user of the kubeconfig names for its login may be run', {
    default: false,
  }),
  inCluster: optional(z.boolean(), 'log in as the service account of the pod that this runs in', { default: false }),
  server: optional(serverAddress, 'the API server, where neither kubeconfig nor inCluster says it', {
    otherwise: 'none',
  }),
  ca: optional(z.string(), 'PEM file of the authority of that server, relative to this file', {
    otherwise: 'the authorities that Node brings',
  }),
  token: optional(
    secretReference,
    'where the token for that server stands: env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET',
    { otherwise: 'none', secret: true },
  ),
  tokenFile: optional(z.string(), 'a file with that token, which is read anew each minute', { otherwise: 'none' }),
  region: ownRegion(defaults.region),
  settles: optional(duration, 'how long an unanswered request may still take effect', {
    default: durationText(defaults.settlesMs),
  }),
  requestsPerSecond: requestRate({ otherwise: 'no limit; the API server shares what it can do' }),
});

/** How one reaches an API server, and proves who one is. */
export type AccessConfig =
  | { readonly by: 'kubeconfig'; readonly path: string; readonly context?: string; readonly exec: boolean }
  | { readonly by: 'in-cluster' }
  | {
      readonly by: 'token';
      readonly server: string;
      /** Path of a PEM file. */
      readonly ca?: string;
      /** A reference where it is read only when it is wanted. */
      readonly token?: Secret | SecretReference;
      /** Path of a file that is read anew. */
      readonly tokenFile?: string;
    };

export interface KubernetesConfig extends StoreConfig {
  readonly kind: 'kubernetes';
  /** Stands in marks. */
  readonly id: string;
  /** Absent: all. */
  readonly namespaces?: readonly string[];
  readonly into?: string;
  readonly labelSelector?: string;
  readonly caCrt?: boolean;
  readonly access: AccessConfig;
  readonly settlesMs?: number;
}

export const kubernetesSettings: ServiceSettings = {
  schema,
  notInFunctions: true,

  identities: ({ id }) => [{ is: typeof id === 'string' ? `kubernetes:${id}` : undefined, same: 'has the same id' }],

  region: ({ region = defaults.region }) => (typeof region === 'string' ? region : undefined),

  mistakes(raw: Raw) {
    const { kubeconfig, context, exec, inCluster, server, ca, token, tokenFile, namespaces, into } = raw;
    const ways = [kubeconfig !== undefined, inCluster === true, server !== undefined].filter(Boolean).length;
    const mistakes: SettingMistake[] = [];
    const wrong = (setting: string, what: string) => void mistakes.push({ setting, what });
    if (ways !== 1)
      wrong(
        'kubeconfig',
        'how to reach the cluster must be said in one way: kubeconfig, or inCluster: true, or server',
      );
    if (kubeconfig === undefined && (context !== undefined || exec !== undefined))
      wrong(context === undefined ? 'exec' : 'context', 'says nothing without kubeconfig');
    for (const [setting, given] of Object.entries({ ca, token, tokenFile }))
      if (given !== undefined && server === undefined) wrong(setting, 'says nothing without server');
    if (server !== undefined && (token === undefined) === (tokenFile === undefined))
      wrong('server', 'takes either token or tokenFile');
    mistakes.push(...addressMistakes({ server }));
    if (Array.isArray(namespaces)) {
      if (into !== undefined && !namespaces.includes(into)) wrong('into', 'is none of namespaces');
      const twice = namespaces.find((name, index) => namespaces.indexOf(name) < index);
      if (twice !== undefined) wrong('namespaces', `names ${twice} twice`);
    }
    return mistakes;
  },

  toConfig(given: z.infer<typeof schema>, context: SettingsContext): KubernetesConfig {
    const { id, namespaces, into, labelSelector, caCrt, settles, requestsPerSecond, region = defaults.region } = given;
    const settlesMs = milliseconds(settles);
    return {
      kind: 'kubernetes',
      name: context.name,
      id,
      region,
      access: accessConfigOf(given, context),
      ...defined({ namespaces, into, labelSelector, caCrt, requestsPerSecond, settlesMs }),
    };
  },
};

function accessConfigOf(given: z.infer<typeof schema>, { path, secret }: SettingsContext): AccessConfig {
  const { kubeconfig, context, exec = false, server: address, ca, token, tokenFile } = given;
  if (kubeconfig !== undefined) return { by: 'kubeconfig', path: path(kubeconfig), exec, ...defined({ context }) };
  if (address === undefined) return { by: 'in-cluster' };
  return {
    by: 'token',
    server: address,
    ...(ca !== undefined && { ca: path(ca) }),
    ...(token !== undefined && { token: secret('token') }),
    ...(tokenFile !== undefined && { tokenFile: path(tokenFile) }),
  };
}
