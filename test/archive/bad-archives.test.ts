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
import { entriesOf, estate, itemsOf, passphrase, testFolder, wanted } from './archives.ts';

async function archived(kind: ArchiveKind, kinds: Parameters<typeof estate>[0] = ['p-256', 'p-384']): Promise<string> {
  const path = join(testFolder(), kind === 'zip' ? 'a.zip' : 'archive');
  await download(runtime, await estate(kinds), await createArchive(wanted(kind, path)), { wanted: () => true });
  return path;
}

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
  it.each(['age', 'zip'] as const)('of kind %s that was cut anywhere is refused', async (kind) => {
    const path = await archived(kind);
    const whole = readFileSync(path);
    const cuts = [0.01, 0.2, 0.5, 0.9, 0.99, 1 - 1 / whole.length];
    for (const share of cuts) {
      writeFileSync(path, whole.subarray(0, Math.floor(whole.length * share)));
      await expect(entriesOf(path), `cut at ${share}`).rejects.toMatchObject({
        code: expect.stringMatching(/^archive_(damaged|unknown)$/),
      });
      await expect(itemsOf(path), `cut at ${share}`).rejects.toThrow();
    }
  });

  it('of kind age in which one byte was changed is refused', async () => {
    const path = await archived('age');
    const whole = readFileSync(path);
    const places = Array.from({ length: 12 }, (_, index) => (index + 0.5) / 12);
    for (const share of places) {
      const changed = Buffer.from(whole);
      const at = Math.floor(whole.length * share);
      changed.writeUInt8(whole.readUInt8(at) ^ 0x10, at);
      writeFileSync(path, changed);
      await expect(entriesOf(path), `changed at ${at} of ${whole.length}`).rejects.toMatchObject({
        code: expect.stringMatching(/^archive_/),
      });
    }
  });

  it('of kind pkcs12 does not open with another passphrase', async () => {
    const path = await archived('pkcs12', ['p-256']);
    await expect(entriesOf(path, { passphrase: new Secret('incorrect horse') })).rejects.toMatchObject({
      code: 'archive_passphrase_wrong',
    });
    await expect(entriesOf(path, {})).rejects.toMatchObject({ code: 'archive_passphrase_missing' });
  });

  it('that is none is refused, whatever it is', async () => {
    const folder = testFolder();
    writeFileSync(join(folder, 'notes.txt'), 'age-encryption.org/v2\n');
    await expect(entriesOf(join(folder, 'notes.txt'))).rejects.toMatchObject({ code: 'archive_unknown' });
    await expect(entriesOf(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'archive_unusable' });
    await expect(entriesOf(folder)).rejects.toMatchObject({ code: 'archive_damaged' });
  });

  it('with ten certificates and nine keys gives nine, and says which one it does not', async () => {
    const path = await manyOf(10);
    rmSync(join(path, 'shop-7', 'privkey.pem'));
    const items = await itemsOf(path);
    expect(items.filter((item) => 'content' in item).map(({ entry }) => entry)).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 8, 9].map((number) => `shop-${number}`),
    );
    expect(refusedIn(items)).toEqual([
      ['shop-7', 'certificate_key_missing', 'shop-7 in the archive: the certificate has no private key'],
    ]);
  });

  it('gives the certificate beside a file of another name, and names that file', async () => {
    const path = await archived('pem', ['p-384']);
    writeFileSync(join(path, 'p-384', 'id_rsa'), '');
    writeFileSync(join(path, 'notes.txt'), 'not ours');
    const items = await itemsOf(path);
    expect(items.filter((item) => 'content' in item)).toHaveLength(1);
    expect(items.filter((item) => 'file' in item)).toEqual([
      { file: 'p-384/id_rsa', why: 'no certificate has a file of this name' },
      { file: 'notes.txt', why: 'no certificate has a file of this name' },
    ]);
    expect(refusedIn(items)).toEqual([]);
  });

  it('names the folder that holds certificates under no name that is known, and takes the others', async () => {
    const path = await manyOf(2);
    renameSync(join(path, 'shop-1', 'cert.pem'), join(path, 'shop-1', 'a.txt'));
    renameSync(join(path, 'shop-1', 'fullchain.pem'), join(path, 'shop-1', 'b.txt'));
    rmSync(join(path, 'shop-1', 'privkey.pem'));
    const items = await itemsOf(path);
    expect(items.filter((item) => 'content' in item)).toHaveLength(1);
    expect(refusedIn(items)).toEqual([
      ['shop-1', 'archive_entry_damaged', expect.stringMatching(/it holds .*shop-1\/a\.txt, shop-1\/b\.txt$/)],
    ]);
  });
});

/** What is refused: of which entry, by code and message. */
const refusedIn = (items: Awaited<ReturnType<typeof itemsOf>>) =>
  items.flatMap((item) => ('error' in item ? [[item.entry, item.error.code, item.error.message]] : []));

/** A folder of so many certificates, `shop-0` and so on. */
async function manyOf(number: number): Promise<string> {
  const path = join(testFolder(), 'many');
  const one = join(await archived('pem', ['p-384']), 'p-384');
  mkdirSync(path);
  for (let at = 0; at < number; at += 1) {
    cpSync(one, join(path, `shop-${at}`), { recursive: true });
    rmSync(join(path, `shop-${at}`, 'certstandby.json'));
  }
  return path;
}

/** The files of one certificate, as an archive would hold them in a folder of this name. */
async function filesNamed(folder: string): Promise<readonly { readonly name: string; readonly bytes: Buffer }[]> {
  const from = join(await archived('pem', ['p-384']), 'p-384');
  return readdirSync(from).map((name) => ({ name: `${folder}/${name}`, bytes: readFileSync(join(from, name)) }));
}

describe('a hostile archive', () => {
  it.each([
    '../outside/cert.pem',
    '/etc/cert.pem',
    'a/../../cert.pem',
    'a\\b/cert.pem',
    'a/b/cert.pem',
    'c:/cert.pem',
    'a\n/cert.pem',
  ])('with the path %j refuses that file, and gives the certificate beside it', async (name) => {
    const files = [{ name, bytes: Buffer.from('x') }, ...(await filesNamed('shop'))];
    const zip = zipOf(Object.fromEntries(files.map((file) => [file.name, file.bytes])));
    // A zip has no way to say a line end in a name: it is another character there.
    for (const path of [await ageOf(files), ...(name.includes('\n') ? [] : [zip])]) {
      const items = await itemsOf(path);
      expect(items.filter((item) => 'content' in item).map(({ entry }) => entry)).toEqual(['shop']);
      expect(refusedIn(items)).toEqual([
        [expect.anything(), 'archive_entry_damaged', expect.stringMatching(/its path is not <certificate>\/<file>$/)],
      ]);
    }
  });

  it('with a symbolic link in place of a file refuses that certificate alone', async () => {
    const shop = await filesNamed('shop');
    const path = await ageOf([{ name: 'a/cert.pem', type: 'symlink' }, ...shop]);
    const items = await itemsOf(path);
    expect(items.filter((item) => 'content' in item).map(({ entry }) => entry)).toEqual(['shop']);
    expect(refusedIn(items)).toEqual([
      ['a', 'archive_entry_damaged', '"a/cert.pem" in the archive: it is a symlink, not a file'],
    ]);
  });

  it.each([0, 1])(
    'with a file of %i bytes more than the limit refuses it for that only if it is more',
    async (more) => {
      const bytes = Buffer.alloc(limits.archiveFileBytes + more, ' ');
      const why = more === 0 ? 'certificate_too_large' : 'archive_entry_damaged';
      const shop = await filesNamed('shop');
      const files = [{ name: 'a/cert.pem', bytes }, ...shop];
      for (const path of [
        await ageOf(files),
        zipOf(Object.fromEntries(files.map((file) => [file.name, file.bytes]))),
      ]) {
        const items = await itemsOf(path);
        expect(items.filter((item) => 'content' in item).map(({ entry }) => entry)).toEqual(['shop']);
        expect(refusedIn(items)).toEqual([['a', why, expect.anything()]]);
      }
    },
  );

  it('of which files unpack to far more than they have is named, and nothing of them is unpacked', async () => {
    const bombs = Object.fromEntries([0, 1, 2].map((index) => [`a${index}/cert.pem`, Buffer.alloc(4 << 20)]));
    const shop = Object.fromEntries((await filesNamed('shop')).map(({ name, bytes }) => [name, bytes]));
    const path = zipOf({ ...bombs, ...shop });
    expect(readFileSync(path).length).toBeLessThan(1 << 18);
    const items = await itemsOf(path);
    expect(items.filter((item) => 'content' in item).map(({ entry }) => entry)).toEqual(['shop']);
    expect(refusedIn(items)).toHaveLength(3);
    expect(refusedIn(items)[0]?.[2]).toMatch(/it unpacks to 4194304 bytes, which no PEM file has$/);
  });

  it('that is a zip of which one file was changed gives the others', async () => {
    const files = [...(await filesNamed('shop')), ...(await filesNamed('other'))];
    const path = join(testFolder(), 'changed.zip');
    const zip = Buffer.from(zipSync(Object.fromEntries(files.map(({ name, bytes }) => [name, bytes])), { level: 0 }));
    const at = zip.indexOf('-----BEGIN CERTIFICATE', zip.indexOf('other/fullchain.pem'));
    zip.writeUInt8(zip.readUInt8(at + 200) ^ 1, at + 200);
    writeFileSync(path, zip);
    const items = await itemsOf(path);
    expect(items.filter((item) => 'content' in item).map(({ entry }) => entry)).toEqual(['shop']);
    expect(refusedIn(items)).toEqual([
      ['other', 'archive_entry_damaged', expect.stringMatching(/its checksum does not hold: it was changed$/)],
    ]);
  });

  it('that comes back to a certificate, or gives a file twice, refuses that one', async () => {
    const shop = await filesNamed('shop');
    const other = await filesNamed('other');
    const backAgain = await itemsOf(await ageOf([...shop, ...other, ...shop]));
    expect(refusedIn(backAgain)).toEqual([
      ['shop', 'archive_entry_damaged', 'shop in the archive: it comes a second time'],
    ]);
    const twice = await itemsOf(await ageOf([...shop, ...shop, ...other]));
    expect(twice.filter((item) => 'content' in item).map(({ entry }) => entry)).toEqual(['other']);
    expect(refusedIn(twice)[0]?.[2]).toMatch(/ is there twice$/);
  });

  it('with a side file that is not ours refuses the certificate whose it is', async () => {
    const path = await manyOf(2);
    for (const text of [
      '',
      '{',
      '{"format":2,"name":"x"}',
      JSON.stringify({ format: 1, name: 'x'.repeat(limits.archiveTextCharacters + 1) }),
    ]) {
      writeFileSync(join(path, 'shop-1', 'certstandby.json'), text);
      const items = await itemsOf(path);
      expect(items.filter((item) => 'content' in item).map(({ entry }) => entry)).toEqual(['shop-0']);
      expect(refusedIn(items)).toEqual([
        ['shop-1', 'archive_entry_damaged', expect.stringContaining('certstandby.json')],
      ]);
      // Its name stands in that file: whoever asks for certificates by name has to hear of it.
      expect(items.find((item) => 'error' in item)).not.toHaveProperty('name');
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
