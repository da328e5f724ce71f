import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import { type Cluster, issueAsCertManager, requireKubernetes, startKubernetes } from './kube-apiserver.ts';

const programs = requireKubernetes();

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** The Role and its binding as the page of the service has them. */
function rolesOfPage(): readonly { readonly kind: string; readonly rules?: readonly Rule[] }[] {
  const page = readFileSync(new URL('../../src/services/kubernetes/README.md', import.meta.url), 'utf8');
  const block = page.match(/```yaml\n(apiVersion: rbac[\s\S]*?)```/)?.[1] ?? '';
  return parseAllDocuments(block).map((document) => document.toJS());
}

describe.skipIf(programs === undefined)('rights in a real cluster', () => {
  let cluster: Cluster;
  let folder: string;
  const namespace = 'web';
  const roles = '/apis/rbac.authorization.k8s.io/v1/namespaces/web';

  beforeAll(async () => {
    cluster = await startKubernetes(programs ?? '');
    await cluster.namespace(namespace);
    folder = mkdtempSync(join(tmpdir(), 'certstandby-rights-'));
    mkdirSync(join(folder, 'site'), { mode: 0o700 });
    const binding = rolesOfPage().find(({ kind }) => kind === 'RoleBinding');
    const subjects = [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'standby' }];
    await cluster.ask('POST', `${roles}/rolebindings`, { ...binding, subjects });
    await issueAsCertManager(cluster, 'web/shop-tls', await testCertificate());
  });
  afterAll(async () => {
    await cluster?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Gives exactly these rules. */
  async function grant(rules: readonly Rule[]): Promise<void> {
    const role = rolesOfPage().find(({ kind }) => kind === 'Role');
    await cluster.status('DELETE', `${roles}/roles/certstandby`);
    await cluster.ask('POST', `${roles}/roles`, { ...role, rules });
  }
  const fullRules = () => rolesOfPage().find(({ kind }) => kind === 'Role')?.rules ?? [];
  const without = (resource: string, verb: string) =>
    fullRules()
      .map((rule) =>
        rule.resources[0] === resource ? { ...rule, verbs: rule.verbs.filter((one) => one !== verb) } : rule,
      )
      .filter(({ verbs }) => verbs.length > 0);

  /** What doctor finds, the cluster being the primary or the backup. */
  async function doctor(part: 'primary' | 'backup') {
    const file = join(folder, 'certstandby.yaml');
    writeFileSync(join(folder, 'token'), cluster.tokens.standby, { mode: 0o600 });
    const [primary, backup] = part === 'primary' ? ['cluster', 'site'] : ['site', 'cluster'];
    writeFileSync(
      file,
      `version: 1
stores:
  cluster: { kind: kubernetes, id: rights, namespaces: [web], server: "${cluster.url}", ca: ${cluster.trustFile}, tokenFile: token }
  site: { kind: directory, id: site, path: site }
links: { web: { primary: ${primary}, backups: [${backup}] } }
`,
      { mode: 0o600 },
    );
    const { code, output, errors } = await runCommand(['doctor', '--json', '--config', file], testHost());
    const findings = `${output}\n${errors}`
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
      .filter(({ about }) => about === 'cluster');
    return { code, findings, problems: findings.filter(({ outcome }) => outcome === 'problem') };
  }

  it.each(['primary', 'backup'] as const)('those of the page are enough for a %s, and doctor says so', async (part) => {
    await grant(part === 'backup' ? fullRules() : readOnly());
    const { problems, findings } = await doctor(part);
    expect(problems).toEqual([]);
    const count = part === 'backup' ? 6 : 4;
    expect(findings.map(({ message }) => message)).toContain(`has all ${count} rights that it needs`);
  });

  const readOnly = () =>
    fullRules().map((rule) => ({ ...rule, verbs: rule.verbs.filter((verb) => /get|list|watch/.test(verb)) }));

  it.each([
    ['secrets', 'get'],
    ['secrets', 'list'],
    ['secrets', 'watch'],
    ['secrets', 'create'],
    ['secrets', 'update'],
    ['secrets', 'delete'],
    ['namespaces', 'get'],
  ])('without the right on %s to %s doctor says that, and the line that mends it does', async (resource, verb) => {
    await grant(without(resource, verb));
    const part = verb === 'watch' ? 'primary' : 'backup';
    const { code, problems } = await doctor(part);
    expect(code).toBe(4);
    const what = resource === 'secrets' ? `${verb} secrets of the namespace web` : `${verb} the namespace web`;
    expect(problems).toMatchObject([{ code: 'store_unauthorized', message: `the credentials may not ${what}` }]);
    const [{ remedy }] = problems;
    console.info(`without ${verb} ${resource}: ${problems[0].message}\n  ${remedy}`);
    const [, line = ''] = /: - (\{.*\})$/.exec(remedy) ?? [];
    await grant([...without(resource, verb), parse(line)]);
    expect((await doctor(part)).problems).toEqual([]);
  });

  it('a token that the cluster does not take is told as that', async () => {
    await grant(fullRules());
    const tokens = cluster.tokens as { standby: string };
    const good = tokens.standby;
    tokens.standby = 'nobodys-token';
    const { code, problems } = await doctor('primary');
    tokens.standby = good;
    expect(code).toBe(4);
    expect(problems[0]).toMatchObject({ code: 'store_unauthorized' });
    expect(problems[0].remedy).toContain('does not take these credentials');
  });
});
