import { createPrivateKey, X509Certificate } from 'node:crypto';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { factsOf } from '../../../../src/certificate/facts.ts';
import { createDevelopmentCa } from '../../../../src/instance/orders/authority/development-ca.ts';
import type { KeyKind } from '../../../../src/instance/orders/authority/development-keys.ts';
import { blocksIn } from '../../../certificate/tamper.ts';
import { testCa, testCertificate } from '../../../support/certificates.ts';

const kinds: readonly KeyKind[] = ['rsa-2048', 'rsa-4096', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'];

describe('createDevelopmentCa', () => {
  it.each(kinds)('issues a %s leaf that belongs to its key and that a TLS client accepts', async (keyKind) => {
    const issued = await testCertificate({ keyKind, intermediates: 2, domains: ['shop.test', '127.0.0.1'] });
    const leaf = new X509Certificate(issued.certificate);
    expect(leaf.checkPrivateKey(createPrivateKey(issued.privateKey.reveal()))).toBe(true);
    expect(issued.privateKey.reveal()).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    const { rootPem } = await testCa({ intermediates: 2 });
    expect(await handshake(issued.certificate + issued.intermediate, issued.privateKey.reveal(), rootPem)).toBe(true);
  });

  it.each(kinds.filter((kind) => kind !== 'rsa-4096'))('signs with %s what a TLS client accepts', async (keyKind) => {
    const ca = await testCa({ keyKind });
    const issued = await ca.issue({ domains: ['shop.test'], notAfter: Date.UTC(2099, 0, 1) });
    expect(await handshake(issued.certificate + issued.intermediate, issued.privateKey.reveal(), ca.rootPem)).toBe(
      true,
    );
  });

  it('gives the chain from the issuer of the leaf upwards, the root only if asked', async () => {
    const namesIn = (text?: string) => blocksIn(text).map((pem) => new X509Certificate(pem).subject);
    const without = await testCertificate({ intermediates: 2 });
    expect(namesIn(without.intermediate)).toEqual(['CN=Test Intermediate 2', 'CN=Test Intermediate 1']);
    const withRoot = await testCertificate({ intermediates: 1, includeRoot: true });
    expect(namesIn(withRoot.intermediate)).toEqual(['CN=Test Intermediate 1', 'CN=Test Root']);
    expect(await testCertificate({ intermediates: 0 })).not.toHaveProperty('intermediate');
  });

  it('issues for the domains, dates and serial that are asked for', async () => {
    const issued = await testCertificate({
      domains: ['*.shop.test', 'shop.test', '192.0.2.7', '2001:db8::7'],
      notBefore: Date.UTC(2026, 1, 3, 4, 5, 6),
      notAfter: Date.UTC(2051, 1, 3, 4, 5, 6),
      serial: '0badcafe',
    });
    const leaf = new X509Certificate(issued.certificate);
    expect(leaf).toMatchObject({
      subject: 'CN=*.shop.test',
      issuer: 'CN=Test Intermediate 1',
      serialNumber: '0BADCAFE',
      validFrom: 'Feb  3 04:05:06 2026 GMT',
      validTo: 'Feb  3 04:05:06 2051 GMT',
      ca: false,
    });
    expect(leaf.checkHost('any.shop.test')).toBe('*.shop.test');
    expect(leaf.checkIP('192.0.2.7')).toBe('192.0.2.7');
    expect(leaf.checkIP('2001:db8::7')).toBe('2001:db8::7');
  });

  it('by default: its own clock, 90 days for a leaf, another key and serial each time', async () => {
    const now = () => Date.UTC(2026, 0, 1, 12);
    const ca = await createDevelopmentCa({ name: 'Clock', now });
    const [one, two] = await Promise.all([ca.issue({ domains: ['a.test'] }), ca.issue({ domains: ['a.test'] })]);
    const [first, second] = [one, two].map(({ certificate }) => new X509Certificate(certificate));
    expect(first?.validFrom).toBe('Jan  1 11:00:00 2026 GMT');
    expect(first?.validTo).toBe('Apr  1 11:00:00 2026 GMT');
    expect(first?.serialNumber).toMatch(/^[0-9A-F]{28,32}$/);
    expect(first?.serialNumber).not.toBe(second?.serialNumber);
    expect(one.privateKey.reveal()).not.toBe(two.privateKey.reveal());
    expect(new X509Certificate(ca.rootPem)).toMatchObject({
      subject: 'CN=Clock Root',
      validFrom: 'Dec 31 12:00:00 2025 GMT',
      ca: true,
    });
  });

  it('renews with the same key if it is given', async () => {
    const one = await testCertificate({ keyKind: 'p-384' });
    const renewed = await testCertificate({ privateKey: one.privateKey });
    expect(renewed.privateKey.reveal()).toBe(one.privateKey.reveal());
    expect(renewed.certificate).not.toBe(one.certificate);
    expect(factsOf(new X509Certificate(renewed.certificate)).keyAlgorithm).toBe('id-ecPublicKey 384 bit');
  });

  it('can issue without any domain, and for a first one too long for a common name', async () => {
    const [none, long] = await Promise.all([
      testCertificate({ domains: [] }),
      testCertificate({ domains: [`${'a'.repeat(60)}.test`] }),
    ]);
    expect(new X509Certificate(none.certificate).subjectAltName).toBeUndefined();
    expect(new X509Certificate(long.certificate).subjectAltName).toBe(`DNS:${'a'.repeat(60)}.test`);
    expect(new X509Certificate(long.certificate).subject).toBeFalsy();
  });
});

/** Whether a TLS client that trusts only this root accepts the certificate for shop.test. */
async function handshake(cert: string, key: string, ca: string): Promise<boolean> {
  const server = createServer({ cert, key }, (socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  let socket: TLSSocket | undefined;
  try {
    return await new Promise<boolean>((resolve, reject) => {
      socket = connect({ host: '127.0.0.1', port, servername: 'shop.test', ca }, () =>
        resolve(socket?.authorized === true),
      ).on('error', reject);
    });
  } finally {
    socket?.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}
