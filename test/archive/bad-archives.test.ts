import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Encrypter } from 'age-encryption';
import { zipSync } from 'fflate';
import { pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import type { ArchiveKind } from '../../src/archive/archive.ts';
import { download } from '../../src/archive/download.ts';
import { createArchive } from '../../src/archive/write-archive.ts';
import { limits } from '../../src/limits.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { entriesOf, estate, passphrase, testFolder, wanted } from './archives.ts';

async function archived(kind: ArchiveKind, kinds: Parameters<typeof estate>[0] = ['p-256', 'p-384']): Promise<string> {
  const path = join(testFolder(), kind === 'zip' ? 'a.zip' : 'archive');
  await download(runtime, await estate(kinds), await createArchive(wanted(kind, path)), { wanted: () => true });
  return path;
}

/** The one file that is looked at: the archive, or the first `.p12` in it. */
const fileOf = (path: string, kind: ArchiveKind) => (kind === 'pkcs12' ? join(path, readdirSync(path)[0] ?? '') : path);

async function ageOf(
  files: readonly { readonly name: string; readonly bytes?: Uint8Array; readonly type?: 'symlink' | 'directory' }[],
) {
  const path = join(testFolder(), 'hostile.age');
  const tar = pack();
  for (const { name, bytes = new Uint8Array(), type } of files)
    tar.entry(
      { name, ...(type && { type }), ...(type === 'symlink' && { linkname: '/etc/shadow' }) },
      Buffer.from(bytes),
    );
  tar.finalize();
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase.reveal());
  encrypter.setScryptWorkFactor(10);
  writeFileSync(path, await encrypter.encrypt(await buffer(Readable.from(tar))));
  return path;
}

function zipOf(files: Record<string, Uint8Array>): string {
  const path = join(testFolder(), 'hostile.zip');
  writeFileSync(path, zipSync(files));
  return path;
}

describe('an archive', () => {
  it.each(['age', 'pkcs12', 'zip'] as const)('of kind %s that was cut anywhere is refused', async (kind) => {
    const path = await archived(kind);
    const file = fileOf(path, kind);
    const whole = readFileSync(file);
    const cuts = [0.01, 0.2, 0.5, 0.9, 0.99, 1 - 1 / whole.length];
    for (const share of cuts) {
      writeFileSync(file, whole.subarray(0, Math.floor(whole.length * share)));
      await expect(entriesOf(path), `cut at ${share}`).rejects.toMatchObject({
        code: expect.stringMatching(/^archive_(damaged|unknown)$/),
      });
    }
  });

  it.each(['age', 'pkcs12'] as const)('of kind %s in which one byte was changed is refused', async (kind) => {
    const path = await archived(kind);
    const file = fileOf(path, kind);
    const whole = readFileSync(file);
    const places = Array.from({ length: 12 }, (_, index) => (index + 0.5) / 12);
    for (const share of places) {
      const changed = Buffer.from(whole);
      const at = Math.floor(whole.length * share);
      changed.writeUInt8(whole.readUInt8(at) ^ 0x10, at);
      writeFileSync(file, changed);
      await expect(entriesOf(path), `changed at ${at} of ${whole.length}`).rejects.toMatchObject({
        code: expect.stringMatching(/^archive_/),
      });
    }
  });

  it('of kind pkcs12 does not open with another passphrase', async () => {
    const path = await archived('pkcs12', ['p-256']);
    for (const unlock of [{ passphrase: new Secret('incorrect horse') }, {}])
      await expect(entriesOf(path, unlock)).rejects.toMatchObject({ code: 'archive_passphrase_wrong' });
  });

  it('that is none is refused, whatever it is', async () => {
    const folder = testFolder();
    writeFileSync(join(folder, 'notes.txt'), 'age-encryption.org/v2\n');
    await expect(entriesOf(join(folder, 'notes.txt'))).rejects.toMatchObject({ code: 'archive_unknown' });
    await expect(entriesOf(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'archive_unusable' });
    await expect(entriesOf(folder)).rejects.toMatchObject({ code: 'archive_damaged' });
  });

  it('with ten certificates and nine keys is refused, and says which', async () => {
    const path = join(testFolder(), 'ten');
    const one = join(await archived('pem', ['p-384']), 'p-384');
    mkdirSync(path);
    for (let number = 0; number < 10; number += 1) cpSync(one, join(path, `shop-${number}`), { recursive: true });
    rmSync(join(path, 'shop-7', 'privkey.pem'));
    await expect(entriesOf(path)).rejects.toMatchObject({
      code: 'certificate_key_missing',
      message: 'shop-7 in the archive: the certificate has no private key',
    });
  });

  it('with a foreign file, a second layer of folders, or a folder without a certificate is refused', async () => {
    const path = await archived('pem', ['p-384']);
    const refused = (message: RegExp) =>
      expect(entriesOf(path)).rejects.toMatchObject({
        code: 'archive_damaged',
        message: expect.stringMatching(message),
      });
    writeFileSync(join(path, 'p-384', 'id_rsa'), '');
    await refused(/"p-384\/id_rsa" is no file of a certificate$/);
    rmSync(join(path, 'p-384', 'id_rsa'));
    renameSync(join(path, 'p-384', 'cert.pem'), join(path, 'p-384', 'README'));
    renameSync(join(path, 'p-384', 'fullchain.pem'), join(path, 'p-384', 'chain.pem'));
    await refused(/p-384 holds no certificate$/);
  });
});

describe('a hostile archive', () => {
  it.each([
    '../outside/cert.pem',
    '/etc/cert.pem',
    'a/../../cert.pem',
    'a\\b/cert.pem',
    'a/b/cert.pem',
    'c:/cert.pem',
    'a\n/cert.pem',
  ])('with the path %j is refused', async (name) => {
    const bytes = Buffer.from('x');
    for (const path of [await ageOf([{ name, bytes }]), zipOf({ [name]: bytes })])
      await expect(entriesOf(path)).rejects.toMatchObject({ code: 'archive_damaged' });
  });

  it('with a symbolic link is refused', async () => {
    await expect(entriesOf(await ageOf([{ name: 'a/cert.pem', type: 'symlink' }]))).rejects.toMatchObject({
      code: 'archive_damaged',
      message: expect.stringMatching(/"a\/cert.pem" is a symlink, not a file$/),
    });
  });

  it.each([0, 1])(
    'with a file of %i bytes more than the limit is refused for that only if it is more',
    async (more) => {
      const bytes = Buffer.alloc(limits.archiveFileBytes + more, ' ');
      const why = more === 0 ? /holds no certificate|README/ : /which no PEM file has$/;
      for (const path of [await ageOf([{ name: 'a/README', bytes }]), zipOf({ 'a/README': bytes })]) {
        await expect(entriesOf(path)).rejects.toMatchObject({
          code: 'archive_damaged',
          message: expect.stringMatching(why),
        });
      }
    },
  );

  it('that unpacks to far more than it has is left at the first file', async () => {
    const bomb = zipOf(
      Object.fromEntries(Array.from({ length: 3 }, (_, index) => [`a${index}/cert.pem`, Buffer.alloc(4 << 20)])),
    );
    expect(readFileSync(bomb).length).toBeLessThan(1 << 18);
    await expect(entriesOf(bomb)).rejects.toMatchObject({
      message: expect.stringMatching(/unpacks to more than 524288 bytes/),
    });
  });

  it('that comes back to a certificate, or gives a file twice, is refused', async () => {
    const [entry] = readdirSync(await archived('pem', ['p-384']));
    expect(entry).toBe('p-384');
    const path = await archived('pem', ['p-384']);
    const files = readdirSync(join(path, 'p-384')).map((name) => ({
      name: `p-384/${name}`,
      bytes: readFileSync(join(path, 'p-384', name)),
    }));
    const again = files.map(({ name, bytes }) => ({ name: name.replace('p-384', 'other'), bytes: Buffer.from(bytes) }));
    const backAgain = await ageOf([...files, ...again, ...files]);
    await expect(entriesOf(backAgain)).rejects.toMatchObject({
      message: expect.stringMatching(/p-384 comes a second time$/),
    });
    await expect(entriesOf(await ageOf([...files, ...files]))).rejects.toMatchObject({
      message: expect.stringMatching(/ is there twice$/),
    });
  });

  it('with a side file that is not ours is refused', async () => {
    const path = await archived('pem', ['p-384']);
    for (const text of [
      '{',
      '{"format":2,"name":"x"}',
      JSON.stringify({ format: 1, name: 'x'.repeat(limits.archiveTextCharacters + 1) }),
    ]) {
      writeFileSync(join(path, 'p-384', 'certstandby.json'), text);
      await expect(entriesOf(path)).rejects.toMatchObject({ code: 'archive_damaged' });
    }
  });
});

it.each(['age', 'pkcs12', 'pem', 'zip'] as const)(
  'a place where nothing can be written is named (%s)',
  async (kind) => {
    const path = join(testFolder(), 'nowhere', 'archive');
    const store = await estate(['p-256', 'p-384']);
    const writing = async () =>
      download(runtime, store, await createArchive(wanted(kind, path)), { wanted: () => true });
    await expect(writing()).rejects.toMatchObject({
      code: 'archive_unusable',
      message: `writing ${path} failed (ENOENT)`,
    });
  },
);

describe('what does not go together is refused before anything is written', () => {
  const secret = { passphrase };
  it.each([
    ['age without a lock', { kind: 'age' as const }],
    ['age with two', { kind: 'age' as const, ...secret, recipients: ['age1x'] }],
    ['a recipient that is none', { kind: 'age' as const, recipients: ['age1x'] }],
    ['PKCS#12 without a passphrase', { kind: 'pkcs12' as const }],
    ['recipients of PKCS#12', { kind: 'pkcs12' as const, ...secret, recipients: ['age1x'] }],
    ['PEM without the word', { kind: 'pem' as const }],
    ['zip without the word', { kind: 'zip' as const }],
    ['a passphrase that would keep nothing', { kind: 'zip' as const, unencryptedKeys: true, ...secret }],
    ['legacy age', { kind: 'age' as const, legacy: true, ...secret }],
  ])('%s', async (_, given) => {
    const folder = testFolder();
    await expect((async () => createArchive({ path: join(folder, 'archive'), ...given }))()).rejects.toMatchObject({
      code: 'usage',
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});
