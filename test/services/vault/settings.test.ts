import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import type { CodedError } from '../../../src/errors.ts';
import type { VaultConfig } from '../../../src/services/vault/settings.ts';

const sources = {
  path: '/etc/certstandby/c.yaml',
  env: { T: 'token', S: 'secret id', FRANKFURT_API_KEY: 'k', VAULT_SECRET_ID: 's' },
  readFile: () => '',
};
const withStores = (...stores: readonly string[]) => `version: 1
stores:
${stores.map((store, index) => `  s${index}: { kind: vault, ${store} }`).join('\n')}
links: { down: { primary: s0, backups: [s1] } }
`;
function mistakesOf(...stores: readonly string[]): unknown {
  try {
    parseConfig(withStores(...stores), sources);
  } catch (thrown) {
    return (thrown as CodedError).fields.mistakes;
  }
  return [];
}
const good = 'address: "https://a.test", token: env:T';

test('the example of its page is one that is taken, and its secrets are read', () => {
  const page = readFileSync(new URL('../../../src/services/vault/README.md', import.meta.url), 'utf8');
  const [, example = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
  const { stores } = parseConfig(example, sources);
  expect(stores[1]).toMatchObject({
    name: 'vault',
    id: 'vault.example.test:8200//secret/standby',
    region: 'vault',
    login: 'approle',
    ca: '/etc/certstandby/vault-ca.pem',
  });
  expect((stores[1] as VaultConfig).secretId).toBeDefined();
});

test('its id is made of where it is, unless it is given one', () => {
  const ids = (...stores: readonly string[]) =>
    parseConfig(withStores(...stores), sources).stores.map((store) => (store as VaultConfig).id);
  expect(ids(good, `${good}, namespace: team/a, mount: kv, prefix: certs/live`)).toEqual([
    'a.test:443//secret/',
    'a.test:443/team/a/kv/certs/live',
  ]);
  expect(ids(`${good}, id: here`, 'address: "http://127.0.0.1:8200", token: env:T')).toEqual([
    'here',
    '127.0.0.1:8200//secret/',
  ]);
});

test('each mistake of a login is named, with what it needs', () => {
  expect(
    mistakesOf(
      'address: "https://a.test"',
      'address: "https://b.test", login: approle, roleId: r, role: x',
      'address: "https://c.test", login: jwt, jwt: env:T, jwtFile: f',
      'address: "https://d.test", token: env:T, clientCertificate: c.pem',
      'address: "https://e.test", token: env:T, keyField: k, prefix: /certs/../x',
      'address: "http://f.test", token: env:T, version: 3, layout: mine',
    ),
  ).toEqual([
    'stores.s4.prefix (line 7): must be a path such as certs or team/certs, without a slash at its ends',
    'stores.s5.version (line 8): must be 1 or 2',
    'stores.s5.layout (line 8): must be pki or tls or cert-key or traefik-enterprise',
    'stores.s0.token: is missing: login token needs token or tokenFile',
    'stores.s1.secretId: is missing: login approle needs secretId',
    'stores.s1.role: is for login kubernetes or jwt or cert, and login is approle',
    'stores.s2.role: is missing: login jwt needs role',
    'stores.s2.jwt: only one of jwt and jwtFile can hold it',
    'stores.s3.clientKey: is missing: a certificate is shown with its key',
    'stores.s4.certificateField: is missing: the other fields are named beside that of the certificate',
    'stores.s5.address: must begin with https://; plain http:// is allowed on loopback only, for keys would travel in the clear',
  ]);
});

test('two stores that are one place, or of which one lies in the other, are a mistake', () => {
  const same = mistakesOf(good, `${good}, id: another`) as string[];
  expect(same).toContain('stores.s1: is the same place as stores.s0');
  expect(mistakesOf(`${good}, prefix: certs`, `${good}, prefix: certs/live`)).toEqual([
    'stores.s1: lies in the place of stores.s0; one would take the other for copies',
  ]);
  expect(mistakesOf(`${good}, prefix: certs/live`, good)).toEqual([
    'stores.s0: lies in the place of stores.s1; one would take the other for copies',
  ]);
  expect(mistakesOf(`${good}, prefix: certs`, `${good}, prefix: certs-old`)).toEqual([]);
  expect(mistakesOf(`${good}, namespace: a`, `${good}, namespace: b`)).toEqual([]);
});

test('an audit device tells of a store of its own kind, and of the same place', () => {
  const withSender = (sender: string) => `version: 1
stores:
  bao: { kind: vault, ${good}, prefix: certs, namespace: team }
  copies: { kind: directory, path: copies, id: copies }
links: { down: { primary: bao, backups: [copies] }, up: { primary: copies, backups: [bao] } }
senders: { told: { kind: openbao-audit, digest: '${'0'.repeat(64)}', ${sender} } }
`;
  const mistakes = (sender: string): unknown => {
    try {
      parseConfig(withSender(sender), sources);
    } catch (thrown) {
      return (thrown as CodedError).fields.mistakes;
    }
    return [];
  };
  expect(mistakes('store: bao, prefix: certs, namespace: team')).toEqual([]);
  expect(mistakes('store: bao, prefix: other')).toEqual([
    'senders.told.prefix: is not that of the store, which is certs',
    'senders.told.namespace: is not that of the store, which is team',
  ]);
  expect(mistakes('store: copies')).toEqual(['senders.told.store: must be a store of the kind vault']);
});
