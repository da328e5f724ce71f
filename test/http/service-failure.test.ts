import { createPrivateKey, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { foreignWords } from '../../src/http/service-failure.ts';
import { keyCanary, searchFor } from '../support/canaries.ts';
import { testCertificate } from '../support/certificates.ts';

describe('words of a service', () => {
  it.each([
    ['The certificate has expired.', 'The certificate has expired.'],
    ['CERTIFICATE_NOT_FOUND_IN_INSTANCE', 'CERTIFICATE_NOT_FOUND_IN_INSTANCE'],
    ['certificateDomainsDiffer: internal-server-name.example.test', undefined],
    ['trace 1b4e28ba-2fa1-11d2-883f-0016d3cca427', undefined],
    ['two\nlines\tand \u0000 more', 'two lines and \\u{0} more'],
    ['too large: 1048576 bytes', undefined],
    [`${'word '.repeat(60)}`, `${'word '.repeat(40).slice(0, 199)}…`],
    ['', null],
    [4711, '4711'],
  ])('%j are kept', (said, kept) => {
    expect(foreignWords(said) ?? null).toBe(kept === undefined ? said : kept);
  });

  it.each([
    ['cannot take -----BEGIN PRIVATE KEY-----\nMIIE', 'cannot take [pem]'],
    ['Bearer eyJhbGciOi.JIUzI1NiJ9.xyz has no role', 'Bearer [removed] has no role'],
    ['{"authorization":"Bearer abc"}', '{"authorization":"Bearer [removed]"}'],
    ['apikey=abc is unknown', 'apikey [removed] is unknown'],
    ['bad line AoGBAJ1Qm0xQz3n2v9lD9w==', 'bad line [removed]'],
    ['bad scalar 5f1d36ac7c4be0f7c2f3b6a1d4e5f60718293a4b5c6d7e8f9001122334455667', 'bad scalar [removed]'],
  ])('%j are cleaned', (said, kept) => {
    expect(foreignWords(said)).toBe(kept);
  });

  it('never hold a random API key', () => {
    for (let made = 0; made < 500; made += 1) {
      const apiKey = randomBytes(33).toString('base64url');
      expect(foreignWords(`the key ${apiKey} is not known`)).toBe('the key [removed] is not known');
    }
  });

  it('never hold a number of a private key, however it is quoted', async () => {
    const { privateKey } = await testCertificate({ keyKind: 'rsa-2048' });
    const pem = privateKey.reveal();
    const search = searchFor([keyCanary('key', pem)]);
    const key = createPrivateKey(pem);
    const lines = pem.split('\n').slice(1, -2);
    const der = key.export({ type: 'pkcs8', format: 'der' });
    const quotes = [
      pem,
      JSON.stringify({ priv_key: pem }),
      lines.join('\n'),
      lines.join('\\n'),
      lines.join(' '),
      // The lines before hold the public half.
      ...lines.slice(7),
      der.toString('hex'),
      der.toString('hex').toUpperCase(),
      der.toString('base64url'),
      JSON.stringify(key.export({ format: 'jwk' })),
    ];
    for (const quote of quotes) {
      expect(search(Buffer.from(quote)).length).toBeGreaterThan(0);
      expect(search(Buffer.from(foreignWords(`cannot take ${quote}`) ?? ''))).toEqual([]);
    }
  });
});
