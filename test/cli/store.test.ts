import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openTable } from '../../src/compose/tables.ts';
import { loadConfig } from '../../src/config.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';

let folder: string;
let copies: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-accept-'));
  copies = join(folder, 'copies');
  mkdirSync(copies, { mode: 0o700 });
  const lineage = join(folder, 'live', 'shop.example.test');
  mkdirSync(lineage, { recursive: true, mode: 0o700 });
  const { certificate, intermediate = '', privateKey } = await testCertificate();
  writeFileSync(join(lineage, 'fullchain.pem'), certificate + intermediate);
  writeFileSync(join(lineage, 'privkey.pem'), privateKey.reveal(), { mode: 0o600 });
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
stores:
  live: { kind: directory, id: live, path: live, region: here }
  nas: { kind: directory, id: nas, path: copies, region: there }
links: { web: { primary: live, backups: [nas] } }
`,
  );
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const run = (...args: readonly string[]) =>
  runCommand([...args, '--config', join(folder, 'certstandby.yaml')], testHost({}));
const shown = () => readdirSync(copies).filter((name) => !name.startsWith('.'));

test('a backup that was replaced is told and not written to, until a person says that it is meant', async () => {
  expect((await run('reconcile')).code).toBe(0);
  expect(shown()).toHaveLength(1);

  rmSync(copies, { recursive: true });
  mkdirSync(copies, { mode: 0o700 });
  const refused = await run('reconcile', '--wait', '1');
  expect(refused.code).not.toBe(0);
  expect(refused.output + refused.errors).toContain('is not what was there when it was first used');
  expect(readdirSync(copies)).toEqual([]);

  const accepted = await run('store', 'accept', 'nas');
  expect(accepted.output).toContain('nas has no identity yet; its next write gives it one');
  expect((await run('reconcile', '--full')).code).toBe(0);
  expect(shown()).toHaveLength(1);
  expect((await run('store', 'accept', 'nas')).output).toMatch(/^nas is bound to \S+ already, and stays as it is\n$/);
});

test('a store that is not there is answered with what there is', async () => {
  const { code, errors } = await run('store', 'accept', 'paris');
  expect(code).toBe(2);
  expect(errors).toContain('there are: live, nas');
});

describe('the keys that verify the notifications of a store', () => {
  const pemOf = (text: string) =>
    `-----BEGIN PUBLIC KEY-----\n${Buffer.from(text).toString('base64')}\n-----END PUBLIC KEY-----\n`;
  const instance = `crn:v1:bluemix:public:cloudcerts:eu-de:a/${'0'.repeat(32)}:6e2e9f0e-0000-4000-8000-000000000001::`;
  beforeEach(() =>
    writeFileSync(
      join(folder, 'certstandby.yaml'),
      `version: 1
stores:
  frankfurt: { kind: certificate-manager, instance: '${instance}', apiKey: 'env:KEY' }
  nas: { kind: directory, id: nas, path: copies, region: there }
  attic: { kind: directory, id: attic, path: attic, region: there }
links:
  web: { primary: frankfurt, backups: [nas] }
  mail: { primary: frankfurt, backups: [attic] }
`,
    ),
  );
  const keep = async (keys: Readonly<Record<string, readonly { id: string; pem: string; goneAt?: number }[]>>) => {
    const table = await openTable(loadConfig(join(folder, 'certstandby.yaml'), { KEY: 'k' }).table);
    const records = linkRecords(table);
    for (const [link, kept] of Object.entries(keys))
      await records.saveVerificationKeys(link, await records.verificationKeys(link), kept, Date.now());
    await table.close();
  };
  const dropKey = (...args: readonly string[]) =>
    runCommand(
      ['store', 'drop-key', ...args, '--config', join(folder, 'certstandby.yaml')],
      testHost({ env: { KEY: 'k' } }),
    );
  const [one, two] = [
    { id: 'key-one', pem: pemOf('one') },
    { id: 'key-two', pem: pemOf('two') },
  ];

  test('are listed by link, with those that are served no more', async () => {
    expect((await dropKey('frankfurt')).output).toBe(
      'web\n  none yet: certstandby serve, or the sweep, fetches them\nmail\n  none yet: certstandby serve, or the sweep, fetches them\n',
    );
    await keep({ web: [one, { ...two, goneAt: Date.now() - 90 * 60_000 }] });
    const { output, code } = await dropKey('frankfurt');
    expect(code).toBe(0);
    expect(output).toMatch(
      /^web\n {2}key-one {2}served now\n {2}key-two {2}not served since .* ago, not used any more\n/,
    );
    const json = JSON.parse((await dropKey('frankfurt', '--json')).output);
    expect(json).toMatchObject({
      store: 'frankfurt',
      links: [{ link: 'web', keys: [{ id: 'key-one' }, { id: 'key-two' }] }, {}],
    });
    expect((await dropKey('nas')).output).toContain('nas sends no notifications');
  });

  test('lose one for every link that keeps it, when a person says so', async () => {
    await keep({ web: [one, two], mail: [two, one] });
    const { output, code } = await dropKey('frankfurt', 'key-one');
    expect(code).toBe(0);
    expect(output).toBe(
      'key-one verifies nothing for web any more; 1 key left\nkey-one verifies nothing for mail any more; 1 key left\n',
    );
    expect((await dropKey('frankfurt')).output).toBe(
      'web\n  key-two  served now\n  key-one  dropped\nmail\n  key-two  served now\n  key-one  dropped\n',
    );
    const again = await dropKey('frankfurt', 'key-one');
    expect(again.code).toBe(2);
    expect(again.errors).toContain('no key key-one is kept for frankfurt; there are: key-two');
  });

  test('and those of a sender whose issuer serves them, which are dropped alike', async () => {
    const file = join(folder, 'certstandby.yaml');
    writeFileSync(
      file,
      `version: 1
stores:
  nas: { kind: directory, id: nas, path: copies, region: there }
  attic: { kind: directory, id: attic, path: attic, region: there }
links:
  web: { primary: nas, backups: [attic] }
senders:
  hook: { kind: shared-secret, store: nas, digest: ${'0f'.repeat(32)} }
  ci:
    kind: oidc-token
    store: nas
    issuer: https://issuer.example.test
    jwks: https://issuer.example.test/keys
    audience: here
    bearer: { sub: site }
`,
    );
    expect((await dropKey('nas')).output).toBe('ci\n  none yet: certstandby serve, or the sweep, fetches them\n');
    await keep({ ci: [one, two] });
    const { output, code } = await dropKey('nas', 'key-one');
    expect(code).toBe(0);
    expect(output).toBe('key-one verifies nothing for ci any more; 1 key left\n');
    expect(JSON.parse((await dropKey('nas', '--json')).output)).toMatchObject({
      links: [],
      senders: [{ sender: 'ci', keys: [{ id: 'key-two' }], dropped: ['key-one'] }],
    });
    expect((await dropKey('nas', 'key-two')).errors).toContain('ci has no other verification key than key-two');
    expect((await dropKey('attic')).output).toContain('attic sends no notifications');
  });

  test('lose none where a link would be left without one', async () => {
    await keep({ web: [one, two], mail: [one] });
    const { code, errors } = await dropKey('frankfurt', 'key-one');
    expect(code).toBe(6);
    expect(errors).toContain('mail has no other verification key than key-one: it stays');
    expect(errors).toContain('serve another key first: it is fetched within a minute');
    expect((await dropKey('frankfurt')).output).not.toContain('dropped');
  });
});
