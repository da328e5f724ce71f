import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openFolder } from '../../../src/cli/instance/folder.ts';
import { awaitOrder } from '../../../src/cli/instance/order.ts';
import { steps } from '../../../src/cli/instance/rewrap.ts';
import { commandOutput } from '../../../src/cli/output/output.ts';
import type { CertificateRow } from '../../../src/instance/certificates/certificate-row.ts';
import { silentLog } from '../../../src/log.ts';
import { runCommand, testHost } from '../../support/command.ts';
import { exchangeToken } from '../../support/instance.ts';

const acme = ['--acme-directory', 'https://acme.example.com/directory'];

let parent: string;
let folder: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'certstandby-cli-instance-'));
  folder = join(parent, 'instances');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const run = (...args: string[]) => runCommand(['instance', ...args, '--folder', folder]);
const json = (text: string) =>
  text
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

test('create makes table, root key, instance and API key; the recovery text is shown once and checks', async () => {
  const created = await run('create', '--region', 'eu-gb');
  expect(created).toMatchObject({ code: 0, errors: '' });
  const [recovery = ''] = /CS1-[0-9A-Z-]+/.exec(created.output) ?? [];
  expect(created.output).toContain(`\n\n    ${recovery}\n\n`);
  expect(created.output).not.toContain('\\u{');
  expect(created.output).toMatch(/crn:v1:bluemix:public:cloudcerts:eu-gb:a\/0{31}1:[0-9a-f-]{36}::/);
  const file = join(folder, 'keys', 'root.key');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(join(folder, 'data'))) {
    expect(readFileSync(join(folder, 'data', name)).includes(recovery)).toBe(false);
  }
  const again = await run('create', '--region', 'eu-de', '--json');
  expect(again.output).not.toContain('CS1-');
  expect(json(again.output)).toMatchObject([{ role: 'manager', crn: expect.stringContaining(':eu-de:') }]);

  const text = join(folder, 'written-down');
  writeFileSync(text, `${recovery.toLowerCase()}\n`);
  expect(await run('check', '--recovery', text)).toMatchObject({ code: 0, errors: '' });
  writeFileSync(
    text,
    recovery.replace(/.$/, (last) => (last === 'N' ? 'M' : 'N')),
  );
  expect((await run('check', '--recovery', text)).code).toBe(2);

  const listed = json((await run('list', '--json')).output);
  expect(listed).toHaveLength(2);
  expect(listed[0]).toMatchObject({ apiKeys: 1, limits: 'none' });
});

test('doctor says whether the keys open, and whether anybody has shown the recovery text', async () => {
  const doctor = () => runCommand(['doctor', '--instances', folder]);
  expect(await doctor()).toMatchObject({ code: 3, output: expect.stringContaining('there are no instances in') });
  const created = await run('create', '--region', 'eu-gb');
  const [recovery = ''] = /CS1-[0-9A-Z-]+/.exec(created.output) ?? [];
  const before = await doctor();
  expect(before.code).toBe(0);
  expect(before.output).toMatch(/^ok {7}crn:\S+: 1 data key, every one opens$/m);
  expect(before.output).toMatch(/^warning {2}file:[0-9a-f]{32}: nobody has shown its recovery text yet/m);
  expect(before.output).toContain(`certstandby instance check --folder ${folder} --recovery -`);
  writeFileSync(join(folder, 'written-down'), recovery);
  await run('check', '--recovery', join(folder, 'written-down'));
  const after = await doctor();
  expect(after.output).toMatch(/^ok {7}file:[0-9a-f]{32}: its recovery text was right .+ ago$/m);
  expect(after.output).toContain('All is well.');

  const other = `${folder}-other`;
  await runCommand(['instance', 'create', '--folder', other]);
  copyFileSync(join(other, 'keys', 'root.key'), join(folder, 'keys', 'root.key'));
  const foreign = await doctor();
  expect(foreign.code).toBe(5);
  expect(foreign.output).toMatch(
    /^problem {2}crn:\S+: data key \S+ is not wrapped by file:[0-9a-f]{32} \[keys_unreadable\]$/m,
  );
});

test('keys are made, listed without themselves, and revoked', async () => {
  await run('create');
  const made = json((await run('keys', 'create', '--name', 'writer', '--role', 'writer', '--json')).output);
  expect(made).toMatchObject([{ name: 'writer', role: 'writer', apiKey: expect.stringMatching(/^[\w-]{43}$/) }]);
  const list = async () => json((await run('keys', 'list', '--json')).output);
  expect((await list()).map(({ name }) => name).sort()).toEqual(['first', 'writer']);
  expect(JSON.stringify(await list())).not.toContain(made[0].apiKey);
  expect((await run('keys', 'revoke', made[0].id)).code).toBe(0);
  expect((await list()).map(({ name }) => name)).toEqual(['first']);
  expect((await run('keys', 'revoke', made[0].id)).code).toBe(2);

  const own = join(folder, 'own.key');
  writeFileSync(own, 'password');
  const short = await run('keys', 'create', '--name', 'own', '--role', 'reader', '--key-file', own);
  expect(short).toMatchObject({ code: 2, output: '' });
  expect(short.errors).toContain('has 8 characters; at least 24 are taken');
});

test('run serves until a signal comes; what is made meanwhile is served too', async () => {
  const [{ apiKey }] = json((await run('create', '--json')).output).filter((line) => line.crn !== undefined);
  const host = testHost();
  const running = runCommand(['instance', 'run', '--folder', folder, '--port', '0', '--log', 'error'], host);
  while (host.output() === '') await new Promise((resolve) => setTimeout(resolve, 20));
  const url = host.output().trim();
  expect(await exchangeToken(url, apiKey)).toMatch(/\./);
  const [later] = json((await run('create', '--region', 'eu-de', '--json')).output);
  for (let attempt = 1; ; attempt += 1) {
    const token = await exchangeToken(url, later.apiKey).catch(() => undefined);
    const list = `${url}/api/v3/${encodeURIComponent(later.crn)}/certificates`;
    const status = token && (await fetch(list, { headers: { authorization: `Bearer ${token}` } })).status;
    if (status === 200) break;
    expect(attempt, `still ${status}`).toBeLessThan(100);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  host.signal('SIGTERM');
  expect(await running).toMatchObject({ code: 0, errors: '' });
});

test('order and renew begin what the running server carries out, and wait for it', async () => {
  await run('create');
  const host = testHost();
  const running = runCommand(['instance', 'run', '--folder', folder, '--port', '0', '--log', 'error'], host);
  while (host.output() === '') await new Promise((resolve) => setTimeout(resolve, 20));
  const ordered = await run('order', 'shop.example.test', '*.shop.example.test', '--key', 'p-256');
  expect(ordered).toMatchObject({ code: 0, errors: '' });
  expect(ordered.output).toMatch(/^ordered as [0-9a-f]{32}\nshop\.example\.test: issued by Nobody trusts this/);
  const [id = ''] = /[0-9a-f]{32}/.exec(ordered.output) ?? [];
  const [on] = json((await run('renew', 'shop.example.test', '--auto-renew', 'on', '--json')).output);
  expect(on).toEqual({ certificate: id, auto_renew_enabled: true });
  const renewed = await run('renew', id, '--new-key', '--no-wait');
  expect(renewed).toEqual({ code: 0, errors: '', output: `the renewal of ${id} has begun\n` });
  expect(await run('renew', 'nothing.example.test')).toMatchObject({
    code: 2,
    errors: expect.stringContaining('there is no certificate of the name or id nothing.example.test'),
  });
  host.signal('SIGTERM');
  expect(await running).toMatchObject({ code: 0, errors: '' });

  // Without a server it waits for one; Ctrl-C ends the waiting alone.
  const waiting = testHost();
  const alone = runCommand(['instance', 'order', 'later.example.test', '--folder', folder], waiting);
  while (!waiting.output().includes('ordered as')) await new Promise((resolve) => setTimeout(resolve, 20));
  waiting.signal('SIGINT');
  const stopped = await alone;
  expect(stopped).toMatchObject({ code: 130, errors: expect.stringContaining('its order goes on') });
  expect(stopped.errors).toMatch(
    /Do not order it again.+ Look with certstandby instance certificates\. \[order_still_running\]/,
  );
  // Where it says to look, the order is found.
  const [, look = ''] = /certstandby (instance certificates [0-9a-f]{32} --folder \S+)/.exec(stopped.errors) ?? [];
  const [later] = json((await runCommand([...look.split(' '), '--json'])).output);
  expect(later).toMatchObject({ name: 'later.example.test', status: 'pending', issuance: 'pending' });
  expect(later).not.toHaveProperty('expires');
  expect(json((await run('order', 'third.example.test', '--no-wait', '--json')).output)).toMatchObject([
    { status: 'pending' },
  ]);
  const listed = await run('certificates', '--json');
  expect(json(listed.output).map(({ name, status }) => [name, status])).toEqual(
    expect.arrayContaining([
      ['shop.example.test', 'valid'],
      ['later.example.test', 'pending'],
      ['third.example.test', 'pending'],
    ]),
  );
  expect(await run('certificates', 'nothing')).toMatchObject({ code: 2, output: '' });
  expect((await run('certificates', 'shop.example.test')).output).toMatch(
    /^NAME.+\nshop\.example\.test +[0-9a-f]{32} +shop\.example\.test \*\.shop.+ valid +(?:valid|pending) +\d{4}-\d\d-\d\d$/m,
  );
  expect((await run('check')).output).toContain('1 certificate opened, and 2 not issued yet');

  // Two of one name are told apart by their ids, which are named.
  await run('order', 'fourth.example.test', '--name', 'third.example.test', '--no-wait');
  const ids = json((await run('certificates', 'third.example.test', '--json')).output).map(
    ({ certificate }) => certificate,
  );
  const both = await run('renew', 'third.example.test');
  expect(both.code).toBe(2);
  expect(both.errors).toContain('there are 2 certificates of the name third.example.test');
  for (const one of ids) expect(both.errors).toContain(one);

  expect(await run('renew', id, '--auto-renew', 'on', '--new-key')).toMatchObject({ code: 2, output: '' });
  expect(await run('order', 'not a domain')).toMatchObject({
    code: 2,
    errors: expect.stringContaining('not a domain'),
  });

  // A root key that opens nothing here: all instances are looked at, and the end is that of the
  // help.
  const second = await run('create', '--region', 'eu-de');
  expect(second.code).toBe(0);
  await runCommand(['instance', 'create', '--folder', `${folder}-other`]);
  copyFileSync(join(`${folder}-other`, 'keys', 'root.key'), join(folder, 'keys', 'root.key'));
  const checked = await run('check');
  expect(checked).toMatchObject({ code: 6, errors: expect.stringContaining('[instances_unsound]') });
  for (const region of ['eu-gb', 'eu-de']) {
    expect(checked.output).toMatch(new RegExp(`:${region}:\\S+ data key \\S+ under file:\\w+: missing`));
  }
  expect(checked.output).toMatch(/:eu-gb:.+: no certificate could be opened: /);
});

test('create that fails leaves neither an instance nor a root key behind that nobody asked for', async () => {
  expect((await run('create', '--region', 'eu gb')).output).not.toContain('CS1-');
  expect(existsSync(folder)).toBe(false);
  for (const [name, value] of Object.entries({
    AWS_ENDPOINT_URL_KMS: 'http://127.0.0.1:1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  })) {
    vi.stubEnv(name, value);
  }
  const away = await run('create', '--root-key', 'aws-kms:arn:aws:kms:eu-west-2:111122223333:key/1234abcd');
  vi.unstubAllEnvs();
  expect(away).toMatchObject({ code: 4, output: '' });
  expect(existsSync(join(folder, 'instances.json'))).toBe(false);
  const created = json((await run('create', '--json')).output).find(({ crn }) => crn !== undefined);
  expect(json((await run('list', '--json')).output)).toMatchObject([{ crn: created.crn }]);
  const again = await run('create', '--crn', created.crn);
  expect(again).toMatchObject({ code: 2, errors: expect.stringContaining('is there already') });
});

test('waiting for an order says after 30 seconds what keeps it, and again only when that changes', async () => {
  let now = 0;
  const runtime = {
    now: () => now,
    wait: async (ms: number) => {
      now += ms;
    },
  };
  const host = testHost();
  const pending = { order: 'o', status: 'pending', code: '', info: '', auto: false, orderedOn: 0 } as const;
  const row = { issuance: pending } as unknown as CertificateRow;
  const failed = { issuance: { ...pending, status: 'failed', code: 'acme_overdue', info: 'too late' } };
  const waiting = awaitOrder(
    {
      get: async () => (now < 120_000 ? row : ({ ...row, ...failed } as CertificateRow)),
      isTakenUp: async () => now > 45_000,
      failuresOf: async () => (now < 60_000 ? 0 : now < 90_000 ? 1 : 2),
    },
    'id',
    { output: commandOutput({}, host), signal: new AbortController().signal, folder: 'f', runtime },
  );
  await expect(waiting).rejects.toMatchObject({ code: 'acme_overdue', message: 'too late' });
  expect(host.output().split('\n')).toEqual([
    'Nobody works on it yet. Is a server running?  certstandby instance run --folder f',
    'Not there yet: the server works on it.',
    "Not there yet: 1 attempt in a row failed, and the next one comes by itself. The server's log says why.",
    "Not there yet: 2 attempts in a row failed, and the next one comes by itself. The server's log says why.",
    '',
  ]);
});

test('what waits is told how often the authority could not be reached', async () => {
  await run('create');
  const host = testHost();
  const authority = ['--acme-directory', 'http://127.0.0.1:1/directory'];
  const options = ['--folder', folder, '--port', '0', '--log', 'error', ...authority];
  const running = runCommand(['instance', 'run', ...options], host);
  while (host.output() === '') await new Promise((resolve) => setTimeout(resolve, 20));
  const [{ certificate }] = json((await run('order', 'shop.example.test', '--no-wait', '--json')).output);
  const instances = await openFolder(folder, host, silentLog);
  const [instance] = await instances.registry.list();
  const orders = await instances.ordersOf(instance?.crn ?? '');
  await expect.poll(() => orders.failuresOf(certificate)).toBeGreaterThan(0);
  await instances.close();
  host.signal('SIGTERM');
  expect((await running).code).toBe(0);
});

test.each([
  ['a directory that is no address', ['--acme-directory', 'letsencrypt'], 'letsencrypt is not an https address'],
  ['a directory in the clear', ['--acme-directory', 'http://acme.example.com/'], 'is not an https address'],
  ['a hook without a directory', ['--dns-hook', '/bin/true'], 'there is no --acme-directory'],
  ['a hook that cannot be run', [...acme, '--dns-hook', 'package.json'], 'is no program that can be run'],
  ['a contact that is none', [...acme, '--acme-contact', 'me'], 'me is not a mail address'],
  ['a DNS server by name', [...acme, '--dns-server', 'dns.example.com'], 'is not an address such as'],
  ['half of an account binding', [...acme, '--acme-eab-key-id', 'k'], 'go together'],
  ['a key that is none', [...acme, '--acme-eab-key-id', 'k', '--acme-eab-key-file', 'package.json'], 'holds no key'],
  ['a CA without a certificate', [...acme, '--acme-ca', 'package.json'], 'package.json holds no certificate'],
  ['a CA that is not there', [...acme, '--acme-ca', '/nowhere.pem'], '/nowhere.pem cannot be read'],
])('run does not start with %s', async (_, options, says) => {
  await run('create');
  expect(await run('run', '--port', '0', ...options)).toMatchObject({ code: 3, errors: expect.stringContaining(says) });
});

test('what instances.json says about orders counts from its folder', async () => {
  await run('create');
  const file = join(folder, 'instances.json');
  const ordering = { acmeDirectory: 'https://acme.example.com/directory', dnsHook: 'hook' };
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ordering }));
  expect(await run('run', '--port', '0')).toMatchObject({
    code: 3,
    errors: expect.stringContaining(`the DNS hook ${join(folder, 'hook')} is no program`),
  });
});

test('data keys are rotated and wrapped under another root key, and everything opens without the first one', async () => {
  await run('create');
  const rotated = json((await run('rotate-data-key', '--json')).output);
  expect(rotated).toMatchObject([{ dataKey: expect.stringMatching(/^2-/), unreadable: [] }]);
  const rewrapped = await run('rewrap', '--root-key', `file:${join(folder, 'keys', 'new.key')}`);
  expect(rewrapped).toMatchObject({ code: 0, errors: '' });
  expect(rewrapped.output).toContain('CS1-');
  expect(JSON.parse(readFileSync(join(folder, 'instances.json'), 'utf8')).rootKeys).toEqual(['file:keys/new.key']);
  rmSync(join(folder, 'keys', 'root.key'));
  const checked = await run('check', '--json');
  expect(checked.code).toBe(0);
  expect(json(checked.output).filter((line) => 'dataKey' in line)).toMatchObject([
    { wraps: [{ state: 'opens' }], alsoWrappedBy: [] },
    { wraps: [{ state: 'opens' }], alsoWrappedBy: [] },
  ]);
});

describe('what is refused', () => {
  test.each([
    [['list'], 3, 'there are no instances'],
    [['create', '--root-key', 'vault:x'], 2, 'is no root key'],
    [['create', '--dynamodb', 'table'], 2, '<table>@<region>'],
    [['create', '--crn', 'crn:v1:no'], 2, 'is not the CRN of an instance'],
    [['create', '--region', 'eu/gb'], 2, '--region eu/gb is no region'],
    [['list'], 3, 'Give the folder with --folder'],
    [['recover-root-key', '--recovery', 'package.json'], 2, 'say with --to where its file is to be'],
    [['create', '--root-key', 'key-protect:us-south/i/k'], 3, 'KEY_PROTECT_API_KEY is not set'],
    [['run', '--tls-key', 'x'], 2, 'go together'],
  ])('%j', async (args, code, message) => {
    const end = await run(...args);
    expect(end.errors).toContain(message);
    expect(end.code).toBe(code);
  });

  test('a root key among the data, off loopback without TLS, mistakes in the settings, a root key that is gone', async () => {
    const inside = await run('create', '--root-key', `file:${join(folder, 'data', 'root.key')}`);
    expect(inside).toMatchObject({ code: 3 });
    expect(inside.errors).toContain('lies among the data that it protects');
    await run('create');
    expect((await run('create', '--root-key', 'file:other')).code).toBe(2);
    const open = await run('run', '--host', '0.0.0.0', '--log', 'error');
    expect(open).toMatchObject({ code: 3 });
    expect(open.errors).toContain('instance_not_private');
    rmSync(join(folder, 'keys', 'root.key'));
    expect(await run('check')).toMatchObject({ code: 3, errors: expect.stringContaining('keys_file_missing') });
    writeFileSync(join(folder, 'instances.json'), '{"version": 2, "more": 1}');
    expect(await run('list')).toMatchObject({ code: 3, errors: expect.stringContaining('version') });
  });
});

test('each set of root keys shares one with the set before', () => {
  expect(steps(['a'], ['b'])).toEqual([['a', 'b'], ['b']]);
  expect(steps(['a'], ['a', 'b'])).toEqual([['a', 'b']]);
  expect(steps(['a', 'b'], ['b'])).toEqual([['b']]);
  expect(steps(['a', 'b'], ['c', 'd'])).toEqual([
    ['a', 'c'],
    ['c', 'd'],
  ]);
});

test.each(['run', 'create', 'list', 'keys', 'certificates', 'check', 'rotate-data-key', 'rewrap'])(
  'instance %s --help shows an example',
  async (command) => {
    const { code, output } = await runCommand(['instance', command, '--help']);
    expect(code).toBe(0);
    expect(output).toMatch(/Examples?:\n {2}certstandby instance/);
  },
);

describe('snapshot, restore, delete and reclaim', () => {
  const crnOf = (text: string): string => /crn:\S+::/.exec(text)?.[0] ?? '';

  test('an instance is written to a file, and brought back elsewhere under a root key that was kept', async () => {
    const crn = crnOf((await run('create')).output);
    const file = join(parent, 'a.snapshot');
    const taken = await run('snapshot', '--to', file, '--json');
    expect(json(taken.output)).toMatchObject([{ crn, path: file, certificates: 0, sha256: expect.any(String) }]);
    expect((await run('snapshot', '--to', file)).code).toBe(1);
    const daily = await run('snapshot');
    expect(daily).toMatchObject({ code: 0, errors: '' });
    expect(readdirSync(join(folder, 'snapshots'))).toHaveLength(1);

    const other = join(parent, 'other');
    const restore = (...args: string[]) => runCommand(['instance', 'restore', file, '--folder', other, ...args]);
    // A root key is never made, and nothing is left of the attempt that a later one would meet.
    expect(await restore()).toMatchObject({ code: 3, errors: expect.stringContaining('[keys_file_missing]') });
    const rootKey = ['--root-key', `file:${join(folder, 'keys', 'root.key')}`];
    const checked = await restore(...rootKey, '--check');
    expect(checked).toMatchObject({ code: 0, output: expect.stringContaining('is whole: 0 certificates of crn:') });
    expect(await restore(...rootKey)).toMatchObject({ code: 0, errors: '' });
    const listed = await runCommand(['instance', 'list', '--folder', other, '--json']);
    expect(json(listed.output)).toMatchObject([{ crn, apiKeys: 1 }]);
    expect((await runCommand(['instance', 'check', '--folder', other])).code).toBe(0);

    expect(await restore()).toMatchObject({ code: 1, errors: expect.stringContaining('[instance_not_empty]') });
    expect((await restore(...rootKey)).code).toBe(2);
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, -20));
    expect(await restore()).toMatchObject({ code: 6, errors: expect.stringContaining('[snapshot_damaged]') });
    expect((await runCommand(['instance', 'restore', join(folder, 'instances.json'), '--folder', other])).code).toBe(2);
  });

  test('with nothing left but a snapshot and the recovery text, the instance comes back', async () => {
    const created = await run('create');
    const [recovery = ''] = /CS1-[0-9A-Z-]+/.exec(created.output) ?? [];
    const file = join(parent, 'a.snapshot');
    const text = join(parent, 'written-down');
    await run('snapshot', '--to', file);
    rmSync(folder, { recursive: true });
    writeFileSync(text, `${recovery}\n`);
    const place = ['--to', join(folder, 'keys', 'root.key')];
    expect(await run('recover-root-key', '--recovery', text, ...place)).toMatchObject({ code: 0, errors: '' });
    expect(statSync(join(folder, 'keys', 'root.key')).mode & 0o777).toBe(0o600);
    expect(await run('restore', file)).toMatchObject({ code: 0, errors: '' });
    expect((await run('check')).code).toBe(0);
    // The same text once more changes nothing; that of another root key is refused.
    expect((await run('recover-root-key', '--recovery', text)).code).toBe(0);
    const other = await runCommand(['instance', 'create', '--folder', `${folder}-other`]);
    writeFileSync(text, /CS1-[0-9A-Z-]+/.exec(other.output)?.[0] ?? '');
    expect(await run('recover-root-key', '--recovery', text)).toMatchObject({
      code: 2,
      errors: expect.stringMatching(/another root key \(file:\w+\); the data keys in .+ are wrapped by file:\w+\n/),
    });
    // Nothing was written, so the right text is taken at once; but no file is written over.
    const file2 = join(folder, 'keys', 'root.key');
    rmSync(file2);
    expect((await run('recover-root-key', '--recovery', text)).code).toBe(2);
    writeFileSync(text, recovery);
    expect((await run('recover-root-key', '--recovery', text)).code).toBe(0);
    copyFileSync(join(`${folder}-other`, 'keys', 'root.key'), file2);
    expect(await run('recover-root-key', '--recovery', text)).toMatchObject({
      code: 3,
      errors: expect.stringMatching(/move that file away first\n.*\[keys_file_unusable\]/),
    });
  });

  test('a root key comes back where instances.json names its file', async () => {
    const created = await run('create', '--root-key', `file:${join(folder, 'keys', 'new.key')}`);
    const text = join(folder, 'written-down');
    writeFileSync(text, /CS1-[0-9A-Z-]+/.exec(created.output)?.[0] ?? '');
    rmSync(join(folder, 'keys', 'new.key'));
    expect(await run('recover-root-key', '--recovery', text)).toMatchObject({ code: 0, errors: '' });
    expect((await run('check')).code).toBe(0);
  });

  test('a restore that is refused, or only checks, says why and leaves nothing in a new folder', async () => {
    await run('create');
    const file = join(parent, 'a.snapshot');
    await run('snapshot', '--to', file);
    const other = join(parent, 'other');
    const restore = (path: string, ...args: string[]) =>
      runCommand(['instance', 'restore', path, '--folder', other, ...args]);
    expect(await restore(`${file}-not`)).toMatchObject({
      code: 1,
      errors: expect.stringContaining('a.snapshot-not cannot be read (ENOENT)'),
    });
    expect(await restore(file)).toMatchObject({
      code: 3,
      errors: expect.stringContaining('name the one that opens the snapshot with --root-key file:<path>'),
    });
    expect((await restore(file, '--root-key', `file:${join(folder, 'keys', 'root.key')}`, '--check')).code).toBe(0);
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, -20));
    expect((await restore(file, '--root-key', `file:${join(folder, 'keys', 'root.key')}`)).code).toBe(6);
    expect(readdirSync(parent)).not.toContain('other');
  });

  test('an API key that was revoked after the snapshot is back, restore says so, and it is revoked again before anything is served', async () => {
    const crn = crnOf((await run('create')).output);
    const [{ id = '' } = {}] = json((await run('keys', 'list', '--json')).output);
    const file = join(parent, 'a.snapshot');
    await run('snapshot', '--to', file);
    await run('keys', 'revoke', id);
    expect(json((await run('keys', 'list', '--json')).output)).toEqual([]);

    const other = join(parent, 'other');
    const there = (...args: string[]) => runCommand(['instance', ...args, '--folder', other]);
    const restored = await there('restore', file, '--root-key', `file:${join(folder, 'keys', 'root.key')}`);
    expect(restored).toMatchObject({ code: 0, errors: '' });
    expect(restored.output).toMatch(/^API keys that were revoked after \d{4}-\S+Z are good again/m);
    const [, line = ''] = /^ {2}certstandby (instance keys list .+)$/m.exec(restored.output) ?? [];
    expect(line).toContain(crn);
    const listed = await runCommand([...line.split(' '), '--json']);
    expect(json(listed.output)).toMatchObject([{ id }]);
    expect((await there('keys', 'revoke', id)).code).toBe(0);
    expect(json((await there('keys', 'list', '--json')).output)).toEqual([]);
  });

  test('the help of restore says what comes back, and what a copy beside the original does', async () => {
    const { output } = await runCommand(['instance', 'restore', '--help']);
    expect(output).toContain('revoke them again');
    expect(output).toContain('acts as the original');
  });

  test('doctor misses the snapshots that a running server would have taken', async () => {
    await run('create');
    const doctor = async () => (await runCommand(['doctor', '--instances', folder])).output;
    expect(await doctor()).not.toContain('snapshot');
    await run('snapshot');
    expect(await doctor()).toMatch(/^ok {7}crn:\S+: its newest snapshot is of \d{4}-\d\d-\d\d$/m);
    const snapshots = join(folder, 'snapshots');
    const [name = ''] = readdirSync(snapshots);
    renameSync(join(snapshots, name), join(snapshots, name.replace(/\d{4}-\d\d-\d\d/, '2020-02-03')));
    expect(await doctor()).toMatch(/^warning {2}crn:\S+: its newest snapshot is of 2020-02-03, though/m);
  });

  test('a snapshot of all instances is one file each, and --to wants one instance', async () => {
    await run('create');
    await run('create');
    expect((await run('snapshot', '--to', join(folder, 'x'))).code).toBe(2);
    expect(json((await run('snapshot', '--json')).output)).toHaveLength(2);
  });

  test('what was deleted says until when it comes back, and does', async () => {
    const crn = crnOf((await run('create')).output);
    expect((await run('delete')).code).toBe(2);
    expect((await run('delete', '--instance', 'other')).code).toBe(2);
    const deleted = await run('delete', '--instance', crn);
    expect(deleted.output).toContain(`certstandby instance reclaim --folder ${folder} --instance ${crn}`);
    expect((await run('list')).output).toMatch(/deleted on \d{4}-\d\d-\d\d/);
    expect(await run('delete', '--instance', crn)).toMatchObject({
      code: 1,
      errors: expect.stringContaining('[instance_deleted]'),
    });
    for (const command of [
      ['keys', 'list'],
      ['order', 'shop.example.test', '--no-wait'],
      ['renew', 'shop.example.test'],
    ]) {
      expect(await run(...command)).toMatchObject({ code: 1, errors: expect.stringContaining('[instance_deleted]') });
    }
    expect(json((await run('reclaim', '--instance', crn, '--json')).output)).toEqual([{ crn, reclaimed: true }]);
    expect((await run('reclaim', '--instance', crn)).code).toBe(2);
    expect((await run('keys', 'create', '--name', 'a', '--role', 'reader')).code).toBe(0);
  });

  test('settings about snapshots are checked', async () => {
    await run('create');
    const file = join(folder, 'instances.json');
    const settings = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...settings, snapshots: { path: 'elsewhere', keepDays: 2 } }));
    await run('snapshot');
    expect(readdirSync(join(folder, 'elsewhere'))).toHaveLength(1);
    writeFileSync(file, JSON.stringify({ ...settings, snapshots: { keepDays: 0 } }));
    expect(await run('snapshot')).toMatchObject({
      code: 3,
      errors: expect.stringContaining('snapshots.keepDays: must be at least 1\n'),
    });
    writeFileSync(
      file,
      JSON.stringify({ ...settings, version: 2, snapshots: { keepDay: 1, keepDays: 'x' }, table: {} }),
    );
    const { errors } = await run('list');
    expect(errors).toContain('\n  - version: must be 1\n');
    expect(errors).toContain('\n  - snapshots.keepDay: is not a known key\n');
    expect(errors).toContain('\n  - snapshots.keepDays: must be a whole number\n');
    expect(errors).toContain('\n  - table.kind: is missing\n');
    expect(errors).toMatch(/Mend the option, or what instances\.json.*\[instances_settings_invalid\]/);
  });
});
