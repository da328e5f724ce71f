import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { runCommand } from '../support/command.ts';

// Three certificates in a folder: fewer than any brake looks at. `mv` stands for whatever empties
// it.
let folder: string;
let live: string;
let aside: string;
const names = ['api', 'shop', 'www'];

const run = (...args: string[]) => runCommand([...args, '--config', join(folder, 'certstandby.yaml')]);
const copies = () => readdirSync(join(folder, 'copies')).filter((name) => !name.startsWith('.'));
const move = (from: string, to: string) => {
  for (const name of names) renameSync(join(from, name), join(to, name));
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-vanished-'));
  [live, aside] = [join(folder, 'live'), join(folder, 'aside')];
  for (const each of [live, aside, join(folder, 'copies')]) mkdirSync(each, { mode: 0o700 });
  for (const name of names) {
    const { certificate, intermediate = '', privateKey } = await testCertificate();
    mkdirSync(join(live, name));
    writeFileSync(join(live, name, 'fullchain.pem'), certificate + intermediate);
    writeFileSync(join(live, name, 'privkey.pem'), privateKey?.reveal() ?? '', { mode: 0o600 });
  }
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
stores:
  live: { kind: directory, path: live, id: web-1, quiet: 100ms }
  copies: { kind: directory, path: copies, id: web-1-copies }
links: { web: { primary: live, backups: [copies], policy: { onDelete: remove, removeAfter: 1s, removeShare: 1 } } }
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('everything in the primary gone is exit code 6 everywhere, removes nothing, and is over when it is back', async () => {
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(await run('reconcile')).toMatchObject({ code: 0 });
  expect(await run('status')).toMatchObject({ code: 0 });
  expect(copies()).toHaveLength(3);

  move(live, aside);
  const reconciled = await run('reconcile');
  expect(reconciled).toMatchObject({ code: 6 });
  expect(reconciled.errors).toContain('reconcile_vanished');
  const status = await run('status');
  expect(status.code).toBe(6);
  expect(status.output).toMatch(/web: NOT GOOD\n {2}! all 3 certificates of the primary are gone/);
  expect(status.output).not.toContain('the brake holds');
  expect(JSON.parse((await run('status', '--json')).output.trim())).toMatchObject({
    ...{ good: false, exit: 6, vanished: { gone: 3, of: 3, names: expect.arrayContaining(names) } },
  });
  const verify = await run('verify');
  expect(verify.code).toBe(6);
  expect(verify.output).toContain('all 3 certificates of the primary are gone');
  expect(verify.output).not.toContain('every copy is the same');
  expect((await run('reconcile', '--plan')).code).toBe(6);
  expect(copies()).toHaveLength(3);

  move(aside, live);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(await run('reconcile')).toMatchObject({ code: 0 });
  expect(await run('status')).toMatchObject({ code: 0 });
});

test('a person says that it is meant by the command that status prints, and only for what status said', async () => {
  move(live, aside);
  await run('reconcile');
  const [, command = ''] = /Meant\? certstandby (.*)/.exec((await run('status')).output) ?? [];
  expect(command).toMatch(/^reconcile --link web --accept-vanished [0-9a-f]{16}$/);
  const another = await run('reconcile', '--link', 'web', '--accept-vanished', '0123456789abcdef');
  expect(another).toMatchObject({ code: 6 });
  expect(another.errors).toContain('reconcile_vanished_changed');
  expect(await run(...command.split(' '))).toMatchObject({ code: 0 });
  const status = await run('status');
  expect(status.code).toBe(0);
  expect(status.output).toMatch(/accepted .* ago: 3 of 3 certificates gone from the primary/);
});
