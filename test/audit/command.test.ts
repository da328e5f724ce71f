import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { personHere } from '../../src/audit/person.ts';
import { compose } from '../../src/compose/program.ts';
import { type Config, loadConfig, readConfigFile, writtenSettings } from '../../src/config.ts';
import type { CodedError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { openSigningKey } from '../../src/signing/signing-key.ts';
import { openLmdbTable } from '../../src/table/lmdb.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import { liveFolder } from '../support/live-folder.ts';
import { root } from '../support/root.ts';
import { rowsOf } from './trail.ts';

let folder: string;
let file: string;
let folders = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-audit-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const lines = (more = '') => `version: 1
table: { kind: lmdb, path: records }
${more}
stores:
  web: { kind: directory, path: live, id: web-1, quiet: 0s }
  copies: { kind: directory, path: copies, id: web-1-copies }
links: { shop: { primary: web, backups: [copies] } }
`;

/** A folder of its own: a primary with one certificate, and where copies go. */
beforeEach(async () => {
  folders += 1;
  const at = join(folder, String(folders));
  file = join(at, 'certstandby.yaml');
  mkdirSync(join(at, 'copies'), { recursive: true, mode: 0o700 });
  liveFolder(at).renew('shop', await testCertificate());
  writeFileSync(file, lines());
});

const run = (...args: readonly string[]) =>
  runCommand(
    [...args, '--config', file],
    testHost({ env: { NO_COLOR: '1', SSH_CONNECTION: '192.0.2.7 4711 10.0.0.1 22' } }),
  );
const audit = (...args: readonly string[]) => run('audit', ...args);
const near = (name: string) => join(file, '..', name);

test('what a command wrote, and who ran it, is listed, verified, signed, exported, and erased', async () => {
  expect(await audit('list')).toMatchObject({ code: 0, output: 'nothing is told yet\n' });
  expect(await run('reconcile', '--full')).toMatchObject({ code: 0 });
  expect(await run('reconcile', '--plan')).toMatchObject({ code: 0 });
  const listed = await audit('list');
  expect(listed).toMatchObject({ code: 0, errors: '' });
  const [begin, , act, , pass] = listed.output.split('\n');
  expect(begin).toMatch(/ begin {4}reconcile begins a chain$/);
  expect(act).toMatch(/ act {6}certstandby reconcile --full, by \S+ on \S+ from 192\.0\.2\.7$/);
  expect(pass).toMatch(/ pass {5}shop: .*: imported in directory:\S+ as \S+$/);

  const verified = await audit('verify');
  expect(verified).toMatchObject({ code: 0, errors: '' });
  expect(verified.output).toMatch(/^3 lines in 1 chain: as they were written\n/);
  expect(verified.output).toContain('can be seen only with --checkpoint');

  const kept = near('kept.json');
  const signed = await audit('checkpoint', kept);
  expect(signed).toMatchObject({ code: 0 });
  expect(signed.output).toMatch(/3 lines in 1 chain, signed with SHA256:/);
  expect(await audit('checkpoint', kept)).toMatchObject({
    code: 2,
    errors: expect.stringContaining('is there already: give the path of a new file'),
  });
  expect((await audit('verify', '--checkpoint', kept)).output).toMatch(/compared with the checkpoint of \d{4}/);

  const events = (await audit('export')).output
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text));
  expect(events.map(({ event }) => event.action)).toEqual(['trail-begun', 'command-run', 'copy-written']);
  const [, command, written] = events;
  expect(command).toMatchObject({
    ecs: { version: '8.11.0' },
    event: { kind: 'event', category: ['configuration'], provider: 'certstandby', sequence: 2 },
    source: { ip: '192.0.2.7' },
    certstandby: { command: 'reconcile', options: { full: true } },
  });
  expect(JSON.parse(written.event.original).before).toBe(command.event.hash);
  expect((await audit('export', '--no-people')).output).not.toContain('192.0.2.7');

  const { user } = command;
  expect(await audit('erase', '--user', 'nobody-of-this-name')).toMatchObject({
    code: 2,
    errors: expect.stringContaining('the trail knows no user nobody-of-this-name'),
  });
  expect((await audit('erase', '--user', user.name)).output).toBe(
    'erased who did 1 act; what was done stays, and can be proven\n',
  );
  const after = await audit('list', '--kind', 'act');
  expect(after.output).toMatch(/certstandby reconcile --full\n/);
  expect(after.output).toMatch(/certstandby audit erase: erased who did 1 act, by /);
  expect((await audit('verify', '--checkpoint', kept)).code).toBe(0);
});

test('what was altered on the table is named with exit 6, and a tail that was cut by the checkpoint alone', async () => {
  await run('reconcile', '--full');
  const kept = near('kept.json');
  await audit('checkpoint', kept);
  const table = await openLmdbTable({ path: near('records') });
  const [chain] = await rowsOf(table, 'audit-chains.1');
  const [block] = await rowsOf(table, `audit.1/${chain?.sort}`);
  const key = { partition: String(block?.partition), sort: String(block?.sort) };
  const texts = block?.lines as readonly string[];
  await table.update(key, {
    set: { lines: texts.map((text) => text.replace('"reconcile","options"', '"adopt","options"')) },
  });
  await table.close();
  const changed = await audit('verify');
  expect(changed.code).toBe(6);
  expect(changed.output).toContain(`  changed ${chain?.sort} line 2: it is not the line from which line 3 goes on\n`);
  expect(changed.output).toContain('3 lines in 1 chain: 1 flaw\n');
  const json = (await audit('verify', '--json')).output
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text));
  expect(json).toMatchObject([{ flaw: { kind: 'changed', number: 2 } }, { sound: false, exit: 6 }]);
  expect(await audit('checkpoint', near('unsound.json'))).toMatchObject({ code: 6 });

  const emptied = await openLmdbTable({ path: near('records') });
  for (const { partition, sort } of await rowsOf(emptied, key.partition)) await emptied.delete({ partition, sort });
  await emptied.delete({ partition: 'audit-chains.1', sort: String(chain?.sort) });
  await emptied.close();
  expect(await audit('verify')).toMatchObject({
    code: 0,
    output: expect.stringMatching(/^no line is on the table: there is nothing to look at\n/),
  });
  const cut = await audit('verify', '--checkpoint', kept);
  expect(cut.code).toBe(6);
  expect(cut.output).toContain(`  cut ${chain?.sort} lines 1 to 3: the checkpoint tells of line 3\n`);
});

test('a checkpoint that is none, was changed, or is of another key is refused with what to do', async () => {
  await run('reconcile', '--full');
  const kept = near('kept.json');
  await audit('checkpoint', kept);
  writeFileSync(near('none.json'), '{}');
  expect(await audit('verify', '--checkpoint', near('none.json'))).toMatchObject({
    code: 6,
    errors: expect.stringContaining('it is no checkpoint of an audit trail'),
  });
  const text = readFileSync(kept, 'utf8');
  writeFileSync(near('changed.json'), text.replace('\\"last\\":3', '\\"last\\":2'));
  expect((await audit('verify', '--checkpoint', near('changed.json'))).errors).toMatch(
    /its? signature|the signature of the checkpoint does not hold[\s\S]*Trust nothing in it/,
  );
  rmSync(near('audit'), { recursive: true });
  await audit('checkpoint', near('other.json'));
  expect((await audit('verify', '--checkpoint', kept)).errors).toMatch(
    /signed with another key[\s\S]*give its public half with --key/,
  );
  expect((await audit('verify', '--checkpoint', kept, '--key', near('absent.pub'))).code).toBe(2);
});

test('a person is erased in lines that have room for it, and rows that cannot be read are told of', async () => {
  await run('reconcile', '--full');
  const table = await openLmdbTable({ path: near('records') });
  const person = { salt: 's', text: JSON.stringify({ user: 'kim' }) };
  for (let number = 0; number < 100; number += 1)
    await table.putIfAbsent(
      { partition: 'audit-people.1', sort: `${'w'.repeat(900)}/${String(number).padStart(12, '0')}` },
      person,
    );
  await table.putIfAbsent({ partition: 'audit-people.1', sort: 'w/1' }, { text: 'none' });
  await table.close();
  const erased = await audit('erase', '--user', 'kim');
  expect(erased).toMatchObject({ code: 6, output: expect.stringContaining('1 row of persons cannot be read') });
  const told = (await audit('list', '--json', '--kind', 'act')).output.trimEnd().split('\n');
  const lists = told.map((text) => JSON.parse(text).erased ?? []);
  expect(lists.flat()).toHaveLength(100);
  expect((await audit('erase', '--user', 'kim')).errors).toContain('1 row of persons cannot be read');
});

test('a checkpoint is made with a key of its own where the key of serve is trusted as well', async () => {
  await run('reconcile', '--full');
  await audit('checkpoint', near('first.json'));
  writeFileSync(near('serve.pub'), readFileSync(near('audit/signing.pub')));
  const table = await openLmdbTable({ path: near('records') });
  const { checkpoint: text, signature } = JSON.parse(readFileSync(near('first.json'), 'utf8'));
  await table.putIfAbsent({ partition: 'audit-checkpoints.1', sort: '2026' }, { text, signature });
  await table.close();
  rmSync(near('audit'), { recursive: true });
  expect((await audit('checkpoint', near('stranger.json'))).code).toBe(6);
  expect((await audit('checkpoint', near('known.json'), '--key', near('serve.pub'))).code).toBe(0);
});

test('the public key is written again only where it is another one', () => {
  const at = near('audit');
  const { publicKey } = openSigningKey(at, 'audit_key_unusable');
  const { ino } = statSync(join(at, 'signing.pub'));
  openSigningKey(at, 'audit_key_unusable');
  expect(statSync(join(at, 'signing.pub')).ino).toBe(ino);
  writeFileSync(join(at, 'signing.pub'), 'another');
  openSigningKey(at, 'audit_key_unusable');
  expect(readFileSync(join(at, 'signing.pub'), 'utf8')).toBe(publicKey);
  expect(readdirSync(at).toSorted()).toEqual(['signing.key', 'signing.pub']);
});

test('an address of a session is one, or is not told', () => {
  expect(personHere({ SSH_CONNECTION: 'dead.beef:1 4711 10.0.0.1 22' })).not.toHaveProperty('from');
  expect(personHere({ SSH_CONNECTION: '2001:db8::7 4711 ::1 22' })).toMatchObject({ from: '2001:db8::7' });
});

test('where no trail is wanted none is written, and nothing is erased', async () => {
  writeFileSync(file, lines('audit: { write: false }'));
  await run('reconcile', '--full');
  expect((await audit('list')).output).toBe('audit.write is false: no trail is written\n');
  expect(await audit('erase', '--user', 'sam')).toMatchObject({
    code: 3,
    errors: expect.stringContaining('[audit_not_kept]'),
  });
});

test('a trail that is kept for less than a month is a mistake', () => {
  writeFileSync(file, lines('audit: { keep: 30d }'));
  const load = () => loadConfig(file, {});
  expect(load).toThrow(
    expect.objectContaining({
      message: expect.stringContaining('audit.keep (line 3): must be at least 31d'),
    }) as CodedError,
  );
  writeFileSync(file, lines('audit: { keep: 31d }'));
  expect(load().audit).toMatchObject({ keepMs: 31 * 86_400_000, write: true });
});

test('which parts of the configuration are others than at the last start is told once', async () => {
  const see = async () => {
    const config: Config = loadConfig(file, {});
    const program = await compose(config, { runtime: systemRuntime, log: silentLog, runs: 'serve' });
    await program.audit?.sawSettings(writtenSettings(readConfigFile(file)));
    await program.close();
  };
  await see();
  await see();
  writeFileSync(
    file,
    lines('worker: { concurrency: 4 }').replace('backups: [copies]', 'backups: [copies], naming: exact'),
  );
  await see();
  await see();
  const words = (await audit('list', '--kind', 'settings')).output
    .split('\n')
    .filter((line) => line.includes('settings'));
  expect(words.map((line) => line.slice(25))).toEqual([
    ' settings the configuration is seen for the first time',
    ' settings the configuration is another one: added: worker.concurrency; changed: links.shop',
  ]);
});

const page = readFileSync(join(root, 'docs/audit.md'), 'utf8');

test('the page has every kind of line, every flaw and every act', () => {
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  const union = (path: string, from: RegExp) =>
    [...(from.exec(read(path))?.[1] ?? '').matchAll(/'([a-z]+)'/g)].map(([, name = '']) => name);
  const kinds = union('src/audit/line.ts', /factKinds = \[([^\]]*)\]/);
  const flaws = union('src/audit/chain.ts', /FlawKind =([^;]*);/);
  expect([kinds.length, flaws.length]).toEqual([11, 8]);
  for (const name of [...kinds, ...flaws]) expect(page, name).toContain(`\`${name}\``);
  for (const act of [
    'reconcile',
    'restore',
    'failback',
    'adopt',
    'import',
    'download',
    'drill',
    'alerts mute',
    'store accept',
  ])
    expect(page, act).toContain(`\`${act}\``);
});
