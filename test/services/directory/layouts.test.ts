import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { directoryStore } from '../../../src/services/directory/store.ts';
import { testCertificate } from '../../support/certificates.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-layouts-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const store = () => directoryStore({ id: 'web-1', path: folder, region: 'here', runtime: systemRuntime, quietMs: 0 });

/**
 * What each letter stands for in a file: the leaf, its chain, its key, and another certificate's.
 */
let parts: Readonly<Record<string, string>>;
let print: string;
beforeAll(async () => {
  const [pem, other] = [await testCertificate(), await testCertificate({ domains: ['other.example.test'] })];
  const key = pem.privateKey?.reveal() ?? '';
  parts = {
    l: pem.certificate,
    c: pem.intermediate ?? '',
    k: key,
    o: other.certificate,
    x: other.privateKey?.reveal() ?? '',
    '-': 'no PEM at all\n',
  };
  print = fingerprintOf(parseContent(pem));
});

/** Writes files, each described by the letters of what it holds: `{ 'server.crt': 'lc' }`. */
function write(at: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(at, { recursive: true });
  for (const [name, letters] of Object.entries(files))
    writeFileSync(join(at, name), [...letters].map((letter) => parts[letter] ?? '').join(''));
}

async function printOf(id: string): Promise<string> {
  const reading = await store().read(id);
  if (reading.state === 'unreadable') return `${reading.error.code}: ${reading.error.message}`;
  return reading.state === 'present' ? fingerprintOf(reading.value.content) : 'absent';
}

describe('a folder of one certificate, as it is left by', () => {
  it.each<[string, Record<string, string>]>([
    ['certbot', { 'fullchain.pem': 'lc', 'cert.pem': 'l', 'chain.pem': 'c', 'privkey.pem': 'k', README: '-' }],
    [
      'dehydrated',
      { 'fullchain.pem': 'lc', 'cert.pem': 'l', 'cert-1700000000.pem': 'o', 'privkey.pem': 'k', 'cert.csr': '-' },
    ],
    ['who keeps leaf and chain apart', { 'cert.pem': 'l', 'chain.pem': 'c', 'privkey.pem': 'k' }],
    ['simp_le', { 'fullchain.pem': 'lc', 'key.pem': 'k' }],
    ['a secret of Kubernetes', { 'tls.crt': 'lc', 'tls.key': 'k', 'ca.crt': 'o' }],
    [
      'acme.sh',
      {
        'a.example.cer': 'l',
        'a.example.key': 'k',
        'ca.cer': 'c',
        'fullchain.cer': 'lc',
        'a.example.csr': '-',
        'a.example.conf': '-',
      },
    ],
    ['acme.sh, without the full chain', { 'a.example.cer': 'l', 'a.example.key': 'k', 'ca.cer': 'c' }],
    ['Posh-ACME', { 'cert.cer': 'l', 'cert.key': 'k', 'chain.cer': 'c', 'fullchain.cer': 'lc', 'cert.pfx': '-' }],
    ['Caddy', { 'a.example.crt': 'lc', 'a.example.key': 'k', 'a.example.json': '-' }],
    [
      'getssl',
      { 'a.example.crt': 'l', 'a.example.key': 'k', 'chain.crt': 'c', 'fullchain.crt': 'lc', 'a.example.csr': '-' },
    ],
    ['acmetool', { cert: 'l', chain: 'c', fullchain: 'lc', privkey: 'k', url: '-' }],
    ['a person, for nginx', { 'server.crt': 'lc', 'server.key': 'k', 'dhparam.pem': '-' }],
    ['a person, for Apache', { 'server.crt': 'l', 'server.ca-bundle': 'c', 'server.key': 'k' }],
    ['who feeds HAProxy, all in one', { 'haproxy.pem': 'klc' }],
    ['who feeds HAProxy, in another order', { 'site.pem': 'lck' }],
    ['who feeds HAProxy 2.2', { 'site.pem': 'l', 'site.pem.issuer': 'c', 'site.pem.key': 'k' }],
    ['mkcert', { 'a.example+2.pem': 'lc', 'a.example+2-key.pem': 'k' }],
    ['win-acme', { 'a-crt.pem': 'l', 'a-chain.pem': 'lc', 'a-chain-only.pem': 'c', 'a-key.pem': 'k' }],
  ])('%s, is read', async (_, files) => {
    write(join(folder, 'site'), files);
    expect(await printOf('site')).toBe(print);
    const { certificates, unreadable } = await store().list({});
    expect(certificates.map(({ id, domains }) => [id, domains])).toEqual([['site', ['shop.example.test']]]);
    expect(unreadable).toEqual([]);
  });

  it('a listing gives no key out, where certificate and key are one file', async () => {
    write(join(folder, 'site'), { 'haproxy.pem': 'klc' });
    const reading = await store().readMetadata('site');
    expect(JSON.stringify(reading)).not.toContain('PRIVATE KEY');
  });

  it('has another revision when its key alone changes', async () => {
    write(join(folder, 'site'), { 'a.crt': 'lc', 'a.key': 'k' });
    const revision = async () => (await store().list({})).certificates[0]?.revision;
    const before = await revision();
    write(join(folder, 'site'), { 'a.key': 'kk' });
    expect(await revision()).not.toBe(before);
  });
});

describe('one folder with the files of many', () => {
  it('as lego keeps it is read, each certificate by the name of its file', async () => {
    write(folder, { 'a.crt': 'lc', 'a.issuer.crt': 'c', 'a.key': 'k', 'a.json': '-', 'a.pem': 'lck' });
    write(folder, { '_.b.crt': 'o', '_.b.key': 'x' });
    const { certificates, unreadable, passedOver } = await store().list({});
    expect(certificates.map(({ id, name }) => [id, name])).toEqual([
      ['_.b.crt', '_.b'],
      ['a.crt', 'a'],
    ]);
    expect(unreadable).toEqual([]);
    expect(passedOver?.map(({ place }) => place)).toEqual([join(folder, 'a.json')]);
    expect(await printOf('a.crt')).toBe(print);
  });

  it('as HAProxy reads it is read; a certificate of an authority beside it is passed over', async () => {
    write(folder, { 'a.pem': 'lck', 'authority.pem': 'c', 'b.pem': 'o', 'b.pem.key': 'x' });
    const { certificates, passedOver } = await store().list({});
    expect(certificates.map(({ id }) => id)).toEqual(['a.pem', 'b.pem']);
    expect(passedOver).toEqual([
      { id: 'authority.pem', place: join(folder, 'authority.pem'), reason: 'a certificate without a private key' },
    ]);
    expect(await printOf('a.pem')).toBe(print);
  });

  it('as win-acme keeps it is read', async () => {
    write(folder, { 'a-crt.pem': 'l', 'a-chain.pem': 'lc', 'a-chain-only.pem': 'c', 'a-key.pem': 'k' });
    expect((await store().list({})).certificates.map(({ id, name }) => [id, name])).toEqual([['a-chain.pem', 'a']]);
    expect(await printOf('a-chain.pem')).toBe(print);
  });

  it('that is the folder of one certificate is told: the one above is meant', async () => {
    write(folder, { 'fullchain.pem': 'lc', 'cert.pem': 'l', 'chain.pem': 'c', 'privkey.pem': 'k' });
    const { certificates, unreadable } = await store().list({});
    expect(certificates).toEqual([]);
    expect(unreadable?.[0]?.error.message).toContain('is the folder above it meant?');
  });
});

describe('what is no PEM, or not one certificate, is named as what it is:', () => {
  it.each<[string, Record<string, string>, RegExp]>([
    [
      'a certificate and no name that is known',
      { 'site.txt': 'lc' },
      /site\.txt in it is a certificate in PEM, and no tool known here calls it so$/,
    ],
    [
      'several',
      { 'a.crt': 'l', 'a.key': 'k', 'b.crt': 'o', 'b.key': 'x' },
      /it holds several certificates \(a\.crt, b\.crt\)/,
    ],
    ['a key alone', { 'site.key': 'k' }, /site\.key in it is a private key in PEM/],
  ])('%s', async (_, files, words) => {
    write(join(folder, 'site'), files);
    const { certificates, unreadable } = await store().list({});
    expect(certificates).toEqual([]);
    expect(unreadable).toMatchObject([{ id: 'site', name: 'site', error: { code: 'store_layout_unknown' } }]);
    expect(unreadable?.[0]?.error.message).toMatch(words);
    expect(await printOf('site')).toMatch(words);
  });

  it.each([
    ['site.p12', '30820a0002010330820900', 'a PKCS#12 file'],
    ['site.jks', 'feedfeed0000000200000001', 'a Java keystore'],
    ['site.jceks', 'cececece0000000200000001', 'a Java keystore (JCEKS)'],
    ['site.der', '308203413082022902140a', 'a certificate or key in DER'],
  ])('%s', async (name, bytes, words) => {
    for (const at of [folder, join(folder, 'site')]) {
      mkdirSync(at, { recursive: true });
      writeFileSync(join(at, name), Buffer.from(bytes, 'hex'));
    }
    const { unreadable } = await store().list({});
    expect(unreadable?.map(({ id, error }) => [id, error.code, error.message])).toEqual([
      [undefined, 'store_form_unknown', `${join(folder, name)} is ${words}, and PEM is read here`],
      ['site', 'store_form_unknown', `${join(folder, 'site', name)} is ${words}, and PEM is read here`],
    ]);
  });

  it('DER under a name that PEM should have', async () => {
    mkdirSync(join(folder, 'site'));
    writeFileSync(join(folder, 'site', 'tls.crt'), Buffer.from('308203413082022902140a', 'hex'));
    expect(await printOf('site')).toContain('tls.crt is a certificate or key in DER, and PEM is read here');
  });

  it('a link to a folder that is read like one, and one to a file', async () => {
    write(join(folder, '.data', 'site'), { 'server.crt': 'lc', 'server.key': 'k' });
    symlinkSync('.data/site', join(folder, 'linked'));
    expect(await printOf('linked')).toBe(print);
    const { certificates, passedOver } = await store().list({});
    expect(certificates.map(({ id }) => id)).toEqual(['linked']);
    expect(passedOver).toEqual([{ place: join(folder, '.data'), reason: 'hidden: its name begins with a dot' }]);
  });
});
