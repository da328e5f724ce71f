import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';

// `download` and `import` as a person types them, between folders on this machine.

let folder: string;
const inFolder = (name: string) => join(folder, name);

function run(...args: string[]) {
  const env = { CERTSTANDBY_PASSPHRASE: 'what lies in the environment' };
  return runCommand([...args, '--config', inFolder('certstandby.yaml')], testHost({ env }));
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-archives-'));
  const stores = ['live', 'paris', 'rome'].map(
    (name) => `  ${name}: { kind: directory, path: ${name}, id: ${name}, quiet: 0ms }`,
  );
  writeFileSync(
    inFolder('certstandby.yaml'),
    `version: 1\ntable: { kind: lmdb, path: records }\nstores:\n${stores.join('\n')}\nlinks: { web: { primary: live, backups: [paris] } }\n`,
  );
  writeFileSync(inFolder('empty'), '');
  for (const name of ['live', 'paris', 'rome']) mkdirSync(inFolder(name));
  for (const [name, keyKind] of [
    ['shop', 'rsa-2048'],
    ['api', 'ed25519'],
  ] as const) {
    const { certificate, intermediate = '', privateKey } = await testCertificate({ keyKind });
    mkdirSync(join(folder, 'live', name));
    writeFileSync(join(folder, 'live', name, 'fullchain.pem'), certificate + intermediate);
    writeFileSync(join(folder, 'live', name, 'privkey.pem'), privateKey.reveal());
  }
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('all certificates go into an archive and come out of it elsewhere', async () => {
  const to = inFolder('all.age');
  const identity = await generateX25519Identity();
  const keyFile = inFolder('key.txt');
  writeFileSync(keyFile, `# a comment\n${identity}\n`);
  const downloaded = await run(
    'download',
    '--from',
    'live',
    '--to',
    to,
    '--recipient',
    await identityToRecipient(identity),
  );
  expect(downloaded).toMatchObject({ code: 0, output: `2 certificates of live in ${to}\n`, errors: '' });
  expect(statSync(to).mode & 0o777).toBe(0o600);

  const looked = await run('import', to, '--into', 'rome', '--identity', keyFile, '--dry-run');
  expect(looked.code).toBe(0);
  expect(looked.output).toMatch(/^CERTIFICATE +ACTION +FINGERPRINT\napi +to import +[0-9a-f]{16}\nshop +to import /);
  expect(readdirSync(inFolder('rome'))).toEqual([]);

  expect(await run('import', to, '--into', 'rome', '--identity', keyFile)).toMatchObject({
    code: 0,
    output: `2 certificates in ${to} (age), into rome: 2 imported\n`,
  });
  const again = await run('import', to, '--into', 'rome', '--identity', keyFile, '--json');
  const lines = again.output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { name: 'api', action: 'present', done: true },
    { name: 'shop', action: 'present', done: true },
    { kind: 'age', into: 'rome', certificates: 2, dryRun: false },
  ]);
  expect(readdirSync(inFolder('rome'))).toHaveLength(2);
});

test('names choose what is downloaded; keys leave unencrypted only when that is said', async () => {
  const to = inFolder('one');
  const refused = await run('download', 'sh*', '--from', 'live', '--to', to, '--as', 'pem');
  expect(refused.code).toBe(2);
  expect(refused.errors).toMatch(/^certstandby: --as pem writes private keys unencrypted; say --unencrypted-keys/);
  expect(existsSync(to)).toBe(false);

  const downloaded = await run('download', 'sh*', '--from', 'live', '--to', to, '--as', 'pem', '--unencrypted-keys');
  expect(downloaded).toMatchObject({
    code: 0,
    output: `1 certificate of live in ${to}\nPrivate keys in it are not encrypted. Remove it when it has served.\n`,
  });
  expect(readdirSync(join(to, 'shop')).sort()).toEqual([
    'cert.pem',
    'certstandby.json',
    'chain.pem',
    'fullchain.pem',
    'privkey.pem',
  ]);
  const none = await run('download', 'nothing*', '--from', 'live', '--to', inFolder('none.age'));
  expect(none.output).toMatch(/^0 certificates of live in .*; no name fits\n$/);
});

test('mistakes are named before anything is done', async () => {
  const to = inFolder('all.age');
  writeFileSync(inFolder('short'), 'short\n');
  const downloading = (...more: string[]) => run('download', '--from', 'live', '--to', to, ...more);
  for (const [more, said] of [
    [['--passphrase-file', inFolder('short')], /the passphrase has 5 characters; 12 are the least/],
    [['--passphrase-file', inFolder('nowhere')], /the passphrase cannot be read from .* \(ENOENT\)/],
    [['--recipient', 'age1nonsense'], /age1nonsense is no recipient of age/],
    [['--recipients-file', inFolder('empty')], /holds no recipients/],
    [['--as', 'rar'], /Allowed choices are age, pkcs12, pem, zip/],
  ] as const) {
    expect(await downloading(...more)).toMatchObject({ code: 2, output: '', errors: expect.stringMatching(said) });
    expect(existsSync(to)).toBe(false);
  }
  expect((await run('download', '--from', 'oslo', '--to', to)).errors).toMatch(
    /there is no store oslo in .*; there are: live, paris, rome/,
  );
  expect(await run('import', inFolder('nowhere'), '--into', 'rome')).toMatchObject({
    code: 1,
    errors: expect.stringMatching(/\[archive_unusable\]/),
  });
  expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
});

test('what is whole in a folder is imported, and what is not is named by its path with a remedy; the exit code tells', async () => {
  // As certbot's folder after somebody's hook, and with what stands there when something else went
  // wrong.
  const live = inFolder('live');
  writeFileSync(join(live, 'shop', 'privkeyandcert.pem'), readFileSync(join(live, 'shop', 'fullchain.pem')));
  writeFileSync(join(live, 'README'), 'by certbot');
  mkdirSync(join(live, 'folder', 'fullchain.pem'), { recursive: true });
  mkdirSync(join(live, 'endless'));
  symlinkSync('/dev/zero', join(live, 'endless', 'fullchain.pem'));
  mkdirSync(join(live, 'circle'));
  symlinkSync('cert.pem', join(live, 'circle', 'cert.pem'));
  symlinkSync('nowhere', join(live, 'dangling'));
  mkdirSync(join(live, 'cut'));
  writeFileSync(join(live, 'cut', 'fullchain.pem'), readFileSync(join(live, 'shop', 'fullchain.pem')).subarray(0, 300));
  const { code, output } = await run('import', live, '--into', 'rome');
  expect(code).toBe(6);
  for (const path of ['folder/fullchain.pem', 'endless/fullchain.pem', 'circle/cert.pem', 'dangling'])
    expect(output).toContain(join(live, path));
  expect(output).toContain('shop/privkeyandcert.pem was passed over');
  expect(output).not.toContain('README');
  expect(output).toContain('\n    The text was damaged on its way.');
  expect(output).toContain('into rome: 2 imported, 5 refused\n');
  expect(readdirSync(inFolder('rome'))).toHaveLength(2);

  // By name, the others are nobody's concern; again, there is nothing to do.
  expect(await run('import', live, 'shop', '--into', 'rome')).toMatchObject({ code: 0 });
});
