import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isSignedBy } from '../../src/certificate/chain.ts';
import { contentProblem, expiryProblem, keyProblem, pathProblem } from '../../src/certificate/judgement.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import type { KeyKind } from '../../src/instance/orders/authority/development-keys.ts';
import { Secret } from '../../src/secret.ts';
import { brokenChain, expired, mismatchedKey, testCa, testCertificate, validTo } from '../support/certificates.ts';
import { firstDer, tampered } from './tamper.ts';
import { vector } from './vector.ts';

const nowMs = Date.UTC(2026, 0, 1);
const rules = { nowMs, requireChain: false };
const chainOf = (...pems: readonly (string | undefined)[]) => pems.map((pem = '') => new X509Certificate(pem));

describe('keyProblem', () => {
  it.each<KeyKind>(['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'])('none: %s', async (keyKind) => {
    expect(keyProblem(parseContent(await testCertificate({ keyKind })))).toBeUndefined();
  });

  it('none: an RSA-PSS key that is bound to another digest', async () => {
    const options = { modulusLength: 2048, hashAlgorithm: 'sha512', mgf1HashAlgorithm: 'sha512' };
    const { privateKey } = generateKeyPairSync('rsa-pss', options);
    const pem = new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    expect(keyProblem(parseContent(await testCertificate({ privateKey: pem })))).toBeUndefined();
  });

  it('missing', async () => {
    const { certificate } = await testCertificate();
    expect(keyProblem(parseContent({ certificate }))?.code).toBe('certificate_key_missing');
  });

  it.each<KeyKind>(['rsa-2048', 'p-256', 'ed25519'])('mismatch: another key of the same kind, %s', async (keyKind) => {
    expect(keyProblem(parseContent(await mismatchedKey({ keyKind })))?.code).toBe('certificate_key_mismatch');
  });

  it.each<[KeyKind, KeyKind]>([
    ['p-256', 'p-384'],
    ['p-256', 'ed25519'],
    ['ed25519', 'rsa-2048'],
    ['rsa-2048', 'rsa-pss-2048'],
  ])('mismatch: %s certificate, %s key', async (keyKind, other) => {
    const [{ certificate }, { privateKey }] = await Promise.all([
      testCertificate({ keyKind }),
      testCertificate({ keyKind: other }),
    ]);
    expect(keyProblem(parseContent({ certificate, privateKey }))?.code).toBe('certificate_key_mismatch');
  });

  it('mismatch: the public half that comes with the key is right, the private half is not', async () => {
    const issued = await testCertificate();
    const { d = '' } = createPrivateKey(issued.privateKey.reveal()).export({ format: 'jwk' });
    const der = createPrivateKey(issued.privateKey.reveal()).export({ type: 'pkcs8', format: 'der' });
    const secret = Buffer.from(d, 'base64url');
    const last = der.indexOf(secret) + 31;
    der.writeUInt8(der.readUInt8(last) ^ 1, last);
    const text = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
    const content = parseContent({ ...issued, privateKey: new Secret(text) });
    expect(content.privateKey?.publicKeyDer).toEqual(parseContent(issued).privateKey?.publicKeyDer);
    expect(keyProblem(content)?.code).toBe('certificate_key_mismatch');
  });

  it('does not take a key that was wiped for a wrong one', async () => {
    const content = parseContent(await testCertificate());
    content.privateKey?.pem.wipe();
    expect(() => keyProblem(content)).toThrow('wiped');
  });

  it('mismatch: the platform cannot read the key of the certificate', async () => {
    const { certificate, privateKey } = await testCertificate();
    const unknown = tampered(certificate, Buffer.from('2a8648ce3d0201', 'hex'), Buffer.from('2a8648ce3d0209', 'hex'));
    expect(keyProblem(parseContent({ certificate: unknown, privateKey }))?.code).toBe('certificate_key_mismatch');
  });
});

describe('pathProblem', () => {
  it.each<[string, { intermediates: number; includeRoot: boolean }]>([
    ['a leaf alone', { intermediates: 0, includeRoot: false }],
    ['a leaf and its root', { intermediates: 0, includeRoot: true }],
    ['one intermediate', { intermediates: 1, includeRoot: false }],
    ['three intermediates and the root', { intermediates: 3, includeRoot: true }],
  ])('none: %s', async (_, options) => {
    expect(pathProblem(parseContent(await testCertificate(options)), nowMs)).toBeUndefined();
  });

  it.each<KeyKind>(['rsa-2048', 'rsa-pss-2048', 'p-384', 'p-521', 'ed25519'])('none: signed by %s', async (keyKind) => {
    const issued = await (await testCa({ keyKind })).issue({ domains: ['x.test'], includeRoot: true });
    const content = parseContent(issued);
    expect(content.chain).toHaveLength(2);
    expect(pathProblem(content, nowMs)).toBeUndefined();
  });

  it('none: an old root that does not say that it is an authority', () => {
    const content = parseContent({ certificate: vector.underSelfSigned, intermediate: vector.selfSigned });
    expect(content.chain.map(({ ca }) => ca)).toEqual([false]);
    expect(pathProblem(content, nowMs)).toBeUndefined();
  });

  it('broken: the right key under another name', () => {
    // vector.leaf has the key that signed it, but not the name.
    const [leaf, other] = chainOf(vector.underSelfSigned, vector.leaf);
    expect(other && leaf?.verify(other.publicKey)).toBe(true);
    expect(leaf && other && isSignedBy(leaf, other)).toBe(false);
  });

  it('broken: the platform cannot read the key of the issuer', async () => {
    const { certificate, intermediate = '' } = await testCertificate();
    const unknown = tampered(intermediate, Buffer.from('2a8648ce3d0201', 'hex'), Buffer.from('2a8648ce3d0209', 'hex'));
    const content = parseContent({ certificate, intermediate: unknown });
    expect(content.chain).toHaveLength(1);
    expect(pathProblem(content, nowMs)?.code).toBe('certificate_chain_broken');
  });

  it('broken: of another authority', async () => {
    expect(pathProblem(parseContent(await brokenChain()), nowMs)).toMatchObject({
      code: 'certificate_chain_broken',
      fields: { issuer: 'Test Intermediate 1', found: 1 },
    });
  });

  it('broken: the names and key identifiers agree, but the signature is of another key', async () => {
    const issued = await testCertificate();
    const twin = await testCa({ notBefore: Date.UTC(2001, 0, 1) });
    const { intermediate: impostor = '' } = await twin.issue({ domains: ['x.test'] });
    // The impostor takes the subject key identifier of the genuine one, so that only the signature
    // tells.
    const identifierOf = (pem: string) => {
      const der = firstDer(pem);
      const head = Buffer.from('0603551d0e04160414', 'hex');
      return der.subarray(der.indexOf(head) + head.length).subarray(0, 20);
    };
    const disguised = tampered(impostor, identifierOf(impostor), identifierOf(issued.intermediate ?? ''));
    const [leaf, issuer] = chainOf(issued.certificate, disguised);
    expect(issuer && leaf?.checkIssued(issuer)).toBe(true);
    const content = parseContent({ ...issued, intermediate: disguised });
    expect(pathProblem(content, nowMs)?.code).toBe('certificate_chain_broken');
  });

  it('broken: the leaf was changed after it was signed', async () => {
    const issued = await testCertificate({ domains: ['good.test'] });
    const certificate = tampered(issued.certificate, 'good.test', 'evil.test');
    expect(pathProblem(parseContent({ ...issued, certificate }), nowMs)?.code).toBe('certificate_chain_broken');
  });

  it('broken: an issuer that is no certificate authority', async () => {
    const issued = await testCertificate();
    const content = parseContent(issued);
    // Basic constraints CA:TRUE becomes CA:FALSE, as if the issuer of the intermediate had said so;
    // the leaf's signature holds.
    const [intermediate] = chainOf(
      tampered(issued.intermediate ?? '', Buffer.from('0101ff020100', 'hex'), Buffer.from('010100020100', 'hex')),
    );
    const chain = intermediate ? [intermediate] : [];
    expect(pathProblem({ ...content, chain }, nowMs)?.code).toBe('certificate_issuer_no_authority');
  });

  it('expired: the only issuer', async () => {
    const notAfter = Date.UTC(2030, 5, 1, 12, 0, 0);
    const ca = await testCa({ notAfter });
    const content = parseContent(await ca.issue({ domains: ['x.test'], notAfter: validTo }));
    expect(pathProblem(content, notAfter)).toBeUndefined();
    expect(pathProblem(content, notAfter + 1)?.code).toBe('certificate_chain_expired');
  });

  it('none: the root has expired, and is all that signed the leaf', async () => {
    const notAfter = Date.UTC(2030, 5, 1, 12, 0, 0);
    const ca = await testCa({ notAfter, intermediates: 0 });
    const content = parseContent(await ca.issue({ domains: ['x.test'], notAfter: validTo, includeRoot: true }));
    expect(content.chain).toHaveLength(1);
    expect(pathProblem(content, notAfter + 1)).toBeUndefined();
  });

  it('malformed: a date of the only issuer is none', async () => {
    const ca = await testCa({ notAfter: Date.UTC(2048, 0, 1) });
    const { certificate, intermediate = '' } = await ca.issue({ domains: ['x.test'] });
    const content = parseContent({
      certificate,
      intermediate: tampered(intermediate, '480101000000Z', '481301000000Z'),
    });
    expect(pathProblem(content, nowMs)?.code).toBe('certificate_malformed');
  });
});

describe('expiryProblem', () => {
  const notAfter = Date.UTC(2030, 5, 1, 12, 0, 0);

  it.each([
    [notAfter - 1, undefined],
    [notAfter, undefined],
    [notAfter + 1, 'certificate_expired'],
  ])('of a leaf at %d: %s', async (at, code) => {
    expect(expiryProblem(parseContent(await testCertificate({ notAfter })), at)?.code).toBe(code);
  });

  it('says when', async () => {
    expect(expiryProblem(parseContent(await expired()), nowMs)?.fields).toEqual({
      expiredAt: '2000-02-01T00:00:00.000Z',
    });
  });

  it('none: not yet valid', async () => {
    expect(expiryProblem(parseContent(await testCertificate({ notBefore: nowMs + 1_000_000 })), nowMs)).toBeUndefined();
  });

  it('a leaf that is its own root and expired', async () => {
    const { rootPem } = await testCa({ notAfter, intermediates: 0 });
    expect(expiryProblem(parseContent({ certificate: rootPem }), notAfter + 1)?.code).toBe('certificate_expired');
  });

  it('a date that is none', async () => {
    const { certificate } = await testCertificate({ notAfter: Date.UTC(2048, 0, 1) });
    const [leaf] = chainOf(tampered(certificate, '480101000000Z', '481301000000Z'));
    expect(leaf && expiryProblem({ leaf }, nowMs)?.code).toBe('certificate_malformed');
  });
});

describe('contentProblem', () => {
  it('none, with and without a chain required', async () => {
    const content = parseContent(await testCertificate());
    expect(contentProblem(content, rules)).toBeUndefined();
    expect(contentProblem(content, { ...rules, requireChain: true })).toBeUndefined();
  });

  it('asks for a chain only if it shall, and not of what signed itself', async () => {
    const { certificate, privateKey } = await testCertificate();
    const alone = parseContent({ certificate, privateKey });
    expect(contentProblem(alone, rules)).toBeUndefined();
    expect(contentProblem(alone, { ...rules, requireChain: true })?.code).toBe('certificate_chain_missing');
    const selfSigned = parseContent({ certificate: vector.selfSigned + vector.privateKey });
    expect(contentProblem(selfSigned, { ...rules, requireChain: true })).toBeUndefined();
  });

  it.each([
    ['key before chain', () => brokenMismatch(), 'certificate_key_mismatch'],
    ['chain before expiry', () => brokenChain({ notAfter: nowMs - 1000 }), 'certificate_chain_broken'],
    ['expiry', () => expired(), 'certificate_expired'],
  ] as const)('answers the first problem: %s', async (_, make, code) => {
    expect(contentProblem(parseContent(await make()), rules)?.code).toBe(code);
  });
});

async function brokenMismatch() {
  const [broken, { privateKey }] = await Promise.all([brokenChain(), testCertificate()]);
  return { ...broken, privateKey };
}
