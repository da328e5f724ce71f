import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { describe, expect, it } from 'vitest';
import { download } from '../../src/archive/download.ts';
import { createArchive } from '../../src/archive/write-archive.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { entriesOf, estate, holdingsOf, passphrase, testFolder } from '../archive/archives.ts';
import { requirePeer } from './peer.ts';

// What leaves opens in the tools that people have, and what they make comes in.

const openssl = requirePeer('OpenSSL', ['openssl', 'version'], 'apt-get install openssl');
const keytool = requirePeer('keytool', ['keytool', '-help'], 'apt-get install default-jdk-headless');
const age = requirePeer('age', ['age', '--version'], 'apt-get install age');

const kinds = ['rsa-2048', 'p-256', 'p-384', 'ed25519'] as const;
const word = passphrase.reveal();

function run(program: string, args: readonly string[], input?: string | Buffer) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    ...(input !== undefined && { input }),
    maxBuffer: 1 << 26,
  });
  return { status, output: stdout, text: stdout.toString(), errors: stderr.toString() };
}

/** Fingerprints of the certificates of an archive, in order. */
async function fingerprintsIn(path: string, unlock: Parameters<typeof entriesOf>[1]) {
  return (await entriesOf(path, unlock)).map(({ content }) => fingerprintOf(content)).sort();
}

async function archived(wanted: Omit<Parameters<typeof createArchive>[0], 'path'>) {
  const store = await estate(kinds);
  const folder = testFolder();
  const path = join(folder, 'archive');
  expect(
    await download(runtime, store, await createArchive({ ...wanted, path }), { wanted: () => true }),
  ).toMatchObject({
    downloaded: kinds.length,
  });
  const fingerprints = (await holdingsOf(store)).map(({ fingerprint }) => fingerprint).sort();
  return { folder, path, fingerprints };
}

describe.skipIf(openssl === undefined)('openssl pkcs12', () => {
  it.each([false, true])('opens what is written here (legacy: %s), and finds the same', async (legacy) => {
    const { folder, path, fingerprints } = await archived({ kind: 'pkcs12', passphrase: new Secret(word), legacy });
    writeFileSync(join(folder, 'word'), word);
    const old = legacy ? ['-legacy'] : [];
    const found = readdirSync(path).map((name) => {
      const args = ['pkcs12', '-in', join(path, name), '-passin', `file:${join(folder, 'word')}`, ...old];
      const { status, text, errors } = run('openssl', [...args, '-nodes']);
      expect(status, errors).toBe(0);
      const info = run('openssl', [...args, '-info', '-noout']).errors;
      expect(info).toMatch(
        legacy
          ? /MAC: sha1, Iteration 100000[\s\S]*pbeWithSHA1And3-KeyTripleDES-CBC/
          : /MAC: sha256, Iteration 100000[\s\S]*PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256/,
      );
      return fingerprintOf(parseContent({ certificate: text }));
    });
    expect(found.sort()).toEqual(fingerprints);
  });

  it.each([
    ['as it does today', []],
    ['with AES-128 and SHA-512', ['-keypbe', 'AES-128-CBC', '-certpbe', 'AES-128-CBC', '-macalg', 'sha512']],
    ['with triple DES and SHA-1', ['-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1']],
    ['with the certificates in the clear', ['-certpbe', 'NONE']],
  ])('makes a file %s that comes in', async (_, how) => {
    const folder = testFolder();
    mkdirSync(join(folder, 'all'));
    writeFileSync(join(folder, 'word'), word);
    const pem = await archived({ kind: 'pem', unencryptedKeys: true });
    for (const name of readdirSync(pem.path)) {
      const of = join(pem.path, name);
      const files = ['-in', join(of, 'fullchain.pem'), '-inkey', join(of, 'privkey.pem')];
      const out = [
        '-out',
        join(folder, 'all', `${name}.p12`),
        '-name',
        name === 'p-384' ? 'the one' : name,
        '-passout',
        `file:${join(folder, 'word')}`,
      ];
      const { status, errors } = run('openssl', ['pkcs12', '-export', ...files, ...how, ...out]);
      expect(status, errors).toBe(0);
    }
    const entries = await entriesOf(join(folder, 'all'), { passphrase });
    expect(entries.map(({ content }) => fingerprintOf(content)).sort()).toEqual(pem.fingerprints);
    expect(entries.map(({ name }) => name)).toContain('the one');
  });

  it('makes a file with RC2 or without a seal, and is told why it is not taken', async () => {
    const folder = testFolder();
    const pem = await archived({ kind: 'pem', unencryptedKeys: true });
    const of = join(pem.path, 'p-384');
    const make = (...how: string[]) =>
      run('openssl', [
        'pkcs12',
        '-export',
        '-in',
        join(of, 'fullchain.pem'),
        '-inkey',
        join(of, 'privkey.pem'),
        '-out',
        join(folder, 'old.p12'),
        '-passout',
        `pass:${word}`,
        ...how,
      ]);
    expect(make('-legacy', '-certpbe', 'PBE-SHA1-RC2-40').status).toBe(0);
    await expect(entriesOf(join(folder, 'old.p12'), { passphrase })).rejects.toMatchObject({
      code: 'archive_unsupported',
      message: 'a PKCS#12 file with encryption 1.2.840.113549.1.12.1.6 is not read here',
    });
    expect(make('-nomac').status).toBe(0);
    await expect(entriesOf(join(folder, 'old.p12'), { passphrase })).rejects.toMatchObject({
      code: 'archive_unsupported',
    });
  });
});

describe.skipIf(keytool === undefined)('keytool of Java', () => {
  it.each([false, true])('opens what is written here (legacy: %s)', async (legacy) => {
    const { folder, path } = await archived({ kind: 'pkcs12', passphrase: new Secret(word), legacy });
    writeFileSync(join(folder, 'word'), word);
    for (const name of readdirSync(path)) {
      const { status, text } = run('keytool', [
        '-list',
        '-v',
        '-keystore',
        join(path, name),
        '-storepass:file',
        join(folder, 'word'),
      ]);
      expect(status, text).toBe(0);
      expect(text).toMatch(/Entry type: PrivateKeyEntry\s+Certificate chain length: 2/);
    }
  });

  it('makes a file that comes in', async () => {
    const folder = testFolder();
    const file = join(folder, 'java.p12');
    const key = [
      '-genkeypair',
      '-alias',
      'shop',
      '-keyalg',
      'EC',
      '-groupname',
      'secp384r1',
      '-dname',
      'CN=shop.example.test',
    ];
    const made = run('keytool', [...key, '-keystore', file, '-storetype', 'PKCS12', '-storepass', word]);
    expect(made.status, made.text).toBe(0);
    const [entry] = await entriesOf(file, { passphrase });
    expect(entry).toMatchObject({ name: 'shop' });
    expect(entry?.content.leaf.subject).toBe('CN=shop.example.test');
  });
});

describe.skipIf(age === undefined)('age', () => {
  it('opens what is written here, and tar unpacks it', async () => {
    const identity = await generateX25519Identity();
    const recipients = [await identityToRecipient(identity)];
    const { folder, path, fingerprints } = await archived({ kind: 'age', recipients });
    writeFileSync(join(folder, 'key.txt'), `# a comment\n${identity}\n`);
    const { status, output, errors } = run('age', ['--decrypt', '--identity', join(folder, 'key.txt'), path]);
    expect(status, errors).toBe(0);
    mkdirSync(join(folder, 'out'));
    expect(run('tar', ['--extract', '--directory', join(folder, 'out')], output).status).toBe(0);
    expect(await fingerprintsIn(join(folder, 'out'), {})).toEqual(fingerprints);
  });

  it('opens what is written here with a passphrase, which it asks a terminal for', async () => {
    const { path } = await archived({ kind: 'age', passphrase: new Secret(word) });
    // The only way in: it reads no passphrase from anything but a terminal, which `script` gives it.
    const { text } = run(
      'script',
      ['--quiet', '--echo', 'never', '--command', `age --decrypt --output ${path}.tar ${path}`, '/dev/null'],
      `${word}\n`,
    );
    const listed = run('tar', ['--list', '--file', `${path}.tar`]);
    expect(listed.status, text).toBe(0);
    expect(listed.text).toMatch(/^p-384\/privkey\.pem$/m);
  });

  it('makes a file that comes in', async () => {
    const { folder, path, fingerprints } = await archived({ kind: 'pem', unencryptedKeys: true });
    const identity = await generateX25519Identity();
    const tar = run('tar', ['--create', '--directory', path, ...readdirSync(path)]).output;
    const file = join(folder, 'theirs.age');
    const made = run('age', ['--recipient', await identityToRecipient(identity), '--output', file], tar);
    expect(made.status, made.errors).toBe(0);
    expect(await fingerprintsIn(file, { identities: [new Secret(identity)] })).toEqual(fingerprints);
    expect(readFileSync(file, 'latin1')).not.toContain('PRIVATE KEY');
  });
});
