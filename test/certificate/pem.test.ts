import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { keyProblem, pathProblem } from '../../src/certificate/judgement.ts';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { CodedError, type ErrorCode } from '../../src/errors.ts';
import type { IssuedCertificate } from '../../src/instance/orders/authority/development-ca.ts';
import type { KeyKind } from '../../src/instance/orders/authority/development-keys.ts';
import { limits } from '../../src/limits.ts';
import { Secret } from '../../src/secret.ts';
import { brokenChain, testCa, testCertificate } from '../support/certificates.ts';
import { blocksIn, certificatePem, firstDer, tampered } from './tamper.ts';
import { vector } from './vector.ts';

const subjects = (certificates: readonly X509Certificate[]) => certificates.map(({ subject }) => subject);
const keyOf = ({ privateKey }: IssuedCertificate) => createPrivateKey(privateKey.reveal());

/** The code with which parsing is refused; and that nothing of a key is in the error. */
function refusal(pem: CertificatePem): ErrorCode | undefined {
  try {
    parseContent(pem);
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof CodedError)) throw thrown;
    const shown = inspect(thrown, { depth: 10, showHidden: true });
    const bodies = blocksIn(pem.privateKey?.reveal(), pem.certificate).flatMap((block) =>
      block.split('\n').slice(1, -2),
    );
    for (const line of bodies.filter((text) => text.length > 8)) expect(shown).not.toContain(line);
    return thrown.code;
  }
}

it('tells keys of two types apart, and the next private key can still be read', async () => {
  const [ec, rsa] = await Promise.all([testCertificate(), testCertificate({ keyKind: 'rsa-2048' })]);
  for (const [certificate, key] of [
    [rsa, ec],
    [ec, rsa],
  ] as const) {
    const mixed = parseContent({ certificate: certificate.certificate, privateKey: key.privateKey });
    expect(keyProblem(mixed)?.code).toBe('certificate_key_mismatch');
    expect(keyProblem(parseContent(key))).toBeUndefined();
  }
});

describe('parseContent', () => {
  it('reads what OpenSSL made', () => {
    const content = parseContent({
      certificate: vector.leaf,
      intermediate: vector.issuer,
      privateKey: new Secret(vector.privateKey),
    });
    expect(Buffer.from(content.privateKey?.publicKeyDer ?? []).toString('hex')).toBe(vector.publicKeyDer);
    expect(fingerprintOf(content)).toBe('2b49cb71dbd841d6e7ded59f584ffbcf6872ce4d0bcc48e5f10b85ce462a075c');
  });

  describe('private keys', () => {
    const encodings: Readonly<Record<string, readonly KeyKind[]>> = {
      pkcs8: ['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'],
      pkcs1: ['rsa-2048'],
      sec1: ['p-256', 'p-384', 'p-521'],
    };
    const cases = Object.entries(encodings).flatMap(([type, kinds]) => kinds.map((kind) => [type, kind] as const));
    const exported = (key: KeyObject, type: string) => key.export({ type: type as 'pkcs8', format: 'pem' });

    it.each(cases)('%s of %s, kept in its encoding', async (type, keyKind) => {
      const issued = await testCertificate({ keyKind });
      const text = exported(keyOf(issued), type);
      const content = parseContent({ ...issued, privateKey: new Secret(text) });
      expect(content.privateKey?.pem.reveal()).toBe(text);
      expect(keyProblem(content)).toBeUndefined();
      expect(fingerprintOf(content)).toBe(fingerprintOf(parseContent(issued)));
    });

    it('SEC1 after the curve, as openssl ecparam writes it', async () => {
      const issued = await testCertificate();
      const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';
      const sec1 = exported(keyOf(issued), 'sec1');
      const content = parseContent({ ...issued, privateKey: new Secret(parameters + sec1) });
      expect(content.privateKey?.pem.reveal()).toBe(sec1);
    });

    it('the same key with its point compressed gives the same fingerprint', async () => {
      const issued = await testCertificate();
      const { d = '', x = '', y = '' } = keyOf(issued).export({ format: 'jwk' });
      const parity = (Buffer.from(y, 'base64url').at(-1) ?? 0) % 2 === 0 ? '02' : '03';
      const [secret, point] = [d, x].map((part) => Buffer.from(part, 'base64url').toString('hex').padStart(64, '0'));
      const der = Buffer.from(`30570201010420${secret}a00a06082a8648ce3d030107a124032200${parity}${point}`, 'hex');
      der[1] = der.length - 2;
      const text = `-----BEGIN EC PRIVATE KEY-----\n${der.toString('base64')}\n-----END EC PRIVATE KEY-----\n`;
      const content = parseContent({ ...issued, privateKey: new Secret(text) });
      expect(keyProblem(content)).toBeUndefined();
      expect(fingerprintOf(content)).toBe(fingerprintOf(parseContent(issued)));
    });

    it('one key in two encodings is one key', async () => {
      const issued = await testCertificate();
      const both = exported(keyOf(issued), 'sec1') + issued.privateKey.reveal();
      const content = parseContent({ ...issued, privateKey: new Secret(both) });
      expect(content.privateKey?.pem.reveal()).toBe(exported(keyOf(issued), 'sec1'));
    });

    it('two different keys are refused', async () => {
      const [issued, other] = await Promise.all([testCertificate(), testCertificate()]);
      const both = issued.privateKey.reveal() + other.privateKey.reveal();
      expect(refusal({ ...issued, privateKey: new Secret(both) })).toBe('certificate_malformed');
    });

    it.each<[string, 'pkcs8' | 'pkcs1' | 'sec1', KeyKind]>([
      ['PKCS#8', 'pkcs8', 'p-256'],
      ['traditional RSA', 'pkcs1', 'rsa-2048'],
      ['traditional EC', 'sec1', 'p-256'],
    ])('encrypted %s is refused by its own code', async (_, type, keyKind) => {
      const issued = await testCertificate({ keyKind });
      const options = { format: 'pem', cipher: 'aes-256-cbc', passphrase: 'correct horse' } as const;
      const key = keyOf(issued);
      const text = key.export({ ...options, type: type as 'pkcs8' }).toString();
      expect(refusal({ ...issued, privateKey: new Secret(text) })).toBe('certificate_key_encrypted');
      const carriageReturns = new Secret(text.replaceAll('\n', '\r\n'));
      expect(refusal({ ...issued, privateKey: carriageReturns })).toBe('certificate_key_encrypted');
    });

    it.each([
      ['DSA', () => generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }).privateKey],
      ['X25519', () => generateKeyPairSync('x25519').privateKey],
      ['Ed448', () => generateKeyPairSync('ed448').privateKey],
      ['secp256k1', () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey],
      ['P-224', () => generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).privateKey],
    ])('%s is not supported', (_, make) => {
      const privateKey = new Secret(make().export({ type: 'pkcs8', format: 'pem' }));
      expect(refusal({ certificate: vector.leaf, privateKey })).toBe('certificate_key_unsupported');
    });

    it('the format of OpenSSH is not supported', () => {
      const text = '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n';
      expect(refusal({ certificate: vector.leaf, privateKey: new Secret(text) })).toBe('certificate_key_unsupported');
    });

    it('a damaged one is refused', async () => {
      const issued = await testCertificate({ keyKind: 'rsa-2048' });
      const der = keyOf(issued).export({ type: 'pkcs8', format: 'der' });
      // The key inside the octet string no longer is a sequence.
      der[26] = 0x31;
      const text = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
      expect(refusal({ ...issued, privateKey: new Secret(text) })).toBe('certificate_malformed');
    });
  });

  describe('the leaf', () => {
    it('is the one that the key belongs to, though others look like leaves', async () => {
      const [issued, other] = await Promise.all([testCertificate(), testCertificate({ domains: ['other.test'] })]);
      const content = parseContent({
        certificate: other.certificate,
        intermediate: issued.certificate + (issued.intermediate ?? ''),
        privateKey: issued.privateKey,
      });
      expect(content.leaf.toString()).toBe(issued.certificate);
      expect(subjects(content.chain)).toEqual(['CN=Test Intermediate 1', 'CN=other.test']);
    });

    it('without a key is the one that signed none of the others', async () => {
      const { certificate, intermediate = '' } = await testCertificate({ intermediates: 2, includeRoot: true });
      const content = parseContent({ certificate: intermediate, intermediate: certificate });
      expect(content.leaf.toString()).toBe(certificate);
      expect(subjects(content.chain)).toEqual(['CN=Test Intermediate 2', 'CN=Test Intermediate 1', 'CN=Test Root']);
      expect(content).not.toHaveProperty('privateKey');
    });

    it('with a foreign key is found as without one', async () => {
      const [issued, other] = await Promise.all([testCertificate(), testCertificate()]);
      const content = parseContent({ ...issued, privateKey: other.privateKey });
      expect(content.leaf.toString()).toBe(issued.certificate);
      expect(keyProblem(content)?.code).toBe('certificate_key_mismatch');
    });

    it('is no certificate authority if there is a choice', async () => {
      const { certificate, intermediate = '' } = await brokenChain();
      const content = parseContent({ certificate: intermediate, intermediate: certificate });
      expect(content.leaf.toString()).toBe(certificate);
    });

    it('among certificate authorities that signed none of the others is the first', async () => {
      const authorities = await Promise.all([{ name: 'Test' }, { name: 'Other' }].map((options) => testCa(options)));
      const [first = '', second = ''] = authorities.map(({ rootPem }) => rootPem);
      expect(parseContent({ certificate: first + second }).leaf.toString()).toBe(first);
      expect(parseContent({ certificate: second + first }).leaf.toString()).toBe(second);
    });

    it('may be one alone, signed by itself', async () => {
      const { rootPem } = await testCa();
      expect(parseContent({ certificate: rootPem })).toMatchObject({ chain: [] });
    });

    it('is never one of several', async () => {
      const [one, two] = await Promise.all([testCertificate(), testCertificate({ domains: ['two.test'] })]);
      expect(refusal({ certificate: one.certificate + two.certificate })).toBe('certificate_malformed');
    });

    it('is the self-signed one beside an authority that has nothing to do with it', async () => {
      const { rootPem } = await testCa();
      expect(parseContent({ certificate: rootPem + vector.selfSigned }).leaf.toString()).toBe(vector.selfSigned);
    });

    it('is never one of several authorities for the same key', () => {
      const both = vector.crossSigned + vector.crossSignedAgain;
      expect(refusal({ certificate: both })).toBeUndefined();
      expect(refusal({ certificate: both, privateKey: new Secret(vector.privateKey) })).toBe('certificate_malformed');
    });

    it('is never one of several for the same key', async () => {
      const one = await testCertificate();
      const renewed = await testCertificate({ privateKey: one.privateKey });
      const both = { certificate: one.certificate, intermediate: renewed.certificate, privateKey: one.privateKey };
      expect(refusal(both)).toBe('certificate_malformed');
    });
  });

  describe('the chain', () => {
    it('counts a certificate once that is there twice, in other lines too', async () => {
      const { certificate, intermediate = '', privateKey } = await testCertificate();
      const again = certificatePem(firstDer(certificate)).replaceAll('\n', '\r\n');
      const content = parseContent({
        certificate: certificate + again,
        intermediate: intermediate + intermediate,
        privateKey,
      });
      expect(subjects(content.chain)).toEqual(['CN=Test Intermediate 1']);
    });

    it('ends with what does not link, in the order given', async () => {
      const issued = await testCertificate();
      const strangers = await Promise.all(['Y', 'X', 'Z'].map(async (name) => (await testCa({ name })).rootPem));
      const content = parseContent({ ...issued, intermediate: [...strangers, issued.intermediate].join('') });
      expect(subjects(content.chain)).toEqual(['CN=Test Intermediate 1', 'CN=Y Root', 'CN=X Root', 'CN=Z Root']);
    });

    it('goes through a self-signed certificate on to the cross-signed one of the same key', () => {
      const { selfSigned, crossSigned, issuer } = vector;
      for (const intermediate of [selfSigned + crossSigned + issuer, issuer + crossSigned + selfSigned]) {
        const content = parseContent({ certificate: vector.underSelfSigned, intermediate });
        expect(content.chain.map(String)).toEqual([selfSigned, crossSigned, issuer]);
        expect(pathProblem(content, Date.UTC(2026, 0, 1))).toBeUndefined();
      }
    });

    it('goes on with the one that was given first, where two authorities signed the same key', () => {
      const { crossSigned, crossSignedAgain, issuer } = vector;
      const orders = [crossSigned + crossSignedAgain + issuer, issuer + crossSignedAgain + crossSigned].map(
        (intermediate) => parseContent({ certificate: vector.underSelfSigned, intermediate }).chain.map(String),
      );
      expect(orders).toEqual([
        [crossSigned, issuer, crossSignedAgain],
        [crossSignedAgain, issuer, crossSigned],
      ]);
    });

    it('prefers the issuer whose signature holds to one of the same name', async () => {
      const issued = await testCertificate();
      // Another authority of the same name: same subject, other key.
      const twin = await testCa({ notBefore: Date.UTC(2001, 0, 1) });
      const { intermediate: impostor = '' } = await twin.issue({ domains: ['x.test'] });
      for (const intermediate of [impostor + issued.intermediate, issued.intermediate + impostor]) {
        const { chain } = parseContent({ ...issued, intermediate });
        expect(chain.map(String)).toEqual([issued.intermediate, impostor]);
      }
    });
  });

  it('any order of blocks, any line ends and any text between them give the same fingerprint', async () => {
    const issued = await testCertificate({ intermediates: 2, includeRoot: true });
    const expected = fingerprintOf(parseContent(issued));
    const blocks = blocksIn(issued.certificate, issued.intermediate, issued.privateKey.reveal(), issued.certificate);
    expect(blocks).toHaveLength(6);
    const lineEnd = fc.constantFrom('\n', '\r\n', '\r');
    const between = fc.constantFrom(
      '',
      '\n',
      'subject=CN = x\n',
      '\uFEFF',
      '  \r\n',
      '# CERTIFICATE\n\n',
      'Bag Attributes\r',
    );
    const form = fc.tuple(lineEnd, between, fc.constantFrom('certificate', 'intermediate', 'privateKey'));
    fc.assert(
      fc.property(
        fc.shuffledSubarray(blocks as string[], { minLength: 6 }),
        fc.array(form, { minLength: 6, maxLength: 6 }),
        (shuffled, forms) => {
          const texts = { certificate: '', intermediate: '', privateKey: '' };
          for (const [index, block] of shuffled.entries()) {
            const [end, text, part] = forms[index] ?? ['\n', '', 'certificate'];
            texts[part] += text + block.replaceAll('\n', end);
          }
          // Text between blocks alone is no PEM: every part then has a block or is empty.
          const { certificate, intermediate, privateKey } = texts;
          const content = parseContent({ certificate, intermediate, privateKey: new Secret(privateKey) });
          expect(fingerprintOf(content)).toBe(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('reads base64 in lines of any length', async () => {
    const { certificate } = await testCertificate();
    const base64 = firstDer(certificate).toString('base64');
    for (const lines of [base64, base64.replace(/(.{1,7})/g, '$1\n  '), base64.replace(/(.{76})/g, '$1\r\n')]) {
      const text = `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----`;
      expect(parseContent({ certificate: text }).leaf.toString()).toBe(certificate);
    }
  });

  describe('refuses', () => {
    const body = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
    const good = vector.leaf;

    it.each([
      ['nothing', ''],
      ['white space', ' \r\n'],
      ['a text without PEM', 'no certificate here'],
      ['binary DER', firstDer(good).toString('latin1')],
      ['a block of another kind', good.replaceAll('CERTIFICATE', 'CERTIFICATE REQUEST')],
      ['a block without an end', good.slice(0, -30)],
      ['a block without an end before a whole one', `${good.slice(0, 200)}\n${good}`],
      ['an end without a block', `-----END CERTIFICATE-----\n${good}`],
      ['a block that ends as another one', good.replace('END CERTIFICATE', 'END X509 CERTIFICATE')],
      ['an empty block', body('')],
      ['other characters than base64', body('MIIB*A==')],
      ['base64 cut short', body(firstDer(good).toString('base64').slice(0, -3))],
      ['base64 without its padding', body(firstDer(good).toString('base64').replace(/=+$/, ''))],
      ['DER cut short', certificatePem(firstDer(good).subarray(0, -3))],
      ['DER with something behind it', certificatePem(Buffer.concat([firstDer(good), Buffer.from([5, 0])]))],
      ['DER that is no certificate', certificatePem(Buffer.from('3003020101', 'hex'))],
      ['a good one and a bad one', good + body('MAMCAQE=')],
      ['PEM within PEM', certificatePem(Buffer.from(good))],
    ])('%s', (_, certificate) => {
      expect(refusal({ certificate })).toBe('certificate_malformed');
    });

    it.each(['garbage', '-----BEGIN'])('%s in the place of the chain or the key', (text) => {
      expect(refusal({ certificate: good, intermediate: text })).toBe('certificate_malformed');
      expect(refusal({ certificate: good, privateKey: new Secret(text) })).toBe('certificate_malformed');
    });

    it('a leaf whose dates are none', () => {
      const date = /\d{12}Z/.exec(firstDer(good).toString('latin1'))?.[0] ?? '';
      const noDate = `${date.slice(0, 2)}99${date.slice(4)}`;
      expect(refusal({ certificate: tampered(good, date, noDate) })).toBe('certificate_malformed');
    });

    it('a private key without a certificate', () => {
      expect(refusal({ certificate: '', privateKey: new Secret(vector.privateKey) })).toBe('certificate_malformed');
    });
  });

  it('takes empty texts for absent ones', () => {
    const content = parseContent({ certificate: vector.leaf, intermediate: '\n', privateKey: new Secret('') });
    expect(content).toMatchObject({ chain: [] });
    expect(content).not.toHaveProperty('privateKey');
  });

  describe('limits', () => {
    let issued: IssuedCertificate;
    beforeAll(async () => {
      issued = await testCertificate();
    });
    const padded = (text: string, bytes: number) => text + ' '.repeat(bytes - text.length);
    const sizes = [
      [limits.pemBytes - 1, undefined],
      [limits.pemBytes, undefined],
      [limits.pemBytes + 1, 'certificate_too_large'],
    ] as const;

    it.each(sizes)('%d bytes of one text: %s', (bytes, code) => {
      const { certificate, intermediate = '', privateKey } = issued;
      expect(refusal({ ...issued, certificate: padded(certificate, bytes) })).toBe(code);
      expect(refusal({ ...issued, intermediate: padded(intermediate, bytes) })).toBe(code);
      expect(refusal({ ...issued, privateKey: new Secret(padded(privateKey.reveal(), bytes)) })).toBe(code);
    });

    it('counts bytes, not characters', () => {
      const room = limits.pemBytes - issued.certificate.length;
      const even = 'ü'.repeat(Math.floor(room / 2)) + ' '.repeat(room % 2);
      expect(refusal({ ...issued, certificate: issued.certificate + even })).toBeUndefined();
      expect(refusal({ ...issued, certificate: `${issued.certificate + even} ` })).toBe('certificate_too_large');
    });

    it.each([
      [9, undefined],
      [10, undefined],
      [11, 'certificate_chain_too_long'],
    ] as const)('%d certificates beside the leaf: %s', async (count, code) => {
      const names = Array.from({ length: count - 1 }, (_, index) => `Limit ${index}`);
      const roots = await Promise.all(names.map(async (name) => (await testCa({ name, intermediates: 0 })).rootPem));
      expect(refusal({ ...issued, intermediate: [issued.intermediate, ...roots, ...roots].join('') })).toBe(code);
    });
  });
});

describe('toPem', () => {
  it('writes 64 characters a line and line feeds, and is read back the same', async () => {
    const issued = await testCertificate({ intermediates: 2 });
    const carriageReturns = (text = '') => text.replaceAll('\n', '\r\n');
    const content = parseContent({
      certificate: carriageReturns(issued.certificate),
      intermediate: carriageReturns(issued.intermediate),
      privateKey: new Secret(carriageReturns(issued.privateKey.reveal())),
    });
    const pem = toPem(content);
    expect({ ...pem, privateKey: pem.privateKey?.reveal() }).toEqual({
      ...issued,
      privateKey: issued.privateKey.reveal(),
    });
    expect(fingerprintOf(parseContent(pem))).toBe(fingerprintOf(content));
  });

  it('leaves out the chain and the key that are not there', () => {
    const pem = toPem({ leaf: new X509Certificate(vector.leaf), chain: [] });
    expect(pem).toEqual({ certificate: vector.leaf });
  });
});
