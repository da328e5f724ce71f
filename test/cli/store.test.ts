import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
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
