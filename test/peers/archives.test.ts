import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { describe, expect, it } from 'vitest';
import { download } from '../../src/archive/download.ts';
import { createArchive } from '../../src/archive/write-archive.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { errorRegistry } from '../../src/errors.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { entriesOf, estate, holdingsOf, itemsOf, passphrase, testFolder } from '../archive/archives.ts';
import { requirePeer } from './peer.ts';

// What leaves opens in the tools that people have, and what they make comes in.

const openssl = requirePeer('OpenSSL', ['openssl', 'version'], 'apt-get install openssl');
const keytool = requirePeer('keytool', ['keytool', '-help'], 'apt-get install default-jdk-headless');
const certtool = requirePeer('GnuTLS', ['certtool', '--version'], 'apt-get install gnutls-bin');
const pk12util = requirePeer('NSS', ['sh', '-c', 'command -v pk12util certutil'], 'apt-get install libnss3-tools');
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

  it.each([
    ['RC2 with 40 bits for certificates, as Windows does', ['-legacy', '-certpbe', 'PBE-SHA1-RC2-40']],
    ['RC2 with 128 bits', ['-legacy', '-certpbe', 'PBE-SHA1-RC2-128', '-keypbe', 'PBE-SHA1-RC2-128']],
    ['RC4', ['-legacy', '-certpbe', 'PBE-SHA1-RC4-128', '-keypbe', 'PBE-SHA1-RC4-40']],
    ['triple DES with two keys', ['-legacy', '-certpbe', 'PBE-SHA1-2DES', '-keypbe', 'PBE-SHA1-2DES']],
    ['DES of PKCS#5', ['-legacy', '-certpbe', 'PBE-MD5-DES', '-keypbe', 'PBE-SHA1-DES']],
    ['Camellia and SHA-3', ['-certpbe', 'CAMELLIA-256-CBC', '-keypbe', 'CAMELLIA-128-CBC', '-macalg', 'sha3-256']],
  ])('makes a file with %s that comes in', async (_, how) => {
    const { make, fingerprint } = await one();
    for (const passphrase of ['größe ✓', '']) {
      const file = make(passphrase, ...how);
      const [entry] = await entriesOf(file, { passphrase: new Secret(passphrase) });
      expect(entry && fingerprintOf(entry.content)).toBe(fingerprint);
    }
  });

  it('makes a file without a MAC that comes in when a person says so', async () => {
    const { make, fingerprint } = await one();
    const file = make(word, '-nomac');
    await expect(entriesOf(file, { passphrase })).rejects.toMatchObject({ code: 'archive_not_sealed' });
    const [entry] = await entriesOf(file, { passphrase, acceptNoMac: true });
    expect(entry && fingerprintOf(entry.content)).toBe(fingerprint);
  });

  it.each(['archive_costly', 'archive_unsupported'] as const)(
    'does what the remedy of %s says, as it is written',
    async (code) => {
      const { make, fingerprint, folder } = await one();
      // Far more rounds than we do: what is refused for that comes in afterwards.
      const file = make(word, '-legacy', '-certpbe', 'PBE-SHA1-RC2-40', '-iter', '2000001');
      await expect(entriesOf(file, { passphrase })).rejects.toMatchObject({ code: 'archive_costly' });
      const [, command = ''] = /(openssl pkcs12 .*new\.p12)/.exec(errorRegistry[code].remedy) ?? [];
      expect(command).toContain('-legacy');
      // Without a terminal OpenSSL asks its input: for the passphrase that opens, and twice for the
      // one that closes.
      for (const each of command.split(' && ')) {
        const { status, stderr } = spawnSync('setsid', ['--wait', ...each.split(' ')], {
          cwd: folder,
          input: `${word}\n`.repeat(3),
        });
        expect(status, stderr.toString()).toBe(0);
      }
      const [entry] = await entriesOf(join(folder, 'new.p12'), { passphrase });
      expect(entry && fingerprintOf(entry.content)).toBe(fingerprint);
    },
  );

  /** A certificate, and how OpenSSL makes `old.p12` of it. */
  async function one() {
    const pem = await archived({ kind: 'pem', unencryptedKeys: true });
    const of = join(pem.path, 'p-384');
    const file = join(pem.folder, 'old.p12');
    const [entry] = await entriesOf(of, {});
    const make = (passphrase: string, ...how: readonly string[]) => {
      const files = ['-in', join(of, 'fullchain.pem'), '-inkey', join(of, 'privkey.pem'), '-out', file];
      const { status, errors } = run('openssl', [
        'pkcs12',
        '-export',
        ...files,
        '-passout',
        `pass:${passphrase}`,
        ...how,
      ]);
      expect(status, errors).toBe(0);
      return file;
    };
    return { folder: pem.folder, make, fingerprint: entry && fingerprintOf(entry.content) };
  }
});

describe.skipIf(certtool === undefined)('certtool of GnuTLS', () => {
  it.each(['3des', '3des-pkcs12', 'aes-256', 'rc2-40', 'arcfour'])(
    'makes a file under %s that comes in',
    async (cipher) => {
      const pem = await archived({ kind: 'pem', unencryptedKeys: true });
      const of = join(pem.path, 'rsa-2048');
      const file = join(pem.folder, 'gnutls.p12');
      const files = ['--load-privkey', join(of, 'privkey.pem'), '--load-certificate', join(of, 'fullchain.pem')];
      const how = ['--to-p12', '--p12-name', 'shop', '--pkcs-cipher', cipher, '--outfile', file];
      for (const [empty, unlock] of [
        [['--password', word], { passphrase }],
        ...(cipher === 'rc2-40' ? [[['--null-password'], { passphrase: new Secret('') }] as const] : []),
      ] as const) {
        const { status, errors } = run('certtool', [...files, ...how, ...empty]);
        expect(status, errors).toBe(0);
        const [entry] = await entriesOf(file, unlock);
        expect(entry?.name).toBe('shop');
        expect(pem.fingerprints).toContain(entry && fingerprintOf(entry.content));
      }
    },
  );
});

describe.skipIf(pk12util === undefined)('pk12util of NSS', () => {
  it.each(['p-256', 'rsa-2048'])('makes a file of a %s key, in BER, that comes in', async (kind) => {
    const store = await archived({ kind: 'pkcs12', passphrase: new Secret(word) });
    const files = readdirSync(store.path);
    const file = files.find((name) => (kind === 'p-256' ? name.includes('example') : name.startsWith(kind))) ?? '';
    mkdirSync(join(store.folder, 'nss'));
    const database = ['-d', `sql:${join(store.folder, 'nss')}`];
    const [mine] = await entriesOf(join(store.path, file), { passphrase });
    expect(run('certutil', ['-N', ...database, '--empty-password']).status).toBe(0);
    const taken = run('pk12util', ['-i', join(store.path, file), ...database, '-W', word]);
    expect(taken.status, taken.errors).toBe(0);
    const out = join(store.folder, 'nss.p12');
    const made = run('pk12util', ['-o', out, '-n', mine?.name ?? '', ...database, '-W', word]);
    expect(made.status, made.errors).toBe(0);
    expect(readFileSync(out).subarray(0, 2)).toEqual(Buffer.from([0x30, 0x80]));
    const [entry] = await entriesOf(out, { passphrase });
    expect(entry?.name).toBe(mine?.name);
    expect(entry?.content.leaf.raw).toEqual(mine?.content.leaf.raw);
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

  it('makes a keystore of several keys, a secret and a trusted certificate that comes in, each key by its alias', async () => {
    const folder = testFolder();
    const file = join(folder, 'java.p12');
    const store = ['-keystore', file, '-storetype', 'PKCS12', '-storepass', word];
    const pem = await archived({ kind: 'pem', unencryptedKeys: true });
    const did = (...args: readonly string[]) => expect(run('keytool', [...args, ...store]).status).toBe(0);
    did('-importcert', '-noprompt', '-alias', 'aaa-root', '-file', join(pem.path, 'p-384', 'chain.pem'));
    did('-genseckey', '-alias', 'db', '-keyalg', 'AES', '-keysize', '256');
    for (const alias of ['shop', 'api', 'mail']) {
      const key = { shop: 'RSA', api: 'EC', mail: 'Ed25519' }[alias] ?? '';
      did('-genkeypair', '-alias', alias, '-keyalg', key, '-dname', `CN=${alias}.example.test`);
    }
    const items = await itemsOf(file, { passphrase });
    const found = items.map((item) =>
      'content' in item ? [item.name, item.content.leaf.subject] : 'why' in item && item.why,
    );
    expect(found).toHaveLength(5);
    expect(found).toEqual(
      expect.arrayContaining([
        ['shop', 'CN=shop.example.test'],
        ['api', 'CN=api.example.test'],
        ['mail', 'CN=mail.example.test'],
        'a secret (db)',
        'a certificate without a key (aaa-root)',
      ]),
    );
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
    // The only way in: it reads no passphrase from anything but a terminal, which `script` gives
    // it.
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
