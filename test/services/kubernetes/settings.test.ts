import { expect, it } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { CodedError } from '../../../src/errors.ts';
import type { KubernetesConfig } from '../../../src/services/kubernetes/settings.ts';

/** The store `cluster` of a configuration, or what is wrong with it. */
function parsed(settings: string, platform?: 'aws'): KubernetesConfig | readonly string[] {
  const text = `version: 1
table: { kind: dynamodb, name: records, region: eu-west-1 }
stores:
  cluster: { kind: kubernetes, id: c, ${settings} }
  other: { kind: kubernetes, id: other, kubeconfig: other }
links: { web: { primary: cluster, backups: [other] } }
`;
  const sources = { path: '/etc/certstandby/c.yaml', env: { TOKEN: 'the token' }, readFile: () => 'the token' };
  try {
    const config = parseConfig(text, { ...sources, ...(platform && { platform }) });
    return config.stores[0] as KubernetesConfig;
  } catch (thrown) {
    if (!(thrown instanceof CodedError)) throw thrown;
    return thrown.fields.mistakes as readonly string[];
  }
}

it('reaches a cluster in one of three ways, with paths from the file', () => {
  expect(parsed('namespaces: [web], kubeconfig: k, context: blue, exec: true')).toMatchObject({
    namespaces: ['web'],
    access: { by: 'kubeconfig', path: '/etc/certstandby/k', context: 'blue', exec: true },
    region: 'cluster',
  });
  expect(parsed('inCluster: true')).toMatchObject({ access: { by: 'in-cluster' } });
  expect(parsed('server: "https://c:6443", ca: ca.pem, tokenFile: token')).toMatchObject({
    access: {
      by: 'token',
      server: 'https://c:6443',
      ca: '/etc/certstandby/ca.pem',
      tokenFile: '/etc/certstandby/token',
    },
  });
  const byReference = parsed('server: "https://c:6443", token: env:TOKEN') as KubernetesConfig;
  expect(JSON.stringify(byReference)).not.toContain('the token');
});

it.each([
  [
    '',
    [
      'stores.cluster.kubeconfig: how to reach the cluster must be said in one way: kubeconfig, or inCluster: true, or server',
    ],
  ],
  [
    'kubeconfig: k, inCluster: true',
    [
      'stores.cluster.kubeconfig: how to reach the cluster must be said in one way: kubeconfig, or inCluster: true, or server',
    ],
  ],
  ['inCluster: true, exec: true', ['stores.cluster.exec: says nothing without kubeconfig']],
  ['kubeconfig: k, tokenFile: t', ['stores.cluster.tokenFile: says nothing without server']],
  ['server: "https://c"', ['stores.cluster.server: takes either token or tokenFile']],
  ['kubeconfig: k, namespaces: [a, b, a]', ['stores.cluster.namespaces: names a twice']],
  ['kubeconfig: k, namespaces: [a], into: b', ['stores.cluster.into: is none of namespaces']],
  ['kubeconfig: k, namespaces: [A_b]', ['stores.cluster.namespaces.0 (line 4): must be the name of a namespace']],
  ['kubeconfig: k, namespaces: []', ['stores.cluster.namespaces (line 4): must name at least one namespace']],
])('names what is wrong: %s', (settings, mistakes) => {
  expect(parsed(settings)).toEqual(mistakes);
});

it('takes no address in the clear, but on this machine', () => {
  expect(parsed('server: "http://c:6443", tokenFile: t')).toEqual([expect.stringContaining('loopback')]);
  expect(parsed('server: "http://127.0.0.1:8001", tokenFile: t')).toMatchObject({ access: { by: 'token' } });
});

it('is not for functions, and says so', () => {
  expect(parsed('kubeconfig: k', 'aws')).toEqual(
    expect.arrayContaining(['stores.cluster.kind: functions on aws have no kubernetes']),
  );
});
