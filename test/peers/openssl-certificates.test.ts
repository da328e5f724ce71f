import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { factsOf } from '../../src/certificate/facts.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { contentProblem, keyProblem } from '../../src/certificate/judgement.ts';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import type { KeyKind } from '../../src/instance/orders/authority/development-keys.ts';
import { Secret } from '../../src/secret.ts';
import { requirePeer } from './peer.ts';

const version = requirePeer('OpenSSL', ['openssl', 'version'], 'apt-get install openssl');

/** How `openssl genpkey` is told to make each kind of key. */
const keyArguments: Readonly<Record<KeyKind, readonly string[]>> = {
  'rsa-2048': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'rsa-4096': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096'],
  'rsa-pss-2048': ['-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'p-256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'p-384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'p-521': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
  ed25519: ['-algorithm', 'ED25519'],
};
const kinds = Object.keys(keyArguments) as KeyKind[];

const configuration = `
[req]
distinguished_name = nothing
[nothing]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = critical, CA:false
subjectAltName = DNS:shop.example.test, DNS:*.shop.example.test, IP:192.0.2.1, IP:2001:db8::1, email:a@example.test
`;

describe.skipIf(version === undefined)('certificates that OpenSSL made', () => {
  let folder: string;
  const openssl = (args: readonly string[], input = '') =>
    execFileSync('openssl', args, { cwd: folder, input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const newKey = (kind: KeyKind) => openssl(['genpkey', ...keyArguments[kind]]);
  let chain: readonly [root: string, lower: string, upper: string];

  /** A certificate for this key, signed by the issuer in the folder or by itself. */
  function certify(options: {
    key: string;
    subject: string;
    extensions: string;
    issuer?: string;
    pss?: boolean;
  }): string {
    write('request.key', options.key);
    const request = ['req', '-new', '-config', 'openssl.cnf', '-key', 'request.key', '-subj', options.subject];
    const signed = ['-days', '90', '-extfile', 'openssl.cnf', '-extensions', options.extensions];
    const pss = options.pss ? ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32'] : [];
    const by = options.issuer
      ? ['-CA', `${options.issuer}.pem`, '-CAkey', `${options.issuer}.key`]
      : ['-signkey', 'request.key'];
    write('request.csr', openssl(request));
    return openssl([
      'x509',
      '-req',
      '-in',
      'request.csr',
      '-set_serial',
      '0x00b0c0d0',
      '-sha256',
      ...by,
      ...signed,
      ...pss,
    ]);
  }

  function authority(name: string, kind: KeyKind, issuer?: string): string {
    const key = newKey(kind);
    const pem = certify({
      key,
      subject: `/O=Example/CN=${name}`,
      extensions: 'authority',
      ...(issuer ? { issuer } : {}),
    });
    write(`${name}.pem`, pem);
    write(`${name}.key`, key);
    return pem;
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-openssl-'));
    write('openssl.cnf', configuration);
    const root = authority('root', 'rsa-2048');
    const upper = authority('upper', 'p-384', 'root');
    const lower = authority('lower', 'rsa-2048', 'upper');
    chain = [root, lower, upper];
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(kinds)('%s: facts, key and chain are what OpenSSL says', (kind) => {
    const key = newKey(kind);
    const subject = '/C=DE/O=Example, Inc./OU=a\\+b/CN=shop.example.test';
    const leaf = certify({ key, subject, extensions: 'leaf', issuer: 'lower' });
    const [root, lower, upper] = chain;
    // CRLF throughout, the chain upside down and around the leaf.
    const carriageReturns = (text: string) => text.replaceAll('\n', '\r\n');
    const content = parseContent({
      certificate: carriageReturns(upper + leaf),
      intermediate: carriageReturns(root + lower),
      privateKey: new Secret(carriageReturns(key)),
    });

    expect(contentProblem(content, { nowMs: Date.now(), requireChain: true })).toBeUndefined();
    const pem = toPem(content);
    expect(pem.certificate).toBe(leaf);
    expect(pem.intermediate).toBe(lower + upper + root);
    expect(openssl(['pkey', '-pubout'], pem.privateKey?.reveal())).toBe(openssl(['x509', '-noout', '-pubkey'], leaf));
    expectFacts(content.leaf.toString(), 'shop.example.test');
    expect(fingerprintOf(content)).toBe(fingerprintByOpenssl([leaf, lower, upper, root], key));
  });

  it.each<[KeyKind, boolean]>([
    ['rsa-2048', true],
    ['rsa-pss-2048', false],
    ['p-256', false],
    ['ed25519', false],
  ])('signed by itself with %s (PSS asked for: %s)', (kind, pss) => {
    const key = newKey(kind);
    const pem = certify({ key, subject: '/CN=self', extensions: 'leaf', pss });
    expect(
      contentProblem(parseContent({ certificate: pem + key }), { nowMs: Date.now(), requireChain: true }),
    ).toBeUndefined();
    expectFacts(pem, 'self');
  });

  it('keys in the traditional encodings, and after their EC PARAMETERS', () => {
    const rsa = openssl(['rsa', '-traditional'], newKey('rsa-2048'));
    const ec = openssl(['ecparam', '-name', 'prime256v1', '-genkey']);
    expect([rsa, ec].map((text) => text.split('\n')[0])).toEqual([
      '-----BEGIN RSA PRIVATE KEY-----',
      '-----BEGIN EC PARAMETERS-----',
    ]);
    for (const key of [rsa, ec]) {
      const certificate = certify({ key, subject: '/CN=x', extensions: 'leaf', issuer: 'lower' });
      expect(keyProblem(parseContent({ certificate, privateKey: new Secret(key) }))).toBeUndefined();
    }
  });

  it.each([
    ['PKCS#8', ['pkey', '-aes256', '-passout', 'pass:secret']],
    ['traditional', ['rsa', '-traditional', '-aes256', '-passout', 'pass:secret']],
  ])('keys that OpenSSL encrypted are refused: %s', (_, args) => {
    const encrypted = openssl(args, newKey('rsa-2048'));
    expect(() => parseContent({ certificate: chain[1], privateKey: new Secret(encrypted) })).toThrow(
      expect.objectContaining({ code: 'certificate_key_encrypted' }),
    );
  });

  it.each(kinds)('OpenSSL accepts what the development CA makes: %s', async (keyKind) => {
    const ca = await createDevelopmentCa({ name: 'Development', now: Date.now, intermediates: 2, keyKind });
    const issued = await ca.issue({ domains: ['shop.example.test', '192.0.2.1'], keyKind });
    write('ca.pem', ca.rootPem);
    write('untrusted.pem', issued.intermediate ?? '');
    write('leaf.pem', issued.certificate);
    const strict = ['verify', '-x509_strict', '-CAfile', 'ca.pem', '-untrusted', 'untrusted.pem'];
    expect(openssl([...strict, '-verify_hostname', 'shop.example.test', 'leaf.pem'])).toBe('leaf.pem: OK\n');
    expect(openssl(['pkey', '-check', '-pubout'], issued.privateKey.reveal())).toContain('Key is valid');
    expectFacts(issued.certificate, 'shop.example.test');
  });

  /** Compares our facts of a certificate with what `openssl x509` prints of it. */
  function expectFacts(pem: string, commonName: string): void {
    const print = (...args: string[]) => openssl(['x509', '-noout', ...args], pem).trim();
    const facts = factsOf(parseContent({ certificate: pem }));
    const text = print('-text');
    const [, signature] = /Signature Algorithm: (\S+)/.exec(text) ?? [];
    const [, algorithm, bits = '256'] = /Public Key Algorithm: (.+)\n(?:.*\((\d+) bit\))?/.exec(text) ?? [];
    expect(facts).toMatchObject({
      subject: print('-subject', '-nameopt', 'RFC2253').replace('subject=', ''),
      serial: print('-serial').replace('serial=', '').toLowerCase(),
      notBefore: Date.parse(print('-startdate', '-dateopt', 'iso_8601').replace('notBefore=', '')),
      notAfter: Date.parse(print('-enddate', '-dateopt', 'iso_8601').replace('notAfter=', '')),
      signatureAlgorithm: signature,
      keyAlgorithm: `${algorithm} ${bits} bit`,
    });
    const names = print('-ext', 'subjectAltName').matchAll(/(?:DNS|IP Address):([^,\n]+)/g);
    const expected = [...names].map(([, name = '']) => (name.includes(':') ? '2001:db8::1' : name));
    expect(facts.domains).toEqual([...new Set([commonName, ...expected])]);
  }

  /** The definition of the fingerprint, from DER that OpenSSL writes. */
  function fingerprintByOpenssl(pems: readonly string[], key: string): string {
    const der = (args: readonly string[], input: string) =>
      execFileSync('openssl', [...args, '-outform', 'DER'], { cwd: folder, input });
    const parts = [...pems.map((pem) => der(['x509'], pem)), der(['pkey', '-pubout'], key)];
    const hash = createHash('sha256');
    for (const part of parts) {
      const length = Buffer.from(part.length.toString(16).padStart(8, '0'), 'hex');
      hash.update(length).update(part);
    }
    return hash.digest('hex');
  }
});
