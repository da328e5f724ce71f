import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { testCertificate } from '../../support/certificates.ts';
import { runCommand, testHost } from '../../support/command.ts';
import { type FakeVault, startFakeVault } from './fake.ts';

let folder: string;
let server: FakeVault;
const fields = new Map<string, Record<string, string>>();
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-adopt-'));
  server = await startFakeVault();
  for (const name of ['shop', 'api', 'mail', 'late']) {
    const { certificate, intermediate = '', privateKey } = await testCertificate();
    const lineage = join(folder, 'live', name);
    mkdirSync(lineage, { recursive: true, mode: 0o700 });
    writeFileSync(join(lineage, 'fullchain.pem'), certificate + intermediate);
    writeFileSync(join(lineage, 'privkey.pem'), privateKey.reveal(), { mode: 0o600 });
    fields.set(name, { 'tls.crt': certificate + intermediate, 'tls.key': privateKey.reveal(), leaf: certificate });
  }
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
stores:
  live: { kind: directory, id: live, path: live, quiet: 0s }
  vault: { kind: vault, address: "${server.url}", token: env:TOKEN, readSettles: 0s, listingLag: 0s }
links: { web: { primary: live, backups: [vault] } }
`,
  );
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...args: readonly string[]) =>
  runCommand([...args, '--config', join(folder, 'certstandby.yaml')], testHost({ env: { TOKEN: 'hvs.root' } }));
const put = (path: string, data: Record<string, unknown>) => {
  const version = { data, created_time: new Date().toISOString(), deletion_time: '', destroyed: false };
  server.secrets.set(path, { versions: [version], custom: { 'managed-by': 'external-secrets' } });
};
const pushed = (name: string) => {
  const { leaf: _leaf, ...kept } = fields.get(name) ?? {};
  return kept;
};
const customOf = (path: string) => server.secrets.get(path)?.custom ?? {};

test('copies of another tool are taken over after each was proven equal, by a plan that changes nothing', async () => {
  const stranger = await testCertificate();
  put('shop', pushed('shop'));
  put('team/api', { ...pushed('api'), 'ca.crt': 'the root' });
  put('team/api-again', pushed('api'));
  put('mail', { 'tls.crt': fields.get('mail')?.leaf ?? '', 'tls.key': fields.get('mail')?.['tls.key'] ?? '' });
  put('other', { cert: stranger.certificate, key: stranger.privateKey.reveal() });
  put('database', { password: 'hunter2' });
  const before = JSON.stringify([...server.secrets]);

  const plan = await run('adopt', '--all', '--plan');
  expect(plan.errors).toBe('');
  expect(plan.output).toBe(
    `  leave  mail as the copy of mail: its chain is missing (the primary has 1 above the leaf)
  leave  other: the primary has no certificate with this leaf
  adopt  shop as the copy of shop
  adopt  team/api as the copy of api
  leave  team/api-again as the copy of api: team/api is another copy of the same certificate
vault: 5 copies without our mark; 2 would be adopted; 1 left as they are: they differ, see --replace; 1 refused; 1 of no certificate of this primary
  nothing was changed
`,
  );
  expect(plan.code).toBe(0);
  expect(JSON.stringify([...server.secrets])).toBe(before);

  const done = await run('adopt', '--all', 'shop', 'api', 'other', '--json');
  expect(done.code).toBe(0);
  const items = done.output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(items.at(-1)).toMatchObject({ backup: 'vault', adopted: 2, lines: 3, plan: false });
  expect(customOf('shop')).toMatchObject({
    'managed-by': 'external-secrets',
    certstandby: 'certstandby:1 directory:live shop',
  });
  expect(Object.keys(server.secrets.get('team/api')?.versions.at(-1)?.data ?? {})).toEqual([
    'tls.crt',
    'tls.key',
    'ca.crt',
  ]);
  expect(server.secrets.get('team/api')?.versions).toHaveLength(1);

  const replaced = await run('adopt', '--all', 'mail', '--replace');
  expect(replaced.code).toBe(0);
  expect(server.secrets.get('mail')?.versions).toHaveLength(2);

  // From now on they are the copies: nothing else is made of them, and what had none gets one.
  expect((await run('reconcile')).code).toBe(0);
  expect((await run('verify')).code).toBe(0);
  const ours = [...server.secrets].filter(([, { custom }]) => custom?.certstandby !== undefined).map(([path]) => path);
  expect(ours.sort()).toEqual([expect.stringMatching(/^late-[0-9a-f]{16}$/), 'mail', 'shop', 'team/api']);
  expect(customOf('other')).toEqual({ 'managed-by': 'external-secrets' });
});

test('what is asked for wrongly is answered with how it is asked for', async () => {
  expect(await run('adopt')).toMatchObject({
    code: 2,
    errors: expect.stringContaining('give the id of one copy, or --all'),
  });
  expect(await run('adopt', 'a', 'b')).toMatchObject({ code: 2 });
  expect(await run('adopt', 'a', '--plan')).toMatchObject({
    code: 2,
    errors: expect.stringContaining('--plan is for --all'),
  });
  expect(await run('adopt', '--all', '--of', 'x')).toMatchObject({ code: 2 });
  expect(await run('adopt', '--all', '--plan')).toMatchObject({
    code: 0,
    output: expect.stringContaining('0 copies without our mark'),
  });
});
