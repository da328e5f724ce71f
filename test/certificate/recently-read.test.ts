import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { recentlyRead } from '../../src/certificate/recently-read.ts';
import { readCertificate } from '../../src/certificate/structure.ts';
import { testCertificate } from '../support/certificates.ts';

let certificates: readonly X509Certificate[];
beforeAll(async () => {
  const made = await Promise.all(['a', 'b', 'c'].map((name) => testCertificate({ domains: [`${name}.example.test`] })));
  certificates = made.map(({ certificate }) => new X509Certificate(certificate));
});

describe('certificates that were read lately', () => {
  it('are decoded once for the same bytes, and apart for bytes that differ in one bit', () => {
    const [{ raw } = { raw: Buffer.alloc(0) }] = certificates;
    const first = readCertificate(Buffer.from(raw));
    expect(readCertificate(Buffer.from(raw))).toBe(first);
    // The last byte belongs to the signature: it is read, and is another certificate.
    const other = Buffer.from(raw);
    other[other.length - 1] = (other.at(-1) ?? 0) ^ 1;
    const forged = readCertificate(other);
    expect(forged).not.toBe(first);
    expect(forged.raw).toEqual(other);
    expect(readCertificate(Buffer.from(raw))).toBe(first);
  });

  it('are shared by contents, whose leaves and keys stay their own', async () => {
    const [a, b] = await Promise.all(
      ['one.example.test', 'two.example.test'].map(async (domain) =>
        parseContent(await testCertificate({ domains: [domain] })),
      ),
    );
    expect(a?.chain[0]).toBe(b?.chain[0]);
    expect(a?.leaf).not.toBe(b?.leaf);
    expect(a?.privateKey?.publicKeyDer).not.toEqual(b?.privateKey?.publicKeyDer);
  });

  it('are forgotten when they are too many bytes, those asked for longest ago first', () => {
    const recent = recentlyRead(20);
    const [one, two, three] = certificates as [X509Certificate, X509Certificate, X509Certificate];
    recent.set('1', one, 10);
    recent.set('2', two, 10);
    expect(recent.get('1')).toBe(one);
    recent.set('3', three, 10);
    expect([recent.get('1'), recent.get('2'), recent.get('3')]).toEqual([one, undefined, three]);
    // The same bytes again count once; what is larger than all of it is not kept.
    recent.set('3', three, 10);
    expect(recent.get('1')).toBe(one);
    recent.set('4', two, 21);
    expect([recent.get('1'), recent.get('3'), recent.get('4')]).toEqual([undefined, undefined, undefined]);
  });
});
