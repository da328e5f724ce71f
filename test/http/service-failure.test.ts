import { createPrivateKey, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { remedyOf } from '../../src/errors.ts';
import { answerError, foreignWords, type ServiceCall } from '../../src/http/service-failure.ts';
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

describe('what a person should do about an answer', () => {
  const remedies = {
    store_unauthorized: { 403: 'Allow update on secrets.', TOKEN_GONE: 'Make a token.' },
    store_refused: { 404: 'Correct the namespace.' },
    store_unavailable: { 503: 'Unseal it.' },
  };
  const remedyFor = (status: number, call: Partial<ServiceCall> = {}, code?: string) => {
    const answer = { status, headers: {}, mediaType: 'application/json', text: JSON.stringify({ code }) };
    return answerError({ store: 's', operation: 'list', writes: false, remedies, ...call }, answer).remedy;
  };

  it('says the service, by the code in its answer, else by the status', () => {
    expect(remedyFor(403)).toBe('Allow update on secrets.');
    expect(remedyFor(401, {}, 'TOKEN_GONE')).toBe('Make a token.');
    expect(remedyFor(403, {}, 'ELSE')).toBe('Allow update on secrets.');
    expect(remedyFor(503)).toBe('Unseal it.');
  });

  it('is not that of another error with the same status', () => {
    expect(remedyFor(404)).toBe('Correct the namespace.');
    expect(remedyFor(404, { certificate: 'c' })).toBe(remedyOf('store_gone'));
  });

  it('is what holds for every store where the service says nothing, and names no other service', () => {
    const said = [400, 401, 403, 404, 405, 410, 418, 501].map((status) => remedyFor(status, { remedies: {} }));
    expect(said.join('\n')).not.toMatch(/IAM|API key|CRN|Manager|Writer|role\b/);
    expect(remedyFor(401, { remedies: {} })).toContain('stores.<name>');
    expect(remedyFor(404, { remedies: {} })).toContain('stores.<name>');
  });
});
