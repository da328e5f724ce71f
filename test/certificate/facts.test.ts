import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { factsOf } from '../../src/certificate/facts.ts';
import { expiryProblem, keyProblem, pathProblem } from '../../src/certificate/judgement.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { CodedError } from '../../src/errors.ts';
import type { KeyKind } from '../../src/instance/orders/authority/development-keys.ts';
import { type TestCertificateOptions, testCa, testCertificate } from '../support/certificates.ts';
import { firstDer, tampered } from './tamper.ts';
import { vector } from './vector.ts';

const factsOfNew = async (options: TestCertificateOptions) =>
  factsOf(new X509Certificate((await testCertificate(options)).certificate));

describe('factsOf', () => {
  it('reads a certificate that OpenSSL made', () => {
    expect(factsOf(parseContent({ certificate: vector.leaf }))).toEqual({
      subject: 'CN=vector.test,O=Example\\, Inc.',
      commonName: 'vector.test',
      domains: ['vector.test', '*.vector.test', '192.0.2.1', '2001:db8::1'],
      issuer: 'Vector',
      serial: 'c0ffee',
      notBefore: Date.UTC(2026, 10, 23, 20, 19, 34),
      notAfter: Date.UTC(2126, 9, 30, 20, 19, 34),
      signatureAlgorithm: 'ED25519',
      keyAlgorithm: 'ED25519 256 bit',
    });
  });

  it('reads a certificate of version 1, which has no extensions', () => {
    expect(factsOf(new X509Certificate(vector.selfSigned))).toMatchObject({
      domains: ['self.test'],
      issuer: 'self.test',
      serial: '02',
      signatureAlgorithm: 'ED25519',
      keyAlgorithm: 'ED25519 256 bit',
    });
  });

  it('reads a name of several parts, the most specific common name, and a critical alternative name', () => {
    expect(factsOf(new X509Certificate(vector.underSelfSigned))).toMatchObject({
      subject: 'CN=second.test,OU=one+CN=under.test,C=DE',
      commonName: 'second.test',
      domains: ['second.test', 'under.test'],
    });
  });

  it.each<[KeyKind, string]>([
    ['rsa-2048', 'rsaEncryption 2048 bit'],
    ['rsa-4096', 'rsaEncryption 4096 bit'],
    ['rsa-pss-2048', 'rsassaPss 2048 bit'],
    ['p-256', 'id-ecPublicKey 256 bit'],
    ['p-384', 'id-ecPublicKey 384 bit'],
    ['p-521', 'id-ecPublicKey 521 bit'],
    ['ed25519', 'ED25519 256 bit'],
  ])('says of a %s key: %s', async (keyKind, expected) => {
    expect((await factsOfNew({ keyKind })).keyAlgorithm).toBe(expected);
  });

  it.each<[KeyKind, string]>([
    ['rsa-2048', 'sha256WithRSAEncryption'],
    ['rsa-pss-2048', 'rsassaPss'],
    ['p-256', 'ecdsa-with-SHA256'],
    ['p-384', 'ecdsa-with-SHA384'],
    ['p-521', 'ecdsa-with-SHA512'],
    ['ed25519', 'ED25519'],
  ])('says of a signature of a %s authority: %s', async (keyKind, expected) => {
    const { rootPem } = await testCa({ keyKind, intermediates: 0 });
    expect(factsOf(new X509Certificate(rootPem)).signatureAlgorithm).toBe(expected);
  });

  it('gives algorithms that it has no name for as dotted identifiers', async () => {
    const { certificate } = await testCertificate();
    // The last occurrence is the outer one: 1.2.840.10045.4.3.2 becomes 1.2.840.10045.4.3.9.
    const der = firstDer(certificate);
    const oid = Buffer.from('2a8648ce3d040302', 'hex');
    der[der.lastIndexOf(oid) + 7] = 9;
    expect(factsOf(new X509Certificate(der)).signatureAlgorithm).toBe('1.2.840.10045.4.3.9');
    const otherKey = tampered(certificate, Buffer.from('2a8648ce3d0201', 'hex'), Buffer.from('2a8648ce3d0209', 'hex'));
    expect(factsOf(new X509Certificate(otherKey)).keyAlgorithm).toBe('1.2.840.10045.2.9');
  });

  it.each([
    ['0a', '0a'],
    ['00ab', 'ab'],
    ['00000001', '01'],
    ['ff01', 'ff01'],
    ['0123456789abcdef0123456789abcdef01234567', '0123456789abcdef0123456789abcdef01234567'],
  ])('serial %s is %s', async (serial, expected) => {
    expect((await factsOfNew({ serial })).serial).toBe(expected);
  });

  it('lists the common name first and each domain once, whatever its case', async () => {
    const domains = ['b.test', '*.b.test', 'B.TEST', 'a.test', '10.0.0.1', '::1', '2001:0db8:0:0:1:0:0:1', 'a.test'];
    expect((await factsOfNew({ domains })).domains).toEqual([
      'b.test',
      '*.b.test',
      'a.test',
      '10.0.0.1',
      '::1',
      '2001:db8::1:0:0:1',
    ]);
  });

  it('lists a hundred names', async () => {
    const domains = Array.from({ length: 100 }, (_, index) => `n${index}.example.test`);
    expect((await factsOfNew({ domains })).domains).toEqual(domains);
  });

  it('manages without a common name, and without any name', async () => {
    const long = `${'a'.repeat(60)}.example.test`;
    const facts = await factsOfNew({ domains: [long] });
    expect(facts).toMatchObject({ subject: '', domains: [long] });
    expect(facts).not.toHaveProperty('commonName');
    expect(await factsOfNew({ domains: [] })).toMatchObject({ subject: '', domains: [] });
  });

  it('names an issuer without a common name by its distinguished name', async () => {
    const { rootPem } = await testCa({ intermediates: 0 });
    // The attribute type 2.5.4.3 (CN) becomes 2.5.4.10 (O), in issuer and subject.
    const der = firstDer(rootPem);
    const type = Buffer.from('0603550403', 'hex');
    for (let at = der.indexOf(type); at >= 0; at = der.indexOf(type)) der[at + 4] = 10;
    const facts = factsOf(new X509Certificate(der));
    expect(facts).toMatchObject({ subject: 'O=Test Root', issuer: 'O=Test Root' });
    expect(facts).not.toHaveProperty('commonName');
  });

  it.each([
    'a.test, DNS:evil.test',
    'a.test", DNS:"evil.test',
    'a.test\0.evil.test',
    'a\\u002c.test',
    'a.test\nevil.test',
  ])('takes a hostile DNS name for one entry: %j', async (hostile) => {
    const { domains } = await factsOfNew({ domains: ['good.test', hostile, 'last.test'] });
    expect(domains).toEqual(['good.test', hostile, 'last.test']);
  });

  it('takes no domain from names of other kinds, whatever they hold', async () => {
    const { certificate } = await testCertificate({ domains: ['good.test', 'x, DNS:evil.test'] });
    // The tag of the second name becomes that of an e-mail address [1], then of a URI [6].
    for (const tag of [0x81, 0x86]) {
      const name = Buffer.from('x, DNS:evil.test');
      const head = Buffer.from([0x82, name.length]);
      const other = tampered(
        certificate,
        Buffer.concat([head, name]),
        Buffer.concat([Buffer.from([tag, name.length]), name]),
      );
      expect(factsOf(new X509Certificate(other)).domains).toEqual(['good.test']);
    }
  });

  it('takes no domain from an address of impossible length', async () => {
    const { certificate } = await testCertificate({ domains: ['good.test', 'five5'] });
    const other = tampered(certificate, Buffer.from('\x82\x05five5', 'latin1'), Buffer.from('\x87\x05five5', 'latin1'));
    expect(factsOf(new X509Certificate(other)).domains).toEqual(['good.test']);
  });

  it('reads dates before and after 2050, to the second', async () => {
    const notBefore = Date.UTC(1999, 11, 31, 23, 59, 59);
    const notAfter = Date.UTC(2050, 0, 1, 0, 0, 1);
    expect(await factsOfNew({ notBefore, notAfter })).toMatchObject({ notBefore, notAfter });
  });

  it.each([
    ['no month', '480101000000Z', '481301000000Z'],
    ['no number', '480101000000Z', '48010100000xZ'],
    ['no time zone', '480101000000Z', '4801010000000'],
  ])('refuses a date that is %s', async (_, date, bad) => {
    const { certificate } = await testCertificate({ notAfter: Date.UTC(2048, 0, 1) });
    expect(() => factsOf(new X509Certificate(tampered(certificate, date, bad)))).toThrow(
      expect.objectContaining({ code: 'certificate_malformed' }),
    );
  });

  it('does not take the year 49 for 2049', async () => {
    const { certificate } = await testCertificate({ notAfter: Date.UTC(2050, 0, 1) });
    const old = tampered(certificate, '20500101000000Z', '00490101000000Z');
    expect(() => factsOf(new X509Certificate(old))).toThrow(expect.objectContaining({ code: 'certificate_malformed' }));
  });

  it.each(['leaf', 'selfSigned'] as const)('answers every damaged %s with facts or a coded error', (name) => {
    const { privateKey } = parseContent({ certificate: vector.leaf + vector.privateKey });
    if (privateKey === undefined) throw new Error('the vector has a private key');
    const signed = new X509Certificate(vector.underSelfSigned);
    const der = firstDer(vector[name]);
    const place = fc.tuple(fc.nat(der.length - 1), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(place, { minLength: 1, maxLength: 3 }), (changes) => {
        const damaged = Buffer.from(der);
        for (const [at, byte] of changes) damaged[at] = byte;
        let leaf: X509Certificate;
        try {
          leaf = new X509Certificate(damaged);
        } catch {
          return;
        }
        try {
          expect(factsOf(leaf).notAfter).toBeTypeOf('number');
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(CodedError);
        }
        const content = { leaf, chain: [leaf], privateKey };
        const above = { leaf: signed, chain: [leaf] };
        for (const problem of [keyProblem(content), pathProblem(above, 0), expiryProblem(content, 0)]) {
          if (problem !== undefined) expect(problem).toBeInstanceOf(CodedError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
