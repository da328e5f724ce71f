import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openTable } from '../../src/compose/tables.ts';
import { startInstanceServer } from '../../src/instance/api/server.ts';
import { instanceRegistry } from '../../src/instance/tenants/registry.ts';
import { dataKeyPartition } from '../../src/keys/data-key-rows.ts';
import { systemRuntime } from '../../src/runtime.ts';
import type { Key } from '../../src/table/table.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand } from '../support/command.ts';
import { putCertificate } from '../support/folder-soup.ts';
import { testKeyring } from '../support/keyring.ts';

/**
 * Every command that goes through links, stores or instances, with the first of two bad: it is
 * named, the second is done, and the exit code tells. A new command of the kind is a line of a
 * table.
 */

function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-loops-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Puts a row into a table that nobody could have written. */
async function damage(path: string, { partition, sort }: Key): Promise<void> {
  const table = await openTable({ kind: 'lmdb', path });
  await table.update({ partition, sort }, { set: { format: 'none that is known' } });
  await table.close();
}

/** Two links, reconciled; each has a primary and a backup of its own. */
async function twoLinks() {
  const folder = testFolder();
  const sides = (link: string) => ({ primary: join(folder, `${link}-live`), backup: join(folder, `${link}-copies`) });
  for (const link of ['one', 'two']) {
    const { primary, backup } = sides(link);
    for (const each of [primary, backup]) mkdirSync(each, { mode: 0o700 });
    putCertificate(join(primary, 'shop'), await testCertificate());
  }
  const config = join(folder, 'certstandby.yaml');
  writeFileSync(
    config,
    `version: 1
table: { kind: lmdb, path: records }
receiver: { port: 0 }
serve: { metrics: { port: 0 } }
stores:
  one-live: { kind: directory, path: one-live, id: one, quiet: 0s }
  one-copies: { kind: directory, path: one-copies, id: one-copies }
  two-live: { kind: directory, path: two-live, id: two, quiet: 0s }
  two-copies: { kind: directory, path: two-copies, id: two-copies }
links:
  one: { primary: one-live, backups: [one-copies] }
  two: { primary: two-live, backups: [two-copies] }
`,
  );
  const run = (args: readonly string[]) => runCommand([...args, '--config', config]);
  expect((await run(['reconcile', '--wait', '0'])).code).toBe(0);
  return { run, primary: sides('one').primary };
}

test.each([
  ['reconcile --plan', 4, /^two: 1 certificate in the primary/m],
  ['reconcile --wait 0', 4, /^two: 1 certificate in the primary/m],
  ['verify', 4, /^two: /m],
  ['doctor', 4, /two-live: may (?:list|read)/],
])('%s goes on past a link whose primary is gone, names it, and exits with %i', async (command, exit, good) => {
  const { run, primary } = await twoLinks();
  rmSync(primary, { recursive: true });
  const { code, output, errors } = await run(command.split(' '));
  expect(output).toMatch(good);
  expect(output + errors).toContain(primary);
  expect(code).toBe(exit);
});

const ofApiKeys = (crn: string): Key => ({ partition: `instance.1/${crn}/api-key`, sort: 'damaged' });
const ofDataKeys = (crn: string): Key => ({ partition: dataKeyPartition(crn), sort: 'damaged' });

test.each([
  ['instance list', '--folder', ofApiKeys, 5],
  ['instance rewrap', '--folder', ofDataKeys, 4],
  ['instance check', '--folder', ofDataKeys, 5],
  ['instance rotate-data-key', '--folder', ofDataKeys, 5],
  ['doctor', '--instances', ofDataKeys, 5],
] as const)('%s goes on past an instance with a damaged row, names it, and exits with its code', async (...given) => {
  const [command, option, rowOf, exit] = given;
  const folder = join(testFolder(), 'instances');
  const crns: string[] = [];
  for (const region of ['eu-de', 'eu-gb']) {
    const { output } = await runCommand(['instance', 'create', '--folder', folder, '--region', region, '--json']);
    crns.push(/crn:v1:[^"]+::/.exec(output)?.[0] ?? '');
  }
  const [bad = '', good = ''] = crns.sort();
  await damage(join(folder, 'data'), rowOf(bad));
  const { code, output, errors } = await runCommand([...command.split(' '), option, folder]);
  expect(output).toContain(good);
  expect(output + errors).toContain(`${bad}: `);
  expect(output + errors).toContain('[table_row_unreadable]');
  expect(code).toBe(exit);
});

test('a server lets people into the other instances where an API key of one is damaged, and says which', async () => {
  const folder = join(testFolder(), 'instances');
  const keys = new Map<string, string>();
  for (const region of ['eu-de', 'eu-gb']) {
    const { output } = await runCommand(['instance', 'create', '--folder', folder, '--region', region, '--json']);
    const { crn, apiKey } = JSON.parse(output.split('\n').find((line) => line.includes('apiKey')) ?? '{}');
    keys.set(crn, apiKey);
  }
  const [bad = '', good = ''] = [...keys.keys()].sort();
  await damage(join(folder, 'data'), ofApiKeys(bad));
  const table = await openTable({ kind: 'lmdb', path: join(folder, 'data') });
  const logged: string[] = [];
  const server = await startInstanceServer({
    host: '127.0.0.1',
    port: 0,
    table,
    runtime: systemRuntime,
    log: (_level, event, fields) => void logged.push(`${event} ${JSON.stringify(fields)}`),
    limits: 'none',
    keyringOf: (tenant) => testKeyring(tenant),
    instances: [],
    registry: instanceRegistry({ table, runtime: systemRuntime }),
  });
  const statusOf = async (crn: string) =>
    (
      await fetch(`${server.url}/identity/token`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: `grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey=${keys.get(crn)}`,
      })
    ).status;
  try {
    expect(await statusOf(good)).toBe(200);
    expect(await statusOf(bad)).toBe(400);
    expect(logged.filter((line) => line.startsWith('instance_api_keys_unread'))).toEqual([
      expect.stringContaining(bad),
    ]);
  } finally {
    await server.close();
    await table.close();
  }
});
