import { createPrivateKey, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Finding, keyCanary, searchFor, textCanary } from './canaries.ts';
import { testCertificate } from './certificates.ts';

const formsOf = (findings: readonly Finding[]) => [...new Set(findings.map(({ form }) => form))].sort();

describe.each(['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'] as const)(
  'a key of kind %s',
  (keyKind) => {
    const made = testCertificate({ keyKind }).then(({ privateKey }) => privateKey.reveal());
    const around = (bytes: Buffer, before: number) => Buffer.concat([randomBytes(before), bytes, randomBytes(50)]);

    it('is found in PEM, in JSON, in DER, and in hex and base64 wherever it begins', async () => {
      const pem = await made;
      const search = searchFor([keyCanary('key', pem)]);
      const der = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
      for (const text of [pem, JSON.stringify({ pem }), pem.replaceAll('\n', '\r\n')]) {
        expect(formsOf(search(Buffer.from(text)))).toContain('d as base64');
        expect(formsOf(search(Buffer.from(text, 'utf16le')))).toContain('d as base64, two bytes a character');
      }
      expect(formsOf(search(der))).toContain('d raw');
      expect(formsOf(search(Buffer.from(der).reverse()))).toContain('d raw, reversed');
      for (let before = 0; before < 6; before += 1) {
        const bytes = around(der, before);
        expect(formsOf(search(bytes))).toContain('d raw');
        expect(formsOf(search(Buffer.from(bytes.toString('hex'))))).toContain('d as hex');
        expect(formsOf(search(Buffer.from(bytes.toString('hex').toUpperCase())))).toContain('d as hex');
        expect(formsOf(search(Buffer.from(bytes.toString('base64'))))).toContain('d as base64');
        expect(formsOf(search(Buffer.from(bytes.toString('base64url')))).join()).toContain('d as base64');
      }
    });

    it('is not found in its certificate, in another key, or in chance', async () => {
      const search = searchFor([keyCanary('key', await made)]);
      const other = await testCertificate({ keyKind });
      expect(search(Buffer.from(`${other.certificate}${other.privateKey.reveal()}`))).toEqual([]);
      expect(search(randomBytes(4 * 1024 * 1024))).toEqual([]);
    });

    it('is found by any line of its PEM that holds a part of it, all but the ends', async () => {
      const pem = await made;
      const search = searchFor([keyCanary('key', pem)]);
      const whole = new Set(search(Buffer.from(pem)).map(({ at }) => Math.floor(at / 65)));
      expect(whole.size).toBeGreaterThanOrEqual(keyKind.startsWith('rsa') ? 15 : 1);
    });
  },
);

describe('a text', () => {
  it('is found whole and in part, told by what comes last in it', () => {
    const search = searchFor([
      textCanary('token', 'eyJhbGciOiJSUzI1NiJ9.eyJpYW1faWQiOiJ4In0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg'),
    ]);
    expect(
      search(Buffer.from('Bearer eyJhbGciOiJSUzI1NiJ9.eyJpYW1faWQiOiJ4In0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg')).length,
    ).toBeGreaterThan(0);
    expect(search(Buffer.from('...LW9mLXRoZS10b2tlbg')).length).toBeGreaterThan(0);
    expect(search(Buffer.from('eyJhbGciOiJSUzI1NiJ9.eyJpYW1faWQiOiJ5In0.'))).toEqual([]);
  });

  it('is not taken if it is too short to be told from chance', () => {
    expect(() => searchFor([textCanary('word', 'secret')])).toThrow('too short');
  });
});
