import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { functionPolicies, rightsOfLinks } from '../../src/compose/rights.ts';
import { parseConfig } from '../../src/config.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { rightsOf as acmRights } from '../../src/services/aws-acm/rights.ts';
import { acmStore } from '../../src/services/aws-acm/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import { startFakeAcm } from '../support/fake-acm.ts';

const account = '123456789012';
const text = (more = '') => `version: 1
stores:
  ireland: { kind: aws-secrets-manager, region: eu-west-1, account: "${account}", namePrefix: certs/${more} }
  serving: { kind: aws-acm, region: us-east-1, account: "${account}" }
  folder: { kind: directory, path: /srv, id: a }
links:
  shop: { primary: ireland, backups: [serving, folder] }
`;
const configOf = (given: string) => parseConfig(given, { path: '/etc/c.yaml', env: {}, readFile: () => '' });
const actionsIn = (statements: readonly object[] = []) =>
  statements.flatMap((statement) => (statement as { readonly Action: readonly string[] }).Action);

test('each store of a link has the rights of what it is there, for its account, region and prefix alone', async () => {
  const [ireland, serving, folder] = await rightsOfLinks(configOf(text()));
  expect(ireland).toMatchObject({ link: 'shop', store: 'ireland', use: 'primary' });
  expect(actionsIn(ireland?.statements)).toEqual([
    'secretsmanager:ListSecrets',
    'secretsmanager:DescribeSecret',
    'secretsmanager:GetSecretValue',
  ]);
  expect(JSON.stringify(ireland?.statements)).toContain(`arn:aws:secretsmanager:eu-west-1:${account}:secret:certs/*`);
  expect(actionsIn(serving?.statements)).toContain('acm:ImportCertificate');
  expect(actionsIn(serving?.statements)).not.toContain('acm:ExportCertificate');
  expect(folder?.statements).toBeUndefined();
});

test('functions get what their stores take, a role of a store in its place, and nothing for an access key', async () => {
  const plain = await functionPolicies(configOf(text()));
  expect(actionsIn(plain?.reconcile)).toEqual([
    ...['secretsmanager:ListSecrets', 'secretsmanager:DescribeSecret'],
    ...['acm:ListCertificates', 'acm:ListTagsForCertificate'],
  ]);
  expect(actionsIn(plain?.replicate)).toEqual(
    expect.arrayContaining(['secretsmanager:GetSecretValue', 'acm:ImportCertificate']),
  );
  const role = 'arn:aws:iam::210987654321:role/copies';
  const withRole = await functionPolicies(configOf(text(`, role: "${role}"`)));
  expect(withRole?.replicate[0]).toEqual({ Effect: 'Allow', Action: ['sts:AssumeRole'], Resource: role });
  expect(actionsIn(withRole?.replicate)).not.toContain('secretsmanager:GetSecretValue');
  const none = await functionPolicies(
    configOf(
      text()
        .replace(/ {2}(ireland|serving):.*\n/g, '')
        .replace('ireland, backups: [serving, folder]', 'folder, backups: [other]')
        .replace('links:', '  other: { kind: directory, path: /mnt, id: b }\nlinks:'),
    ),
  );
  expect(none).toBeUndefined();
});

test('doctor --rights prints a policy for each store of each link, and asks nobody', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-rights-'));
  try {
    const file = join(folder, 'certstandby.yaml');
    writeFileSync(file, text());
    const { code, output } = await runCommand(
      ['doctor', '--rights', '--json', '--config', file],
      testHost({ env: {} }),
    );
    expect(code).toBe(0);
    const items = output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(items.map(({ store, use }) => [store, use])).toEqual([
      ['ireland', 'primary'],
      ['serving', 'backup'],
      ['folder', 'backup'],
    ]);
    expect(items[0].policy.Version).toBe('2012-10-17');
    const words = await runCommand(['doctor', '--rights', '--config', file], testHost({ env: {} }));
    expect(words.output).toContain('shop: ireland (aws-secrets-manager) as primary');
    expect(words.output).toContain('"secretsmanager:GetSecretValue"');
    expect(words.output).toContain('src/services/directory/README.md');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a backup in ACM calls what its policy allows, each of that, and nothing else', async () => {
  const fake = await startFakeAcm();
  const store = acmStore({
    ...{ region: 'eu-west-1', account, endpoint: fake.url },
    key: { accessKeyId: 'testing', secretAccessKey: new Secret('testing') },
    runtime: { ...systemRuntime, wait: async () => {} },
  });
  const mark = { store: 'primary', certificate: 'one' };
  const metadata = { name: 'shop', description: '', tags: [] };
  const { id } = await store.import({ content: parseContent(await testCertificate()), metadata, mark });
  await store.reimport(id, parseContent(await testCertificate()));
  await store.updateMetadata(id, { ...metadata, tags: ['team=web'] }, mark);
  await store.updateMetadata(id, metadata, mark);
  await store.list({});
  await store.read(id);
  await store.readMetadata(id);
  await store.findByMark?.(mark);
  await store.delete(id);
  await fake.close();
  const called = [...new Set(fake.calls)].map((call) => (call === 'GetResources' ? `tag:${call}` : `acm:${call}`));
  const config = { kind: 'aws-acm', name: 'serving', region: 'eu-west-1', account } as const;
  expect(called.sort()).toEqual(actionsIn(acmRights(config, 'backup')).sort());
});
