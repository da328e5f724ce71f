import { createServer } from 'node:tls';
import { describe, expect, it, vi } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { contentProblem } from '../../src/certificate/judgement.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { proveByHandshake } from '../../src/drill/handshake.ts';
import { bundle, type CertificateOptions, certify, certifyLeaf, newSigner } from '../support/bundles.ts';
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

describe('names are asked for as clients compare them:', () => {
  const leafFor = async (subject: string, names: CertificateOptions['names']) => {
    const root = await newSigner('CN=Root');
    const leaf = await certifyLeaf(root, {
      of: await newSigner(subject),
      ...(names ? { names } : { names: undefined }),
    });
    return proveByHandshake(parseContent(bundle(leaf)), { trust: [await certify({ of: root })], timeoutMs: 5_000 });
  };
  const dns = (value: string) => ({ type: 'dns' as const, value });
  const ip = (value: string) => ({ type: 'ip' as const, value });
  const email = { type: 'email' as const, value: 'shop@example.test' };
  const uri = { type: 'url' as const, value: 'https://example.test/' };
  const many = Array.from({ length: 1_500 }, (_, index) => `h${index}.example.test`);

  it.each<[string, string, CertificateOptions['names'], readonly string[]]>([
    ['not a common name of static text', 'CN=Some Certificate', [dns('a.test.test')], ['a.test.test']],
    ['not a common name beside alternative ones', 'CN=cn.example.test', [dns('a.example.test')], ['a.example.test']],
    ['the common name where it is the only one', 'CN=cn.example.test', undefined, ['cn.example.test']],
    ['a wildcard as the common name', 'CN=*.example.test', undefined, ['drill.example.test']],
    ['addresses of both kinds', 'CN=x', [ip('192.0.2.7'), ip('2001:db8::7')], ['192.0.2.7', '2001:db8::7']],
    ['an address after a mail address and a URI', 'CN=x', [email, uri, ip('192.0.2.7')], ['192.0.2.7']],
    ['not an address that is written as a host', 'CN=x', [dns('192.0.2.7'), dns('a.example.test')], ['a.example.test']],
    ['an international name', 'CN=x', [dns('xn--bcher-kva.example')], ['xn--bcher-kva.example']],
    ['upper case', 'CN=x', [dns('SHOP.Example.Test')], ['shop.example.test']],
    ['not a wildcard for everything', 'CN=x', [dns('*.test'), dns('a.example.test')], ['a.example.test']],
    [
      'not what is too long for a host',
      'CN=x',
      [dns(`${'x.'.repeat(130)}test`), dns('b.example.test')],
      ['b.example.test'],
    ],
    [
      'not a label that is too long',
      'CN=x',
      [dns(`${'x'.repeat(64)}.test`), dns('b.example.test')],
      ['b.example.test'],
    ],
    ['a hundred of very many', 'CN=x', many.map(dns), many.slice(0, 100)],
  ])('%s', async (_, subject, names, asked) => {
    expect(await leafFor(subject, names)).toMatchObject({ served: true, names: asked });
  });

  it.each<[string, string, CertificateOptions['names'], RegExp]>([
    ['mail address and URI', 'CN=cn.example.test', [email, uri], /^its alternative names \(2\) hold no host name/],
    ['common name of static text', 'CN=Some Certificate', undefined, /^it has no alternative names, and its common/],
    ['address as the common name', 'CN=192.0.2.7', undefined, /^it has no alternative names, and its common/],
    ['no name at all', '', undefined, /^it has no alternative names, and its common/],
    ['a name with a line in it', 'CN=x', [dns('a.test\r\n.example.test')], /^its alternative names \(1\) hold no/],
  ])('and where there is none to ask for, that is said: %s', async (_, subject, names, message) => {
    const outcome = await leafFor(subject, names);
    expect(outcome).toMatchObject({ served: false, failure: 'wrong-name' });
    expect(outcome.served || outcome.message).toMatch(message);
  });
});

describe('a bundle with more than a chain serves:', () => {
  it.each(['cross-signed variants', 'another root', 'an expired cross certificate', 'all of it, in another order'])(
    '%s',
    async (what) => {
      const [root, oldRoot, intermediate, stranger] = await Promise.all(
        ['CN=Root', 'CN=Old Root', 'CN=Intermediate', 'CN=Stranger'].map(newSigner),
      );
      if (!root || !oldRoot || !intermediate || !stranger) throw new Error('four signers were made');
      const own = await certify({ of: intermediate, by: root });
      const cross = await certify({ of: intermediate, by: oldRoot });
      const other = await certify({ of: stranger });
      const expiredCross = await certify({ of: root, by: oldRoot, notAfter: Date.UTC(2020, 0, 1) });
      const others: Readonly<Record<string, readonly string[]>> = {
        'cross-signed variants': [own, cross],
        'another root': [own, other],
        'an expired cross certificate': [own, expiredCross],
      };
      const content = parseContent(
        bundle(await certifyLeaf(intermediate), ...(others[what] ?? [expiredCross, other, own, cross])),
      );
      const trust = [await certify({ of: root })];
      expect(contentProblem(content, { nowMs: Date.now(), requireChain: true })).toBeUndefined();
      expect(await proveByHandshake(content, { trust, timeoutMs: 5_000 })).toMatchObject({ served: true });
    },
  );
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
    ['for no host', async () => testCertificate({ domains: ['not a host name'] }), 'wrong-name', /no host name and no/],
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

it('gives up when its time is over, whoever did not answer', async () => {
  const trust = [(await testCa()).rootPem];
  // A handshake takes several turns of the loop, and each of them takes longer here than it may
  // last.
  const slow = setInterval(() => {
    for (const until = performance.now() + 5; performance.now() < until; );
  });
  const outcome = await proveByHandshake(parseContent(await testCertificate()), { trust, timeoutMs: 0 });
  clearInterval(slow);
  expect(outcome).toMatchObject({ served: false, failure: 'no-handshake', message: 'no handshake within 0 ms' });
});

it('leaves no server behind', async () => {
  const closed = vi.spyOn(Object.getPrototypeOf(createServer()), 'close');
  await prove(await testCertificate());
  await prove(await expired());
  expect(closed).toHaveBeenCalledTimes(2);
  closed.mockRestore();
});
