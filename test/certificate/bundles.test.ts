import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { contentProblem } from '../../src/certificate/judgement.ts';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { chainRemarks } from '../../src/certificate/remarks.ts';
import { bundle, certify, certifyLeaf, newSigner } from '../support/bundles.ts';

const now = Date.UTC(2026, 10, 29);
const year = (number: number) => Date.UTC(number, 0, 1);

/**
 * One authority with its root, the same cross-signed by an old root, and what else people put into
 * bundles.
 */
async function makeCertificates() {
  const [root, oldRoot, intermediate, stranger, upper] = await Promise.all(
    ['CN=Root', 'CN=Old Root', 'CN=Intermediate', 'CN=Stranger Root', 'CN=Upper'].map(newSigner),
  );
  if (!root || !oldRoot || !intermediate || !stranger || !upper) throw new Error('five signers were made');
  return {
    leaf: await certifyLeaf(intermediate),
    expiredLeaf: await certifyLeaf(intermediate, { notAfter: year(2020) }),
    selfSigned: await certifyLeaf(undefined),
    root: await certify({ of: root }),
    expiredRoot: await certify({ of: root, notAfter: year(2020) }),
    oldRoot: await certify({ of: oldRoot }),
    expiredOldRoot: await certify({ of: oldRoot, notAfter: year(2020) }),
    stranger: await certify({ of: stranger }),
    intermediate: await certify({ of: intermediate, by: root }),
    cross: await certify({ of: intermediate, by: oldRoot }),
    expired: await certify({ of: intermediate, by: root, notAfter: year(2020) }),
    renewed: await certify({ of: intermediate, by: root, notBefore: year(2025), notAfter: year(2030) }),
    early: await certify({ of: intermediate, by: root, notBefore: year(2040) }),
    noAuthority: await certify({ of: intermediate, by: root, authority: false, keyUsage: 'keyCertSign' }),
    noConstraints: await certify({ of: intermediate, by: root, authority: 'none' }),
    mayNotSign: await certify({ of: intermediate, by: root, keyUsage: 'cRLSign' }),
    namesake: await certify({ of: await newSigner('CN=Intermediate'), by: root }),
    rootCross: await certify({ of: root, by: oldRoot }),
    expiredRootCross: await certify({ of: root, by: oldRoot, notAfter: year(2020) }),
    earlyRootCross: await certify({ of: root, by: oldRoot, notBefore: year(2040) }),
    rootNoAuthority: await certify({ of: root, by: oldRoot, authority: false, keyUsage: 'keyCertSign' }),
    oldRootByRoot: await certify({ of: oldRoot, by: root }),
    upper: await certify({ of: upper, by: root }),
  };
}

let made: Awaited<ReturnType<typeof makeCertificates>>;
type Name = Exclude<keyof Awaited<ReturnType<typeof makeCertificates>>, 'leaf' | 'expiredLeaf' | 'selfSigned'>;
beforeAll(async () => {
  made = await makeCertificates();
});

const of = (...names: readonly Name[]) => bundle(made.leaf, ...names.map((name) => made[name]));
const problem = (pem: CertificatePem, nowMs = now) => contentProblem(parseContent(pem), { nowMs, requireChain: true });
const remarks = (pem: CertificatePem) =>
  chainRemarks(parseContent(pem), now).map(({ kind, subject }) => [kind, subject]);
/** The names of the chain, in the order in which it is kept. */
function kept(pem: CertificatePem): readonly string[] {
  const names = Object.entries(made).flatMap(([name, value]) => (typeof value === 'string' ? [[value, name]] : []));
  const nameOf = new Map(names.map(([text = '', name = '']) => [new X509Certificate(text).fingerprint256, name]));
  return parseContent(pem).chain.map(({ fingerprint256 }) => nameOf.get(fingerprint256) ?? '?');
}

describe('a bundle is accepted', () => {
  it.each<[string, readonly Name[], readonly (readonly [string, string])[]]>([
    ['with its chain alone', ['intermediate'], []],
    ['with its root', ['intermediate', 'root'], []],
    ['with its root cross-signed', ['intermediate', 'rootCross', 'oldRoot'], []],
    ['with both variants of a cross-signed intermediate', ['intermediate', 'cross'], [['spare', 'CN=Intermediate']]],
    [
      'with a root, the same cross-signed, and the old root',
      ['intermediate', 'root', 'rootCross', 'oldRoot'],
      [
        ['spare', 'CN=Root'],
        ['spare', 'CN=Old Root'],
      ],
    ],
    ['with a root that has nothing to do with it', ['intermediate', 'stranger'], [['unrelated', 'CN=Stranger Root']]],
    ['with an expired cross certificate', ['intermediate', 'expiredRootCross'], [['expired', 'CN=Root']]],
    [
      'with an expired cross certificate and its old root, which has expired too',
      ['intermediate', 'expiredRootCross', 'expiredOldRoot'],
      [
        ['expired', 'CN=Root'],
        ['expired', 'CN=Old Root'],
      ],
    ],
    [
      'with an expired cross certificate beside the root',
      ['intermediate', 'root', 'expiredRootCross'],
      [['expired', 'CN=Root']],
    ],
    [
      'with a cross certificate that is not valid yet',
      ['intermediate', 'earlyRootCross'],
      [['not-yet-valid', 'CN=Root']],
    ],
    ['with an expired root', ['intermediate', 'expiredRoot'], [['expired', 'CN=Root']]],
    ['with an expired intermediate beside its renewed one', ['expired', 'renewed'], [['expired', 'CN=Intermediate']]],
    [
      'with an intermediate that is not valid yet beside the present one',
      ['early', 'intermediate'],
      [['not-yet-valid', 'CN=Intermediate']],
    ],
    ['with an intermediate that is not valid yet alone', ['early'], [['not-yet-valid', 'CN=Intermediate']]],
    [
      'with the certificate of another key under the same name',
      ['namesake', 'intermediate'],
      [['unrelated', 'CN=Intermediate']],
    ],
    [
      'with a twin of its intermediate that is no authority',
      ['noAuthority', 'intermediate'],
      [['no-authority', 'CN=Intermediate']],
    ],
    [
      'with a twin of its root that is no authority beside the root',
      ['intermediate', 'rootNoAuthority', 'root'],
      [['no-authority', 'CN=Root']],
    ],
    ['with roots that signed each other', ['intermediate', 'rootCross', 'oldRootByRoot'], []],
    [
      'with an intermediate between, of which another one was left out',
      ['intermediate', 'upper'],
      [['unrelated', 'CN=Upper']],
    ],
  ])('%s, in whatever order', (_, names, told) => {
    for (const order of [names, [...names].reverse()]) {
      expect(problem(of(...order))).toBeUndefined();
      expect(remarks(of(...order)).toSorted()).toEqual([...told].toSorted());
    }
  });

  it('that is signed by itself, with something more', () => {
    const pem = bundle(made.selfSigned, made.stranger);
    expect(problem(pem)).toBeUndefined();
    expect(remarks(pem)).toEqual([['unrelated', 'CN=Stranger Root']]);
  });

  it('with a root whose key is that of the leaf too', async () => {
    const root = await newSigner('CN=Root of the Shop');
    const leaf = await certifyLeaf(root, { of: { ...root, subject: 'CN=shop.example.test' } });
    const rootPem = await certify({ of: root });
    for (const pem of [bundle(leaf, rootPem), { ...leaf, certificate: rootPem, intermediate: leaf.certificate }]) {
      expect(parseContent(pem).leaf.subject).toBe('CN=shop.example.test');
      expect(problem(pem)).toBeUndefined();
    }
  });

  it('without a key, beside a root of the first version, which does not say that it is an authority', async () => {
    const old = await newSigner('CN=Very Old Root');
    const { certificate } = made.leaf;
    const oldPem = await certify({ of: old, authority: 'none' });
    const content = parseContent({ certificate: oldPem + made.intermediate + certificate });
    expect(content.leaf.toString()).toBe(certificate);
  });
});

describe('a bundle is refused', () => {
  it.each<[string, readonly Name[], string, RegExp]>([
    [
      'of which none signed the leaf',
      ['root'],
      'certificate_chain_broken',
      /issued by Intermediate, and the certificate that came/,
    ],
    ['of which none of several did', ['root', 'stranger'], 'certificate_chain_broken', /none of the 2 certificates/],
    [
      'with a namesake alone',
      ['namesake'],
      'certificate_chain_broken',
      /named Intermediate among them has another key/,
    ],
    [
      'whose issuer may not sign',
      ['mayNotSign'],
      'certificate_chain_broken',
      /^CN=Intermediate signed .* its key usage/,
    ],
    [
      'with its intermediate expired',
      ['expired', 'root'],
      'certificate_chain_expired',
      /^CN=Intermediate, which .*2020-01-01/,
    ],
    [
      'with an issuer that is no authority',
      ['noAuthority'],
      'certificate_issuer_no_authority',
      /^CN=Intermediate signed/,
    ],
    [
      'with an issuer without basic constraints',
      ['noConstraints', 'root'],
      'certificate_issuer_no_authority',
      /^CN=Int/,
    ],
    [
      'with one above that is no authority',
      ['intermediate', 'rootNoAuthority', 'oldRoot'],
      'certificate_issuer_no_authority',
      /^CN=Root signed/,
    ],
  ])('%s', (_, names, code, message) => {
    for (const order of [names, [...names].reverse()]) {
      const found = problem(of(...order));
      expect(found?.code).toBe(code);
      expect(found?.message).toMatch(message);
      expect(chainRemarks(parseContent(of(...order)), now)).toEqual([]);
    }
  });

  it('with both variants of its intermediate expired, naming the one that lasted longer', async () => {
    expect(problem(of('expired', 'renewed'), year(2031))).toMatchObject({
      code: 'certificate_chain_expired',
      fields: { expiredAt: '2030-01-01T00:00:00.000Z' },
    });
  });

  it('as expired where the leaf is, whatever else is', () => {
    for (const names of [['intermediate'], ['expired'], ['intermediate', 'stranger']] as const) {
      const pem = bundle(made.expiredLeaf, ...names.map((name) => made[name]));
      expect(problem(pem)?.code).toBe('certificate_expired');
    }
  });

  it('where the key is that of an authority in it, whose certificate it would serve', async () => {
    const root = await newSigner('CN=Root');
    const rootPem = await certify({ of: root });
    const { privateKey } = await certifyLeaf(undefined, { of: root });
    const { certificate } = await certifyLeaf(root);
    expect(problem({ certificate, intermediate: rootPem, privateKey })).toMatchObject({
      code: 'certificate_key_mismatch',
      message: expect.stringMatching(/that of CN=Root, which signed CN=shop\.example\.test/),
    });
  });

  it('in few words where a name is very long', async () => {
    const long = await newSigner(`CN=${'x'.repeat(5000)}`);
    const leaf = await certifyLeaf(long);
    const by = await newSigner('CN=Root');
    const found = problem(bundle(leaf, await certify({ of: long, by, notAfter: year(2020) })));
    expect(found?.code).toBe('certificate_chain_expired');
    expect(found?.message.length).toBeLessThan(400);
  });
});

describe('the order in which a bundle is kept', () => {
  it.each<[readonly Name[], readonly Name[]]>([
    // As it always was: what links from the leaf to the end.
    [
      ['root', 'intermediate'],
      ['intermediate', 'root'],
    ],
    [
      ['oldRoot', 'rootCross', 'root', 'intermediate'],
      ['intermediate', 'root', 'rootCross', 'oldRoot'],
    ],
    [
      ['expiredRootCross', 'intermediate'],
      ['intermediate', 'expiredRootCross'],
    ],
    // The path first, then the rest as it was found.
    [
      ['stranger', 'upper', 'intermediate'],
      ['intermediate', 'stranger', 'upper'],
    ],
    [
      ['upper', 'intermediate', 'stranger'],
      ['intermediate', 'upper', 'stranger'],
    ],
    [
      ['intermediate', 'cross', 'root'],
      ['intermediate', 'root', 'cross'],
    ],
    [
      ['cross', 'intermediate', 'root'],
      ['cross', 'intermediate', 'root'],
    ],
    [
      ['expired', 'cross', 'renewed'],
      ['renewed', 'expired', 'cross'],
    ],
    [
      ['expired', 'renewed'],
      ['renewed', 'expired'],
    ],
    [
      ['renewed', 'expired'],
      ['renewed', 'expired'],
    ],
    [
      ['noAuthority', 'renewed', 'root'],
      ['renewed', 'root', 'noAuthority'],
    ],
  ])('%j is kept as %j', (given, order) => {
    expect(kept(of(...given))).toEqual(order);
  });

  it('is the same when it is read again, whatever was given and whenever: a copy has the fingerprint of its original', () => {
    const names = Object.keys(made).filter((name) => !['leaf', 'expiredLeaf', 'selfSigned'].includes(name)) as Name[];
    fc.assert(
      fc.property(fc.shuffledSubarray(names, { maxLength: 10 }), (some) => {
        const content = parseContent(of(...some));
        const again = parseContent(toPem(content));
        expect(fingerprintOf(again)).toBe(fingerprintOf(content));
        const shuffled = parseContent(of(...[...some].reverse()));
        const ofPath = (chain: readonly X509Certificate[]) =>
          new Set(chain.map(({ fingerprint256 }) => fingerprint256));
        expect(ofPath(shuffled.chain)).toEqual(ofPath(content.chain));
      }),
      { numRuns: 50 },
    );
  });

  it('gives a bundle that links from the leaf to the end the fingerprint that it always had', () => {
    const names = ['intermediate', 'root', 'rootCross', 'oldRoot'] as const;
    fc.assert(
      fc.property(fc.shuffledSubarray([...names], { minLength: 4 }), (some) => {
        expect(kept(of(...some))).toEqual(names);
      }),
      { numRuns: 12 },
    );
  });
});

it('asks ten cross-signed authorities of one name and key in bounded time', async () => {
  const one = await newSigner('CN=Same');
  const others = await Promise.all(
    Array.from({ length: 9 }, () => certify({ of: one, by: one, notAfter: year(2098) })),
  );
  const barred = await certify({ of: one, authority: false, keyUsage: 'keyCertSign' });
  const pem = bundle(await certifyLeaf(one), ...others, barred);
  expect(problem(pem)).toBeUndefined();
});
