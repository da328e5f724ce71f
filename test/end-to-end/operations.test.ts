import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { openTable } from '../../src/compose/tables.ts';
import { loadConfig } from '../../src/config.ts';
import { processOwner } from '../../src/process-owner.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, type TestHost, testHost } from '../support/command.ts';
import { backupCrn, primaryCrn } from './program.ts';
import { type Sides, startSides } from './sides.ts';

let sides: Sides;
let folder: string;
beforeEach(async () => {
  sides = await startSides();
  folder = await mkdtemp(join(tmpdir(), 'certstandby-operations-'));
  const store = (name: string, crn: string, url: string) =>
    `  ${name}: { kind: certificate-manager, instance: "${crn}", apiKey: env:KEY, endpoint: "${url}", iam: "${url}", settles: 300ms, listingLag: 0s, writesPerCertificatePerMinute: unlimited }`;
  await writeFile(
    join(folder, 'certstandby.yaml'),
    [
      'version: 1',
      'table: { kind: lmdb, path: records }',
      'stores:',
      store('frankfurt', primaryCrn, sides.primary.proxy.url),
      store('london', backupCrn, sides.backup.proxy.url),
      'links:',
      '  shop: { primary: frankfurt, backups: [london] }',
      '',
    ].join('\n'),
  );
});
afterEach(async () => {
  await sides.close();
  await rm(folder, { recursive: true, force: true });
});

const host = () => testHost({ env: { KEY: sides.apiKey } });

/** Runs a command with the configuration of this test. */
function run(args: readonly string[], given: TestHost = host()) {
  const [command = '', ...rest] = args;
  return runCommand([command, '--config', join(folder, 'certstandby.yaml'), ...rest], given);
}

async function importCertificate(name: string, into: 'primary' | 'backup' = 'primary') {
  const pem = await testCertificate({ domains: [`${name}.example.test`] });
  const content = parseContent(pem);
  const { id } = await sides[into].store.import({ content, metadata: { name, description: '', tags: [] } });
  return { id, content };
}

const jsonLines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('from nothing to all good: status, plan, apply, verify, status', async () => {
  await importCertificate('billing');
  await importCertificate('checkout');
  const before = await run(['status']);
  expect(before.code).toBe(6);
  expect(before.output).toContain(
    'shop: NOT GOOD\n  ! nothing has ever been compared: certstandby reconcile does that\n',
  );

  const plan = await run(['reconcile', '--plan']);
  expect(plan.code).toBe(6);
  expect(plan.output).toMatch(/^ {2}import {3}a new copy in london: billing \([0-9a-f]{12}…\), unknown$/m);
  const [, digest = ''] = /--link shop --apply ([0-9a-f]{16})$/m.exec(plan.output) ?? [];
  expect((await sides.backup.store.list({})).certificates).toEqual([]);

  const other = await run(['reconcile', '--apply', '0123456789abcdef']);
  expect(other).toMatchObject({ code: 6, errors: expect.stringContaining(`the plan is ${digest} by now`) });
  expect((await sides.backup.store.list({})).certificates).toEqual([]);
  const applied = await run(['reconcile', '--apply', digest]);
  expect(applied.errors).toBe('');
  expect(applied.output).toContain('shop: 2 certificates in the primary, 2 included; looked at: 2 unknown\n');
  expect(applied.output).toMatch(/^ {2}\d+ requests$/m);
  expect(applied.output).toContain('every included certificate is equal in the backup');
  expect(applied.code).toBe(0);
  expect((await run(['reconcile', '--plan'])).code).toBe(0);

  const verified = await run(['verify']);
  expect(verified).toMatchObject({ code: 0, errors: '' });
  expect(verified.output).toMatch(
    /^shop: 2 certificates read back in .*; 2 same\n {2}every copy is the same as its original, and would serve\n$/,
  );
  const after = await run(['status']);
  expect(after.code).toBe(0);
  expect(after.output).toMatch(
    /^shop: GOOD: 2 certificates equal in every backup, compared .* ago; proven by reading everything back .* ago\n/,
  );
  expect((await run(['status', '--quiet'])).output).toBe('');
});

test('a backup that cannot be reached: reconcile, verify and status say so, each with its exit code; then it is back', async () => {
  await importCertificate('billing');
  expect((await run(['reconcile'])).code).toBe(0);
  sides.backup.proxy.behave = () => 'drop';
  await importCertificate('checkout');
  const failed = await run(['reconcile', '--wait', '0']);
  expect(failed).toMatchObject({ code: 4, errors: expect.stringContaining('[store_unavailable]') });
  const status = await run(['status']);
  expect(status.code).toBe(4);
  expect(status.output).toMatch(/^shop: NOT GOOD\n {2}! the last reconcile failed .* ago: .*\[store_unavailable\]\n/);
  const verified = await run(['verify']);
  expect(verified.code).toBe(4);
  expect(verified.output).toContain('london could not be listed');
  expect(verified.output).not.toContain('would serve');
  sides.backup.proxy.behave = () => 'pass';
  expect((await run(['reconcile'])).code).toBe(0);
  expect((await run(['verify'])).code).toBe(0);
  expect((await run(['status'])).code).toBe(0);
});

test('what somebody did in the backup: verify names it, adopt takes it, JSON says it to programs', async () => {
  const { id, content } = await importCertificate('billing');
  await importCertificate('checkout');
  const byHand = await sides.backup.store.import({ content, metadata: { name: 'by hand', description: '', tags: [] } });
  const adopted = await run(['adopt', byHand.id]);
  expect(adopted.errors).toBe('');
  expect(adopted).toMatchObject({
    code: 0,
    output: expect.stringContaining(`${byHand.id} in london is the copy of billing (${id}) from now on`),
  });
  expect(await run(['adopt', byHand.id])).toMatchObject({
    code: 6,
    errors: expect.stringContaining('carries a mark already'),
  });
  await importCertificate('stranger', 'backup');
  expect((await run(['reconcile'])).output).toContain('not ours in the backups, and not touched: 1 certificate');

  const [copy] = (await sides.backup.store.list({})).certificates.filter(({ name }) => name === 'checkout');
  await sides.backup.store.delete(copy?.id ?? '');
  const { code, output } = await run(['verify', '--json']);
  expect(code).toBe(6);
  const lines = jsonLines(output);
  expect(
    lines
      .map(({ state, name }) => [state, name])
      .slice(0, -1)
      .toSorted(),
  ).toEqual([
    ['extra', 'stranger'],
    ['missing', 'checkout'],
    ['same', 'billing'],
  ]);
  expect(lines.at(-1)).toMatchObject({
    link: 'shop',
    certificates: 2,
    counts: { same: 1, missing: 1, extra: 1 },
    problems: 1,
    exit: 6,
  });
  const [status] = jsonLines((await run(['status', '--json'])).output);
  expect(status).toMatchObject({ link: 'shop', good: false, exit: 6, verify: { problems: 1 } });
  const reconciled = jsonLines((await run(['reconcile', '--json'])).output);
  expect(reconciled).toMatchObject([{ link: 'shop', asked: { missing: 1 }, problems: [], everything: 6, exit: 0 }]);
  expect(await run(['events', '--json'])).toMatchObject({ code: 0, output: '' });
});

test('Ctrl-C at any moment: it stops, says so, and the next run goes on', async () => {
  for (const name of ['one', 'two', 'three']) await importCertificate(name);
  const stopping = host();
  sides.backup.proxy.behave = ({ path }) => {
    if (path.includes('/import')) stopping.signal('SIGINT');
    return 'pass';
  };
  const stopped = await run(['reconcile'], stopping);
  expect(stopped.code).toBe(130);
  expect(stopped.errors).toContain('the reconcile of shop was stopped; what it asked for is kept');
  expect(stopped.output).not.toContain('equal in the backup');
  sides.backup.proxy.behave = () => 'pass';
  const again = await run(['reconcile']);
  expect(again).toMatchObject({ code: 0, errors: '' });
  expect((await sides.backup.store.list({})).certificates).toHaveLength(3);
  expect((await run(['verify'])).code).toBe(0);

  const listing = host();
  sides.primary.proxy.behave = ({ path }) => {
    if (path.includes('/certificates?')) listing.signal('SIGINT');
    return { delayMs: 50 };
  };
  expect((await run(['verify'], listing)).code).toBe(130);
});

test('a reconcile whose process was killed does not hold up the next one; one that runs elsewhere does', async () => {
  await importCertificate('billing');
  await run(['reconcile']);
  const config = loadConfig(join(folder, 'certstandby.yaml'), { KEY: sides.apiKey });
  const hold = async (owner: string) => {
    const table = await openTable(config.table);
    const now = Date.now();
    await linkRecords(table).beginReconcile('shop', { owner, now, until: now + 60_000, skewMs: 0 });
    await table.close();
  };
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const { id } = processOwner(() => 'nobody knows');
  const [form, boot, pids, times, pid, started, host] = id.split(' ');
  await hold([form, boot, pids, times, dead, started, host].join(' '));
  expect((await run(['reconcile'])).code).toBe(0);
  // An earlier process of this number.
  await hold([form, boot, pids, times, pid, Number(started) - 1, host].join(' '));
  expect((await run(['reconcile'])).code).toBe(0);
  await hold([form, boot, pids, times, dead, started, 'another-machine'].join(' '));
  expect(await run(['reconcile'])).toMatchObject({ code: 1, errors: expect.stringContaining('[reconcile_running]') });
});

test('mistakes in the command line are said, with exit code 2', async () => {
  expect((await run(['reconcile', '--plan', '--apply', 'x'])).code).toBe(2);
  expect((await run(['reconcile', '--yes-change', 'many'])).code).toBe(2);
  expect((await run(['events', '--last', '0'])).code).toBe(2);
  expect((await run(['adopt'])).code).toBe(2);
  expect(await run(['status', '--link', 'other'])).toMatchObject({
    code: 2,
    errors: expect.stringContaining('there is no link other; the configuration has shop'),
  });
});
