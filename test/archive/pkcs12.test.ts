import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { ArchiveUnlock } from '../../src/archive/archive.ts';
import { element } from '../../src/archive/der-writing.ts';
import { planImport } from '../../src/archive/import.ts';
import { passphraseForms } from '../../src/archive/pkcs12-ciphers.ts';
import { entriesOf as entriesIn } from '../../src/archive/pkcs12-entries.ts';
import { pkcs12Opener } from '../../src/archive/pkcs12-thread.ts';
import { openArchive } from '../../src/archive/read-archive.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { CodedError } from '../../src/errors.ts';
import type { IssuedCertificate } from '../../src/instance/orders/authority/development-ca.ts';
import { limits } from '../../src/limits.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { expired, testCa, testCertificate } from '../support/certificates.ts';
import {
  asBer,
  bagInBag,
  certificateBag,
  inPkcs12,
  keyBag,
  type Part,
  type Pkcs12Options,
  part,
  pkcs12Of,
  rc2Part,
  revocationListBag,
  type Seal,
  scryptPart,
  secretBag,
  unknownKeyBag,
} from '../support/pkcs12.ts';
import { entriesOf, holdingsOf, itemsOf, memory, testFolder } from './archives.ts';

const secret: ArchiveUnlock = { passphrase: new Secret('secret') };
const empty: ArchiveUnlock = { passphrase: new Secret('') };

const der = (pem: string) => pem.split(/(?=-----BEGIN)/).map((text) => new X509Certificate(text).raw);
const pkcs8 = ({ privateKey }: IssuedCertificate) =>
  createPrivateKey(privateKey.reveal()).export({ type: 'pkcs8', format: 'der' });

const shop = await testCertificate({ domains: ['shop.example.test', 'www.shop.example.test'] });
const api = await testCertificate({ domains: ['api.example.test'], keyKind: 'ed25519' });
const [shopLeaf, apiLeaf, issuer] = [
  der(shop.certificate)[0],
  der(api.certificate)[0],
  der(shop.intermediate ?? '')[0],
];
const root = der((await testCa()).rootPem)[0];
if (!shopLeaf || !apiLeaf || !issuer || !root) throw new Error('a certificate is missing');
const fingerprints = [shop, api].map((each) => fingerprintOf(parseContent(each)));

/** Writes a file, and gives its path. */
function fileOf(bytes: Uint8Array, name = 'keystore.p12', folder = testFolder()): string {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
}

const read = (bytes: Uint8Array, unlock = secret) => entriesOf(fileOf(bytes), unlock);
const readParts = (parts: readonly Part[], options?: Pkcs12Options) => read(pkcs12Of(parts, options));

describe('the name of a certificate in PKCS#12', () => {
  const trusted = certificateBag(root, { name: 'corp-root', trusted: true });
  const leaf = certificateBag(shopLeaf, { keyId: '1', name: 'of the leaf' });

  it.each([
    ['that of its key, though a trusted certificate comes first', { name: 'shop', keyId: '1' }, leaf, 'shop'],
    ['that of its leaf, where the key has none', { keyId: '1' }, leaf, 'of the leaf'],
    ['that of its leaf, where Windows named a container', { name: '{F5A1}', windows: true }, leaf, 'of the leaf'],
    ['the first that it serves, where nobody gave it one', {}, certificateBag(shopLeaf), 'shop.example.test'],
    ['in any script, and as it was written', { name: 'Läden 😀 "x"\u202e' }, leaf, 'Läden 😀 "x"\u202e'],
  ])('is %s', async (_, signs, certificate, name) => {
    const [entry] = await readParts([part(trusted, certificate), part(keyBag(pkcs8(shop), signs))]);
    expect(entry).toMatchObject({ name, entry: 'keystore.p12' });
  });

  it('keeps two keystores that trust one authority from replacing each other', async () => {
    const into = memory('paris');
    const keystore = (of: IssuedCertificate, certificate: Uint8Array, name: string) =>
      fileOf(pkcs12Of([part(trusted, certificateBag(certificate, { name })), part(keyBag(pkcs8(of), { name }))]));
    for (const path of [keystore(shop, shopLeaf, 'shop'), keystore(api, apiLeaf, 'api')]) {
      const { entries } = await openArchive(path, secret);
      await (await planImport(runtime, into, entries, { wanted: () => true, replace: true })).apply();
    }
    expect((await holdingsOf(into)).map(({ name }) => name)).toEqual(['api', 'shop']);
  });
});

it('a certificate is replaced by one of its name that serves none of its domains only when a person says so', async () => {
  const into = memory('paris');
  const named = (of: IssuedCertificate, certificate: Uint8Array) =>
    fileOf(
      pkcs12Of([part(certificateBag(certificate), certificateBag(issuer)), part(keyBag(pkcs8(of), { name: 'tls' }))]),
    );
  const plan = async (path: string, how: { replace?: boolean; replaceOthers?: boolean } = {}) =>
    planImport(runtime, into, (await openArchive(path, secret)).entries, { wanted: () => true, ...how });
  await (await plan(named(shop, shopLeaf))).apply();
  const other = named(api, apiLeaf);
  const refused = await plan(other, { replace: true });
  expect(refused.lines).toMatchObject([{ name: 'tls', action: 'conflict', otherDomains: true }]);
  await refused.apply();
  expect((await holdingsOf(into)).map(({ fingerprint }) => fingerprint)).toEqual([fingerprints[0]]);
  expect((await plan(other, { replace: true, replaceOthers: true })).lines).toMatchObject([{ action: 'replace' }]);
  const late = await expired({ domains: ['shop.example.test'] });
  const [lateLeaf] = der(late.certificate);
  const [kept] = (await plan(named(late, lateLeaf ?? root), { replace: true, replaceOthers: true })).lines;
  expect(kept).toMatchObject({ action: 'conflict', wouldNotServe: { code: 'certificate_expired' } });
  const wildcard = await testCertificate({ domains: ['*.shop.example.test'] });
  const [leaf] = der(wildcard.certificate);
  expect((await plan(named(wildcard, leaf ?? root), { replace: true })).lines).toMatchObject([{ action: 'replace' }]);
});

describe('a PKCS#12 file', () => {
  it('with several keys is as many certificates, each with the chain that it leads to', async () => {
    const entries = await readParts([
      part(
        certificateBag(issuer),
        certificateBag(apiLeaf, { name: 'api' }),
        certificateBag(shopLeaf, { name: 'shop' }),
      ),
      part(keyBag(pkcs8(shop)), keyBag(pkcs8(api))),
    ]);
    expect(entries.map(({ name, entry }) => [name, entry])).toEqual([
      ['shop', 'keystore.p12 (shop)'],
      ['api', 'keystore.p12 (api)'],
    ]);
    expect(entries.map(({ content }) => fingerprintOf(content))).toEqual(fingerprints);
  });

  it('with two keys of one name is two certificates, which messages tell apart', async () => {
    const entries = await readParts([
      part(certificateBag(shopLeaf), certificateBag(apiLeaf), certificateBag(issuer)),
      part(keyBag(pkcs8(shop), { name: 'tls' }), keyBag(pkcs8(api), { name: 'tls' })),
    ]);
    expect(entries.map(({ name, entry }) => [name, entry])).toEqual([
      ['tls', 'keystore.p12 (tls)'],
      ['tls', 'keystore.p12 (tls, 2)'],
    ]);
  });

  it('whose localKeyId says another certificate goes by the key itself', async () => {
    const [entry] = await readParts([
      part(
        certificateBag(apiLeaf, { keyId: '1', name: 'api' }),
        certificateBag(shopLeaf, { name: 'shop' }),
        certificateBag(issuer),
      ),
      part(keyBag(pkcs8(shop), { keyId: '1' }), keyBag(pkcs8(api))),
    ]);
    expect(entry && fingerprintOf(entry.content)).toBe(fingerprints[0]);
    expect(entry?.name).toBe('shop');
  });

  it('is read past what is neither key nor certificate of a key, which is named', async () => {
    const file = pkcs12Of([
      part(secretBag('db'), revocationListBag(), bagInBag(bagInBag(certificateBag(shopLeaf)), certificateBag(issuer))),
      part(
        keyBag(pkcs8(shop)),
        certificateBag(root, { name: 'corp-root', trusted: true }),
        certificateBag(Buffer.from('x')),
      ),
    ]);
    const items = await itemsOf(fileOf(file), secret);
    expect(items.filter((item) => 'content' in item)).toHaveLength(1);
    expect(items.filter((item) => 'file' in item)).toEqual(
      ['a secret (db)', 'a revocation list', 'a certificate that cannot be read'].map((why) => ({
        file: 'keystore.p12',
        why,
      })),
    );
  });

  it('with one key that cannot be opened gives the others, and says why of that one', async () => {
    const file = pkcs12Of([
      part(certificateBag(shopLeaf), certificateBag(issuer)),
      part(unknownKeyBag({ name: 'odd' }), keyBag(pkcs8(shop), { name: 'shop' })),
    ]);
    const [odd, good] = await itemsOf(fileOf(file), secret);
    expect(odd).toMatchObject({ entry: 'keystore.p12 (odd)', error: { code: 'archive_unsupported' } });
    expect(good).toMatchObject({ name: 'shop' });
  });

  it('without a key is named as what it is', async () => {
    await expect(readParts([part(certificateBag(root, { trusted: true }))])).rejects.toMatchObject({
      code: 'certificate_key_missing',
      message: 'keystore.p12: it holds a certificate and no private key',
    });
  });

  it('with the key of another certificate is refused', async () => {
    await expect(readParts([part(certificateBag(apiLeaf)), part(keyBag(pkcs8(shop)))])).rejects.toMatchObject({
      code: 'certificate_key_mismatch',
    });
  });

  it('is read as base64 alone too, as Azure Key Vault hands it out', async () => {
    const bytes = pkcs12Of([part(certificateBag(shopLeaf), certificateBag(issuer), keyBag(pkcs8(shop)))]);
    const text = bytes.toString('base64');
    for (const each of [text, `${text.replace(/.{64}/g, '$&\n')}\n`])
      expect((await read(Buffer.from(each))).map(({ content }) => fingerprintOf(content))).toEqual([fingerprints[0]]);
  });

  it('keeps the white space around a name, as others of that name do', async () => {
    const [entry] = await readParts([part(certificateBag(shopLeaf), keyBag(pkcs8(shop), { name: ' shop ' }))]);
    expect(entry?.name).toBe(' shop ');
    const [blank] = await readParts([part(certificateBag(shopLeaf), keyBag(pkcs8(shop), { name: '  ' }))]);
    expect(blank?.name).toBe('shop.example.test');
  });

  it('that holds a key and no certificate is told as that, and how to make it whole', async () => {
    const thrown = await readParts([part(keyBag(pkcs8(shop)))]).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: 'certificate_malformed', fields: { reason: 'no_certificate' } });
    expect((thrown as CodedError).remedy).toContain('openssl pkcs12 -export -in cert.pem -inkey key.pem');
  });

  it('is known by its first bytes, whatever its name; in PEM too', async () => {
    const bytes = pkcs12Of([part(certificateBag(shopLeaf), certificateBag(issuer), keyBag(pkcs8(shop)))]);
    const pem = `-----BEGIN PKCS12-----\n${bytes.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END PKCS12-----\n`;
    for (const path of [
      fileOf(bytes, 'shop.keystore'),
      fileOf(asBer(bytes), 'shop'),
      fileOf(Buffer.from(pem), 'shop.txt'),
    ])
      expect((await entriesOf(path, secret)).map(({ content }) => fingerprintOf(content))).toEqual([fingerprints[0]]);
  });

  it.each(['\xfe\xed\xfe\xed', '\xce\xce\xce\xce'])(
    'is not a keystore of Java’s own kind, which is named',
    async (magic) => {
      const path = fileOf(Buffer.from(`${magic}\0\0\0\u0002`, 'latin1'), 'old.jks');
      await expect(entriesOf(path, secret)).rejects.toMatchObject({ code: 'archive_java_keystore' });
    },
  );
});

describe('a PKCS#12 file of another program', () => {
  const bags = [certificateBag(shopLeaf, { keyId: '1' }), certificateBag(issuer)];
  const key = part(keyBag(pkcs8(shop), { name: 'shop', keyId: '1' }));

  it.each<[string, readonly Part[]]>([
    ['in the clear', [part(...bags), key]],
    ['under RC2 with 40 bits', [rc2Part(40, ...bags), key]],
    ['under RC2 with 128 bits', [rc2Part(128, ...bags), key]],
  ])('is read %s, in DER and in BER of unsaid lengths, byte for byte', async (_, parts) => {
    const bytes = pkcs12Of(parts);
    for (const file of [bytes, asBer(bytes)]) {
      const [entry] = await read(file);
      expect(entry && fingerprintOf(entry.content)).toBe(fingerprints[0]);
    }
  });

  it.each<Seal>([
    { kind: 'mac', digest: 'sha1', rounds: 1 },
    { kind: 'mac', digest: 'sha512', rounds: 3 },
    { kind: 'pbmac1', digest: 'sha256', rounds: 2 },
    { kind: 'pbmac1', digest: 'sha512', rounds: 2 },
    { kind: 'pbmac1', digest: 'sha512', rounds: 2, keyBytes: 20 },
  ])('is opened under the seal %j, and under no other passphrase', async (seal) => {
    const file = pkcs12Of([part(...bags), key], { seal, passphrase: inPkcs12('sécret ✓') });
    expect(await read(file, { passphrase: new Secret('sécret ✓') })).toHaveLength(1);
    await expect(read(file)).rejects.toMatchObject({ code: 'archive_passphrase_wrong' });
  });

  it('sealed by PBMAC1 with a key that is too short is refused', async () => {
    const seal = { kind: 'pbmac1', digest: 'sha256', rounds: 2, keyBytes: 19 } as const;
    await expect(readParts([part(...bags), key], { seal })).rejects.toMatchObject({ code: 'archive_damaged' });
  });

  it.each([
    ['two zero bytes', Buffer.alloc(2)],
    ['nothing at all', Buffer.alloc(0)],
  ])('with the empty passphrase written as %s is opened by it, and by no other', async (_, passphrase) => {
    const file = pkcs12Of([rc2Part(40, ...bags), key], { passphrase });
    expect(await read(file, empty)).toHaveLength(1);
    await expect(read(file)).rejects.toMatchObject({ code: 'archive_passphrase_wrong' });
    await expect(read(file, {})).rejects.toMatchObject({
      code: 'archive_passphrase_missing',
      message: 'keystore.p12: it is opened by a passphrase, and none was given',
    });
  });

  it('says that the empty passphrase is not the right one', async () => {
    await expect(read(pkcs12Of([part(...bags), key]), empty)).rejects.toMatchObject({
      message: 'keystore.p12: the empty passphrase does not open it, or it was changed',
    });
  });

  it('whose passphrase OpenSSL of old widened byte by byte is opened', async () => {
    const [, widened] = passphraseForms('größe');
    const file = pkcs12Of([rc2Part(40, ...bags), key], { passphrase: widened?.pkcs12 ?? Buffer.alloc(0) });
    expect(await read(file, { passphrase: new Secret('größe') })).toHaveLength(1);
  });

  it('without a MAC is read when a person says so, and still only by its passphrase', async () => {
    const file = pkcs12Of([rc2Part(40, ...bags), key], { seal: { kind: 'none' } });
    await expect(read(file)).rejects.toMatchObject({ code: 'archive_not_sealed' });
    expect(await read(file, { ...secret, acceptNoMac: true })).toHaveLength(1);
    await expect(read(file, { ...empty, acceptNoMac: true })).rejects.toMatchObject({
      code: 'archive_passphrase_wrong',
    });
    await expect(read(file, { acceptNoMac: true })).rejects.toMatchObject({ code: 'archive_passphrase_missing' });
    const clear = pkcs12Of([part(...bags), key], { seal: { kind: 'none' } });
    expect(await read(clear, { acceptNoMac: true })).toHaveLength(1);
  });
});

describe('what a PKCS#12 file may cost', () => {
  const parts = [part(certificateBag(shopLeaf), certificateBag(issuer)), part(keyBag(pkcs8(shop)))];
  const most = limits.pkcs12Iterations;

  it.each(['mac', 'pbmac1'] as const)(
    'is bounded in rounds of its %s, and the error says both numbers',
    async (kind) => {
      const file = pkcs12Of(parts, { seal: { kind, digest: 'sha256', rounds: 2 } });
      // The number of rounds alone, in its place: to make such a file would take as long as to open
      // it.
      const asks = changed(
        file,
        kind === 'mac' ? integerBytes(2) : Buffer.from([0x02, 0x01, 0x02, 0x02, 0x01, 0x20]),
        most + 1,
      );
      await expect(read(asks)).rejects.toMatchObject({
        code: 'archive_costly',
        message: `keystore.p12: it asks for a key derivation of ${most + 1} rounds, and at most ${most} are done here`,
        fields: { asked: most + 1, limit: most },
      });
    },
  );

  it('is bounded in rounds at the limit itself: so many are done', async () => {
    // One more is refused before anything is derived; so many are derived, and the MAC, which was
    // made with two, does not hold.
    const file = pkcs12Of(parts, { seal: { kind: 'pbmac1', digest: 'sha256', rounds: 2 } });
    const asks = changed(file, Buffer.from([0x02, 0x01, 0x02, 0x02, 0x01, 0x20]), most);
    await expect(read(asks)).rejects.toMatchObject({ code: 'archive_passphrase_wrong' });
  });

  it('opens what scrypt encrypts, and bounds its costs before anything is derived', async () => {
    const opened = await readParts([
      part(certificateBag(shopLeaf), certificateBag(issuer)),
      scryptPart({ N: 1024, r: 8, p: 1 }, keyBag(pkcs8(shop))),
    ]);
    expect(opened).toHaveLength(1);
    const limit = limits.scryptWork;
    // So much is done: what comes out is no key, as the part was encrypted with less.
    const really = { N: 2, r: 1, p: 1 };
    const atLimit = pkcs12Of([scryptPart({ N: limit / 8, r: 8, p: 1, really }, keyBag(pkcs8(shop)))]);
    await expect(read(atLimit)).rejects.toMatchObject({ code: expect.not.stringMatching(/^archive_costly$/) });
    for (const [N, r, p] of [
      [limit * 2, 1, 1],
      [limit / 8, 8, 2],
      [2, limit / 4, 3],
    ] as const) {
      const above = pkcs12Of([scryptPart({ N, r, p, really }, keyBag(pkcs8(shop)))]);
      await expect(read(above)).rejects.toMatchObject({
        code: 'archive_costly',
        fields: { asked: N * r * p, limit },
      });
    }
  });

  it('is bounded in bags, in depth and in bytes', async () => {
    const many = (count: number) => pkcs12Of([part(...Array.from({ length: count }, () => revocationListBag()))]);
    await expect(read(many(limits.pkcs12Bags))).rejects.toMatchObject({ code: 'certificate_key_missing' });
    await expect(read(many(limits.pkcs12Bags + 1))).rejects.toMatchObject({ code: 'archive_costly' });
    let deep: Buffer = Buffer.from([0x05, 0x00]);
    for (let depth = 0; depth < 5_000; depth += 1) deep = element(0x30, deep);
    await expect(read(deep)).rejects.toMatchObject({ code: 'archive_damaged' });
    const large = fileOf(Buffer.alloc(limits.pkcs12FileBytes + 1, 0x30));
    await expect(entriesOf(large, secret)).rejects.toMatchObject({ code: 'file_too_large' });
  });

  it('is ended by a signal and by a time, and the next file is opened as ever', async () => {
    const long = () => Uint8Array.from(changed(pkcs12Of(parts), integerBytes(2), most));
    const stopping = new AbortController();
    const stopped = pkcs12Opener(stopping.signal);
    const opening = stopped.open(long(), { passphrase: new Secret('secret'), acceptNoMac: false });
    const reason = new CodedError('interrupted', 'stopped by SIGTERM');
    stopping.abort(reason);
    await expect(opening).rejects.toBe(reason);
    const timed = pkcs12Opener(undefined, 1);
    const late = timed.open(long(), { passphrase: new Secret('secret'), acceptNoMac: false });
    await expect(late).rejects.toMatchObject({ code: 'archive_costly', fields: { limitMs: 1 } });
    await Promise.all([stopped.close(), timed.close()]);
    expect(await readParts(parts)).toHaveLength(1);
  });
});

/** An INTEGER as the last element of a MAC: its rounds. */
const integerBytes = (value: number) => element(0x02, Buffer.from([value]));

/** The file with another INTEGER in the place of the last `was`, and lengths around it that fit. */
function changed(file: Buffer, was: Uint8Array, rounds: number): Buffer {
  const at = file.lastIndexOf(was);
  if (at < 0) throw new Error('there is no such number');
  const more = Buffer.alloc(4);
  more.writeUInt32BE(rounds);
  return widened(file, at, element(0x02, more[0] === 0 ? more.subarray(1) : more));
}

/** DER in which the INTEGER of one byte at `at` is another one. */
function widened(bytes: Buffer, at: number, other: Buffer): Buffer {
  let offset = 0;
  const out: Buffer[] = [];
  while (offset < bytes.length) {
    const [start, end] = boundsOf(bytes, offset);
    const tag = bytes[offset] ?? 0;
    if (at === offset) out.push(other);
    else if (at > offset && at < end) out.push(element(tag, widened(bytes.subarray(start, end), at - start, other)));
    else out.push(bytes.subarray(offset, end));
    offset = end;
  }
  return Buffer.concat(out);
}

function boundsOf(bytes: Buffer, offset: number): readonly [number, number] {
  const first = bytes[offset + 1] ?? 0;
  if (first < 0x80) return [offset + 2, offset + 2 + first];
  const start = offset + 2 + (first & 0x7f);
  return [start, start + bytes.readUIntBE(offset + 2, first & 0x7f)];
}

describe('a PKCS#12 file that somebody damaged', () => {
  const opener = pkcs12Opener();
  afterAll(() => opener.close());

  /**
   * What becomes of a file: the fingerprint of what is read, or the code of what it was refused
   * for.
   */
  async function outcomeOf(bytes: Uint8Array, acceptNoMac: boolean): Promise<string> {
    try {
      const bags = await opener.open(Uint8Array.from(bytes), { passphrase: new Secret('secret'), acceptNoMac });
      for (const each of entriesIn('x.p12', bags)) {
        if ('error' in each) return `entry ${each.error.code}`;
        if ('content' in each) return fingerprintOf(each.content);
      }
      return 'entry nothing';
    } catch (thrown) {
      if (thrown instanceof CodedError) return thrown.code;
      throw thrown;
    }
  }

  const small = pkcs12Of([rc2Part(40, certificateBag(shopLeaf)), part(keyBag(pkcs8(shop), { name: 'shop' }))]);

  it('in any one byte, or cut anywhere, is refused by a code and never read as another', async () => {
    const outcomes = new Set<string>();
    for (let at = 0; at < small.length; at += 1) {
      const flipped = Buffer.from(small);
      flipped.writeUInt8((flipped[at] ?? 0) ^ (1 << (at % 8)), at);
      outcomes.add(await outcomeOf(flipped, false));
      if (at % 7 === 0) outcomes.add(await outcomeOf(small.subarray(0, at), false));
    }
    // What lies outside of the seal says how the seal is written, and makes no other certificate of
    // it.
    const unchanged = fingerprintOf(parseContent({ certificate: shop.certificate, privateKey: shop.privateKey }));
    expect([...outcomes].filter((outcome) => !outcome.startsWith('archive_'))).toEqual([unchanged]);
  });

  it('and has no seal that would tell is refused by a code or read, and ends nothing', async () => {
    const open = pkcs12Of([part(certificateBag(shopLeaf), keyBag(pkcs8(shop), { name: 'shop' }))], {
      seal: { kind: 'none' },
    });
    await fc.assert(
      fc.asyncProperty(fc.nat(open.length - 1), fc.nat(255), async (at, value) => {
        const other = Buffer.from(open);
        other.writeUInt8(value, at);
        expect(await outcomeOf(other, true)).toMatch(
          /^(archive_[a-z_]+|certificate_[a-z_]+|entry certificate_[a-z_]+|[0-9a-f]{64})$/,
        );
      }),
      { numRuns: 300 },
    );
  });
});

it('a folder of PKCS#12 files is as many certificates', async () => {
  const folder = testFolder();
  mkdirSync(join(folder, 'all'));
  for (const [name, of, leaf] of [
    ['a.p12', shop, shopLeaf],
    ['b.PFX', api, apiLeaf],
  ] as const)
    fileOf(
      pkcs12Of([part(certificateBag(leaf), certificateBag(issuer), keyBag(pkcs8(of)))]),
      name,
      join(folder, 'all'),
    );
  expect((await entriesOf(join(folder, 'all'), secret)).map(({ name }) => name)).toEqual([
    'shop.example.test',
    'api.example.test',
  ]);
});
