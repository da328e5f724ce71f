import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import { beforeAll, describe, expect, it } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { testCertificate } from '../support/certificates.ts';
import { itemsOf, testFolder } from './archives.ts';

/**
 * What each letter stands for in a file: the leaf, its chain, its key, and those of another
 * certificate.
 */
let parts: Readonly<Record<string, string>>;
let prints: readonly string[];
beforeAll(async () => {
  const pems = [await testCertificate(), await testCertificate({ domains: ['other.example.test'] })];
  const [one, other] = pems;
  parts = {
    l: one?.certificate ?? '',
    c: one?.intermediate ?? '',
    k: one?.privateKey?.reveal() ?? '',
    o: other?.certificate ?? '',
    p: other?.intermediate ?? '',
    x: other?.privateKey?.reveal() ?? '',
    '-': 'no PEM at all\n',
  };
  prints = pems.map((pem) => fingerprintOf(parseContent(pem)));
});

type Files = Readonly<Record<string, string>>;
const textOf = (letters: string) => [...letters].map((letter) => parts[letter] ?? '').join('');

/** A folder of these files, each described by the letters of what it holds. */
function folderOf(files: Files, at = testFolder()): string {
  mkdirSync(at, { recursive: true });
  for (const [name, letters] of Object.entries(files)) writeFileSync(join(at, name), textOf(letters));
  return at;
}

/**
 * What an archive came to: the fingerprints by their entries, what is refused and what is passed
 * over.
 */
async function foundIn(path: string) {
  const items = await itemsOf(path);
  return {
    taken: items.flatMap((item) => ('content' in item ? [[item.entry, fingerprintOf(item.content)]] : [])),
    refused: items.flatMap((item) => ('error' in item ? [`${item.error.code}: ${item.error.message}`] : [])),
    passedOver: items.flatMap((item) => ('file' in item ? [`${item.file}: ${item.why}`] : [])),
  };
}

describe('a folder of one certificate is taken as it is left by', () => {
  it.each<[string, Files]>([
    ['certbot', { 'fullchain.pem': 'lc', 'cert.pem': 'l', 'chain.pem': 'c', 'privkey.pem': 'k', README: '-' }],
    ['who keeps leaf and chain apart', { 'cert.pem': 'l', 'chain.pem': 'c', 'privkey.pem': 'k' }],
    ['simp_le', { 'fullchain.pem': 'lc', 'key.pem': 'k' }],
    ['a secret of Kubernetes', { 'tls.crt': 'lc', 'tls.key': 'k', 'ca.crt': 'o' }],
    [
      'acme.sh',
      { 'fullchain.cer': 'lc', 'example.com.cer': 'l', 'example.com.key': 'k', 'ca.cer': 'c', 'example.com.conf': '-' },
    ],
    ['who configures nginx by hand', { 'server.crt': 'lc', 'server.key': 'k' }],
    ['Caddy', { 'example.com.crt': 'lc', 'example.com.key': 'k', 'example.com.json': '-' }],
    ['lego', { 'example.com.crt': 'l', 'example.com.issuer.crt': 'c', 'example.com.key': 'k' }],
    ['Posh-ACME', { 'cert.cer': 'l', 'cert.key': 'k', 'chain.cer': 'c', 'fullchain.cer': 'lc' }],
    ['HAProxy, in one file', { 'site.pem': 'lck' }],
    ['HAProxy, with the key first', { 'site.pem': 'klc' }],
    ['HAProxy, with the key beside it', { 'site.pem': 'lc', 'site.pem.key': 'k' }],
    ['mkcert', { 'example.com.pem': 'lc', 'example.com-key.pem': 'k' }],
    ['a download of Certificate Manager', { 'content.pem': 'l', 'intermediate.pem': 'c', 'priv_key.pem': 'k' }],
  ])('%s, in a folder and in a zip', async (_, files) => {
    const root = testFolder();
    folderOf(files, join(root, 'site'));
    const inFolder = await foundIn(root);
    expect(inFolder.refused).toEqual([]);
    expect(inFolder.taken).toEqual([['site', prints[0]]]);
    const zip = join(testFolder(), 'a.zip');
    const entries = Object.entries(files).map(([name, letters]) => [`site/${name}`, Buffer.from(textOf(letters))]);
    writeFileSync(zip, zipSync(Object.fromEntries(entries)));
    expect((await foundIn(zip)).taken).toEqual([['site', prints[0]]]);
    // The folder of one may be given itself.
    const itself = await foundIn(join(root, 'site'));
    expect(itself.refused).toEqual([]);
    expect(itself.taken.map(([, print]) => print)).toEqual([prints[0]]);
  });
});

describe('certificates that lie side by side', () => {
  it.each<[string, Files, readonly string[]]>([
    [
      'lego',
      { 'a.crt': 'l', 'a.issuer.crt': 'c', 'a.key': 'k', 'b.crt': 'o', 'b.issuer.crt': 'p', 'b.key': 'x' },
      ['a.crt', 'b.crt'],
    ],
    ['HAProxy', { 'a.pem': 'lck', 'b.pem': 'opx' }, ['a.pem', 'b.pem']],
    [
      'win-acme',
      { 'a-chain.pem': 'lc', 'a-key.pem': 'k', 'b-chain.pem': 'op', 'b-key.pem': 'x' },
      ['a-chain.pem', 'b-chain.pem'],
    ],
  ])('as %s leaves them are taken, each for itself', async (_, files, entries) => {
    const { taken, refused } = await foundIn(folderOf(files));
    expect(refused).toEqual([]);
    expect(taken).toEqual(entries.map((entry, index) => [entry, prints[index]]));
  });

  it('are taken beside one whose file cannot be read, which is named', async () => {
    const zip = join(testFolder(), 'a.zip');
    const files = { 'a.crt': 'lc', 'a.key': 'k', 'b.crt': 'op', 'b.key': 'x' };
    const bytes = Object.entries(files).map(([name, letters]) => [name, Buffer.from(textOf(letters))]);
    const broken = Buffer.from(zipSync(Object.fromEntries(bytes), { level: 0 }));
    const at = broken.lastIndexOf('-----END');
    broken.writeUInt8(broken.readUInt8(at) ^ 1, at);
    writeFileSync(zip, broken);
    const { taken, refused } = await foundIn(zip);
    expect(taken).toEqual([['a.crt', prints[0]]]);
    expect(refused).toEqual([expect.stringMatching(/b\.key.*its checksum does not hold/)]);
  });

  it('are named where a part is missing, and nothing is made of half of one', async () => {
    const { taken, refused, passedOver } = await foundIn(
      folderOf({ 'a.crt': 'lc', 'a.key': 'k', 'b.crt': 'op', 'c.key': 'x', 'roots.pem': 'c' }),
    );
    expect(taken).toEqual([['a.crt', prints[0]]]);
    expect(refused).toEqual([]);
    expect(passedOver).toEqual([
      'roots.pem: it is a certificate without a private key',
      'b.crt: the key that belongs to it is not there',
      'c.key: the certificate that belongs to it is not there',
    ]);
  });
});

describe('what is not read is named as what it is', () => {
  it('several certificates in one folder of many', async () => {
    const root = testFolder();
    folderOf({ 'a.crt': 'lc', 'a.key': 'k', 'b.crt': 'op', 'b.key': 'x' }, join(root, 'both'));
    folderOf({ 'fullchain.cer': 'lc', 'example.com.key': 'k' }, join(root, 'one'));
    const { taken, refused } = await foundIn(root);
    expect(taken).toEqual([['one', prints[0]]]);
    expect(refused).toEqual([
      'archive_entry_damaged: both in the archive: it holds several certificates (a.crt, b.crt), and one folder is one certificate',
    ]);
  });

  it('a file that is read no further, because another beside it says more', async () => {
    const root = testFolder();
    folderOf({ 'fullchain.pem': 'lc', 'privkey.pem': 'k', 'old.crt': 'o' }, join(root, 'site'));
    const { taken, passedOver } = await foundIn(root);
    expect(taken).toEqual([['site', prints[0]]]);
    expect(passedOver).toEqual(['site/old.crt: fullchain.pem beside it is read']);
  });

  it('a certificate in DER', async () => {
    const root = testFolder();
    folderOf({ 'fullchain.cer': 'lc', 'example.com.key': 'k' }, join(root, 'site'));
    const [, base64 = ''] = /-----BEGIN CERTIFICATE-----([^-]+)/.exec(parts.l ?? '') ?? [];
    writeFileSync(join(root, 'site', 'leaf.cer'), Buffer.from(base64, 'base64'));
    const { taken, passedOver } = await foundIn(root);
    expect(taken).toEqual([['site', prints[0]]]);
    expect(passedOver).toEqual(['site/leaf.cer: it is a certificate or key in DER, and PEM is read here']);
  });

  it('a file of the certificate that cannot be read: none is put together without it', async () => {
    const root = testFolder();
    folderOf({ 'example.com.cer': 'l', 'example.com.key': 'k', 'ca.cer': 'c' }, join(root, 'site'));
    mkdirSync(join(root, 'site', 'fullchain.cer'));
    const { taken, refused } = await foundIn(root);
    expect(taken).toEqual([]);
    expect(refused).toEqual([expect.stringMatching(/^file_not_regular: .*site\/fullchain\.cer/)]);
  });
});
