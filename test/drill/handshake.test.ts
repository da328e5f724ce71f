import { createServer } from 'node:tls';
import { describe, expect, it, vi } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { proveByHandshake } from '../../src/drill/handshake.ts';
import { brokenChain, expired, mismatchedKey, testCa, testCertificate } from '../support/certificates.ts';

const prove = async (pem: CertificatePem, trust?: readonly string[]) =>
  proveByHandshake(parseContent(pem), { trust: trust ?? [(await testCa()).rootPem], timeoutMs: 5_000 });

describe('a copy', () => {
  it.each(['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'] as const)(
    'with a key of kind %s serves',
    async (keyKind) => {
      expect(await prove(await testCertificate({ keyKind }))).toEqual({
        served: true,
        protocol: 'TLSv1.3',
        names: ['shop.example.test'],
      });
    },
  );

  it.each([
    ['every one of several names', ['a.example.test', 'b.example.test'], ['a.example.test', 'b.example.test']],
    ['a wildcard', ['*.example.test'], ['drill.example.test']],
    ['an address', ['127.0.0.1', 'shop.example.test'], ['127.0.0.1', 'shop.example.test']],
  ])('is asked for %s', async (_, domains, names) => {
    expect(await prove(await testCertificate({ domains }))).toMatchObject({ served: true, names });
  });

  it('with several intermediates serves', async () => {
    const { rootPem } = await testCa({ intermediates: 3 });
    expect(await prove(await testCertificate({ intermediates: 3 }), [rootPem])).toMatchObject({ served: true });
  });
});

describe('a copy does not serve', () => {
  it.each<[string, () => Promise<CertificatePem>, string, RegExp]>([
    ['with the key of another', mismatchedKey, 'wrong-key', /^the private key is not that of the certificate/],
    ['expired', expired, 'expired', /has expired \(CERT_HAS_EXPIRED\)$/],
    ['with the chain of another authority', brokenChain, 'cut-chain', /^no way leads from the certificate/],
    [
      'with its chain cut',
      async () => ({ ...(await testCertificate()), intermediate: '' }),
      'cut-chain',
      /\(UNABLE_TO_/,
    ],
    [
      'before its time',
      async () => testCertificate({ notBefore: Date.UTC(2098, 0, 1) }),
      'not-yet-valid',
      /not valid yet/,
    ],
    ['for no host', async () => testCertificate({ domains: ['not a host name'] }), 'wrong-name', /not for the names/],
  ])('%s', async (_, make, failure, message) => {
    const outcome = await prove(await make());
    expect(outcome).toMatchObject({ served: false, failure });
    expect(outcome.served || outcome.message).toMatch(message);
  });

  it('without a key', async () => {
    const { certificate } = await testCertificate();
    expect(await prove({ certificate })).toMatchObject({ served: false, failure: 'missing-key' });
  });

  it('to a client that trusts another authority, or only those that everybody does', async () => {
    const other = await testCa({ name: 'Other' });
    const pem = await testCertificate({ includeRoot: true });
    expect(await prove(pem, [other.rootPem])).toMatchObject({ served: false, failure: 'not-trusted' });
    const byAll = await proveByHandshake(parseContent(pem), { trust: undefined, timeoutMs: 5_000 });
    expect(byAll).toMatchObject({ served: false, failure: 'not-trusted' });
  });

  it('and says nothing of the key', async () => {
    const pem = await mismatchedKey();
    const said = JSON.stringify(await prove(pem));
    expect(said).not.toContain('PRIVATE');
  });
});

it('leaves no server behind', async () => {
  const closed = vi.spyOn(Object.getPrototypeOf(createServer()), 'close');
  await prove(await testCertificate());
  await prove(await expired());
  expect(closed).toHaveBeenCalledTimes(2);
  closed.mockRestore();
});
