import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { factsOf } from '../../src/certificate/facts.ts';
import { keyProblem } from '../../src/certificate/judgement.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { readPublicKey } from '../../src/certificate/public-key.ts';
import { CodedError } from '../../src/errors.ts';
import { Secret } from '../../src/secret.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import { testCertificate } from '../support/certificates.ts';
import { bits, int, octets, oids, pemOf, raw, seq, tagged, tlv } from '../support/der.ts';
import { attribute, commonName, foreignCertificate } from '../support/foreign-certificates.ts';
import { vector } from './vector.ts';

/**
 * The code with which a call is refused, with what it says; `fine` if it is not. What has no code
 * is thrown on.
 */
function refusal(call: () => unknown): string {
  try {
    call();
    return 'fine';
  } catch (thrown) {
    if (!(thrown instanceof CodedError)) throw thrown;
    return `${thrown.code}: ${thrown.message}`;
  }
}

const withKey = (label: string, der: Uint8Array) => () =>
  parseContent({ certificate: vector.leaf, privateKey: new Secret(pemOf(label, der)) });
const leafAndKey = vector.leaf + vector.privateKey;
const withPublicKey = (publicKey: Uint8Array) => () =>
  factsOf(parseContent({ certificate: foreignCertificate({ publicKey }) }));

const p256 = {
  parameters: oids.p256,
  order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  bytes: 32,
};
const scalar = (value: bigint, bytes = 32) => octets(raw(value.toString(16).padStart(bytes * 2, '0')));
const sec1 = (number: Uint8Array, ...more: readonly Uint8Array[]) =>
  seq(int(1n), number, tagged(0, p256.parameters), ...more);
const pkcs8 = (algorithm: readonly Uint8Array[], key: Uint8Array) => seq(int(0n), seq(...algorithm), octets(key));
const ecPublic = (point: Uint8Array, curve: Uint8Array = oids.p256) => seq(seq(oids.ec, curve), bits(point));

const exported = (key: KeyObject, type: 'pkcs1' | 'pkcs8' | 'sec1') => key.export({ type, format: 'der' }) as Buffer;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });

/** Only the sizes matter: nothing is reckoned with such a modulus. */
const oddNumber = (size: number) => 2n ** BigInt(size - 1) + 1n;
const rsaPublic = (n: bigint, e = 65537n) => seq(seq(oids.rsa, raw('0500')), bits(seq(int(n), int(e))));
function rsaPrivate(size: number, change: Readonly<Record<string, bigint>> = {}): Buffer {
  const half = oddNumber(size / 2);
  const all = {
    n: oddNumber(size),
    e: 65537n,
    d: oddNumber(size),
    p: half,
    q: half,
    dp: half,
    dq: half,
    inverse: half,
  };
  return seq(int(0n), ...Object.values({ ...all, ...change }).map(int));
}

describe('a private key that OpenSSL reads, and that no key can be', () => {
  it.each<[string, string, Buffer, string]>([
    ['whose public point is infinity', 'EC PRIVATE KEY', sec1(scalar(5n), tagged(1, bits(raw('00')))), 'infinity'],
    ['whose number is the order', 'EC PRIVATE KEY', sec1(scalar(p256.order)), 'between 1 and the order'],
    [
      'whose number is 0',
      'PRIVATE KEY',
      pkcs8([oids.ec, oids.p256], seq(int(1n), scalar(0n))),
      'between 1 and the order',
    ],
    [
      'whose point is not on the curve',
      'EC PRIVATE KEY',
      sec1(scalar(5n), tagged(1, bits(raw(`04${'01'.repeat(64)}`)))),
      'not on the curve',
    ],
    ['that names two curves', 'PRIVATE KEY', pkcs8([oids.ec, oids.p384], sec1(scalar(5n))), 'two different curves'],
    ['with a number of 0', 'RSA PRIVATE KEY', rsaPrivate(2048, { dp: 0n }), 'zero'],
    ['with a negative number', 'RSA PRIVATE KEY', rsaPrivate(2048, { q: -3n }), 'negative'],
    ['with an even modulus', 'RSA PRIVATE KEY', rsaPrivate(2048, { n: 2n ** 2047n }), 'even'],
    ['whose public exponent is 1', 'RSA PRIVATE KEY', rsaPrivate(2048, { e: 1n }), 'less than 3'],
    [
      'whose exponent is longer than its modulus',
      'RSA PRIVATE KEY',
      rsaPrivate(2048, { d: 2n ** 2048n }),
      'larger than it can be',
    ],
    ['whose primes do not fit', 'RSA PRIVATE KEY', rsaPrivate(2048, { p: oddNumber(1500) }), 'primes do not fit'],
    ['of 31 bytes', 'PRIVATE KEY', pkcs8([oids.ed25519], octets(Buffer.alloc(31, 1))), '32 bytes'],
    [
      'with something behind it',
      'PRIVATE KEY',
      pkcs8([oids.ed25519], Buffer.concat([octets(Buffer.alloc(32, 1)), raw('0500')])),
      'after the end',
    ],
  ])('%s', (_, label, der, said) => {
    expect(refusal(withKey(label, der))).toMatch(new RegExp(`^certificate_malformed: .*${said}`));
  });

  const pss = (...parameters: readonly Uint8Array[]) =>
    pkcs8([oids.rsaPss, seq(...parameters)], exported(rsa.privateKey, 'pkcs1'));
  const mask = tagged(1, seq(oids.mgf1, seq(oids.md5, raw('0500'))));

  it.each<[string, Buffer, string]>([
    [
      'MD5',
      pss(tagged(0, seq(oids.md5, raw('0500'))), mask, tagged(2, int(16n))),
      'certificate_key_unsupported: .*digest',
    ],
    ['a mask with MD5', pss(tagged(0, seq(oids.sha256)), mask), 'certificate_key_unsupported: .*digest'],
    ['a mask of its own', pss(tagged(1, seq(oids.sha256))), 'certificate_key_unsupported: .*MGF1'],
    ['a negative salt', pss(tagged(2, int(-1n))), 'certificate_malformed: .*negative'],
    ['more salt than there is room', pss(tagged(2, int(300n))), 'certificate_key_unsupported: .*salt'],
    ['another trailer', pss(tagged(3, int(2n))), 'certificate_malformed: .*trailer'],
    ['one parameter twice', pss(tagged(2, int(20n)), tagged(2, int(20n))), 'certificate_malformed'],
    [
      'parameters that are a number',
      pkcs8([oids.rsaPss, int(1n)], exported(rsa.privateKey, 'pkcs1')),
      'certificate_malformed',
    ],
  ])('RSA-PSS with %s', (_, der, said) => {
    expect(refusal(withKey('PRIVATE KEY', der))).toMatch(new RegExp(`^${said}`));
  });

  it('RSA-PSS with what RFC 4055 takes for granted is a key', () => {
    const content = withKey('PRIVATE KEY', pss())();
    expect(content.privateKey?.publicKeyDer.length).toBeGreaterThan(256);
  });
});

describe('a certificate whose public key is none', () => {
  it.each<[string, Buffer]>([
    ['an EC key of one byte', ecPublic(raw('00'))],
    ['an EC key without a byte', ecPublic(raw(''))],
    ['a point cut short', ecPublic(raw(`04${'01'.repeat(63)}`))],
    ['a point of an unknown form', ecPublic(raw(`05${'01'.repeat(64)}`))],
    ['a compressed point that is on no curve', ecPublic(raw(`02${'00'.repeat(31)}07`))],
    ['one byte on a curve that is not taken', ecPublic(raw('00'), raw('06052b8104000a'))],
    ['one byte on a curve that nobody knows', ecPublic(raw('00'), raw('06032a0304'))],
    ['an EC key without a curve', seq(seq(oids.ec), bits(raw(`04${'01'.repeat(64)}`)))],
    ['a modulus of 0', rsaPublic(0n)],
    ['a negative modulus', rsaPublic(-5n)],
    ['an exponent of 1', rsaPublic(oddNumber(2048), 1n)],
    ['Ed25519 of 33 bytes', seq(seq(oids.ed25519), bits(Buffer.alloc(33)))],
    ['bits that fill no byte', seq(seq(oids.ed25519), tlv(0x03, raw('07'), Buffer.alloc(32)))],
  ])('%s', (_, publicKey) => {
    expect(refusal(withPublicKey(publicKey))).toMatch(/^certificate_malformed: the public key cannot be read/);
  });

  it('of an algorithm that nobody knows has facts all the same, whatever its name holds', () => {
    // Node 24 ends the process where it is asked for the parts of this one's name.
    const publicKey = seq(seq(raw('06092b0e010401822a0101'), raw('0500')), bits(Buffer.alloc(32)));
    const organization = attribute(raw('060355040a'), tlv(0x0c, Buffer.from('Example, Inc.')));
    const subject = seq(organization, commonName('a.example.test'));
    const content = parseContent({
      certificate: foreignCertificate({ publicKey, subject }) + vector.issuer,
      privateKey: new Secret(vector.privateKey),
    });
    const others = [content.leaf, ...content.chain].map((certificate) => factsOf(certificate));
    expect(others.find(({ commonName: name }) => name === 'a.example.test')).toMatchObject({
      subject: 'CN=a.example.test,O=Example\\, Inc.',
      keyAlgorithm: '1.3.14.1.4.1.298.1.1',
    });
  });
});

describe('sizes of RSA keys', () => {
  it.each([
    [511, 'certificate_key_unsupported'],
    [512, 'fine'],
    [16_384, 'fine'],
    [16_385, 'certificate_key_unsupported'],
    [32_768, 'certificate_key_unsupported'],
  ])('a certificate with %d bits: %s', (size, expected) => {
    const publicKey = rsaPublic(oddNumber(size));
    expect(refusal(withPublicKey(publicKey))).toMatch(new RegExp(`^${expected}`));
    const chain = foreignCertificate({ publicKey });
    expect(refusal(() => parseContent({ certificate: leafAndKey, intermediate: chain }))).toMatch(
      new RegExp(`^${expected}`),
    );
  });

  it.each([
    // Its size is taken: what is looked at next is whether its numbers fit each other.
    [8192, '.*do not fit each other'],
    [8194, 'certificate_key_unsupported'],
    [32_768, 'certificate_key_unsupported'],
  ])('a private key of %d bits: %s', (size, expected) => {
    expect(refusal(withKey('RSA PRIVATE KEY', rsaPrivate(size)))).toMatch(new RegExp(`^${expected}`));
  });

  it.each([
    [256, 'fine'],
    [257, 'certificate_key_unsupported'],
  ])('a public exponent of %d bits: %s', (size, expected) => {
    expect(refusal(withPublicKey(rsaPublic(oddNumber(2048), oddNumber(size))))).toMatch(new RegExp(`^${expected}`));
  });

  it.each([
    [16_384, 'fine'],
    [16_385, 'configuration_invalid: .*16385 bits'],
  ])('a key that verifies notifications, of %d bits: %s', (size, expected) => {
    const pem = pemOf('PUBLIC KEY', rsaPublic(oddNumber(size)));
    expect(refusal(() => pinVerificationKey(pem))).toMatch(new RegExp(`^${expected}`));
  });

  it('a key that verifies notifications is no point at infinity', () => {
    expect(refusal(() => pinVerificationKey(pemOf('PUBLIC KEY', ecPublic(raw('00')))))).toMatch(
      /^configuration_invalid/,
    );
  });
});

describe('encodings that are only unusual', () => {
  const pairOf = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });

  it.each([
    ['prime256v1', oids.p256],
    ['secp384r1', oids.p384],
    ['secp521r1', oids.p521],
  ])('a point of %s is one key, compressed, not, or both at once', (namedCurve, curve) => {
    const { publicKey } = pairOf(namedCurve);
    const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
    const [first, second] = [Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')];
    const odd = (second.at(-1) ?? 0) % 2;
    const form = (byte: number, ...parts: readonly Buffer[]) =>
      readPublicKey(ecPublic(Buffer.concat([Buffer.from([byte]), ...parts]), curve));
    const forms = [form(4, first, second), form(2 + odd, first), form(6 + odd, first, second)];
    const expected = publicKey.export({ type: 'spki', format: 'der' });
    for (const { der } of forms) expect(Buffer.from(der).toString('hex')).toBe(expected.toString('hex'));
    expect(new Set(forms.map(({ identity }) => identity)).size).toBe(1);
    expect(() => form(7 - odd, first, second)).toThrow('says two things');
  });

  it.each(['prime256v1', 'secp384r1', 'secp521r1'])(
    'the curve %s written out in full is that curve',
    async (namedCurve) => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve, paramEncoding: 'explicit' });
      const named = await testCertificate({
        privateKey: new Secret(
          createPrivateKey({ key: privateKey.export({ format: 'jwk' }), format: 'jwk' }).export({
            type: 'pkcs8',
            format: 'pem',
          }),
        ),
      });
      const content = parseContent({
        ...named,
        privateKey: new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' })),
      });
      expect(keyProblem(content)).toBeUndefined();
      const plain = createPublicKey(named.certificate).export({ type: 'spki', format: 'der' });
      expect(Buffer.from(content.privateKey?.publicKeyDer ?? []).equals(plain)).toBe(true);
    },
  );

  it('a curve of somebody’s own is not supported', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1', paramEncoding: 'explicit' });
    expect(refusal(withKey('PRIVATE KEY', exported(privateKey, 'pkcs8')))).toMatch(/^certificate_key_unsupported/);
  });

  it('a private key without its leading zeros, as old programs wrote it', async () => {
    const named = await testCertificate({ privateKey: new Secret(pemOf('EC PRIVATE KEY', sec1(scalar(5n)))) });
    const short = new Secret(pemOf('EC PRIVATE KEY', sec1(octets(raw('05')))));
    expect(keyProblem(parseContent({ ...named, privateKey: short }))).toBeUndefined();
  });
});

describe('the numbers of a large RSA key', () => {
  // Mersenne primes, which everybody knows: a key of 4,484 bits without the time that making one
  // takes.
  const [p, q] = [2n ** 2281n - 1n, 2n ** 2203n - 1n];
  const e = 65537n;
  const inverseOf = (value: bigint, modulus: bigint) => {
    let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
    while (a > 0n) {
      const times = b / a;
      [a, b] = [b - times * a, a];
      [x, y] = [y - times * x, x];
    }
    return ((y % modulus) + modulus) % modulus;
  };
  const [dp, dq] = [inverseOf(e, p - 1n), inverseOf(e, q - 1n)];
  const d = inverseOf(e, (p - 1n) * (q - 1n));
  const key = (change: { readonly dp?: bigint; readonly dq?: bigint; readonly qInverse?: bigint }) => {
    const parts = { dp, dq, qInverse: inverseOf(q, p), ...change };
    return seq(int(0n), ...[p * q, e, d, p, q, parts.dp, parts.dq, parts.qInverse].map(int));
  };
  const read = (change: Parameters<typeof key>[0]) => refusal(withKey('RSA PRIVATE KEY', key(change)));

  it('are taken as they belong together', () => {
    expect(read({})).toBe('fine');
  });

  it.each([{ dp: dp + 2n }, { dq: dq + 2n }, { qInverse: 3n }])(
    'are refused where they do not: OpenSSL would sign in a way that takes ten times as long',
    (change) => {
      expect(read(change)).toMatch(/^certificate_malformed: .*do not fit each other/);
    },
  );
});
