import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { asAnotherUser } from '../support/another-user.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import { putCertificate } from '../support/folder-soup.ts';
import { liveFolder } from '../support/live-folder.ts';

let folder: string;
let certbot: ReturnType<typeof liveFolder>;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-cases-'));
  mkdirSync(join(folder, 'copies'), { mode: 0o700 });
  certbot = liveFolder(folder);
  configure('');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function configure(policy: string): void {
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
receiver: { port: 0 }
worker: { sweepEvery: 1s }
serve: { metrics: { port: 0 } }
stores:
  live: { kind: directory, path: live, id: web-1, quiet: 0s }
  copies: { kind: directory, path: copies, id: web-1-copies }
links: { web: { primary: live, backups: [copies]${policy} } }
`,
  );
}

const run = (...args: string[]) => runCommand([...args, '--config', join(folder, 'certstandby.yaml')]);
const reconcile = () => run('reconcile', '--wait', '0');
const copies = () => readdirSync(join(folder, 'copies')).filter((name) => !name.startsWith('.'));
/** The one copy of a certificate. */
const copyOf = (name: string) => join(folder, 'copies', copies().find((copy) => copy.startsWith(`${name}-`)) ?? 'none');

it('certificates whose archive is lost are unreadable, not deleted: everybody says so, and no copy is removed', async () => {
  configure(', policy: { onDelete: remove, removeAfter: 7d, removeShare: 0.5 }');
  for (const name of ['api', 'shop']) certbot.renew(name, await testCertificate());
  expect((await reconcile()).code).toBe(0);
  renameSync(join(folder, 'archive', 'api'), join(folder, 'archive', 'unmounted'));
  for (let looks = 0; looks < 3; looks += 1) {
    const { code, output, errors } = await reconcile();
    expect(code).toBe(6);
    expect(output + errors).toContain(join(folder, 'live', 'api', 'fullchain.pem'));
    expect(output + errors).toContain('a symbolic link that leads to nothing');
  }
  expect(copies()).toHaveLength(2);
  expect((await run('verify')).code).toBe(6);
  expect((await run('doctor')).output).toContain('live/api/fullchain.pem');
  expect((await run('status')).output).toContain('NOT GOOD');
  renameSync(join(folder, 'archive', 'unmounted'), join(folder, 'archive', 'api'));
  expect((await run('reconcile')).code).toBe(0);
  expect((await run('verify')).code).toBe(0);
  expect((await run('status')).code).toBe(0);
});

it('names with a space, a letter beyond ASCII and a plus are copied, verified and found again by their marks', async () => {
  const names = ['web shop', 'münchen', 'api+v2'];
  for (const name of names) certbot.renew(name, await testCertificate());
  expect((await reconcile()).code).toBe(0);
  const marks = copies().map(
    (copy) => JSON.parse(readFileSync(join(folder, 'copies', copy, 'certstandby.json'), 'utf8')).mark,
  );
  expect(marks.toSorted()).toEqual([
    'certstandby:1 directory:web-1 api+v2',
    'certstandby:2 directory:web-1 m%C3%BCnchen',
    'certstandby:2 directory:web-1 web%20shop',
  ]);
  expect((await run('verify')).output).toContain('3 same');
  // Without the records everything is found by the marks, and nothing is made twice.
  rmSync(join(folder, 'records'), { recursive: true });
  expect((await reconcile()).code).toBe(0);
  expect(copies()).toHaveLength(3);
});

it('a certstandby.json of zero bytes keeps no new certificate out, and the copy is whole again after a reconcile', async () => {
  certbot.renew('api', await testCertificate({ domains: ['api.example.test'] }));
  expect((await reconcile()).code).toBe(0);
  const side = join(copyOf('api'), 'certstandby.json');
  const before = readFileSync(side, 'utf8');
  for (const withoutRecords of [false, true]) {
    writeFileSync(side, '');
    const fresh = withoutRecords ? 'second' : 'first';
    certbot.renew(fresh, await testCertificate({ domains: [`${fresh}.example.test`] }));
    if (withoutRecords) rmSync(join(folder, 'records'), { recursive: true });
    expect((await reconcile()).code).toBe(0);
    expect(readFileSync(side, 'utf8')).toBe(before);
  }
  expect(copies()).toHaveLength(3);
  expect((await run('verify')).output).toContain('3 same');
});

it('a folder with the file names of acme.sh is copied; what is no certificate is passed over, and named', async () => {
  const { certificate, intermediate = '', privateKey } = await testCertificate();
  const at = join(folder, 'live', 'a.example.test_ecc');
  mkdirSync(at);
  writeFileSync(join(at, 'a.example.test.cer'), certificate);
  writeFileSync(join(at, 'fullchain.cer'), certificate + intermediate);
  writeFileSync(join(at, 'a.example.test.key'), privateKey?.reveal() ?? '');
  mkdirSync(join(folder, 'live', 'deploy'));
  const { code, output } = await reconcile();
  expect(code).toBe(0);
  expect(output).toContain('1 certificate in the primary');
  expect(output).toContain(`${join(folder, 'live', 'deploy')}: an empty folder`);
});

it('a folder in which nothing is a certificate is not told of as all well', async () => {
  mkdirSync(join(folder, 'live', 'deploy'));
  const { output } = await reconcile();
  expect(output).toContain('passed over in the primary, as no certificates: 2 elements');
  expect(output).not.toContain('equal in');
  expect((await run('doctor')).output).toMatch(/warning +live: passed over, as no certificates: 2/);
  expect((await run('status')).output).toContain('2 elements of the primary passed over');
});

it('a primary that is moved away and put back by a copy is watched on', async () => {
  const live = join(folder, 'live');
  putCertificate(join(live, 'shop'), await testCertificate());
  const host = testHost();
  const ended = runCommand(['serve', '--config', join(folder, 'certstandby.yaml')], host);
  try {
    await expect.poll(() => copies()).toHaveLength(1);
    renameSync(live, `${live}.old`);
    cpSync(`${live}.old`, live, { recursive: true });
    await expect.poll(() => host.errors()).toContain('"event":"change_seen"');
    const renewed = await testCertificate();
    putCertificate(join(live, 'shop'), renewed);
    const held = () => readFileSync(join(copyOf('shop'), 'current', 'cert.pem'), 'utf8');
    await expect.poll(held).toBe(renewed.certificate);
  } finally {
    host.signal('SIGTERM');
    expect((await ended).code).toBe(0);
  }
}, 90_000);

it.each([
  ['copies', 'cannot be written', 0o555],
  ['copies', 'cannot be entered', 0o600],
  ['live', 'cannot be listed', 0o311],
])(
  'doctor says of the folder %s that %s what is wrong with the folder, and nothing of API keys and roles',
  async (...given) => {
    const [name, , mode] = given;
    putCertificate(join(folder, 'live', 'shop'), await testCertificate());
    const path = join(folder, name);
    chmodSync(path, mode);
    try {
      const { code, output } = await asAnotherUser(folder, () => run('doctor'));
      const [, ...told] = output.split(/^problem {2}/m);
      expect(told.filter((text) => text.startsWith(`${name}: `) && text.includes('EACCES'))).not.toEqual([]);
      expect(output).toContain(path);
      expect(output).not.toMatch(/api ?key|service role|credentials/i);
      expect(code).not.toBe(0);
    } finally {
      chmodSync(path, 0o700);
    }
  },
);

// What the kernel gives away of itself may be read by everybody and written by nobody, root
// neither.
it.runIf(process.platform === 'linux')('doctor says the same of a file system that takes no writes', async () => {
  const file = join(folder, 'certstandby.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace('path: copies', 'path: /proc/self/task'));
  const { code, output } = await run('doctor');
  const [, problem = ''] = /^problem {2}(copies: [\s\S]*?)(?=^\S)/m.exec(output) ?? [];
  expect(problem).toContain('/proc/self/task');
  expect(output).not.toMatch(/api ?key|service role|credentials/i);
  expect(code).not.toBe(0);
});

it('a plan says that something is refused since before, though nothing would be done about it', async () => {
  certbot.renew('shop', await testCertificate());
  certbot.renew('mixed', { ...(await testCertificate()), privateKey: (await testCertificate()).privateKey });
  expect((await reconcile()).code).toBe(6);
  const { code, output } = await run('reconcile', '--plan');
  expect(output).toContain('nothing would be done');
  expect(output).toContain('1 certificate refused or failing since before: certstandby status names each');
  expect(code).toBe(6);
  const full = await run('reconcile', '--plan', '--full');
  expect(full.output).toMatch(/^ {2}refuse {3}mixed/m);
  expect(full.output).not.toContain('since before');
  expect(full.code).toBe(6);
});
